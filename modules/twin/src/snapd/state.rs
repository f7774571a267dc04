//! What a world keeps of a member's snapd.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Snapd {
    pub(crate) snaps: BTreeMap<String, Installed>,
    pub(crate) changes: Vec<Change>,
    pub(crate) last_change: u64,
    pub(crate) last_task: u64,
    /// Post-refresh hooks that fail, by snap: for how many more refreshes.
    pub(crate) failing_hooks: BTreeMap<String, u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Installed {
    pub(crate) revision: u32,
    pub(crate) version: String,
    pub(crate) tracking: String,
    pub(crate) cohort: String,
    pub(crate) held: bool,
    pub(crate) active: bool,
}

impl Snapd {
    /// The change of a snap that is in progress.
    pub(crate) fn under_way(&self, snap: &str) -> Option<&Change> {
        self.changes.iter().find(|c| c.snap == snap && !c.ready())
    }
}

/// A change. It belongs to snapd, not to whoever asked for it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(remote = "Self")]
pub(crate) struct Change {
    pub(crate) id: u64,
    pub(crate) kind: String,
    pub(crate) summary: String,
    pub(crate) snap: String,
    pub(crate) tasks: Vec<Task>,
    pub(crate) spawned: u64,
    pub(crate) ready_at: Option<u64>,
    pub(crate) err: String,
    /// The step that asked for it; empty where nobody did.
    pub(super) step: String,
    pub(super) goal: Goal,
    /// The task that is being done, or undone.
    pub(super) at: usize,
    pub(super) undoing: bool,
    /// Somebody wants it to end and to be undone.
    #[serde(default)]
    pub(super) aborted: bool,
    /// How it is written down, once it is over: a world is written down again and again, and most of it are such changes.
    #[serde(skip)]
    pub(super) written: OnceCell<Box<RawValue>>,
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.ready() {
            return Self::serialize(self, serializer);
        }
        let written = match self.written.get() {
            Some(written) => written,
            None => {
                let text = self.text().map_err(S::Error::custom)?;
                self.written.get_or_init(|| text)
            }
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::deserialize(deserializer)
    }
}

/// What a refresh goes to, and what it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Goal {
    pub(super) revision: u32,
    pub(super) version: String,
    pub(super) channel: String,
    pub(super) cohort: String,
    pub(super) was_revision: u32,
    pub(super) was_version: String,
    pub(super) was_channel: String,
    pub(super) was_cohort: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) kind: String,
    pub(crate) summary: String,
    pub(crate) status: String,
    pub(crate) total: u64,
    pub(crate) spawned: u64,
    pub(crate) ready_at: Option<u64>,
    pub(super) takes: u64,
    #[serde(default)]
    pub(super) began: Option<u64>,
}

impl Task {
    /// How much of its total is done: bytes of a download, and all or nothing of anything else.
    pub(crate) fn done(&self, now: u64) -> u64 {
        match self.status.as_str() {
            "Do" => 0,
            "Doing" if self.kind == DOWNLOAD && self.takes > 0 => {
                let spent = now - self.began.unwrap_or(now);
                self.total * spent.min(self.takes) / self.takes
            }
            "Doing" if self.kind != RE_REFRESH => 0,
            _ => self.total,
        }
    }
}

pub(super) const DOWNLOAD: &str = "download-snap";

/// The task behind a refresh that looks for a further one, for which it asks the store.
pub(super) const RE_REFRESH: &str = "check-rerefresh";

impl Change {
    pub(super) fn text(&self) -> serde_json::Result<Box<RawValue>> {
        let mut text = Vec::new();
        Self::serialize(self, &mut serde_json::Serializer::new(&mut text))?;
        serde_json::from_slice(&text)
    }

    pub(crate) fn ready(&self) -> bool {
        self.ready_at.is_some()
    }

    /// The status that snapd gives a change: the most telling one among its tasks (`overlord/state/change.go`).
    pub(crate) fn status(&self) -> &'static str {
        let order = [
            "Abort", "Undoing", "Undo", "Doing", "Do", "Wait", "Error", "Undone", "Done", "Hold",
        ];
        let has = |status: &&&str| self.tasks.iter().any(|task| task.status == **status);
        order.iter().find(has).unwrap_or(&"Done")
    }
}
