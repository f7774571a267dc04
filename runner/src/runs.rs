//! Runs on disk: a folder for each, with a small readable name, and a lock.
//!
//! ```text
//! STATE/runs/update-14/journal.jsonl    what correctness rests on
//!                      events.jsonl     what whoever watches gets to see
//!                      bundle/          every Lua module that was loaded
//!                      modules/         the site's module programs, where it has any
//!                      out/             outputs too long for an event, by digest
//!                      twin.json        the simulated cluster, where there is no real one
//!                      lock             held by the process that runs it
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::bundle::{Captured, digest};
use crate::journal::{FileJournal, Head, History, JournalError};
use crate::private;
use crate::script::Source;

/// The folder with all runs.
#[derive(Clone, Debug)]
pub struct Runs {
    folder: PathBuf,
}

/// Why a run can't be begun, found or taken up.
#[derive(Debug, thiserror::Error)]
pub enum RunsError {
    /// Something about the folder doesn't work.
    #[error("{path} can't be {verb}: {source}")]
    Io {
        /// What it is about.
        path: PathBuf,
        /// What was tried, as a participle.
        verb: &'static str,
        /// Why it didn't work.
        source: io::Error,
    },
    /// No such run.
    #[error("there is no run {id:?}{hint}")]
    NoSuchRun {
        /// What was asked for.
        id: String,
        /// A near match, or where to look.
        hint: String,
    },
    /// A process has it.
    #[error("the run {id} is being run by another process")]
    Locked {
        /// The run.
        id: String,
    },
    /// The captured playbook isn't what was captured.
    #[error("the captured module {name} of {id} was changed or is missing: {why}")]
    Bundle {
        /// The run.
        id: String,
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
pub struct RunFolder {
    /// The run's name.
    pub id: String,
    /// The folder.
    pub path: PathBuf,
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

    /// Makes the folder of a new run of a playbook, and locks it.
    ///
    /// # Errors
    /// Where the state folder can't be written.
    pub fn create(&self, playbook: &str) -> Result<RunFolder, RunsError> {
        private::make_folder(&self.folder).map_err(|source| fail(&self.folder, "made", source))?;
        let mut number = self.last_number(playbook)? + 1;
        loop {
            let id = format!("{playbook}-{number}");
            let path = self.folder.join(&id);
            match private::folder().create(&path) {
                Ok(()) => return lock(&id, path),
                // Someone else has just begun one too.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(source) => return Err(fail(&path, "made", source)),
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
    ///
    /// # Errors
    /// Where the folder is there and can't be read.
    pub fn ids(&self) -> Result<Vec<String>, RunsError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(fail(&self.folder, "read", source)),
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
    ///
    /// # Errors
    /// Where the folder is there and can't be read.
    pub fn newest(&self) -> Result<Option<String>, RunsError> {
        let written = |id: &String| {
            let file = fs::metadata(self.folder.join(id).join(JOURNAL));
            file.and_then(|file| file.modified()).ok()
        };
        let rank = |id: &String| (self.is_running(id), written(id));
        Ok(self.ids()?.into_iter().max_by_key(rank))
    }

    /// The folder of a run.
    ///
    /// # Errors
    /// With a near match, if there is none.
    pub fn folder_of(&self, id: &str) -> Result<PathBuf, RunsError> {
        let ids = self.ids()?;
        if ids.iter().any(|known| known == id) {
            return Ok(self.folder.join(id));
        }
        let known: Vec<&str> = ids.iter().map(String::as_str).collect();
        let near = lockstep_modules::schema::hint(id, &known);
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
    ///
    /// # Errors
    /// Where there is none, or another process has it.
    pub fn take_up(&self, id: &str) -> Result<RunFolder, RunsError> {
        lock(id, self.folder_of(id)?)
    }

    /// Reads a run's journal without touching it.
    ///
    /// # Errors
    /// Where there is none, or it is damaged.
    pub fn history(&self, id: &str) -> Result<History, RunsError> {
        let path = self.folder_of(id)?.join(JOURNAL);
        let of = |source| RunsError::Journal {
            id: id.to_owned(),
            source,
        };
        History::of(FileJournal::read(&path).map_err(of)?.records).map_err(of)
    }

    /// Whether a process has the run now.
    #[must_use]
    pub fn is_running(&self, id: &str) -> bool {
        let Ok(lock) = File::open(self.folder.join(id).join(LOCK)) else {
            return false;
        };
        matches!(lock.try_lock(), Err(TryLockError::WouldBlock))
    }
}

pub(crate) const JOURNAL: &str = "journal.jsonl";
pub(crate) const EVENTS: &str = "events.jsonl";
const LOCK: &str = "lock";
const BUNDLE: &str = "bundle";

fn lock(id: &str, path: PathBuf) -> Result<RunFolder, RunsError> {
    let lock_path = path.join(LOCK);
    let file = private::write(&lock_path, "").map_err(|source| fail(&lock_path, "made", source))?;
    match file.try_lock() {
        Ok(()) => Ok(RunFolder {
            id: id.to_owned(),
            path,
            _lock: file,
        }),
        Err(TryLockError::WouldBlock) => Err(RunsError::Locked { id: id.to_owned() }),
        Err(TryLockError::Error(source)) => Err(fail(&lock_path, "locked", source)),
    }
}

impl RunFolder {
    /// The path of a file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// A new journal.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn create_journal(&self) -> Result<FileJournal, RunsError> {
        FileJournal::create(&self.file(JOURNAL)).map_err(|source| self.journal(source))
    }

    /// The journal to go on with, and what it says.
    ///
    /// # Errors
    /// Where it is damaged or can't be written.
    pub fn open_journal(&self) -> Result<(FileJournal, History), RunsError> {
        let (journal, records) =
            FileJournal::open(&self.file(JOURNAL)).map_err(|source| self.journal(source))?;
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
    ///
    /// # Errors
    /// Where they can't be written.
    pub fn capture(
        &self,
        modules: &BTreeMap<String, Source>,
    ) -> Result<BTreeMap<String, (String, String)>, RunsError> {
        let folder = self.file(BUNDLE);
        private::make_folder(&folder).map_err(|source| fail(&folder, "made", source))?;
        for (name, source) in modules {
            let path = folder.join(file_name(name));
            let written = private::write(&path, &source.text).and_then(|file| file.sync_all());
            written.map_err(|source| fail(&path, "written", source))?;
        }
        File::open(&folder)
            .and_then(|f| f.sync_all())
            .map_err(|source| fail(&folder, "written", source))?;
        Ok(modules
            .iter()
            .map(|(name, s)| (name.clone(), (s.chunk.clone(), digest(&s.text))))
            .collect())
    }

    /// The Lua modules that the run captured.
    ///
    /// # Errors
    /// Where one is missing or isn't what was captured.
    pub fn captured(&self, head: &Head) -> Result<Captured, RunsError> {
        let mut modules = BTreeMap::new();
        for (name, (chunk, sum)) in &head.bundle {
            let complain = |why: String| RunsError::Bundle {
                id: self.id.clone(),
                name: name.clone(),
                why,
            };
            let path = self.file(BUNDLE).join(file_name(name));
            let text = fs::read_to_string(&path).map_err(|e| complain(e.to_string()))?;
            if digest(&text) != *sum {
                return Err(complain(format!("{} has another content", path.display())));
            }
            modules.insert(
                name.clone(),
                Source {
                    chunk: chunk.clone(),
                    text,
                },
            );
        }
        Ok(Captured(modules))
    }
}

/// A module's name as the name of a file.
fn file_name(module: &str) -> String {
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

fn fail(path: &Path, verb: &'static str, source: io::Error) -> RunsError {
    RunsError::Io {
        path: path.to_owned(),
        verb,
        source,
    }
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

    #[test]
    fn a_captured_playbook_that_was_edited_is_refused() {
        let state = tempfile::tempdir().unwrap();
        let run = Runs::in_state(state.path()).create("update").unwrap();
        let source = Source {
            chunk: "site/update.lua".to_owned(),
            text: "return 1".to_owned(),
        };
        run.capture(&BTreeMap::from([("site/update.lua".to_owned(), source)]))
            .unwrap();
        assert_eq!(
            fs::read_to_string(run.file("bundle/site_update.lua")).unwrap(),
            "return 1"
        );
    }
}
