//! What must be the same after a run as before it.

use lockstep::engine::Answer;
use lockstep_tests::{Bench, reported};
use lockstep_twin::Broken;
use serde_json::Value;

/// Records, lets something happen, and compares.
const AROUND: &str =
    "local since = status.lasting {}\nconfirm 'Go on?'\nreturn status.unharmed { since = since }";

#[test]
fn what_must_last_is_read_first_and_compared_at_the_end() {
    let mut bench = Bench::update(3);
    bench.run().done();
    let steps = bench.history().steps;
    let lasting = &steps["Record/status.lasting#1"];
    let refreshes = steps.values().filter(|step| step.op == "snap.refresh");
    let first = refreshes.filter_map(|step| step.began).min().unwrap();
    assert!(lasting.ended.unwrap() <= first);
    let unharmed = &steps["status.unharmed#1"];
    assert!(unharmed.args["since"]["areas"].as_array().unwrap().len() > 5);
    assert!(unharmed.began.unwrap() > first);
}

#[test]
fn all_that_upstream_compares_is_recorded() {
    let mut bench = Bench::playing("return status.lasting {}", 3);
    bench.world.add_filesystem();
    bench.world.keep_key(1, true);
    let out = bench.run().done();
    let areas = out["areas"].as_array().unwrap();
    let facts = areas.iter().flat_map(|area| {
        assert_eq!(area["unread"], Value::Null, "{area}");
        area["facts"].as_object().unwrap()
    });
    let facts: Vec<String> = facts.map(|(about, is)| format!("{about}: {is}")).collect();
    insta::assert_snapshot!(facts.join("\n"));
}

#[test]
fn what_differs_at_the_end_holds_the_run_and_is_named() {
    let mut bench = Bench::playing(AROUND, 3);
    bench.run().held();
    bench
        .world
        .place_ceph(&["micro01", "micro02", "micro03"], &["micro01", "micro02"]);
    bench.answer = Answer::Yes;
    insta::assert_snapshot!(reported(&bench.resume().held()));
}

#[test]
fn a_key_of_a_disk_that_is_lost_holds_the_run() {
    let mut bench = Bench::playing(AROUND, 3);
    bench.world.keep_key(1, true);
    bench.run().held();
    bench.world.keep_key(1, false);
    bench.answer = Answer::Yes;
    let held = reported(&bench.resume().held());
    assert!(held.contains("the key of osd.1 is gone"), "{held}");
}

#[test]
fn what_cannot_be_read_is_reported_and_not_passed() {
    // Not before: that is reported.
    let mut bench = Bench::playing(AROUND, 3);
    bench.world.break_program("disk list", Broken::Fails);
    bench.run().held();
    bench.answer = Answer::Yes;
    let out = bench.resume().done();
    let unread = out["unread"].to_string();
    assert!(unread.contains("MicroCeph's disks: "), "{unread}");
    // Not afterwards: then nobody can say that all is well.
    for broken in [Broken::Fails, Broken::Nothing, Broken::Garbage] {
        for words in [
            "disk list",
            "config-key ls",
            "pool ls",
            "list Encap",
            "/1.0/profiles",
        ] {
            let mut bench = Bench::playing(AROUND, 3);
            bench.run().held();
            bench.world.break_program(words, broken);
            bench.answer = Answer::Yes;
            let held = reported(&bench.resume().held());
            assert!(held.contains("it can't be determined"), "{words}: {held}");
        }
    }
}
