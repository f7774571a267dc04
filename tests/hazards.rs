//! Each shipped row of what is known to go wrong, and of what goes together, is met in one rehearsal and not in another; the
//! page of the book that lists them is made from the same table.

use std::fmt::Write as _;
use std::fs;

use lockstep_modules::ops::preflight::tables;
use lockstep_tests::{Bench, root};
use lockstep_twin::Scenario;
use serde_json::{Value, json};

/// What a cluster runs, what the store has for it, and what else there is.
#[derive(Clone, Copy)]
struct Case {
    /// Snaps with the versions that run, where they aren't the usual ones.
    runs: &'static [(&'static str, &'static str)],
    /// The snap that gets another version, from which channel, and the version.
    gets: (&'static str, &'static str, &'static str),
    /// What else there is, as a scenario file has it.
    there: &'static str,
}

const fn case(
    runs: &'static [(&'static str, &'static str)],
    gets: (&'static str, &'static str, &'static str),
) -> Case {
    Case {
        runs,
        gets,
        there: "",
    }
}

const fn with(case: Case, there: &'static str) -> Case {
    Case { there, ..case }
}

/// The channels that a new cluster follows.
const FOLLOWED: [(&str, &str); 4] = [
    ("microceph", "squid/stable"),
    ("microovn", "24.03/stable"),
    ("lxd", "5.21/stable"),
    ("microcloud", "2/stable"),
];

const SQUID: (&str, &str) = ("microceph", "19.2.3+snap1");
const TENTACLE: &str = "tentacle/stable";
const LXD6: (&str, &str) = ("lxd", "6.6-e1b2a4f");

/// Where each row is met, and where it isn't.
fn table() -> Vec<(&'static str, Case, Case)> {
    let keys = &[("microceph", "19.2.6+snap1")];
    let cloud = &[("microcloud", "2.1.3-abc")];
    vec![
        (
            "microcloud-microceph",
            case(cloud, ("microceph", TENTACLE, "20.2.4+snap1")),
            case(
                &[("microcloud", "3.3-abc")],
                ("microceph", TENTACLE, "20.2.4+snap1"),
            ),
        ),
        (
            "microcloud-microceph-newer",
            case(
                &[("microceph", "18.2.7+snap1")],
                ("microcloud", "3/stable", "3.3-abc"),
            ),
            case(&[SQUID], ("microcloud", "3/stable", "3.3-abc")),
        ),
        (
            "microcloud-microovn",
            case(cloud, ("microovn", "26.03/stable", "26.03.1+snap1")),
            case(
                &[("microcloud", "3.1-abc")],
                ("microovn", "26.03/stable", "26.03.1+snap1"),
            ),
        ),
        (
            "microcloud-microovn-newer",
            case(
                &[("microovn", "22.03.3+snap1")],
                ("microcloud", "3/stable", "3.1-abc"),
            ),
            case(&[], ("microcloud", "3/stable", "3.1-abc")),
        ),
        (
            "microcloud-2.1.0-lxd",
            case(
                &[("microcloud", "2.1.0-abc")],
                ("lxd", "6/stable", "6.6-abc"),
            ),
            case(cloud, ("lxd", "6/stable", "6.6-abc")),
        ),
        (
            "microcloud-lxd",
            case(
                &[("lxd", "5.0.4-abc")],
                ("microcloud", "2/stable", "2.1.9-abc"),
            ),
            case(&[], ("microcloud", "2/stable", "2.1.9-abc")),
        ),
        (
            "ceph-keys",
            case(keys, ("microceph", TENTACLE, "20.2.2+snap1")),
            case(keys, ("microceph", TENTACLE, "20.2.4+snap1")),
        ),
        (
            "ceph-read-from-replica",
            case(&[SQUID], ("microceph", TENTACLE, "20.2.0+snap1")),
            case(&[SQUID], ("microceph", TENTACLE, "20.2.1+snap1")),
        ),
        (
            "ceph-dashboard",
            with(
                case(&[SQUID], ("microceph", TENTACLE, "20.2.1+snap1")),
                "manager_modules = [\"dashboard\"]",
            ),
            case(&[SQUID], ("microceph", TENTACLE, "20.2.1+snap1")),
        ),
        (
            "ceph-new-keys-squid",
            case(&[SQUID], ("microceph", "squid/stable", "19.2.6+snap1")),
            case(&[SQUID], ("microceph", "squid/stable", "19.2.5+snap1")),
        ),
        (
            "ceph-new-keys",
            case(&[SQUID], ("microceph", TENTACLE, "20.2.4+snap1")),
            case(&[SQUID], ("microceph", TENTACLE, "20.2.3+snap1")),
        ),
        (
            "ceph-tentacle-preview",
            case(&[SQUID], ("microceph", TENTACLE, "20.2.4+snap1")),
            case(
                &[("microceph", "18.2.7+snap1")],
                ("microceph", "squid/stable", "19.2.5+snap1"),
            ),
        ),
        (
            "microcloud-3-in-production",
            case(&[], ("microcloud", "3/stable", "3.1-abc")),
            case(&[], ("microcloud", "2/stable", "2.1.9-abc")),
        ),
        (
            "lxd-6-in-production",
            case(&[], ("lxd", "6/stable", "6.6-abc")),
            case(&[("microcloud", "3.1-abc")], ("lxd", "6/stable", "6.6-abc")),
        ),
        (
            "lxd-6-buckets",
            with(
                case(&[LXD6], ("lxd", "6/stable", "6.8-abc")),
                "buckets = [{ name = \"photos\", pool = \"local\" }]",
            ),
            case(&[LXD6], ("lxd", "6/stable", "6.8-abc")),
        ),
        (
            "lxd-6-vtpm",
            with(
                case(&[LXD6], ("lxd", "6/stable", "6.8-abc")),
                "instances = [{ name = \"vm1\", location = \"micro01\", kind = \"virtual-machine\", devices = { tpm = { type = \"tpm\" } } }]",
            ),
            case(&[LXD6], ("lxd", "6/stable", "6.8-abc")),
        ),
        (
            "lxd-6-snapd",
            with(
                case(&[LXD6], ("lxd", "6/stable", "6.9-abc")),
                "hosts.micro01.snapd = \"2.74\"",
            ),
            with(
                case(&[LXD6], ("lxd", "6/stable", "6.9-abc")),
                "hosts.micro01.snapd = \"2.75\"",
            ),
        ),
        (
            "lxd-6-tracking",
            with(
                case(&[LXD6], ("lxd", "6/stable", "6.9-abc")),
                "hosts.micro01.snapd = \"2.76\"",
            ),
            with(
                case(&[LXD6], ("lxd", "6/stable", "6.9-abc")),
                "members = 1\nhosts.micro01.snapd = \"2.77\"",
            ),
        ),
        (
            "lxd-6-zfs",
            with(
                case(&[LXD6], ("lxd", "6/stable", "6.7-abc")),
                "hosts.micro01.kernel = \"5.15.0-171-generic\"",
            ),
            with(
                case(&[LXD6], ("lxd", "6/stable", "6.7-abc")),
                "hosts.micro01.kernel = \"6.8.0-31-generic\"",
            ),
        ),
        (
            "microovn-snapd",
            with(
                case(&[], ("microovn", "26.03/stable", "26.03.1+snap1")),
                "hosts.micro01.snapd = \"2.63\"",
            ),
            with(
                case(&[], ("microovn", "26.03/stable", "26.03.1+snap1")),
                "hosts.micro01.snapd = \"2.73\"",
            ),
        ),
        (
            "microovn-jammy",
            with(
                case(&[], ("microovn", "26.03/stable", "26.03.1+snap1")),
                "hosts.micro01.os = \"22.04\"",
            ),
            case(&[], ("microovn", "26.03/stable", "26.03.1+snap1")),
        ),
    ]
}

/// What a check of the preflight comes to.
fn check(name: &str, case: &Case) -> Value {
    let (snap, channel, version) = case.gets;
    let scenario = Scenario {
        updates: false,
        ..toml::from_str(case.there).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let follows = FOLLOWED.iter().find(|(of, _)| *of == snap).unwrap().1;
    let runs = case.runs.iter().find(|(of, _)| *of == snap);
    // A component that runs what is in the channel already is refreshed in it.
    let within = follows == channel || runs.is_some_and(|(_, runs)| runs[..2] == version[..2]);
    let params = if within {
        json!({"only": [snap]})
    } else {
        json!({snap: channel})
    };
    let mut bench = Bench::shipped("preflight", &scenario, &params);
    let world = &mut bench.world;
    let mut release = world.store.releases[snap][0].clone();
    release.revision = 9000;
    version.clone_into(&mut release.version);
    if within {
        for member in scenario.names() {
            world.track(&member, snap, channel);
        }
    }
    world.store.publish(snap, channel, release);
    for (snap, version) in case.runs {
        for member in scenario.names() {
            world.set_version(&member, snap, version);
        }
    }
    let report = bench.run().done();
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|c| c["name"] == name);
    found
        .unwrap_or_else(|| panic!("there is no check {name}"))
        .clone()
}

fn told(case: &Case) -> String {
    let (snap, channel, gets) = case.gets;
    let version = |text: &str| text.split(['+', '-']).next().unwrap_or_default().to_owned();
    let mut parts: Vec<String> = case
        .runs
        .iter()
        .map(|(snap, v)| format!("{snap} {}", version(v)))
        .collect();
    parts.push(format!("{snap} gets {} from {channel}", version(gets)));
    parts.extend((!case.there.is_empty()).then(|| format!("`{}`", case.there)));
    parts.join(", ")
}

#[test]
fn every_shipped_row_is_met_in_one_rehearsal_and_not_in_another() {
    let read = |name: &str| {
        let text = fs::read_to_string(root().join(format!("playbooks/data/{name}.toml"))).unwrap();
        tables::read(name, &text).unwrap()
    };
    let (hazards, compatibility) = (read("hazards"), read("compatibility"));
    let rows = compatibility["together"]
        .as_array()
        .into_iter()
        .chain(hazards["hazard"].as_array());
    let rows: Vec<&Value> = rows.flatten().collect();
    let table = table();
    let names: Vec<&str> = table.iter().map(|(name, ..)| *name).collect();
    let shipped: Vec<&str> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names, shipped,
        "each shipped row has its rehearsals, in order"
    );

    let mut page = String::from(PAGE);
    for ((name, met, unmet), row) in table.iter().zip(&rows) {
        let (fails, passes) = (check(name, met), check(name, unmet));
        assert_eq!(fails["verdict"], "fail", "{name}: {fails}");
        assert_eq!(passes["verdict"], "pass", "{name}: {passes}");
        let what = row["what"].as_str().unwrap().replace('|', "\\|");
        let known = row["known"].as_str().unwrap_or("documented");
        let accept = if row["accept"] == true { "yes" } else { "no" };
        let link = row["link"].as_str().unwrap();
        writeln!(
            page,
            "| [`{name}`]({link}) | {what} | {known} | {accept} | {} | {} |",
            told(met),
            told(unmet)
        )
        .unwrap();
    }
    let file = root().join("docs/hazards.md");
    let fits = fs::read_to_string(&file).unwrap_or_default() == page;
    if !fits {
        fs::write(&file, page).unwrap();
    }
    assert!(
        fits,
        "the page wasn't what the table makes of it, and is written anew: commit it"
    );
}

const PAGE: &str = "# What is known to go wrong

The shipped rows of [hazards.toml](../../playbooks/data/hazards.toml), and of what goes together in
[compatibility.toml](../../playbooks/data/compatibility.toml). Each is a check of the preflight. This page is made by the
test that plays each row twice: where it is met, and where it isn't.

| Check | What goes wrong, and what helps | How it is known | `--accept` | Met where | Not met where |
|---|---|---|---|---|---|
";
