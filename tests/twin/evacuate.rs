//! Updates that move instances out of the way, and what can go wrong with that.

use std::time::Duration;

use lockstep::engine::Decisions;
use lockstep_tests::Bench;
use lockstep_twin::{Instance, Scenario};
use serde_json::{Value, json};

/// Two containers a member, a machine that moves while it runs, one that stays, and one that doesn't run.
pub(crate) fn mixed(members: usize) -> Scenario {
    let names = Scenario::of(members).names();
    let mut instances: Vec<Instance> = names
        .iter()
        .enumerate()
        .flat_map(|(i, name)| {
            let named = |kind: &str| format!("{kind}{}", i + 1);
            [
                Instance::container(&named("a"), name),
                Instance::container(&named("b"), name),
            ]
        })
        .collect();
    let first = &names[0];
    instances.push(Instance::machine("vm", first));
    instances.push(Instance::container("stays", first).with("cluster.evacuate", "stop"));
    instances.push(Instance {
        running: false,
        ..Instance::container("off", first)
    });
    Scenario {
        instances: Some(instances),
        ..Scenario::of(members)
    }
}

fn evacuating(scenario: &Scenario, params: &Value) -> Bench {
    // Where all releases are made ones of 6.9.
    let accept = ["lxd-6-in-production", "lxd-6-tracking"];
    let mut all = json!({"evacuate": true, "accept": accept});
    for (key, value) in params.as_object().into_iter().flatten() {
        all[key] = value.clone();
    }
    Bench::shipped("update", scenario, &all)
}

/// Makes all releases of LXD ones of this version.
fn lxd_is(bench: &mut Bench, version: &str) {
    let releases = bench.world.store.releases.get_mut("lxd");
    for release in releases.into_iter().flatten() {
        version.clone_into(&mut release.version);
    }
}

/// Where every instance is and whether it runs.
fn places(bench: &Bench) -> Vec<(String, String, bool)> {
    let all = bench.world.instances().iter();
    let mut all: Vec<_> = all
        .map(|i| (i.name.clone(), i.location.clone(), i.running))
        .collect();
    all.sort();
    all
}

/// The bodies that were sent to LXD, in order.
fn asked(bench: &Bench) -> Vec<String> {
    let posts = bench
        .world
        .log
        .iter()
        .filter(|e| e.argv.iter().any(|a| a == "POST"));
    posts
        .map(|e| format!("{} {}", e.member, e.argv[5]))
        .collect()
}

fn assert_home(bench: &Bench, before: &[(String, String, bool)]) {
    bench.assert_updated();
    assert_eq!(places(bench), before);
    let origins = bench.world.instances().iter();
    let origins: Vec<_> = origins
        .filter(|i| i.config.contains_key("volatile.evacuate.origin"))
        .collect();
    assert!(origins.is_empty(), "{origins:?}");
}

#[test]
fn instances_are_out_of_the_way_and_come_home() {
    for members in [3, 5] {
        for version in ["5.21.3-c5ae129", "6.9"] {
            let mut bench = evacuating(&mixed(members), &json!({}));
            lxd_is(&mut bench, version);
            let before = places(&bench);
            bench.run().done();
            assert_home(&bench, &before);
            // Two waves, a member at a time: away and back.
            assert_eq!(asked(&bench).len(), 2 * 2 * members);
        }
    }
}

#[test]
fn only_what_has_to_be_restarted_is() {
    let mut bench = evacuating(&mixed(3), &json!({"only": ["microceph"]}));
    bench.run().done();
    let unmoved = bench.world.instance("off").unwrap();
    assert!(!unmoved.running);
    // Without evacuation nothing is restarted at all.
    let mut bench = Bench::shipped("update", &mixed(3), &json!({}));
    bench.run().done();
    assert!(bench.world.instances().iter().all(|i| i.started == 0));
    assert_eq!(asked(&bench), Vec::<String>::new());
}

#[test]
fn one_member_has_nowhere_to_evacuate_to() {
    let mut bench = evacuating(&Scenario::of(1), &json!({"downtime": true}));
    let ended = format!("{:?}", bench.run());
    assert!(ended.contains("nowhere to move to"), "{ended}");
    assert!(ended.contains("--evacuate-anyway"), "{ended}");
    assert_eq!(bench.refreshes(), Vec::<String>::new());
    let params = json!({"evacuate_anyway": true, "downtime": true});
    let mut bench = evacuating(&Scenario::of(1), &params);
    bench.run().done();
    bench.assert_updated();
    assert_eq!(asked(&bench), Vec::<String>::new());
}

#[test]
fn a_failure_half_way_is_shown_and_resumed_in_both_dialects() {
    for (version, status) in [("5.21.3-c5ae129", "Online"), ("6.9", "Evacuated")] {
        let mut bench = evacuating(&mixed(3), &json!({}));
        lxd_is(&mut bench, version);
        let before = places(&bench);
        // The first one to be refreshed: the member with Ceph's manager comes last.
        bench.world.fail_migration("b2", 1);
        let held = bench.run().held();
        let message = held.failure.message.clone();
        for part in [
            "Failed migrating instance \"b2\"",
            "b2 is Stopped on micro02",
            "moved: a2 to micro03",
            "resuming evacuates what is left",
        ] {
            assert!(message.contains(part), "{version}: {message}");
        }
        assert_eq!(held.failure.detail["status"], status, "{message}");
        assert_eq!(bench.refreshes(), Vec::<String>::new());
        bench.resume().done();
        assert_home(&bench, &before);
    }
}

#[test]
fn a_success_that_leaves_an_instance_behind_is_none() {
    let mut bench = evacuating(&mixed(3), &json!({}));
    let before = places(&bench);
    bench.world.overlook("b1");
    let held = bench.run().held();
    assert!(
        held.failure.message.contains("b1 still runs on micro01"),
        "{}",
        held.failure.message
    );
    assert_eq!(bench.world.evacuated(), ["micro01"]);
    bench.world.attend_to("b1");
    bench.resume().done();
    assert_home(&bench, &before);
}

#[test]
fn what_cant_be_moved_is_refused_before_the_first_change() {
    let host_path = [("path", "/srv"), ("source", "/srv"), ("type", "disk")];
    let local_root = [("path", "/"), ("pool", "local"), ("type", "disk")];
    let cases = [
        (
            Instance {
                ephemeral: true,
                ..Instance::container("x", "micro02")
            },
            "micro02: x: it is ephemeral",
        ),
        (
            Instance::container("x", "micro02").device("srv", &host_path),
            "on which LXD before 6.8 crashes",
        ),
        (
            Instance::container("x", "micro02").with("cluster.evacuate", "live-migrate"),
            "which LXD can't do with containers",
        ),
        (
            Instance::machine("x", "micro02").with("limits.memory", "64GiB"),
            "MiB of memory free",
        ),
        (
            Instance::machine("x", "micro02").device("root", &local_root),
            "lxc config device set x root size.state=1024MiB",
        ),
        (
            Instance::machine("x", "micro02")
                .with("cluster.evacuate", "live-migrate")
                .device(
                    "data",
                    &[("path", "/data"), ("pool", "local"), ("type", "disk")],
                ),
            "and data is in a pool of its host, with which that fails",
        ),
    ];
    for (instance, expected) in cases {
        let scenario = Scenario {
            instances: Some(vec![instance]),
            ..Scenario::of(3)
        };
        let mut bench = evacuating(&scenario, &json!({}));
        let ended = format!("{:?}", bench.run());
        assert!(ended.contains(expected), "{ended}");
        assert!(ended.contains("--evacuate-anyway"), "{ended}");
        assert_eq!(bench.refreshes(), Vec::<String>::new());
        assert_eq!(asked(&bench), Vec::<String>::new());
    }
}

#[test]
fn an_lxd_that_crashes_on_the_way_is_shown_and_harms_nothing() {
    let host_path = [("path", "/srv"), ("source", "/srv"), ("type", "disk")];
    let scenario = Scenario {
        instances: Some(vec![
            Instance::container("a", "micro02").device("srv", &host_path),
            Instance::container("b", "micro02"),
        ]),
        ..Scenario::of(3)
    };
    let params = json!({"evacuate_anyway": true, "only": ["microceph"]});
    let mut bench = evacuating(&scenario, &params);
    let message = bench.run().held().failure.message;
    let expected = "LXD shows it as Online and not as Evacuated; not right: b still runs";
    assert!(message.contains(expected), "{message}");
    assert!(bench.world.instances().iter().all(|i| i.started == 0));
}

#[test]
fn what_was_moved_and_didnt_start_is_started_when_resumed() {
    for version in ["5.21.3-c5ae129", "6.9"] {
        let mut bench = evacuating(&mixed(3), &json!({}));
        lxd_is(&mut bench, version);
        let before = places(&bench);
        bench.world.fail_start("a2", 2);
        let message = bench.run().held().failure.message;
        assert!(message.contains("a2 is Stopped on micro03"), "{message}");
        let again = bench.resume().held().failure.message;
        let expected = "a2 was moved to micro03 but doesn't start there";
        assert!(again.contains(expected), "{again}");
        bench.resume().done();
        assert_home(&bench, &before);
    }
}

#[test]
fn an_instance_that_doesnt_start_again_holds_the_run() {
    let mut bench = evacuating(&mixed(3), &json!({}));
    let before = places(&bench);
    bench.world.fail_start("stays", 1);
    let held = bench.run().held();
    assert_eq!(held.path.op(), "lxd.restore");
    assert!(
        held.failure
            .message
            .contains("Failed starting instance \"stays\""),
        "{}",
        held.failure.message
    );
    assert_eq!(bench.world.evacuated(), ["micro01"]);
    bench.resume().done();
    assert_home(&bench, &before);
}

#[test]
fn healing_is_off_meanwhile_and_restored() {
    for evacuate in [false, true] {
        let mut bench = Bench::shipped("update", &mixed(3), &json!({"evacuate": evacuate}));
        bench.world.set_healing_threshold(300);
        bench.settings = bench.world.settings();
        bench.run().done();
        assert_eq!(bench.world.lxd_config()["cluster.healing_threshold"], "300");
        bench.assert_updated();
    }
    let mut bench = Bench::update(3);
    bench.run().done();
    assert!(
        !bench
            .world
            .lxd_config()
            .contains_key("cluster.healing_threshold")
    );
}

#[test]
fn a_lost_connection_is_taken_up_again() {
    // The link of the first member to be evacuated is down for 40 s, from ever later on.
    for after in (10..60).step_by(5) {
        let mut bench = evacuating(&mixed(3), &json!({"only": ["microceph"], "looks": 1}));
        let before = places(&bench);
        bench.world.slow_migrations(8000);
        let cut = format!("cut:micro02@{after}s+40s").parse().unwrap();
        bench.world.inject(cut).unwrap();
        bench.run();
        if bench.history().end.is_none() {
            bench.wait(Duration::from_secs(60));
            bench.resume().done();
        }
        assert_eq!(bench.revisions("microceph"), [1501, 1501, 1501]);
        assert_eq!(places(&bench), before, "{after}");
        assert_eq!(bench.world.violations(), [], "{after}");
        assert_eq!(bench.world.settings(), bench.settings, "{after}");
        // A restore that was asked for while the member was cut off may be asked for again; nobody is evacuated twice.
        let evacuations = asked(&bench);
        let evacuations = evacuations.iter().filter(|post| post.contains("evacuate"));
        assert_eq!(evacuations.count(), 3, "{after}");
    }
}

#[test]
fn a_member_that_holds_the_others_is_named() {
    let mut bench = Bench::shipped("update", &Scenario::of(3), &json!({"only": ["lxd"]}));
    for fault in ["refresh-fails:lxd,micro02", "no-self-update:micro02"] {
        bench.world.inject(fault.parse().unwrap()).unwrap();
    }
    let held = bench.run().held();
    let message = &held.failure.message;
    assert!(
        message.contains("micro01, micro03 have another revision and wait for micro02"),
        "{message}"
    );
    bench.world.mend();
    bench.resume().done();
    assert_eq!(bench.revisions("lxd"), [33110, 33110, 33110]);
    assert!(bench.world.instances().iter().all(|i| i.started == 0));
}

#[test]
fn an_lxd_refreshed_by_others_is_not_waited_for_for_hours() {
    let mut bench = evacuating(&Scenario::of(3), &json!({ "stage": false }));
    let before = places(&bench);
    for fault in [
        "auto-refresh:lxd,micro01@5s",
        "no-self-update:micro02",
        "no-self-update:micro03",
    ] {
        bench.fault(fault);
    }
    let held = bench.run().held();
    let message = &held.failure.message;
    assert_eq!(held.path.op(), "lxd.evacuate");
    assert!(
        message.contains("LXD has no answer about c1 on micro01")
            && message.contains("until LXD is refreshed there too")
            && message.contains("lockstep op snap.refresh --snap lxd"),
        "{message}"
    );
    assert!(bench.world.now < 120_000, "{}", bench.world.now);
    bench.world.mend();
    bench.wait(Duration::from_secs(60));
    assert_eq!(bench.revisions("lxd"), [33110, 33110, 33110]);
    bench.resume().suspended();
    // What became of the evacuation that was under way is found out, and reported, before another one begins.
    let held = bench.resume_with(Decisions::default(), true).held();
    let message = &held.failure.message;
    assert!(message.contains("resuming evacuates"), "{message}");
    bench.resume().done();
    assert_home(&bench, &before);
}

#[test]
fn the_end_of_a_fault_starts_only_what_was_down() {
    let mut bench = evacuating(
        &Scenario::of(3),
        &json!({"only": ["microceph"], "looks": 1}),
    );
    // It ends while micro02 is evacuated.
    bench.fault("no-return:lxd,micro02@1s+15s");
    bench.run().done();
    assert_eq!(bench.world.violations(), []);
}

#[test]
fn what_was_left_behind_is_moved_one_by_one() {
    let mut bench = Bench::playing("return lxd.evacuate { member = 'micro01' }", 3);
    let start = mixed(3).build();
    bench.world = start;
    lxd_is(&mut bench, "5.21.3-c5ae129");
    bench.fault("left-behind:a1");
    let held = bench.run().held();
    assert!(
        held.failure.message.contains("a1 still runs on micro01"),
        "{held:?}"
    );
    bench.world.mend();
    bench.resume().done();
    let restores = |asked: &String| asked.contains("\"restore\"");
    assert_eq!(asked(&bench).iter().filter(|a| restores(a)).count(), 0);
    let here: Vec<_> = places(&bench);
    let here = here
        .iter()
        .filter(|(_, place, runs)| place == "micro01" && *runs);
    assert_eq!(here.count(), 0, "{:?}", places(&bench));
}

#[test]
fn an_instance_that_lxd_starts_is_foretold_and_stopped_again() {
    let instances = vec![
        Instance {
            running: false,
            ..Instance::container("autos", "micro02").with("boot.autostart", "true")
        },
        Instance::container("c", "micro02"),
    ];
    let scenario = Scenario {
        instances: Some(instances),
        ..Scenario::of(3)
    };
    let mut bench = Bench::playing(r#"return lxd.predict { member = "micro02" }"#, 3);
    bench.world = scenario.build();
    assert_eq!(bench.run().done()["starts"], json!(["autos"]));
    let mut bench = evacuating(&scenario, &json!({"only": ["microceph"]}));
    let before = places(&bench);
    bench.run().done();
    assert_eq!(places(&bench), before);
    // LXD's daemon starts it too when it is refreshed: whoever set boot.autostart wants that, and it is reported.
    let mut bench = evacuating(&scenario, &json!({"only": ["lxd"]}));
    let done = bench.run().done();
    assert!(bench.world.instance("autos").unwrap().running);
    let records = serde_json::to_string(&bench.records()).unwrap();
    assert!(records.contains(r#""started":["autos"]"#), "{records}");
    let foretold = "micro02: autos is stopped, and LXD starts it when it is refreshed";
    assert!(records.contains(foretold), "{records}");
    assert!(
        done["notes"]
            .to_string()
            .contains("LXD started instances that were stopped before (boot.autostart): autos"),
        "{done}"
    );
}
