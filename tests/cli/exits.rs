//! Every exit code, and a way to it: the numbers are a promise.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use clap::ValueEnum;
use lockstep::cli::Exit;
use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{Ran, write};
use serde_json::Value;

/// A run that changes something and is held at a step that can't succeed.
const HELD: &str = r#"return { api = 1, run = function()
    snap.hold { member = "micro01", snap = "lxd" }
    snap.info { member = "micro01", snap = "nosuch" }
end }"#;

/// A cluster where nothing listens.
const DARK: &str =
    "name = \"dark\"\n\n[[members]]\nname = \"micro01\"\naddress = \"127.0.0.1\"\nport = 1\n";

/// What ends in this way.
fn ending(exit: Exit, desk: &Desk) -> Ran {
    let held = || desk.play(HELD).exits(4);
    match exit {
        Exit::Done => desk.run(&["status", "--cluster", "twin:1"]),
        Exit::Failed => desk.play("return { api = 1, run = function() error('no') end }"),
        Exit::Usage => desk.play("return { api = 1, run = function( end }"),
        Exit::Refused => desk.run(&["rehearse", "update", "--fault", "power-off:micro02"]),
        Exit::Held => desk.play(HELD),
        Exit::Suspended => interrupted(desk),
        Exit::Locked => {
            let _ = held();
            let lock = File::create(desk.path("state/runs/site-1/lock")).unwrap();
            lock.try_lock().unwrap();
            desk.run(&["resume", "site-1"])
        }
        Exit::State => {
            let _ = held();
            write(&desk.path("state/runs/site-1/journal.jsonl"), "garbage\n");
            desk.run(&["resume", "site-1"])
        }
        Exit::Diverged => {
            let _ = held();
            write(&desk.path("other.lua"), &HELD.replace("nosuch", "another"));
            desk.run(&["resume", "site-1", "--playbook", "other.lua"])
        }
        Exit::Aborted => {
            let _ = held();
            desk.run(&["abort", "site-1"])
        }
        Exit::NotWell => {
            write(&desk.path("dark.toml"), DARK);
            desk.run(&["status", "--cluster", "dark.toml"])
        }
        Exit::Internal => unreachable!("{exit:?}"),
        Exit::Unreachable => {
            write(&desk.path("dark.toml"), DARK);
            let op = "op exec --effect once --cluster dark.toml /bin/true";
            desk.run(&op.split(' ').collect::<Vec<_>>())
        }
        Exit::Found => {
            let text = "return { api = 1, run = function(cluster) if #cluster.members > 9 then snap.refesh {} end end }";
            write(&desk.path("site.lua"), text);
            desk.run(&["check", "site.lua", "--tries", "0", "--no-kills"])
        }
    }
}

/// A run that is asked to stop while a step is under way and another is to come.
fn interrupted(desk: &Desk) -> Ran {
    let text = r#"return { api = 1, run = function()
        for _ = 1, 2 do exec { member = "micro01", argv = { "/bin/sleep", "1" }, effect = "once" } end
    end }"#;
    write(&desk.path("site.lua"), text);
    let mut child = desk
        .command(&["rehearse", "site.lua", "--members", "1", "--speed", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("exec /bin/sleep") {
        line.clear();
        assert!(out.read_line(&mut line).unwrap() > 0, "it never began");
    }
    let sent = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    child.stdout = Some(out.into_inner());
    Ran::of(child.wait_with_output().unwrap())
}

#[test]
fn each_exit_code_has_its_meaning() {
    // Nothing is known that makes lockstep itself wrong.
    let reached = |exit: &&Exit| !matches!(exit, Exit::Internal);
    for exit in Exit::value_variants().iter().filter(reached) {
        let ran = ending(*exit, &Desk::new());
        assert_eq!(ran.code, Some(*exit as i32), "{exit:?}: {ran:?}");
    }
}

#[test]
fn a_run_that_a_check_refused_is_over_and_shows_its_checks() {
    let desk = Desk::new();
    let refused = desk.run(&["rehearse", "update", "--fault", "cut:micro02", "--quiet"]);
    assert_eq!(refused.code, Some(3), "{refused:?}");
    for part in [
        "update-1 was refused; nothing was changed:",
        "CHECK",
        "reachable",
        "Fix this, then run the command again.",
    ] {
        assert!(refused.stdout.contains(part), "{part}: {}", refused.stdout);
    }
    assert!(!refused.stdout.contains(".lua"), "{}", refused.stdout);
    let shown = desk.run(&["show", "update-1"]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.stdout.contains("reachable"), "{}", shown.stdout);
    let resumed = desk.run(&["resume", "update-1"]);
    assert_eq!(resumed.code, Some(2), "{resumed:?}");
    assert!(
        resumed.stderr.contains("run the command again"),
        "{resumed:?}"
    );
    // The latest run stands last, whatever its playbook is called.
    assert_eq!(desk.run(&["rehearse", "upgrade", "--quiet"]).code, Some(1));
    assert_eq!(desk.run(&["rehearse", "update", "--quiet"]).code, Some(0));
    let runs = desk.run(&["runs", "--json"]);
    let runs: Vec<Value> = serde_json::from_str(&runs.stdout).unwrap();
    let states: Vec<(&str, &str)> = runs
        .iter()
        .map(|run| (run["run"].as_str().unwrap(), run["state"].as_str().unwrap()))
        .collect();
    assert_eq!(states[0], ("update-1", "refused"));
    assert_eq!(states.last(), Some(&("update-2", "done")));
}
