//! The run that a step belongs to.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The run that a step belongs to. No other run of any controller has the same name, holder and beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name, for example `update-14`.
    pub id: String,
    /// Who began it, as `user@host`.
    pub holder: String,
    /// When it began.
    pub began: Timestamp,
    /// The taking-up of it that this process is.
    pub sitting: Sitting,
    /// Those before, as far as its journal knows them.
    pub earlier: Vec<Sitting>,
}

/// One taking-up of a run by a process. A copy of a run's folder, or a second process that somebody started since the
/// first seemed dead, is another one, and only the latest may change anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sitting {
    /// Counted from 1.
    pub number: u32,
    /// What no other sitting of any copy of the run has.
    pub nonce: String,
    /// Who took it up, as `user@host`.
    pub who: String,
}
