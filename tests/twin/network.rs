//! MicroOVN's wave when something is wrong with the network's databases.

use std::time::Duration;

use lockstep::engine::{Answer, Finish};
use lockstep::journal::Crash;
use lockstep_tests::{Bench, Ended, assert_nothing_left_on, reported};
use lockstep_twin::{Scenario, World};
use serde_json::json;

fn only_microovn(members: usize) -> Bench {
    Bench::shipped(
        "update",
        &Scenario::of(members),
        &json!({"only": ["microovn"]}),
    )
}

/// Runs the wave with something wrong, and continues once that is fixed. Returns where it was held.
fn held_by(fault: impl FnOnce(&mut World), fix: impl FnOnce(&mut World)) -> String {
    let mut bench = only_microovn(3);
    let held = lockstep_tests::held_by(&mut bench, fault, fix);
    assert_whole(&bench);
    held
}

fn assert_whole(bench: &Bench) {
    lockstep_tests::assert_refreshed(bench, "microovn", 701);
}

#[test]
fn what_is_wrong_holds_the_wave_at_its_gate() {
    let held = [
        held_by(|world| world.lose_raft_server("micro03"), World::mend_ovn),
        held_by(|world| world.hold_entries("micro02", 3), World::mend_ovn),
        held_by(World::stall_conversion, World::mend_ovn),
        held_by(
            |world| world.lose_daemon("microovn", "micro03"),
            |world| world.mend_daemons("microovn"),
        ),
        held_by(
            |world| world.lose_service("microovn", "micro03", "chassis"),
            |world| world.mend_daemons("microovn"),
        ),
        held_by(
            |world| {
                let fault = "no-return:microovn,micro03".parse().unwrap();
                world.inject(fault).unwrap();
            },
            World::mend,
        ),
    ];
    insta::assert_snapshot!(held.join("\n"));
}

#[test]
fn what_is_down_on_a_member_does_not_stop_its_refresh() {
    let mut bench = Bench::playing(r#"microovn.spare { member = "micro03" }"#, 3);
    bench.world.fail_raft_server("micro03");
    bench.wait(Duration::from_secs(30));
    bench.run().done();
    let mut bench = Bench::playing(r#"microovn.spare { member = "micro01" }"#, 3);
    bench.world.fail_raft_server("micro03");
    bench.wait(Duration::from_secs(30));
    insta::assert_snapshot!(reported(&bench.run().held()));
}

#[test]
fn short_election_timers_are_raised_by_doubling_and_restored() {
    let mut bench = only_microovn(3);
    bench.world.set_election_timer(1000);
    bench.run().done();
    assert_whole(&bench);
    assert_eq!(bench.world.election_timers(), [1000, 1000]);
    let asked = bench
        .world
        .log
        .iter()
        .filter(|e| e.argv.iter().any(|a| a == "cluster/change-election-timer"));
    let asked: Vec<&str> = asked
        .filter_map(|e| e.argv.last().map(String::as_str))
        .collect();
    assert_eq!(
        asked,
        [
            "2000", "2000", "4000", "4000", "8000", "8000", "16000", "16000", "1000", "1000"
        ]
    );
}

#[test]
fn timers_are_restored_however_often_the_run_is_killed() {
    for n in (1..).step_by(3) {
        let mut bench = only_microovn(3);
        bench.world.set_election_timer(4000);
        if !matches!(bench.run_until(Crash::After(n)), Ended::Killed) {
            break;
        }
        bench.wait(Duration::from_secs(2));
        bench.resume().done();
        assert_whole(&bench);
        assert_eq!(bench.world.election_timers(), [4000, 4000], "killed at {n}");
    }
}

#[test]
fn databases_on_a_part_of_the_members_keep_their_majority() {
    let mut bench = only_microovn(5);
    bench.world.place_ovn(&["micro02", "micro04", "micro05"]);
    bench.run().done();
    assert_whole(&bench);
    let order: Vec<String> = bench.refreshes();
    assert_eq!(
        order[3..],
        ["micro02 microovn", "micro04 microovn"],
        "leaders are last: {order:?}"
    );
}

#[test]
fn that_databases_must_stop_is_asked_before_any_change() {
    let mut bench = only_microovn(2);
    insta::assert_snapshot!(reported(&bench.run().held()));
    let changed = bench
        .world
        .log
        .iter()
        .filter(|e| e.root && e.argv[0] == "/usr/bin/snap");
    assert_eq!(changed.count(), 0);
    bench.answer = Answer::Yes;
    bench.resume().done();
    assert_whole(&bench);
}

#[test]
fn a_run_that_resumes_at_a_closed_gate_refreshes_nothing() {
    let (mut held, mut tried) = (0, 0);
    for n in (1..).step_by(2) {
        let mut bench = only_microovn(3);
        if !matches!(bench.run_until(Crash::After(n)), Ended::Killed) {
            break;
        }
        tried += 1;
        // A refresh that was asked for continues by itself.
        bench.wait(Duration::from_secs(60));
        bench.world.fail_raft_server("micro02");
        bench.wait(Duration::from_secs(600));
        for _ in 0..3 {
            match bench.resume() {
                Ended::Finish(Finish::Done(_)) => break,
                Ended::Finish(Finish::Held(_) | Finish::Refused(_)) => {
                    held += 1;
                    bench.world.mend_ovn();
                    bench.wait(Duration::from_secs(60));
                }
                other => panic!("killed at {n}: {other:?}"),
            }
        }
        assert_whole(&bench);
        assert_nothing_left_on(&bench);
    }
    assert!(held > 10 && tried > held, "{held} of {tried}");
}
