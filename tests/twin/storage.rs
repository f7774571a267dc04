//! MicroCeph's wave when something is wrong with the storage: it is held with what to do, and nothing is made worse.

use std::time::Duration;

use lockstep::engine::{Answer, Finish};
use lockstep::event::Event;
use lockstep::journal::Crash;
use lockstep_tests::{Bench, Ended, assert_nothing_left_on, by_hand, reported};
use lockstep_twin::{Release, Scenario, World};
use serde_json::{Value, json};

fn only_microceph(members: usize, params: &Value) -> Bench {
    let mut all = json!({"only": ["microceph"]});
    if let (Some(all), Some(params)) = (all.as_object_mut(), params.as_object()) {
        all.extend(params.clone());
    }
    Bench::shipped("update", &Scenario::of(members), &all)
}

/// Runs the wave with something wrong, and continues once that is fixed. Returns where it was held.
fn held_by(fault: impl FnOnce(&mut World), fix: impl FnOnce(&mut World)) -> String {
    let mut bench = only_microceph(3, &json!({}));
    let held = lockstep_tests::held_by(&mut bench, fault, fix);
    assert_whole(&bench);
    held
}

fn assert_whole(bench: &Bench) {
    lockstep_tests::assert_refreshed(bench, "microceph", 1501);
}

#[test]
fn what_is_wrong_after_a_refresh_holds_the_wave_at_its_gate() {
    let held = [
        held_by(|world| world.lose_osd(1), World::mend_ceph),
        held_by(|world| world.lose_mon("micro02"), World::mend_ceph),
        held_by(|world| world.never_clean_after("micro02"), World::mend_ceph),
        held_by(
            |world| {
                world.raise_check_after(
                    "micro02",
                    "SLOW_OPS",
                    "HEALTH_WARN",
                    "80 slow ops, oldest one blocked for 63 sec",
                )
            },
            World::mend_ceph,
        ),
        held_by(
            |world| {
                world.raise_check_after(
                    "micro02",
                    "RECENT_CRASH",
                    "HEALTH_WARN",
                    "1 daemons have recently crashed",
                )
            },
            World::mend_ceph,
        ),
        held_by(
            |world| world.lose_daemon("microceph", "micro02"),
            |world| world.mend_daemons("microceph"),
        ),
    ];
    insta::assert_snapshot!(held.join("\n"));
}

#[test]
fn what_is_wrong_before_a_refresh_holds_the_wave() {
    let mut held = Vec::new();
    for fault in [
        (|world| world.fail_osd(2)) as fn(&mut World),
        |world| world.fail_mon("micro03"),
        |world| world.raise_check("OSD_NEARFULL", "HEALTH_WARN", "1 nearfull osd(s)"),
        |world| world.raise_check("SOMETHING_NEW", "HEALTH_ERR", "nobody has heard of it"),
    ] {
        let mut bench = Bench::playing(r#"microceph.spare { member = "micro01" }"#, 3);
        fault(&mut bench.world);
        held.push(reported(&bench.run().held()));
        bench.world.mend_ceph();
        bench.wait(Duration::from_secs(60));
        bench.resume().done();
    }
    insta::assert_snapshot!(held.join("\n"));
}

#[test]
fn what_is_down_on_a_member_does_not_stop_its_refresh() {
    let spare = |fault: fn(&mut World)| {
        let mut bench = Bench::playing(r#"microceph.spare { member = "micro03" }"#, 3);
        fault(&mut bench.world);
        bench.run().done();
    };
    spare(|world| world.fail_osd(2));
    spare(|world| world.fail_mon("micro03"));
}

#[test]
fn codes_that_were_there_before_do_not_hold_a_wave() {
    let mut bench = only_microceph(3, &json!({}));
    bench.world.raise_check(
        "POOL_APP_NOT_ENABLED",
        "HEALTH_WARN",
        "1 pool(s) do not have an application enabled",
    );
    bench.run().done();
    assert_whole(&bench);
}

/// A module of the manager that fails: an error to Ceph, and no harm to data.
const FAILED_MODULE: (&str, &str, &str) = (
    "MGR_MODULE_ERROR",
    "HEALTH_ERR",
    "Module 'dashboard' has failed: PyO3 modules compiled for CPython 3.8 or older may only be initialized once per interpreter process",
);

#[test]
fn an_update_that_may_cure_an_error_can_be_run() {
    let (code, severity, message) = FAILED_MODULE;
    let mut bench = Bench::shipped("preflight", &Scenario::of(3), &json!({}));
    bench.world.raise_check(code, severity, message);
    let report = bench.run().done();
    let checks = report["checks"].as_array().unwrap();
    let microceph = checks.iter().find(|c| c["name"] == "microceph").unwrap();
    assert_eq!(microceph["verdict"], "pass", "{microceph}");
    let mut bench = only_microceph(3, &json!({}));
    bench.world.raise_check(code, severity, message);
    let done = bench.run().done();
    assert_whole(&bench);
    let notes = done["notes"].to_string();
    assert!(notes.contains("mgr module disable dashboard"), "{notes}");
}

#[test]
fn an_error_that_a_release_brings_holds_with_a_working_hint() {
    let (code, severity, message) = FAILED_MODULE;
    let mut bench = only_microceph(3, &json!({}));
    bench
        .world
        .raise_check_after("micro02", code, severity, message);
    let held = reported(&bench.run().held());
    let at = held.find("sudo microceph.ceph health mute").unwrap();
    let hint: Vec<&str> = held[at..].split(')').next().unwrap().split(' ').collect();
    let words = [&["/snap/bin/microceph.ceph"], &hint[2..]].concat();
    by_hand(&mut bench.world, "micro01", &words);
    bench.resume().done();
    assert_whole(&bench);
}

/// An upgrade to tentacle, with all that speaks against that on a MicroCloud 2 accepted.
fn to_tentacle(params: &Value) -> Bench {
    let accept = [
        "ceph-new-keys",
        "ceph-tentacle-preview",
        "microcloud-microceph",
    ];
    let mut all = json!({"microceph": "tentacle/stable", "accept": accept});
    if let (Some(all), Some(params)) = (all.as_object_mut(), params.as_object()) {
        all.extend(params.clone());
    }
    let scenario = Scenario {
        updates: false,
        ..Scenario::of(3)
    };
    let mut bench = Bench::shipped("upgrade", &scenario, &all);
    tentacle(&mut bench.world);
    bench
}

#[test]
fn what_ceph_calls_an_error_and_is_none_is_shown_at_the_end() {
    let mut bench = to_tentacle(&json!({}));
    let done = bench.run().done();
    insta::assert_snapshot!(done["notes"][0].as_str().unwrap());
    assert_eq!(done["notes"].as_array().unwrap().len(), 1);
}

#[test]
fn monitors_can_go_back_until_the_last_has_the_new_major() {
    let mut bench = to_tentacle(&json!({}));
    bench.world.never_clean_after("micro02");
    let held = reported(&bench.run().held());
    assert!(
        held.contains("go back with: sudo snap refresh microceph --revision=1500 on micro02"),
        "{held}"
    );
    // Nobody is asked before the last monitor's turn.
    let mut bench = to_tentacle(&json!({}));
    bench.answer = Answer::No;
    assert_eq!(bench.run().held().path, "MicroCeph/micro01/confirm#1");
    assert_eq!(bench.refreshes().len(), 2);
}

#[test]
fn no_way_back_is_offered_once_the_only_monitor_is_new() {
    let mut bench = to_tentacle(&json!({"downtime": true}));
    bench
        .world
        .place_ceph(&["micro02"], &["micro01", "micro02", "micro03"]);
    bench.world.never_clean_after("micro02");
    let held = reported(&bench.run().held());
    assert!(held.contains("micro02/microceph.wait"), "{held}");
    assert!(!held.contains("--revision"), "{held}");
}

#[test]
fn a_noout_of_the_operator_is_still_set_at_the_end() {
    for host in [None, Some("micro02")] {
        let mut bench = only_microceph(3, &json!({}));
        bench.world.operator_sets_flag("noout", host);
        let done = bench.run().done();
        assert_whole(&bench);
        assert!(bench.world.has_flag("noout", host));
        let whose = host.unwrap_or("the whole cluster");
        let expected = format!("MicroCeph: noout is set for {whose}");
        assert_eq!(done["notes"], json!([expected]));
    }
}

#[test]
fn a_member_with_the_only_monitor_or_manager_is_not_spared() {
    let mut bench = Bench::playing(r#"microceph.spare { member = "micro01" }"#, 5);
    bench
        .world
        .place_ceph(&["micro01"], &["micro02", "micro03", "micro04", "micro05"]);
    bench.world.add_filesystem();
    insta::assert_snapshot!(reported(&bench.run().held()));
}

#[test]
fn monitors_come_first_and_the_active_manager_last_among_them() {
    let mut bench = Bench::playing(r"return microceph.order { members = cluster.members }", 5);
    bench.world.place_ceph(
        &["micro03", "micro04", "micro05"],
        &["micro01", "micro02", "micro03"],
    );
    bench.world.activate_mgr("micro04");
    assert_eq!(
        bench.run().done()["members"],
        json!(["micro03", "micro05", "micro04", "micro01", "micro02"])
    );
}

#[test]
fn members_with_few_services_or_none_are_refreshed_too() {
    let mut bench = Bench::shipped("update", &Scenario::of(5), &json!({"only": ["microceph"]}));
    bench.world.place_ceph(
        &["micro01", "micro02", "micro03"],
        &["micro03", "micro04", "micro05"],
    );
    bench.world.add_filesystem();
    bench.run().done();
    assert_whole(&bench);

    let mut bench = only_microceph(4, &json!({}));
    bench.world.remove_snap("micro04", "microceph");
    bench.world.place_ceph(
        &["micro01", "micro02", "micro03"],
        &["micro01", "micro02", "micro03"],
    );
    bench.run().done();
    assert_whole(&bench);
}

#[test]
fn that_storage_must_stop_is_asked_before_any_change() {
    let mut bench = only_microceph(2, &json!({}));
    let held = bench.run().held();
    insta::assert_snapshot!(reported(&held));
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

fn tentacle(world: &mut World) {
    let release = Release {
        revision: 1600,
        version: "20.2.4+snap1".to_owned(),
        schema: 2,
        extensions: 0,
        ovn: None,
        ceph: Some(("20.2.4".to_owned(), "tentacle".to_owned())),
        size: 100_000_000,
        ..Release::default()
    };
    world.store.publish("microceph", "tentacle/stable", release);
}

#[test]
fn a_new_major_ends_with_its_release_required() {
    for by_itself in [true, false] {
        let mut bench = to_tentacle(&json!({}));
        if !by_itself {
            bench.world.never_require_release();
        }
        bench.run().done();
        assert_eq!(bench.world.required_osd_release(), "tentacle");
        assert_eq!(bench.world.violations(), []);
        let required = bench
            .world
            .log
            .iter()
            .filter(|e| e.argv.iter().any(|a| a == "require-osd-release"))
            .count();
        assert_eq!(required, usize::from(!by_itself));
    }
}

#[test]
fn a_way_back_is_offered_as_long_as_one_member_is_ahead_alone() {
    let held = |member: &'static str| {
        held_by(
            move |world| world.never_clean_after(member),
            World::mend_ceph,
        )
    };
    let first = held("micro02");
    assert!(first.contains("--revision=1500 on micro02"), "{first}");
    // Two that are ahead would keep each other from going back.
    let second = held("micro03");
    assert!(
        second.starts_with("MicroCeph/micro03/microceph.wait"),
        "{second}"
    );
    assert!(!second.contains("--revision"), "{second}");
}

#[test]
fn a_run_that_resumes_at_a_closed_gate_refreshes_nothing() {
    let (mut held, mut tried) = (0, 0);
    for n in (1..).step_by(2) {
        let mut bench = only_microceph(3, &json!({"looks": 1}));
        if !matches!(bench.run_until(Crash::After(n)), Ended::Killed) {
            break;
        }
        tried += 1;
        // A refresh that was asked for continues by itself.
        bench.wait(Duration::from_secs(60));
        bench.world.fail_osd(2);
        bench.wait(Duration::from_secs(600));
        for _ in 0..3 {
            match bench.resume() {
                Ended::Finish(Finish::Done(_)) => break,
                Ended::Finish(Finish::Held(_) | Finish::Refused(_)) => {
                    held += 1;
                    bench.world.mend_ceph();
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

#[test]
fn a_resumed_refresh_waits_until_its_member_can_be_spared() {
    let mut bench = only_microceph(3, &json!({"looks": 1}));
    let fails = "refresh-fails:microceph,micro02".parse().unwrap();
    bench.world.inject(fails).unwrap();
    let held = bench.run().held();
    assert_eq!(held.path, "MicroCeph/micro02/snap.refresh#1");
    bench.world.mend();
    // Another member comes back just now.
    let cut = "cut:micro03@1s+40s".parse().unwrap();
    bench.world.inject(cut).unwrap();
    bench.wait(Duration::from_secs(39));
    bench.resume().done();
    assert_whole(&bench);
    assert_nothing_left_on(&bench);
}

#[test]
fn a_wave_ends_with_one_release_and_no_new_flag() {
    let finish = "return microceph.finish { since = since, samples = 1 }";
    // Two members were left out.
    let mut bench = Bench::playing(
        &format!(
            "local since = microceph.baseline {{}}\nsnap.refresh {{ member = 'micro02', snap = 'microceph' }}\n{finish}"
        ),
        3,
    );
    let torn = reported(&bench.run().held());
    // Someone has set a member's noout in mid-wave.
    let mut bench = Bench::playing(
        &format!("local since = microceph.baseline {{}}\nconfirm 'Go on?'\n{finish}"),
        3,
    );
    bench.run().held();
    let ceph = |verb: &'static str| ["/snap/bin/microceph.ceph", "osd", verb, "noout", "micro02"];
    by_hand(&mut bench.world, "micro01", &ceph("set-group"));
    bench.answer = Answer::Yes;
    let flagged = reported(&bench.resume().held());
    by_hand(&mut bench.world, "micro01", &ceph("unset-group"));
    bench.resume().done();
    insta::assert_snapshot!([torn, flagged].join("\n"));
}

#[test]
fn a_flag_that_somebody_else_cleared_meanwhile_is_reported() {
    let mut bench = only_microceph(3, &json!({}));
    bench.fault("no-return:microceph,micro02");
    let held = bench.run().held();
    assert!(held.path.as_str().contains("micro02"), "{}", held.path);
    bench.world.mend();
    by_hand(
        &mut bench.world,
        "micro01",
        &[
            "/snap/bin/microceph.ceph",
            "osd",
            "unset-group",
            "noout",
            "micro02",
        ],
    );
    bench.wait(Duration::from_secs(60));
    bench.resume().done();
    let reported = "micro02: noout, which this run had set, was cleared by somebody else";
    let printed =
        |event: &Event| matches!(event, Event::Log { message, .. } if message == reported);
    assert_eq!(bench.events.iter().filter(|e| printed(&e.event)).count(), 1);
    // Where nobody did, nothing is reported.
    let mut bench = only_microceph(3, &json!({}));
    bench.run().done();
    let noout =
        |event: &Event| matches!(event, Event::Log { message, .. } if message.contains("noout"));
    assert!(!bench.events.iter().any(|e| noout(&e.event)));
}
