//! `cluster`: the clusters of a fleet, as a rollout's members.
//!
//! A rollout is a run whose members are clusters. What brings a command to a cluster is its *executor*: it begins and looks
//! at the cluster's own run, which has a name of its own (`rollout-3.berlin-012`) and is therefore never begun twice. Held
//! and failed runs are results here and no failures: the playbook counts them.

mod budget;
mod job;
mod look;
mod plan;
mod run;
mod settle;
mod skip;
mod stage;
mod state;
mod verify;

use crate::contract::op::Module;

pub use job::{Ask, Job, STOPPED};
pub use look::Look;
pub use plan::Planned;
pub use run::Run;
pub use settle::Settle;
pub use skip::Skipped;
pub use stage::Staged;
pub use state::{State, Window};

pub(crate) fn module() -> Module {
    Module::new("cluster", "The clusters of a fleet, in a rollout.")
        .op::<run::Run>()
        .op::<budget::Budget>()
        .op::<settle::Settle>()
        .op::<verify::Verify>()
        .op::<state::State>()
        .op::<state::Window>()
        .op::<look::Read>()
        .op::<plan::Plan>()
        .op::<stage::Stage>()
        .op::<skip::Skip>()
}
