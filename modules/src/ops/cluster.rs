//! `cluster`: the clusters of a fleet, as a rollout's members.
//!
//! A rollout is a run whose members are clusters. What brings a command to a cluster is its *executor*: it begins and looks
//! at the cluster's own run, which has a name of its own (`rollout-3.berlin-012`) and is therefore never begun twice. Held
//! and failed runs are results here and no failures: the playbook counts them.

mod budget;
mod job;
mod run;
mod settle;
mod verify;

use crate::contract::op::Module;

pub use job::{Ask, Job, STOPPED};
pub use run::Run;
pub use settle::Settle;
pub use verify::Health;

pub(crate) fn module() -> Module {
    Module::new("cluster", "The clusters of a fleet, in a rollout.")
        .op::<run::Run>()
        .op::<budget::Budget>()
        .op::<settle::Settle>()
        .op::<verify::Verify>()
}
