//! The journal on disk.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::{Decoded, Journal, JournalError, Record, decode, encode};
use crate::private;

/// What a journal's file has to be able to do, and may fail at.
pub trait Disk: Write {
    /// Returns once all that was written is on disk.
    ///
    /// # Errors
    /// Where it isn't.
    fn sync(&mut self) -> std::io::Result<()>;

    /// Leaves this many bytes of it.
    ///
    /// # Errors
    /// Where they can't be left.
    fn cut(&mut self, bytes: u64) -> std::io::Result<()>;

    /// How many bytes it has.
    ///
    /// # Errors
    /// Where that isn't known.
    fn bytes(&self) -> std::io::Result<u64>;
}

impl Disk for File {
    fn sync(&mut self) -> std::io::Result<()> {
        self.sync_data()
    }

    fn cut(&mut self, bytes: u64) -> std::io::Result<()> {
        self.set_len(bytes)
    }

    fn bytes(&self) -> std::io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// A journal file, open for appending.
#[derive(Debug)]
pub struct FileJournal<D: Disk = File> {
    path: PathBuf,
    file: D,
    lines: usize,
    bytes: u64,
    synced: bool,
}

impl<D: Disk> FileJournal<D> {
    /// A new journal in a file that is empty.
    pub fn on(path: &Path, file: D) -> Self {
        Self {
            path: path.to_owned(),
            file,
            lines: 0,
            bytes: 0,
            synced: true,
        }
    }

    /// The same journal; whether what is appended is on disk before a step begins. It is, unless something else is said.
    #[must_use]
    pub fn synced(self, synced: bool) -> Self {
        Self { synced, ..self }
    }

    /// The lines of the next group.
    pub(super) fn group(&self, at: Timestamp, records: &[Record]) -> Result<String, JournalError> {
        encode(self.lines + 1, at, records).map_err(|e| io(&self.path, "written", e.into()))
    }

    /// How many lines it has.
    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    /// Appends the lines of a group of so many records.
    pub(super) fn add(&mut self, text: &str, records: usize) -> Result<(), JournalError> {
        // On storage that several machines share, a lock may not keep another process away.
        let there = self.file.bytes();
        if there.map_err(|source| io(&self.path, "read", source))? != self.bytes {
            return Err(JournalError::Shared(self.path.clone()));
        }
        if let Err(source) = self.write(text) {
            // Half a group must not be taken for a whole one later. Should this fail too, a reader cuts what is torn.
            let _ = self.file.cut(self.bytes);
            return Err(io(&self.path, "written", source));
        }
        self.lines += records;
        self.bytes += text.len() as u64;
        Ok(())
    }

    fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        if self.synced {
            self.file.sync()
        } else {
            Ok(())
        }
    }
}

impl FileJournal {
    /// A new journal. Its folder exists.
    ///
    /// # Errors
    /// Where the file can't be made, or exists.
    pub fn create(path: &Path) -> Result<Self, JournalError> {
        let file = private::file().append(true).create_new(true).open(path);
        let file = file.map_err(|source| io(path, "written", source))?;
        Ok(Self::on(path, file))
    }

    /// Opens a journal to continue it: reads it, and cuts a torn last group.
    ///
    /// # Errors
    /// Where it can't be read, or is damaged elsewhere than at its end.
    pub fn open(path: &Path) -> Result<(Self, Vec<(Timestamp, Record)>), JournalError> {
        let decoded = Self::read(path)?;
        let mut file = OpenOptions::new()
            .append(true)
            .open(path)
            .map_err(|source| io(path, "written", source))?;
        let end = if decoded.unended { "\n" } else { "" };
        file.set_len(decoded.whole as u64)
            .and_then(|()| file.write_all(end.as_bytes()))
            .map_err(|source| io(path, "written", source))?;
        let bytes = (decoded.whole + end.len()) as u64;
        let journal = Self {
            path: path.to_owned(),
            file,
            lines: decoded.records.len(),
            bytes,
            synced: true,
        };
        Ok((journal, decoded.records))
    }

    /// Reads a journal without touching it.
    pub(crate) fn read(path: &Path) -> Result<Decoded, JournalError> {
        let mut text = Vec::new();
        let mut file = File::open(path).map_err(|source| io(path, "read", source))?;
        file.read_to_end(&mut text)
            .map_err(|source| io(path, "read", source))?;
        decode(&text)
    }
}

impl<D: Disk> Journal for FileJournal<D> {
    fn append(&mut self, at: Timestamp, records: &[Record]) -> Result<(), JournalError> {
        let text = self.group(at, records)?;
        self.add(&text, records.len())
    }
}

fn io(path: &Path, verb: &'static str, source: std::io::Error) -> JournalError {
    JournalError::Io {
        path: path.to_owned(),
        verb,
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(attempt: u32) -> Record {
        Record::Start {
            path: "a".into(),
            attempt,
        }
    }

    #[test]
    fn a_torn_journal_is_cut_and_continues() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut journal = FileJournal::create(&path).unwrap();
        for group in [&[start(1)][..], &[start(2), start(3)]] {
            journal.append(Timestamp::UNIX_EPOCH, group).unwrap();
        }
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        // Torn in the group's last line, and with its newline missing only.
        for (torn, kept) in [(5, 1), (1, 3)] {
            std::fs::write(&path, &whole[..whole.len() - torn]).unwrap();
            let (mut journal, records) = FileJournal::open(&path).unwrap();
            assert_eq!(records.len(), kept);
            journal.append(Timestamp::UNIX_EPOCH, &[start(4)]).unwrap();
            let records = FileJournal::read(&path).unwrap().records;
            assert_eq!(records.len(), kept + 1);
            assert_eq!(records[kept].1, start(4));
        }
    }

    #[test]
    fn a_journal_that_somebody_else_continues_is_left_to_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let mut first = FileJournal::create(&path).unwrap();
        first.append(Timestamp::UNIX_EPOCH, &[start(1)]).unwrap();
        let (mut second, _) = FileJournal::open(&path).unwrap();
        second.append(Timestamp::UNIX_EPOCH, &[start(2)]).unwrap();
        let error = first
            .append(Timestamp::UNIX_EPOCH, &[start(3)])
            .unwrap_err();
        assert!(matches!(error, JournalError::Shared(_)), "{error}");
        assert_eq!(FileJournal::read(&path).unwrap().records.len(), 2);
    }

    #[test]
    fn a_journal_that_cannot_be_written_says_where() {
        let error = FileJournal::create(Path::new("/nonexistent/journal.jsonl")).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the journal /nonexistent/journal.jsonl can't be written:"),
            "{error}"
        );
    }
}
