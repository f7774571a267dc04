//! Runs that a lockstep of before began: each is resumed, or refused with a sentence that says what to do.

use lockstep_tests::desk::Desk;
use std::process::Command;

/// `tests/formats/N` is the folder of a run whose journal is of format N: `drain.lua` on a simulated cluster, held at its
/// question, with the lock and `noout` on.
fn taken_up(format: u32) -> Desk {
    let desk = Desk::new();
    let runs = desk.path("state/runs");
    std::fs::create_dir_all(&runs).unwrap();
    let from = lockstep_tests::root().join(format!("tests/formats/{format}"));
    let copied = Command::new("cp")
        .arg("-r")
        .args([from, runs.join("drain-1")])
        .status();
    assert!(copied.unwrap().success());
    let shown = desk.run(&["show", "drain-1"]).exits(0);
    assert!(shown.contains("held"), "{shown}");
    let _ = desk.run(&["resume", "drain-1", "--yes"]).exits(0);
    let steps = desk.run(&["show", "drain-1", "--steps"]).exits(0);
    for step in ["microceph.noout clear: done", "lock.release: free"] {
        assert!(steps.contains(step), "{steps}");
    }
    let journal = std::fs::read_to_string(runs.join("drain-1/journal.jsonl")).unwrap();
    assert!(journal.contains(r#"{"sitting":{"number":2,"#), "{journal}");
    desk
}

#[test]
fn a_run_without_sittings_is_resumed_to_its_end() {
    let _ = taken_up(2);
}

#[test]
fn a_run_that_stopped_for_a_reason_in_words_is_resumed() {
    let desk = taken_up(3);
    let shown = desk.run(&["show", "drain-1"]).exits(0);
    assert!(shown.contains("paused: held at confirm#1"), "{shown}");
}
