//! What is called how: the files of a run's folder, and whoever has it.

use std::fs;

pub(crate) const JOURNAL: &str = "journal.jsonl";
pub(crate) const EVENTS: &str = "events.jsonl";
pub(crate) const LOCK: &str = "lock";
pub(super) const BUNDLE: &str = "bundle";

/// What this machine calls itself.
pub(crate) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
}

/// This process, as `PROCESS MACHINE`.
pub(crate) fn holder() -> String {
    format!("{} {}", std::process::id(), host())
}
