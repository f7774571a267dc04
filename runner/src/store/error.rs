//! What goes wrong between lockstep and its database.

use std::path::PathBuf;

use crate::private::FileError;
use crate::runs::names::told;

/// Why the store didn't do what it was asked to. `at` is the database, as `USER@HOST/DATABASE`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its URL can't be used.
    #[error("the URL of the database can't be used: {0}")]
    Url(String),
    /// Its URL has a password.
    #[error(
        "the URL of the database has a password, which everybody on this machine and every scheduler could read"
    )]
    Password,
    /// The certificates that it is verified with can't be used.
    #[error("the database can't be verified: {0}")]
    Certificates(String),
    /// No connection can be made.
    #[error("the database {at} can't be reached: {why}")]
    Unreachable {
        /// The database.
        at: String,
        /// Why.
        why: String,
    },
    /// It lets nobody in by this name.
    #[error("the database {at} denies access: {why}")]
    Denied {
        /// The database.
        at: String,
        /// What it says.
        why: String,
    },
    /// Nothing of lockstep's is in there.
    #[error("the database {at} has no tables of lockstep")]
    NoSchema {
        /// The database.
        at: String,
    },
    /// This role may not use the schema.
    #[error("the database {at} has tables of lockstep that this role may not use")]
    Closed {
        /// The database.
        at: String,
    },
    /// Its tables are those of an older lockstep.
    #[error("the tables of {at} are of version {found}, and this lockstep needs {known}")]
    Older {
        /// The database.
        at: String,
        /// The version of the tables.
        found: i32,
        /// The version that is needed.
        known: i32,
    },
    /// Its tables are those of a newer lockstep.
    #[error("the tables of {at} are of version {found}, and this lockstep knows {known}")]
    Newer {
        /// The database.
        at: String,
        /// The version of the tables.
        found: i32,
        /// The version that is known.
        known: i32,
    },
    /// It was there, and is away.
    #[error("the database {at} is unavailable: {why}")]
    Away {
        /// The database.
        at: String,
        /// Why.
        why: String,
    },
    /// It refuses what it was asked to do.
    #[error("the database {at} refuses: {why}")]
    Refused {
        /// The database.
        at: String,
        /// What it says.
        why: String,
    },
    /// There is no such run, or none that this role sees.
    #[error("there is no run {0:?} in the database")]
    NoSuchRun(String),
    /// Somebody has the run.
    #[error("{run} is in use by {by}", by = told(by))]
    InUse {
        /// The run.
        run: String,
        /// Process and machine.
        by: String,
    },
    /// Somebody took the run up while this process had it.
    #[error("{run} was taken up by process {by}", by = told(by))]
    TakenUp {
        /// The run.
        run: String,
        /// Process and machine.
        by: String,
    },
    /// The copy on this machine has records that the store lacks.
    #[error(
        "the copy of {run} on this machine ({here} records) has records that the database ({there}) lacks: the database was set back to an older state"
    )]
    SetBack {
        /// The run.
        run: String,
        /// The copy.
        copy: PathBuf,
        /// Records of the copy.
        here: usize,
        /// Records of the store.
        there: usize,
    },
    /// The copy on this machine can't be read or written.
    #[error(transparent)]
    Copy(#[from] FileError),
}
