//! How a run ends, pauses, or can't continue.

use serde_json::Value;

use super::divergence::Divergence;
use crate::event::{Event, Outcome};
use crate::failure::Failure;
use crate::journal::{JournalError, Suspended};
use lockstep_modules::contract::path::StepPath;

/// How a run ended, or paused.
#[derive(Debug)]
pub enum Finish {
    /// The playbook ended; this is its result.
    Done(Value),
    /// A failure ended the playbook.
    Failed(Failure),
    /// It was aborted, and what it had switched on was restored.
    Aborted,
    /// It pauses at these steps.
    Held(Vec<Held>),
    /// It ended at these steps: a check refused before anything was changed, so there is nothing to resume.
    Refused(Vec<Held>),
    /// It pauses, for this reason. Nothing is wrong with any step.
    Suspended(Suspended),
}

/// A step that the run pauses at.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The step.
    pub path: StepPath,
    /// Why.
    pub failure: Failure,
    /// Whether its effect may exist or still be running.
    pub in_doubt: bool,
    /// Whether its result has fields that have to be given where it is taken as done.
    pub(crate) needs_result: bool,
}

/// Why a run can't continue at all.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The journal can't be written or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The playbook isn't the one that the journal was written by.
    #[error(transparent)]
    Divergence(Box<Divergence>),
    /// The system has no random numbers for the sitting's nonce.
    #[error("there are no random numbers: {0}")]
    Random(std::io::Error),
    /// The playbook failed while what the run did was played again.
    #[error("{0}")]
    Script(Box<Failure>),
    /// Something is as it can't be.
    #[error("lockstep itself is wrong: {0}")]
    Internal(String),
    /// A decision doesn't fit the run.
    #[error("{0}")]
    Decision(String),
}

impl From<Divergence> for EngineError {
    fn from(divergence: Divergence) -> Self {
        Self::Divergence(Box::new(divergence))
    }
}

fn paths(held: &[Held]) -> Value {
    held.iter().map(|h| Value::from(h.path.as_str())).collect()
}

impl Finish {
    /// How it is called.
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Done(_) => Outcome::Done,
            Self::Failed(_) => Outcome::Failed,
            Self::Aborted => Outcome::Aborted,
            Self::Held(_) => Outcome::Held,
            Self::Refused(_) => Outcome::Refused,
            Self::Suspended(_) => Outcome::Suspended,
        }
    }

    pub(super) fn event(&self) -> Event {
        let detail = match self {
            Self::Done(value) => value.clone(),
            Self::Failed(failure) => Value::from(failure.to_string()),
            Self::Aborted => Value::Null,
            Self::Held(held) | Self::Refused(held) => paths(held),
            Self::Suspended(why) => Value::from(why.to_string()),
        };
        Event::RunEnded {
            outcome: self.outcome(),
            detail,
        }
    }
}
