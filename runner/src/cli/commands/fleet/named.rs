//! Which fleet and which rollout are meant.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::exit::Fault;
use crate::cli::mistakes::near_file;
use crate::fleet::{Fleet, Rollout, rollout_of};
use crate::runs::{Runs, is_job};
use crate::trust;

/// The fleet's file that is taken when none is named.
const DEFAULT: &str = "fleet.toml";

/// Which rollout is meant.
#[derive(Args)]
pub(super) struct Which {
    /// The rollout, for example rollout-3 [default: the last one]
    #[arg(long, short, value_name = "ROLLOUT")]
    rollout: Option<String>,
}

/// The fleet of a file, or of `fleet.toml`, which has to be one's own: it names programs.
pub(super) fn read(file: Option<&Path>) -> Result<(PathBuf, Fleet), Fault> {
    let path = file.unwrap_or(Path::new(DEFAULT));
    if !path.exists() {
        let near = near_file(path, &[DEFAULT]);
        let fault = Fault::usage(format!(
            "there is no fleet file {:?}{near}",
            path.display().to_string()
        ));
        return Err(fault.help("lockstep fleet … --fleet FILE  names one"));
    }
    if file.is_none() {
        trust::found(path).map_err(|distrust| Fault::distrusted(&distrust, "--fleet", path))?;
    }
    let fleet = Fleet::read(path)?;
    Ok((
        std::fs::canonicalize(path).unwrap_or(path.to_owned()),
        fleet,
    ))
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
    let is_rollout = |id: &String| !is_job(id) && id.starts_with("rollout-");
    Ok(runs.ids()?.into_iter().filter(is_rollout).collect())
}

/// The rollout of this name, and what it began with.
pub(super) fn begun(runs: &Runs, id: &str) -> Result<Rollout, Fault> {
    Ok(rollout_of(&runs.history(id)?)?)
}
