//! What a world keeps of rules: what was broken, and what must not be done now.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// When, in milliseconds.
    pub at: u64,
    pub rule: String,
    pub what: String,
    /// The path of the step that broke it, or the command where the step isn't known.
    pub step: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    /// When members were last asked to refresh LXD: that outlives the controller.
    #[serde(default)]
    pub(super) lxd_asked: BTreeMap<String, u64>,
    pub(super) violations: Vec<Violation>,
    /// The members whose services were stopped on somebody's demand and aren't back, by snap.
    pub(super) stopped: BTreeMap<String, BTreeSet<String>>,
    /// The step that changed a setting last.
    pub(super) switched: BTreeMap<String, String>,
}

/// A rule that takes time to be broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Look {
    /// The first member's LXD was refreshed then: the others must have been asked to follow.
    LxdTogether { since: u64, step: String },
}
