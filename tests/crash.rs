//! The controller is killed at every append to its journal, in each place, and comes back at once or later.

use std::time::Duration;

use lockstep::journal::Crash;
use lockstep_tests::{Bench, Ended};

/// Tells how much was tried; seen with `--nocapture`.
fn note(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

type Placement = fn(usize) -> Crash;

const PLACEMENTS: [Placement; 3] = [Crash::Before, Crash::Torn, Crash::After];

/// Kills an update at its append number `n`, resumes it after `downtime`, and checks that nothing shows in the end.
/// Returns false when the run ended before that append.
fn survive(members: usize, crash: Crash, downtime: Duration) -> bool {
    let mut bench = Bench::update(members);
    match bench.run_until(crash) {
        Ended::Killed => {}
        Ended::Finish(_) => return false,
        Ended::Error(error) => panic!("{error}"),
    }
    bench.wait(downtime);
    let result = match bench.resume() {
        Ended::Finish(lockstep::engine::Finish::Done(value)) => value,
        other => panic!(
            "{crash:?}, {downtime:?} away: {other:?}\n{}",
            bench.journal.text()
        ),
    };
    bench.assert_updated();
    let mut refreshes = bench.refreshes();
    refreshes.sort();
    refreshes.dedup();
    assert_eq!(
        refreshes.len(),
        bench.refreshes().len(),
        "{crash:?}: a refresh was asked for twice"
    );
    assert_eq!(
        result["components"].as_array().map(Vec::len),
        Some(4),
        "{crash:?}"
    );
    true
}

fn every_append(members: usize, downtime: Duration) {
    let mut tried = 0;
    for place in PLACEMENTS {
        tried += (1..)
            .take_while(|n| survive(members, place(*n), downtime))
            .count();
    }
    note(&format!(
        "{members} members, {downtime:?} away: killed at {tried} placements"
    ));
    assert!(tried > 100);
}

#[test]
fn a_controller_that_comes_back_at_once_leaves_no_trace() {
    every_append(3, Duration::ZERO);
}

#[test]
fn a_controller_that_comes_back_after_ten_minutes_leaves_no_trace() {
    every_append(3, Duration::from_secs(600));
}

#[test]
fn one_member_is_enough_to_be_killed_on() {
    every_append(1, Duration::from_secs(5));
}

#[test]
fn a_resumed_run_can_be_killed_again() {
    let mut twice = 0;
    for first in (5..140).step_by(9) {
        for second in (1..40).step_by(7) {
            let mut bench = Bench::update(3);
            if !matches!(bench.run_until(Crash::After(first)), Ended::Killed) {
                continue;
            }
            bench.wait(Duration::from_secs(3));
            if matches!(bench.resume_until(Crash::After(second)), Ended::Killed) {
                twice += 1;
                bench.resume().done();
            }
            bench.assert_updated();
        }
    }
    assert!(twice > 50, "{twice}");
}
