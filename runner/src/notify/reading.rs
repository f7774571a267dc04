//! The journal of a run, as it grows under somebody else's hands.

use std::path::Path;

use jiff::Timestamp;

use crate::account::Tail;
use crate::journal::{Record, decode_line};

/// A record, with its place in the journal.
pub(super) struct Entry {
    /// Counted from 1.
    pub(super) n: usize,
    pub(super) at: Timestamp,
    pub(super) record: Record,
}

/// A journal that is read from its beginning on, and no further than it can be believed.
pub(super) struct Reading {
    /// None after a line that isn't what was written there.
    tail: Option<Tail>,
    lines: usize,
    /// A group whose last line isn't there yet.
    group: Vec<Entry>,
}

impl Reading {
    pub(super) fn of(journal: &Path) -> Self {
        Self {
            tail: Some(Tail::of(journal)),
            lines: 0,
            group: Vec::new(),
        }
    }

    /// What is new since this was asked last, in whole groups.
    pub(super) fn next(&mut self) -> Vec<Entry> {
        let lines = self.tail.as_mut().map(Tail::lines);
        let mut whole = Vec::new();
        for line in lines.and_then(Result::ok).unwrap_or_default() {
            self.lines += 1;
            let n = self.lines;
            let Ok((at, more, record)) = decode_line(n, &line) else {
                self.tail = None;
                break;
            };
            self.group.push(Entry { n, at, record });
            if !more {
                whole.append(&mut self.group);
            }
        }
        whole
    }
}
