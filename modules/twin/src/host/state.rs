//! What a world keeps of a machine's own.

use serde::{Deserialize, Serialize};

/// A machine's own properties. One that isn't mentioned is an ordinary machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Host {
    /// What it calls itself, if not by its member's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The release of Ubuntu: `24.04`.
    pub(crate) os: String,
    /// The version of snapd.
    pub snapd: String,
    /// The version of the kernel.
    pub kernel: String,
    /// Bytes that are free on its disk.
    pub free: u64,
    /// Milliseconds that its clock is ahead.
    pub ahead: i64,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            name: None,
            os: "24.04".to_owned(),
            snapd: "2.76".to_owned(),
            kernel: "6.8.0-31-generic".to_owned(),
            free: 40 << 30,
            ahead: 0,
        }
    }
}

/// A program of a snap that somebody runs on a member: its services aside, what keeps a snap from being refreshed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) member: String,
    pub(crate) snap: String,
    /// The app's name in its snap.
    pub(crate) app: String,
    pub(crate) pid: u32,
}
