//! What begins the runs of a fleet's clusters, and what they play.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::{read, wait_until, write};
use serde_json::json;

use crate::fleet::{FAULT, alone, desk, fleet, states};

/// A scheduler of a site's: it starts what it is given, and knows what runs.
const SCHEDULER: &str = r#"#!/bin/sh
cd "$(dirname "$0")" || exit
case $1 in
submit)
	name=$2
	shift 2
	[ ! -e "queue" ] || { echo "$name" >>submitted; exit; }
	[ ! -e "refuse" ] || { echo "the queue is closed" >&2; exit 1; }
	echo "$name" >>submitted
	setsid "$@" >"$name.out" 2>&1 &
	echo $! >"$name.pid"
	;;
list)
	for pid in *.pid; do
		[ -e "$pid" ] || continue
		kill -0 "$(cat "$pid")" 2>/dev/null && echo "${pid%.pid}"
	done
	[ ! -e "queue" ] || sort -u submitted
	[ ! -e "ending" ] || cat ending
	exit 0
	;;
stop) [ ! -e "ending" ] || { rm ending; exit 1; }; [ ! -e "queue" ] || exec rm queue; kill -s INT "$(cat "$2.pid")" ;;
log) cat "$2.out" ;;
describe) echo "process $(cat "$2.pid") on a machine of ours" ;;
esac
"#;

/// A desk with a fleet whose runs the scheduler begins.
pub(crate) fn scheduled(text: &str) -> Desk {
    let executor = "name = \"stores\"\n\n[executor.default]\nkind = \"program\"\nprogram = [\"scheduler/run\"]\n";
    let desk = desk(&text.replace("name = \"stores\"\n", executor));
    fs::create_dir(desk.path("scheduler")).unwrap();
    write(&desk.path("scheduler/run"), SCHEDULER);
    fs::set_permissions(
        desk.path("scheduler/run"),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    desk
}

#[test]
fn a_program_of_the_site_is_an_executor() {
    let desk = scheduled(&fleet(&["paris", "rome"], "limit = 2", &[]));
    let out = desk.run(&["fleet", "rollout", "update"]).exits(0);
    assert!(out.contains("rollout-1: done: 3 clusters"), "{out}");
    let submitted = fs::read_to_string(desk.path("scheduler/submitted")).unwrap();
    let mut submitted: Vec<&str> = submitted.lines().collect();
    submitted.sort_unstable();
    assert_eq!(
        submitted,
        ["rollout-1.berlin", "rollout-1.paris", "rollout-1.rome"]
    );
}

#[test]
fn a_scheduler_that_refuses_is_quoted() {
    let desk = scheduled(&fleet(&["paris"], "", &[]));
    write(&desk.path("scheduler/refuse"), "");
    let out = desk.run(&["fleet", "rollout", "update"]).exits(4);
    assert!(out.contains("the queue is closed"), "{out}");
    fs::remove_file(desk.path("scheduler/refuse")).unwrap();
    let out = desk.run(&["fleet", "continue"]);
    assert_eq!(out.code, Some(0), "{out:?}");
    assert_eq!(states(&desk), json!({"berlin": "done", "paris": "done"}));
}

#[test]
fn a_playbook_that_was_changed_meanwhile_is_not_played() {
    let desk = desk(&fleet(&["paris"], "approve = true", &[]).replace("twin:3", "twin:1"));
    write(
        &desk.path("ops.lua"),
        "return { api = 1, run = function() end }",
    );
    let _ = desk.run(&["fleet", "rollout", "ops.lua"]).exits(4);
    write(
        &desk.path("ops.lua"),
        "return { api = 1, run = function() return 1 end }",
    );
    let out = desk.run(&["fleet", "continue", "--yes"]).exits(4);
    assert!(
        out.contains("ops.lua isn't what it was when the rollout began"),
        "{out}"
    );
    write(
        &desk.path("ops.lua"),
        "return { api = 1, run = function() end }",
    );
    let _ = desk.run(&["fleet", "resume", "paris"]).exits(0);
    let _ = desk.run(&["fleet", "continue", "--yes"]).exits(0);
}

#[test]
fn a_playbook_of_a_site_is_rolled_out_with_its_programs() {
    let desk = desk(&alone(&[]).replace("twin:3", "twin:1"));
    write(
        &desk.path("ops.lua"),
        "return { api = 1, run = function(cluster) each(cluster.members, function(m) mark.set { member = m } end) end }",
    );
    fs::create_dir(desk.path("modules")).unwrap();
    let program = desk.path("modules/mark");
    write(
        &program,
        "#!/bin/sh\nread -r request\ncase $request in\n*'\"describe\"'*) echo '{\"module\":{\"protocol\":1,\"about\":\"Marks.\",\"ops\":{\"set\":{\"doc\":\"Set a mark.\",\"effect\":\"converge\",\"args\":{\"type\":\"object\",\"properties\":{\"member\":{\"type\":\"string\",\"format\":\"member\"}}}}}}}' ;;\n*) echo '{\"done\":{}}' ;;\nesac\n",
    );
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let out = desk.run(&["fleet", "rollout", "ops.lua"]).exits(0);
    assert!(out.contains("rollout-1: done: 1 cluster"), "{out}");
    let show = desk.run(&["show", "rollout-1.berlin", "--steps"]).exits(0);
    assert!(show.contains("mark.set"), "{show}");
}

#[test]
fn what_is_no_list_of_jobs_starts_nothing() {
    for garbage in ["echo 'Warteschlange ist leer'", "printf '\\377\\376'"] {
        let desk = scheduled(&alone(&[]));
        let script = SCHEDULER.replace(
            "\tfor pid in *.pid; do",
            &format!("\t{garbage}\n\tfor pid in *.pid; do"),
        );
        assert_ne!(script, SCHEDULER);
        write(&desk.path("scheduler/run"), &script);
        let out = desk.run(&["fleet", "rollout", "update"]).exits(4);
        assert!(out.contains("printed something"), "{out}");
        assert!(!desk.path("scheduler/submitted").exists(), "{out}");
    }
}

#[test]
fn a_lockstep_that_was_replaced_meanwhile_begins_further_jobs() {
    let desk = scheduled(&fleet(&["paris"], "approve = true", &[]));
    let own = desk.path("lockstep");
    // A process that another test begins at this moment would have the copy open, which could not be started then.
    let copied = Command::new("cp").arg(lockstep()).arg(&own).status();
    assert!(copied.unwrap().success());
    let mut rollout = Command::new(&own);
    rollout
        .args(["--state", "state", "fleet", "rollout", "update", "--yes"])
        .current_dir(desk.path("."))
        .stdout(Stdio::null());
    // The file is another one by the time that the scheduler is called.
    let replaced = SCHEDULER.replace("case $1 in", "[ -e replaced ] || { cp ../lockstep ../new && mv ../new ../lockstep; : >replaced; }\ncase $1 in");
    write(&desk.path("scheduler/run"), &replaced);
    assert_eq!(rollout.status().unwrap().code(), Some(0));
    assert_eq!(states(&desk), json!({"berlin": "done", "paris": "done"}));
}

/// A rollout whose first job waits in the queue.
fn queued(desk: &Desk) -> Child {
    write(&desk.path("scheduler/queue"), "");
    let mut rollout = desk.command(&["fleet", "rollout", "update"]);
    let rollout = rollout.stdout(Stdio::null()).spawn().unwrap();
    let submitted = desk.path("scheduler/submitted");
    wait_until("it isn't submitted", || submitted.exists());
    rollout
}

/// A rollout whose only run is in the midst of its step.
fn in_its_step(desk: &Desk) -> Child {
    desk.with_endless_step();
    let mut rollout = desk.command(&["fleet", "rollout", "ops.lua"]);
    let rollout = rollout.stdout(Stdio::null()).spawn().unwrap();
    wait_for_step(desk, 1);
    rollout
}

/// Waits until the step of this number is under way.
fn wait_for_step(desk: &Desk, number: u32) {
    let journal = desk.path("state/runs/rollout-1.berlin/journal.jsonl");
    let start = format!("\"start\":{{\"path\":\"mark.set#{number}\"");
    wait_until("the step doesn't begin", || {
        fs::read_to_string(&journal).is_ok_and(|text| text.contains(&start))
    });
}

/// Stops the run, and waits until it knows; it was stopped so many times then.
fn stop(desk: &Desk, times: usize) {
    let stopped = desk.run(&["fleet", "stop", "berlin"]).exits(0);
    let hint = "Continue it with: lockstep fleet resume berlin -r rollout-1";
    assert!(stopped.contains(hint), "{stopped}");
    let events = desk.path("state/runs/rollout-1.berlin/events.jsonl");
    wait_until("it isn't interrupted", || {
        read(&events).matches("\"event\":\"interrupted\"").count() == times
    });
}

/// A rollout whose only run is in the midst of its step, is described, and is stopped.
fn described_and_stopped(desk: &Desk) -> String {
    let described = described_and_stopped_first(desk);
    let again = desk.run(&["fleet", "stop", "berlin"]).exits(0);
    assert!(again.contains("there is nothing to stop"), "{again}");
    let _ = desk.run(&["fleet", "resume", "berlin"]).exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
    assert_eq!(states(desk), json!({"berlin": "done"}));
    described
}

/// The same, after its first step.
fn described_and_stopped_first(desk: &Desk) -> String {
    let mut rollout = in_its_step(desk);
    let described = desk.run(&["fleet", "describe", "berlin"]).exits(0);
    assert!(
        described.starts_with("rollout-1.berlin: running\nexecutor: default\n"),
        "{described}"
    );
    stop(desk, 1);
    // What is under way comes to its end.
    desk.end_step();
    assert_eq!(rollout.wait().unwrap().code(), Some(4));
    assert_eq!(states(desk), json!({"berlin": "suspended"}));
    described
}

#[test]
fn a_run_of_this_machine_is_described_and_stopped() {
    let described = described_and_stopped(&desk(&alone(&[])));
    assert!(described.contains("process: "), "{described}");
}

#[test]
fn a_job_of_a_program_is_described_and_stopped() {
    let described = described_and_stopped(&scheduled(&alone(&[])));
    assert!(described.contains("on a machine of ours"), "{described}");
}

#[test]
fn a_job_that_is_stopped_in_the_queue_is_not_submitted_again() {
    let desk = scheduled(&alone(&[]));
    let mut rollout = queued(&desk);
    let _ = desk.run(&["fleet", "stop", "berlin"]).exits(0);
    assert_eq!(rollout.wait().unwrap().code(), Some(4));
    assert_eq!(
        read(&desk.path("scheduler/submitted")),
        "rollout-1.berlin\n"
    );
    let held = desk.json(&["fleet", "held", "--json"]);
    assert_eq!(held[0]["state"], "suspended", "{held}");
    assert!(held[0]["why"].as_str().unwrap().starts_with("stopped by "));
    let _ = desk.run(&["fleet", "resume", "berlin"]).exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
    assert_eq!(states(&desk), json!({"berlin": "done"}));
}

#[test]
fn a_cluster_that_is_skipped_in_the_queue_is_not_begun() {
    let desk = scheduled(&alone(&[]));
    let mut rollout = queued(&desk);
    let skip = ["fleet", "skip", "berlin", "--why", "it moves"];
    let _ = desk.run(&skip).exits(0);
    assert_eq!(rollout.wait().unwrap().code(), Some(0));
    // Its scheduler doesn't know of it.
    let job = desk.json(&["fleet", "exec", "rollout-1.berlin"]);
    assert_eq!(job["state"], "skipped", "{job}");
    assert!(!desk.path("state/runs/rollout-1.berlin").exists());
}

#[test]
fn a_job_that_is_killed_while_it_stops_is_stopped() {
    let desk = scheduled(&alone(&[]));
    let mut rollout = in_its_step(&desk);
    rollout.kill().unwrap();
    rollout.wait().unwrap();
    let _ = desk.run(&["fleet", "stop", "berlin"]).exits(0);
    let job = read(&desk.path("scheduler/rollout-1.berlin.pid"));
    let killed = Command::new("kill").args(["-9", job.trim()]).status();
    assert!(killed.unwrap().success());
    wait_until("it isn't gone", || states(&desk)["berlin"] != "running");
    assert_eq!(states(&desk), json!({"berlin": "suspended"}));
    let held = desk.json(&["fleet", "held", "--json"]);
    assert!(held[0]["why"].as_str().unwrap().starts_with("stopped by "));
    // It is not taken up before somebody says so.
    let job = desk.json(&["fleet", "exec", "rollout-1.berlin"]);
    assert_eq!(job["state"], "suspended", "{job}");
    desk.end_step();
    let _ = desk.run(&["fleet", "resume", "berlin"]).exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
    assert_eq!(states(&desk), json!({"berlin": "done"}));
}

#[test]
fn a_run_that_is_continued_by_hand_is_stopped() {
    let desk = scheduled(&alone(&[]));
    let _ = described_and_stopped_first(&desk);
    wait_until("its job is still there", || {
        let jobs = Command::new(desk.path("scheduler/run"))
            .arg("list")
            .output();
        jobs.unwrap().stdout.is_empty()
    });
    fs::remove_file(desk.path("go")).unwrap();
    let mut resumed = desk.command(&["fleet", "resume", "berlin"]);
    let mut resumed = resumed.stdout(Stdio::null()).spawn().unwrap();
    wait_for_step(&desk, 2);
    // Its job ends between the look for it and what is asked of it.
    write(&desk.path("scheduler/ending"), "rollout-1.berlin\n");
    stop(&desk, 2);
    desk.end_step();
    assert_eq!(resumed.wait().unwrap().code(), Some(5));
}

#[test]
fn a_scheduler_that_stops_nothing_leaves_the_run_alone() {
    let desk = scheduled(&fleet(&["paris"], "", &[]));
    let script = read(&desk.path("scheduler/run"));
    let script = script.replace("stop) ", "stop) echo 'not now' >&2; exit 1 ;; never) ");
    write(&desk.path("scheduler/run"), &script);
    let mut rollout = queued(&desk);
    // The one after it is seen to all the same.
    let said = desk.run(&["fleet", "stop", "berlin", "paris"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("not now"), "{said:?}");
    assert!(
        said.stdout.contains("rollout-1.paris is not running"),
        "{said:?}"
    );
    fs::remove_file(desk.path("scheduler/queue")).unwrap();
    assert_eq!(rollout.wait().unwrap().code(), Some(0));
    assert_eq!(states(&desk), json!({"berlin": "done", "paris": "done"}));
}

#[test]
fn a_cluster_without_a_job_is_not_asked_to_stop() {
    for desk in [scheduled, desk] {
        let desk = desk(&fleet(&["paris"], "", &[FAULT]));
        let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
        let out = desk.run(&["fleet", "stop", "paris"]).exits(0);
        assert_eq!(out, "rollout-1.paris is not running\n");
    }
}

#[test]
fn what_is_in_no_rollout_is_neither_described_nor_stopped() {
    let desk = desk(&alone(&[]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(0);
    for what in ["describe", "stop"] {
        let out = desk.run(&["fleet", what, "berlim"]);
        assert!(
            out.code == Some(2) && out.stderr.contains("did you mean \"berlin\""),
            "{out:?}"
        );
    }
}
