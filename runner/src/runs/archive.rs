//! Runs as an archive: the files of their folders, byte for byte, in a tar file that is the same for the same runs.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tar::{Archive, Builder, EntryType, Header};

use super::names::{EVENTS, JOURNAL, LOCK};
use super::{Runs, RunsError};
use crate::journal::{JournalError, Record, decode};
use crate::private;
use crate::store::{KNOWN, is_within};

/// Why runs can't be written to an archive, or read from one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    /// The runs themselves can't be read or written.
    #[error(transparent)]
    Runs(#[from] RunsError),
    /// The archive can't be read or written.
    #[error("the archive can't be {verb}: {source}")]
    Io {
        /// What was tried, as a participle.
        verb: &'static str,
        /// Why it didn't work.
        source: io::Error,
    },
    /// It isn't what an export wrote.
    #[error("{0} is not from a run that lockstep exported")]
    Strange(String),
    /// A run's journal in it isn't one.
    #[error("{id} in the archive: {source}")]
    Journal {
        /// The run.
        id: String,
        /// What is wrong with it.
        source: JournalError,
    },
    /// There is a run of this name, and it is another one.
    #[error("there is a run {0} already, which differs from that in the archive")]
    Differs(String),
}

fn io(verb: &'static str) -> impl Fn(io::Error) -> ArchiveError {
    move |source| ArchiveError::Io { verb, source }
}

/// A file of a run: whether it is a program, and what is in it.
#[derive(PartialEq)]
struct Content {
    executable: bool,
    bytes: Vec<u8>,
}

/// The files of a run, by name.
type Files = BTreeMap<String, Content>;

/// Writes a run to an archive, and with a rollout's the runs of its clusters.
pub(crate) fn export(runs: &Runs, id: &str, to: impl Write) -> Result<(), ArchiveError> {
    let jobs = format!("{id}.");
    let mut ids = runs.ids()?;
    ids.retain(|known| known == id || known.starts_with(&jobs));
    ids.sort();
    // Where there is none, this says so.
    runs.folder_of(id)?;
    if let Some(running) = ids.iter().find(|id| runs.is_running(id)) {
        let id = running.clone();
        return Err(RunsError::Locked { id }.into());
    }
    let mut archive = Builder::new(to);
    for id in ids {
        for (name, Content { executable, bytes }) in read(&runs.whole_folder_of(&id)?)? {
            let mut header = Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(if executable { 0o700 } else { 0o600 });
            header.set_mtime(0);
            let path = format!("{id}/{name}");
            let added = archive.append_data(&mut header, path, bytes.as_slice());
            added.map_err(io("written"))?;
        }
    }
    let written = archive.into_inner().and_then(|mut to| to.flush());
    written.map_err(io("written"))
}

/// The files of a run's folder.
fn read(folder: &Path) -> Result<Files, ArchiveError> {
    fn walk(folder: &Path, prefix: &str, files: &mut Files) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let (path, name) = {
                let entry = entry?;
                (entry.path(), entry.file_name())
            };
            let name = name.to_string_lossy();
            if prefix.is_empty() && ([LOCK, KNOWN].contains(&&*name) || name.ends_with(".new")) {
                continue;
            }
            let name = format!("{prefix}{name}");
            if path.is_dir() {
                walk(&path, &format!("{name}/"), files)?;
                continue;
            }
            let content = Content {
                executable: fs::metadata(&path)?.mode() & 0o100 != 0,
                bytes: fs::read(&path)?,
            };
            files.insert(name, content);
        }
        Ok(())
    }
    let mut files = Files::new();
    walk(folder, "", &mut files).map_err(io("written"))?;
    Ok(files)
}

/// Reads an archive's runs, and returns the names of those that weren't there before. `labels` are those of a run's cluster.
pub(crate) fn import(
    runs: &Runs,
    from: impl Read,
    labels: impl Fn(&str) -> BTreeMap<String, String>,
) -> Result<Vec<String>, ArchiveError> {
    let mut archive = Archive::new(from);
    let mut imported = Vec::new();
    let mut settle = |id: String, files: Files| -> Result<(), ArchiveError> {
        if !id.is_empty() && settled(runs, &id, &files, &labels(&id))? {
            imported.push(id);
        }
        Ok(())
    };
    let (mut id, mut files) = (String::new(), Files::new());
    for entry in archive.entries().map_err(io("read"))? {
        let mut entry = entry.map_err(io("read"))?;
        let path = entry.path().map_err(io("read"))?.display().to_string();
        let plain = entry.header().entry_type() == EntryType::Regular && is_within(&path);
        let Some((run, name)) = path.split_once('/').filter(|_| plain) else {
            return Err(ArchiveError::Strange(path));
        };
        if run != id {
            let before = std::mem::replace(&mut id, run.to_owned());
            settle(before, std::mem::take(&mut files))?;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(io("read"))?;
        let executable = entry.header().mode().map_err(io("read"))? & 0o100 != 0;
        files.insert(name.to_owned(), Content { executable, bytes });
    }
    if id.is_empty() {
        return Err(ArchiveError::Strange("an empty archive".to_owned()));
    }
    settle(id, files)?;
    Ok(imported)
}

/// Sees to it that a run is there with these files; whether it wasn't there before.
fn settled(
    runs: &Runs,
    id: &str,
    files: &Files,
    labels: &BTreeMap<String, String>,
) -> Result<bool, ArchiveError> {
    let strange = || ArchiveError::Strange(id.to_owned());
    let journal = &files.get(JOURNAL).ok_or_else(strange)?.bytes;
    let decoded = decode(journal).map_err(|source| ArchiveError::Journal {
        id: id.to_owned(),
        source,
    })?;
    match decoded.records.first() {
        Some((_, Record::Run(head))) if head.id == id => {}
        _ => return Err(strange()),
    }
    if runs.exists(id)? {
        return match read(&runs.whole_folder_of(id)?)? == *files {
            true => Ok(false),
            false => Err(ArchiveError::Differs(id.to_owned())),
        };
    }
    let folder = runs.create_named(id, labels)?;
    let put = |name: &str, Content { executable, bytes }: &Content| {
        let path = folder.file(name);
        let written =
            private::make_folder(private::folder_of(&path)).and_then(|()| fs::write(&path, bytes));
        let mode = if *executable { 0o700 } else { 0o600 };
        written.and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
    };
    // The journal last but for the events: without one a run hasn't begun.
    let late = [JOURNAL, EVENTS];
    for (name, content) in files
        .iter()
        .filter(|(name, _)| !late.contains(&name.as_str()))
    {
        put(name, content).map_err(io("read"))?;
    }
    folder.record(journal)?;
    for name in late {
        if let Some(content) = files.get(name) {
            put(name, content).map_err(io("read"))?;
        }
    }
    folder.publish()?;
    Ok(true)
}
