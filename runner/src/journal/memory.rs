//! A journal in memory: for ad-hoc reads, which leave nothing to resume, and for tests, where it can crash on purpose.

use std::cell::RefCell;
use std::rc::Rc;

use jiff::Timestamp;

use super::{Journal, JournalError, Record, decode, encode};

/// When and how an append fails. The process is taken to be gone afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Before anything of append number `.0` (counted from 1) was written.
    Before(usize),
    /// In the middle of it: after its first line, or within that where it has no other.
    Torn(usize),
    /// After it was written, before anything followed from it.
    After(usize),
}

/// A process that appends more often than this never ends: it asks for steps that take no time, again and again. An upgrade of
/// fifty members takes some thousands.
const MOST: usize = 20_000;

/// What outlives the process.
#[derive(Debug, Default)]
struct Disk {
    text: Vec<u8>,
    lines: usize,
    appends: usize,
}

/// A journal whose clones share one memory, as processes share a disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal {
    disk: Rc<RefCell<Disk>>,
    crash: Option<Crash>,
}

impl MemoryJournal {
    /// A journal with this text in it, as if it had been written.
    #[must_use]
    pub fn with(text: &str) -> Self {
        let journal = Self::default();
        journal.disk.borrow_mut().text = text.as_bytes().to_vec();
        journal
    }

    /// The same memory, for a process that will crash like this.
    #[must_use]
    pub fn crashing(&self, crash: Crash) -> Self {
        self.disk.borrow_mut().appends = 0;
        Self {
            disk: Rc::clone(&self.disk),
            crash: Some(crash),
        }
    }

    /// The same memory, for a process that continues after a crash: what was torn is cut.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn reopen(&self) -> Result<(Self, Vec<(Timestamp, Record)>), JournalError> {
        let decoded = decode(&self.disk.borrow().text)?;
        let mut disk = self.disk.borrow_mut();
        disk.text.truncate(decoded.whole);
        if decoded.unended {
            disk.text.push(b'\n');
        }
        disk.lines = decoded.records.len();
        disk.appends = 0;
        drop(disk);
        Ok((
            Self {
                disk: Rc::clone(&self.disk),
                crash: None,
            },
            decoded.records,
        ))
    }

    /// How many appends there have been since the journal was opened.
    pub(crate) fn appends(&self) -> usize {
        self.disk.borrow().appends
    }

    /// Whether the process was stopped since it would never have ended.
    pub(crate) fn is_endless(&self) -> bool {
        self.appends() > MOST
    }

    /// What is in it, as it would stand in a file.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.disk.borrow().text).into_owned()
    }
}

impl Journal for MemoryJournal {
    fn append(&mut self, at: Timestamp, records: &[Record]) -> Result<(), JournalError> {
        let mut disk = self.disk.borrow_mut();
        disk.appends += 1;
        let unwritten = |source: std::io::Error| JournalError::Io {
            path: "memory".into(),
            verb: "written",
            source,
        };
        let gone = || unwritten(std::io::Error::other("crashed on purpose"));
        let (now, crash) = (disk.appends, self.crash);
        if now > MOST || crash == Some(Crash::Before(now)) {
            return Err(gone());
        }
        let text = encode(disk.lines + 1, at, records).map_err(|e| unwritten(e.into()))?;
        disk.lines += records.len();
        let kept = if crash == Some(Crash::Torn(now)) {
            let first = text.find('\n').map_or(0, |end| end + 1);
            first.min(text.len().saturating_sub(7))
        } else {
            text.len()
        };
        disk.text.extend_from_slice(&text.as_bytes()[..kept]);
        if matches!(crash, Some(Crash::Torn(n) | Crash::After(n)) if n == now) {
            return Err(gone());
        }
        Ok(())
    }
}
