//! Gates that get no answer, or one that can't be read: that is no yes.

use std::time::Duration;

use lockstep::engine::Finish;
use lockstep::event::Event;
use lockstep::journal::{Crash, Record};
use lockstep_tests::{Bench, Ended};
use lockstep_twin::{Broken, Scenario};
use serde_json::json;

const BROKEN: [Broken; 5] = [
    Broken::Garbage,
    Broken::Nothing,
    Broken::TooMuch,
    Broken::Fails,
    Broken::Never,
];

/// A playbook's one step is held while any of the commands it goes by is broken, whichever way; it has changed nothing, and
/// is done when the commands are whole again.
fn needs_to_know(step: &str, commands: &[&str]) {
    for command in commands {
        for broken in BROKEN {
            let mut bench = Bench::playing(&format!("return {step}"), 3);
            let settings = bench.world.settings();
            bench.world.break_program(command, broken);
            let held = bench.run().held();
            assert!(
                !held.failure.message.is_empty(),
                "{step} with {command} {broken:?}"
            );
            assert_eq!(
                bench.world.settings(),
                settings,
                "{step} with {command} {broken:?}"
            );
            bench.world.mend_programs();
            bench.resume().done();
        }
    }
}

/// What Ceph is asked by.
const STORAGE: [&str; 2] = [" status mon dump", "osd dump"];

/// The manager's part of it.
const GROUPS: [&str; 1] = [" pg stat"];

#[test]
fn storage_before_a_member() {
    needs_to_know(r#"microceph.spare { member = "micro02" }"#, &STORAGE);
    needs_to_know(r#"microceph.spare { member = "micro02" }"#, &GROUPS);
    needs_to_know(r#"microceph.spare { member = "micro02" }"#, &["ok-to-stop"]);
    needs_to_know("microceph.baseline {}", &STORAGE);
    needs_to_know("microceph.baseline {}", &GROUPS);
    needs_to_know("microceph.baseline {}", &[" versions", "ok-to-stop"]);
    needs_to_know("microceph.order { members = cluster.members }", &STORAGE);
}

#[test]
fn storage_after_a_member() {
    let wait =
        r#"microceph.wait { member = "micro02", since = microceph.baseline {}, samples = 1 }"#;
    needs_to_know(
        wait,
        &[
            "microceph.ceph -v",
            "osd metadata",
            "mon metadata",
            "pg ls-by-osd",
            "microceph cluster list",
        ],
    );
    needs_to_know(
        r#"microceph.wait { member = "micro02", samples = 1 }"#,
        &STORAGE,
    );
    needs_to_know(
        "microceph.wait { samples = 1 }",
        &["microceph cluster list", " pg stat"],
    );
    needs_to_know(
        "microceph.finish { since = microceph.baseline {}, samples = 1 }",
        &["microceph cluster list"],
    );
}

#[test]
fn storage_after_a_wave() {
    let body = r#"
        local since = microceph.baseline {}
        confirm "Go on?"
        return microceph.finish { since = since, samples = 1 }
    "#;
    for command in ["microceph cluster list", " versions", " pg stat"] {
        for broken in BROKEN {
            let mut bench = Bench::playing(body, 3);
            assert_eq!(bench.run().held().path, "confirm#1");
            bench.world.break_program(command, broken);
            bench.answer = lockstep::engine::Answer::Yes;
            let held = bench.resume().held();
            assert_eq!(held.path, "microceph.finish#1", "{command} {broken:?}");
            bench.world.mend_programs();
            bench.resume().done();
        }
    }
}

#[test]
fn a_flag_is_not_set_on_a_cluster_that_nobody_can_see() {
    needs_to_know(
        r#"microceph.noout { member = "micro02", on = true }.changed and {} or {}"#,
        &["osd dump", "osd tree"],
    );
}

#[test]
fn network_before_and_after_a_member() {
    needs_to_know(
        r#"microovn.spare { member = "micro02" }"#,
        &[
            "cluster/status OVN_Northbound",
            "cluster/status OVN_Southbound",
        ],
    );
    needs_to_know(
        r#"microovn.wait { member = "micro02", samples = 1 }"#,
        &[
            "cluster/status OVN_Northbound",
            "cluster/status OVN_Southbound",
            "microovn cluster list",
        ],
    );
    needs_to_know(
        "microovn.wait { samples = 1 }",
        &["microovn cluster list", "microovn status"],
    );
}

#[test]
fn microcloud_after_its_wave() {
    needs_to_know(
        "microcloud.wait {}",
        &[
            "microcloud cluster list",
            "microcloud/common/state/control.socket",
        ],
    );
}

#[test]
fn lxd_after_its_wave_is_asked_on_each_member() {
    needs_to_know(
        "lxd.wait {}",
        &["micro03 /snap/bin/lxc query /1.0/cluster/members"],
    );
}

#[test]
fn a_refresh_is_not_begun_where_its_guard_is_blind() {
    for (snap, command) in [("microceph", "osd tree"), ("microovn", "cluster/status")] {
        for broken in BROKEN {
            let step = format!(r#"snap.refresh {{ member = "micro03", snap = "{snap}" }}"#);
            let mut bench = Bench::playing(&step, 3);
            bench.world.break_program(command, broken);
            bench.run().held();
            assert!(
                bench.refreshes().is_empty(),
                "{snap} with {command} {broken:?}"
            );
            bench.world.mend_programs();
            bench.resume().done();
        }
    }
}

/// What an update of each component goes by: words of commands.
const PRODUCTS: [(&str, &[&str]); 4] = [
    (
        "microceph",
        &[
            "microceph.ceph ",
            "microceph cluster list",
            "snap refresh",
            "curl ",
        ],
    ),
    (
        "microovn",
        &[
            "microovn.ovn-appctl",
            "microovn cluster list",
            "microovn status",
        ],
    ),
    (
        "lxd",
        &["lxc query", "lxd waitready", "lxd sql", "snap refresh"],
    ),
    ("microcloud", &["microcloud cluster list", "snap refresh"]),
];

/// Plays a component's update until this many records are written, breaks a product, and continues. The run may be held, or
/// paused, or not have needed to know; never is anything done that mustn't be, and when the product is whole again the end is
/// good. Tells whether the run was held.
fn is_held_by(component: &str, words: &str, broken: Broken, after: usize) -> bool {
    let case = format!("{component}: {words} {broken:?} after {after}");
    let params = json!({"only": [component], "looks": 1});
    let mut bench = Bench::shipped("update", &Scenario::of(3), &params);
    if after > 0 && !matches!(bench.run_until(Crash::After(after)), Ended::Killed) {
        return false;
    }
    bench.world.break_program(words, broken);
    let held = match bench.resume() {
        Ended::Finish(Finish::Held(held) | Finish::Refused(held)) => {
            for step in &held {
                let message = &step.failure.message;
                assert!(!message.is_empty(), "{case}: {}", step.path);
            }
            true
        }
        Ended::Finish(Finish::Suspended(why)) => {
            assert!(why.to_string().contains("unknown"), "{case}: {why}");
            true
        }
        Ended::Finish(Finish::Done(_)) => false,
        other => panic!("{case}: {other:?}"),
    };
    assert_eq!(bench.world.violations(), [], "{case}");
    bench.world.mend_programs();
    bench.wait(Duration::from_secs(120));
    if held {
        bench.resume().done();
    }
    let revisions = bench.revisions(component);
    assert!(
        revisions.iter().all(|r| *r == revisions[0]),
        "{case}: {revisions:?}"
    );
    assert!(
        bench.world.revision("micro01", component) > Some(0),
        "{case}"
    );
    assert_eq!(bench.world.violations(), [], "{case}");
    assert_eq!(bench.world.settings(), bench.settings, "{case}");
    held
}

#[test]
fn a_product_that_answers_nonsense_holds_the_run() {
    for (component, products) in PRODUCTS {
        for words in products {
            let mut held = 0;
            for (i, broken) in BROKEN.into_iter().enumerate() {
                // From the beginning on, in the middle of the wave, and towards its end.
                let moments = [0, 24 + 5 * i, 60 + 7 * i].into_iter();
                held += moments
                    .filter(|after| is_held_by(component, words, broken, *after))
                    .count();
            }
            assert!(held > 1, "{component}: {words} held the run {held} times");
        }
    }
}

/// Evidence from before a refresh opens no gate: nothing has been restarted here since it was taken.
#[test]
fn a_gate_wants_evidence_from_after_the_refresh() {
    let wait = r#"
        local since = microceph.baseline {}
        local spared = microceph.spare { member = "micro02", since = since }
        return microceph.wait { member = "micro02", since = since, spared = spared, timeout = "30s" }
    "#;
    let held = Bench::playing(wait, 3).run().held();
    insta::assert_snapshot!(held.failure.message, @"not within 30s: the monitor of micro02 hasn't been in an election since the refresh; osd.1 of micro02 not restarted since the refresh");
}

/// For some seconds a manager shows placement groups as they were before an OSD went and came back.
#[test]
fn placement_groups_are_believed_once_they_were_reported_on() {
    let body = r#"
        local since = microceph.baseline {}
        local spared = microceph.spare { member = "micro02", since = since }
        exec { member = "micro02", argv = { "/bin/sleep", "10" }, effect = "read" }
        return microceph.wait { member = "micro02", since = since, spared = spared }
    "#;
    let mut bench = Bench::playing(body, 3);
    // Back before anybody has reported that it was away.
    bench.fault("crash:microceph,micro02@7s");
    bench.run().done();
    let old = |event: &&lockstep::event::Stamped| matches!(&event.event, Event::Progress { text, .. } if text.contains("have not been reported since it came up"));
    // The OSDs are told to report at the first look that finds it so, instead of being waited for.
    assert_eq!(bench.events.iter().filter(old).count(), 1);
}

#[test]
fn a_service_that_ends_after_its_gate_holds_the_wave() {
    let first = "MicroCeph/micro02/finally/microceph.noout#1";
    let until = |appends: usize| {
        let only = json!({"only": ["microceph"]});
        let mut bench = Bench::shipped("update", &Scenario::of(3), &only);
        assert!(matches!(
            bench.run_until(Crash::After(appends)),
            Ended::Killed
        ));
        bench
    };
    let ended = |record: &Record| matches!(record, Record::Done { path, .. } if *path == first);
    let appends: Vec<usize> = (1..100).collect();
    let at = appends.partition_point(|n| !until(*n).records().iter().any(ended));
    let mut bench = until(appends[at]);
    bench.world.lose_service("microceph", "micro02", "mgr");
    let held = bench.resume().held();
    insta::assert_snapshot!(lockstep_tests::reported(&held), @"MicroCeph/micro03/microceph.spare#1: not within 5m: down on micro02: microceph.mgr; on that member, see: sudo snap logs microceph.mgr");
    bench.world.mend_daemons("microceph");
    bench.resume().done();
    assert_eq!(bench.world.violations(), []);
}

/// Nothing is concluded from the other members while a gate waits; but one that is gone is why it does.
#[test]
fn a_member_that_goes_while_a_gate_waits_is_named() {
    let only = json!({"only": ["microceph"]});
    let mut bench = Bench::shipped("update", &Scenario::of(3), &only);
    bench.fault("no-return:microceph,micro02");
    bench.fault("cut:micro03@microceph/micro02");
    let held = bench.run().held();
    let gone = |event: &lockstep::event::Stamped| matches!(&event.event, Event::Away { path, member, .. } if path.op() == "microceph.wait" && member.as_str() == "micro03");
    assert!(bench.events.iter().any(gone), "{held:?}");
}

/// What others are asked waits 30 s for a member that is gone (`microceph cluster list`): that it is gone is said before.
#[test]
fn a_member_that_goes_is_named_while_others_wait_for_it() {
    let only = json!({"only": ["microceph"]});
    let seconds_until = |bench: &Bench, found: &dyn Fn(&Event) -> bool| {
        let (first, event) = (
            &bench.events[0],
            bench.events.iter().find(|e| found(&e.event)),
        );
        event.unwrap().at.duration_since(first.at).as_secs()
    };
    let gate = |event: &Event| matches!(event, Event::StepStarted { step, .. } if step.path.to_string().ends_with("micro02/microceph.wait#1"));
    let mut bench = Bench::shipped("update", &Scenario::of(3), &only);
    bench.run().done();
    let began = seconds_until(&bench, &gate);

    let mut bench = Bench::shipped("update", &Scenario::of(3), &only);
    bench.fault(&format!("freeze:micro03@{}s+2m", began + 1));
    bench.run().done();
    let named = seconds_until(
        &bench,
        &|event| matches!(event, Event::Away { member, .. } if member.as_str() == "micro03"),
    );
    assert_eq!(seconds_until(&bench, &gate), began);
    assert!((1..25).contains(&(named - began)), "{} s", named - began);
}
