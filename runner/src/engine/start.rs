//! From where a run starts, and what an operator has decided about one that is continued.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lockstep_modules::contract::run::{Run, Sitting};
use serde_json::Value;

use crate::journal::{Head, History};
use lockstep_modules::contract::path::StepPath;

/// From where a run starts.
pub enum Start {
    /// From the beginning.
    Fresh(Box<Head>),
    /// From where its journal ends.
    Resumed(Box<Resume>),
}

/// What is needed to continue a run.
pub struct Resume {
    /// The journal, read and folded.
    pub history: History,
    /// What the operator decided.
    pub decisions: Decisions,
    /// Don't compare the cluster with what the run knows of it.
    pub trust_cluster: bool,
    /// Abort the run: nothing more is begun but what the playbook cleans up with. A run that is being aborted stays so.
    pub abort: bool,
}

/// What the operator decided about steps that the run pauses at.
#[derive(Clone, Debug, Default)]
pub struct Decisions {
    /// Do these again, whatever became of them.
    pub retry: BTreeSet<StepPath>,
    /// Take these as done, with these results.
    pub assume_done: BTreeMap<StepPath, Value>,
    /// Let the playbook have the failures of all held steps.
    pub deliver: bool,
}

impl Start {
    /// What the run began with.
    pub(crate) fn head(&self) -> &Head {
        match self {
            Self::Fresh(head) => head,
            Self::Resumed(resume) => &resume.history.head,
        }
    }

    /// The run, taken up by `who`; one that is fresh begins now. `nonce` is like no other.
    #[must_use]
    pub fn run(&self, now: Timestamp, who: &str, nonce: String) -> Run {
        let (head, began, number, earlier) = match self {
            Self::Fresh(head) => (head.as_ref(), now, 1, Vec::new()),
            Self::Resumed(resume) => {
                let history = &resume.history;
                // The first one isn't numbered where an older lockstep began the run.
                let number = history.sitting().max(1) + 1;
                (
                    &history.head,
                    history.began,
                    number,
                    history.sittings.clone(),
                )
            }
        };
        Run {
            id: head.id.clone(),
            holder: head.who.clone(),
            began,
            sitting: Sitting {
                number,
                nonce,
                who: who.to_owned(),
            },
            earlier,
        }
    }
}
