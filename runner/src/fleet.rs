//! Fleets: many clusters, taken through a playbook ring by ring.
//!
//! A rollout is a run of `playbooks/rollout.lua` whose members are clusters; each cluster's own run is a *job* with a name of
//! its own, `ROLLOUT.CLUSTER`. What is decided by the fleet's file is decided once, when the rollout begins, and is among the
//! run's parameters from then on.

mod audit;
mod check;
mod due;
mod executor;
mod file;
mod jobs;
mod look;
mod metrics;
mod progress;
mod rings;
mod select;
mod specs;

use lockstep_modules::contract::op::{Module, Registry};

pub use audit::{AuditEntry, audit};
pub use check::{FleetCheck, FleetReport};
pub(crate) use due::due;
pub use executor::ExecutorConfig;
pub use file::{Fleet, FleetCluster, FleetError};
pub use jobs::{Described, Jobs};
pub(crate) use look::{bare, cluster_of, job, standing_of};
pub use progress::{ClusterProgress, Progress, ProgressError, RingProgress, rollout_of};
pub use rings::{Entry, Ring, Rollout};
pub use select::{Labels, Selector};
pub(crate) use specs::{Approval, Skip, Spec, Specs};

/// The playbook of rollouts.
pub(crate) const PLAYBOOK: &str = "rollout";

/// As what a site's version of it requires it.
pub(crate) const BASE: &str = "playbooks.rollout";

/// The ops that a rollout's playbook has. Its members are clusters, and no other op would know what to do with one; a site's
/// programs and `exec` are for the machines beside them.
pub(crate) fn registry(all: &Registry) -> Registry {
    let own = ["cluster", "time", "confirm", "exec"];
    let has = |module: &&Module| module.program.is_some() || own.contains(&module.name.as_str());
    Registry::new(all.modules().iter().filter(has).cloned())
}
