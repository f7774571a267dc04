//! Rollouts on simulated fleets, and rollouts whose playbook is wrong.

use std::fs;

use lockstep::bundle::{Finder, Playbooks};
use lockstep::fleet::{FleetCheck, FleetReport};
use lockstep_modules::registry;
use lockstep_tests::root;

const CHECK: FleetCheck = FleetCheck {
    clusters: 12,
    tries: 60,
    seed: 7,
    only: None,
    kills: false,
};

#[test]
fn no_disturbance_makes_a_rollout_break_a_rule() {
    let check = FleetCheck {
        kills: true,
        ..CHECK
    };
    let report = check
        .run(&registry(), &|| Finder::shipped(Playbooks::Shipped))
        .unwrap();
    assert_eq!(report.findings, []);
    // Three places at each append, of processes that wait and of those that end meanwhile.
    assert!(
        report.kills > 400 && report.kills.is_multiple_of(3),
        "{}",
        report.kills
    );
}

/// What is found with this in place of that in the rollout's playbook.
fn changed(check: FleetCheck, from: &str, to: &str) -> FleetReport {
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(root().join("playbooks/rollout.lua")).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(folder.path().join("rollout.lua"), text.replace(from, to)).unwrap();
    fs::copy(
        root().join("playbooks/flow.lua"),
        folder.path().join("flow.lua"),
    )
    .unwrap();
    let finder = || Finder::shipped(Playbooks::Folder(folder.path().to_owned()));
    check.run(&registry(), &finder).unwrap()
}

#[test]
fn a_window_that_shut_while_nobody_was_there_is_found() {
    let check = FleetCheck {
        tries: 0,
        kills: true,
        ..CHECK
    };
    let found = changed(
        check,
        "window = hours(entry.window),\n\t\t\t\t\tbarred",
        "barred",
    )
    .findings;
    assert!(
        found
            .iter()
            .any(|(_, what)| what.contains("its window was shut")),
        "{found:?}"
    );
}

#[test]
fn a_window_that_is_not_waited_for_is_found() {
    // It asks again and again, and no time passes.
    let few = FleetCheck { tries: 3, ..CHECK };
    let found = changed(
        few,
        "cluster.window { member = entry.name, window = hours(entry.window) }",
        "",
    )
    .findings;
    let endless = |(_, what): &(String, String)| what.contains("it doesn't come to an end");
    assert!(found.iter().any(endless), "{found:?}");
}

/// A rule that a change of the playbook breaks, each a test of its own.
macro_rules! broken {
    ($($name:ident: $from:expr => $to:expr, $rule:expr;)*) => {$(
        #[test]
        fn $name() {
            let found = changed(CHECK, $from, $to).findings;
            assert!(found.iter().any(|(_, what)| what.contains($rule)), "{found:?}");
        }
    )*};
}

broken! {
    more_than_the_limit_is_found: "limit = ring.limit,\n\t\tbudget" => "limit = 9,\n\t\tbudget", "and the limit is";
    a_budget_that_is_not_kept_is_found: "budget = ring.budget,\n\t\t--" => "budget = 9,\n\t\t--", "and the budget is";
    a_budget_that_failed_while_it_waited_is_found: "waits(function()" => "pcall(function()", "and the budget is";
    a_run_for_which_there_is_no_time_is_found: "room = longest > 0" => "room = false", "others took longer";
    a_soak_that_is_too_short_is_found: "span = ring.soak" => "span = '1s'", "and the soak is";
    a_ring_that_nobody_looks_at_is_found: "cluster.verify { member = name }" => "", "was not looked at";
    a_ring_that_begins_too_early_is_found: "each(p.rings" => "parallel(p.rings", "has not stopped";
    a_cluster_that_is_forgotten_is_found: "each(p.rings" => "each({ p.rings[1] }", "was never begun";
}
