//! Worlds to begin with: made up, written in a file, or like a cluster that somebody has looked at.

mod build;
mod like;
mod releases;

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockstep_modules::schema::hint;
use serde::{Deserialize, Serialize};

use crate::faults::Fault;
use crate::lxd::Instance;

/// What a cluster is like. In a file, a key that is left out is as it comes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Scenario {
    /// The members, in order; in a file also just how many.
    #[serde(deserialize_with = "members")]
    pub members: Vec<String>,
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
    /// LXD's configuration, for example `cluster.healing_threshold`.
    pub lxd: BTreeMap<String, String>,
    /// What the store has; without them, releases that are made up.
    pub releases: Vec<Published>,
    /// What is installed and how, by member and snap, where it isn't the first release of the channel.
    pub installed: BTreeMap<String, BTreeMap<String, Snap>>,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// Where Ceph's daemons are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// Members with a monitor, a manager and a metadata server; without them, the first three.
    pub monitors: Vec<String>,
    /// The member whose manager is active.
    pub manager: Option<String>,
    /// The member of each OSD; without them, one a member.
    pub disks: Vec<String>,
    /// Flags that the operator has set: `noout`, or `noout micro01` for one host.
    pub flags: Vec<String>,
    /// How many placement groups there are.
    pub pgs: Option<u64>,
}

/// Where OVN's databases are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Network {
    /// Members with a server of each database; without them, the first three.
    pub central: Vec<String>,
    /// The leader of the northbound database.
    pub northbound_leader: Option<String>,
    /// The leader of the southbound database.
    pub southbound_leader: Option<String>,
    /// The election timer of both, in milliseconds.
    pub election_timer: Option<u64>,
}

/// A revision that the store has in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Published {
    /// The snap.
    pub snap: String,
    /// The channel.
    pub channel: String,
    /// The revision.
    pub revision: u32,
    /// The version, as its publisher writes it.
    pub version: String,
    /// Schema of the database that the members keep together.
    pub schema: Option<u32>,
    /// Bytes to be downloaded.
    pub size: Option<u64>,
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
}

/// The components with the channels that a new cluster follows.
const CHANNELS: [(&str, &str); 4] = [
    ("microceph", "squid/stable"),
    ("microovn", "24.03/stable"),
    ("lxd", "5.21/stable"),
    ("microcloud", "2/stable"),
];

/// Noon of a day in spring: an ordinary working day for a plan to play on.
const EPOCH: i64 = 1_775_044_800;

impl Default for Scenario {
    fn default() -> Self {
        let epoch = Timestamp::from_second(EPOCH).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            members: names(3),
            seed: 1,
            epoch,
            updates: true,
            schema_bump: true,
            without: Vec::new(),
            storage: Storage::default(),
            network: Network::default(),
            instances: None,
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
            "members is a number from 1 to 50, or a list of so many names",
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

    /// Whether there can be such a cluster.
    ///
    /// # Errors
    /// With the first thing that can't be: the word to be looked for in the file, and a sentence.
    pub fn check(&self) -> Result<(), (String, String)> {
        let known: Vec<&str> = self.members.iter().map(String::as_str).collect();
        let member = |what: &str, name: &str| {
            if known.contains(&name) {
                return Ok(());
            }
            let what = format!(
                "{what} is on {name:?}, which is no member{}",
                hint(name, &known)
            );
            Err((format!("{name:?}"), what))
        };
        for (i, name) in known.iter().enumerate() {
            if known[..i].contains(name) {
                return Err((
                    format!("{name:?}"),
                    format!("there are two members called {name:?}"),
                ));
            }
        }
        for name in &self.storage.monitors {
            member("a monitor", name)?;
        }
        for name in &self.storage.disks {
            member("an OSD", name)?;
        }
        for name in &self.network.central {
            member("an OVN database", name)?;
        }
        for instance in self.instances.iter().flatten() {
            member(
                &format!("the instance {:?}", instance.name),
                &instance.location,
            )?;
        }
        for name in self.installed.keys() {
            member("a snap", name)?;
        }
        let among = |what: &str, name: &Option<String>, all: &[String]| match name {
            Some(name) if !all.contains(name) => {
                let what = format!("{what} is {name:?}, where there is none");
                Err((format!("{name:?}"), what))
            }
            _ => Ok(()),
        };
        among(
            "the active manager",
            &self.storage.manager,
            &self.monitors(),
        )?;
        among(
            "the northbound leader",
            &self.network.northbound_leader,
            &self.central(),
        )?;
        among(
            "the southbound leader",
            &self.network.southbound_leader,
            &self.central(),
        )?;
        let snaps = CHANNELS.map(|(snap, _)| snap);
        let named = self
            .without
            .iter()
            .chain(self.releases.iter().map(|r| &r.snap));
        let named = named.chain(self.installed.values().flat_map(BTreeMap::keys));
        for snap in named {
            if !snaps.contains(&snap.as_str()) {
                let what = format!("there is no component {snap:?}{}", hint(snap, &snaps));
                return Err((format!("{snap:?}"), what));
            }
        }
        for (member, snaps) in &self.installed {
            for (snap, installed) in snaps {
                let there = |r: &Published| r.snap == *snap && r.revision == installed.revision;
                if !self.releases.iter().any(there)
                    && self
                        .build_store()
                        .release(snap, installed.revision)
                        .is_none()
                {
                    let what = format!(
                        "{member} has revision {} of {snap}, which is in no release",
                        installed.revision
                    );
                    return Err((installed.revision.to_string(), what));
                }
            }
        }
        let mut world = self.build();
        for fault in &self.faults {
            world
                .inject(fault.clone())
                .map_err(|e| (fault.name.clone(), e))?;
        }
        Ok(())
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
}
