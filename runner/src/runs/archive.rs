//! Runs as an archive: the files of their folders, byte for byte, in a tar file that is the same for the same runs.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tar::{Archive, Builder, EntryType, Header};

use super::names::{EVENTS, JOURNAL, files, is_within};
use super::{Runs, RunsError};
use crate::journal::{JournalError, Record, decode};
use crate::private::{self, FileError};

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
    /// Its end isn't there.
    #[error("the archive was cut off: its end is missing")]
    Cut,
    /// There is a run of this name, and it is another one.
    #[error("there is a run {0} already, which differs from that in the archive")]
    Differs(String),
}

impl From<io::Error> for ArchiveError {
    fn from(source: io::Error) -> Self {
        io("written")(source)
    }
}

/// The bytes of a block of an archive.
const BLOCK: u64 = 512;

fn io(verb: &'static str) -> impl Fn(io::Error) -> ArchiveError {
    move |source| ArchiveError::Io { verb, source }
}

/// A file of a run: whether it is a program, and what is in it.
#[derive(Default, PartialEq)]
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
        let by = runs.process_of(running);
        let by = by.map_or_else(String::new, |(process, host)| format!("{process} {host}"));
        return Err(RunsError::locked(running, &by).into());
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
    let unread = |path: &Path| {
        let path = path.to_owned();
        move |source| RunsError::Io(FileError::of(&path, "read", source))
    };
    let mut read = Files::new();
    for name in files(folder).map_err(unread(folder))? {
        let path = folder.join(&name);
        let content = Content {
            executable: fs::metadata(&path).map_err(unread(&path))?.mode() & 0o100 != 0,
            bytes: fs::read(&path).map_err(unread(&path))?,
        };
        read.insert(name, content);
    }
    Ok(read)
}

/// Cuts a journal whose last group isn't whole, as whoever resumes it does. Returns the run that it is of.
fn mend(id: &str, files: &mut Files) -> Result<String, ArchiveError> {
    let strange = || ArchiveError::Strange(id.to_owned());
    let journal = &mut files.get_mut(JOURNAL).ok_or_else(strange)?.bytes;
    let decoded = decode(journal).map_err(|source| ArchiveError::Journal {
        id: id.to_owned(),
        source,
    })?;
    journal.truncate(decoded.whole);
    if decoded.unended {
        journal.push(b'\n');
    }
    match decoded.records.into_iter().next() {
        Some((_, Record::Run(head))) => Ok(head.id),
        _ => Err(strange()),
    }
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
        if !id.is_empty() && settled(runs, &id, files, &labels(&id))? {
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
    // Two blocks of zeros are its end, of which the first was read.
    let mut rest = Vec::new();
    let end = archive.into_inner().take(BLOCK).read_to_end(&mut rest);
    if end.map_err(io("read"))? as u64 != BLOCK {
        return Err(ArchiveError::Cut);
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
    mut files: Files,
    labels: &BTreeMap<String, String>,
) -> Result<bool, ArchiveError> {
    if mend(id, &mut files)? != id {
        return Err(ArchiveError::Strange(id.to_owned()));
    }
    if runs.exists(id)? {
        let folder = runs.whole_folder_of(id)?;
        // One that hasn't begun may be what an interrupted import left.
        if !runs.is_blank(id) {
            let mut there = read(&folder)?;
            return match mend(id, &mut there) {
                Ok(_) if there == files => Ok(false),
                _ => Err(ArchiveError::Differs(id.to_owned())),
            };
        }
    }
    let folder = runs.create_named(id, labels)?;
    let put = |name: &str, Content { executable, bytes }: &Content| {
        let path = folder.file(name);
        let written =
            private::make_folder(private::folder_of(&path)).and_then(|()| fs::write(&path, bytes));
        let mode = if *executable { 0o700 } else { 0o600 };
        written
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
            .map_err(|source| RunsError::Io(FileError::of(&path, "written", source)))
    };
    let [journal, events] = [JOURNAL, EVENTS].map(|name| files.remove(name));
    for (name, content) in &files {
        put(name, content)?;
    }
    let journal = journal.unwrap_or_default();
    folder.record(&journal.bytes, events.as_ref().map(|events| &*events.bytes))?;
    Ok(true)
}
