//! How a cluster's run stands, without touching it.

use lockstep_modules::contract::standing::Standing;
use lockstep_modules::ops::cluster::Job;

use super::specs::Specs;
use crate::failure::Failure;
use crate::journal::{History, JournalError, Phase};
use crate::report::failure::head;
use crate::runs::standing::{held, standing};
use crate::runs::{Runs, RunsError};

/// A cluster's run as it stands.
///
/// # Errors
/// Where its journal can't be read.
pub(crate) fn job(runs: &Runs, run: &str) -> Result<Job, RunsError> {
    let running = runs.is_running(run);
    if !runs.exists(run)? {
        return Ok(bare(run, Standing::DidNotBegin));
    }
    let history = match runs.history(run) {
        Ok(history) => history,
        Err(RunsError::Journal {
            source: JournalError::Empty,
            ..
        }) => {
            let state = if running {
                Standing::Running
            } else {
                Standing::DidNotBegin
            };
            return Ok(bare(run, state));
        }
        Err(error) => return Err(error),
    };
    let state = standing(&history, running);
    Ok(Job {
        steps: held(&history).map(ToString::to_string).collect(),
        why: why(&history, state),
        ..bare(run, state)
    })
}

/// A run of which nothing more is to be said than how it stands.
pub(crate) fn bare(run: &str, state: Standing) -> Job {
    Job {
        run: run.to_owned(),
        state,
        steps: Vec::new(),
        why: None,
    }
}

/// A cluster's run as it stands in its rollout: what was decided about the cluster counts as long as its run says nothing else.
///
/// # Errors
/// Where something can't be read.
pub(crate) fn standing_of(
    runs: &Runs,
    specs: &Specs,
    cluster: &str,
    run: &str,
) -> Result<Job, RunsError> {
    if let Some(skip) = specs.skipped(cluster)? {
        return Ok(Job {
            why: Some(skip.to_string()),
            ..bare(run, Standing::Skipped)
        });
    }
    let mut job = match job(runs, run) {
        // One of thousands: a person has to look at its cluster, and all others have to go on.
        Err(RunsError::Journal { source, .. }) if source.is_final() => Job {
            why: Some(source.to_string()),
            ..bare(run, Standing::Failed)
        },
        job => job?,
    };
    if !matches!(job.state, Standing::DidNotBegin | Standing::BrokenOff) {
        return Ok(job);
    }
    let barred = match job.state {
        Standing::DidNotBegin => specs.refusal(cluster)?,
        _ => None,
    };
    if let Some(why) = barred {
        job.state = Standing::Refused;
        job.why = Some(why);
    } else if let Some(who) = specs.stopped(cluster)? {
        job.state = Standing::Suspended;
        job.why = Some(format!("stopped by {who}"));
    } else if job.state == Standing::DidNotBegin {
        // Whoever was to begin it may have said why it didn't.
        job.why = specs.complaint(cluster);
    }
    Ok(job)
}

/// Why a run isn't done, in a line.
pub(super) fn why(history: &History, state: Standing) -> Option<String> {
    let line = |failure: &Failure| head(failure).lines().next().unwrap_or_default().to_owned();
    match state {
        Standing::Held => history.steps.values().find_map(|step| match &step.phase {
            Phase::Held { failure, .. } => Some(line(failure)),
            _ => None,
        }),
        Standing::Suspended => history.suspended.as_ref().map(ToString::to_string),
        Standing::Refused | Standing::Failed | Standing::Aborted => match &history.end {
            Some(Err(failure)) => Some(line(failure)),
            _ => None,
        },
        _ => None,
    }
}

/// The rollout and the cluster of a job's name, `ROLLOUT.CLUSTER`, or `ROLLOUT.CLUSTER+2` for a second attempt.
pub(crate) fn cluster_of(run: &str) -> Option<(&str, &str)> {
    let (rollout, cluster) = run.split_once('.')?;
    let cluster = cluster
        .split_once('+')
        .map_or(cluster, |(cluster, _)| cluster);
    (!cluster.is_empty()).then_some((rollout, cluster))
}
