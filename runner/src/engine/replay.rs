//! Continuing a run: the journal's completions are played back in their order, the cluster is looked at, and what was
//! under way is dealt with. *Replay decides where we were; observation decides what is true.*

use std::time::Duration;

use lockstep_modules::contract::error::{Kind, OpError};
use lockstep_modules::contract::near;
use lockstep_modules::contract::op::{Effect, Observation, Op};
use lockstep_modules::ops::lock::{
    self, MemberLock, Read as WhoseIsIt, ReadOut as WhoseIsItOut, Release, Take,
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::attempt::{Attempt, Verdict};
use super::divergence::{changed, diverged, not_asked};
use super::{Begin, Decisions, Engine, EngineError, Finish, Resume};
use crate::call::Call;
use crate::failure::Failure;
use crate::journal::{By, Choice, History, Phase, Record, Step, Suspended};
use crate::script::Demand;
use lockstep_modules::contract::path::StepPath;

/// The op that shows what the cluster is like. A resumed run looks with it before it does anything.
const LOOK: &str = "status.read";

/// How an operator who knows better continues a run.
const TRUST: &str = "resume with --trust-cluster to continue anyway";

/// The members that were reached once and give no answer now.
fn silent<'a>(known: &'a Observation, observed: &Observation) -> Vec<&'a str> {
    let reached = known.iter().filter_map(|(key, then)| {
        let answers = observed.get(key) == Some(then);
        key.strip_suffix("/reachable").filter(|_| !answers)
    });
    reached.collect()
}

fn no_answer(members: &[&str]) -> String {
    let members = members.join(", ");
    format!("no answer from {members}: the current state there is unknown")
}

/// Whether a fact is about a member. The lock is kept on each of them.
fn is_about(key: &str, name: &str) -> bool {
    key.split('/').any(|part| part == name)
}

impl Engine {
    /// Plays the journal back, and sets going what it leaves. Returns an end where the run pauses again at once.
    pub(super) async fn replay(&mut self, resume: Resume) -> Result<Option<Finish>, EngineError> {
        let Resume {
            history,
            decisions,
            trust_cluster,
            abort,
        } = resume;
        let pending = self.play_back(&history)?;
        self.touched = history.steps.values().any(Step::touched);
        check_decisions(&decisions, &pending, &history)?;
        if let Some(outcome) = self.script.outcome().cloned() {
            return self.end(&outcome).map(Some);
        }
        let blind = self.resumed(Observation::new());
        let sitting = self.tools.run.sitting.clone();
        self.append([Record::Sitting(sitting)])?;
        // An abort restores what it can reach.
        let unasked = trust_cluster || abort || self.cancelled;
        if let Err(reason) = self.own(&history, unasked).await {
            self.append([blind])?;
            return self.suspend(Suspended::Fenced(reason)).map(Some);
        }
        if self.cancelled {
            self.append([blind])?;
        } else if abort {
            // What is restored is looked at when that is done; the rest of the cluster isn't ours any more.
            let who = self.tools.who.clone();
            self.append([blind, Record::Cancel { who }])?;
            self.cancelled = true;
            self.script.cancel();
        } else if self.tools.registry.op(LOOK).is_err() {
            self.append([blind])?;
        } else if let Some(reason) = self.fence(&history, &pending, trust_cluster).await? {
            return self.suspend(Suspended::Fenced(reason)).map(Some);
        }
        self.set_going(pending, &history, &decisions)?;
        Ok(None)
    }

    /// Delivers the journal's completions in their order, holding every step that is asked for against the journal.
    /// Returns the steps that wait, in the order in which they were asked for.
    fn play_back(&mut self, history: &History) -> Result<Vec<Call>, EngineError> {
        let mut completions = history.completions.iter();
        let mut pending: Vec<Call> = Vec::new();
        let mut delivered = 0;
        loop {
            // What the playbook logged was logged then.
            let demands = match self.script.poll() {
                Ok(demands) => demands,
                Err(failure) => return Err(EngineError::Script(Box::new(failure))),
            };
            for demand in demands {
                let Demand::Step(call) = demand else { continue };
                match history.steps.get(&call.path) {
                    Some(step) if !call.is_same(&step.op, &step.args) => {
                        return Err(changed(&call, step).into());
                    }
                    None if completions.len() > 0 => {
                        let next = completions.next().map_or("", |c| c.path.as_str());
                        let now = format!("{} ({})", call.path, call.site);
                        let then = format!("{next} followed");
                        let divergence = diverged("it requests a new step", then, now);
                        return Err(divergence.between("", &call.site).into());
                    }
                    _ => pending.push(call),
                }
            }
            if history.cancelled == Some(delivered) {
                self.cancelled = true;
                self.script.cancel();
            }
            delivered += 1;
            let Some(completion) = completions.next() else {
                break;
            };
            if !self.script.waits_for(&completion.path) {
                let ended = self.script.outcome().is_some();
                return Err(not_asked(&completion.path, history, ended).into());
            }
            pending.retain(|call| call.path != completion.path);
            if let (Ok(value), Some(step)) =
                (&completion.result, history.steps.get(&completion.path))
            {
                self.switched(&step.op, &step.args, value);
            }
            let taken = self.script.complete(&completion.path, &completion.result);
            taken.map_err(|failure| EngineError::Internal(failure.to_string()))?;
        }
        let open = |step: &Step| !matches!(step.phase, Phase::Done | Phase::Failed);
        let asked = |path: &StepPath| pending.iter().any(|call| call.path == *path);
        let lost = history
            .steps
            .iter()
            .find(|(path, step)| open(step) && !asked(path));
        match lost {
            Some((path, _)) => {
                Err(not_asked(path, history, self.script.outcome().is_some()).into())
            }
            None => Ok(pending),
        }
    }

    fn resumed(&self, observed: Observation) -> Record {
        let who = self.tools.who.clone();
        Record::Resume { who, observed }
    }

    /// Looks at the cluster and compares it with what the run knows. Returns the differences, if nothing explains them.
    async fn fence(
        &mut self,
        history: &History,
        pending: &[Call],
        trusted: bool,
    ) -> Result<Option<String>, EngineError> {
        let observed = match self.look().await {
            Ok(observed) => observed,
            Err(error) => {
                self.append([self.resumed(Observation::new())])?;
                if trusted {
                    return Ok(None);
                }
                let on = error
                    .member
                    .as_deref()
                    .map_or_else(String::new, |m| format!("{m}: "));
                return Ok(Some(format!("the cluster can't be inspected: {on}{error}")));
            }
        };
        let registry = self.tools.registry.clone();
        let known = history.expectation(|step, value| {
            registry.op(&step.op).map_or_else(
                |_| Observation::new(),
                |op| op.call.observed(&step.args, value),
            )
        });
        // Whose the cluster is was seen to just now.
        let owned = self.host.guard().map(|_| lock::FACT.to_owned());
        let explained: Vec<String> = pending
            .iter()
            .filter_map(|call| Some(registry.op(&call.op).ok()?.call.touches(&call.args)))
            .flatten()
            .chain(owned)
            .collect();
        let unexplained = |key: &String| !explained.iter().any(|prefix| key.starts_with(prefix));
        let silent = silent(&known, &observed);
        let answers_now = |key: &String| !silent.iter().any(|member| is_about(key, member));
        let differences: Vec<String> = known
            .iter()
            .filter(|(key, then)| {
                observed.get(*key) != Some(then) && unexplained(key) && answers_now(key)
            })
            .map(|(key, then)| {
                format!(
                    "{key}: {then} → {}",
                    observed.get(key).map_or("unknown", String::as_str)
                )
            })
            .collect();
        if trusted || differences.is_empty() && silent.is_empty() {
            self.append([self.resumed(observed)])?;
            return Ok(None);
        }
        // What is not accepted must not become what the next resume compares with.
        self.append([self.resumed(Observation::new())])?;
        let mut reasons = Vec::new();
        if !silent.is_empty() {
            reasons.push(no_answer(&silent));
        }
        if !differences.is_empty() {
            reasons.push(format!(
                "something else changed the cluster since this run last saw it:\n  {}",
                differences.join("\n  ")
            ));
        }
        reasons.push(TRUST.to_owned());
        Ok(Some(reasons.join("\n")))
    }

    /// Sees to it that the cluster is still this run's, if it had taken it, and from now on this sitting's: the claims of the
    /// sittings before are replaced, one that is gone is taken again, and whatever the operator trusts, nobody else's is
    /// touched. Returns why the run can't continue.
    async fn own(&self, history: &History, unasked: bool) -> Result<(), String> {
        let done = |op: &str| {
            let steps = history.steps.values();
            let done = steps.filter(|step| step.op == op && step.phase == Phase::Done);
            done.count()
        };
        if done(Take::NAME) <= done(Release::NAME) {
            return Ok(());
        }
        let reason = |error: OpError| error.located();
        let locks = self.ask(WhoseIsIt::NAME, json!({})).await.map_err(reason)?;
        let locks = WhoseIsItOut::deserialize(locks).map_err(|e| e.to_string())?;
        let refusal = |lock: &MemberLock| {
            let why = lock.refusal(&self.tools.run)?;
            Some(format!("{}: {why}", lock.member))
        };
        let answered = |lock: &&MemberLock| !lock.away;
        if let Some(why) = locks.members.iter().filter(answered).find_map(refusal) {
            return Err(why);
        }
        let away = locks.members.iter().filter(|lock| lock.away);
        let away: Vec<&str> = away.map(|lock| lock.member.as_str()).collect();
        if !away.is_empty() && !unasked {
            return Err(format!("{}\n{TRUST}", no_answer(&away)));
        }
        let continued = |lock: &MemberLock| lock.continued(&self.tools.run).cloned();
        if let Some(sitting) = locks.members.iter().find_map(continued)
            && !unasked
        {
            return Err(format!(
                "{} was continued elsewhere by {}, as session {}, which has released the cluster; what it did isn't in this journal\n{TRUST}",
                history.head.id, sitting.who, sitting.number
            ));
        }
        let args = json!({"best_effort": unasked});
        let out = self.ask(Take::NAME, args).await.map_err(reason)?;
        self.host.owns(Take::NAME, &out);
        Ok(())
    }

    async fn look(&self) -> Result<Observation, OpError> {
        let value = self.ask(LOOK, json!({})).await?;
        let def = self.tools.registry.op(LOOK);
        let def = def.map_err(|e| OpError::refused(e.to_string()))?;
        Ok(def.call.observed(&json!({}), &value))
    }

    /// Plays an op beside the playbook.
    async fn ask(&self, op: &str, args: Value) -> Result<Value, OpError> {
        let def = self.tools.registry.op(op);
        let def = def.map_err(|e| OpError::refused(e.to_string()))?.clone();
        let attempt = Attempt {
            host: std::rc::Rc::clone(&self.host),
            path: "resume".into(),
            args,
            effect: def.effect,
            timeout: def.timeout,
            left: Vec::new(),
            patience: self.tools.cluster.ssh.patience,
            def,
        };
        match attempt.run().await {
            Verdict::Done(value, _) => Ok(value),
            Verdict::Failed(error) | Verdict::InDoubt(error) => Err(error),
            Verdict::NotStarted(why) => Err(OpError::new(Kind::Unreachable, why)),
        }
    }

    /// Sets going every step that waits, as its past and the operator's decisions ask for.
    fn set_going(
        &mut self,
        pending: Vec<Call>,
        history: &History,
        decisions: &Decisions,
    ) -> Result<(), EngineError> {
        self.announce(&history.head, history.completions.len());
        let mut records = Vec::new();
        let (mut beginning, mut refused) = (Vec::new(), Vec::new());
        for call in pending {
            let path = call.path.clone();
            let step = history.steps.get(&path);
            if step.is_none() {
                records.push(Record::intent(&call));
            }
            let attempts = step.map_or(0, |s| s.attempts);
            let left = step.map_or_else(Vec::new, |s| s.witnesses.clone());
            let phase = step.map_or(&Phase::Issued, |s| &s.phase);
            let mut way = Way::of(&call, phase, decisions, self.cancelled);
            if let (Way::Run { .. }, Some(why), false) =
                (&way, self.objection(&call), decisions.retry.contains(&path))
            {
                way = Way::Refuse(why);
            }
            let again = matches!(way, Way::Run { .. });
            if let Way::Run { decided: true } | Way::Probe { decided: true } = way {
                records.push(self.decided(&path, Choice::Retry));
            }
            if again {
                records.push(Record::Start {
                    path: path.clone(),
                    attempt: attempts + 1,
                });
            }
            self.admit(call, attempts + u32::from(again), left)?;
            match way {
                Way::Deliver(result, choice) => self.operator.push_back((path, *result, choice)),
                Way::Refuse(why) => refused.push((path, why)),
                Way::Run { .. } => beginning.push((path, Begin::Run)),
                Way::Probe { .. } => beginning.push((path, Begin::Probe)),
            }
        }
        self.append(records)?;
        for (path, why) in refused {
            self.refuse(&path, why)?;
        }
        for (path, how) in beginning {
            self.begin(&path, how, Duration::ZERO);
        }
        Ok(())
    }

    /// Delivers what the operator decided, one at a time: strands must run in the order in which a replay will run them. A
    /// decision is on disk with what follows from it, or not at all.
    pub(super) fn deliver_decided(&mut self) -> Result<bool, EngineError> {
        let Some((path, result, choice)) = self.operator.pop_front() else {
            return Ok(false);
        };
        self.deliver(&path, &result, By::Operator, choice)?;
        Ok(true)
    }
}

/// What is done with a step that waits.
enum Way {
    Run {
        decided: bool,
    },
    Probe {
        decided: bool,
    },
    /// The playbook gets this, because of what the operator decided or of an abort.
    Deliver(Box<Result<Value, Failure>>, Option<Choice>),
    /// It isn't in the plan.
    Refuse(String),
}

impl Way {
    fn of(call: &Call, phase: &Phase, decisions: &Decisions, cancelled: bool) -> Self {
        let (path, effect) = (&call.path, call.effect);
        if let Some(value) = decisions.assume_done.get(path) {
            return Self::Deliver(Box::new(Ok(value.clone())), Some(Choice::AssumeDone));
        }
        if decisions.retry.contains(path) {
            return Self::Run {
                decided: *phase != Phase::Issued,
            };
        }
        // What may have been switched on has to be known before it can be restored; all else is left.
        let left = match phase {
            Phase::Running => effect == Effect::Read,
            Phase::Held { in_doubt, .. } => !in_doubt,
            Phase::Issued => true,
            Phase::Done | Phase::Failed => false,
        };
        if left && cancelled && !call.cleaning {
            return Self::Deliver(Box::new(Err(aborted(call, phase))), None);
        }
        match phase {
            Phase::Held { failure, .. } if decisions.deliver => {
                let failure = Failure::clone(failure);
                Self::Deliver(Box::new(Err(failure)), Some(Choice::Deliver))
            }
            Phase::Held { in_doubt: true, .. } if effect == Effect::Once => {
                Self::Probe { decided: true }
            }
            Phase::Held { .. } => Self::Run { decided: true },
            Phase::Running if effect == Effect::Once => Self::Probe { decided: false },
            Phase::Running | Phase::Issued | Phase::Done | Phase::Failed => {
                Self::Run { decided: false }
            }
        }
    }
}

/// What a step fails with that an abort came before.
fn aborted(call: &Call, phase: &Phase) -> Failure {
    let message = match phase {
        Phase::Held { failure, .. } => format!("the run was aborted here: {}", failure.message),
        _ => "the run was aborted before this was done".to_owned(),
    };
    let error = OpError::new(Kind::Cancelled, message);
    Failure::of_step(error, call, None)
}

fn check_decisions(
    decisions: &Decisions,
    pending: &[Call],
    history: &History,
) -> Result<(), EngineError> {
    let open: Vec<&str> = pending.iter().map(|call| call.path.as_str()).collect();
    for path in decisions.retry.iter().chain(decisions.assume_done.keys()) {
        if open.contains(&path.as_str()) {
            continue;
        }
        let done = history
            .steps
            .get(path)
            .is_some_and(|s| matches!(s.phase, Phase::Done | Phase::Failed));
        let why = if done {
            "has already ended".to_owned()
        } else {
            format!("is not waiting{}", near::hint(path.as_str(), &open))
        };
        return Err(EngineError::Decision(format!(
            "the step {path} {why}; waiting steps: {}",
            open.join(", ")
        )));
    }
    Ok(())
}
