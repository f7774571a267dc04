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

pub(crate) mod standing;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::Timestamp;

use crate::bundle::{Captured, digest, shipped_with};
use crate::journal::{FileJournal, Head, History, JournalError, Record};
use crate::private::{self, FileError};
use crate::source::Source;

/// The folder with all runs.
#[derive(Clone, Debug)]
pub struct Runs {
    folder: PathBuf,
}

/// Why a run can't be begun, found or taken up.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// Something about the folder doesn't work.
    #[error(transparent)]
    Io(#[from] FileError),
    /// No such run.
    #[error("there is no run {id:?}{hint}")]
    NoSuchRun {
        /// What was asked for.
        id: String,
        /// A near match, or where to look.
        hint: String,
    },
    /// A process has it.
    #[error("the run {id} is in use by another process")]
    Locked {
        /// The run.
        id: String,
    },
    /// The captured playbook isn't what was captured.
    #[error("the captured module {name} of {id} was changed or is missing: {why}")]
    Bundle {
        /// The run.
        id: String,
        /// The playbook that it runs.
        playbook: String,
        /// The module.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The journal can't be used.
    #[error("{id}: {source}")]
    Journal {
        /// The run.
        id: String,
        /// Why.
        source: JournalError,
    },
}

/// A run's folder, with its lock held.
#[derive(Debug)]
pub(crate) struct RunFolder {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
    /// Closing it releases the lock, however the process ends.
    _lock: File,
}

impl Runs {
    /// The runs in a state folder, which need not exist yet.
    #[must_use]
    pub fn in_state(state: &Path) -> Self {
        Self {
            folder: state.join("runs"),
        }
    }

    /// The state folder.
    pub(crate) fn state(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// Keeps everybody else from starting a rollout until what is returned is dropped.
    pub(crate) fn one_at_a_time(&self) -> Result<File, RunsError> {
        private::make_folder(self.state())
            .map_err(|source| FileError::of(self.state(), "made", source))?;
        let path = self.state().join("rollouts.lock");
        let file = private::write(&path, "").and_then(|file| file.lock().map(|()| file));
        file.map_err(|source| FileError::of(&path, "locked", source).into())
    }

    /// Whether a process is just starting a run: it has a folder, and has recorded nothing.
    pub(crate) fn is_starting(&self, id: &str) -> bool {
        let empty = |error: &RunsError| {
            matches!(
                error,
                RunsError::Journal {
                    source: JournalError::Empty,
                    ..
                }
            )
        };
        self.is_running(id) && self.history(id).is_err_and(|error| empty(&error))
    }

    /// Where a run's folder is, or would be.
    pub(crate) fn place_of(&self, id: &str) -> PathBuf {
        self.folder.join(id)
    }

    /// Makes the folder of a run whose name is known from the start, and locks it. What an earlier process made of it before it
    /// had begun is removed.
    pub(crate) fn create_named(&self, id: &str) -> Result<RunFolder, RunsError> {
        private::make_folder(&self.folder)
            .map_err(|source| FileError::of(&self.folder, "made", source))?;
        let path = self.folder.join(id);
        if path.exists() && begun(&path).is_err() {
            let folder = lock(id, path.clone())?;
            fs::remove_dir_all(&folder.path)
                .map_err(|source| FileError::of(&path, "removed", source))?;
        }
        match private::make_new_folder(&path) {
            Ok(()) => lock(id, path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(RunsError::Locked { id: id.to_owned() })
            }
            Err(source) => Err(FileError::of(&path, "made", source).into()),
        }
    }

    /// The last attempt at a run that has several, `RUN`, `RUN+2`, `RUN+3`.
    pub(crate) fn last_attempt(&self, id: &str) -> String {
        let mut last = id.to_owned();
        for attempt in 2.. {
            let next = format!("{id}+{attempt}");
            if !self.place_of(&next).exists() {
                break;
            }
            last = next;
        }
        last
    }

    /// Makes the folder of a new run of a playbook, and locks it.
    pub(crate) fn create(&self, playbook: &str) -> Result<RunFolder, RunsError> {
        private::make_folder(&self.folder)
            .map_err(|source| FileError::of(&self.folder, "made", source))?;
        let mut number = self.last_number(playbook)? + 1;
        loop {
            let id = format!("{playbook}-{number}");
            let path = self.folder.join(&id);
            match private::make_new_folder(&path) {
                Ok(()) => return lock(&id, path),
                // Someone else has just begun one too.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(FileError::of(&path, "made", source).into()),
            }
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
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(FileError::of(&self.folder, "read", source).into()),
        };
        let mut ids: Vec<String> = entries
            .flatten()
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect();
        ids.sort_by_key(|id| match id.rsplit_once('-') {
            Some((name, number)) => (name.to_owned(), number.parse::<u32>().unwrap_or(0)),
            None => (id.clone(), 0),
        });
        Ok(ids)
    }

    /// The run that somebody means who names none: the one that is running, or else the one that was last written to.
    pub(crate) fn newest(&self) -> Result<Option<String>, RunsError> {
        let rank = |id: &String| (self.is_running(id), self.written(id));
        let named = |id: &String| !is_job(id);
        Ok(self.ids()?.into_iter().filter(named).max_by_key(rank))
    }

    /// The runs, the one that was last written to first.
    pub(crate) fn newest_first(&self) -> Result<Vec<String>, RunsError> {
        let mut ids = self.ids()?;
        ids.sort_by_cached_key(|id| Reverse(self.written(id)));
        Ok(ids)
    }

    /// When a run's journal was last written to.
    fn written(&self, id: &str) -> Option<SystemTime> {
        let file = fs::metadata(self.folder.join(id).join(JOURNAL));
        file.and_then(|file| file.modified()).ok()
    }

    pub(crate) fn folder_of(&self, id: &str) -> Result<PathBuf, RunsError> {
        let ids = self.ids()?;
        if ids.iter().any(|known| known == id) {
            return Ok(self.folder.join(id));
        }
        let known: Vec<&str> = ids.iter().map(String::as_str).collect();
        let near = lockstep_modules::contract::near::hint(id, &known);
        let hint = if near.is_empty() {
            format!(" in {}", self.folder.display())
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
        lock(id, self.folder_of(id)?)
    }

    /// Reads a run's journal without touching it.
    pub(crate) fn history(&self, id: &str) -> Result<History, RunsError> {
        let folder = self.folder_of(id)?;
        let of = |source| RunsError::Journal {
            id: id.to_owned(),
            source,
        };
        let read = || History::of(FileJournal::read(&folder.join(JOURNAL))?.records);
        begun(&folder).and_then(|()| read()).map_err(of)
    }

    /// The records of a run's journal, each with its time.
    pub(crate) fn records(&self, id: &str) -> Result<Vec<(Timestamp, Record)>, RunsError> {
        let read = FileJournal::read(&self.folder_of(id)?.join(JOURNAL));
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
        let signed = fs::read_to_string(self.folder.join(id).join(LOCK)).ok()?;
        let (process, host) = signed.split_once(' ')?;
        let process = process.parse().ok().filter(|_| self.is_running(id))?;
        Some((process, host.to_owned()))
    }

    /// Whether a process has the run now.
    pub(crate) fn is_running(&self, id: &str) -> bool {
        let Ok(lock) = File::open(self.folder.join(id).join(LOCK)) else {
            return false;
        };
        matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
    }
}

/// Whether a run is a cluster's in a rollout: `ROLLOUT.CLUSTER`. No playbook's name has a dot.
pub(crate) fn is_job(id: &str) -> bool {
    id.contains('.')
}

pub(crate) const JOURNAL: &str = "journal.jsonl";
pub(crate) const EVENTS: &str = "events.jsonl";
const LOCK: &str = "lock";
const BUNDLE: &str = "bundle";

/// Whether a run has begun. One that was killed while its folder was filled has neither a journal nor events; a journal that
/// is gone is another thing.
///
/// # Errors
/// [`JournalError::Empty`] where it hasn't.
pub(crate) fn begun(folder: &Path) -> Result<(), JournalError> {
    let there = |name| folder.join(name).exists();
    if there(JOURNAL) || there(EVENTS) {
        Ok(())
    } else {
        Err(JournalError::Empty)
    }
}

fn lock(id: &str, path: PathBuf) -> Result<RunFolder, RunsError> {
    let lock_path = path.join(LOCK);
    // What the process that has it wrote there stays.
    let mut options = private::file();
    let opened = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(&lock_path);
    let file = opened.map_err(|source| FileError::of(&lock_path, "made", source))?;
    match file.try_lock() {
        Ok(()) => Ok(RunFolder {
            id: id.to_owned(),
            path,
            _lock: signed(file),
        }),
        Err(TryLockError::WouldBlock) => Err(RunsError::Locked { id: id.to_owned() }),
        Err(TryLockError::Error(source)) => Err(FileError::of(&lock_path, "locked", source).into()),
    }
}

/// What this machine calls itself.
pub(crate) fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname");
    name.map_or_else(|_| "?".to_owned(), |name| name.trim().to_owned())
}

/// Writes this process into a lock that it has, for whoever wants to interrupt it. Nothing else depends on it.
fn signed(mut file: File) -> File {
    let me = format!("{} {}", std::process::id(), host());
    let _ = file.set_len(0).and_then(|()| file.write_all(me.as_bytes()));
    file
}

impl RunFolder {
    /// The runs that it is one of.
    pub(crate) fn runs(&self) -> Runs {
        Runs {
            folder: self.path.parent().unwrap_or(&self.path).to_owned(),
        }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(crate) fn create_journal(&self) -> Result<FileJournal, RunsError> {
        FileJournal::create(&self.file(JOURNAL)).map_err(|source| self.journal(source))
    }

    /// The journal to continue with, and what it says.
    pub(crate) fn open_journal(&self) -> Result<(FileJournal, History), RunsError> {
        let (journal, records) = begun(&self.path)
            .and_then(|()| FileJournal::open(&self.file(JOURNAL)))
            .map_err(|source| self.journal(source))?;
        Ok((
            journal,
            History::of(records).map_err(|source| self.journal(source))?,
        ))
    }

    fn journal(&self, source: JournalError) -> RunsError {
        RunsError::Journal {
            id: self.id.clone(),
            source,
        }
    }

    /// Writes down the Lua modules of the run, and returns what the journal's head says about them.
    pub(crate) fn capture(
        &self,
        modules: &BTreeMap<String, Source>,
    ) -> Result<BTreeMap<String, (String, String)>, RunsError> {
        let folder = self.file(BUNDLE);
        private::make_folder(&folder).map_err(|source| FileError::of(&folder, "made", source))?;
        for source in modules.values() {
            let path = folder.join(by_digest(&digest(&source.text)));
            let written = private::write(&path, &source.text).and_then(|file| file.sync_all());
            written.map_err(|source| FileError::of(&path, "written", source))?;
        }
        File::open(&folder)
            .and_then(|f| f.sync_all())
            .map_err(|source| FileError::of(&folder, "written", source))?;
        Ok(modules
            .iter()
            .map(|(name, s)| (name.clone(), (s.chunk.clone(), digest(&s.text))))
            .collect())
    }

    pub(crate) fn captured(&self, head: &Head) -> Result<Captured, RunsError> {
        captured(&self.path, head)
    }
}

/// What is wrong with one module is reported only where nothing else has its content: a file of a journal of before, in which
/// files had the modules' names, or a shipped playbook.
fn captured(folder: &Path, head: &Head) -> Result<Captured, RunsError> {
    let mut modules = BTreeMap::new();
    for (name, (chunk, sum)) in &head.bundle {
        let (file, before) = (by_digest(sum), by_name(name));
        let kept = [&file, &before].map(|file| fs::read_to_string(folder.join(BUNDLE).join(file)));
        let same = |text: &&String| digest(text) == *sum;
        let text = kept.iter().flatten().find(same).cloned();
        let Some(text) = text.or_else(|| shipped_with(sum).map(str::to_owned)) else {
            let why = match kept {
                [Err(error), Err(_)] => format!("{BUNDLE}/{file}: {error}"),
                [Ok(_), _] => format!("{BUNDLE}/{file} has another content"),
                [_, Ok(_)] => format!("{BUNDLE}/{before} has another content"),
            };
            return Err(RunsError::Bundle {
                id: head.id.clone(),
                playbook: head.playbook.clone(),
                name: name.clone(),
                why,
            });
        };
        let chunk = chunk.clone();
        modules.insert(name.clone(), Source { chunk, text });
    }
    Ok(Captured(modules))
}

/// The file of a captured module.
fn by_digest(sum: &str) -> String {
    format!("{sum}.lua")
}

/// The file that a captured module was in before files were named by digest. Two modules could have the same one.
fn by_name(module: &str) -> String {
    let plain: String = module
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    format!("{}.lua", plain.trim_end_matches(".lua"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_numbered_by_playbook() {
        let state = tempfile::tempdir().unwrap();
        let runs = Runs::in_state(state.path());
        let ids: Vec<String> = ["update", "update", "upgrade"]
            .map(|p| runs.create(p).unwrap().id)
            .to_vec();
        assert_eq!(ids, ["update-1", "update-2", "upgrade-1"]);
        for _ in 0..9 {
            runs.create("update").unwrap();
        }
        assert_eq!(runs.ids().unwrap().last().unwrap(), "upgrade-1");
        assert_eq!(runs.ids().unwrap()[10], "update-11");
    }

    #[test]
    fn a_run_is_taken_up_by_one_process() {
        let state = tempfile::tempdir().unwrap();
        let runs = Runs::in_state(state.path());
        let run = runs.create("update").unwrap();
        assert!(runs.is_running("update-1"));
        assert!(matches!(
            runs.take_up("update-1"),
            Err(RunsError::Locked { .. })
        ));
        drop(run);
        assert!(!runs.is_running("update-1"));
        runs.take_up("update-1").unwrap();
    }

    #[test]
    fn a_name_that_is_nearly_right_is_recognised() {
        let state = tempfile::tempdir().unwrap();
        let runs = Runs::in_state(state.path());
        runs.create("update").unwrap();
        let error = runs.take_up("updaet-1").unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no run \"updaet-1\" (did you mean \"update-1\"?)"
        );
    }

    fn head(bundle: BTreeMap<String, (String, String)>) -> Head {
        Head {
            format: crate::journal::FORMAT,
            id: "update-1".to_owned(),
            playbook: "site/update.lua".to_owned(),
            params: serde_json::json!({}),
            lockstep: "0.1.0".to_owned(),
            target: crate::journal::ClusterRef::Twin(":1".to_owned()),
            cluster: lockstep_modules::contract::cluster::Cluster {
                name: "lab".to_owned(),
                members: Vec::new(),
                machines: Vec::new(),
                ssh: lockstep_modules::contract::cluster::SshConfig::default(),
            },
            seed: 1,
            bundle,
            programs: None,
            who: "me@here".to_owned(),
        }
    }

    fn modules(texts: &[(&str, &str)]) -> BTreeMap<String, Source> {
        let source = |(name, text): &(&str, &str)| {
            let (chunk, text) = (format!("{name} of mine"), (*text).to_owned());
            ((*name).to_owned(), Source { chunk, text })
        };
        texts.iter().map(source).collect()
    }

    #[test]
    fn modules_with_nearly_the_same_names_are_captured_each() {
        let state = tempfile::tempdir().unwrap();
        let run = Runs::in_state(state.path()).create("update").unwrap();
        let modules = modules(&[
            ("site/main", "return 1"),
            ("site_main", "return 2"),
            ("site_main.lua", "return 3"),
        ]);
        let head = head(run.capture(&modules).unwrap());
        assert_eq!(run.captured(&head).unwrap().0, modules);
    }

    #[test]
    fn a_captured_playbook_that_was_edited_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let run = Runs::in_state(state.path()).create("update").unwrap();
        let modules = modules(&[("site/update.lua", "return 1")]);
        let head = head(run.capture(&modules).unwrap());
        let file = format!("bundle/{}.lua", digest("return 1"));
        fs::write(run.file(&file), "return 2").unwrap();
        let error = run.captured(&head).err().map(|error| error.to_string());
        let message = "the captured module site/update.lua of update-1 was changed or is missing";
        assert_eq!(
            error,
            Some(format!("{message}: {file} has another content"))
        );
        // The run of a lockstep that named its files otherwise.
        fs::write(run.file("bundle/site_update.lua"), "return 1").unwrap();
        assert_eq!(run.captured(&head).unwrap().0, modules);
    }

    #[test]
    fn what_is_shipped_is_there_whatever_became_of_its_copy() {
        let state = tempfile::tempdir().unwrap();
        let run = Runs::in_state(state.path()).create("update").unwrap();
        let flow = crate::bundle::shipped("flow.lua").unwrap();
        let hazards = crate::bundle::shipped("data/hazards.toml").unwrap();
        let modules = modules(&[("flow", flow), ("playbooks.data.hazards", hazards)]);
        let head = head(run.capture(&modules).unwrap());
        fs::remove_dir_all(run.file(BUNDLE)).unwrap();
        assert_eq!(run.captured(&head).unwrap().0, modules);
    }
}
