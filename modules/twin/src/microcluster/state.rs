//! What a world keeps of a cluster of daemons.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One of the three clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Micro {
    pub(crate) port: u16,
    pub(crate) rows: BTreeMap<String, Row>,
    /// Members whose daemon doesn't come up when it is started.
    #[serde(default)]
    pub(super) lost: BTreeSet<String>,
    /// Other services that end soon after they were started: member and name.
    #[serde(default)]
    pub(super) lost_services: BTreeSet<(String, String)>,
}

impl Micro {
    /// A database on this port, of these members, whose daemons are ready.
    pub(crate) fn ready(port: u16, members: &[String]) -> Self {
        let (schema, daemon) = (1, Daemon::Ready);
        let row = |name: &String| (name.clone(), Row { schema, daemon });
        Self {
            port,
            rows: members.iter().map(row).collect(),
            ..Self::default()
        }
    }
}

/// A member's row, and its daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) schema: u32,
    pub(crate) daemon: Daemon,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Daemon {
    Down,
    Starting,
    Waiting,
    Ready,
    /// It exits because its version is behind, and systemd starts it again.
    Crashing,
}
