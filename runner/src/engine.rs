//! The engine: one loop between the script, the journal and the effects.
//!
//! It takes *one* completion, delivers it, runs every strand until all of them wait, appends the completion and what they
//! asked for as one group, begins the effects, and so on. A resumed run is the same loop with the journal as the source of
//! its first completions. Nothing is spawned: effects live in one `FuturesUnordered` and end with the engine.

mod approved;
mod attempt;
mod divergence;
mod ending;
mod finish;
mod host;
mod replay;
mod start;
mod tools;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use lockstep_modules::contract::cx::LogLevel;
use lockstep_modules::contract::error::{Kind, OpError};
use lockstep_modules::contract::op::{Effect, OpDef};
use lockstep_modules::contract::schema::{Member, required};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::call::Call;
use crate::event::{Change, Event, Interruption, StepInfo};
use crate::failure::Failure;
use crate::journal::{By, Choice, Head, Journal, JournalError, Record, Suspended};
use crate::script::{Demand, Script};
use attempt::{Attempt, Verdict};
use host::{RunHost, Wait, Witness};
use lockstep_modules::contract::path::StepPath;

pub(crate) use approved::{Approved, Planned};
pub use divergence::Divergence;
pub use finish::{EngineError, Finish, Held};
pub use start::{Decisions, Resume, Start};
pub use tools::{Answer, Asker, Stop, Tools};

/// A run in motion.
pub struct Engine {
    script: Script,
    journal: Box<dyn Journal>,
    tools: Tools,
    host: Rc<RunHost>,
    witnesses: mpsc::UnboundedReceiver<Witness>,
    waits: mpsc::UnboundedReceiver<Wait>,
    steps: BTreeMap<StepPath, Live>,
    effects: FuturesUnordered<LocalBoxFuture<'static, (StepPath, Verdict)>>,
    held: Vec<Held>,
    /// How many of these asked if the run may begin at all, and were refused.
    refusals: usize,
    /// Asked for while the run was held or drained: recorded, and not begun.
    parked: usize,
    /// What the operator decided and the playbook hasn't seen yet.
    operator: VecDeque<Decided>,
    /// What the next group begins with: a result that the playbook has seen, and nobody else.
    unwritten: Vec<Record>,
    /// What is shown once that is on disk.
    unshown: Vec<Event>,
    /// The run is being aborted.
    cancelled: bool,
    stop: Stop,
    /// A step that changes something has begun, and wasn't refused.
    touched: bool,
    /// What is switched on and has to be off in the end, by what it is: how that is typed.
    on: BTreeMap<String, String>,
}

/// A step's result as the operator decided it, with the decision that it follows from.
type Decided = (StepPath, Result<Value, Failure>, Option<Choice>);

/// A step that has no result yet.
struct Live {
    call: Call,
    def: OpDef,
    attempts: u32,
    restarts: u32,
    left: Vec<Value>,
    began: tokio::time::Instant,
    /// It does nothing but wait until then.
    waits: Option<Timestamp>,
}

/// Where a step is on its way into the world.
enum Begin {
    Run,
    /// The world is asked first what became of an earlier attempt.
    Probe,
}

impl Engine {
    /// An engine for `script`, which has been started.
    #[must_use]
    pub fn new(script: Script, journal: Box<dyn Journal>, mut tools: Tools) -> Self {
        let (sender, witnesses) = mpsc::unbounded_channel();
        let (waiting, waits) = mpsc::unbounded_channel();
        tools.events = tools.events.hiding(Rc::clone(&tools.secrets));
        let host = RunHost::new(&tools, sender, waiting);
        Self {
            script,
            journal,
            tools,
            host: Rc::new(host),
            witnesses,
            waits,
            steps: BTreeMap::new(),
            effects: FuturesUnordered::new(),
            held: Vec::new(),
            refusals: 0,
            parked: 0,
            operator: VecDeque::new(),
            unwritten: Vec::new(),
            unshown: Vec::new(),
            cancelled: false,
            stop: Stop::No,
            touched: false,
            on: BTreeMap::new(),
        }
    }

    /// Plays the script until it ends or pauses.
    ///
    /// # Errors
    /// Where the journal can't be written, or doesn't fit the playbook.
    pub async fn run(mut self, start: Start) -> Result<Finish, EngineError> {
        let paused = match start {
            Start::Fresh(head) => {
                let began = self.tools.run.began;
                let sitting = Record::Sitting(self.tools.run.sitting.clone());
                self.append_at(began, [Record::Run(head.clone()), sitting])?;
                self.announce(&head, 0);
                None
            }
            Start::Resumed(resume) => self.replay(*resume).await?,
        };
        let finish = match paused {
            Some(finish) => finish,
            None => self.play().await?,
        };
        self.tools.events.emit(finish.event());
        Ok(finish)
    }

    fn announce(&self, head: &Head, replayed: usize) {
        self.tools.events.emit(Event::RunStarted {
            run: head.id.clone(),
            playbook: head.playbook.clone(),
            cluster: head.cluster.name.clone(),
            members: self.tools.cluster.names(),
            stages: self.script.playbook().stages.clone(),
            replayed,
        });
    }

    async fn play(&mut self) -> Result<Finish, EngineError> {
        loop {
            let demands = match self.script.poll() {
                Ok(demands) => demands,
                Err(failure) => return self.end(&Err(failure)),
            };
            self.take(demands)?;
            if let Some(outcome) = self.script.outcome().cloned() {
                return self.end(&outcome);
            }
            if self.deliver_decided()? {
                continue;
            }
            if self.effects.is_empty() {
                return self.pause();
            }
            if let Some(until) = self.only_waits() {
                return self.wait_elsewhere(until);
            }
            if let Some(finish) = self.next().await? {
                return Ok(finish);
            }
        }
    }

    /// Waits for the next thing to happen, and deals with it. The order is fixed, so that a run against the twin is the
    /// same every time: what the operator wants, then what has to be on disk, then one completion.
    async fn next(&mut self) -> Result<Option<Finish>, EngineError> {
        tokio::select! {
            biased;
            Ok(()) = self.tools.stop.changed() => self.interrupted(),
            Some(witness) = self.witnesses.recv() => self.witnessed(witness).map(|()| None),
            Some(wait) = self.waits.recv() => {
                self.steps.entry(wait.path).and_modify(|live| live.waits = Some(wait.until));
                Ok(None)
            }
            Some((path, verdict)) = self.effects.next() => self.settle(&path, verdict).map(|()| None),
        }
    }

    fn append(&mut self, records: impl IntoIterator<Item = Record>) -> Result<(), EngineError> {
        self.append_at(self.tools.clock.now(), records)
    }

    /// Appends a group: what is unwritten, and these. Then the results in it are shown.
    fn append_at(
        &mut self,
        at: Timestamp,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<(), EngineError> {
        let mut group = std::mem::take(&mut self.unwritten);
        group.extend(records);
        if !group.is_empty() {
            self.write(at, &group)?;
        }
        for event in self.unshown.drain(..) {
            self.tools.events.emit(event);
        }
        Ok(())
    }

    /// Writes a group, and waits for a database that is unavailable: nothing may happen that isn't recorded, so everything
    /// waits.
    fn write(&mut self, at: Timestamp, group: &[Record]) -> Result<(), EngineError> {
        let tell = |level, message: String| {
            let scope = String::new();
            self.tools.events.emit(Event::Log {
                level,
                scope,
                message,
            });
        };
        let mut waited = false;
        loop {
            let (source, again) = match self.journal.append(at, group) {
                Err(JournalError::Away { source, again }) => (source, again),
                appended => {
                    if waited && appended.is_ok() {
                        tell(LogLevel::Info, "the database is back".to_owned());
                    }
                    return appended.map_err(EngineError::Journal);
                }
            };
            if !waited {
                tell(
                    LogLevel::Warn,
                    format!("{source}; the run waits for it, and continues when it is back"),
                );
            }
            waited = true;
            #[expect(
                clippy::disallowed_methods,
                reason = "nothing of the run may pass meanwhile, its time least of all"
            )]
            std::thread::sleep(again);
        }
    }

    fn interrupted(&mut self) -> Result<Option<Finish>, EngineError> {
        let level = *self.tools.stop.borrow_and_update();
        self.stop = self.stop.max(level);
        let level = if self.stop == Stop::Now {
            Interruption::StopWaiting
        } else {
            Interruption::Drain
        };
        self.tools.events.emit(Event::Interrupted { level });
        if self.stop < Stop::Now {
            return Ok(None);
        }
        let running = self.steps.keys().cloned().collect();
        self.suspend(Suspended::UnderWay(running)).map(Some)
    }

    fn witnessed(&mut self, witness: Witness) -> Result<(), EngineError> {
        let Witness {
            path,
            data,
            written,
        } = witness;
        self.append([Record::Witness {
            path: path.clone(),
            data: data.clone(),
        }])?;
        if let Some(live) = self.steps.get_mut(&path) {
            live.left.push(data);
        }
        // The op may be gone already; the witness stays.
        let _ = written.send(());
        Ok(())
    }

    /// Records what the strands asked for, after the result that they saw, and begins it unless the run is pausing.
    fn take(&mut self, demands: Vec<Demand>) -> Result<(), EngineError> {
        let mut calls = Vec::new();
        for demand in demands {
            match demand {
                Demand::Step(call) => calls.push(call),
                Demand::Log {
                    level,
                    message,
                    scope,
                } => self.unshown.push(Event::Log {
                    level,
                    scope,
                    message,
                }),
            }
        }
        let pausing = !self.held.is_empty() || self.stop > Stop::No;
        let mut group: Vec<Record> = calls.iter().map(Record::intent).collect();
        if !pausing {
            group.extend(calls.iter().map(|call| Record::Start {
                path: call.path.clone(),
                attempt: 1,
            }));
        }
        self.append(group)?;
        for call in calls {
            if pausing {
                self.parked += 1;
                continue;
            }
            let path = call.path.clone();
            let outside = self.objection(&call);
            self.admit(call, 1, Vec::new())?;
            if let Some(why) = outside {
                self.refuse(&path, why)?;
                continue;
            }
            self.begin(&path, Begin::Run, Duration::ZERO);
        }
        Ok(())
    }

    /// Why a step is outside the plan, where there is one.
    fn objection(&self, call: &Call) -> Option<String> {
        self.tools.approved.as_ref()?.objection(call)
    }

    fn admit(&mut self, call: Call, attempts: u32, left: Vec<Value>) -> Result<(), EngineError> {
        // The script has checked that the op exists.
        let def = self.tools.registry.op(&call.op).cloned();
        let def = def.map_err(|unknown| EngineError::Internal(unknown.to_string()))?;
        let began = tokio::time::Instant::now();
        self.steps.insert(
            call.path.clone(),
            Live {
                call,
                def,
                attempts,
                restarts: 0,
                left,
                began,
                waits: None,
            },
        );
        Ok(())
    }

    /// Sets a live step going. Its start is on disk.
    fn begin(&mut self, path: &StepPath, how: Begin, after: Duration) {
        let Some(live) = self.steps.get_mut(path) else {
            return;
        };
        live.waits = None;
        let step = live.info();
        let timeout = live.call.options.timeout.unwrap_or(live.def.timeout);
        self.tools.events.emit(match how {
            Begin::Run => Event::StepStarted {
                step,
                attempt: live.attempts,
                timeout: timeout.0.as_secs(),
            },
            Begin::Probe => Event::StepProbed { step },
        });
        let attempt = Attempt {
            host: Rc::clone(&self.host),
            def: live.def.clone(),
            path: path.clone(),
            args: live.call.args.clone(),
            effect: live.call.effect,
            timeout,
            left: live.left.clone(),
            patience: self.tools.cluster.ssh.patience,
        };
        let path = path.to_owned();
        self.effects.push(Box::pin(async move {
            tokio::time::sleep(after).await;
            let verdict = match how {
                Begin::Run => attempt.run().await,
                Begin::Probe => attempt.probe().await,
            };
            (path, verdict)
        }));
    }

    /// An attempt has come to an end.
    fn settle(&mut self, path: &StepPath, verdict: Verdict) -> Result<(), EngineError> {
        let Some(live) = self.steps.get_mut(path) else {
            return Ok(());
        };
        let cancelled = self.cancelled && !live.call.cleaning;
        // A guard says no before its op changes anything.
        let refused = matches!(&verdict, Verdict::Failed(error) if error.kind == Kind::Refused);
        self.touched |= live.call.effect != Effect::Read && !refused;
        match verdict {
            Verdict::Done(value, by) => self.deliver(path, &Ok(value), by, None),
            Verdict::NotStarted(why) if cancelled => {
                let failure = live.failure(OpError::new(Kind::Cancelled, why));
                self.deliver(path, &Err(failure), By::Run, None)
            }
            Verdict::NotStarted(why) => {
                live.restarts += 1;
                if live.restarts > 3 || self.stop > Stop::No {
                    let failure = live.failure(OpError::new(Kind::Unreachable, why));
                    return self.hold(path, failure, false);
                }
                self.again(path, Duration::ZERO)
            }
            Verdict::InDoubt(error) => {
                let failure = live.failure(error);
                self.hold(path, failure, true)
            }
            Verdict::Failed(error) => {
                let failure = live.failure(error);
                let retry = live.call.options.retry.clone();
                let (attempts, caught) = (live.attempts, live.call.caught);
                if cancelled {
                    return self.deliver(path, &Err(failure), By::Run, None);
                }
                if let Some(retry) = retry.filter(|r| attempts <= r.times && self.stop == Stop::No)
                {
                    self.tools.events.emit(Event::StepRetried {
                        path: path.clone(),
                        failure,
                        attempt: attempts + 1,
                        wait: retry.every.0.as_secs(),
                    });
                    return self.again(path, retry.every.0);
                }
                // What a simulated cluster can't tell is no failure that a playbook may have a way around.
                if (caught || self.tools.deliver_failures) && failure.kind != Kind::Unknown {
                    return self.deliver(path, &Err(failure), By::Run, None);
                }
                self.hold(path, failure, false)
            }
        }
    }

    fn again(&mut self, path: &StepPath, after: Duration) -> Result<(), EngineError> {
        let Some(live) = self.steps.get_mut(path) else {
            return Ok(());
        };
        live.attempts += 1;
        let attempt = live.attempts;
        self.append([Record::Start {
            path: path.clone(),
            attempt,
        }])?;
        self.begin(path, Begin::Run, after);
        Ok(())
    }

    /// Lets the playbook have a result. It is recorded in one group with what the playbook asks for next, after the decision
    /// that it follows from. Where a crash comes first, the step is one whose end was missed.
    fn deliver(
        &mut self,
        path: &StepPath,
        result: &Result<Value, Failure>,
        by: By,
        decided: Option<Choice>,
    ) -> Result<(), EngineError> {
        let decided = decided.map(|choice| self.decided(path, choice));
        self.unwritten.extend(decided);
        self.unwritten.push(match result {
            Ok(value) => Record::Done {
                path: path.clone(),
                value: value.clone(),
                by,
            },
            Err(failure) => Record::Failed {
                path: path.clone(),
                failure: failure.clone(),
            },
        });
        if let Some(live) = self.steps.remove(path) {
            if let Ok(value) = result {
                self.host.owns(&live.call.op, value);
                self.switched(&live.call.op, &live.call.args, value);
            }
            self.unshown.push(match result {
                Ok(value) => Event::StepDone {
                    change: live.change(value),
                    step: live.info(),
                    summary: live.def.call.summary(value),
                    by,
                    ms: u64::try_from(live.began.elapsed().as_millis()).unwrap_or(u64::MAX),
                },
                Err(failure) => Event::StepFailed {
                    path: path.clone(),
                    failure: failure.clone(),
                },
            });
        }
        self.script
            .complete(path, result)
            .map_err(|failure| EngineError::Internal(failure.to_string()))
    }

    /// Pauses the run at a step: the playbook has seen nothing, and the cluster stays as it is.
    fn hold(
        &mut self,
        path: &StepPath,
        failure: Failure,
        in_doubt: bool,
    ) -> Result<(), EngineError> {
        self.append([Record::Hold {
            path: path.clone(),
            failure: failure.clone(),
            in_doubt,
        }])?;
        let live = self.steps.remove(path);
        let refused = failure.kind == Kind::Refused;
        self.refusals += usize::from(refused && live.as_ref().is_some_and(|l| l.def.requires()));
        self.tools.events.emit(Event::StepHeld {
            path: path.clone(),
            failure: failure.clone(),
            in_doubt,
        });
        self.held.push(Held {
            path: path.clone(),
            failure,
            in_doubt,
            needs_result: live.is_some_and(|live| required(&live.def.out).next().is_some()),
        });
        Ok(())
    }

    /// Holds a step that isn't in the plan.
    fn refuse(&mut self, path: &StepPath, why: String) -> Result<(), EngineError> {
        let error = OpError::refused(why);
        let failure = self.steps.get(path).map(|live| live.failure(error));
        failure.map_or(Ok(()), |failure| self.hold(path, failure, false))
    }

    fn decided(&self, path: &StepPath, choice: Choice) -> Record {
        Record::Decide {
            path: path.clone(),
            choice,
            who: self.tools.who.clone(),
        }
    }
}

impl Live {
    fn member(&self) -> Option<Member> {
        self.def.member(&self.call.args)
    }

    fn info(&self) -> StepInfo {
        StepInfo {
            path: self.call.path.clone(),
            op: self.call.op.clone(),
            member: self.member(),
            headline: self.def.call.headline(&self.call.args),
            effect: self.call.effect,
        }
    }

    fn change(&self, value: &Value) -> Option<Change> {
        let member = self.member();
        Change::of(&self.call.op, &self.call.args, member.as_ref(), value)
    }

    fn failure(&self, error: OpError) -> Failure {
        Failure {
            traceback: self.call.traceback.clone(),
            ..Failure::of_step(error, &self.call, self.member())
        }
    }
}
