//! Where a run stands, in a word that lists, programs and rollouts share.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a run stands, or a cluster in a rollout.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Nothing of it was recorded.
    #[serde(rename = "did not begin")]
    DidNotBegin,
    /// A process has it.
    Running,
    /// It pauses at a step that failed.
    Held,
    /// It was interrupted, or the cluster is another's.
    Suspended,
    /// Its process was killed.
    #[serde(rename = "broken off")]
    BrokenOff,
    /// It was refused before it changed anything.
    Refused,
    /// Its playbook failed.
    Failed,
    /// It was aborted, and what it had switched on is off.
    Aborted,
    /// The operator took the cluster out of the rollout.
    Skipped,
    /// It is done.
    Done,
}

impl Standing {
    /// The word that lists, JSON and playbooks use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::DidNotBegin => "did not begin",
            Self::Running => "running",
            Self::Held => "held",
            Self::Suspended => "suspended",
            Self::BrokenOff => "broken off",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Skipped => "skipped",
            Self::Done => "done",
        }
    }

    /// Whether nothing is left to be done, and nothing is wrong.
    #[must_use]
    pub fn is_well(self) -> bool {
        matches!(self, Self::Done | Self::Skipped)
    }

    /// Whether it has stopped: no process has it, and only the operator can say how it continues.
    #[must_use]
    pub fn has_stopped(self) -> bool {
        !matches!(self, Self::DidNotBegin | Self::Running | Self::BrokenOff)
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
