//! Which cluster a run is about, and the way to its members.

use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

use jiff::Timestamp;
use lockstep_modules::contract::cluster::{Cluster, MemberConfig, SshConfig};
use lockstep_modules::contract::reach::Transport;
use lockstep_modules::transport::ssh::Ssh;
use lockstep_twin::{Scenario, Set, Strangers, Twin, World};
use serde::Deserialize;
use serde_json::Value;

use crate::config::{Config, Notify};
use crate::fleet::{Entry, Jobs, Rollout};
use crate::journal::{ClusterRef, Journal, JournalError, Record};
use crate::private::Rewritten;
use crate::runs::Runs;

/// A cluster, and what its file says beside.
#[derive(Clone)]
pub struct Target {
    /// As it was named.
    pub name: ClusterRef,
    /// Its members, and what playbooks are given.
    pub config: Config,
    /// The simulated cluster, if it is one.
    pub twin: Option<Scenario>,
}

/// Why a cluster can't be worked with.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// There is no place for ssh's control sockets.
    #[error("no folder for control sockets can be made: {0}")]
    Sockets(#[source] std::io::Error),
    /// A fault is about something that the simulated cluster doesn't have.
    #[error("{0}")]
    Fault(String),
    /// A simulated cluster that was written down can't be read.
    #[error("the simulated cluster {path} can't be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What a rollout began with can't be read.
    #[error("what the rollout began with can't be read: {0}")]
    Rollout(#[source] serde_json::Error),
    /// A simulated cluster that was written down isn't one.
    #[error("the simulated cluster {path} is damaged: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

impl Target {
    /// A simulated cluster: `name` is what follows "twin".
    #[must_use]
    pub fn simulated(name: String, scenario: Scenario) -> Self {
        let config = Config {
            cluster: simulated(&scenario),
            channels: Default::default(),
            params: Default::default(),
            notify: Notify::default(),
            folder: PathBuf::new(),
        };
        Self {
            name: ClusterRef::Twin(name),
            config,
            twin: Some(scenario),
        }
    }

    /// The clusters of a rollout, of the fleet of this file, and the machines beside them. `notify` is who gets to know what it and
    /// its clusters' runs come to.
    #[must_use]
    pub fn fleet(
        file: PathBuf,
        rollout: &Rollout,
        notify: &Notify,
        machines: Vec<MemberConfig>,
    ) -> Self {
        let clusters = rollout.clusters();
        let members = clusters.map(|entry| MemberConfig::named(entry.name.as_str()));
        let config = Config {
            cluster: Cluster {
                name: rollout.fleet.clone(),
                members: members.collect(),
                machines,
                ssh: SshConfig::default(),
            },
            channels: Default::default(),
            params: Default::default(),
            notify: notify.on(rollout.clusters().all(Entry::is_simulated)),
            folder: PathBuf::new(),
        };
        Self {
            name: ClusterRef::Fleet(file),
            config,
            twin: None,
        }
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.twin.is_some()
    }

    /// The way to its members, within a runtime. A simulated cluster is written down in `file`.
    ///
    /// # Errors
    /// Where a simulated cluster's fault doesn't fit it, or there is no place for control sockets.
    pub fn way(&self, file: Option<PathBuf>) -> Result<Way, TargetError> {
        let Some(scenario) = &self.twin else {
            return Way::ssh(&self.config.cluster);
        };
        let mut world = scenario.build();
        // What a site calls there is taken to work.
        world.strangers = Strangers::Succeed;
        let machines = self.config.cluster.machines.iter();
        world.machines = machines.map(|m| m.name.to_string()).collect();
        for fault in &scenario.faults {
            world.inject(fault.clone()).map_err(TargetError::Fault)?;
        }
        Ok(Way::twin(world, file))
    }
}

/// The way to the members of a cluster. Clones lead to the same ones.
#[derive(Clone)]
pub enum Way {
    /// Over connections.
    Members(Rc<dyn Transport>),
    /// To a simulated cluster.
    Twin(Twin),
}

impl Way {
    /// The way to the members of a real cluster.
    ///
    /// # Errors
    /// Where there is no place for control sockets.
    pub fn ssh(cluster: &Cluster) -> Result<Self, TargetError> {
        let ssh = Ssh::new(cluster).map_err(TargetError::Sockets)?;
        Ok(Self::Members(Rc::new(ssh)))
    }

    /// The way to the clusters of the rollout `id`, whose parameters these are, and to the machines beside them. The machines
    /// of a fleet that is simulated are, too. `notify` is who gets to know what the clusters' runs come to.
    ///
    /// # Errors
    /// Where they are those of no rollout, or there is no place for control sockets.
    pub fn jobs(
        runs: &Runs,
        id: &str,
        params: &Value,
        notify: &Notify,
        fleet: &Cluster,
    ) -> Result<Self, TargetError> {
        let rollout = Rollout::deserialize(params).map_err(TargetError::Rollout)?;
        let machines = match fleet.machines.as_slice() {
            [] => None,
            machines if rollout.clusters().all(Entry::is_simulated) => {
                let mut world = Scenario::of(1).build();
                world.machines = machines.iter().map(|m| m.name.to_string()).collect();
                Some(Self::Twin(Twin::new(world)))
            }
            machines => Some(Self::ssh(&Cluster {
                members: machines.to_vec(),
                machines: Vec::new(),
                ..fleet.clone()
            })?),
        };
        let machines = machines.map(|way| way.transport());
        let jobs = Jobs::of(runs, id, &rollout, notify, machines);
        Ok(Self::Members(Rc::new(jobs)))
    }

    /// The way to the members of a simulated cluster, which is written down in `file` now and before each record of the run's
    /// journal: it must outlive this process as a real one would.
    #[must_use]
    pub fn twin(mut world: World, file: Option<PathBuf>) -> Self {
        world.unlogged = true;
        let Some(file) = file else {
            return Self::Twin(Twin::new(world));
        };
        let file = Rewritten::new(file);
        let write = move |world: &World| {
            // A simulation that can't be written can't be resumed; its journal will say what went wrong with the disk.
            let _ = file.write(world);
        };
        write(&world);
        Self::Twin(Twin::kept(world, write))
    }

    pub(crate) fn is_simulated(&self) -> bool {
        matches!(self, Self::Twin(_))
    }

    /// As ops take it.
    #[must_use]
    pub fn transport(&self) -> Rc<dyn Transport> {
        match self {
            Self::Members(transport) => Rc::clone(transport),
            Self::Twin(twin) => Rc::new(twin.clone()),
        }
    }

    /// A run's journal, which says nothing of a simulated cluster that isn't written down.
    pub(crate) fn journal(&self, journal: Box<dyn Journal>) -> Box<dyn Journal> {
        match self {
            Self::Members(_) => journal,
            Self::Twin(twin) => Box::new(AfterTwin(twin.clone(), journal)),
        }
    }

    /// The controller goes: a simulated cluster is written down as it is now.
    pub(crate) fn leave(&self) {
        if let Self::Twin(twin) = self {
            twin.leave();
        }
    }
}

/// A journal whose records come after the simulated cluster that they tell of.
struct AfterTwin(Twin, Box<dyn Journal>);

impl Journal for AfterTwin {
    fn append(&mut self, at: Timestamp, records: &[Record]) -> Result<(), JournalError> {
        self.0.keep();
        self.1.append(at, records)
    }
}

/// A simulated cluster as an earlier process left it.
pub(crate) fn read_world(file: &Path) -> Result<World, TargetError> {
    let path = || file.to_owned();
    let text = std::fs::read_to_string(file).map_err(|source| TargetError::Unreadable {
        path: path(),
        source,
    })?;
    serde_json::from_str(&text).map_err(|source| TargetError::Damaged {
        path: path(),
        source,
    })
}

/// A simulated cluster as it is typed, `N[@SET]`: how many members, and which MicroCloud it was installed as.
#[derive(Clone, Copy)]
pub struct Made {
    members: usize,
    set: Set,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            members: 3,
            set: Set::default(),
        }
    }
}

impl FromStr for Made {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (members, set) = match text.split_once('@') {
            Some((members, set)) => (members, set.parse()?),
            None => (text, Set::default()),
        };
        match members.parse() {
            Ok(members @ 1..=50) => Ok(Self { members, set }),
            _ => Err("a simulated cluster has 1 to 50 members, for example twin:4".to_owned()),
        }
    }
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.members)?;
        match self.set {
            Set::Two => Ok(()),
            set => write!(f, "@{}", set.name()),
        }
    }
}

impl Made {
    /// How many members it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.members
    }

    /// What it is made of.
    #[must_use]
    pub fn scenario(&self) -> Scenario {
        Scenario {
            microcloud: self.set,
            ..Scenario::of(self.members)
        }
    }
}

fn simulated(scenario: &Scenario) -> Cluster {
    let members = scenario
        .names()
        .into_iter()
        .map(MemberConfig::named)
        .collect();
    let of = match scenario.microcloud {
        Set::Two => String::new(),
        set => format!(" on MicroCloud {}", set.name()),
    };
    Cluster {
        name: format!("twin of {}{of}", scenario.members.len()),
        members,
        machines: Vec::new(),
        ssh: SshConfig::default(),
    }
}
