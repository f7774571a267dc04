//! The one place where a run is put together: from its beginning, or from where its journal ends.
//!
//! A front end loads a [`Draft`] or takes a run up ([`TakenUp`]), makes a [`Session`] of it, and plays that with a [`Front`]:
//! whoever watches, answers and interrupts. The command line is one; nothing here knows of it.

mod draft;
mod once;
mod taken;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::rc::Rc;

use futures_util::future::{Either, select};
use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::op::{Effect, Op, Registry};
use lockstep_modules::ops::lock::Take;
use lockstep_modules::transport::wire;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::engine::{Asker, Engine, EngineError, Finish, Start, Stop, Tools};
use crate::event::{Event, Events, Reporter, Stamped};
use crate::failure::Failure;
use crate::journal::Journal;
use crate::notify::{self, Untold};
use crate::plan::{Approved, PlanError};
use crate::private::FileError;
use crate::programs::CaptureError;
use crate::report::FileReporter;
use crate::runs::{RunFolder, RunsError};
use crate::script::{Script, Source};
use crate::secret::Secrets;
use crate::target::{TargetError, Way};

pub(crate) use draft::given;
pub use draft::{Begin, Draft};
pub use once::{Once, results};
pub use taken::{Choices, TakenUp};

/// A run that is ready to be played.
pub struct Session {
    /// The run's name.
    pub id: String,
    registry: Registry,
    cluster: Cluster,
    way: Way,
    /// The run's folder, where it has one: its lock is held as long as this lives.
    folder: Option<RunFolder>,
    script: Script,
    journal: Box<dyn Journal>,
    start: Start,
    clock: Clock,
    /// The plan that it has to keep to.
    approved: Option<Approved>,
    /// What ops are given and nobody gets to see.
    secrets: Secrets,
    who: String,
}

/// Who is there while a run is played.
pub struct Front {
    /// Whoever watches.
    pub reporters: Vec<Box<dyn Reporter>>,
    /// Whoever answers questions.
    pub asker: Rc<dyn Asker>,
    /// How far the run is to be stopped.
    pub stop: watch::Receiver<Stop>,
    /// A failure is delivered to the playbook instead of holding the run.
    pub deliver_failures: bool,
    /// Where nothing is left but to wait for a time, the run pauses until then.
    pub no_wait: bool,
}

/// How a session ended, and what it takes to show that.
pub struct Played {
    /// The run's name.
    pub id: String,
    /// How it ended.
    pub finish: Finish,
    /// Something on the cluster may have been changed.
    pub touched: bool,
    /// The cluster is simulated.
    pub simulated: bool,
    /// The cluster.
    pub cluster: Cluster,
    /// The sources that were loaded, by module.
    pub sources: BTreeMap<String, Source>,
    /// What of it receivers don't know.
    pub(crate) untold: Vec<Untold>,
}

/// Why a run can't be begun or resumed. Nothing was done on the cluster.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The playbook, its parameters, or a decision can't be used.
    #[error(transparent)]
    Playbook(#[from] Box<Failure>),
    /// The run's folder or journal can't be read or written.
    #[error(transparent)]
    Runs(#[from] RunsError),
    /// The site's module programs can't be copied, or aren't what was copied.
    #[error(transparent)]
    Programs(#[from] CaptureError),
    /// The cluster can't be worked with.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The plan can't be read or kept.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The plan's copy can't be written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The run was refused before it did anything.
    #[error("{0} was refused; nothing was changed")]
    Refused(String),
    /// The run is over.
    #[error("{0} has ended")]
    Ended(String),
    /// The members that are to be reached in another way are others.
    #[error("the run has the members {0}, and this cluster file has others")]
    OtherMembers(String),
    /// The run called an op that isn't there.
    #[error("{run} called {op}, and there is no such op here")]
    NoSuchOp {
        /// The run.
        run: String,
        /// The op.
        op: String,
    },
    /// Only a simulated cluster has faults that can be cleared.
    #[error("the cluster is not simulated")]
    Real,
}

impl From<Failure> for SessionError {
    fn from(failure: Failure) -> Self {
        Self::Playbook(Box::new(failure))
    }
}

/// Remembers whether something on the cluster may have been changed.
#[derive(Clone, Default)]
struct Touched(Rc<Cell<bool>>);

impl Reporter for Touched {
    fn take(&mut self, event: &Stamped) {
        self.0.set(self.0.get() || changed_something(&event.event));
    }
}

/// Whether an event shows that something on the cluster may have been changed.
fn changed_something(event: &Event) -> bool {
    match event {
        // A lock that is refused changed nothing; what is done after one that was taken shows by itself.
        Event::StepDone { step, .. } | Event::StepStarted { step, .. } => {
            step.op != Take::NAME && step.effect != Effect::Read
        }
        Event::RunStarted { replayed, .. } => *replayed > 0,
        _ => false,
    }
}

impl Session {
    pub(crate) fn is_simulated(&self) -> bool {
        self.way.is_simulated()
    }

    /// The time, as the run has it.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The sources that were loaded, by module.
    #[must_use]
    pub fn sources(&self) -> BTreeMap<String, Source> {
        self.script.loaded()
    }

    /// Plays it until it ends or pauses.
    ///
    /// # Errors
    /// Where the journal can't be written, or doesn't fit the playbook.
    pub async fn play(self, front: Front) -> Result<Played, EngineError> {
        let (touched, sources, simulated) =
            (Touched::default(), self.sources(), self.is_simulated());
        let mut reporters: Vec<Box<dyn Reporter>> = vec![Box::new(touched.clone())];
        if let Some(folder) = &self.folder {
            // A folder that takes a journal but no events is odd, and no reason not to run.
            reporters.extend(
                FileReporter::in_folder(&folder.path, simulated)
                    .map(|r| Box::new(r) as Box<dyn Reporter>),
            );
        }
        reporters.extend(front.reporters);
        let asks = front.asker.waits();
        let folder = self.folder.as_ref();
        let target = &self.start.head().target;
        let mut couriers = folder.and_then(|run| notify::couriers(run, target, asks));
        reporters.extend(couriers.as_mut().map(notify::Couriers::bell));
        // A simulated cluster goes with the folder, so that no other process is ever at the same one.
        let nonce = if simulated {
            "simulated".to_owned()
        } else {
            wire::random().map_err(EngineError::Random)?
        };
        let (start, transport, names) = (self.start, self.way.transport(), self.cluster.names());
        let tools = Tools {
            run: start.run(self.clock.now(), &self.who, nonce),
            registry: self.registry,
            cluster: self.cluster.clone(),
            transport: Rc::clone(&transport),
            clock: self.clock,
            events: Events::new(self.clock, reporters),
            asker: front.asker,
            secrets: Rc::new(self.secrets),
            stop: front.stop,
            deliver_failures: front.deliver_failures,
            no_wait: front.no_wait,
            approved: self.approved,
            who: self.who,
        };
        // Connections cost most when they are made: make them all now, side by side, and let nobody wait for the slowest.
        let journal = self.way.journal(self.journal);
        let engine = Engine::new(self.script, journal, tools);
        let warm = pin!(transport.warm(&names));
        let ended = match select(warm, pin!(engine.run(start))).await {
            Either::Left((_, run)) => run.await,
            Either::Right((ended, _)) => ended,
        };
        self.way.leave();
        if let Some(couriers) = couriers {
            couriers.end();
        }
        Ok(Played {
            id: self.id,
            finish: ended?,
            touched: touched.0.get(),
            simulated,
            cluster: self.cluster,
            sources,
            untold: self
                .folder
                .map_or_else(Vec::new, |run| notify::untold(&run.path)),
        })
    }
}
