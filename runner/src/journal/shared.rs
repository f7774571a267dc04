//! The journal of a run that is in a database: there first, and in its copy on this machine after that.

use std::rc::Rc;

use jiff::Timestamp;

use super::{FileJournal, Journal, JournalError, Record};
use crate::store::{Had, Pauses, StoreError};

/// A journal in a store, open for appending.
pub(crate) struct SharedJournal {
    copy: FileJournal,
    had: Rc<Had>,
    /// The pauses that are left to wait for a store that is away.
    pauses: Pauses,
}

impl SharedJournal {
    /// The journal of a run that this process has, with its copy.
    pub(crate) fn of(had: Rc<Had>, copy: FileJournal) -> Self {
        Self {
            copy,
            had,
            pauses: Pauses::default(),
        }
    }
}

impl Journal for SharedJournal {
    fn append(&mut self, at: Timestamp, records: &[Record]) -> Result<(), JournalError> {
        let text = self.copy.group(at, records)?;
        let lines = text.lines().map(str::to_owned).collect();
        self.pauses.trying();
        match self.had.append(self.copy.lines(), lines) {
            Ok(()) => {}
            Err(source @ StoreError::Away { .. }) => {
                return Err(match self.pauses.pause() {
                    Some(again) => JournalError::Away { source, again },
                    None => JournalError::Store(source),
                });
            }
            Err(source) => return Err(JournalError::Store(source)),
        }
        self.pauses = Pauses::default();
        self.copy.add(&text, records.len())
    }
}
