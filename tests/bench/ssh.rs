//! Over real sshd's, beside OpenSSH alone, and beside other programs of the kind where they are installed.

use std::path::Path;
use std::process::Command;

use lockstep_tests::lab::{SshLab, write};
use lockstep_twin::Scenario;

use crate::figures::{Figure, seconds};

const ROUNDS: usize = 5;

/// Steps on one member whose connection is open.
const STEPS: usize = 300;

/// Commands on each member of a rolling pass.
const COMMANDS: usize = 8;

pub(crate) fn figures() -> Vec<Figure> {
    let lab = SshLab::up(&Scenario::of(50));
    let members: Vec<String> = (1..=50).map(|number| format!("micro{number:02}")).collect();
    let (ten, fifty) = (members[..10].to_vec(), members);
    let mut figures = vec![fan(&lab, &ten), fan(&lab, &fifty)];
    figures.extend(rolling(&lab, &ten));
    figures.push(warm(&lab));
    figures
}

/// Makes these members the lab's cluster. Its file is named before the command: after `op exec` all words are the program's.
fn cluster(lab: &SshLab, members: &[String]) {
    let names = members
        .iter()
        .map(|name| format!("[[members]]\nname = \"{name}\"\n"));
    let config = lab.path("ssh_config");
    let head = format!(
        "name = \"bench\"\n[ssh]\nconfig = \"{}\"\n",
        config.display()
    );
    write(
        &lab.path("cluster.toml"),
        &(head + &names.collect::<String>()),
    );
}

fn lockstep(lab: &SshLab, args: &[&str]) -> f64 {
    seconds(&mut lab.lockstep(args))
}

/// A shell's lines over ssh, with this lab's settings.
fn shell(lab: &SshLab, lines: &str) -> f64 {
    let config = lab.path("ssh_config");
    let head = format!("set -e\nssh=\"ssh -n -F {}\"\n", config.display());
    seconds(Command::new("sh").arg("-c").arg(head + lines))
}

/// One command on all members, and nothing is open before.
fn fan(lab: &SshLab, members: &[String]) -> Figure {
    cluster(lab, members);
    let lines = format!(
        "for m in {}; do $ssh $m true & done; wait",
        members.join(" ")
    );
    let (mut own, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(shell(lab, &lines));
        let exec = ["op", "exec", "--effect", "read", "--all", "true"];
        own.push(lockstep(lab, &exec));
    }
    let what = format!("one command on {} members", members.len());
    Figure::alone(what, "s", own).beside("ssh for each, at once", plain)
}

/// Commands on one member after the other.
fn rolling(lab: &SshLab, members: &[String]) -> Vec<Figure> {
    cluster(lab, members);
    let playbook = lab.path("rolling.lua");
    let text = format!(
        "return {{ api = 1, run = function(cluster) rolling(cluster.members, function(member)\nfor _ = 1, {COMMANDS} do exec \
         {{ member = member, argv = {{ \"true\" }}, effect = \"read\" }} end\nend) end }}"
    );
    write(&playbook, &text);
    let lines = format!(
        "dir=$(mktemp -d)\nfor m in {}; do\nmux=\"$ssh -o ControlMaster=auto -o ControlPersist=60 -o ControlPath=$dir/%C\"\n\
         for i in $(seq {COMMANDS}); do $mux $m true; done\n$mux -O exit $m\ndone",
        members.join(" ")
    );
    let peers: Vec<Peer> = Peer::all(lab, members)
        .into_iter()
        .filter(Peer::is_there)
        .collect();
    let (mut own, mut plain) = (Vec::new(), Vec::new());
    let mut others: Vec<Vec<f64>> = vec![Vec::new(); peers.len()];
    for _ in 0..ROUNDS {
        plain.push(shell(lab, &lines));
        own.push(lockstep(lab, &["run", playbook.to_str().unwrap()]));
        for (peer, times) in peers.iter().zip(&mut others) {
            times.push(seconds(&mut peer.command()));
        }
    }
    let what = format!(
        "{COMMANDS} commands on each of {} members in turn",
        members.len()
    );
    let beside = |name, times| Figure::alone(&*what, "s", own.clone()).beside(name, times);
    let mut figures = vec![beside("ssh -o ControlMaster", plain)];
    let rows = peers.iter().zip(others);
    figures.extend(rows.map(|(peer, times)| beside(peer.program, times)));
    figures
}

/// Another program that does the rolling pass.
struct Peer {
    program: &'static str,
    args: Vec<String>,
    env: &'static [(&'static str, &'static str)],
}

impl Peer {
    fn all(lab: &SshLab, members: &[String]) -> [Self; 2] {
        let config = lab.path("ssh_config").display().to_string();
        let place = |name: &str, text: &str| {
            write(&lab.path(name), text);
            lab.path(name).display().to_string()
        };
        let hosts = members
            .iter()
            .map(|name| format!("(\"{name}\", {{\"ssh_config_file\": \"{config}\"}}),\n"));
        let hosts = place(
            "inventory.py",
            &format!("hosts = [\n{}]\n", hosts.collect::<String>()),
        );
        let lines = "    server.shell(name=\"true\", commands=[\"true\"], _serial=True)\n";
        let deploy = format!(
            "from pyinfra.operations import server\n\nfor _ in range({COMMANDS}):\n{lines}"
        );
        let deploy = place("deploy.py", &deploy);
        let inventory = format!(
            "[all]\n{}\n[all:vars]\nansible_ssh_common_args=-F {config}\n",
            members.join("\n")
        );
        let inventory = place("inventory.ini", &inventory);
        let tasks = "    - command: \"true\"\n".repeat(COMMANDS);
        let play = format!("- hosts: all\n  gather_facts: false\n  serial: 1\n  tasks:\n{tasks}");
        let play = place("play.yml", &play);
        [
            Self {
                program: "pyinfra",
                args: vec!["-y".to_owned(), hosts, deploy],
                env: &[],
            },
            Self {
                program: "ansible-playbook",
                args: vec!["-i".to_owned(), inventory, play],
                env: &[
                    ("ANSIBLE_PIPELINING", "1"),
                    ("ANSIBLE_LOCALHOST_WARNING", "0"),
                ],
            },
        ]
    }

    fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.args(&self.args).envs(self.env.iter().copied());
        command
    }

    fn is_there(&self) -> bool {
        Command::new(self.program)
            .arg("--version")
            .output()
            .is_ok_and(|out| out.status.success())
    }
}

/// A step whose connection is open: what many cost more than none, each.
fn warm(lab: &SshLab) -> Figure {
    cluster(lab, &["micro01".to_owned()]);
    let text = |steps: usize| {
        format!(
            "return {{ api = 1, run = function()\nfor _ = 1, {steps} do exec {{ member = \"micro01\", argv = {{ \"true\" }}, effect \
             = \"read\" }} end\nend }}"
        )
    };
    let lines = |steps: usize| {
        format!(
            "dir=$(mktemp -d)\nmux=\"$ssh -o ControlMaster=auto -o ControlPersist=60 -o ControlPath=$dir/%C\"\nfor i in $(seq {steps}); \
             do $mux micro01 true; done\n$mux -O exit micro01"
        )
    };
    let (few, many) = (lab.path("few.lua"), lab.path("many.lua"));
    write(&few, &text(1));
    write(&many, &text(1 + STEPS));
    let each = |long: f64, short: f64| (long - short) * 1000.0 / STEPS as f64;
    let (mut own, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        plain.push(each(shell(lab, &lines(1 + STEPS)), shell(lab, &lines(1))));
        let run = |playbook: &Path| lockstep(lab, &["run", playbook.to_str().unwrap()]);
        own.push(each(run(&many), run(&few)));
    }
    Figure::alone("a warm step, journaled", "ms", own).beside("ssh on a live master", plain)
}
