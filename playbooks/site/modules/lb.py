#!/usr/bin/env python3
"""Our load balancer, as a module of lockstep: lb.drain and lb.enable.

lb1 is a machine beside the cluster, with a program lbctl. Draining or enabling twice is the same as once.
"""

import json
import sys

BACKEND = {
    "type": "object",
    "required": ["backend"],
    "properties": {"backend": {"type": "string", "format": "member", "description": "Member that it sends work to."}},
}

MODULE = {
    "protocol": 1,
    "about": "Our load balancer.",
    "ops": {
        "drain": {
            "doc": "Send no new work to a member, and wait until it has none left.",
            "effect": "converge",
            "timeout": "10m",
            "args": BACKEND,
        },
        "enable": {"doc": "Send work to a member again.", "effect": "converge", "args": BACKEND},
    },
}


def say(**message):
    print(json.dumps(message), flush=True)


def lbctl(*words, plan=""):
    """What lbctl on lb1 prints. Where it fails, or lb1 doesn't answer, lockstep ends this program: the step has failed.

    `plan` is what it is taken to print on a simulated cluster, which knows no lbctl.
    """
    say(command={"member": "lb1", "argv": ["/usr/local/bin/lbctl", *words], "plan": {"stdout": plan}})
    return json.loads(sys.stdin.readline())["output"]["stdout"]


request = json.loads(sys.stdin.readline())
if "describe" in request:
    say(module=MODULE)
    sys.exit()

step = request["run"]
backend = step["args"]["backend"]
match step["op"]:
    case "lb.drain":
        lbctl("drain", backend)
        while (left := int(lbctl("connections", backend, plan="0"))) > 0:
            say(wait={"seconds": 5, "missing": f"{left} connections to {backend} are open"})
            sys.stdin.readline()
    case "lb.enable":
        lbctl("enable", backend)
say(done={})
