//! Where each shipped row of what is known to go wrong, and of what goes together, is met and where it isn't; the page of the
//! book that lists them.

use std::fmt::Write as _;
use std::fs;

use lockstep_modules::ops::preflight::tables;
use serde_json::Value;

use crate::root;

/// What a cluster runs, what the store has for it, and what else there is.
#[derive(Clone, Copy)]
pub struct Case {
    /// Snaps with the versions that run, where they aren't the usual ones.
    pub runs: &'static [(&'static str, &'static str)],
    /// The snap that gets another version, from which channel, and the version.
    pub gets: (&'static str, &'static str, &'static str),
    /// What else there is, as a scenario file has it.
    pub there: &'static str,
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

const SQUID: (&str, &str) = ("microceph", "19.2.3+snap1");
const TENTACLE: &str = "tentacle/stable";
const LXD6: (&str, &str) = ("lxd", "6.6-e1b2a4f");

/// Where each row is met, and where it isn't.
#[must_use]
pub fn table() -> Vec<(&'static str, Case, Case)> {
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

/// The shipped rows, in the order of their files.
///
/// # Panics
/// Where the tables can't be read.
#[must_use]
pub fn shipped() -> Vec<Value> {
    let read = |name: &str| {
        let path = root().join(format!("playbooks/data/{name}.toml"));
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"));
        tables::read(name, &text).unwrap_or_else(|e| panic!("{name}: {e:?}"))
    };
    let rows = [
        read("compatibility")["together"].take(),
        read("hazards")["hazard"].take(),
    ];
    rows.into_iter()
        .filter_map(|rows| rows.as_array().cloned())
        .flatten()
        .collect()
}

fn reported(case: &Case) -> String {
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

/// The page of the book.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(HEAD);
    for ((name, met, unmet), row) in table().iter().zip(shipped()) {
        let text = |field: &str| row[field].as_str().map(|text| text.replace('|', "\\|"));
        let (what, link) = (
            text("what").unwrap_or_default(),
            text("link").unwrap_or_default(),
        );
        let known = text("known").unwrap_or("documented".to_owned());
        let accept = if row["accept"] == true { "yes" } else { "no" };
        let _ = writeln!(
            page,
            "| [`{name}`]({link}) | {what} | {known} | {accept} | {} | {} |",
            reported(met),
            reported(unmet)
        );
    }
    page
}

const HEAD: &str = "# What is known to go wrong

The shipped rows of [hazards.toml](../playbooks/data/hazards.toml), and of what goes together in
[compatibility.toml](../playbooks/data/compatibility.toml). Each is a check of the preflight. A test plays each row
twice: where it is met, and where it isn't.

| Check | What goes wrong, and what helps | How it is known | `--accept` | Met where | Not met where |
|---|---|---|---|---|---|
";
