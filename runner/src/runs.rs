//! Runs on disk: a folder for each, with a small readable name, and a lock.
//!
//! ```text
//! STATE/runs/update-14/journal.jsonl    what correctness rests on
//!                      events.jsonl     what whoever watches gets to see
//!                      bundle/          every Lua module that was loaded, by digest
//!                      modules/         the site's module programs, where it has any
//!                      out/             outputs too long for an event, by digest
//!                      twin.json        the simulated cluster, where there is no real one
//!                      lock             held by the process that runs it
//! ```
//!
//! Where several machines have the runs in common, a [`Store`] decides, and these folders are this machine's copies of what it
//! has: before anything is read of a run, its copy is brought up to date.

pub(crate) mod archive;
mod attached;
mod error;
mod folder;
pub(crate) mod names;
pub(crate) mod standing;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use crate::bundle::Captured;
use crate::journal::{FileJournal, Head, History, JournalError, Record};
use crate::private::{self, FileError};
use crate::store::{Claim, Had, Index, Store, StoreError};
use folder::{captured, judged, lock};

pub use error::RunsError;
pub(crate) use folder::{RunFolder, begun};
pub(crate) use names::{EVENTS, JOURNAL, host};
use names::{LOCK, is_name};

/// The folder with all runs.
#[derive(Clone, Debug)]
pub struct Runs {
    folder: PathBuf,
    /// What the folder is a copy of, if it is one.
    store: Option<Store>,
}

impl Runs {
    /// The runs in a state folder, which need not exist yet.
    #[must_use]
    pub fn in_state(state: &Path) -> Self {
        Self {
            folder: state.join("runs"),
            store: None,
        }
    }

    /// The runs of a store, with the copies of this machine in `state`.
    ///
    /// # Errors
    /// Where the store can't be used.
    pub fn in_store(store: Store, state: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            folder: state.join("stores").join(store.id()?).join("runs"),
            store: Some(store),
        })
    }

    /// What `--state` names for whoever else is to have these runs.
    pub(crate) fn word(&self) -> String {
        match &self.store {
            Some(store) => store.url().to_owned(),
            None => {
                let state = self.folder.parent().unwrap_or(&self.folder);
                let absolute = std::path::absolute(state);
                absolute.as_deref().unwrap_or(state).display().to_string()
            }
        }
    }

    /// The store that the runs are in, if they are in one.
    pub(crate) fn store(&self) -> Option<&Store> {
        self.store.as_ref()
    }

    fn index(&self) -> Result<Option<Arc<Index>>, RunsError> {
        let index = self.store.as_ref().map(Store::index).transpose();
        Ok(index?)
    }

    /// Brings the journals of many runs up to date at once, which one by one would take longer. Why one can't be is told where it
    /// is read.
    pub(crate) fn bring(&self, ids: Vec<String>) -> Result<(), RunsError> {
        match &self.store {
            Some(store) => Ok(store.bring_journals(&self.folder, ids)?),
            None => Ok(()),
        }
    }

    /// Whether there is a run of this name.
    pub(crate) fn exists(&self, id: &str) -> Result<bool, RunsError> {
        Ok(match self.index()? {
            Some(index) => index.contains_key(id),
            None => is_name(id) && self.folder.join(id).exists(),
        })
    }

    /// Keeps everybody else from starting a rollout until what is returned is dropped.
    pub(crate) fn one_at_a_time(&self) -> Result<Starting, RunsError> {
        let starting = match &self.store {
            Some(store) => awaited(|| store.claim())?.map(Starting::Everywhere),
            None => {
                let state = self.folder.parent().unwrap_or(&self.folder);
                let path = state.join("rollouts.lock");
                let locked = private::make_folder(state)
                    .and_then(|()| awaited(|| private::lock(&path)))
                    .map_err(|source| FileError::of(&path, "locked", source))?;
                locked.map(Starting::Here)
            }
        };
        starting.ok_or(RunsError::Starting)
    }

    /// Whether a process is just starting a run: it has a folder, and has recorded nothing.
    pub(crate) fn is_starting(&self, id: &str) -> bool {
        self.is_running(id) && self.is_blank(id)
    }

    /// Whether nothing was recorded in a run's folder.
    pub(crate) fn is_blank(&self, id: &str) -> bool {
        let empty = |error: RunsError| {
            matches!(
                error,
                RunsError::Journal {
                    source: JournalError::Empty,
                    ..
                }
            )
        };
        self.history(id).is_err_and(empty)
    }

    /// Where a run's folder is, or would be.
    pub(crate) fn place_of(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    /// Makes the folder of a run whose name is known from the start, and locks it. What an earlier process made of it that recorded
    /// nothing, since it was killed or the disk was full, is removed. `labels` are those of its cluster.
    pub(crate) fn create_named(
        &self,
        id: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<RunFolder, RunsError> {
        let path = self.folder.join(id);
        if self.store.is_none() && path.exists() {
            let folder = lock(id, path.clone())?;
            if self.is_blank(id) {
                fs::remove_dir_all(&folder.path)
                    .map_err(|source| FileError::of(&path, "removed", source))?;
            }
        }
        let begun = self.begin(id, labels)?;
        begun.ok_or_else(|| RunsError::Exists(id.to_owned()))
    }

    /// Begins a run of this name: makes its folder, and locks it. None where there is one of that name.
    fn begin(
        &self,
        id: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Option<RunFolder>, RunsError> {
        let path = self.folder.join(id);
        if let Some(store) = &self.store {
            let had = store.begin(id, labels, &path)?;
            return had.map(|had| self.emptied(id, had)).transpose();
        }
        private::make_folder(&self.folder)
            .map_err(|source| FileError::of(&self.folder, "made", source))?;
        match private::make_new_folder(&path) {
            Ok(()) => lock(id, path).map(Some),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
            Err(source) => Err(FileError::of(&path, "made", source).into()),
        }
    }

    /// The folder of a run that has just begun in the database, without what was in it before.
    fn emptied(&self, id: &str, had: Had) -> Result<RunFolder, RunsError> {
        let path = self.folder.join(id);
        if path.exists() {
            drop(self.copied(id)?);
            fs::remove_dir_all(&path).map_err(|source| FileError::of(&path, "removed", source))?;
        }
        let mut folder = self.copied(id)?;
        folder.had = Some(Rc::new(had));
        Ok(folder)
    }

    /// The copy of a run, locked: whoever reads it has it for a moment only.
    fn copied(&self, id: &str) -> Result<RunFolder, RunsError> {
        let path = self.folder.join(id);
        private::make_folder(&path).map_err(|source| FileError::of(&path, "made", source))?;
        let locked = awaited(|| match lock(id, path.clone()) {
            Err(RunsError::Locked { .. }) => Ok(None),
            locked => locked.map(Some),
        })?;
        locked.ok_or_else(|| RunsError::locked(id, ""))
    }

    /// The last attempt at a run that has several, `RUN`, `RUN+2`, `RUN+3`.
    pub(crate) fn last_attempt(&self, id: &str) -> String {
        let mut last = id.to_owned();
        for attempt in 2.. {
            let next = format!("{id}+{attempt}");
            // One that isn't known to be there is none.
            if !self.exists(&next).unwrap_or(false) {
                break;
            }
            last = next;
        }
        last
    }

    /// Makes the folder of a new run of a playbook, and locks it.
    pub(crate) fn create(&self, playbook: &str) -> Result<RunFolder, RunsError> {
        let mut number = self.last_number(playbook)? + 1;
        loop {
            let id = format!("{playbook}-{number}");
            // Others may have begun it just now, or have runs that this role doesn't see.
            if let Some(folder) = self.begin(&id, &BTreeMap::new())? {
                return Ok(folder);
            }
            number += 1;
        }
    }

    fn last_number(&self, playbook: &str) -> Result<u32, RunsError> {
        let number = |id: &String| {
            id.strip_prefix(playbook)?
                .strip_prefix('-')?
                .parse::<u32>()
                .ok()
        };
        Ok(self.ids()?.iter().filter_map(number).max().unwrap_or(0))
    }

    /// The names of all runs, in the order of their names' numbers.
    pub(crate) fn ids(&self) -> Result<Vec<String>, RunsError> {
        let mut ids = match self.index()? {
            Some(index) => index.keys().cloned().collect(),
            None => self.folders()?,
        };
        ids.sort_by_key(|id| match id.rsplit_once('-') {
            Some((name, number)) => (name.to_owned(), number.parse::<u32>().unwrap_or(0)),
            None => (id.clone(), 0),
        });
        Ok(ids)
    }

    fn folders(&self) -> Result<Vec<String>, RunsError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(FileError::of(&self.folder, "read", source).into()),
        };
        let names = entries.flatten().map(|e| e.file_name());
        Ok(names
            .map(|name| name.to_string_lossy().into_owned())
            .collect())
    }

    /// The run that somebody means who names none: the one that is running, or else the one that was last written to.
    pub(crate) fn newest(&self) -> Result<Option<String>, RunsError> {
        let rank = |id: &String| (self.is_running(id), self.written(id));
        let named = |id: &String| !is_job(id);
        Ok(self.ids()?.into_iter().filter(named).max_by_key(rank))
    }

    /// The runs among which all of a cluster's are, the one that was last written to first.
    pub(crate) fn newest_of(&self, cluster: &str) -> Result<Vec<String>, RunsError> {
        if let Some(store) = &self.store {
            // The journals of all others would have to be fetched first.
            return Ok(store.newest_of(cluster)?);
        }
        let mut ids = self.ids()?;
        ids.sort_by_cached_key(|id| Reverse(self.written(id)));
        Ok(ids)
    }

    /// When a run's journal was last written to.
    fn written(&self, id: &str) -> Option<SystemTime> {
        if let Some(index) = self.index().ok()? {
            return index.get(id).map(|listed| listed.written);
        }
        let file = fs::metadata(self.folder.join(id).join(JOURNAL));
        file.and_then(|file| file.modified()).ok()
    }

    /// The folder of a run, with all that there is in it by now.
    pub(crate) fn folder_of(&self, id: &str) -> Result<PathBuf, RunsError> {
        let folder = self.known(id)?;
        if let Some(store) = &self.store {
            store.bring(&self.folder, id, false)?;
        }
        Ok(folder)
    }

    /// The same, with what a rollout has of its clusters.
    pub(crate) fn whole_folder_of(&self, id: &str) -> Result<PathBuf, RunsError> {
        let folder = self.known(id)?;
        if let Some(store) = &self.store {
            store.bring(&self.folder, id, true)?;
        }
        Ok(folder)
    }

    /// The folder of a run, as far as its journal.
    fn journal_of(&self, id: &str) -> Result<PathBuf, RunsError> {
        let folder = self.known(id)?;
        if let Some(store) = &self.store {
            store.bring_journal(&self.folder, id)?;
        }
        Ok(folder)
    }

    /// The folder of a run that there is.
    fn known(&self, id: &str) -> Result<PathBuf, RunsError> {
        if self.exists(id)? {
            return Ok(self.folder.join(id));
        }
        let ids = self.ids()?;
        let known: Vec<&str> = ids.iter().map(String::as_str).collect();
        let near = lockstep_modules::contract::near::hint(id, &known);
        let hint = if near.is_empty() {
            match &self.store {
                Some(store) => format!(" in {}", store.url()),
                None => format!(" in {}", self.folder.display()),
            }
        } else {
            near
        };
        Err(RunsError::NoSuchRun {
            id: id.to_owned(),
            hint,
        })
    }

    /// Takes up a run: locks its folder.
    pub(crate) fn take_up(&self, id: &str) -> Result<RunFolder, RunsError> {
        let path = self.known(id)?;
        let Some(store) = &self.store else {
            return lock(id, path);
        };
        let had = store.take_up(id, &path)?;
        let mut folder = self.copied(id)?;
        had.bring()?;
        folder.had = Some(Rc::new(had));
        Ok(folder)
    }

    /// Reads a run's journal without touching it.
    pub(crate) fn history(&self, id: &str) -> Result<History, RunsError> {
        let folder = self.journal_of(id)?;
        let of = |source| RunsError::Journal {
            id: id.to_owned(),
            source,
        };
        let read = || History::of(FileJournal::read(&folder.join(JOURNAL))?.records);
        begun(&folder)
            .and_then(|()| read())
            .map_err(|error| of(judged(&folder, error)))
    }

    /// The records of a run's journal, each with its time.
    pub(crate) fn records(&self, id: &str) -> Result<Vec<(Timestamp, Record)>, RunsError> {
        let read = FileJournal::read(&self.journal_of(id)?.join(JOURNAL));
        read.map(|read| read.records)
            .map_err(|source| RunsError::Journal {
                id: id.to_owned(),
                source,
            })
    }

    /// The Lua modules that a run captured.
    pub(crate) fn captured(&self, head: &Head) -> Result<Captured, RunsError> {
        captured(&self.folder_of(&head.id)?, head)
    }

    /// The process that has the run now, if one has, and the machine that it is on.
    pub(crate) fn process_of(&self, id: &str) -> Option<(i32, String)> {
        let signed = match self.index().ok()? {
            Some(index) => index.get(id)?.holder.clone(),
            None => fs::read_to_string(self.folder.join(id).join(LOCK)).ok()?,
        };
        let (process, host) = signed.split_once(' ')?;
        let process = process.parse().ok().filter(|_| self.is_running(id))?;
        Some((process, host.to_owned()))
    }

    /// Whether a process has the run now, as far as that is known.
    pub(crate) fn is_running(&self, id: &str) -> bool {
        match self.index() {
            Ok(None) => {}
            Ok(Some(index)) => return index.get(id).is_some_and(|listed| listed.running),
            Err(_) => return false,
        }
        let Ok(lock) = File::open(self.folder.join(id).join(LOCK)) else {
            return false;
        };
        matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
    }

    /// When something was last written of a run, as far as it is known.
    pub(crate) fn last_written(&self, id: &str) -> Option<SystemTime> {
        if let Ok(Some(index)) = self.index() {
            return Some(index.get(id)?.written);
        }
        let folder = self.folder.join(id);
        let written =
            [JOURNAL, EVENTS].map(|name| fs::metadata(folder.join(name)).ok()?.modified().ok());
        written.into_iter().flatten().max()
    }
}

impl RunFolder {
    /// The runs that it is one of.
    pub(crate) fn runs(&self) -> Runs {
        Runs {
            folder: self.path.parent().unwrap_or(&self.path).to_owned(),
            store: self.had.as_ref().map(|had| had.store().clone()),
        }
    }
}

/// Nobody else starts a rollout as long as this lives.
pub(crate) enum Starting {
    /// Nobody on this machine.
    Here(#[expect(dead_code, reason = "closing it releases the lock")] File),
    /// Nobody who has the same store.
    Everywhere(#[expect(dead_code, reason = "dropping it releases the lock")] Claim),
}

/// For how long something is waited for that others have for a moment.
const MOMENT: Duration = Duration::from_secs(10);

/// Tries until something is there, or a moment is over.
fn awaited<T, E>(mut attempt: impl FnMut() -> Result<Option<T>, E>) -> Result<Option<T>, E> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut left = MOMENT;
    loop {
        if let Some(there) = attempt()? {
            return Ok(Some(there));
        }
        if left.is_zero() {
            return Ok(None);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "others work on real files, in real time"
        )]
        std::thread::sleep(PAUSE);
        left = left.saturating_sub(PAUSE);
    }
}

/// Whether a run is a cluster's in a rollout: `ROLLOUT.CLUSTER`. No playbook's name has a dot.
pub(crate) fn is_job(id: &str) -> bool {
    id.contains('.')
}
