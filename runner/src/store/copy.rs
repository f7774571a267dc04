//! A run's folder as the copy of what the store has.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::rows::{StoredEvents, StoredFile};
use crate::private::{self, FileError};
use crate::runs::names::{EVENTS, JOURNAL, KNOWN, LOCK, files, is_shared};

/// Where a rollout keeps what it knows of its clusters.
const CLUSTERS: &str = "clusters/";

/// A run's folder.
pub(super) struct Copy {
    pub(super) folder: PathBuf,
    known: Known,
}

/// What the copy has of the store, by its own account. Where it says less than is true, that much is fetched again.
#[derive(Default, PartialEq, Serialize, Deserialize)]
struct Known {
    /// Bytes of events that are in the store.
    events: u64,
    files: BTreeMap<String, Mark>,
}

/// A version of a file, and how the file looked then.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    version: i64,
    bytes: u64,
    /// When it was written, in nanoseconds.
    at: i64,
}

impl Mark {
    fn of(file: &fs::Metadata, version: i64) -> Self {
        Self {
            version,
            bytes: file.len(),
            at: file.mtime() * 1_000_000_000 + file.mtime_nsec(),
        }
    }

    fn is_of(&self, file: &fs::Metadata) -> bool {
        *self == Self::of(file, self.version)
    }
}

/// A file that the store lacks, or has in another version.
pub(super) struct Changed {
    pub(super) name: String,
    pub(super) executable: bool,
    pub(super) content: Vec<u8>,
    found: fs::Metadata,
}

fn error(path: &Path, verb: &'static str) -> impl Fn(io::Error) -> FileError {
    move |source| FileError::of(path, verb, source)
}

/// Keeps others from writing to a copy. None where somebody does, or has the run: then it is as new as can be.
pub(super) fn guard(folder: &Path) -> Result<Option<File>, FileError> {
    private::make_folder(folder).map_err(error(folder, "made"))?;
    let path = folder.join(LOCK);
    private::lock(&path).map_err(error(&path, "locked"))
}

/// How many bytes of journal a copy has.
pub(super) fn bytes(folder: &Path) -> u64 {
    fs::metadata(folder.join(JOURNAL)).map_or(0, |file| file.len())
}

/// The whole lines of a journal that a copy has.
#[derive(Default)]
pub(super) struct Lines {
    pub(super) count: usize,
    bytes: u64,
    pub(super) last: Option<String>,
}

/// The whole lines of journal that a copy has.
pub(super) fn lines(folder: &Path) -> Result<Lines, FileError> {
    let path = folder.join(JOURNAL);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Lines::default()),
        text => text.map_err(error(&path, "read"))?,
    };
    let Some(end) = memchr::memrchr(b'\n', &text) else {
        return Ok(Lines::default());
    };
    let begin = memchr::memrchr(b'\n', &text[..end]).map_or(0, |before| before + 1);
    Ok(Lines {
        count: memchr::memchr_iter(b'\n', &text).count(),
        bytes: end as u64 + 1,
        last: Some(String::from_utf8_lossy(&text[begin..end]).into_owned()),
    })
}

/// Adds lines to the journal of a copy, which has these.
pub(super) fn add_lines(folder: &Path, have: &Lines, lines: &[String]) -> Result<(), FileError> {
    let path = folder.join(JOURNAL);
    let text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
    write_at(&path, have.bytes, text.as_bytes()).map_err(error(&path, "written"))
}

/// Cuts a file and continues it there.
fn write_at(path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
    let mut options: OpenOptions = private::file();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.set_len(at)?;
    file.seek(SeekFrom::End(0))?;
    file.write_all(bytes)
}

impl Copy {
    /// The copy in a folder that is filled anew.
    pub(super) fn fresh(folder: PathBuf) -> Self {
        let known = Known::default();
        Self { folder, known }
    }

    /// The copy in a folder, which need not exist.
    pub(super) fn of(folder: PathBuf) -> Self {
        let known = fs::read(folder.join(KNOWN)).ok();
        let known = known.and_then(|text| serde_json::from_slice(&text).ok());
        Self {
            folder,
            known: known.unwrap_or_default(),
        }
    }

    /// Writes down what it has.
    pub(super) fn save(&self) -> Result<(), FileError> {
        let path = self.folder.join(KNOWN);
        let text = serde_json::to_string(&self.known).unwrap_or_default();
        put(&self.folder, KNOWN, text.as_bytes(), false).map_err(error(&path, "written"))
    }

    /// The files that are here, each with its version.
    pub(super) fn versions(&self) -> (Vec<String>, Vec<i64>) {
        let here = |(name, _): &(&String, &Mark)| self.folder.join(name).exists();
        let known = self.known.files.iter().filter(here);
        known
            .map(|(name, mark)| (name.clone(), mark.version))
            .unzip()
    }

    /// Takes over files of the store.
    pub(super) fn take_files(&mut self, files: Vec<StoredFile>) -> Result<(), FileError> {
        for file in files {
            // Whoever may write to the database has no say in what else is on this machine.
            if !is_shared(&file.name) {
                tracing::warn!("{:?} in the database is no file of a run", file.name);
                continue;
            }
            let path = self.folder.join(&file.name);
            put(&self.folder, &file.name, &file.content, file.executable)
                .map_err(error(&path, "written"))?;
            let found = fs::metadata(&path).map_err(error(&path, "read"))?;
            let mark = Mark::of(&found, file.version);
            self.known.files.insert(file.name, mark);
        }
        Ok(())
    }

    /// Up to where events are known to be in the store.
    pub(super) fn known_events(&mut self) -> u64 {
        let here = fs::metadata(self.folder.join(EVENTS)).map_or(0, |file| file.len());
        if here < self.known.events {
            self.known.events = 0;
        }
        self.known.events
    }

    /// Whether events of the store continue those of the copy. Where they don't, the store was set back, and they are all taken
    /// again.
    pub(super) fn continues(&mut self, events: &[StoredEvents]) -> bool {
        let at = events.first().map_or(0, |first| match first.content {
            Some(_) => first.start,
            None => first.end,
        });
        if at != self.known.events {
            self.known.events = 0;
            return false;
        }
        true
    }

    /// Takes over events of the store that continue those of the copy. What the copy has beside them was written before somebody
    /// else had the run, and never got there.
    pub(super) fn take_events(&mut self, events: Vec<StoredEvents>) -> Result<(), FileError> {
        let Some(end) = events.last().map(|last| last.end) else {
            return Ok(());
        };
        let content: Vec<Vec<u8>> = events.into_iter().filter_map(|e| e.content).collect();
        if content.is_empty() {
            return Ok(());
        }
        let path = self.folder.join(EVENTS);
        write_at(&path, self.known.events, &content.concat()).map_err(error(&path, "written"))?;
        self.known.events = end;
        Ok(())
    }

    /// The events that the store lacks: where they begin, and whole lines of them, but no more than so many bytes.
    pub(super) fn new_events(&self, most: u64) -> Option<(u64, Vec<u8>)> {
        let mut file = File::open(self.folder.join(EVENTS)).ok()?;
        file.seek(SeekFrom::Start(self.known.events)).ok()?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes).ok()?;
        let end = memchr::memrchr(b'\n', &bytes)? + 1;
        bytes.truncate(end);
        Some((self.known.events, bytes))
    }

    /// Events are in the store up to here.
    pub(super) fn sent_events(&mut self, end: u64) {
        self.known.events = end;
    }

    /// The files that the store lacks; those of a rollout's clusters get there one by one.
    pub(super) fn changed(&self, clusters: bool) -> Result<Vec<Changed>, FileError> {
        let mut names = files(&self.folder).map_err(error(&self.folder, "read"))?;
        names.retain(|name| is_shared(name) && (clusters || !name.starts_with(CLUSTERS)));
        Ok(names
            .iter()
            .filter_map(|name| self.changed_file(name))
            .collect())
    }

    /// One file, if the store lacks it as it is.
    pub(super) fn changed_file(&self, name: &str) -> Option<Changed> {
        let path = self.folder.join(name);
        loop {
            let found = fs::metadata(&path).ok()?;
            if self
                .known
                .files
                .get(name)
                .is_some_and(|mark| mark.is_of(&found))
            {
                return None;
            }
            let content = fs::read(&path).ok()?;
            // It may have been rewritten meanwhile, and twice: then what was read is of both.
            let now = fs::metadata(&path).ok()?;
            if Mark::of(&found, 0).is_of(&now) && found.ino() == now.ino() {
                return Some(Changed {
                    name: name.to_owned(),
                    executable: found.mode() & 0o100 != 0,
                    content,
                    found,
                });
            }
        }
    }

    /// A file is in the store in this version.
    pub(super) fn sent(&mut self, file: Changed, version: i64) {
        let mark = Mark::of(&file.found, version);
        self.known.files.insert(file.name, mark);
    }
}

/// Puts a file of a run's folder in place, whole or not at all.
fn put(folder: &Path, name: &str, content: &[u8], executable: bool) -> io::Result<()> {
    let path = folder.join(name);
    private::make_folder(private::folder_of(&path))?;
    let fresh = folder.join("copy.new");
    let mut options = private::file();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .open(&fresh)?;
    file.write_all(content)?;
    if executable {
        file.set_permissions(Permissions::from_mode(0o700))?;
    }
    fs::rename(&fresh, &path)
}
