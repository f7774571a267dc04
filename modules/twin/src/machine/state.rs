//! What a world keeps of a machine.

use serde::{Deserialize, Serialize};

use crate::snapd::state::Snapd;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    pub(crate) address: String,
    pub(crate) link: bool,
    pub(crate) power: bool,
    /// Whether none of its processes gets on, though it has power.
    #[serde(default)]
    pub(crate) frozen: bool,
    /// The kernel's id of this boot.
    pub(crate) boot_id: String,
    pub curl: bool,
    /// When it last began or ceased to answer.
    #[serde(default)]
    pub(crate) turned: u64,
    pub(crate) snapd: Snapd,
}

/// What happens to machines by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// It has been switched on, and is up.
    Up(String),
}

impl Machine {
    /// Whether it answers on the network.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.link && self.power && !self.frozen
    }

    /// Whether its kernel answers and nothing else does.
    pub(crate) fn hangs(&self) -> bool {
        self.link && self.power && self.frozen
    }

    /// Whether its processes get on.
    pub(crate) fn lives(&self) -> bool {
        self.power && !self.frozen
    }
}
