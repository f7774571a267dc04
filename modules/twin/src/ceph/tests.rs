//! The twin's Ceph held against what a real one printed. The modules' parsers read the same samples in their own tests.

use std::collections::BTreeSet;

use lockstep_modules::products::ceph::{
    MdsStat, Metadata, MgrStat, MonDump, OkToStop, OsdDump, OsdTree, Release, Status, Versions,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{command, maps};
use crate::scenario::Scenario;
use crate::transcript::printed;
use crate::world::{Proc, Reply, World};

fn sample(name: &str) -> String {
    let path = format!(
        "{}/../tests/transcripts/ceph/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn asked(world: &mut World, args: &str) -> (i32, String) {
    let args: Vec<&str> = args.split(' ').collect();
    let proc = Proc::of("micro01", &args, world.now);
    match command(world, &proc, &args) {
        Reply::Exit(output) => match output.end {
            lockstep_modules::contract::cmd::End::Exit(code) => (code, output.stdout),
            end => panic!("{args:?} ended with {end}"),
        },
        other => panic!("{args:?} didn't end: {other:?}"),
    }
}

/// The names of all fields, with where they are. Names that are data (codes, gids, versions, hosts) count as one.
fn fields(value: &Value, at: &str, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let is_data = key.contains(|c: char| c.is_ascii_uppercase() || c.is_ascii_digit());
                let inside = format!("{at}.{}", if is_data { "*" } else { key });
                found.insert(inside.clone());
                fields(value, &inside, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| fields(item, at, found)),
        _ => {}
    }
}

/// Both are read by the module's parser, and the twin has no field that the real one doesn't have.
fn alike<T: DeserializeOwned>(twin: &str, name: &str) {
    let real = sample(name);
    assert!(
        twin.starts_with('\n') && real.starts_with('\n'),
        "{name} begins with an empty line"
    );
    for text in [twin, &real] {
        serde_json::from_str::<T>(text).unwrap_or_else(|e| panic!("{name}: {e}\n{text}"));
    }
    let [twin, real] = [twin, &real].map(|text| {
        let mut found = BTreeSet::new();
        fields(&serde_json::from_str(text).unwrap(), "", &mut found);
        found
    });
    let invented: Vec<&String> = twin.difference(&real).collect();
    assert!(invented.is_empty(), "{name}: the twin invents {invented:?}");
}

#[test]
fn maps_have_the_form_of_real_ones() {
    let mut world = Scenario::of(3).build();
    alike::<MonDump>(&asked(&mut world, "mon dump -f json").1, "20-mon-dump");
    alike::<MgrStat>(&asked(&mut world, "mgr stat -f json").1, "21-mgr-stat");
    alike::<MdsStat>(
        &asked(&mut world, "mds stat -f json").1,
        "22-mds-stat-no-filesystem",
    );
    alike::<OsdDump>(&asked(&mut world, "osd dump -f json").1, "24-osd-dump");
    alike::<OsdTree>(&asked(&mut world, "osd tree -f json").1, "26-osd-tree");
    alike::<Versions>(&asked(&mut world, "versions -f json").1, "27-versions");
    alike::<Metadata>(
        &asked(&mut world, "osd metadata 0 -f json").1,
        "28-osd-metadata",
    );
    alike::<Metadata>(
        &asked(&mut world, "mon metadata micro01 -f json").1,
        "29-mon-metadata",
    );
    world.add_filesystem();
    alike::<MdsStat>(
        &asked(&mut world, "mds stat -f json").1,
        "23-mds-stat-filesystem",
    );
    alike::<Status>(&asked(&mut world, "-s -f json").1, "32-filesystem-status");
}

#[test]
fn the_status_has_the_form_of_real_ones_through_trouble() {
    let mut world = Scenario::of(3).build();
    alike::<Status>(&asked(&mut world, "-s -f json").1, "01-ok-status");
    asked(&mut world, "osd set noout");
    alike::<Status>(&asked(&mut world, "-s -f json").1, "02-noout-status");
    world.fail_osd(2);
    alike::<Status>(
        &asked(&mut world, "-s -f json").1,
        "03-osd2-stopped-noout-status",
    );
    world.fail_mon("micro03");
    alike::<Status>(&asked(&mut world, "-s -f json").1, "04-mon3-stopped-status");
}

/// A world with the addresses and as many placement groups as the real one.
fn addressed(pgs: u64) -> World {
    let mut world = Scenario::of(3).build();
    world.ceph.pgs = pgs;
    for (i, machine) in world.members.values_mut().enumerate() {
        machine.address = format!("10.77.0.{}", 11 + i);
    }
    world
}

/// The checks in `ceph health detail`. Which placement group it is that has the object is chance.
fn checks(text: &str) -> Value {
    let mut health: Value = serde_json::from_str(text).unwrap();
    if let Some(line) = health.pointer_mut("/checks/PG_DEGRADED/detail/0/message") {
        let text = line.as_str().unwrap();
        let (_, rest) = text.split_once(" is ").unwrap();
        *line = Value::from(rest);
    }
    health["checks"].take()
}

#[test]
fn checks_are_told_in_the_words_of_real_ones() {
    let ask = |world: &mut World| checks(&asked(world, "health detail -f json").1);
    let real = |name: &str| checks(&sample(&format!("{name}-health")));
    let mut world = addressed(9);
    assert_eq!(ask(&mut world), real("01-ok"));
    asked(&mut world, "osd set noout");
    assert_eq!(ask(&mut world), real("02-noout"));
    world.fail_osd(2);
    assert_eq!(ask(&mut world), real("03-osd2-stopped-noout"));

    let mut world = addressed(33);
    world.set_link("micro03", false);
    world.advance(5000);
    assert_eq!(ask(&mut world), real("06-host3-cut-5s"));
    world.advance(27_000);
    let (twin, real) = (ask(&mut world), real("07-host3-cut-27s"));
    for code in ["MON_DOWN", "OSD_DOWN", "OSD_HOST_DOWN"] {
        assert_eq!(twin[code], real[code]);
    }
}

#[test]
fn placement_groups_without_an_object_are_not_degraded() {
    let mut world = addressed(9);
    world.fail_osd(2);
    let twin: Value = serde_json::from_str(&asked(&mut world, "-s -f json").1).unwrap();
    let real: Value = serde_json::from_str(&sample("03-osd2-stopped-noout-status")).unwrap();
    let keys = [
        "pgs_by_state",
        "num_pgs",
        "num_objects",
        "degraded_objects",
        "degraded_total",
    ];
    for key in keys {
        assert_eq!(twin["pgmap"][key], real["pgmap"][key], "{key}");
    }
}

#[test]
fn a_refusal_to_stop_osds_is_told_on_both_streams() {
    let mut world = addressed(9);
    let args = ["osd", "ok-to-stop", "0", "1", "-f", "json"];
    let proc = Proc::of("micro01", &args, world.now);
    let Reply::Exit(output) = command(&mut world, &proc, &args) else {
        panic!("it didn't end");
    };
    let real = printed("ceph/ok-to-stop", "ceph osd ok-to-stop 0 1 -f json", 0);
    let (json, refusal) = real.split_once("Error EBUSY").unwrap();
    assert_eq!(output.stderr, format!("Error EBUSY{refusal}"));
    let read = |text: &str| -> Value { serde_json::from_str(text).unwrap() };
    let (twin, real) = (read(&output.stdout), read(json));
    for key in ["ok_to_stop", "osds", "num_ok_pgs", "num_not_ok_pgs"] {
        assert_eq!(twin[key], real[key], "{key}");
    }
}

#[test]
fn versions_leave_out_osds_that_are_down_but_not_monitors() {
    let mut world = Scenario::of(3).build();
    world.fail_osd(2);
    world.fail_mon("micro03");
    let versions: Value = serde_json::from_str(&asked(&mut world, "versions -f json").1).unwrap();
    let count = |kind: &str| {
        versions[kind]
            .as_object()
            .map(|map| map.values().filter_map(Value::as_u64).sum::<u64>())
    };
    assert_eq!((count("mon"), count("osd")), (Some(3), Some(2)));
}

#[test]
fn ok_to_stop_answers_as_the_real_one_does() {
    let mut world = Scenario::of(3).build();
    let (code, text) = asked(&mut world, "osd ok-to-stop 0 -f json");
    assert_eq!(code, 0);
    alike::<OkToStop>(&text, "30-ok-to-stop");
    let (code, text) = asked(&mut world, "osd ok-to-stop 0 1 -f json");
    assert_eq!(code, 16);
    alike::<OkToStop>(&text, "31-ok-to-stop-refused");
    // One that doesn't exist is fine to stop.
    assert_eq!(asked(&mut world, "osd ok-to-stop 99 -f json").0, 0);
    assert_eq!(asked(&mut world, "osd ok-to-stop -f json").0, 22);
}

#[test]
fn daemons_of_tentacle_add_their_kind_of_build() {
    for (version, name) in [("19.2.3", "squid"), ("20.2.4", "tentacle")] {
        let text = maps::long(&(version.to_owned(), name.to_owned()));
        let release = Release::parse(&text).unwrap();
        assert_eq!(
            (release.version.as_str(), release.name.as_str()),
            (version, name)
        );
    }
}

#[test]
fn a_host_that_is_cut_off_is_missed_only_after_a_while() {
    let mut world = Scenario::of(3).build();
    let look = |world: &mut World| {
        let status: Value = serde_json::from_str(&asked(world, "-s -f json").1).unwrap();
        (
            status["quorum_names"].as_array().map_or(0, Vec::len),
            status["osdmap"]["num_up_osds"].as_u64().unwrap_or(0),
        )
    };
    world.set_link("micro03", false);
    let mut seen: Vec<_> = [5, 15, 25]
        .map(|seconds| {
            world.advance(seconds * 1000);
            look(&mut world)
        })
        .into();
    world.set_link("micro03", true);
    world.advance(35_000);
    seen.push(look(&mut world));
    assert_eq!(seen, [(3, 3), (2, 3), (2, 2), (3, 3)]);
}

#[test]
fn without_a_majority_a_command_ends_only_if_it_was_told_to() {
    let mut world = Scenario::of(3).build();
    world.fail_mon("micro02");
    world.fail_mon("micro03");
    let args = ["-s", "-f", "json"];
    assert!(matches!(
        command(&mut world, &Proc::of("micro01", &args, 0), &args),
        Reply::Hang
    ));
    let args = ["--connect-timeout", "15", "-s", "-f", "json"];
    let proc = Proc::of("micro01", &args, world.now);
    assert!(matches!(
        command(&mut world, &proc, &args),
        Reply::Again(15_000)
    ));
}
