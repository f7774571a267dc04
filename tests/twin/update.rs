//! The shipped playbooks against the twin.

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_tests::{Bench, by_hand, reported};
use lockstep_twin::{Scenario, Snap};
use serde_json::json;

/// The members of a cluster of this many, in order.
fn names(members: usize) -> Vec<String> {
    Scenario::of(members).names()
}

/// What an update asks for, in order: one component after the other, one member after the other. The active manager of Ceph
/// is on the first member, which comes last of the three with monitors; OVN's databases are on the first three members, led by the
/// first two.
fn in_order(members: usize) -> Vec<String> {
    let all = names(members);
    let (first, leaders) = (all[..1].to_vec(), all[..members.min(2)].to_vec());
    let (mons, rest) = (
        all[1..members.min(3)].to_vec(),
        all[members.min(3)..].to_vec(),
    );
    let followers = all[members.min(2)..members.min(3)].to_vec();
    let waves = [
        ("microceph", [mons, first, rest.clone()].concat()),
        ("microovn", [rest, followers, leaders].concat()),
        ("lxd", all.clone()),
        ("microcloud", all),
    ];
    let asked = waves
        .into_iter()
        .map(|(snap, members)| members.into_iter().map(move |m| format!("{m} {snap}")));
    asked.flatten().collect()
}

#[test]
fn an_update_brings_every_member_to_its_channel_in_order() {
    for members in [1, 3, 5] {
        for schema_bump in [false, true] {
            let mut bench = Bench::shipped(
                "update",
                &Scenario {
                    schema_bump,
                    ..Scenario::of(members)
                },
                &json!({"downtime": members < 3}),
            );
            bench.run().done();
            bench.assert_updated();
            assert_eq!(bench.refreshes(), in_order(members), "{members} members");
        }
    }
}

#[test]
fn a_second_update_finds_nothing_to_do() {
    let mut bench = Bench::update(3);
    bench.run().done();
    let mut again = Bench::update(3);
    again.world = bench.world.clone();
    again.world.log.clear();
    let result = again.run().done();
    assert_eq!(result["changed"], json!({}));
    assert_eq!(again.refreshes(), Vec::<String>::new());
    let changing = again
        .world
        .log
        .iter()
        .filter(|e| e.root && e.argv[0] == "/usr/bin/snap");
    assert_eq!(changing.count(), 0);
}

#[test]
fn an_update_tells_what_changed() {
    let mut bench = Bench::update(1);
    let result = bench.run().done();
    assert_eq!(
        result["changed"],
        json!({
            "lxd": {"micro01": "33100 → 33110"}, "microceph": {"micro01": "1500 → 1501"},
            "microcloud": {"micro01": "1200 → 1210"}, "microovn": {"micro01": "700 → 701"},
        })
    );
}

#[test]
fn components_can_be_chosen() {
    let mut bench = Bench::shipped(
        "update",
        &Scenario::of(3),
        &json!({"skip": ["lxd", "microcloud"]}),
    );
    bench.run().done();
    assert_eq!(bench.refreshes(), in_order(3)[..6]);
    let mut bench = Bench::shipped("update", &Scenario::of(3), &json!({"only": ["lxd"]}));
    bench.run().done();
    assert_eq!(bench.refreshes(), in_order(3)[6..9]);
}

/// A member gets another revision of a snap than the others: the run holds there, and continues when the store gives it the same.
fn another_revision(mut bench: Bench, snap: &str, member: &str, from: &str) {
    bench.fault(&format!("other-revision:{snap},{member}@{from}"));
    let held = bench.run().held();
    assert_eq!(held.failure.member.as_deref(), Some(member), "{held:?}");
    assert_eq!(held.path.op(), "snap.refresh", "{held:?}");
    assert!(
        held.failure.message.contains("(a phased release?)"),
        "{held:?}"
    );
    bench.world.mend();
    bench.resume().done();
    let revisions = bench.revisions(snap);
    assert!(
        revisions.iter().all(|r| *r == revisions[0]),
        "{revisions:?}"
    );
    assert_eq!(bench.world.violations(), []);
}

#[test]
fn a_member_that_gets_another_revision_holds_the_run() {
    for snap in ["microceph", "microovn", "lxd", "microcloud"] {
        let bench = Bench::shipped("update", &Scenario::of(3), &json!({"only": [snap]}));
        another_revision(bench, snap, "micro02", "2s");
    }
}

#[test]
fn a_member_that_gets_nothing_new_in_an_upgrade_holds_the_run() {
    let params = json!({"to": "3", "accept": ["microcloud-3-in-production"]});
    for snap in ["lxd", "microcloud"] {
        // The first one to be refreshed, and one of the others.
        for member in ["micro01", "micro02"] {
            let bench = Bench::shipped("upgrade", &Scenario::of(3), &params);
            another_revision(bench, snap, member, "1s");
        }
    }
}

#[test]
fn a_component_that_is_left_alone_may_be_out_of_step() {
    let mut bench = Bench::shipped("update", &Scenario::of(3), &json!({"only": ["microovn"]}));
    bench.world.set_revision("micro02", "microcloud", 1210);
    bench.run().done();
    assert_eq!(bench.revisions("microovn"), [701, 701, 701]);
    assert_eq!(bench.revisions("microcloud"), [1200, 1210, 1200]);
}

#[test]
fn an_upgrade_moves_components_to_the_channels_that_were_named() {
    let scenario = Scenario {
        updates: false,
        ..Scenario::of(3)
    };
    let mut bench = Bench::shipped(
        "upgrade",
        &scenario,
        &json!({"lxd": "6/stable", "accept": ["microcloud-2.1.0-lxd", "lxd-6-in-production"]}),
    );
    let release = lockstep_twin::Release {
        revision: 34000,
        version: "6.6".to_owned(),
        schema: 78,
        extensions: 448,
        ovn: None,
        ceph: None,
        size: 100_000_000,
        ..lockstep_twin::Release::default()
    };
    bench.world.store.publish("lxd", "6/stable", release);
    bench.run().done();
    assert_eq!(bench.revisions("lxd"), [34000, 34000, 34000]);
    assert_eq!(bench.revisions("microceph"), [1500, 1500, 1500]);
    assert_eq!(bench.world.violations(), []);
    // Every member followed the target before the first one moved.
    let verbs = bench
        .world
        .log
        .iter()
        .filter(|e| e.root && e.argv[0] == "/usr/bin/snap")
        .map(|e| e.argv[1].as_str());
    let verbs: Vec<&str> = verbs.collect();
    assert_eq!(
        verbs,
        [
            "switch", "switch", "switch", "refresh", "refresh", "refresh"
        ]
    );
}

#[test]
fn an_upgrade_without_a_channel_says_what_to_type() {
    let mut bench = Bench::shipped("upgrade", &Scenario::of(1), &json!({}));
    let ended = format!("{:?}", bench.run());
    assert!(
        ended.contains("for example --microcloud 2/stable"),
        "{ended}"
    );
}

#[test]
fn the_same_run_is_the_same_to_the_byte() {
    let play = || {
        let mut bench = Bench::update(5);
        bench.run().done();
        (
            bench.journal.text(),
            serde_json::to_string(&bench.events).unwrap(),
            bench.world.log.clone(),
        )
    };
    assert!(play() == play());
}

#[test]
fn a_store_that_fails_after_a_refresh_does_not_hold_the_run() {
    let mut bench = Bench::update(3);
    bench.fault("store-error:429@microcloud/micro01+2s");
    bench.run().done();
    bench.assert_updated();
}

#[test]
fn snapd_without_its_store_and_link_has_refreshed_all_the_same() {
    let mut bench = Bench::update(3);
    bench.fault("cut:micro02@microceph/micro02+2m");
    bench.run().done();
    bench.assert_updated();
}

#[test]
fn snaps_that_are_not_held_are_reported_and_held_first() {
    let loose = |revision: u32| Snap {
        revision,
        channel: None,
        cohort: None,
        held: Some(false),
        restarted: false,
    };
    let channels = [
        ("microceph", 1500, "squid/stable"),
        ("microovn", 700, "24.03/stable"),
        ("lxd", 33100, "5.21/stable"),
        ("microcloud", 1200, "2/stable"),
    ];
    let snaps = channels.map(|(snap, revision, channel)| {
        let channel = Some(channel.to_owned());
        (
            snap.to_owned(),
            Snap {
                channel,
                ..loose(revision)
            },
        )
    });
    let scenario = Scenario {
        installed: BTreeMap::from([("micro02".to_owned(), BTreeMap::from(snaps))]),
        ..Scenario::of(3)
    };
    let report = Bench::shipped("preflight", &scenario, &json!({}))
        .run()
        .done();
    let checks = report["checks"].as_array().unwrap();
    let drift = checks.iter().find(|c| c["name"] == "drift").unwrap();
    assert!(
        drift.to_string().contains("LXD is not held on micro02"),
        "{drift}"
    );
    let mut bench = Bench::shipped("update", &scenario, &json!({}));
    bench.run().done();
    bench.assert_updated();
    for (snap, ..) in channels {
        assert!(bench.world.held("micro02", snap), "{snap}");
        let of_snap = |e: &&lockstep_twin::Entry| e.argv.last().is_some_and(|a| a == snap);
        let asked = bench.world.log.iter().filter(of_snap);
        let asked: Vec<bool> = asked
            .filter(|e| e.member == "micro02" && e.argv.iter().any(|a| a == "refresh"))
            .map(|e| e.argv.iter().any(|a| a.starts_with("--hold")))
            .collect();
        assert_eq!(
            asked.first(),
            Some(&true),
            "{snap} is held before it is refreshed"
        );
    }
}

#[test]
fn members_ahead_from_an_interrupted_run_are_caught_up_with() {
    let mut bench = Bench::update(3);
    let refresh = ["/usr/bin/snap", "refresh", "--no-wait", "microcloud"];
    by_hand(&mut bench.world, "micro02", &refresh);
    bench.wait(Duration::from_secs(60));
    let mut preflight = Bench::shipped("preflight", &Scenario::of(3), &json!({}));
    preflight.world = bench.world.clone();
    let report = preflight.run().done().to_string();
    assert!(
        report.contains("MicroCloud: revision 1200 on micro01, micro03, 1210 on micro02"),
        "{report}"
    );
    bench.run().done();
    bench.assert_updated();
}

#[test]
fn the_last_look_waits_for_storage_or_holds_the_run() {
    let mut bench = Bench::update(3);
    bench.fault("osd-lost:1@microcloud/micro03+20s");
    bench.run().done();
    bench.assert_updated();
    let attempts = bench.history().steps["status.require#1"].attempts;
    assert!(attempts > 1, "{attempts}");

    let mut bench = Bench::update(3);
    bench.fault("osd-lost:1@microcloud/micro03");
    insta::assert_snapshot!(reported(&bench.run().held()));
    bench.world.mend();
    bench.wait(Duration::from_secs(60));
    bench.resume().done();
    bench.assert_updated();
}
