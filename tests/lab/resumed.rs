//! Runs over SSH that end before they are done: killed, cut off, interrupted; and what becomes of them.

use std::time::Duration;

use lockstep_tests::lab::{Ran, SshLab, pause, wait_until, write};
use lockstep_twin::Scenario;

fn lab(members: usize) -> SshLab {
    SshLab::up(&Scenario::of(members))
}

fn is_under_way(lab: &SshLab) -> bool {
    let members = ["micro01", "micro02"];
    members.iter().any(|member| lab.world().is_changing(member))
}

fn wait_for_refreshes(lab: &SshLab, count: usize) {
    wait_until("no refresh arrives", || lab.refreshes().len() >= count);
}

fn interrupt(child: &std::process::Child) {
    let sent = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

/// Kills an update of one component at this moment of twenty, and resumes it.
fn kill_and_resume(moment: u64) {
    let lab = lab(2);
    lab.world().slow_down("microcloud", 60_000);
    let update = ["update", "-p", "only=microcloud"];
    let mut child = lab
        .lockstep(&update)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    if moment.is_multiple_of(2) {
        // While a refresh is in flight: from the moment when it was asked for, some tenths of a second on.
        let nth = 1 + usize::from(moment >= 10);
        wait_for_refreshes(&lab, nth);
        // What arrived is under way once snapd has made a change of it.
        wait_until("no refresh begins", || is_under_way(&lab));
        pause(Duration::from_millis(50 * (moment % 10)));
    } else {
        pause(Duration::from_millis(300 * moment));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if moment.is_multiple_of(2) {
        assert!(is_under_way(&lab), "killed too late at moment {moment}");
    }

    let begun = lab
        .path("state/runs/update-1/journal.jsonl")
        .metadata()
        .is_ok_and(|m| m.len() > 0);
    let ended = if begun {
        lab.run(&["resume", "update-1"])
    } else {
        lab.run(&update)
    };
    if !ended.stderr.contains("update-1 has ended") {
        let _ = ended.exits(0);
    }
    let mut refreshes = lab.refreshes();
    refreshes.sort();
    assert_eq!(
        refreshes,
        ["micro01 microcloud", "micro02 microcloud"],
        "killed at moment {moment}"
    );
    for member in ["micro01", "micro02"] {
        assert_eq!(
            lab.world().revision(member, "microcloud"),
            Some(1210),
            "killed at moment {moment}"
        );
    }
}

mod killed {
    macro_rules! moments {
        ($($name:ident $moment:literal)+) => {
            $(#[test]
            fn $name() {
                super::kill_and_resume($moment);
            })+
        };
    }

    moments! {
        at_moment_0 0
        at_moment_1 1
        at_moment_2 2
        at_moment_3 3
        at_moment_4 4
        at_moment_5 5
        at_moment_6 6
        at_moment_7 7
        at_moment_8 8
        at_moment_9 9
        at_moment_10 10
        at_moment_11 11
        at_moment_12 12
        at_moment_13 13
        at_moment_14 14
        at_moment_15 15
        at_moment_16 16
        at_moment_17 17
        at_moment_18 18
        at_moment_19 19
    }
}

#[test]
fn a_cut_connection_is_made_again_and_no_refresh_repeated() {
    let lab = lab(1);
    lab.world().slow_down("microcloud", 40_000);
    let child = lab
        .lockstep(&["update", "-p", "only=microcloud"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_refreshes(&lab, 1);
    pause(Duration::from_millis(100));
    lab.cut("micro01");
    let out = Ran::of(child.wait_with_output().unwrap()).exits(0);
    let idle = out.contains("; connected again");
    let in_doubt = out.contains("; waiting for it") && out.contains("determined afterwards");
    assert!(
        out.contains("micro01  contact was lost") && (idle || in_doubt),
        "{out}"
    );
    assert_eq!(lab.refreshes(), ["micro01 microcloud"]);
    assert_eq!(lab.logins("micro01"), 2);
}

#[test]
fn a_second_process_is_refused_while_a_run_is_alive() {
    let lab = lab(1);
    let mut child = lab
        .lockstep(&["update", "-p", "only=microcloud"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for_refreshes(&lab, 1);
    let out = lab.run(&["resume", "update-1"]);
    assert_eq!(out.code, Some(6), "{}", out.stderr);
    assert!(
        out.stderr
            .contains("the run update-1 is in use by another process"),
        "{}",
        out.stderr
    );
    assert!(lab.run(&["runs"]).exits(0).contains("running"));
    // Nor is its lock taken away from under it.
    let out = lab.run(&["unlock", "--yes"]);
    assert_eq!(out.code, Some(6), "{}", out.stderr);
    assert!(
        out.stderr.contains("update-1 is running here"),
        "{}",
        out.stderr
    );
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_first_interrupt_lets_steps_finish_the_second_does_not() {
    let lab = lab(2);
    lab.world().slow_down("microcloud", 40_000);
    let start = |args: &[&str]| {
        lab.lockstep(args)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let child = start(&["update", "-p", "only=microcloud"]);
    wait_for_refreshes(&lab, 1);
    interrupt(&child);
    let drained = Ran::of(child.wait_with_output().unwrap()).exits(5);
    assert!(
        drained.contains("1 requested step was not started")
            && drained.contains("lockstep resume update-1"),
        "{drained}"
    );
    // The refresh that ran was waited for.
    assert_eq!(lab.world().revision("micro01", "microcloud"), Some(1210));

    let child = start(&["resume", "update-1"]);
    wait_for_refreshes(&lab, 2);
    interrupt(&child);
    pause(Duration::from_millis(100));
    interrupt(&child);
    let left = Ran::of(child.wait_with_output().unwrap()).exits(5);
    assert!(
        left.contains("steps were running: MicroCloud/micro02/snap.refresh#1"),
        "{left}"
    );
    assert!(lab.world().is_changing("micro02"));

    let ended = lab.run(&["resume", "update-1"]).exits(0);
    assert!(ended.contains("determined afterwards"), "{ended}");
    assert_eq!(
        lab.refreshes(),
        ["micro01 microcloud", "micro02 microcloud"]
    );
}

#[test]
fn a_run_is_resumed_with_the_playbook_that_it_was_begun_with() {
    let lab = lab(1);
    let site = lab.path("site.lua");
    let text = r#"
        local flow = require "flow"
        local helper = require "helper"
        local M = flow.playbook { api = 1, about = "Two steps." }
        function M.run(cluster)
            time.sleep { span = "5s" }
            helper.greet(cluster.members[1])
            return { version = "VERSION" }
        end
        return M
    "#;
    write(&site, &text.replace("VERSION", "first"));
    write(
        &lab.path("helper.lua"),
        r#"return { greet = function(member) exec { member = member, argv = { "/bin/uname" }, effect = "read" } end }"#,
    );
    let child = lab
        .lockstep(&["run", site.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let journal = lab.path("state/runs/site-1/journal.jsonl");
    wait_until("the run doesn't begin", || {
        std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("time.sleep"))
    });
    interrupt(&child);
    interrupt(&child);
    let _ = Ran::of(child.wait_with_output().unwrap());
    write(&site, "return nonsense(");
    write(&lab.path("helper.lua"), "error 'gone'");
    let ended = lab.run(&["resume", "site-1"]).exits(0);
    assert!(ended.contains("site-1: done"), "{ended}");
    let journal = std::fs::read_to_string(&journal).unwrap();
    let end = journal.lines().last().unwrap();
    assert!(end.contains("first"), "{end}");
}
