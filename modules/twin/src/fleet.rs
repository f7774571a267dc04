//! A simulated fleet: clusters whose runs take their time and stop somehow, and executors that don't always do what they
//! are asked to. What was asked for, and what came of it, is a log that outlives whoever asked.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use lockstep_modules::contract::cmd::{Cmd, Output};
use lockstep_modules::contract::reach::{ContactError, Ear, Facts, Transport};
use lockstep_modules::contract::schema::Member;
use lockstep_modules::contract::standing::Standing;
use lockstep_modules::ops::cluster::{Ask, Job, Look, Planned, Skipped, Staged};
use serde::Serialize;
use tokio::time::sleep;

use crate::Twin;

/// What a cluster's run will come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// How long it takes.
    pub takes: Duration,
    /// How it stops.
    pub stops: Standing,
    /// What goes wrong with the executor, one after the other.
    pub mishaps: VecDeque<Mishap>,
    /// How often the cluster is found ill afterwards.
    pub ill: u32,
}

/// Something that an executor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It refuses to begin.
    Refuses,
    /// The job's process dies in the middle, and is begun again.
    Dies,
    /// The run stops in order, and whoever waits for it isn't told.
    AnswerLost,
}

/// Something that happened to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// The cluster.
    pub cluster: Member,
    /// What.
    pub what: Happened,
}

/// What happened to a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Its run began.
    Began,
    /// Its run was taken up after its process had died.
    TakenUp,
    /// Its run stopped so.
    Stopped(Standing),
    /// The operator saw to it.
    Settled(Standing),
    /// It was looked at, and this well.
    Verified(bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Run {
    None,
    /// Until this time of the world. `rest` is what is left then, if its process dies there.
    Going {
        ends: u64,
        rest: u64,
    },
    /// Its process is gone, with so much left to do.
    Gone {
        rest: u64,
    },
    Stopped(Standing),
}

#[derive(Debug)]
struct Cluster {
    course: Course,
    run: Run,
    /// The executor refused to begin it.
    refused: bool,
}

/// The fleet, which outlives every process that rolls out to it.
#[derive(Clone, Debug)]
pub struct SimulatedFleet {
    clusters: Rc<RefCell<BTreeMap<Member, Cluster>>>,
    log: Rc<RefCell<Vec<Moment>>>,
}

impl SimulatedFleet {
    /// A fleet whose clusters take these courses.
    #[must_use]
    pub fn new(courses: impl IntoIterator<Item = (Member, Course)>) -> Self {
        let cluster = |(name, course)| {
            let cluster = Cluster {
                course,
                run: Run::None,
                refused: false,
            };
            (name, cluster)
        };
        Self {
            clusters: Rc::new(RefCell::new(courses.into_iter().map(cluster).collect())),
            log: Rc::default(),
        }
    }

    /// The way of one process to it. Time is that of `twin`.
    #[must_use]
    pub fn way(&self, twin: Twin) -> Rc<dyn Transport> {
        Rc::new(Way {
            fleet: self.clone(),
            twin,
        })
    }

    /// What happened so far.
    #[must_use]
    pub fn log(&self) -> Vec<Moment> {
        self.log.borrow().clone()
    }

    /// The clusters that need the operator: their runs have stopped before their end, or were never begun although somebody
    /// asked for it.
    #[must_use]
    pub fn unwell(&self) -> Vec<Member> {
        let clusters = self.clusters.borrow();
        let unwell = clusters.iter().filter(|(_, cluster)| match cluster.run {
            Run::Stopped(state) => !state.is_well(),
            Run::None => cluster.refused,
            Run::Going { .. } | Run::Gone { .. } => false,
        });
        unwell.map(|(name, _)| name.clone()).collect()
    }

    /// The operator sees to a cluster: its run is brought to its end, or it is taken out of the rollout.
    pub fn settle(&self, cluster: &Member, state: Standing, at: Timestamp) {
        if let Some(known) = self.clusters.borrow_mut().get_mut(cluster) {
            known.run = Run::Stopped(state);
            known.course.ill = 0;
        }
        self.note(at, cluster, Happened::Settled(state));
    }

    fn note(&self, at: Timestamp, cluster: &Member, what: Happened) {
        let cluster = cluster.clone();
        self.log.borrow_mut().push(Moment { at, cluster, what });
    }
}

struct Way {
    fleet: SimulatedFleet,
    twin: Twin,
}

/// What an executor does next about a run.
enum Next {
    Wait(u64),
    Again,
    Answer(Result<Standing, ContactError>),
}

impl Way {
    fn now(&self) -> u64 {
        self.twin.advance();
        self.twin.world().borrow().now
    }

    fn note(&self, at: u64, cluster: &Member, what: Happened) {
        let at = self.twin.world().borrow().timestamp(at);
        self.fleet.note(at, cluster, what);
    }

    /// Lets a run get as far as it is by now, whoever looked.
    fn catch_up(&self, name: &Member, cluster: &mut Cluster, now: u64) {
        let Run::Going { ends, rest } = cluster.run else {
            return;
        };
        if ends > now {
            return;
        }
        if rest > 0 {
            cluster.run = Run::Gone { rest };
        } else {
            cluster.run = Run::Stopped(cluster.course.stops);
            self.note(ends, name, Happened::Stopped(cluster.course.stops));
        }
    }

    fn state(&self, name: &Member) -> Standing {
        let now = self.now();
        let mut clusters = self.fleet.clusters.borrow_mut();
        let Some(cluster) = clusters.get_mut(name) else {
            return Standing::DidNotBegin;
        };
        self.catch_up(name, cluster, now);
        match cluster.run {
            Run::None => Standing::DidNotBegin,
            Run::Going { .. } => Standing::Running,
            Run::Gone { .. } => Standing::BrokenOff,
            Run::Stopped(state) => state,
        }
    }

    fn next(&self, name: &Member) -> Next {
        let state = self.state(name);
        let now = self.now();
        let mut clusters = self.fleet.clusters.borrow_mut();
        let Some(cluster) = clusters.get_mut(name) else {
            return Next::Answer(Err(ContactError::NoSuchMember(name.clone())));
        };
        let course = &mut cluster.course;
        let mishap = course.mishaps.front().copied();
        match cluster.run {
            Run::None if mishap == Some(Mishap::Refuses) => {
                course.mishaps.pop_front();
                cluster.refused = true;
                Next::Answer(Err(ContactError::Executor(
                    "no job can be started".to_owned(),
                )))
            }
            Run::None => {
                let takes = u64::try_from(course.takes.as_millis()).unwrap_or(1).max(1);
                let dies = mishap == Some(Mishap::Dies);
                if dies {
                    course.mishaps.pop_front();
                }
                let rest = if dies { takes / 2 } else { 0 };
                cluster.run = Run::Going {
                    ends: now + takes - rest,
                    rest,
                };
                self.note(now, name, Happened::Began);
                Next::Again
            }
            Run::Gone { rest } => {
                cluster.run = Run::Going {
                    ends: now + rest.max(1),
                    rest: 0,
                };
                self.note(now, name, Happened::TakenUp);
                Next::Again
            }
            Run::Going { ends, .. } => Next::Wait(ends - now),
            Run::Stopped(_) if mishap == Some(Mishap::AnswerLost) => {
                course.mishaps.pop_front();
                Next::Answer(Err(ContactError::Lost("the executor is gone".to_owned())))
            }
            Run::Stopped(_) => Next::Answer(Ok(state)),
        }
    }

    async fn exec(&self, name: &Member) -> Result<Standing, ContactError> {
        loop {
            match self.next(name) {
                Next::Wait(left) => sleep(Duration::from_millis(left)).await,
                Next::Again => {}
                Next::Answer(answer) => return answer,
            }
        }
    }

    fn look(&self, name: &Member) -> Look {
        let now = self.now();
        let mut clusters = self.fleet.clusters.borrow_mut();
        let ill = clusters.get_mut(name).is_some_and(|cluster| {
            let ill = cluster.course.ill > 0;
            cluster.course.ill = cluster.course.ill.saturating_sub(1);
            ill
        });
        drop(clusters);
        self.note(now, name, Happened::Verified(!ill));
        let wrong = if ill {
            vec!["MicroCeph: an OSD is down".to_owned()]
        } else {
            Vec::new()
        };
        Look {
            wrong,
            ..Look::default()
        }
    }

    /// All clusters have the same plan.
    fn plan(&self) -> Planned {
        Planned {
            digest: "0".repeat(64),
            changes: 1,
            whole: true,
        }
    }

    fn bar(&self, name: &Member) -> Standing {
        let state = self.state(name);
        if state != Standing::DidNotBegin {
            return state;
        }
        if let Some(cluster) = self.fleet.clusters.borrow_mut().get_mut(name) {
            cluster.run = Run::Stopped(Standing::Refused);
        }
        self.note(self.now(), name, Happened::Stopped(Standing::Refused));
        Standing::Refused
    }

    fn skip(&self, name: &Member) {
        let now = self.now();
        if let Some(cluster) = self.fleet.clusters.borrow_mut().get_mut(name) {
            cluster.run = Run::Stopped(Standing::Skipped);
        }
        self.note(now, name, Happened::Settled(Standing::Skipped));
    }

    async fn answer(&self, name: &Member, cmd: &Cmd) -> Result<Output, ContactError> {
        let unknown = || ContactError::Unsimulated(cmd.display());
        let (ask, run) = Ask::of(cmd).ok_or_else(unknown)?;
        let state = match ask {
            Ask::Exec => self.exec(name).await?,
            Ask::State => self.state(name),
            Ask::Look => return Ok(printed(&self.look(name))),
            Ask::Plan => return Ok(printed(&self.plan())),
            Ask::Stage => return Ok(printed(&Staged {})),
            Ask::Bar(_) => self.bar(name),
            Ask::Skip(_) => {
                self.skip(name);
                return Ok(printed(&Skipped {}));
            }
        };
        let job = Job {
            run: run.to_owned(),
            state,
            steps: Vec::new(),
            why: (!state.is_well()).then(|| "a simulated reason".to_owned()),
        };
        Ok(printed(&job))
    }
}

fn printed(answer: &impl Serialize) -> Output {
    let text = serde_json::to_string(answer).unwrap_or_default();
    Output::exit(0, text, "")
}

impl Transport for Way {
    fn facts<'a>(&'a self, _: &'a Member) -> LocalBoxFuture<'a, Result<Facts, ContactError>> {
        Box::pin(std::future::ready(Ok(Facts::default())))
    }

    fn run<'a>(
        &'a self,
        cluster: &'a Member,
        batch: &'a [Cmd],
        _ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        Box::pin(async move {
            let mut outputs = Vec::new();
            for cmd in batch {
                outputs.push(self.answer(cluster, cmd).await?);
            }
            Ok(outputs)
        })
    }
}
