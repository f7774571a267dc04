//! What the receivers of a run have in common.

use std::time::Duration;

use super::post::{PostError, Wire};
use super::reading::Entry;

/// Somebody, or something, that gets to know of a run.
pub(super) trait Receiver: Send {
    /// What people call it.
    fn name(&self) -> String;

    /// Takes in a record of the journal.
    fn read(&mut self, entry: &Entry);

    /// Brings the receiver up to date. `last`: the process ends, and this is the last try. Returns after what time there is
    /// something to be done again even if nothing happens.
    fn update(&mut self, wire: &Wire, last: bool) -> Result<Option<Duration>, Trouble>;

    /// How much there is that it doesn't know.
    fn untold(&self) -> usize;
}

/// Why a receiver isn't up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Post(#[from] PostError),
    #[error("{} refused: {why}", were(*.events))]
    Refused {
        /// How many events it will not have, however often they are sent.
        events: usize,
        /// What it said to the last one.
        why: PostError,
    },
    #[error("the secret {path} can't be read: {source}")]
    Secret {
        path: String,
        source: std::io::Error,
    },
    #[error("the secret {0} is empty, or isn't the base64 that whsec_ announces")]
    NoSecret(String),
    #[error("{path} can't be written: {source}")]
    Unwritten {
        path: String,
        source: std::io::Error,
    },
    #[error("it answered what no Alertmanager answers: {0}")]
    Answer(serde_json::Error),
    #[error("the rollout can't be looked at: {0}")]
    Rollout(String),
}

impl Trouble {
    /// What is done about it, for people.
    pub(super) fn outlook(&self) -> &'static str {
        match self {
            Self::Refused { .. } => "the run continues, and sends the events after it",
            _ => "the run continues, and it is tried again",
        }
    }
}

fn were(events: usize) -> String {
    match events {
        1 => "1 event was".to_owned(),
        n => format!("{n} events were"),
    }
}
