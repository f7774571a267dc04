//! A run's folder as the copy of what the store has.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::rows::StoredFile;
use crate::private::{self, FileError};
use crate::runs::names::{EVENTS, JOURNAL, LOCK};

/// What the copy has of the store, by its own account. Where it says less than is true, that much is fetched again.
pub(crate) const KNOWN: &str = "copy.json";

/// Where a rollout keeps what it knows of its clusters.
const CLUSTERS: &str = "clusters";

/// A run's folder.
pub(super) struct Copy {
    pub(super) folder: PathBuf,
    known: Known,
}

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
    let mut options = private::file();
    let opened = options.write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(error(&path, "made"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(fs::TryLockError::WouldBlock) => Ok(None),
        Err(fs::TryLockError::Error(source)) => Err(FileError::of(&path, "locked", source)),
    }
}

/// How many bytes of journal a copy has.
pub(super) fn bytes(folder: &Path) -> u64 {
    fs::metadata(folder.join(JOURNAL)).map_or(0, |file| file.len())
}

/// How many whole lines of journal a copy has, and their bytes.
pub(super) fn lines(folder: &Path) -> Result<(usize, u64), FileError> {
    let path = folder.join(JOURNAL);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((0, 0)),
        text => text.map_err(error(&path, "read"))?,
    };
    let end = memchr::memrchr(b'\n', &text).map_or(0, |end| end + 1);
    Ok((memchr::memchr_iter(b'\n', &text).count(), end as u64))
}

/// Adds lines to the journal of a copy, of which so many bytes are whole.
pub(super) fn add_lines(folder: &Path, whole: u64, lines: &[String]) -> Result<(), FileError> {
    let path = folder.join(JOURNAL);
    let mut text = lines.join("\n");
    if !lines.is_empty() {
        text.push('\n');
    }
    write_at(&path, whole, text.as_bytes()).map_err(error(&path, "written"))
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

    /// Takes over events of the store that come after those that are known to be in it. What the copy has beside them was
    /// written before somebody else had the run, and never got there.
    pub(super) fn take_events(&mut self, events: &[Vec<u8>]) -> Result<(), FileError> {
        if events.is_empty() {
            return Ok(());
        }
        let path = self.folder.join(EVENTS);
        let events = events.concat();
        write_at(&path, self.known.events, &events).map_err(error(&path, "written"))?;
        self.known.events += events.len() as u64;
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

    /// So many bytes of events more are in the store.
    pub(super) fn sent_events(&mut self, bytes: usize) {
        self.known.events += bytes as u64;
    }

    /// The files that the store lacks; those of a rollout's clusters get there one by one.
    pub(super) fn changed(&self, clusters: bool) -> Vec<Changed> {
        let mut changed = Vec::new();
        self.walk(&self.folder, "", clusters, &mut changed);
        changed
    }

    /// One file, if the store lacks it as it is.
    pub(super) fn changed_file(&self, name: &str) -> Option<Changed> {
        let path = self.folder.join(name);
        let found = fs::metadata(&path).ok()?;
        if self
            .known
            .files
            .get(name)
            .is_some_and(|mark| mark.is_of(&found))
        {
            return None;
        }
        Some(Changed {
            name: name.to_owned(),
            executable: found.mode() & 0o100 != 0,
            content: fs::read(&path).ok()?,
            found,
        })
    }

    fn walk(&self, folder: &Path, prefix: &str, clusters: bool, changed: &mut Vec<Changed>) {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let own = [JOURNAL, EVENTS, LOCK, KNOWN].contains(&name.as_str());
            let passing = own || name.ends_with(".new") || name == CLUSTERS && !clusters;
            if prefix.is_empty() && passing {
                continue;
            }
            let (path, name) = (entry.path(), format!("{prefix}{name}"));
            if path.is_dir() {
                self.walk(&path, &format!("{name}/"), clusters, changed);
            } else {
                changed.extend(self.changed_file(&name));
            }
        }
    }

    /// A file is in the store in this version.
    pub(super) fn sent(&mut self, file: Changed, version: i64) {
        let mark = Mark::of(&file.found, version);
        self.known.files.insert(file.name, mark);
    }
}

/// Whether a name stays within the folder that it is looked for in.
pub(crate) fn is_within(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    !name.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// Puts a file of a run's folder in place, whole or not at all.
fn put(folder: &Path, name: &str, content: &[u8], executable: bool) -> io::Result<()> {
    if !is_within(name) {
        return Err(io::Error::other("it is no file of a run"));
    }
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
