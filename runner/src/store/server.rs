//! What the store's thread does: it has the connection, the runs that this process has, and what is known of all of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::time::Instant;

use super::StoreError;
use super::copy::{self, Changed, Copy};
use super::link::{Link, Lock};
use super::rows::{self, Appended, Attached, Claimed, Index};
use crate::runs::names::holder;

/// What the thread is asked to do.
pub(super) type Job = Box<dyn FnOnce(&mut Server) + Send>;

/// How often events and outputs of a run get to the store.
const TICK: Duration = Duration::from_secs(1);

/// How old the list of runs may be.
const FRESH: Duration = Duration::from_millis(200);

/// Journals that are fetched together.
const TOGETHER: usize = 64;

/// Bytes of events that are sent together.
const EVENTS: u64 = 4 << 20;

/// The simulated cluster, where there is one. The store has it before the records that follow from it.
const TWIN: &str = "twin.json";

/// A run that this process has.
struct Had {
    number: i32,
    id: String,
    sitting: i64,
    copy: Copy,
}

/// A copy that lacks records.
struct Behind {
    id: String,
    folder: PathBuf,
    have: usize,
    whole: u64,
    /// Kept until it has them, unless the run is ours.
    _guard: Option<File>,
}

pub(super) struct Server {
    link: Link,
    had: Vec<Had>,
    index: Option<(Instant, Arc<Index>)>,
    /// What was asked last of files, and the answer.
    attached: Option<(Instant, [String; 3], Arc<Attached>)>,
    sent: Instant,
}

impl Server {
    pub(super) fn of(link: Link) -> Self {
        Self {
            link,
            had: Vec::new(),
            index: None,
            attached: None,
            sent: Instant::now(),
        }
    }

    /// Does what it is asked to until nobody is left who could ask.
    pub(super) fn work(mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(TICK) {
                Ok(job) => job(&mut self),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.sent.elapsed() >= TICK {
                for i in 0..self.had.len() {
                    // It is tried again, and isn't what a run depends on.
                    let _ = self.send(i, false);
                }
                self.sent = Instant::now();
            }
        }
    }

    /// Which database it is.
    pub(super) fn id(&mut self) -> Result<String, StoreError> {
        self.link.ask(&rows::id)
    }

    /// All runs, as they were a moment ago.
    pub(super) fn index(&mut self) -> Result<Arc<Index>, StoreError> {
        if let Some((at, index)) = &self.index
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(index));
        }
        let index = Arc::new(self.link.ask(&rows::index)?);
        self.index = Some((Instant::now(), Arc::clone(&index)));
        Ok(index)
    }

    /// Begins a run of this name. None where it has begun.
    pub(super) fn begin(
        &mut self,
        id: &str,
        labels: &str,
        folder: PathBuf,
    ) -> Result<Option<(i32, i64)>, StoreError> {
        self.index = None;
        let holder = holder();
        let begun = self
            .link
            .ask(&async |client| rows::begin(client, id, labels, &holder).await)?;
        let Claimed::Ours { number, sitting } = begun else {
            return Ok(None);
        };
        self.have(number, id, sitting, Copy::of(folder));
        Ok(Some((number, sitting)))
    }

    /// Takes a run up.
    pub(super) fn take_up(&mut self, id: &str, folder: PathBuf) -> Result<(i32, i64), StoreError> {
        self.index = None;
        let holder = holder();
        if self.had.iter().any(|had| had.id == id) {
            return Err(StoreError::InUse {
                run: id.to_owned(),
                by: holder,
            });
        }
        let taken = self
            .link
            .ask(&async |client| rows::take_up(client, id, &holder).await)?;
        match taken {
            Claimed::Ours { number, sitting } => {
                self.have(number, id, sitting, Copy::of(folder));
                Ok((number, sitting))
            }
            Claimed::Theirs(by) => Err(StoreError::InUse {
                run: id.to_owned(),
                by,
            }),
            Claimed::Nowhere => Err(StoreError::NoSuchRun(id.to_owned())),
        }
    }

    fn have(&mut self, number: i32, id: &str, sitting: i64, copy: Copy) {
        self.link.locks.push(Lock {
            number,
            of: Some((id.to_owned(), sitting)),
        });
        self.had.push(Had {
            number,
            id: id.to_owned(),
            sitting,
            copy,
        });
    }

    fn position(&self, number: i32) -> Option<usize> {
        self.had.iter().position(|had| had.number == number)
    }

    /// Brings the copy of a run that this process has up to date.
    pub(super) fn bring_had(&mut self, number: i32) -> Result<(), StoreError> {
        let Some(at) = self.position(number) else {
            return Ok(());
        };
        let (id, folder) = (self.had[at].id.clone(), self.had[at].copy.folder.clone());
        self.index = None;
        let index = self.index()?;
        if let Some(listed) = index.get(&id) {
            let (have, whole) = copy::lines(&folder)?;
            if have > listed.records {
                return Err(set_back(&id, &folder, have, listed.records));
            }
            self.fetch(&[Behind {
                id: id.clone(),
                folder,
                have,
                whole,
                _guard: None,
            }])?;
        }
        let mut copy = std::mem::replace(&mut self.had[at].copy, Copy::of(PathBuf::new()));
        let brought = self.bring_rest(&id, &mut copy, false);
        self.had[at].copy = copy;
        brought
    }

    /// Lets go of a run.
    pub(super) fn let_go(&mut self, number: i32) {
        self.index = None;
        let Some(at) = self.position(number) else {
            return;
        };
        let _ = self.send(at, false);
        self.had.remove(at);
        self.link.locks.retain(|lock| lock.number != number);
        let _ = self
            .link
            .once(async |client| rows::unlock(client, number).await);
    }

    /// Appends lines to the journal of a run that this process has. Of what is tried more than once, each line is there once.
    pub(super) fn append(
        &mut self,
        number: i32,
        before: usize,
        lines: &[String],
    ) -> Result<(), StoreError> {
        let Some(at) = self.position(number) else {
            return Err(StoreError::NoSuchRun(number.to_string()));
        };
        if let Some(world) = self.had[at].copy.changed_file(TWIN) {
            self.put(at, world)?;
        }
        let Had { id, sitting, .. } = &self.had[at];
        let before = i32::try_from(before).unwrap_or(i32::MAX);
        let appended = self
            .link
            .once(async |client| rows::append(client, (id, *sitting), before, lines).await)?;
        match appended {
            Appended::There => Ok(()),
            Appended::Theirs(by) => Err(StoreError::TakenUp {
                run: id.clone(),
                by,
            }),
            Appended::Others => Err(StoreError::Refused {
                at: self.link.at(),
                why: format!("the journal of {id} has other records than this process wrote"),
            }),
        }
    }

    /// Sends what a run has beside its journal.
    pub(super) fn publish(&mut self, number: i32, clusters: bool) -> Result<(), StoreError> {
        match self.position(number) {
            Some(at) => self.send(at, clusters),
            None => Ok(()),
        }
    }

    fn send(&mut self, at: usize, clusters: bool) -> Result<(), StoreError> {
        let mut sent = false;
        while let Some((start, events)) = self.had[at].copy.new_events(EVENTS) {
            let Had { id, sitting, .. } = &self.had[at];
            let from = i64::try_from(start).unwrap_or(i64::MAX);
            self.link.once(async |client| {
                rows::add_events(client, (id, *sitting), from, &events).await
            })?;
            self.had[at].copy.sent_events(events.len());
            sent = true;
        }
        for file in self.had[at].copy.changed(clusters) {
            self.put(at, file)?;
            sent = true;
        }
        if sent {
            self.had[at].copy.save()?;
        }
        Ok(())
    }

    fn put(&mut self, at: usize, file: Changed) -> Result<(), StoreError> {
        let Had { id, sitting, .. } = &self.had[at];
        let version = self.link.once(async |client| {
            let Changed {
                name,
                executable,
                content,
                ..
            } = &file;
            rows::put(client, (id, *sitting), name, *executable, content).await
        })?;
        // Where it is somebody else's by now, the next append is told so.
        if let Some(version) = version {
            self.had[at].copy.sent(file, version);
        }
        Ok(())
    }

    /// Brings the journals of these runs up to date, as far as they are in this folder of runs.
    pub(super) fn bring_journals(&mut self, runs: &Path, ids: &[String]) -> Result<(), StoreError> {
        let index = self.index()?;
        let mut behind = Vec::new();
        for id in ids {
            let folder = runs.join(id);
            let lacks = |index: &Index| {
                let listed = index.get(id)?;
                (listed.bytes != copy::bytes(&folder)).then_some(listed.records)
            };
            if lacks(&index).is_none() {
                continue;
            }
            let Some(guard) = copy::guard(&folder)? else {
                continue;
            };
            let (have, whole) = copy::lines(&folder)?;
            if lacks(&index).is_some_and(|records| have > records) {
                // A process of this machine may have been at it until just now.
                self.index = None;
                let records = lacks(&*self.index()?);
                if let Some(records) = records.filter(|records| have > *records) {
                    return Err(set_back(id, &folder, have, records));
                }
            }
            behind.push(Behind {
                id: id.clone(),
                folder,
                have,
                whole,
                _guard: Some(guard),
            });
            if behind.len() == TOGETHER {
                self.fetch(&behind)?;
                behind.clear();
            }
        }
        self.fetch(&behind)
    }

    fn fetch(&mut self, behind: &[Behind]) -> Result<(), StoreError> {
        if behind.is_empty() {
            return Ok(());
        }
        let have = |behind: &Behind| i32::try_from(behind.have).unwrap_or(i32::MAX);
        let (ids, haves): (Vec<String>, Vec<i32>) =
            behind.iter().map(|b| (b.id.clone(), have(b))).unzip();
        let lines = self
            .link
            .ask(&async |client| rows::lines(client, &ids, &haves).await)?;
        let mut by_run: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (run, line) in lines {
            by_run.entry(run).or_default().push(line);
        }
        for behind in behind {
            if let Some(lines) = by_run.get(&behind.id) {
                copy::add_lines(&behind.folder, behind.whole, lines)?;
            }
        }
        Ok(())
    }

    /// Brings all of a run's copy up to date; of a rollout's clusters only where they are wanted.
    pub(super) fn bring(
        &mut self,
        runs: &Path,
        id: &str,
        clusters: bool,
    ) -> Result<(), StoreError> {
        self.bring_journals(runs, std::slice::from_ref(&id.to_owned()))?;
        let folder = runs.join(id);
        let Some(_guard) = copy::guard(&folder)? else {
            return Ok(());
        };
        self.bring_rest(id, &mut Copy::of(folder), clusters)
    }

    fn bring_rest(&mut self, id: &str, copy: &mut Copy, clusters: bool) -> Result<(), StoreError> {
        let (names, versions) = copy.versions();
        let files = self
            .link
            .ask(&async |client| rows::files(client, id, &names, &versions, clusters).await)?;
        let after = i64::try_from(copy.known_events()).unwrap_or(i64::MAX);
        let events = self
            .link
            .ask(&async |client| rows::events(client, id, after).await)?;
        if files.is_empty() && events.is_empty() {
            return Ok(());
        }
        copy.take_files(files)?;
        copy.take_events(&events)?;
        Ok(copy.save()?)
    }

    /// The runs of a cluster, the one that was last written to first.
    pub(super) fn newest_of(&mut self, cluster: &str) -> Result<Vec<String>, StoreError> {
        self.link
            .ask(&async |client| rows::newest_of(client, cluster).await)
    }

    /// Puts a file of a rollout's cluster into the store.
    pub(super) fn attach(
        &mut self,
        id: &str,
        name: &str,
        labels: &str,
        content: &str,
    ) -> Result<(), StoreError> {
        self.attached = None;
        self.link
            .ask(&async |client| rows::attach(client, (id, name), labels, content.as_bytes()).await)
    }

    /// The files of a run whose names begin and end so, as they were a moment ago.
    pub(super) fn attached(&mut self, which: [String; 3]) -> Result<Arc<Attached>, StoreError> {
        if let Some((at, asked, attached)) = &self.attached
            && at.elapsed() < FRESH
            && *asked == which
        {
            return Ok(Arc::clone(attached));
        }
        let [id, begin, end] = &which;
        let attached = self
            .link
            .ask(&async |client| rows::attached(client, id, begin, end).await)?;
        let attached = Arc::new(attached);
        self.attached = Some((Instant::now(), which, Arc::clone(&attached)));
        Ok(attached)
    }

    /// Keeps others from starting a rollout; whether nobody else does.
    pub(super) fn claim(&mut self) -> Result<bool, StoreError> {
        let ours = self.link.ask(&rows::claim)?;
        if ours {
            self.link.locks.push(Lock {
                number: 0,
                of: None,
            });
        }
        Ok(ours)
    }

    /// Lets others start a rollout.
    pub(super) fn disclaim(&mut self) {
        self.link.locks.retain(|lock| lock.number != 0);
        let _ = self.link.once(async |client| rows::unlock(client, 0).await);
    }
}

fn set_back(run: &str, copy: &Path, here: usize, there: usize) -> StoreError {
    StoreError::SetBack {
        run: run.to_owned(),
        copy: copy.to_owned(),
        here,
        there,
    }
}
