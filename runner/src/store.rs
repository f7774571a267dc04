//! The store of several machines: a PostgreSQL database that decides who has a run, and what its journal says.
//!
//! Each machine has runs as folders all the same: copies, of which the database has every byte that matters. A run is begun by
//! its row, and is a process's by an advisory lock, which ends with the connection, and by its *sitting*: an append names the
//! sitting in which its writer took the run up, and is refused once somebody else has. So what a writer that was given up for
//! dead still wants to do is never recorded, and what isn't recorded isn't done.
//!
//! The connection lives in a thread of its own. Without a store there is neither.

mod copy;
mod error;
mod link;
mod rows;
mod schema;
mod server;
mod tls;
mod url;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

pub use error::StoreError;
use link::Link;
pub(crate) use link::Pauses;
pub(crate) use rows::{Attached, Index};
use server::{Job, Server};
use url::Way;

/// Whether what names a state is a URL, and no folder.
#[must_use]
pub fn is_url(state: &str) -> bool {
    state.contains("://")
}

/// A database that has runs. Clones are the same one.
#[derive(Clone)]
pub struct Store {
    url: Arc<str>,
    jobs: Sender<Job>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.url).finish()
    }
}

/// A run that this process has, until this is dropped.
#[derive(Debug)]
pub struct Had {
    store: Store,
    number: i32,
    sitting: i64,
}

/// Nobody else starts a rollout until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim(Store);

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = self.0.ask(|server| {
            server.disclaim();
            Ok(())
        });
    }
}

fn thread_failed(error: impl fmt::Display) -> StoreError {
    StoreError::Unreachable {
        at: "in a thread of its own".to_owned(),
        why: error.to_string(),
    }
}

impl Store {
    /// The version of the tables that this lockstep works with.
    pub const VERSION: i32 = schema::VERSION;

    /// The store at a URL, `postgresql://USER@HOST/DATABASE`. Nothing is connected yet.
    ///
    /// # Errors
    /// Where the URL can't be used.
    pub fn at(url: &str) -> Result<Self, StoreError> {
        let link = Link::of(Way::of(url)?).map_err(thread_failed)?;
        let (jobs, received) = channel();
        let work = move || Server::of(link).work(&received);
        let thread = thread::Builder::new().name("store".to_owned());
        thread.spawn(work).map_err(thread_failed)?;
        Ok(Self {
            url: url.into(),
            jobs,
        })
    }

    /// Makes or changes the tables in a database, so that this lockstep can use them. Returns the version that they had.
    ///
    /// # Errors
    /// Where that isn't possible, or a newer lockstep did it before.
    pub fn init(url: &str) -> Result<Option<i32>, StoreError> {
        let mut link = Link::of(Way::of(url)?).map_err(thread_failed)?;
        match link.bare(schema::init)? {
            Some(found) if found > Self::VERSION => Err(StoreError::Newer {
                at: link.at(),
                found,
                known: Self::VERSION,
            }),
            found => Ok(found),
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Server) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = channel();
        let job = Box::new(move |server: &mut Server| {
            let _ = answer.send(job(server));
        });
        self.jobs.send(job).map_err(thread_failed)?;
        answered.recv().map_err(thread_failed)?
    }

    /// Which database it is, wherever it is.
    ///
    /// # Errors
    /// Where it can't be used.
    pub fn id(&self) -> Result<String, StoreError> {
        self.ask(Server::id)
    }

    /// All runs that this role sees, as they were a moment ago.
    pub(crate) fn index(&self) -> Result<Arc<Index>, StoreError> {
        self.ask(Server::index)
    }

    /// Begins a run of this name, whose copy is in this folder. None where it has begun, or somebody is beginning it.
    ///
    /// # Errors
    /// Where the store can't be asked.
    pub fn begin(
        &self,
        id: &str,
        labels: &BTreeMap<String, String>,
        folder: &Path,
    ) -> Result<Option<Had>, StoreError> {
        let (id, folder) = (id.to_owned(), folder.to_owned());
        let labels = serde_json::to_string(labels).unwrap_or_default();
        let begun = self.ask(move |server| server.begin(&id, &labels, folder))?;
        Ok(begun.map(|(number, sitting)| self.had(number, sitting)))
    }

    /// Takes a run up, whose copy is in this folder.
    ///
    /// # Errors
    /// Where there is none, or somebody has it.
    pub fn take_up(&self, id: &str, folder: &Path) -> Result<Had, StoreError> {
        let (id, folder) = (id.to_owned(), folder.to_owned());
        let (number, sitting) = self.ask(move |server| server.take_up(&id, folder))?;
        Ok(self.had(number, sitting))
    }

    fn had(&self, number: i32, sitting: i64) -> Had {
        Had {
            store: self.clone(),
            number,
            sitting,
        }
    }

    /// Brings the copies of runs' journals in this folder up to date, but for those that can't be.
    pub(crate) fn bring_journals(&self, runs: &Path, ids: Vec<String>) -> Result<(), StoreError> {
        let runs: PathBuf = runs.to_owned();
        self.ask(move |server| server.bring_journals(&runs, &ids))
    }

    /// Brings the copy of a run's journal in this folder up to date.
    pub(crate) fn bring_journal(&self, runs: &Path, id: &str) -> Result<(), StoreError> {
        let (runs, id) = (runs.to_owned(), id.to_owned());
        self.ask(move |server| server.bring_journal(&runs, &id))
    }

    /// Brings the copy of a run in this folder up to date; what a rollout has of its clusters only where it is wanted.
    pub(crate) fn bring(&self, runs: &Path, id: &str, clusters: bool) -> Result<(), StoreError> {
        let (runs, id) = (runs.to_owned(), id.to_owned());
        self.ask(move |server| server.bring(&runs, &id, clusters))
    }

    /// The runs of a cluster, the one that was last written to first.
    pub(crate) fn newest_of(&self, cluster: &str) -> Result<Vec<String>, StoreError> {
        let cluster = cluster.to_owned();
        self.ask(move |server| server.newest_of(&cluster))
    }

    /// Puts a file of a rollout's cluster into the store, for whoever sees clusters with these labels.
    pub(crate) fn attach(
        &self,
        id: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
        content: &str,
    ) -> Result<(), StoreError> {
        let (id, name, content) = (id.to_owned(), name.to_owned(), content.to_owned());
        let labels = serde_json::to_string(labels).unwrap_or_default();
        self.ask(move |server| server.attach(&id, &name, &labels, &content))
    }

    /// The files of a run whose names begin and end so, as they were a moment ago.
    pub(crate) fn attached(
        &self,
        id: &str,
        begin: &str,
        end: &str,
    ) -> Result<Arc<Attached>, StoreError> {
        let which = [id, begin, end].map(str::to_owned);
        self.ask(move |server| server.attached(which))
    }

    /// Keeps others from starting a rollout. None where somebody is at it.
    pub(crate) fn claim(&self) -> Result<Option<Claim>, StoreError> {
        let ours = self.ask(Server::claim)?;
        Ok(ours.then(|| Claim(self.clone())))
    }
}

impl Had {
    /// The store that has it.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// How often the run was taken up so far.
    #[must_use]
    pub fn sitting(&self) -> i64 {
        self.sitting
    }

    /// Appends lines to the run's journal, of which `before` are there. The same lines may be given again where it is not known
    /// what became of them.
    ///
    /// # Errors
    /// Where the run is somebody else's by now, or the database is unavailable.
    pub fn append(&self, before: usize, lines: Vec<String>) -> Result<(), StoreError> {
        let number = self.number;
        self.store
            .ask(move |server| server.append(number, before, &lines))
    }

    /// Brings the run's copy up to date.
    pub(crate) fn bring(&self) -> Result<(), StoreError> {
        let number = self.number;
        self.store.ask(move |server| server.bring_had(number))
    }

    /// Sends what the run has beside its journal.
    pub(crate) fn publish(&self, clusters: bool) -> Result<(), StoreError> {
        let number = self.number;
        self.store
            .ask(move |server| server.publish(number, clusters))
    }
}

impl Drop for Had {
    fn drop(&mut self) {
        let number = self.number;
        let _ = self.store.ask(move |server| {
            server.let_go(number);
            Ok(())
        });
    }
}
