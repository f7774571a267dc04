//! What must not be begun is refused before anything is changed, with a message that says what to do.

use lockstep::engine::Finish;
use lockstep_modules::contract::error::Kind;
use lockstep_modules::ops::preflight::CHECKS;
use lockstep_tests::{Bench, Ended, by_hand};
use lockstep_twin::{Broken, Release, Scenario, World};
use serde_json::{Value, json};

/// An upgrade with these parameters on a cluster of three, after `change`.
fn upgrade(params: &Value, change: impl Fn(&mut World)) -> Bench {
    bench("upgrade", params, false, change)
}

fn bench(playbook: &str, params: &Value, updates: bool, change: impl Fn(&mut World)) -> Bench {
    let scenario = Scenario {
        updates,
        ..Scenario::of(3)
    };
    let mut bench = Bench::shipped(playbook, &scenario, params);
    for (snap, channel, revision, version) in [
        ("microceph", "tentacle/stable", 2000, "20.2.4+snap1"),
        ("microceph", "quincy/stable", 900, "17.2.6+snap1"),
        ("lxd", "6/stable", 34000, "6.6-1a2b3c4"),
        ("microcloud", "3/stable", 1500, "3.1-5d6e7f8"),
        ("microcloud", "3/edge", 1501, "3.2-5d6e7f8"),
        ("microovn", "26.03/stable", 900, "26.03.0+snap2"),
    ] {
        let ceph = snap == "microceph";
        let release = Release {
            revision,
            version: version.to_owned(),
            schema: if snap == "lxd" { 73 } else { 1 },
            extensions: 402,
            ovn: (snap == "microovn").then(|| ("7.3.0".to_owned(), "20.33.0".to_owned())),
            ceph: ceph.then(|| ("20.2.4".to_owned(), "tentacle".to_owned())),
            size: 100_000_000,
            ..Release::default()
        };
        bench.world.store.publish(snap, channel, release);
    }
    change(&mut bench.world);
    bench
}

/// What a refused run was given. Nothing may have been changed.
fn refused(mut bench: Bench) -> String {
    let before = bench.world.log.len();
    // What can't be put right by trying again doesn't hold the run.
    let (failure, held) = match bench.run() {
        Ended::Finish(Finish::Failed(failure)) => (failure, false),
        ended => (ended.held().failure, true),
    };
    let refused = held && failure.kind == Kind::Refused;
    assert!(refused || failure.kind == Kind::Args, "{failure}");
    assert_eq!(bench.refreshes(), Vec::<String>::new());
    assert_eq!(bench.world.violations(), []);
    let root = bench.world.log[before..].iter().filter(|e| e.root);
    let changing = root.filter(|e| {
        ["/usr/bin/snap", "/usr/bin/ln", "/usr/bin/mkdir"].contains(&e.argv[0].as_str())
    });
    assert_eq!(changing.count(), 0, "a preflight only reads");
    failure.message
}

#[test]
fn every_check_says_what_is_wrong_and_what_to_do() {
    let update = |change: fn(&mut World)| refused(bench("update", &json!({}), true, change));
    let reported = [
        update(|w| w.inject("cut:micro02+1h".parse().unwrap()).unwrap()),
        update(|w| {
            let claim =
                json!({"run": "update-3", "holder": "eve@jump2", "began": "2026-03-31T22:00:00Z"});
            w.set_file(
                "micro02",
                "/var/lib/lockstep/lock",
                Some(lockstep_twin::Node::Link(claim.to_string())),
            );
        }),
        update(|w| {
            let gone = w.members.remove("micro03");
            assert!(gone.is_some());
        }),
        update(|w| w.host("micro03").name = Some("web7".to_owned())),
        update(|w| {
            w.fail_osd(1);
            w.advance(60_000);
        }),
        update(|w| {
            w.inject("auto-refresh:microcloud,micro02".parse().unwrap())
                .unwrap();
        }),
        update(|w| w.uninstall("micro03", "microcloud")),
        update(|w| w.forget_member("microcloud", "micro03")),
        update(|w| {
            w.slow_migrations(3_600_000);
            let body = r#"{"name": "c2", "migration": true, "live": true}"#;
            let path = "/1.0/instances/c2?target=micro03";
            by_hand(
                w,
                "micro02",
                &["/snap/bin/lxc", "query", "-X", "POST", "-d", body, path],
            );
        }),
        update(|w| w.expire_certificate("OVN Northbound Database")),
        update(|w| w.leave_schemas_behind("7.2.0", "20.32.0")),
        update(|w| w.take_vote("micro03")),
        update(|w| w.store.status = Some(503)),
        update(|w| w.host("micro03").free = 100 << 20),
        update(|w| w.host("micro03").ahead = 90_000),
        refused(upgrade(&json!({"microceph": "quincy/stable"}), |_| {})),
        refused(upgrade(&json!({"microovn": "26.04/stable"}), |_| {})),
        refused(upgrade(&json!({"to": "3"}), |w| {
            w.host("micro02").snapd = "2.63".to_owned()
        })),
        refused(bench(
            "upgrade",
            &json!({"microceph": "tentacle/stable"}),
            true,
            |_| {},
        )),
        update(|w| w.track("micro02", "microcloud", "3/stable")),
        update(|w| disturb(w, "cohort-apart:microcloud,micro02")),
        update(|w| disturb(w, "running-app:lxd,micro02")),
        refused(bench(
            "upgrade",
            &json!({"to": "3", "skip": ["microovn"]}),
            true,
            |w| {
                by_hand(w, "micro02", &["/usr/bin/snap", "refresh", "microovn"]);
                w.advance(w.now + 60_000);
            },
        )),
    ];
    let reported = reported.join("\n---\n");
    for check in CHECKS {
        let begins = format!("{}: ", check.name);
        let mut lines = reported.lines().map(str::trim_start);
        assert!(
            lines.any(|line| line.starts_with(&begins)),
            "nothing here fails the check {}",
            check.name
        );
    }
    insta::assert_snapshot!(reported);
}

/// A fault that is there from now on.
fn disturb(world: &mut World, fault: &str) {
    world.inject(fault.parse().unwrap()).unwrap();
    world.advance(world.now + 1000);
}

#[test]
fn a_size_that_no_disk_has_room_for_is_no_pass() {
    let vast = |size: u64| {
        move |w: &mut World| {
            let release = Release {
                revision: 1502,
                version: "19.2.4+snap1".to_owned(),
                ceph: Some(("19.2.4".to_owned(), "squid".to_owned())),
                size,
                ..Release::default()
            };
            w.store.publish("microceph", "squid/stable", release);
        }
    };
    for size in [1 << 63, u64::MAX] {
        let reported = refused(bench("update", &json!({}), true, vast(size)));
        assert!(reported.contains("disk: micro01: "), "{reported}");
    }
}

#[test]
fn a_jump_over_a_track_and_the_way_back_are_refused() {
    let quincy = |w: &mut World| {
        for member in Scenario::of(3).names() {
            w.track(&member, "microceph", "quincy/stable");
        }
    };
    let text = refused(upgrade(&json!({"microceph": "tentacle/stable"}), quincy));
    assert!(
        text.contains(
            "path: MicroCeph goes from quincy to tentacle only by way of squid: it takes 2 runs: "
        ),
        "{text}"
    );
    let text = refused(upgrade(&json!({"microceph": "tentacle/stable"}), |w| {
        let running = w.store.releases.get_mut("microceph").unwrap();
        running[0].version = "19.2.6+snap3".to_owned();
        running
            .iter_mut()
            .find(|r| r.revision == 2000)
            .unwrap()
            .version = "20.2.2+snap1".to_owned();
        for member in Scenario::of(3).names() {
            w.set_version(&member, "microceph", "19.2.6+snap3");
        }
    }));
    assert!(
        text.contains(
            "ceph-keys: squid from 19.2.6 on has keys that tentacle before 20.2.4 can't read"
        ),
        "{text}"
    );
    assert!(
        text.contains("micro01, micro02, micro03: 19.2.6+snap3 → 20.2.2+snap1"),
        "{text}"
    );
    assert!(!text.contains("--accept ceph-keys"), "{text}");
}

/// All members follow these channels.
fn follow(world: &mut World, channels: &[(&str, &str)]) {
    for member in Scenario::of(3).names() {
        for (snap, channel) in channels {
            world.track(&member, snap, channel);
        }
    }
}

fn runs(world: &mut World, snap: &str, version: &str) {
    for member in Scenario::of(3).names() {
        world.set_version(&member, snap, version);
    }
}

/// What a preflight comes to, check by check, as far as it isn't a pass.
fn odd(params: &Value, change: impl Fn(&mut World)) -> Vec<String> {
    let report = bench("preflight", params, false, change).run().done();
    let checks = report["checks"].as_array().unwrap();
    let odd = checks.iter().filter(|c| c["verdict"] != "pass");
    odd.map(|c| format!("{} {}: {}", c["name"], c["verdict"], c["evidence"]))
        .collect()
}

#[test]
fn where_one_run_is_too_few_the_commands_come_in_order() {
    let one = |w: &mut World| {
        follow(
            w,
            &[
                ("microceph", "reef/stable"),
                ("microovn", "22.03/stable"),
                ("lxd", "5.0/stable"),
                ("microcloud", "1/stable"),
            ],
        );
        runs(w, "microceph", "18.2.4+snap1");
        runs(w, "microovn", "22.03.3+snap1");
        runs(w, "lxd", "5.0.4-1");
        runs(w, "microcloud", "1.1-1");
    };
    let reported = odd(&json!({"to": "3"}), one).join("\n");
    assert!(
        reported
            .contains("it takes 2 runs: lockstep upgrade --to 2, then: lockstep upgrade --to 3"),
        "{reported}"
    );
    assert!(
        reported.contains("MicroCloud goes from 1 to 3 only by way of 2"),
        "{reported}"
    );
    let reported = odd(&json!({"to": "2"}), one).join("\n");
    assert!(!reported.contains("path"), "{reported}");
    let quincy = |w: &mut World| {
        follow(w, &[("microceph", "quincy/stable")]);
        runs(w, "microceph", "17.2.8+snap1");
    };
    let reported = odd(&json!({"microceph": "tentacle/stable"}), quincy).join("\n");
    let commands = "lockstep upgrade --microceph squid/stable, then: lockstep upgrade --microceph tentacle/stable";
    assert!(reported.contains(commands), "{reported}");
}

#[test]
fn a_rolling_track_leads_where_its_version_does() {
    let latest = |w: &mut World| {
        let all = ["microceph", "microovn", "lxd", "microcloud"];
        follow(w, &all.map(|snap| (snap, "latest/stable")));
        runs(w, "microceph", "18.2.4+snap1");
        runs(w, "microovn", "22.03.3+snap1");
        runs(w, "lxd", "5.21.1-1");
        runs(w, "microcloud", "1.1-1");
    };
    let reported = odd(&json!({"to": "2"}), latest).join("\n");
    assert!(
        reported.contains("LXD can't be moved from latest to 5.21: its publisher doesn't support")
            && reported.contains("--skip lxd"),
        "{reported}"
    );
    for component in ["MicroCeph", "MicroOVN", "MicroCloud goes"] {
        assert!(!reported.contains(component), "{reported}");
    }
    let reported = odd(&json!({"to": "2", "skip": ["lxd"]}), latest).join("\n");
    assert!(!reported.contains("path"), "{reported}");
    let reported = odd(&json!({"microcloud": "2/stable"}), |w| {
        latest(w);
        runs(w, "microcloud", "git-1a2b3c");
    });
    let reported = reported.join("\n");
    assert!(reported.contains(r#""path" "unknown""#), "{reported}");
    assert!(reported.contains("which has no version"), "{reported}");
}

#[test]
fn a_snap_without_a_telling_version_is_judged_by_daemons() {
    let reported = odd(&json!({"microceph": "tentacle/stable"}), |w| {
        runs(w, "microceph", "0+git.4a608fc")
    });
    let reported = reported.join("\n");
    assert!(
        reported.contains("MicroCeph 20.2.4") && !reported.contains("unknown"),
        "{reported}"
    );
}

#[test]
fn a_hazard_applies_within_a_track_where_it_is_crossed() {
    let six = |old: &'static str, new: &'static str| {
        move |w: &mut World| {
            follow(w, &[("lxd", "6/stable")]);
            runs(w, "lxd", old);
            runs(w, "microcloud", "3.1-1");
            let mut release = w.store.releases["lxd"][0].clone();
            release.revision = 34900;
            new.clone_into(&mut release.version);
            w.store.publish("lxd", "6/stable", release);
            w.host("micro02").snapd = "2.74".to_owned();
            w.host("micro03").kernel = "5.15.0-171-generic".to_owned();
        }
    };
    let lxd = json!({"only": ["lxd"]});
    let names = |reported: Vec<String>| -> Vec<String> {
        reported
            .iter()
            .map(|t| t.split(": ").next().unwrap().replace('"', ""))
            .collect()
    };
    let reported = odd(&lxd, six("6.6-e1b2a4f", "6.7-ab8fad2"));
    assert!(
        reported[0].contains("micro03: 6.6-e1b2a4f → 6.7-ab8fad2, kernel 5.15.0-171-generic"),
        "{reported:?}"
    );
    assert_eq!(names(reported), ["lxd-6-zfs fail"]);
    let reported = odd(&lxd, six("6.7-e1b2a4f", "6.7-ab8fad2"));
    assert_eq!(
        reported,
        Vec::<String>::new(),
        "what it has already can't come over it"
    );
    let reported = odd(&lxd, six("git-abc", "6.7-ab8fad2"));
    assert_eq!(names(reported), ["lxd-6-zfs unknown"], "unknown is no pass");
}

#[test]
fn versions_that_will_not_go_together_are_refused() {
    let reported = odd(&json!({"microceph": "tentacle/stable"}), |_| {}).join("\n");
    assert!(
        reported.contains("MicroCloud 2.1.0-3e8b183 and MicroCeph 20.2.4+snap1: it takes 19.2 or newer and older than 19.3"),
        "{reported}"
    );
    // Staying as it is wouldn't help.
    let reported = odd(&json!({"only": ["microcloud"]}), |w| {
        runs(w, "microceph", "20.2.4+snap1")
    });
    assert_eq!(reported, Vec::<String>::new());
}

#[test]
fn what_may_be_accepted_can_be_and_nothing_else() {
    let with = |accept: Value| {
        let params = json!({"microcloud": "3/stable", "accept": accept});
        upgrade(&params, |w| w.host("micro01").ahead = 90_000)
    };
    let text = refused(with(json!([])));
    assert!(
        text.contains("clocks: micro01 is 90 s ahead of micro02"),
        "{text}"
    );
    assert!(
        text.contains("microcloud-3-in-production: ")
            && text.contains("--accept microcloud-3-in-production"),
        "{text}"
    );
    let both = json!(["clocks", "microcloud-3-in-production"]);
    with(both).run().done();
    let text = refused(with(json!(["clokcs"])));
    assert_eq!(
        text,
        "there is no check \"clokcs\" (did you mean \"clocks\"?)"
    );
    let text = refused(with(json!(["lock"])));
    assert!(
        text.starts_with(
            "the check \"lock\" can't be accepted; these can: names, drift, ovn-schemas, ovn-certificates, lxd-voters, "
        ),
        "{text}"
    );
}

#[test]
fn an_empty_channel_follows_the_next_safer_one() {
    let params = json!({"microcloud": "3/beta", "accept": ["microcloud-3-in-production"]});
    let mut bench = upgrade(&params, |_| {});
    let text = format!("{:?}", bench.run());
    assert!(!text.contains("has no channel"), "{text}");
}

#[test]
fn a_set_moves_every_component_to_its_channel() {
    let params = json!({"to": "3", "accept": ["microcloud-3-in-production"]});
    let mut bench = upgrade(&params, |_| {});
    bench.run().done();
    assert_eq!(bench.revisions("lxd"), [34000; 3]);
    assert_eq!(bench.revisions("microcloud"), [1500; 3]);
    assert_eq!(
        bench.revisions("microceph"),
        [1500; 3],
        "it is in its channel already"
    );
    assert_eq!(bench.world.violations(), []);
}

#[test]
fn a_healthy_cluster_passes_every_check() {
    for members in [1, 3, 5] {
        let mut bench = Bench::shipped("preflight", &Scenario::of(members), &json!({}));
        let report = bench.run().done();
        let checks = report["checks"].as_array().unwrap();
        assert!(checks.len() > CHECKS.len(), "hazards are checks too");
        let odd: Vec<&Value> = checks.iter().filter(|c| c["verdict"] != "pass").collect();
        assert_eq!(odd, Vec::<&Value>::new());
    }
}

#[test]
fn what_will_be_switched_meanwhile_is_shown_beforehand() {
    let mut bench = Bench::shipped("preflight", &Scenario::of(3), &json!({}));
    bench.world.set_election_timer(1000);
    bench.world.set_healing_threshold(300);
    let report = bench.run().done();
    let checks = report["checks"].as_array().unwrap();
    let reported = checks
        .iter()
        .filter(|c| c["evidence"].as_array().is_some_and(|e| !e.is_empty()));
    let reported: Vec<String> = reported
        .map(|c| format!("{} {}: {}", c["name"], c["verdict"], c["evidence"]))
        .collect();
    insta::assert_snapshot!(reported.join("\n"));
}

#[test]
fn a_network_without_a_certificate_list_is_let_through() {
    let reported = |broken| {
        let report = bench("preflight", &json!({}), true, |w| {
            w.break_program("micro02 /snap/bin/microovn certificates", broken);
        });
        let report = { report }.run().done();
        let checks = report["checks"].as_array().unwrap().iter();
        let mut reported = checks.filter(|c| c["name"] == "ovn-certificates");
        let check = reported.next().unwrap().clone();
        (check["verdict"].clone(), check["evidence"].to_string())
    };
    let (verdict, evidence) = reported(Broken::Unknown);
    assert_eq!(verdict, "pass");
    let printed = "micro02: this MicroOVN has no command that lists its certificates";
    assert!(evidence.contains(printed), "{evidence}");
    assert_eq!(reported(Broken::Fails).0, "unknown");
    assert_eq!(reported(Broken::Nothing).0, "unknown");
}

#[test]
fn a_component_that_is_left_out_of_a_move_must_not_be_half_way() {
    let drift = |params: &Value| {
        let by_snap = |w: &mut World| {
            by_hand(w, "micro02", &["/usr/bin/snap", "refresh", "microovn"]);
            w.advance(w.now + 60_000);
        };
        let report = bench("preflight", params, true, by_snap).run().done();
        let mut checks = report["checks"].as_array().unwrap().iter();
        let check = checks.find(|c| c["name"] == "drift").unwrap().clone();
        (check["verdict"].clone(), check["evidence"][0].to_string())
    };
    assert_eq!(drift(&json!({})).0, "pass");
    assert_eq!(drift(&json!({"only": ["microovn"]})).0, "pass");
    assert_eq!(drift(&json!({"only": ["lxd"]})).0, "pass");
    for left_out in [
        json!({"microceph": "tentacle/stable"}),
        json!({"to": "3", "skip": ["microovn"]}),
    ] {
        let (verdict, evidence) = drift(&left_out);
        assert_eq!(verdict, "fail", "{evidence}");
        assert!(
            evidence.starts_with("\"MicroOVN is only partly updated (revision"),
            "{evidence}"
        );
        assert!(evidence.ends_with("with: lockstep update\""), "{evidence}");
    }
}

/// The questions of a run.
fn questions(bench: &Bench) -> Vec<String> {
    let steps = bench.history().steps.into_values();
    let asked = steps.filter(|step| step.op == "confirm");
    let mut questions: Vec<String> = asked
        .map(|step| {
            step.args["question"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect();
    questions.sort();
    questions
}

#[test]
fn the_point_of_no_return_is_asked_about_if_somebody_is_there() {
    let params = json!({"to": "3", "accept": ["microcloud-3-in-production"]});
    let expected = [
        "From here on there is no way back for LXD to an older release than 6/stable. Continue?",
        "From here on there is no way back for MicroCloud to an older release than 3/stable. Continue?",
    ];
    let mut bench = upgrade(&params, |_| {});
    bench.run().done();
    assert_eq!(questions(&bench), expected);
    let mut bench = upgrade(&params, |_| {});
    bench.answer = lockstep::engine::Answer::No;
    assert_eq!(bench.run().held().path, "LXD/confirm#1");
    assert_eq!(bench.refreshes(), Vec::<String>::new());
    // Within a channel nobody is asked.
    let mut bench = Bench::update(3);
    bench.run().done();
    assert_eq!(questions(&bench), Vec::<String>::new());
}
