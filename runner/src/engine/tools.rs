//! What the engine works with, and how it is stopped.

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::reach::Transport;
use lockstep_modules::contract::run::Run;
use tokio::sync::watch;

use super::approved::Approved;
use crate::clock::Clock;
use crate::event::Events;
use crate::secret::Secrets;

/// How far the operator wants the run to be stopped. Ordered: a later interrupt only ever asks for more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Not at all.
    #[default]
    No,
    /// Begin nothing new; wait for what runs, and record it.
    Drain,
    /// Leave what runs to itself; a resume will find out what became of it.
    Now,
}

/// What the engine works with.
pub struct Tools {
    /// The run, as [`Start::run`](super::Start::run) has it.
    pub run: Run,
    /// All ops.
    pub registry: Registry,
    /// The cluster.
    pub cluster: Cluster,
    /// The way to its members.
    pub transport: Rc<dyn Transport>,
    /// The time.
    pub clock: Clock,
    /// Whoever watches.
    pub events: Events,
    /// Whoever answers questions.
    pub asker: Rc<dyn Asker>,
    /// What ops are given and nobody gets to see.
    pub secrets: Rc<Secrets>,
    /// How far the operator wants the run to be stopped.
    pub stop: watch::Receiver<Stop>,
    /// A failure is delivered to the playbook instead of holding the run.
    pub deliver_failures: bool,
    /// Where nothing is left but to wait for a time, the run pauses until then.
    pub no_wait: bool,
    /// The run may do this and nothing else.
    pub approved: Option<Approved>,
    /// Who runs it, as `user@host`.
    pub who: String,
}

/// What was answered to a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Yes.
    Yes,
    /// No.
    No,
    /// Nobody is there to be asked.
    Nobody,
}

/// Answers the questions of a playbook's `confirm`.
pub trait Asker {
    /// Asks a person, or says that there is none.
    fn ask<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Answer>;

    /// Whether a person may take their time to answer.
    fn waits(&self) -> bool {
        false
    }
}

/// Always the same answer.
impl Asker for Answer {
    fn ask<'a>(&'a self, _: &'a str) -> LocalBoxFuture<'a, Answer> {
        Box::pin(std::future::ready(*self))
    }
}
