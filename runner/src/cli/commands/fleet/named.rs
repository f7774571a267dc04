//! Which rollout is meant.

use clap::Args;

use crate::cli::exit::Fault;
use crate::fleet::{PLAYBOOK, Rollout, rollout_of};
use crate::journal::ClusterRef;
use crate::runs::{Runs, is_job};

/// Which rollout is meant.
#[derive(Args)]
pub(super) struct Which {
    /// The rollout, for example rollout-3 [default: the last one]
    #[arg(long, short, value_name = "ROLLOUT")]
    rollout: Option<String>,
}

impl Which {
    /// The rollout that is meant: the one that is named, or the last one.
    pub(super) fn find(&self, runs: &Runs) -> Result<String, Fault> {
        if let Some(named) = &self.rollout {
            return Ok(named.clone());
        }
        rollouts(runs)?.pop().ok_or_else(|| {
            Fault::usage("there is no rollout yet")
                .help("lockstep fleet rollout PLAYBOOK  begins one")
        })
    }
}

/// All rollouts, the last one last.
pub(super) fn rollouts(runs: &Runs) -> Result<Vec<String>, Fault> {
    // A site's own playbook may be called so too. One that can't be read is none that could be continued.
    let is_rollout = |id: &String| {
        let history = runs.history(id);
        history.is_ok_and(|history| matches!(history.head.target, ClusterRef::Fleet(_)))
    };
    let named = |id: &String| !is_job(id) && id.starts_with(PLAYBOOK);
    let named: Vec<String> = runs.ids()?.into_iter().filter(named).collect();
    runs.bring(named.clone())?;
    Ok(named.into_iter().filter(is_rollout).collect())
}

/// The rollout of this name, and what it began with.
pub(super) fn begun(runs: &Runs, id: &str) -> Result<Rollout, Fault> {
    Ok(rollout_of(&runs.history(id)?)?)
}
