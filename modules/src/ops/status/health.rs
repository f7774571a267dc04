//! How a component is, in a word.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a component is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Health {
    /// Nothing speaks against continuing.
    Ok,
    /// Members that have a release wait for the others to have it too.
    Waiting,
    /// Something is wrong.
    Bad,
    /// It isn't known, which is not the same as well.
    Unknown,
    /// No member has it.
    Absent,
}

impl Health {
    /// One word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Waiting => "waiting",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
            Self::Absent => "absent",
        }
    }
}

/// How a component is, and what is wrong with it.
pub(super) type Judged = (Health, Vec<String>);
