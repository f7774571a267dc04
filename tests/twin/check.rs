//! What is found in playbooks that break a rule, and that nothing is found in the shipped ones.

use lockstep::bundle::{Finder, Playbooks};
use lockstep::check::{Check, Report};
use lockstep::trial::Piece;
use lockstep_tests::root;
use lockstep_twin::Scenario;
use serde_json::{Value, json};

fn check(piece: &Piece, members: usize, tries: usize) -> Report {
    let check = Check {
        scenarios: vec![Scenario::of(members)],
        tries,
        seed: 7,
        only: None,
        kills: false,
    };
    check.run(piece, &|_, _| {})
}

fn broken(name: &str) -> Report {
    let file = root().join("tests/lua/broken").join(format!("{name}.lua"));
    let finder = Finder::site(&file, Playbooks::Shipped);
    let registry = lockstep_modules::registry();
    let main = file.display().to_string();
    let piece = Piece::load(&main, Box::new(finder), &registry, &Default::default());
    check(&piece.unwrap_or_else(|e| panic!("{e}")), 3, 0)
}

fn shipped(name: &str, params: &Value) -> Piece {
    let finder = Finder::shipped(Playbooks::Shipped);
    let registry = lockstep_modules::registry();
    let params = params.as_object().cloned().unwrap_or_default();
    Piece::load(name, Box::new(finder), &registry, &params).unwrap_or_else(|e| panic!("{e}"))
}

/// The rules that were found broken, each with the line.
fn found(report: &Report) -> Vec<String> {
    let line = |site: &str| site.rsplit('/').next().unwrap_or_default().to_owned();
    let finding = |f: &lockstep::check::Finding| format!("{} {}", f.rule, line(&f.site));
    report.findings.iter().map(finding).collect()
}

#[test]
fn calls_that_do_not_fit_their_ops_are_found_unplayed() {
    let report = broken("calls");
    let line = |site: &str| site.rsplit('/').next().unwrap_or_default().to_owned();
    let reported: Vec<String> = report
        .findings
        .iter()
        .map(|f| format!("{}: {}: {}", line(&f.site), f.rule, f.what))
        .collect();
    insta::assert_snapshot!(reported.join("\n"));
}

#[test]
fn two_members_at_once_are_found() {
    let report = broken("two-at-once");
    let rules = found(&report);
    assert!(
        rules.contains(&"one-member-at-a-time two-at-once.lua:6".to_owned()),
        "{rules:?}"
    );
    assert!(
        rules.contains(&"quorum-kept two-at-once.lua:6".to_owned()),
        "{rules:?}"
    );
    let history = &report.findings[0].history;
    assert!(
        history.iter().all(|line| line.contains("snap refresh")),
        "{history:?}"
    );
}

#[test]
fn a_missing_wait_is_found() {
    let rules = found(&broken("no-wait"));
    assert!(
        rules.contains(&"one-member-at-a-time no-wait.lua:6".to_owned()),
        "{rules:?}"
    );
    assert!(
        rules.contains(&"gate-open no-wait.lua:6".to_owned()),
        "{rules:?}"
    );
}

#[test]
fn a_flag_that_stays_is_found() {
    assert_eq!(
        found(&broken("noout-left")),
        ["nothing-left-on noout-left.lua:7"]
    );
}

#[test]
fn an_evacuation_during_skew_is_found() {
    let rules = found(&broken("evacuate-in-skew"));
    assert!(
        rules.contains(&"no-evacuation-during-skew evacuate-in-skew.lua:6".to_owned()),
        "{rules:?}"
    );
}

#[test]
fn lxd_one_by_one_is_found() {
    assert_eq!(
        found(&broken("lxd-one-by-one")),
        ["lxd-together lxd-one-by-one.lua:6"]
    );
}

#[test]
fn nothing_is_found_in_the_shipped_playbooks() {
    for (name, params) in [
        ("update", json!({"looks": 1})),
        ("update", json!({"looks": 1, "evacuate": true})),
        (
            "upgrade",
            json!({"looks": 1, "to": "3", "accept": ["microcloud-3-in-production"]}),
        ),
    ] {
        let report = check(&shipped(name, &params), 3, 40);
        assert_eq!(report.tries, 40, "{:#?}", report.findings);
        assert_eq!(
            found(&report),
            Vec::<String>::new(),
            "{name} {params}: {:#?}",
            report.findings
        );
    }
}

#[test]
fn the_same_seed_tries_the_same() {
    let piece = shipped("update", &json!({"looks": 1}));
    let scenario = Scenario::of(3);
    let judge = lockstep::check::Judge::new(&piece, &scenario).unwrap_or_else(|f| panic!("{f:#?}"));
    assert_eq!(judge.random(9, 3), judge.random(9, 3));
    assert_ne!(judge.random(9, 3), judge.random(9, 4));
    assert_ne!(judge.random(9, 3), judge.random(10, 3));
}
