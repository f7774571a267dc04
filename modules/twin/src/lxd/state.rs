//! What a world keeps of LXD.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lxd {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) pools: BTreeMap<String, Pool>,
    #[serde(default)]
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) config: BTreeMap<String, String>,
    pub(super) operations: Vec<Operation>,
    pub(super) faults: Faults,
    /// Members that don't refresh themselves when they lag behind.
    pub(crate) no_self_update: Vec<String>,
}

/// A member's row in the database, and its daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Schema, and count of API extensions: what decides whether members block each other.
    pub(crate) version: (u32, u32),
    pub(crate) daemon: Daemon,
    /// When the daemon stopped, while it is down.
    pub(super) stopped: u64,
    /// When it was last ready to serve.
    pub(super) ready: u64,
    /// Shown from the moment an evacuation begins, whatever still runs here.
    pub(crate) evacuated: bool,
    /// Bytes.
    pub(super) memory: u64,
    pub(super) config: BTreeMap<String, String>,
    pub(super) groups: Vec<String>,
}

/// A storage pool; a local one is on each member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) driver: String,
    /// Bytes, of each member's part where it is local.
    pub(crate) size: u64,
}

/// A storage pool as a scenario has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoragePool {
    pub name: String,
    /// Its driver: `zfs`, `btrfs`, `ceph`, `cephobject`, …
    pub driver: String,
}

/// A storage bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    pub name: String,
    pub pool: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Daemon {
    Down,
    /// It exits because its version is behind, and systemd starts it again.
    Crashing,
    Starting,
    /// It waits for the other members to align their versions: it votes and sends heartbeats, and serves no API.
    Waiting,
    Ready,
}

/// What happens by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A daemon compares its version with the others'.
    Align(String),
    /// A member that lags behind refreshes itself.
    SelfUpdate(String),
    /// A daemon that crashed is started again.
    Restart(String),
    /// The leader looks whether a member has been offline for too long.
    Heal(String),
    /// An operation gets on.
    Work(String),
}

impl Node {
    pub(crate) fn new(version: (u32, u32)) -> Self {
        Self {
            version,
            daemon: Daemon::Ready,
            stopped: 0,
            ready: 0,
            evacuated: false,
            memory: 16 << 30,
            config: BTreeMap::new(),
            groups: vec!["default".to_owned()],
        }
    }

    /// Its daemon exits, as it may have done before.
    pub(super) fn exits(&mut self, now: u64) {
        if self.daemon != Daemon::Crashing {
            self.stopped = now;
        }
        self.daemon = Daemon::Crashing;
    }
}

/// A container or virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// The member that it is on.
    pub location: String,
    /// Its project.
    #[serde(default = "default_project")]
    pub project: String,
    /// What it is.
    #[serde(default)]
    pub kind: Kind,
    /// Whether it runs.
    #[serde(default = "yes")]
    pub running: bool,
    /// Its configuration, profiles and volatile keys included.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Its devices, those of its profiles included.
    #[serde(default = "root_on_ceph")]
    pub devices: BTreeMap<String, BTreeMap<String, String>>,
    /// Bytes of memory that it uses while it runs.
    #[serde(default = "default_memory")]
    pub memory: u64,
    /// Bytes on its root disk.
    #[serde(default = "default_size")]
    pub size: u64,
    /// Whether stopping it deletes it.
    #[serde(default)]
    pub ephemeral: bool,
    /// When it was last started, in milliseconds.
    #[serde(default)]
    pub started: u64,
}

/// What an instance is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A container.
    #[default]
    Container,
    /// A virtual machine.
    VirtualMachine,
}

pub(super) fn default_project() -> String {
    "default".to_owned()
}

pub(super) fn yes() -> bool {
    true
}

pub(super) fn default_memory() -> u64 {
    256 << 20
}

pub(super) fn default_size() -> u64 {
    1 << 30
}

/// What MicroCloud's default profile gives an instance: a root disk in Ceph, and a port on OVN.
pub(super) fn root_on_ceph() -> BTreeMap<String, BTreeMap<String, String>> {
    let device = |pairs: [(&str, &str); 3]| {
        pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    };
    BTreeMap::from([
        (
            "eth0".to_owned(),
            device([("name", "eth0"), ("network", "default"), ("type", "nic")]),
        ),
        (
            "root".to_owned(),
            device([("path", "/"), ("pool", "remote"), ("type", "disk")]),
        ),
    ])
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Operation {
    pub(super) id: String,
    pub(super) what: What,
    /// The member that does it, and whose restart ends it.
    pub(super) member: String,
    pub(super) asked_by: u64,
    pub(super) mode: String,
    pub(super) created: u64,
    pub(super) updated: u64,
    /// The text behind `evacuation_progress`.
    pub(super) progress: String,
    /// How it ended: an empty text for success.
    pub(super) ended: Option<String>,
    /// The instances that it hasn't come to yet, by project and name.
    pub(super) todo: VecDeque<(String, String)>,
    /// The instance that it is at, and what is being done with it.
    pub(super) at: Option<((String, String), Stage)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum What {
    Evacuate,
    Restore,
    Start,
    Stop,
    Migrate,
}

/// What is being done with an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Stage {
    /// A restore says what it will fetch before it stops it.
    Announced,
    Stopping,
    Moving(String),
    Starting,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Faults {
    /// Instances that can't be migrated, by name: for how many more attempts.
    pub(super) stuck: BTreeMap<String, u32>,
    /// Instances that don't start, by name: for how many more attempts.
    pub(super) broken: BTreeMap<String, u32>,
    /// Instances that an evacuation passes over without a word.
    pub(super) overlooked: BTreeSet<String>,
    /// Members that have no part in the database.
    pub(super) voteless: BTreeSet<String>,
    /// Storage pools that a member doesn't get at: pool and member.
    #[serde(default)]
    pub(super) unavailable: BTreeSet<(String, String)>,
    /// What every migration takes beyond the ordinary, in milliseconds.
    pub(super) slow: u64,
    /// For how much longer operations that have ended are remembered, in milliseconds.
    #[serde(default)]
    pub(super) remembers: u64,
}
