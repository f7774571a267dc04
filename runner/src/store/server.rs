//! What the store's thread does: it has the connection, the runs that this process has, and what is known of all of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tokio::time::Instant;

use super::StoreError;
use super::copy::{self, Changed, Copy, Lines};
use super::link::{Link, Lock};
use super::rows::{self, Appended, Attached, Claimed, Index, StoredEvents};
use crate::runs::names::{holder, is_name};

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
    /// Its copy has been brought up to date, or filled anew. Nothing of what an earlier sitting left there is sent.
    ready: bool,
}

/// A copy that lacks records.
struct Behind {
    id: String,
    folder: PathBuf,
    have: Lines,
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
                    if self.had[i].ready {
                        // It is tried again, and isn't what a run depends on.
                        let _ = self.send(i, false);
                    }
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
        let mut index = self.link.ask(&rows::index)?;
        index.retain(|id, _| is_name(id));
        let index = Arc::new(index);
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
        let behind = Behind {
            id: id.to_owned(),
            have: copy::lines(&folder)?,
            folder: folder.clone(),
            _guard: None,
        };
        let begun = self
            .link
            .ask(&async |client| rows::begin(client, id, labels, &holder).await)?;
        let Claimed::Ours { number, sitting } = begun else {
            return Ok(None);
        };
        // Records here are those of a run that the database lacks by now.
        if behind.have.count > 0 {
            self.link.release(number);
            return Err(behind.set_back(0));
        }
        self.have(number, id, sitting, Copy::fresh(folder));
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
            ready: false,
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
            let behind = Behind {
                have: copy::lines(&folder)?,
                id,
                folder,
                _guard: None,
            };
            if behind.have.count > listed.records {
                return Err(behind.set_back(listed.records));
            }
            let fetched: Result<(), StoreError> = self.fetch(&[behind])?.into_iter().collect();
            fetched?;
        }
        let Had { id, copy, .. } = &mut self.had[at];
        bring_rest(&mut self.link, id, copy, false)?;
        self.had[at].ready = true;
        Ok(())
    }

    /// Lets go of a run.
    pub(super) fn let_go(&mut self, number: i32) {
        self.index = None;
        let Some(at) = self.position(number) else {
            return;
        };
        if self.had[at].ready {
            let _ = self.send(at, false);
        }
        self.had.remove(at);
        self.link.release(number);
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
        self.had[at].ready = true;
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
        let Some(at) = self.position(number) else {
            return Ok(());
        };
        self.had[at].ready = true;
        self.send(at, clusters)
    }

    fn send(&mut self, at: usize, clusters: bool) -> Result<(), StoreError> {
        let mut sent = false;
        while let Some((start, events)) = self.had[at].copy.new_events(EVENTS) {
            let Had { id, sitting, .. } = &self.had[at];
            let from = i64::try_from(start).unwrap_or(i64::MAX);
            let end = self.link.once(async |client| {
                rows::add_events(client, (id, *sitting), from, &events).await
            })?;
            // Where it is somebody else's by now, the next append is told so.
            let Some(end) = end else {
                break;
            };
            let end = u64::try_from(end).unwrap_or(start);
            self.had[at].copy.sent_events(end);
            sent = true;
        }
        for file in self.had[at].copy.changed(clusters)? {
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

    /// Brings the journals of these runs up to date, as far as they are in this folder of runs. One that can't be is left as it
    /// is: whoever looks at it alone is told why.
    pub(super) fn bring_journals(&mut self, runs: &Path, ids: &[String]) -> Result<(), StoreError> {
        let mut behind = Vec::new();
        for id in ids {
            match self.behind(runs, id) {
                Ok(lacks) => behind.extend(lacks),
                Err(StoreError::SetBack { .. } | StoreError::Copy(_)) => {}
                Err(error) => return Err(error),
            }
            if behind.len() == TOGETHER {
                self.fetch(&std::mem::take(&mut behind))?;
            }
        }
        self.fetch(&behind).map(drop)
    }

    /// Brings the journal of a run up to date, in this folder of runs.
    pub(super) fn bring_journal(&mut self, runs: &Path, id: &str) -> Result<(), StoreError> {
        let behind = self.behind(runs, id)?;
        self.fetch(behind.as_slice())?.into_iter().collect()
    }

    /// What the copy of a run has, if it isn't what the store has.
    fn behind(&mut self, runs: &Path, id: &str) -> Result<Option<Behind>, StoreError> {
        let folder = runs.join(id);
        let lacks = |index: &Index| {
            let listed = index.get(id)?;
            (listed.bytes != copy::bytes(&folder)).then_some(listed.records)
        };
        if lacks(&*self.index()?).is_none() {
            return Ok(None);
        }
        let Some(guard) = copy::guard(&folder)? else {
            return Ok(None);
        };
        let behind = Behind {
            id: id.to_owned(),
            have: copy::lines(&folder)?,
            folder: folder.clone(),
            _guard: Some(guard),
        };
        let ahead = |records: &usize| behind.have.count > *records;
        if lacks(&*self.index()?).as_ref().is_some_and(ahead) {
            // A process of this machine may have been at it until just now.
            self.index = None;
            if let Some(records) = lacks(&*self.index()?).filter(ahead) {
                return Err(behind.set_back(records));
            }
        }
        Ok(Some(behind))
    }

    /// Fetches what copies lack, and what became of each.
    fn fetch(&mut self, behind: &[Behind]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        if behind.is_empty() {
            return Ok(Vec::new());
        }
        let have = |behind: &Behind| i32::try_from(behind.have.count).unwrap_or(i32::MAX);
        let (ids, haves): (Vec<String>, Vec<i32>) =
            behind.iter().map(|b| (b.id.clone(), have(b))).unzip();
        let lines = self
            .link
            .ask(&async |client| rows::lines(client, &ids, &haves).await)?;
        let mut by_run: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (run, line) in lines {
            by_run.entry(run).or_default().push(line);
        }
        let add = |behind: &Behind| {
            let lines = by_run.get(&behind.id).map_or(&[][..], Vec::as_slice);
            behind.add(lines)
        };
        Ok(behind.iter().map(add).collect())
    }

    /// Brings all of a run's copy up to date; of a rollout's clusters only where they are wanted.
    pub(super) fn bring(
        &mut self,
        runs: &Path,
        id: &str,
        clusters: bool,
    ) -> Result<(), StoreError> {
        self.bring_journal(runs, id)?;
        let folder = runs.join(id);
        let Some(_guard) = copy::guard(&folder)? else {
            return Ok(());
        };
        bring_rest(&mut self.link, id, &mut Copy::of(folder), clusters)
    }

    /// The runs of a cluster, the one that was last written to first.
    pub(super) fn newest_of(&mut self, cluster: &str) -> Result<Vec<String>, StoreError> {
        let mut newest = self
            .link
            .ask(&async |client| rows::newest_of(client, cluster).await)?;
        newest.retain(|id| is_name(id));
        Ok(newest)
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
        self.link.release(0);
    }
}

impl Behind {
    /// Adds the lines that the store has from the last one on that the copy has.
    fn add(&self, lines: &[String]) -> Result<(), StoreError> {
        let more = match &self.have.last {
            // Without a journal it hasn't begun.
            None if lines.is_empty() => return Ok(()),
            None => lines,
            Some(last) => match lines.split_first() {
                Some((first, more)) if first == last => more,
                _ => return Err(self.set_back(self.have.count + lines.len().saturating_sub(1))),
            },
        };
        Ok(copy::add_lines(&self.folder, &self.have, more)?)
    }

    /// The store, which has so many records, lacks some of the copy's.
    fn set_back(&self, there: usize) -> StoreError {
        StoreError::SetBack {
            run: self.id.clone(),
            copy: self.folder.clone(),
            here: self.have.count,
            there,
        }
    }
}

/// Brings what a copy has beside its journal up to date; of a rollout's clusters only where they are wanted.
fn bring_rest(
    link: &mut Link,
    id: &str,
    copy: &mut Copy,
    clusters: bool,
) -> Result<(), StoreError> {
    let (names, versions) = copy.versions();
    let files =
        link.ask(&async |client| rows::files(client, id, &names, &versions, clusters).await)?;
    let had = copy.known_events();
    let mut events = fetch_events(link, id, had)?;
    if !copy.continues(&events) {
        events = fetch_events(link, id, 0)?;
    }
    let same = files.is_empty();
    copy.take_files(files)?;
    copy.take_events(events)?;
    if same && copy.known_events() == had {
        return Ok(());
    }
    Ok(copy.save()?)
}

fn fetch_events(link: &mut Link, id: &str, have: u64) -> Result<Vec<StoredEvents>, StoreError> {
    let have = i64::try_from(have).unwrap_or(i64::MAX);
    link.ask(&async |client| rows::events(client, id, have).await)
}
