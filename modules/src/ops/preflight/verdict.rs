//! What checks come to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a check came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing speaks against continuing.
    Pass,
    /// Something does.
    Fail,
    /// It isn't known, which is not a pass.
    Unknown,
    /// Something does, or it isn't known, and the operator accepts that.
    Accepted,
}

impl Verdict {
    /// One word for people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::Accepted => "accepted",
        }
    }
}

/// A check, made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What it asks; of a hazard, what goes wrong.
    pub(crate) about: String,
    /// What it came to.
    pub verdict: Verdict,
    /// What speaks for that.
    pub evidence: Vec<String>,
    /// Whether a "no" may be accepted.
    pub may_accept: bool,
    /// Where a hazard is written up.
    pub link: Option<String>,
}

impl Check {
    /// Whether it speaks against continuing.
    #[must_use]
    pub fn is_against(&self) -> bool {
        matches!(self.verdict, Verdict::Fail | Verdict::Unknown)
    }
}
