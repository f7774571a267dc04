//! Ceph's maps, as far as they matter. Parsed leniently: releases add fields.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::codes::hinders;
use crate::contract::schema::Member;

/// `ceph mon dump -f json`. MicroCeph names its monitors, managers and metadata servers after their members.
#[derive(Clone, Debug, Deserialize)]
pub struct MonDump {
    mons: Vec<Mon>,
}

#[derive(Clone, Debug, Deserialize)]
struct Mon {
    name: String,
}

impl MonDump {
    /// All monitors, whether or not they are in quorum.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.mons.iter().map(|mon| mon.name.as_str())
    }
}

/// `ceph mgr stat -f json`. (Tentacle's `mgr dump` can be invalid JSON.)
#[derive(Clone, Debug, Deserialize)]
pub struct MgrStat {
    /// Who is active; empty if nobody is.
    pub(crate) active_name: String,
    pub(crate) num_standby: u64,
}

/// `ceph mds stat -f json`
#[derive(Clone, Debug, Deserialize)]
pub struct MdsStat {
    fsmap: FsMap,
}

#[derive(Clone, Debug, Deserialize)]
struct FsMap {
    standbys: Vec<Mds>,
    filesystems: Vec<Filesystem>,
}

#[derive(Clone, Debug, Deserialize)]
struct Filesystem {
    mdsmap: MdsMap,
}

#[derive(Clone, Debug, Deserialize)]
struct MdsMap {
    info: BTreeMap<String, Mds>,
}

#[derive(Clone, Debug, Deserialize)]
struct Mds {
    name: String,
    state: String,
}

impl MdsStat {
    fn serving(&self) -> impl Iterator<Item = &Mds> {
        self.fsmap
            .filesystems
            .iter()
            .flat_map(|fs| fs.mdsmap.info.values())
    }

    /// Whether a file system is served from there. (Who replays for another stands by.)
    pub(crate) fn serves(&self, member: &Member) -> bool {
        self.serving()
            .any(|mds| mds.name == *member && mds.state != "up:standby-replay")
    }

    /// Whether somebody else stands by.
    pub(crate) fn stands_by_beside(&self, member: &Member) -> bool {
        let replaying = self
            .serving()
            .filter(|mds| mds.state == "up:standby-replay");
        self.fsmap
            .standbys
            .iter()
            .chain(replaying)
            .any(|mds| mds.name != *member)
    }
}

/// `ceph osd dump -f json`
#[derive(Clone, Debug, Deserialize)]
pub struct OsdDump {
    /// The map's number.
    pub(crate) epoch: u64,
    /// Flags of the whole cluster.
    pub(crate) flags_set: Vec<String>,
    /// Flags of hosts and other buckets, by name.
    #[serde(default)]
    pub(crate) crush_node_flags: BTreeMap<String, Vec<String>>,
    /// The release that OSDs have to run.
    pub(crate) require_osd_release: String,
    osds: Vec<OsdState>,
}

#[derive(Clone, Debug, Deserialize)]
struct OsdState {
    osd: i64,
    up: u8,
    #[serde(rename = "in")]
    inside: u8,
    /// The number of the map in which it came up last.
    #[serde(default)]
    up_from: u64,
}

impl OsdDump {
    /// Whether `noout` holds for this host, and whether it does because of the whole cluster.
    pub(crate) fn noout(&self, host: &str) -> (bool, bool) {
        let has = |flags: &[String]| flags.iter().any(|flag| flag == "noout");
        let global = has(&self.flags_set);
        (
            global
                || self
                    .crush_node_flags
                    .get(host)
                    .is_some_and(|flags| has(flags)),
            global,
        )
    }

    /// Whose flags are set, and which: of the whole cluster first, then of hosts and other buckets.
    fn flagged(&self) -> impl Iterator<Item = (&str, &[String])> {
        let hosts = self.crush_node_flags.iter();
        let all = ("the whole cluster", self.flags_set.as_slice());
        std::iter::once(all).chain(hosts.map(|(host, flags)| (host.as_str(), flags.as_slice())))
    }

    /// Flags that keep Ceph from doing what a gate waits for.
    pub(crate) fn hindering_flags(&self) -> Vec<String> {
        let set = |(whose, flags): (&str, &[String])| {
            let bad = flags.iter().map(String::as_str).filter(|f| hinders(f));
            let bad: Vec<&str> = bad.collect();
            (!bad.is_empty()).then(|| format!("{} is set for {whose}", bad.join(", ")))
        };
        self.flagged().filter_map(set).collect()
    }

    pub(crate) fn noout_is_set(&self) -> Vec<String> {
        let set = self
            .flagged()
            .filter(|(_, flags)| flags.iter().any(|flag| flag == "noout"));
        set.map(|(whose, _)| format!("noout is set for {whose}"))
            .collect()
    }

    /// The number of the map in which an OSD came up last. None where it is down, or unknown.
    pub(crate) fn up_from(&self, id: i64) -> Option<u64> {
        let osd = self.osds.iter().find(|osd| osd.osd == id)?;
        (osd.up == 1).then_some(osd.up_from)
    }

    /// How many of these OSDs are down, and how many are out.
    pub(crate) fn down_and_out(&self, ids: &BTreeSet<i64>) -> (u64, u64) {
        let count = |bad: fn(&OsdState) -> bool| {
            self.osds
                .iter()
                .filter(|osd| ids.contains(&osd.osd) && bad(osd))
                .count() as u64
        };
        (count(|osd| osd.up == 0), count(|osd| osd.inside == 0))
    }
}

/// `ceph osd tree -f json`
#[derive(Clone, Debug, Deserialize)]
pub struct OsdTree {
    nodes: Vec<TreeNode>,
    #[serde(default)]
    stray: Vec<TreeNode>,
}

#[derive(Clone, Debug, Deserialize)]
struct TreeNode {
    id: i64,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    children: Vec<i64>,
    #[serde(default)]
    status: String,
}

impl OsdTree {
    /// The OSDs of a host: ids, and which of them are down.
    pub(crate) fn of_host(&self, host: &str) -> (Vec<i64>, Vec<i64>) {
        let host = self
            .nodes
            .iter()
            .find(|node| node.kind == "host" && node.name == host);
        let ids = host.map_or_else(Vec::new, |host| host.children.clone());
        let is_up = |id: &i64| {
            self.nodes
                .iter()
                .any(|node| node.id == *id && node.status == "up")
        };
        let down = ids.iter().copied().filter(|id| !is_up(id)).collect();
        (ids, down)
    }

    pub(crate) fn by_host(&self) -> BTreeMap<String, Vec<i64>> {
        let hosts = self
            .nodes
            .iter()
            .filter(|node| node.kind == "host" && !node.children.is_empty());
        hosts
            .map(|host| (host.name.clone(), host.children.clone()))
            .collect()
    }

    /// OSDs that are under no host, so that nobody can tell whose they are.
    pub(crate) fn homeless(&self) -> Vec<i64> {
        let under_a_host: BTreeSet<i64> = self.by_host().into_values().flatten().collect();
        let osds = self
            .nodes
            .iter()
            .chain(&self.stray)
            .filter(|node| node.kind == "osd");
        osds.map(|node| node.id)
            .filter(|id| !under_a_host.contains(id))
            .collect()
    }
}

/// `ceph pg stat -f json`, from the manager.
#[derive(Clone, Debug, Deserialize)]
pub struct PgStat {
    pub(super) pg_summary: PgSummary,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PgSummary {
    #[serde(default)]
    pub(super) num_pg_by_state: Vec<PgCount>,
    pub(super) num_pgs: u64,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PgCount {
    pub(super) name: String,
    pub(super) num: u64,
}

/// `ceph pg ls-by-osd ID -f json`, from the manager.
#[derive(Clone, Debug, Deserialize)]
pub struct Groups {
    /// Without it these would be anything's.
    #[serde(rename = "pg_ready")]
    _ready: bool,
    /// Where an OSD has none, the key isn't there (seen with 18.2.7).
    #[serde(default)]
    pg_stats: Vec<Group>,
}

#[derive(Clone, Debug, Deserialize)]
struct Group {
    /// The map that its primary OSD had when it reported last.
    reported_epoch: u64,
}

impl Groups {
    /// How many of them nobody has reported about since the map `epoch`, of how many.
    pub(crate) fn unreported_since(&self, epoch: u64) -> (usize, usize) {
        let old = self.pg_stats.iter();
        let old = old.filter(|group| group.reported_epoch < epoch).count();
        (old, self.pg_stats.len())
    }
}

/// `ceph osd ok-to-stop … -f json`
#[derive(Clone, Debug, Deserialize)]
pub struct OkToStop {
    pub(crate) ok_to_stop: bool,
    /// Placement groups that would become unavailable.
    #[serde(default)]
    pub(crate) num_not_ok_pgs: u64,
}

/// A release: its version, and the name of its series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    /// For example `19.2.3`.
    pub version: String,
    /// For example `squid`.
    pub name: String,
}

impl Release {
    /// Reads `ceph version 19.2.3 (sha) squid (stable)`. What follows the name differs between series.
    pub fn parse(text: &str) -> Option<Self> {
        let (head, rest) = text.split_once(')')?;
        let version = head
            .strip_prefix("ceph version ")?
            .split_whitespace()
            .next()?;
        let name = rest.split_whitespace().next()?;
        let plain = name.bytes().all(|b| b.is_ascii_lowercase());
        plain.then(|| Self {
            version: version.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl std::fmt::Display for Release {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.version, self.name)
    }
}

/// `ceph versions -f json`: how many daemons run which release. It leaves out OSDs that are down.
#[derive(Clone, Debug, Deserialize)]
pub struct Versions {
    overall: BTreeMap<String, u64>,
}

impl Versions {
    /// The releases that run, with how many daemons run each. A text that isn't a release stands as it is.
    pub(crate) fn releases(&self) -> BTreeMap<String, u64> {
        let mut releases = BTreeMap::new();
        for (text, count) in &self.overall {
            let name =
                Release::parse(text).map_or_else(|| text.clone(), |release| release.to_string());
            let all: &mut u64 = releases.entry(name).or_insert(0);
            *all = all.saturating_add(*count);
        }
        releases
    }

    /// The release that all daemons run, if it is one.
    pub(crate) fn one(&self) -> Option<Release> {
        let releases: BTreeSet<Option<Release>> = self
            .overall
            .keys()
            .map(|text| Release::parse(text))
            .collect();
        let mut releases = releases.into_iter();
        releases
            .next()
            .flatten()
            .filter(|_| releases.next().is_none())
    }
}

/// `ceph osd|mon metadata WHO -f json`
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    /// What the daemon reported it is when it started.
    pub(crate) ceph_version: String,
}
