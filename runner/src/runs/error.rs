//! What goes wrong with runs.

use super::names::told;
use crate::journal::JournalError;
use crate::private::FileError;
use crate::store::StoreError;

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
    #[error("the run {id} is in use by another process{by}")]
    Locked {
        /// The run.
        id: String,
        /// `: PROCESS on MACHINE`, where that is known.
        by: String,
    },
    /// There is one of this name.
    #[error("there is a run {0} already")]
    Exists(String),
    /// Somebody else is starting a rollout.
    #[error("another rollout is being started")]
    Starting,
    /// The database doesn't work, or refuses.
    #[error(transparent)]
    Store(StoreError),
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

impl RunsError {
    /// `holder` has a run, where it is known who has.
    pub(crate) fn locked(id: &str, holder: &str) -> Self {
        let id = id.to_owned();
        let by = match holder {
            "" => String::new(),
            holder => format!(": {}", told(holder)),
        };
        Self::Locked { id, by }
    }
}

impl From<StoreError> for RunsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::InUse { run, by } => Self::locked(&run, &by),
            error => Self::Store(error),
        }
    }
}
