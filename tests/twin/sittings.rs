//! A run that two processes carry on: the one that was taken over begins nothing more.

use lockstep::engine::Decisions;
use lockstep::journal::{Crash, MemoryJournal};
use lockstep_modules::contract::error::Kind;
use lockstep_tests::{Bench, Ended};

/// The same run at the same cluster, in another process.
fn elsewhere(bench: &Bench) -> Bench {
    let mut copy = bench.fresh_copy();
    copy.journal = MemoryJournal::with(&bench.journal.text());
    copy.controller = "second".to_owned();
    copy
}

#[test]
fn a_run_that_was_taken_up_elsewhere_is_refused_here() {
    let mut here = Bench::update(3);
    assert!(matches!(here.run_until(Crash::Before(30)), Ended::Killed));
    let mut there = elsewhere(&here);
    // It took the cluster over, and nothing else so far.
    assert!(matches!(
        there.resume_until(Decisions::default(), Crash::Before(3)),
        Ended::Killed
    ));
    let refreshes = there.refreshes();
    here.world = there.world.clone();
    let reported = "micro01: update-1 was continued elsewhere by nobody@twin, as session 2: continue it there; if that run no \
                longer exists: lockstep unlock";
    assert_eq!(here.resume().suspended(), reported);
    let trusting = here.resume_with(Decisions::default(), true);
    assert_eq!(trusting.suspended(), reported);
    assert_eq!(here.abort().suspended(), reported);
    assert_eq!(here.refreshes(), refreshes);
    assert_eq!(here.world.settings(), there.world.settings());

    there.resume().done();
    there.assert_updated();
    here.world = there.world.clone();
    let ended = here.resume().suspended();
    let reported = "update-1 was continued elsewhere by nobody@twin, as session 3, which has released the cluster";
    assert!(ended.starts_with(reported), "{ended}");
    assert_eq!(here.refreshes(), there.refreshes());
}

#[test]
fn of_two_that_resume_a_run_at_once_one_is_refused() {
    let mut first = Bench::update(3);
    assert!(matches!(first.run_until(Crash::Before(30)), Ended::Killed));
    let mut second = elsewhere(&first);
    // The second one has looked and found the first sitting's claim everywhere; the first one was faster on micro01.
    assert!(matches!(
        first.resume_until(Decisions::default(), Crash::Before(3)),
        Ended::Killed
    ));
    let claim = first
        .world
        .file("micro01", "/var/lib/lockstep/lock")
        .cloned();
    assert!(
        format!("{claim:?}").contains(r#"\"nonce\":\"first\""#),
        "{claim:?}"
    );
    second
        .world
        .set_file("micro01", "/var/lib/lockstep/lock", claim);
    let reported = second.resume().suspended();
    assert!(
        reported.starts_with("micro01: update-1 was continued elsewhere"),
        "{reported}"
    );
    for member in ["micro02", "micro03"] {
        let claim = format!("{:?}", second.world.file(member, "/var/lib/lockstep/lock"));
        assert!(claim.contains(r#"\"number\":1,"#), "{claim}");
    }
}

#[test]
fn no_change_is_begun_under_the_claim_of_another() {
    let body = r#"
        lock.take {}
        local here = lock.read {}.members[1]
        lock.remove { shown = { [here.member] = here.says } }
        -- No try gets around it.
        try(microceph.noout, { member = "micro01", on = true })
        try(microceph.noout, { member = "micro01", on = false })
        lock.release {}
    "#;
    let mut bench = Bench::playing(body, 3);
    let held = bench.run().held();
    assert_eq!(held.path, "microceph.noout#1");
    assert_eq!(held.failure.kind, Kind::Taken);
    assert!(held.in_doubt);
    let reported = "micro01: microceph.noout: the lock of test-1 is gone, so the cluster may be changed by somebody else: \
                lockstep resume test-1 takes it again";
    assert_eq!(held.failure.to_string(), reported);
    let asked = bench.world.log.iter().flat_map(|e| e.argv.iter());
    assert_eq!(asked.filter(|word| *word == "set-group").count(), 0);
    bench.resume().done();
}
