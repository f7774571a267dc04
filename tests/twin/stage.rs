//! Snaps that are on the members before the first service stops.

use lockstep_tests::Bench;
use lockstep_twin::Scenario;
use serde_json::{Value, json};

/// Where snapd looks for a file before it downloads one.
const CACHE: &str = "/var/lib/snapd/cache/";

/// Stages a snap on a member of the bench's world, which keeps what came of it.
fn stage(bench: &mut Bench, snap: &str) -> Value {
    let body = format!(r#"return snap.stage {{ member = "micro02", snap = "{snap}" }}"#);
    let mut staging = Bench::playing(&body, 3);
    staging.world = bench.world.clone();
    let out = staging.run().done();
    bench.world = staging.world.clone();
    out
}

/// For how long a member was asked how its refresh proceeds, in milliseconds.
fn took(bench: &Bench, member: &str) -> u64 {
    let at = |word: &str| {
        let log = bench.world.log.iter().filter(|e| e.member == member);
        let about =
            log.filter(|e| e.argv[0].ends_with("/snap") && e.argv.contains(&word.to_owned()));
        about.map(|e| e.at).next_back().unwrap()
    };
    at("watch") - at("--no-wait")
}

/// The files that were staged on a member, those that are there.
fn there(bench: &Bench, member: &str) -> Vec<String> {
    let log = bench.world.log.iter().filter(|e| e.member == member);
    let staged = log.filter(|e| e.argv.contains(&"snap.stage".to_owned()));
    let mut paths: Vec<String> = staged.map(|e| format!("{CACHE}{}", e.argv[6])).collect();
    paths.sort();
    paths.dedup();
    paths.retain(|path| bench.world.file(member, path).is_some());
    paths
}

/// How many refreshes snapd undid on a member.
fn undone(bench: &Bench, member: &str) -> usize {
    let body = format!(r#"return snap.changes {{ member = "{member}" }}"#);
    let mut look = Bench::playing(&body, 3);
    look.world = bench.world.clone();
    let out = look.run().done();
    let changes = out["changes"].as_array().unwrap();
    changes
        .iter()
        .filter(|c| c["status"] == json!("Error"))
        .count()
}

#[test]
fn an_update_downloads_nothing_once_a_member_is_touched() {
    let downtime = |given: Value| {
        let mut bench = Bench::shipped("update", &Scenario::of(3), &given);
        bench.world.slow_down("microcloud", 300_000);
        bench.run().done();
        assert_eq!(bench.revisions("microcloud"), [1210, 1210, 1210]);
        ["micro01", "micro02", "micro03"].map(|member| took(&bench, member))
    };
    let ahead = downtime(json!({ "only": ["microcloud"] }));
    assert!(ahead.iter().all(|ms| *ms < 10_000), "{ahead:?}");
    let within = downtime(json!({ "only": ["microcloud"], "stage": false }));
    assert!(within.iter().all(|ms| *ms > 290_000), "{within:?}");
}

#[test]
fn what_is_staged_is_what_the_store_gives_and_is_there_once() {
    let mut bench = Bench::update(3);
    let out = stage(&mut bench, "lxd");
    assert_eq!(
        (&out["changed"], &out["revision"]),
        (&json!(true), &json!("33110"))
    );
    let again = stage(&mut bench, "lxd");
    assert_eq!(
        (&again["changed"], &again["removed"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(there(&bench, "micro02").len(), 1);
}

#[test]
fn a_wrong_file_is_removed_whether_it_is_staged_or_refreshed() {
    for given in [json!({}), json!({ "stage": false })] {
        let mut bench = Bench::shipped("update", &Scenario::of(3), &given);
        for snap in ["microceph", "microovn", "lxd", "microcloud"] {
            bench.fault(&format!("wrong-file:{snap},micro02"));
        }
        bench.run().done();
        bench.assert_updated();
        let failed = undone(&bench, "micro02");
        let expected = if given == json!({}) { 0 } else { 4 };
        assert_eq!(failed, expected, "{given}");
        assert_eq!(bench.world.violations(), []);
    }
}

#[test]
fn a_release_that_comes_after_the_downloads_is_downloaded() {
    let mut bench = Bench::update(3);
    let out = stage(&mut bench, "microcloud");
    assert_eq!(out["revision"], json!("1210"));
    bench.fault("new-release:microcloud");
    bench.wait(std::time::Duration::from_secs(1));
    bench.run().done();
    assert_eq!(bench.revisions("microcloud"), [1211, 1211, 1211]);
}

#[test]
fn what_was_staged_and_is_gone_is_downloaded() {
    let mut bench = Bench::shipped("update", &Scenario::of(3), &json!({ "stage": false }));
    let _ = stage(&mut bench, "microcloud");
    for path in there(&bench, "micro02") {
        bench.world.set_file("micro02", &path, None);
    }
    bench.run().done();
    bench.assert_updated();
}

#[test]
fn a_full_disk_gets_no_file_and_holds_until_there_is_room() {
    // Downloads ahead find no room; refreshes hold where they do not either, with everything as it was.
    let mut bench = Bench::update(3);
    bench.fault("disk-full:micro03");
    let held = bench.run().held();
    assert_eq!(held.path.op(), "snap.refresh", "{held:?}");
    assert_eq!(there(&bench, "micro03"), Vec::<String>::new());
    bench.world.mend();
    bench.resume().done();
    bench.assert_updated();
}

#[test]
fn a_store_that_is_away_is_said_and_nothing_is_left() {
    let body = r#"return try(snap.stage, { member = "micro02", snap = "lxd" })"#;
    let mut bench = Bench::playing(body, 3);
    bench.fault("store-error:503");
    let tried = bench.run().done();
    assert_eq!(tried["ok"], json!(false));
    let message = tried["error"]["message"].as_str().unwrap();
    assert!(message.contains("HTTP status code 503"), "{message}");
    assert_eq!(there(&bench, "micro02"), Vec::<String>::new());
}

#[test]
fn what_can_not_be_staged_makes_staging_alone_fail() {
    let mut bench = Bench::shipped("stage", &Scenario::of(3), &json!({ "lxd": "nono/stable" }));
    let error = format!("{:?}", bench.run());
    assert!(error.starts_with("Finish(Failed"), "{error}");
    let line =
        "lxd on micro01, micro02, micro03: snapd says: no snap revision on specified channel";
    assert!(error.contains(line), "{error}");
}

#[test]
fn staging_alone_changes_nothing_else() {
    let mut bench = Bench::shipped("stage", &Scenario::of(3), &json!({ "only": ["lxd"] }));
    let out = bench.run().done();
    let all = json!({ "lxd": "33110" });
    let expected = json!({ "fetched": { "micro01": all, "micro02": all, "micro03": all } });
    assert_eq!(out, expected);
    assert_eq!(bench.refreshes(), Vec::<String>::new());
    assert_eq!(bench.revisions("lxd"), [33100, 33100, 33100]);
}
