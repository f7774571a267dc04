//! Module programs whose commands run on real members.

use lockstep_tests::lab::{Odd, SshLab};
use lockstep_tests::root;
use lockstep_twin::Scenario;

/// The example's program, real `ssh`, and a load balancer that answers.
#[test]
fn commands_of_a_program_travel_over_ssh() {
    let lbctl = "#!/bin/sh\n[ \"$1\" != connections ] || echo 0\n".to_owned();
    let lab = SshLab::with(&Scenario::of(2), |name| Odd {
        files: if name == "lb1" {
            vec![("/usr/local/bin/lbctl".to_owned(), lbctl.clone())]
        } else {
            Vec::new()
        },
        ..Odd::default()
    });
    let modules = root().join("playbooks/site/modules");
    let modules = modules.to_str().unwrap();
    let op = [
        "op",
        "lb.drain",
        "--backend",
        "micro01",
        "--modules",
        modules,
    ];
    let out = lab.run(&[&op[..], &["--verbose"]].concat()).exits(0);
    let commands: Vec<&str> = out
        .lines()
        .filter_map(|line| line.split_once("lb1  $ "))
        .map(|(_, rest)| rest)
        .collect();
    let commands: Vec<&str> = commands
        .iter()
        .filter_map(|line| line.split_once(','))
        .map(|(start, _)| start)
        .collect();
    assert_eq!(
        commands,
        [
            "/usr/local/bin/lbctl drain micro01  [exit 0",
            "/usr/local/bin/lbctl connections micro01  [exit 0"
        ],
        "{out}"
    );
}
