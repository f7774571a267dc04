#!/usr/bin/env python3
"""A kubectl with a cluster of its own: a folder, in which jobs are processes. What it prints is what kubectl 1.32 printed."""

import json
import os
import subprocess
import sys

HOME = os.path.dirname(os.path.abspath(__file__))
JOBS = os.path.join(HOME, "jobs")


def path(name, end="json"):
    return os.path.join(JOBS, f"{name}.{end}")


def job(name):
    with open(path(name)) as file:
        found = json.load(file)
    code = path(name, "code")
    if os.path.exists(code):
        with open(code) as file:
            kind = "Complete" if file.read().strip() == "0" else "Failed"
        found["status"] = {"conditions": [{"type": kind, "status": "True"}]}
    return found


def fail(text):
    print(text, file=sys.stderr)
    sys.exit(1)


def create():
    made = json.load(sys.stdin)
    name = made["metadata"]["name"]
    if os.path.exists(path(name)):
        fail(f'Error from server (AlreadyExists): jobs.batch "{name}" already exists')
    made["status"] = {}
    with open(path(name), "x") as file:
        json.dump(made, file)
    words = [os.environ["IMAGE"]] + made["spec"]["template"]["spec"]["containers"][0]["args"]
    line = '"$@"; echo $? >"$CODE.new"; mv "$CODE.new" "$CODE"'
    with open(path(name, "log"), "wb") as log:
        env = dict(os.environ, CODE=path(name, "code"))
        pod = subprocess.Popen(["sh", "-c", line, "sh"] + words, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                               env=env, start_new_session=True)
    with open(path(name, "pid"), "w") as file:
        file.write(str(pod.pid))
    with open(os.path.join(HOME, "created"), "a") as file:
        file.write(made["metadata"]["annotations"]["lockstep/run"] + "\n")
    print(f"job.batch/{name} created")


def main(args):
    words = [arg for arg in args if not arg.startswith("--")]
    options = dict(arg[2:].split("=", 1) for arg in args if arg.startswith("--") and "=" in arg)
    if options.get("context") != "ops":
        fail('error: context "" does not exist')
    if words == ["patch"]:
        with open(options["filename"]) as file:
            print(json.dumps(json.load(file), indent=4))
    elif words == ["create"]:
        create()
    elif words == ["get", "jobs"]:
        key, value = options["selector"].split("=")
        jobs = [job(name[:-5]) for name in sorted(os.listdir(JOBS)) if name.endswith(".json")]
        items = [found for found in jobs if found["metadata"]["labels"].get(key) == value]
        print(json.dumps({"apiVersion": "v1", "items": items, "kind": "List", "metadata": {"resourceVersion": ""}}))
    elif words[:2] == ["get", "job"] and options.get("output") == "wide" and os.path.exists(path(words[2])):
        print(f"NAME   COMPLETIONS   DURATION   AGE\n{words[2]}   0/1   1s   1s")
    elif words == ["get", "pods"]:
        pass
    elif words[:2] == ["get", "job"] and os.path.exists(path(words[2])):
        print(json.dumps(job(words[2])))
    elif words[:2] == ["delete", "job"] and os.path.exists(path(words[2])):
        if not os.path.exists(path(words[2], "code")):
            # A pod's processes are told to end; its shell waits for what it started.
            with open(path(words[2], "pid")) as file:
                subprocess.run(["pkill", "-TERM", "-P", file.read()], check=False)
        for end in ["json", "code", "log", "pid"]:
            if os.path.exists(path(words[2], end)):
                os.remove(path(words[2], end))
        print(f'job.batch "{words[2]}" deleted')
    elif words[0] == "logs":
        with open(path(words[1].removeprefix("job/"), "log")) as file:
            print(file.read(), end="")


main(sys.argv[1:])
