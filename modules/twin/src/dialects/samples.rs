//! Each release says what it really says.

use std::collections::BTreeMap;

use lockstep_modules::contract::cmd::{Cmd, Output};
use serde_json::{Value, json};

use crate::scenario::{Published, Set, Snap};
use crate::transcript::printed;
use crate::{Scenario, World};

fn run_on(world: &mut World, member: &str, words: &[&str]) -> Output {
    let timeout = std::time::Duration::from_secs(120);
    let id = world.spawn(member, &Cmd::root(words.iter().copied()).timeout(timeout));
    loop {
        if let Some(output) = world.take(id) {
            return output;
        }
        world.advance(world.next_due().unwrap());
    }
}

fn run(world: &mut World, line: &str) -> Output {
    let words: Vec<&str> = line.split(' ').collect();
    run_on(world, "micro01", &words)
}

fn asked(world: &mut World, line: &str) -> Value {
    serde_json::from_str(&run(world, line).stdout).unwrap()
}

fn made(set: Set, channels: &[(&str, &str)]) -> World {
    let own = |(snap, channel): &(&str, &str)| ((*snap).to_owned(), (*channel).to_owned());
    let scenario = Scenario {
        microcloud: set,
        channels: channels.iter().map(own).collect(),
        ..Scenario::of(3)
    };
    scenario.check().unwrap();
    let mut world = scenario.build();
    for (i, machine) in world.members.values_mut().enumerate() {
        machine.address = format!("10.77.0.{}", 11 + i);
    }
    world
}

/// The words of a table, without its lines and without fingerprints.
fn cells(table: &str) -> Vec<String> {
    let words = table.split(['|', '\n', '+', '-']).map(str::trim);
    let fingerprint = |word: &str| word.len() == 12 && word.chars().all(|c| c.is_ascii_hexdigit());
    let words = words.filter(|word| !word.is_empty() && !fingerprint(word));
    words.map(str::to_owned).collect()
}

#[test]
fn old_releases_say_what_they_said() {
    let mut world = made(Set::OneLatest, &[]);
    for command in [
        "microceph cluster list -f json",
        "microceph cluster list --format=json",
        "microceph waitready --timeout 5",
        "microceph status",
        "microovn status",
        "microovn waitready",
        "lxd waitready --timeout 5 --network --storage",
        "lxd waitready --timeout 5",
    ] {
        let output = run(&mut world, &format!("/snap/bin/{command}"));
        let said = format!("{}{}", output.stdout, output.stderr);
        assert_eq!(
            said.trim(),
            printed("old/commands", command, 0).trim(),
            "{command}"
        );
    }
    let command = "microceph cluster list";
    let table = run(&mut world, &format!("/snap/bin/{command}")).stdout;
    assert_eq!(cells(&table), cells(&printed("old/commands", command, 0)));
}

#[test]
fn members_are_told_as_json_where_that_can_be_asked_for() {
    let list = "/snap/bin/microceph cluster list -f json";
    for (channel, has) in [
        ("quincy/stable", false),
        ("reef/stable", false),
        ("squid/stable", true),
        ("tentacle/stable", true),
    ] {
        let mut world = made(Set::Two, &[("microceph", channel)]);
        assert_eq!(run(&mut world, list).success(), has, "{channel}");
        let others = ["microovn", "microcloud"];
        for app in others {
            let list = format!("/snap/bin/{app} cluster list -f json");
            assert_eq!(asked(&mut world, &list).as_array().unwrap().len(), 3);
        }
    }
    let mut world = made(Set::Two, &[]);
    world.set_revision("micro01", "microceph", 1450);
    assert!(!run(&mut world, list).success());
}

#[test]
fn what_microovn_says_of_schemas_and_dates_fits_its_release() {
    for (channel, schemas, dates) in [
        ("22.03/stable", false, false),
        ("24.03/stable", true, false),
        ("25.03/stable", true, false),
        ("26.03/stable", true, true),
    ] {
        let mut world = made(Set::Two, &[("microovn", channel)]);
        world.expire_certificate("OVN CA");
        let status = run(&mut world, "/snap/bin/microovn status").stdout;
        assert_eq!(status.contains("OVN Northbound: OK ("), schemas, "{status}");
        assert_eq!(
            status.contains("OVN CA certificate has expired"),
            dates,
            "{status}"
        );
        let list = asked(&mut world, "/snap/bin/microovn certificates list -f json");
        assert_eq!(list["ca"].is_string(), !schemas, "{list}");
        assert_eq!(
            list["client"]["expiration_date"].is_string(),
            dates,
            "{list}"
        );
        let path = list["ovnnb"]["cert"].as_str().unwrap();
        let end = run(
            &mut world,
            &format!("/usr/bin/openssl x509 -enddate -noout -in {path}"),
        );
        assert_eq!(end.stdout, "notAfter=Apr  1 12:00:00 2028 GMT\n");
    }
}

#[test]
fn lxd_has_what_its_tag_has() {
    for (channel, extensions, sql, parts) in [
        ("5.0/stable", 2, false, false),
        ("5.21/stable", 5, true, false),
        ("6/stable", 7, true, true),
    ] {
        let mut world = made(Set::Two, &[("lxd", channel)]);
        let server = asked(&mut world, "/snap/bin/lxc query /1.0");
        assert_eq!(
            server["api_extensions"].as_array().unwrap().len(),
            extensions
        );
        let asked = [
            "/snap/bin/lxd",
            "sql",
            "global",
            "--format=json",
            "SELECT 1",
        ];
        assert_eq!(
            run_on(&mut world, "micro01", &asked).success(),
            sql,
            "{channel}"
        );
        let plain = ["/snap/bin/lxd", "sql", "global", "SELECT 1"];
        assert!(run_on(&mut world, "micro01", &plain).success());
        let wait = run(
            &mut world,
            "/snap/bin/lxd waitready --timeout=5 --network --storage",
        );
        assert_eq!(wait.success(), parts, "{channel}");
        let state = run(
            &mut world,
            "/snap/bin/lxc query /1.0/cluster/members/micro02/state",
        );
        assert_eq!(state.success(), channel != "5.0/stable", "{state:?}");
    }
}

#[test]
fn microcloud_1_has_no_overview() {
    let ask = "/usr/bin/curl -sS --unix-socket /var/snap/microcloud/common/state/control.socket http://localhost/1.0/status";
    for (set, code) in [(Set::One, 404), (Set::Two, 0), (Set::Three, 0)] {
        let answer = asked(&mut made(set, &[]), ask);
        assert_eq!(answer["error_code"], code, "{answer}");
    }
}

#[test]
fn a_snap_that_wants_a_newer_snapd_is_refused_at_first() {
    let mut world = made(Set::Three, &[]);
    world.host("micro01").snapd = "2.63".to_owned();
    let refused = run(&mut world, "/usr/bin/snap refresh --no-wait --cohort=+ lxd");
    assert!(
        refused
            .stderr
            .contains("assumes unsupported features: snapd2.75"),
        "{refused:?}"
    );
    let debug = run(&mut world, "/usr/bin/snap debug api /v2/system-info");
    assert!(!debug.success(), "{debug:?}");
    world.host("micro01").snapd = "2.75".to_owned();
    let begun = run(&mut world, "/usr/bin/snap refresh --no-wait --cohort=+ lxd");
    assert!(begun.success(), "{begun:?}");
}

/// Three members of which the middle one is ahead.
fn one_ahead(snap: &str, revisions: [u32; 3], restarted: bool) -> World {
    let usual = [
        ("microceph", 1500),
        ("microovn", 700),
        ("lxd", 33100),
        ("microcloud", 1200),
    ];
    let mut scenario = Scenario::of(3);
    scenario.releases.push(Published {
        snap: "lxd".to_owned(),
        channel: "6/stable".to_owned(),
        revision: 34100,
        version: "6.9-ab8fad2".to_owned(),
        schema: Some(87),
        size: None,
        built: None,
    });
    for (i, name) in scenario.names().into_iter().enumerate() {
        let own = |(other, revision): (&str, u32)| {
            let here = other == snap;
            let snap = Snap {
                revision: if here { revisions[i] } else { revision },
                channel: None,
                cohort: None,
                held: None,
                restarted: here && restarted && i == 0,
            };
            (other.to_owned(), snap)
        };
        let snaps: BTreeMap<String, Snap> = usual.into_iter().map(own).collect();
        scenario.installed.insert(name, snaps);
    }
    scenario.check().unwrap();
    scenario.build()
}

#[test]
fn a_member_left_behind_runs_on_until_it_is_started_again() {
    let list = "/snap/bin/microovn cluster list -f json";
    let mut world = one_ahead("microovn", [700, 800, 700], false);
    assert!(run_on(&mut world, "micro01", &list.split(' ').collect::<Vec<_>>()).success());
    let mut world = one_ahead("microovn", [700, 800, 700], true);
    let refused = run(&mut world, list);
    assert!(refused.stderr.contains("connection refused"), "{refused:?}");
    let waits = run_on(&mut world, "micro02", &list.split(' ').collect::<Vec<_>>());
    assert!(waits.stdout.contains("NEEDS UPGRADE"), "{waits:?}");
    // 5.21.3 exits where 6.6 waits.
    let wait = "/snap/bin/lxd waitready --timeout=5";
    for (revisions, says) in [
        (
            [33100, 34000, 33100],
            "LXD still not running after 5s timeout",
        ),
        (
            [34000, 34100, 34000],
            "LXD daemon not ready yet after 5s timeout",
        ),
    ] {
        let mut world = one_ahead("lxd", revisions, true);
        let waited = run(&mut world, wait);
        assert!(waited.stderr.contains(says), "{waited:?}");
    }
}

#[test]
fn daemons_are_of_the_release_of_their_member() {
    let mut world = one_ahead("microceph", [1500, 1600, 1500], false);
    let versions = asked(&mut world, "/snap/bin/microceph.ceph versions -f json");
    for kind in ["mon", "mgr", "osd"] {
        assert_eq!(versions[kind].as_object().unwrap().len(), 2, "{versions}");
    }
    // What newer monitors say of old keys is said once one of them leads.
    let health = "/snap/bin/microceph.ceph health detail -f json";
    assert!(!asked(&mut world, health).to_string().contains("AUTH_"));
    let mut world = one_ahead("microceph", [1600, 1500, 1500], false);
    let checks = asked(&mut world, health);
    let codes = checks["checks"].as_object().unwrap().keys();
    assert_eq!(
        codes.filter(|code| code.starts_with("AUTH_")).count(),
        6,
        "{checks}"
    );
}

#[test]
fn a_mute_ends_when_there_is_more_of_it() {
    let mut world = made(Set::Two, &[]);
    world
        .inject("health:MGR_MODULE_ERROR,HEALTH_ERR".parse().unwrap())
        .unwrap();
    world.advance(1);
    let health = "/snap/bin/microceph.ceph health detail -f json";
    assert_eq!(asked(&mut world, health)["status"], "HEALTH_ERR");
    assert!(
        run(
            &mut world,
            "/snap/bin/microceph.ceph health mute MGR_MODULE_ERROR 1d"
        )
        .success()
    );
    let muted = asked(&mut world, health);
    assert_eq!(muted["status"], "HEALTH_OK", "{muted}");
    assert_eq!(muted["checks"]["MGR_MODULE_ERROR"]["muted"], true);
    let unknown = run(
        &mut world,
        "/snap/bin/microceph.ceph health mute NEVER_RAISED",
    );
    assert!(
        unknown.stderr.contains("not currently raised"),
        "{unknown:?}"
    );
    world.mend();
    assert_eq!(asked(&mut world, health)["status"], "HEALTH_OK");
}

#[test]
fn an_unavailable_pool_is_told_by_its_member_and_in_warnings() {
    let mut world = made(Set::Three, &[]);
    world
        .inject("pool-unavailable:local,micro01".parse().unwrap())
        .unwrap();
    world.advance(1);
    let pool = "/snap/bin/lxc query /1.0/storage-pools/local?target=";
    assert_eq!(
        asked(&mut world, &format!("{pool}micro01"))["status"],
        "Unavailable"
    );
    assert_eq!(
        asked(&mut world, &format!("{pool}micro02"))["status"],
        "Created"
    );
    let warnings = asked(&mut world, "/snap/bin/lxc query /1.0/warnings?recursion=1");
    assert_eq!(warnings[0]["location"], "micro01");
    let wait = run(
        &mut world,
        "/snap/bin/lxd waitready --timeout=5 --network --storage",
    );
    assert!(
        wait.stderr.contains("Storage pools not ready yet"),
        "{wait:?}"
    );
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    let told = |scenario: Value| {
        let scenario: Scenario = serde_json::from_value(scenario).unwrap();
        scenario.check().unwrap_err()
    };
    for (scenario, place, part) in [
        (
            json!({"hosts": {"micro9": {"os": "22.04"}}}),
            "micro9",
            "no member",
        ),
        (
            json!({"clients": ["micro01 firefox"]}),
            "firefox",
            "no program",
        ),
        (json!({"clients": ["micro01"]}), "micro01", "MEMBER PROGRAM"),
        (
            json!({"buckets": [{"name": "b", "pool": "locl"}]}),
            "locl",
            "did you mean \"local\"",
        ),
        (
            json!({"channels": {"microceph": "squid/edge"}}),
            "squid/edge",
            "no release",
        ),
        (
            json!({"channels": {"microcep": "squid/stable"}}),
            "microcep",
            "no component",
        ),
    ] {
        let (word, what) = told(scenario);
        assert!(word.contains(place), "{word}: {what}");
        assert!(what.contains(part), "{what}");
    }
    let unknown = json!({"microcloud": "1-lates"});
    let unknown = serde_json::from_value::<Scenario>(unknown).unwrap_err();
    assert!(unknown.to_string().contains("1-latest"), "{unknown}");
}
