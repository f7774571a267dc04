//! Worlds to begin with: made up, written in a file, or like a cluster that somebody has looked at.

mod build;
mod check;
mod like;
mod releases;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ceph::Raised;
use crate::faults::Fault;
use crate::host::Host;
use crate::lxd::{Bucket, Instance, StoragePool};
pub use releases::Set;

/// What a cluster is like. In a file, a key that is left out is as it comes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// The members, in order; in a file also just how many.
    #[serde(deserialize_with = "members")]
    pub members: Vec<String>,
    /// Which MicroCloud it was installed as, with the tracks that its guide names.
    pub microcloud: Set,
    /// Channels that all members follow, by snap, where they aren't those of that MicroCloud.
    pub channels: BTreeMap<String, String>,
    /// What is particular about machines, by member: OS release, kernel, snapd.
    pub hosts: BTreeMap<String, Host>,
    /// Seed of everything random.
    pub seed: u64,
    /// What the calendar shows at the beginning.
    pub epoch: Timestamp,
    /// New revisions are in the channels.
    pub updates: bool,
    /// The new MicroOVN and MicroCloud have newer schemas in their databases, so that refreshed members wait for the others.
    pub schema_bump: bool,
    /// Components that aren't installed.
    pub without: Vec<String>,
    /// Where Ceph's daemons are.
    pub storage: Storage,
    /// Where OVN's databases are.
    pub network: Network,
    /// The instances; without them, a container a member.
    pub instances: Option<Vec<Instance>>,
    /// LXD's storage pools; without them, `local` on ZFS and `remote` on Ceph.
    pub pools: Option<Vec<StoragePool>>,
    /// LXD's storage buckets.
    pub buckets: Vec<Bucket>,
    /// Modules of Ceph's manager that are switched on beside those that always are.
    pub manager_modules: Vec<String>,
    /// Health checks that Ceph has raised, and goes on raising.
    pub health: Vec<Raised>,
    /// Programs of snaps that people run: `micro01 lxc`. Each stops a refresh of its snap.
    pub clients: Vec<String>,
    /// LXD's configuration, for example `cluster.healing_threshold`.
    pub lxd: BTreeMap<String, String>,
    /// What the store has; without them, releases that are made up.
    pub releases: Vec<Published>,
    /// What is installed and how, by member and snap, where it isn't the first release of the channel.
    pub installed: BTreeMap<String, BTreeMap<String, Snap>>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Members with a monitor, a manager and a metadata server; without them, the first three.
    pub(crate) monitors: Vec<String>,
    /// The member whose manager is active.
    pub(crate) manager: Option<String>,
    /// The member of each OSD; without them, one a member.
    pub(crate) disks: Vec<String>,
    /// Flags that the operator has set: `noout`, or `noout micro01` for one host.
    pub(crate) flags: Vec<String>,
    /// How many placement groups there are.
    pub(crate) pgs: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Members with a server of each database; without them, the first three.
    pub(crate) central: Vec<String>,
    /// The leader of the northbound database.
    pub(crate) northbound_leader: Option<String>,
    /// The leader of the southbound database.
    pub(crate) southbound_leader: Option<String>,
    /// The election timer of both, in milliseconds.
    pub(crate) election_timer: Option<u64>,
}

/// A revision that the store has in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    pub(crate) snap: String,
    pub(crate) channel: String,
    pub(crate) revision: u32,
    pub(crate) version: String,
    /// Schema of the database that the members keep together.
    pub(crate) schema: Option<u32>,
    /// Bytes to be downloaded.
    pub(crate) size: Option<u64>,
    /// When it was built, as `2025-11`: MicroCeph's versions are Ceph's, and tell nothing of its own commands.
    #[serde(default)]
    pub(crate) built: Option<String>,
}

/// A snap on a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snap {
    /// Its revision.
    pub revision: u32,
    /// The channel that it follows.
    pub channel: Option<String>,
    /// The cohort that it is in; empty for none.
    pub cohort: Option<String>,
    /// Whether refreshes are held.
    pub held: Option<bool>,
    /// Whether its daemon was started again after others had got ahead.
    #[serde(default)]
    pub restarted: bool,
}

/// Noon of a day in spring: an ordinary working day for a plan to play on.
const EPOCH: i64 = 1_775_044_800;

impl Default for Scenario {
    fn default() -> Self {
        let epoch = Timestamp::from_second(EPOCH).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            members: names(3),
            microcloud: Set::default(),
            channels: BTreeMap::new(),
            hosts: BTreeMap::new(),
            seed: 1,
            epoch,
            updates: true,
            schema_bump: true,
            without: Vec::new(),
            storage: Storage::default(),
            network: Network::default(),
            instances: None,
            pools: None,
            buckets: Vec::new(),
            manager_modules: Vec::new(),
            health: Vec::new(),
            clients: Vec::new(),
            lxd: BTreeMap::new(),
            releases: Vec::new(),
            installed: BTreeMap::new(),
            faults: Vec::new(),
        }
    }
}

fn names(members: usize) -> Vec<String> {
    (1..=members).map(|n| format!("micro{n:02}")).collect()
}

fn members<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Members {
        Many(usize),
        Named(Vec<String>),
    }
    match Members::deserialize(from) {
        Ok(Members::Many(many @ 1..=50)) => Ok(names(many)),
        Ok(Members::Named(names)) if (1..=50).contains(&names.len()) => Ok(names),
        _ => Err(serde::de::Error::custom(
            "members is a number from 1 to 50, or a list of names",
        )),
    }
}

impl Scenario {
    /// A cluster of so many members with updates waiting, and all else as it comes.
    #[must_use]
    pub fn of(members: usize) -> Self {
        Self {
            members: names(members),
            ..Self::default()
        }
    }

    /// The names of the members.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.members.clone()
    }

    fn monitors(&self) -> Vec<String> {
        self.placed(&self.storage.monitors)
    }

    fn central(&self) -> Vec<String> {
        self.placed(&self.network.central)
    }

    /// As given, or the first three.
    fn placed(&self, given: &[String]) -> Vec<String> {
        if given.is_empty() {
            self.members.iter().take(3).cloned().collect()
        } else {
            given.to_vec()
        }
    }

    /// As given, or as they come.
    fn pools(&self) -> Vec<StoragePool> {
        let usual = || {
            [("local", "zfs"), ("remote", "ceph")]
                .map(|(name, driver)| StoragePool {
                    name: name.to_owned(),
                    driver: driver.to_owned(),
                })
                .into()
        };
        self.pools.clone().unwrap_or_else(usual)
    }
}
