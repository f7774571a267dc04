//! How far a rollout is: what its journal says, and for clusters whose runs stopped before their end, how they stand now.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use lockstep_modules::contract::op::Op;
use lockstep_modules::contract::schema::Span;
use lockstep_modules::contract::standing::Standing;
use lockstep_modules::ops::cluster::{Job, Run, State, Window};
use lockstep_modules::ops::time::{Hours, Opening, Sleep};
use serde::{Deserialize, Serialize};

use super::Specs;
use super::look::{standing_of, why};
use super::rings::{Entry, Rollout};
use crate::failure::Failure;
use crate::journal::{History, Phase, Step, Suspended};
use crate::runs::standing::standing;
use crate::runs::{Runs, RunsError};
use lockstep_modules::contract::path::StepPath;

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
    /// Until when nothing of it has to be done, where no process is there meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<Timestamp>,
    /// Why it stopped there, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// When it began.
    pub began: Timestamp,
    /// When the last of it was recorded.
    pub last: Timestamp,
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
    /// Somebody is asked before it starts.
    pub approve: bool,
    /// Its clusters begin only with plans that were approved.
    pub approve_plans: bool,
    /// For how long the next ring waits after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak: Option<Span>,
    /// Until when that is; none where it hasn't begun or is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soaks_until: Option<Timestamp>,
    /// The windows of the clusters whose turn hasn't come.
    #[serde(skip)]
    windows: Vec<Hours>,
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
    /// When its run was begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub began: Option<Timestamp>,
    /// When that run stopped, as far as the rollout knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// When its run last wrote something down, where it is running; none where it has written nothing yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
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

    /// For how long a run that is said to be running has written nothing, where that is longer than any step is silent.
    #[must_use]
    pub fn silent(&self, now: Timestamp) -> Option<SignedDuration> {
        let since = self.heard.or(self.began)?;
        let silent = now.duration_since(since);
        (self.state == Some(Standing::Running) && silent > SILENCE).then_some(silent)
    }
}

impl RingProgress {
    /// How many of its clusters stand so.
    pub fn count(&self, is: impl Fn(&ClusterProgress) -> bool) -> usize {
        self.clusters.iter().filter(|cluster| is(cluster)).count()
    }

    /// When the next window of a cluster opens whose turn hasn't come, or until when one is open.
    #[must_use]
    pub fn window(&self, now: Timestamp) -> Option<Opening> {
        let openings = self.windows.iter();
        let next = openings.filter_map(|hours| hours.next(now).ok().flatten());
        next.min_by_key(|opening| opening.opens.max(now))
    }

    /// How long the runs took that are done, on average.
    fn pace(&self) -> Option<SignedDuration> {
        let done = self
            .clusters
            .iter()
            .filter(|c| c.state == Some(Standing::Done));
        let took: Vec<SignedDuration> = done
            .filter_map(|c| Some(c.ended?.duration_since(c.began?)))
            .collect();
        let count = i32::try_from(took.len()).ok().filter(|count| *count > 0)?;
        Some(took.into_iter().sum::<SignedDuration>() / count)
    }

    /// How many clusters' runs haven't stopped yet.
    fn left(&self) -> usize {
        let open = |c: &ClusterProgress| matches!(c.state, None | Some(Standing::Running));
        self.count(open)
    }
}

/// A run that is longer without a word is worth a look: its steps say every few seconds what they wait for.
const SILENCE: SignedDuration = SignedDuration::from_mins(15);

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
        let outcomes: BTreeMap<_, _> = history
            .completions
            .iter()
            .map(|completion| (&completion.path, &completion.result))
            .collect();
        // Its window had shut, and it waits once more.
        let waits_again = |path| {
            let result = outcomes.get(path);
            result.is_some_and(|result| outcome(result) == Standing::DidNotBegin)
        };
        let mut begun: BTreeMap<&str, &StepPath> = BTreeMap::new();
        let mut windows: BTreeMap<&str, &Step> = BTreeMap::new();
        let mut soaks: BTreeMap<&str, Timestamp> = BTreeMap::new();
        for (path, step) in &history.steps {
            let cluster = step.args.get("member").and_then(|member| member.as_str());
            match (step.op.as_str(), cluster) {
                (Run::NAME, Some(cluster)) if !waits_again(path) => {
                    begun.insert(cluster, path);
                }
                // It had its turn, though its run was not asked for.
                (State::NAME | Window::NAME, Some(cluster))
                    if outcomes.get(path).is_some_and(|result| result.is_err()) =>
                {
                    begun.entry(cluster).or_insert(path);
                }
                (Window::NAME, Some(cluster)) if step.phase != Phase::Done => {
                    windows.insert(cluster, step);
                }
                (Sleep::NAME, _) if step.phase != Phase::Done => {
                    let until = step.witnesses.last().map(Timestamp::deserialize);
                    let ring = path.as_str().split('/').next();
                    soaks.extend(ring.zip(until.and_then(Result::ok)));
                }
                _ => {}
            }
        }
        let said = |cluster: &str| {
            let result = begun.get(cluster).and_then(|path| outcomes.get(path));
            result.map(|result| outcome(result))
        };
        // What the journal says of these may be old by now.
        let may_differ = |cluster: &str| match said(cluster) {
            Some(state) => !state.is_well(),
            None => begun.contains_key(cluster) && !running,
        };
        let names = rollout.clusters().map(|entry| entry.name.as_str());
        let jobs = names
            .filter(|name| may_differ(name))
            .map(|name| runs.last_attempt(&format!("{id}.{name}")));
        runs.bring(jobs.collect())?;
        let specs = Specs::of(runs, id);
        let state = standing(&history, running);
        let mut rings = Vec::new();
        for ring in &rollout.rings {
            let (mut clusters, mut hours) = (Vec::new(), Vec::new());
            for entry in &ring.clusters {
                let name = entry.name.as_str();
                let path = begun.get(name);
                let step = path.and_then(|path| history.steps.get(*path));
                let begun = path.is_some();
                let mut cluster = ClusterProgress {
                    cluster: name.to_owned(),
                    state: said(name).or(begun.then_some(Standing::Running)),
                    waits: None,
                    began: step.and_then(|step| step.began),
                    ended: step.and_then(|step| step.ended),
                    heard: None,
                    job: None,
                };
                if may_differ(name) {
                    let run = runs.last_attempt(&format!("{id}.{name}"));
                    let mut job = standing_of(runs, &specs, name, &run)?;
                    if let (Standing::DidNotBegin, Some(said)) = (job.state, said(name)) {
                        // Nothing was recorded by the run itself.
                        job.state = said;
                        job.why = path.and_then(|path| reason(outcomes.get(path)?));
                    }
                    cluster.state = Some(job.state);
                    if job.state == Standing::Done {
                        // Somebody continued it, and the rollout doesn't know when it was done.
                        cluster.ended = None;
                    }
                    cluster.job = Some(job).filter(|job| job.state != Standing::Done);
                } else if !begun && specs.skipped(name)?.is_some() {
                    cluster.state = Some(Standing::Skipped);
                }
                if cluster.state == Some(Standing::Running) {
                    let last = runs.last_written(&runs.last_attempt(&format!("{id}.{name}")));
                    cluster.heard = last.and_then(|at| at.try_into().ok());
                } else if cluster.state.is_none() && !is_over(state) {
                    cluster.waits = windows.get(name).map(|step| waits(step));
                    windows_of(entry, &mut hours);
                }
                clusters.push(cluster);
            }
            rings.push(RingProgress {
                ring: ring.name.clone(),
                budget: ring.budget,
                limit: ring.limit,
                approve: ring.approve,
                approve_plans: ring.clusters.iter().any(|entry| entry.approve_plan),
                soak: ring.soak,
                soaks_until: soaks.remove(ring.name.as_str()).filter(|_| !is_over(state)),
                windows: hours,
                clusters,
            });
        }
        Ok(Self {
            rollout: id.to_owned(),
            fleet: rollout.fleet,
            playbook: rollout.playbook,
            state,
            waits_until: match (state, &history.suspended) {
                (Standing::Suspended, Some(Suspended::Waiting(until))) => Some(*until),
                _ => None,
            },
            stopped: why(&history, state),
            began: history.began,
            last: history.last,
            rings,
        })
    }

    /// All clusters.
    pub fn clusters(&self) -> impl Iterator<Item = &ClusterProgress> {
        self.rings.iter().flat_map(|ring| &ring.clusters)
    }

    /// Whether nothing of it will change any more.
    #[must_use]
    pub fn is_over(&self) -> bool {
        is_over(self.state)
    }

    /// How long what is left takes if clusters take as long as those before them, soaks included. None where nothing is left,
    /// or no cluster is done yet. Windows, questions, and whatever stops on the way come on top.
    #[must_use]
    pub fn left(&self, now: Timestamp) -> Option<SignedDuration> {
        let mut known = None;
        let mut left = SignedDuration::ZERO;
        for ring in &self.rings {
            known = ring.pace().or(known);
            let soak = match (ring.soaks_until, ring.soak) {
                (Some(until), _) => until.duration_since(now).max(SignedDuration::ZERO),
                (None, Some(soak)) if ring.left() > 0 => SignedDuration::try_from(soak.0).ok()?,
                _ => SignedDuration::ZERO,
            };
            left += soak;
            if ring.left() > 0 {
                let rounds = ring.left().div_ceil(ring.limit.max(1) as usize);
                left += known? * i32::try_from(rounds).ok()?;
            }
        }
        (left > SignedDuration::ZERO).then_some(left)
    }
}

/// Whether nothing of a rollout that stands so will change any more.
fn is_over(state: Standing) -> bool {
    matches!(
        state,
        Standing::Done | Standing::Refused | Standing::Failed | Standing::Aborted
    )
}

/// Adds a cluster's window to those that are known.
fn windows_of(entry: &Entry, known: &mut Vec<Hours>) {
    known.extend(entry.window.clone().filter(|hours| !known.contains(hours)));
}

/// What a step that ran a cluster's playbook came to.
fn outcome(result: &Result<serde_json::Value, Failure>) -> Standing {
    let outcome = result.as_ref().ok().and_then(|value| value.get("outcome"));
    // The executor itself failed.
    outcome
        .and_then(|outcome| Standing::deserialize(outcome).ok())
        .unwrap_or(Standing::Failed)
}

/// Why it came to that, in a line.
fn reason(result: &Result<serde_json::Value, Failure>) -> Option<String> {
    let line = |text: &str| text.lines().next().map(str::to_owned);
    match result {
        Ok(value) => line(value.get("why")?.as_str()?),
        Err(failure) => line(&failure.message),
    }
}

fn waits(step: &Step) -> String {
    let text = |name: &str| {
        step.args["window"]
            .get(name)
            .and_then(|value| value.as_str())
            .unwrap_or_default()
    };
    format!("the window {} {}", text("hours"), text("zone"))
}
