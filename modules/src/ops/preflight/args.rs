//! What a preflight is asked.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::tables::rows::{Hazard, Path, Set, Together, Track};
use crate::contract::component::Component;
use crate::contract::schema::Channel;

/// Run all checks and report the result of each. It doesn't fail because one does.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckArgs {
    /// The components that are to be refreshed; all of them unless given.
    #[serde(default)]
    pub(super) components: Vec<Component>,
    /// The channels that components are to be moved to, by snap.
    #[serde(default)]
    pub(super) channels: BTreeMap<String, Channel>,
    /// Checks to accept even if they fail.
    #[serde(default)]
    pub(super) accept: Vec<String>,
    /// Which tracks follow which: the rows of `playbooks.data.compatibility`.
    #[serde(default)]
    pub(super) paths: Vec<Path>,
    /// What is known to go wrong: the rows of `playbooks.data.hazards`.
    #[serde(default)]
    pub(super) hazards: Vec<Hazard>,
    /// Which versions go together: rows of `playbooks.data.compatibility`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) together: Vec<Together>,
    /// Tracks whose names aren't the beginning of their versions: rows of `playbooks.data.compatibility`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tracks: Vec<Track>,
    /// Channels that go together: rows of `playbooks.data.compatibility`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) sets: Vec<Set>,
}

impl CheckArgs {
    /// Whether a component is to be refreshed.
    pub(super) fn chosen(&self, component: Component) -> bool {
        self.components.is_empty() || self.components.contains(&component)
    }
}
