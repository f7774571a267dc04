//! What a world keeps of Ceph.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::severity::Severity;

/// A release of Ceph, as in `("19.2.3", "squid")`.
pub(super) type Version = (String, String);

/// The storage cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ceph {
    pub(crate) mons: BTreeMap<String, Mon>,
    pub(super) mgrs: BTreeMap<String, Daemon>,
    /// The host of the active manager.
    pub(super) mgr: Option<String>,
    pub(super) mdss: BTreeMap<String, Daemon>,
    /// The host of the metadata server that serves the file system.
    pub(super) mds: Option<String>,
    /// There is a file system. Without one all metadata servers stand by.
    pub(super) filesystem: bool,
    pub(crate) osds: BTreeMap<u32, Osd>,
    /// OSDs whose disks are encrypted: the monitors keep their keys.
    #[serde(default)]
    pub(super) keys: BTreeSet<u32>,
    pub(crate) pgs: u64,
    pub(crate) flags: BTreeSet<String>,
    pub(crate) host_flags: BTreeMap<String, BTreeSet<String>>,
    pub(super) require_osd_release: String,
    pub(super) min_mon_release: String,
    /// How often the monitors' map has changed since the beginning.
    #[serde(default)]
    pub(super) monmap_changes: u64,
    /// Placement groups are catching up until then.
    pub(super) recovering_until: u64,
    /// The host whose OSDs made the placement groups unclean last.
    pub(super) unclean_by: Option<String>,
    /// A manager that has just begun knows nothing of placement groups until then.
    pub(super) unknown_until: u64,
    /// What monitors go on telling of placement groups while there is no manager.
    pub(super) told_last: Option<String>,
    /// When OSDs have reported what has become of the placement groups, and what is shown of them until then.
    #[serde(default)]
    pub(super) reported_at: u64,
    #[serde(default)]
    pub(super) shown: String,
    /// The number of the monitors' last election.
    #[serde(default)]
    pub(super) election: u64,
    /// Modules of the manager that were switched on.
    #[serde(default)]
    pub(crate) modules: BTreeSet<String>,
    /// Health codes that are muted, and whether for good.
    #[serde(default)]
    pub(super) mutes: BTreeMap<String, Mute>,
    pub(super) faults: Faults,
    pub(super) epoch: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mon {
    pub(super) running: bool,
    pub(crate) in_quorum: bool,
    pub(super) version: Version,
}

/// A manager or metadata server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Daemon {
    pub(super) running: bool,
    pub(super) version: Version,
}

/// An OSD: its process, and whether the cluster's map has it up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Osd {
    pub(crate) host: String,
    pub(super) running: bool,
    pub(crate) up: bool,
    /// The number of the map in which it came up.
    #[serde(default)]
    pub(super) up_from: u64,
    pub(super) version: Version,
}

/// What happens by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    MonJoins(String),
    /// The other monitors notice that one is silent.
    MonMissed(String),
    MgrTakesOver,
    MdsTakesOver,
    OsdUp(u32),
    /// The OSDs of a host are reported as silent by their peers.
    OsdsMissed(String),
    /// MicroCeph looks whether an upgrade is over (`PostRefresh` in `ceph/start.go`), for the so-and-so-manieth time.
    FinishUpgrade(u32),
}

impl Ceph {
    pub(super) fn monmap_epoch(&self) -> u64 {
        1 + self.monmap_changes
    }

    /// The daemons' kinds and versions, as `ceph versions` counts them: OSDs only while they are up, but a monitor that is
    /// out of quorum too, with what it ran last.
    pub(super) fn versions(&self) -> Vec<(&'static str, Version)> {
        let mons = self.mons.values();
        let running = |d: &&Daemon| d.running;
        let up = self.osds.values().filter(|osd| osd.up);
        mons.map(|mon| ("mon", mon.version.clone()))
            .chain(
                self.mgrs
                    .values()
                    .filter(running)
                    .map(|d| ("mgr", d.version.clone())),
            )
            .chain(up.map(|osd| ("osd", osd.version.clone())))
            .chain(
                self.mdss
                    .values()
                    .filter(running)
                    .map(|d| ("mds", d.version.clone())),
            )
            .collect()
    }
}

/// The number of a major release, by its name.
pub(super) fn rank(name: &str) -> u64 {
    match name {
        "quincy" => 17,
        "reef" => 18,
        "squid" => 19,
        "tentacle" => 20,
        _ => 0,
    }
}

/// A health check that is raised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Check {
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) count: usize,
    pub(super) detail: Vec<String>,
}

impl Check {
    pub(super) fn new(severity: impl Into<Severity>, message: &str) -> Self {
        Self {
            severity: severity.into(),
            message: message.to_owned(),
            count: 1,
            detail: Vec::new(),
        }
    }
}

pub(super) type Checks = BTreeMap<String, Check>;

/// A health check that Ceph has raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raised {
    /// Its code, for example `MGR_MODULE_ERROR`.
    pub code: String,
    /// `HEALTH_WARN` or `HEALTH_ERR`.
    pub severity: Severity,
    /// Its summary.
    #[serde(default = "some_trouble")]
    pub message: String,
    /// How often it is counted.
    #[serde(default = "once")]
    pub count: usize,
    /// Whether the operator has muted it.
    #[serde(default)]
    pub muted: bool,
}

pub(super) fn some_trouble() -> String {
    "something is not as it should be".to_owned()
}

pub(super) fn once() -> usize {
    1
}

/// A mute: it ends by itself when the check is over or counts more, unless it is sticky.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mute {
    pub(super) sticky: bool,
    pub(super) summary: String,
    pub(super) count: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Faults {
    /// OSDs that don't come back when their host's services start.
    pub(super) lost_osds: BTreeSet<u32>,
    /// Monitors that don't join the quorum when they start.
    pub(super) lost_mons: BTreeSet<String>,
    /// Placement groups stay as they are once the OSDs of this member have come back.
    pub(super) unclean_after: BTreeSet<String>,
    /// They do, from now on.
    pub(super) unclean: bool,
    /// Checks that stay raised.
    pub(super) raised: BTreeMap<String, Check>,
    /// Checks that are raised when the services of a member start.
    pub(super) raised_after: BTreeMap<String, (String, Check)>,
    pub(super) release_not_required: bool,
    /// Flags that the operator has set: for a host, or for all.
    pub(super) operators: BTreeSet<(Option<String>, String)>,
}

impl Faults {
    /// The services of a member start: what was to go wrong then does.
    pub(super) fn begin_with(&mut self, member: &str) {
        self.unclean |= self.unclean_after.contains(member);
        self.raised.extend(self.raised_after.remove(member));
    }
}
