//! What an op is given: the cluster, a way to run commands, its deadline, and a place to leave witnesses.

mod looks;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::contract::claim;
use crate::contract::cluster::Cluster;
use crate::contract::cmd::{Cmd, Guard, Output};
use crate::contract::error::{Kind, OpError};
use crate::contract::path::StepPath;
use crate::contract::reach::{ContactError, Facts, Transport, Turn};
use crate::contract::run::Run;
use crate::contract::schema::{Member, Span};

/// The runner, as an op sees it.
pub trait Host {
    /// The run.
    fn run(&self) -> &Run;
    /// The cluster that the run is about.
    fn cluster(&self) -> &Cluster;
    /// The way to its members.
    fn transport(&self) -> &dyn Transport;
    /// The time, which is virtual against the twin.
    fn now(&self) -> Timestamp;
    /// Makes `data` durable under the step `path` before it resolves.
    fn witness<'a>(
        &'a self,
        path: &'a StepPath,
        data: Value,
    ) -> LocalBoxFuture<'a, Result<(), OpError>>;
    /// Asks the operator. None where nobody is there to be asked.
    fn ask<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Option<bool>>;
    /// Tells whoever watches. Bears no correctness.
    fn note(&self, path: &StepPath, note: Note<'_>);
}

/// How much a line of the log matters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// For whoever wants to see everything.
    Debug,
    /// Good to know.
    #[default]
    Info,
    /// Something isn't as it should be.
    Warn,
}

/// Something worth showing while a step runs.
#[derive(Debug)]
pub enum Note<'a> {
    /// How far it is.
    Progress {
        /// Units done, of `total`.
        done: u64,
        /// Units in all, where known.
        total: Option<u64>,
        /// What is being done or waited for.
        text: String,
    },
    /// It does nothing but wait until then, and would find out by itself if it were started again.
    Waits(Timestamp),
    /// A command went to a member and this came back.
    Command {
        /// The member.
        member: &'a Member,
        /// The command.
        cmd: &'a Cmd,
        /// What came back.
        result: Result<&'a Output, &'a ContactError>,
        /// How long it took.
        took: Duration,
    },
    /// A running command has printed this.
    Printed {
        /// The member.
        member: &'a Member,
        /// The last of it, in whole lines.
        lines: &'a str,
    },
    /// A line for the log.
    Log {
        /// How much it matters.
        level: LogLevel,
        /// The line.
        text: &'a str,
    },
    /// The connection to a member broke while nothing ran over it, and was made again.
    Reconnected {
        /// The member.
        member: &'a Member,
        /// Why it had broken.
        reason: &'a str,
    },
    /// Contact with a member was lost; the step waits for it.
    Away {
        /// The member.
        member: &'a Member,
        /// Why.
        reason: &'a str,
    },
}

/// What one look at the world gave, if it is as wanted.
pub type Look<T> = Result<T, Unmet>;

/// Why a look gave nothing.
#[derive(Debug)]
pub enum Unmet {
    /// It isn't as wanted yet, because of this: look again.
    NotYet(String),
    /// The look itself failed, and another one won't help.
    Failed(OpError),
}

impl Unmet {
    /// An error is a reason to look again, in these words, unless a member can't be reached.
    pub fn of(error: OpError, words: impl FnOnce(&OpError) -> String) -> Self {
        if error.kind == Kind::Unreachable {
            Self::Failed(error)
        } else {
            Self::NotYet(words(&error))
        }
    }
}

impl From<OpError> for Unmet {
    fn from(error: OpError) -> Self {
        Self::Failed(error)
    }
}

/// How often what a command prints is passed on while it runs. One that ends before is read to its end instead.
const PACE: Duration = Duration::from_secs(2);

/// After how long those that haven't answered are named, and how often.
const SILENCE: Duration = Duration::from_secs(5);

/// The context of one attempt of one step.
pub struct Cx {
    host: Rc<dyn Host>,
    path: StepPath,
    timeout: Span,
    deadline: Instant,
    left: RefCell<Vec<Value>>,
    /// Somebody was shown how far the step is since the last look.
    reported: Cell<bool>,
    /// What the last look of `until` missed.
    missing: RefCell<Option<String>>,
    /// Members that answered since the attempt began.
    answered: RefCell<BTreeSet<Member>>,
    /// Members that were asked something and haven't answered, with when, in a look that names them.
    asked: RefCell<Option<Vec<(Member, Instant)>>>,
    /// What must be so on every member, or nothing is begun there.
    guard: Option<Guard>,
}

impl Cx {
    /// A context for the step `path`, which has until `timeout` from now. `left` are the witnesses of earlier attempts.
    pub fn new(
        host: Rc<dyn Host>,
        path: impl Into<StepPath>,
        timeout: Span,
        left: Vec<Value>,
    ) -> Self {
        Self {
            host,
            path: path.into(),
            timeout,
            deadline: Instant::now() + timeout.0,
            left: RefCell::new(left),
            reported: Cell::new(false),
            missing: RefCell::new(None),
            answered: RefCell::default(),
            asked: RefCell::default(),
            guard: None,
        }
    }

    /// A context in which members begin commands only where this is so.
    #[must_use]
    pub fn guarded(mut self, guard: Option<Guard>) -> Self {
        self.guard = guard;
        self
    }

    /// The run that the step belongs to.
    #[must_use]
    pub fn run(&self) -> &Run {
        self.host.run()
    }

    /// The cluster that the run is about.
    #[must_use]
    pub fn cluster(&self) -> &Cluster {
        self.host.cluster()
    }

    /// All members, in the cluster's order.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.cluster().names()
    }

    /// The step's path, for example `MicroCeph/micro2/snap.refresh#1`.
    #[must_use]
    pub fn path(&self) -> &StepPath {
        &self.path
    }

    /// The time, which is virtual against the twin.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.host.now()
    }

    /// Asks the operator. None where nobody is there to be asked.
    pub async fn ask_operator(&self, question: &str) -> Option<bool> {
        self.host.ask(question).await
    }

    /// When the step's time is up.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How long the step may take.
    #[must_use]
    pub fn timeout(&self) -> Span {
        self.timeout
    }

    /// See [`Transport::turn`].
    pub(crate) async fn turn(&self) -> Option<Turn> {
        self.host.transport().turn().await
    }

    /// What is known of `member` since it was reached.
    ///
    /// # Errors
    /// Where it can't be reached.
    pub async fn facts(&self, member: &Member) -> Result<Facts, OpError> {
        let facts = self.host.transport().facts(member).await;
        facts.map_err(|e| OpError::contact(member, &e))
    }

    /// Runs a command on a member. The output is returned whatever its exit status.
    ///
    /// # Errors
    /// Where the member can't be reached, or contact was lost before the command's end was known.
    pub async fn cmd(&self, member: &Member, cmd: &Cmd) -> Result<Output, OpError> {
        let mut outputs = self.batch(member, std::slice::from_ref(cmd)).await?;
        outputs
            .pop()
            .ok_or_else(|| OpError::command("the transport returned no output").on(member))
    }

    /// Runs several commands on a member in one exec, one after the other.
    ///
    /// # Errors
    /// As [`Cx::cmd`], and where the cluster belongs to somebody else by now: then nothing was begun.
    pub async fn batch(&self, member: &Member, batch: &[Cmd]) -> Result<Vec<Output>, OpError> {
        if self.cluster().is_member(member) {
            return self.send(member, batch, self.guard.as_ref()).await;
        }
        self.still_ours().await?;
        self.send(member, batch, None).await
    }

    /// Makes sure that the cluster still belongs to this process, before something is changed that isn't on a member.
    ///
    /// # Errors
    /// Where it doesn't, or no member answers.
    pub(crate) async fn still_ours(&self) -> Result<(), OpError> {
        if self.guard.is_none() {
            return Ok(());
        }
        let nothing = Cmd::user(["/usr/bin/true"]);
        let mut last = None;
        for member in self.members() {
            let batch = std::slice::from_ref(&nothing);
            match self.send(&member, batch, self.guard.as_ref()).await {
                Err(error) if error.kind == Kind::Unreachable => last = Some(error),
                other => return other.map(drop),
            }
        }
        last.map_or(Ok(()), Err)
    }

    /// As [`Cx::batch`], whosever the cluster is: for the lock, whose programs compare by themselves.
    pub(crate) async fn unguarded(
        &self,
        member: &Member,
        batch: &[Cmd],
    ) -> Result<Vec<Output>, OpError> {
        self.send(member, batch, None).await
    }

    async fn send(
        &self,
        member: &Member,
        batch: &[Cmd],
        guard: Option<&Guard>,
    ) -> Result<Vec<Output>, OpError> {
        if batch.iter().any(Cmd::holds_nul) {
            return Err(OpError::new(Kind::Args, "a command can't hold a NUL"));
        }
        let began = Instant::now();
        let batch: Vec<Cmd> = batch.iter().map(|cmd| self.own(cmd, guard)).collect();
        let mut result = self.listen(member, &batch).await;
        let took = began.elapsed();
        if result.is_ok() {
            self.answered.borrow_mut().insert(member.clone());
        }
        if let Ok([output]) = result.as_deref_mut() {
            output.took = Some(took);
        }
        if let Some(reason) = self.host.transport().reconnected(member) {
            self.host.note(
                &self.path,
                Note::Reconnected {
                    member,
                    reason: &reason,
                },
            );
        }
        for (i, cmd) in batch.iter().enumerate() {
            let result = result.as_ref().map(|outputs| &outputs[i]);
            self.host.note(
                &self.path,
                Note::Command {
                    member,
                    cmd,
                    result,
                    took,
                },
            );
        }
        result.map_err(|e| match e {
            ContactError::Taken(says) => {
                OpError::new(Kind::Taken, claim::taken(&says, self.run())).on(member)
            }
            e => OpError::contact(member, &e),
        })
    }

    /// From now on members that take long to answer are named while they are waited for: for looks that ask many at once.
    pub fn name_the_silent(&self) {
        self.asked.replace(Some(Vec::new()));
    }

    /// Tells who hasn't answered for some time.
    fn tell_the_silent(&self) {
        let asked = self.asked.borrow();
        let mut silent: Vec<&str> = asked
            .iter()
            .flatten()
            .filter(|(_, since)| since.elapsed() >= SILENCE)
            .map(|(member, _)| member.as_str())
            .collect();
        silent.sort_unstable();
        silent.dedup();
        if !silent.is_empty() {
            self.tell(0, None, format!("no answer yet from {}", silent.join(", ")));
        }
    }

    /// Runs a batch, and reports now and then what the programs in it that talk have printed last.
    async fn listen(&self, member: &Member, batch: &[Cmd]) -> Result<Vec<Output>, ContactError> {
        let asked = (member.clone(), Instant::now());
        if let Some(list) = &mut *self.asked.borrow_mut() {
            list.push(asked.clone());
        }
        let result = self.hear(member, batch).await;
        if let Some(list) = &mut *self.asked.borrow_mut()
            && let Some(i) = list.iter().position(|one| *one == asked)
        {
            list.swap_remove(i);
        }
        result
    }

    async fn hear(&self, member: &Member, batch: &[Cmd]) -> Result<Vec<Output>, ContactError> {
        let (printed, news) = (RefCell::new(String::new()), Notify::new());
        let ear = |number: usize, lines: &str| {
            let talks = |cmd: &Cmd| cmd.talks && !cmd.private;
            if batch.get(number).is_some_and(talks) {
                printed.replace(lines.to_owned());
                news.notify_one();
            }
        };
        let tell = async {
            let mut passed_on = String::new();
            if self.asked.borrow().is_some() {
                loop {
                    sleep_until(Instant::now() + SILENCE).await;
                    self.tell_the_silent();
                }
            }
            loop {
                let due = Instant::now() + PACE;
                while *printed.borrow() == passed_on {
                    news.notified().await;
                }
                sleep_until(due).await;
                passed_on.clone_from(&printed.borrow());
                let lines = &passed_on;
                self.host.note(&self.path, Note::Printed { member, lines });
            }
        };
        tokio::select! {
            biased;
            result = self.host.transport().run(member, batch, &ear) => result,
            never = tell => never,
        }
    }

    fn own(&self, cmd: &Cmd, guard: Option<&Guard>) -> Cmd {
        Cmd {
            step: self.path.to_string(),
            guard: guard.cloned(),
            ..cmd.clone()
        }
    }

    /// Runs a command on the first of `members` that answers with success, and says which that was.
    ///
    /// # Errors
    /// With the last member's failure, if none did.
    pub async fn ask(&self, members: &[Member], cmd: &Cmd) -> Result<(Member, Output), OpError> {
        let mut last = OpError::refused("there is no member to ask");
        for member in members {
            match self.cmd(member, cmd).await {
                Ok(output) => match output.text(cmd, member) {
                    Ok(_) => return Ok((member.clone(), output)),
                    Err(e) => last = e,
                },
                Err(e) if e.kind == Kind::Taken => return Err(e),
                Err(e) => last = e,
            }
        }
        Err(last)
    }

    /// As [`Cx::ask`], and reads what was printed as JSON.
    ///
    /// # Errors
    /// As [`Cx::ask`], and where it printed something else.
    pub async fn ask_json<T: DeserializeOwned>(
        &self,
        members: &[Member],
        cmd: &Cmd,
    ) -> Result<(Member, T), OpError> {
        let (asked, output) = self.ask(members, cmd).await?;
        let value = output.json(cmd, &asked)?;
        Ok((asked, value))
    }

    /// Whether a member has answered since the attempt began.
    #[must_use]
    pub fn has_answer(&self, member: &Member) -> bool {
        self.answered.borrow().contains(member)
    }

    /// Whether no member has answered since the attempt began.
    #[must_use]
    pub fn has_no_answer(&self) -> bool {
        self.answered.borrow().is_empty()
    }

    /// What the last look of [`Cx::until`] missed.
    #[must_use]
    pub fn missing(&self) -> Option<String> {
        self.missing.borrow().clone()
    }

    /// Leaves a witness: once this returns, a later probe finds `data` in [`Cx::left`], whatever happens to lockstep.
    ///
    /// # Errors
    /// Where the journal can't be written.
    pub async fn witness(&self, data: &impl Serialize) -> Result<(), OpError> {
        let data = serde_json::to_value(data)
            .map_err(|e| OpError::command(format!("a witness can't be written: {e}")))?;
        self.host.witness(&self.path, data.clone()).await?;
        self.left.borrow_mut().push(data);
        Ok(())
    }

    /// The last witness left by this step, in this attempt or an earlier one, that reads as a `T`.
    #[must_use]
    pub fn left<T: DeserializeOwned>(&self) -> Option<T> {
        self.left
            .borrow()
            .iter()
            .rev()
            .find_map(|data| T::deserialize(data).ok())
    }

    /// All witnesses of this step, oldest first.
    #[must_use]
    pub fn witnesses(&self) -> Vec<Value> {
        self.left.borrow().clone()
    }

    /// Tells whoever watches how far the step is.
    pub fn progress(&self, done: u64, total: Option<u64>, text: impl Into<String>) {
        self.reported.set(true);
        self.tell(done, total, text.into());
    }

    /// Says that nothing but time has to pass until then: whatever becomes of this process, the step continues from what is
    /// recorded or from the clock. The run may end meanwhile.
    pub fn waits(&self, until: Timestamp) {
        self.host.note(&self.path, Note::Waits(until));
    }

    /// Says a line, for the log.
    pub fn say(&self, level: LogLevel, text: &str) {
        self.host.note(&self.path, Note::Log { level, text });
    }

    fn tell(&self, done: u64, total: Option<u64>, text: String) {
        let note = Note::Progress { done, total, text };
        self.host.note(&self.path, note);
    }
}

#[cfg(test)]
mod tests;
