//! What is called how: runs, the files of a run's folder, and whoever has it.

use std::fs;
use std::io;
use std::path::{Component, Path};

pub(crate) const JOURNAL: &str = "journal.jsonl";
pub(crate) const EVENTS: &str = "events.jsonl";
pub(crate) const LOCK: &str = "lock";
/// What a copy has of the database, where the run is in one.
pub(crate) const KNOWN: &str = "copy.json";
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

/// A holder for people: `PROCESS on MACHINE`.
pub(crate) fn told(holder: &str) -> String {
    holder.replacen(' ', " on ", 1)
}

/// Whether a name stays within the folder that it is looked for in.
pub(crate) fn is_within(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    !name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Whether a run can have this name: its folder is one among all others, wherever the name comes from.
pub(crate) fn is_name(id: &str) -> bool {
    is_within(id) && !id.contains('/')
}

/// Whether a file of a run's folder is one that each machine has for itself.
fn is_own(name: &str) -> bool {
    [LOCK, KNOWN].contains(&name) || name.ends_with(".new")
}

/// Whether a database may have a file of this name for a run's folder.
pub(crate) fn is_shared(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or(name);
    is_within(name) && !is_own(first) && ![JOURNAL, EVENTS].contains(&first)
}

/// The names of the files in a run's folder and in the folders in it, but for those that each machine has for itself.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<String>> {
    fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if prefix.is_empty() && is_own(&name) {
                continue;
            }
            let name = format!("{prefix}{name}");
            match entry.path() {
                path if path.is_dir() => walk(&path, &format!("{name}/"), names)?,
                _ => names.push(name),
            }
        }
        Ok(())
    }
    let mut names = Vec::new();
    walk(folder, "", &mut names)?;
    Ok(names)
}
