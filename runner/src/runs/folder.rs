//! The folder of a run that this process has.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::error::RunsError;
use super::names::{BUNDLE, EVENTS, JOURNAL, LOCK, holder};
use crate::bundle::{Captured, digest, shipped_with};
use crate::journal::{FileJournal, Head, History, Journal, JournalError, SharedJournal};
use crate::private::{self, FileError, Over, PRIVATE};
use crate::source::Source;
use crate::store::Had;

/// A run's folder, with its lock held.
#[derive(Debug)]
pub(crate) struct RunFolder {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
    /// The run in the store, where there is one. It gets what is left before the lock is released.
    pub(super) had: Option<Rc<Had>>,
    /// Whether what is in it has to outlive a loss of power. A simulated cluster doesn't, so nothing would go with what is left
    /// of its run.
    pub(crate) lasting: bool,
    /// Closing it releases the lock, however the process ends.
    _lock: File,
}

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

/// What is wrong with the journal in a folder, by the events beside it: they come after its records.
pub(super) fn judged(folder: &Path, error: JournalError) -> JournalError {
    let events = fs::metadata(folder.join(EVENTS));
    error.beside(events.is_ok_and(|events| events.len() > 0))
}

/// Takes up a run of which this is the folder, or the copy of one.
pub(super) fn lock(id: &str, path: PathBuf) -> Result<RunFolder, RunsError> {
    let lock_path = path.join(LOCK);
    let locked = private::lock(&lock_path);
    match locked.map_err(|source| FileError::of(&lock_path, "locked", source))? {
        Some(file) => Ok(RunFolder {
            id: id.to_owned(),
            path,
            had: None,
            lasting: true,
            _lock: signed(file),
        }),
        // Who has it wrote there who that is.
        None => Err(RunsError::locked(
            id,
            &fs::read_to_string(&lock_path).unwrap_or_default(),
        )),
    }
}

/// Writes this process into a lock that it has, for whoever wants to interrupt it. Nothing else depends on it.
fn signed(mut file: File) -> File {
    let _ = file
        .set_len(0)
        .and_then(|()| file.write_all(holder().as_bytes()));
    file
}

impl RunFolder {
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Returns once this file or folder of the run is on disk, where it is to last.
    pub(crate) fn sync(&self, path: &Path) -> Result<(), FileError> {
        if !self.lasting {
            return Ok(());
        }
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(|source| FileError::of(path, "written", source))
    }

    /// The journal of a run that begins. All else that a resume needs is in the folder.
    pub(crate) fn create_journal(&self) -> Result<Box<dyn Journal>, RunsError> {
        if let Some(had) = &self.had {
            had.publish(false)?;
        }
        let journal = FileJournal::create(&self.file(JOURNAL));
        let journal = journal.map_err(|source| self.journal(source))?;
        // The name has to last as well as the lines.
        self.sync(&self.path)?;
        Ok(self.shared(journal.synced(self.lasting)))
    }

    /// The journal to continue with, and what it says.
    pub(crate) fn open_journal(&self) -> Result<(Box<dyn Journal>, History), RunsError> {
        let opened = begun(&self.path).and_then(|()| {
            let (journal, records) = FileJournal::open(&self.file(JOURNAL))?;
            Ok((journal, History::of(records)?))
        });
        let (journal, history) = opened.map_err(|e| self.journal(judged(&self.path, e)))?;
        let journal = journal.synced(!history.head.target.is_simulated());
        Ok((self.shared(journal), history))
    }

    /// Takes over a journal and events, after all else that is in the run's folder. Whoever is interrupted at it has begun
    /// nothing: without a journal a run hasn't.
    pub(crate) fn record(&self, journal: &[u8], events: Option<&[u8]>) -> Result<(), RunsError> {
        let put = |name, content: Option<&[u8]>| match content {
            Some(content) => {
                let file = self.file(name);
                private::place(&file, content, PRIVATE, Over::File)
                    .map_err(|source| FileError::of(&file, "written", source))
            }
            None => Ok(()),
        };
        let Some(had) = &self.had else {
            put(JOURNAL, Some(journal))?;
            return Ok(put(EVENTS, events)?);
        };
        put(EVENTS, events)?;
        had.publish(true)?;
        let lines = String::from_utf8_lossy(journal);
        had.append(0, lines.lines().map(str::to_owned).collect())?;
        Ok(put(JOURNAL, Some(journal))?)
    }

    fn shared(&self, journal: FileJournal) -> Box<dyn Journal> {
        match &self.had {
            Some(had) => Box::new(SharedJournal::of(Rc::clone(had), journal)),
            None => Box::new(journal),
        }
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
            let written = private::write(&path, &source.text);
            written.map_err(|source| FileError::of(&path, "written", source))?;
            self.sync(&path)?;
        }
        self.sync(&folder)?;
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
pub(super) fn captured(folder: &Path, head: &Head) -> Result<Captured, RunsError> {
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
