//! How far a rollout is: what its journal says, and for clusters whose runs stopped before their end, how they stand now.

use std::collections::BTreeMap;

use lockstep_modules::contract::op::Op;
use lockstep_modules::contract::standing::Standing;
use lockstep_modules::ops::cluster::{Job, Run};
use lockstep_modules::ops::time::Window;
use serde::{Deserialize, Serialize};

use super::rings::Rollout;
use super::{Specs, job};
use crate::failure::Failure;
use crate::journal::{History, Phase, Step};
use crate::path::StepPath;
use crate::runs::standing::standing;
use crate::runs::{Runs, RunsError};

/// A rollout as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Progress {
    /// The rollout's run.
    pub rollout: String,
    /// The fleet.
    pub fleet: String,
    /// What is played on each cluster.
    pub playbook: String,
    /// Where the rollout's own run stands.
    pub state: Standing,
    /// Its rings, in order.
    pub rings: Vec<RingProgress>,
}

/// A ring as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct RingProgress {
    /// Its name.
    pub ring: String,
    /// How many of its clusters may stop before their end.
    pub budget: u32,
    /// How many clusters are at once.
    pub limit: u32,
    /// Its clusters, in order.
    pub clusters: Vec<ClusterProgress>,
}

/// A cluster of a rollout as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterProgress {
    /// The cluster.
    pub cluster: String,
    /// Where it stands; none where its turn hasn't come.
    pub state: Option<Standing>,
    /// What it waits for, where it waits: "the window …".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// Its run, where it has stopped before its end.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub job: Option<Job>,
}

impl ClusterProgress {
    /// Whether its run stopped before its end, and nobody has seen to it.
    #[must_use]
    pub fn is_unwell(&self) -> bool {
        self.state
            .is_some_and(|state| state.has_stopped() && !state.is_well())
    }
}

impl RingProgress {
    /// How many of its clusters stand so.
    pub fn count(&self, is: impl Fn(&ClusterProgress) -> bool) -> usize {
        self.clusters.iter().filter(|cluster| is(cluster)).count()
    }
}

/// Why a rollout can't be looked at.
#[derive(Debug, thiserror::Error)]
pub enum ProgressError {
    /// Its folder or its journal can't be read.
    #[error(transparent)]
    Runs(#[from] RunsError),
    /// The run is another's.
    #[error("{0} is not a rollout")]
    Other(String),
}

/// What a rollout began with.
///
/// # Errors
/// Where the run is no rollout.
pub fn rollout_of(history: &History) -> Result<Rollout, ProgressError> {
    let other = || ProgressError::Other(history.head.id.clone());
    Rollout::deserialize(&history.head.params).map_err(|_| other())
}

impl Progress {
    /// A rollout as it stands now.
    ///
    /// # Errors
    /// Where the run can't be read, or is no rollout.
    pub fn of(runs: &Runs, id: &str) -> Result<Self, ProgressError> {
        Self::at(runs, id, runs.is_running(id))
    }

    /// A rollout as it stands where a process has it (`running`), or none any more.
    pub(crate) fn at(runs: &Runs, id: &str, running: bool) -> Result<Self, ProgressError> {
        let history = runs.history(id)?;
        let rollout = rollout_of(&history)?;
        let mut begun: BTreeMap<&str, &StepPath> = BTreeMap::new();
        let mut windows: BTreeMap<&str, &Step> = BTreeMap::new();
        for (path, step) in &history.steps {
            let cluster = step.args.get("member").and_then(|member| member.as_str());
            match (step.op.as_str(), cluster) {
                (Run::NAME, Some(cluster)) => drop(begun.insert(cluster, path)),
                (Window::NAME, _) if step.phase != Phase::Done => {
                    let labels: Vec<&str> = path.as_str().split('/').collect();
                    if let [.., cluster, _] = labels.as_slice() {
                        windows.insert(cluster, step);
                    }
                }
                _ => {}
            }
        }
        let outcomes: BTreeMap<_, _> = history
            .completions
            .iter()
            .map(|completion| (&completion.path, &completion.result))
            .collect();
        let specs = Specs::of(runs, id);
        let mut rings = Vec::new();
        for ring in &rollout.rings {
            let mut clusters = Vec::new();
            for entry in &ring.clusters {
                let name = entry.name.as_str();
                let path = begun.get(name);
                let said = path
                    .and_then(|path| outcomes.get(path))
                    .map(|result| outcome(result));
                let begun = path.is_some();
                let done = said.is_some_and(Standing::is_well);
                let mut cluster = ClusterProgress {
                    cluster: name.to_owned(),
                    state: said.or(begun.then_some(Standing::Running)),
                    waits: windows.get(name).map(|step| waits(step)),
                    job: None,
                };
                // What the journal says of the others may be old by now.
                if !done && begun && (said.is_some() || !running) {
                    let job = now(runs, &specs, id, name)?;
                    cluster.state = Some(job.state);
                    cluster.job = Some(job).filter(|job| job.state != Standing::Done);
                } else if !begun && specs.skipped(name).map_err(RunsError::from)?.is_some() {
                    cluster.state = Some(Standing::Skipped);
                }
                clusters.push(cluster);
            }
            rings.push(RingProgress {
                ring: ring.name.clone(),
                budget: ring.budget,
                limit: ring.limit,
                clusters,
            });
        }
        Ok(Self {
            rollout: id.to_owned(),
            fleet: rollout.fleet,
            playbook: rollout.playbook,
            state: standing(&history, running),
            rings,
        })
    }

    /// All clusters.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterProgress> {
        self.rings.iter().flat_map(|ring| &ring.clusters)
    }
}

/// How a cluster's run stands, which may have been taken out of its rollout.
fn now(runs: &Runs, specs: &Specs, rollout: &str, cluster: &str) -> Result<Job, RunsError> {
    let mut job = job(runs, &runs.last_attempt(&format!("{rollout}.{cluster}")))?;
    if let Some(skip) = specs.skipped(cluster)? {
        job.state = Standing::Skipped;
        job.why = Some(skip.to_string());
    }
    Ok(job)
}

/// What a step that ran a cluster's playbook came to.
fn outcome(result: &Result<serde_json::Value, Failure>) -> Standing {
    let outcome = result.as_ref().ok().and_then(|value| value.get("outcome"));
    // The executor itself failed.
    outcome
        .and_then(|outcome| Standing::deserialize(outcome).ok())
        .unwrap_or(Standing::Failed)
}

fn waits(step: &Step) -> String {
    let text = |name: &str| {
        step.args
            .get(name)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
    };
    format!("the window {} {}", text("hours"), text("zone"))
}
