//! A journal folded into what is known of the run: which steps there are, how far each is, and in which order results
//! were delivered. The fold is the step state machine: a record that can't follow is refused while loading.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockstep_modules::contract::error::{DID, Kind};
use lockstep_modules::contract::op::{Effect, Observation};
use lockstep_modules::contract::run::Sitting;
use serde_json::Value;

use super::{By, Choice, Head, JournalError, Record, Suspended};
use crate::failure::Failure;
use lockstep_modules::contract::path::StepPath;

/// How far a step is.
#[derive(Clone, Debug, PartialEq)]
pub enum Phase {
    /// Asked for. Nothing was done.
    Issued,
    /// An attempt has begun, and its end is not known: its effect may exist.
    Running,
    /// The run pauses here.
    Held {
        /// Why.
        failure: Box<Failure>,
        /// Whether its effect may exist or still be running.
        in_doubt: bool,
    },
    /// Done, and delivered.
    Done,
    /// Failed, and delivered.
    Failed,
}

/// A step, as far as the journal knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Its op.
    pub op: String,
    /// Its arguments.
    pub args: Value,
    pub(crate) effect: Effect,
    pub(crate) site: String,
    /// How far it is.
    pub phase: Phase,
    /// Attempts begun so far.
    pub attempts: u32,
    /// What its attempts left in the world, oldest first.
    pub(crate) witnesses: Vec<Value>,
    /// When its first attempt began.
    pub began: Option<Timestamp>,
    /// When its end was recorded.
    pub ended: Option<Timestamp>,
    /// What its last failed attempt did all the same, as its result would have reported it.
    pub did: Option<Value>,
}

/// A completion, in the order of delivery.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// The step.
    pub path: StepPath,
    /// What was delivered.
    pub result: Result<Value, Failure>,
    /// How it is known.
    pub by: By,
}

/// What a journal says about its run.
#[derive(Clone, Debug)]
pub struct History {
    /// What is run.
    pub head: Head,
    pub(crate) began: Timestamp,
    /// When the last record was written.
    pub(crate) last: Timestamp,
    /// All steps asked for, by path.
    pub steps: BTreeMap<StepPath, Step>,
    /// What was delivered, in order.
    pub completions: Vec<Completion>,
    /// Who took the run up, in order; empty as long as only a lockstep did that didn't number its sittings.
    pub(crate) sittings: Vec<Sitting>,
    pub(crate) resumes: u32,
    /// The last look at the cluster that a resume took, and how many completions came before it.
    pub(crate) observed: Option<(usize, Observation)>,
    /// How many completions came before the run was aborted, if it was.
    pub cancelled: Option<usize>,
    /// Why the run stopped, where it stopped in order and wasn't resumed since.
    pub(crate) suspended: Option<Suspended>,
    /// The time until which it last stopped to wait, where it didn't stop for another reason since.
    pub(crate) waited: Option<Timestamp>,
    /// The end, where it was reached.
    pub end: Option<Result<Value, Failure>>,
}

impl History {
    /// Folds the records of a journal.
    ///
    /// # Errors
    /// For a record that can't stand where it stands.
    pub fn of(records: Vec<(Timestamp, Record)>) -> Result<Self, JournalError> {
        let mut records = records.into_iter().enumerate();
        let (began, head) = match records.next() {
            None => return Err(JournalError::Empty),
            Some((_, (at, Record::Run(head)))) => (at, *head),
            Some(_) => return Err(damaged(0, "a journal begins with the run's record")),
        };
        let mut history = Self {
            head,
            began,
            last: began,
            steps: BTreeMap::new(),
            completions: Vec::new(),
            sittings: Vec::new(),
            resumes: 0,
            observed: None,
            cancelled: None,
            suspended: None,
            waited: None,
            end: None,
        };
        for (line, (at, record)) in records {
            history.last = at;
            history
                .take(at, record)
                .map_err(|why| damaged(line, &why))?;
        }
        Ok(history)
    }

    fn take(&mut self, at: Timestamp, record: Record) -> Result<(), String> {
        if self.end.is_some() {
            return Err("nothing follows the end of a run".to_owned());
        }
        if let Record::Sitting(sitting) = record {
            let number = sitting.number;
            if number <= self.sitting() {
                return Err(format!("sitting {number} can't follow {}", self.sitting()));
            }
            self.sittings.push(sitting);
            return Ok(());
        }
        if self.suspended.take().is_some() && !matches!(record, Record::Resume { .. }) {
            return Err("only a resume follows a suspended run".to_owned());
        }
        match record {
            Record::Run(_) | Record::Sitting(_) => return Err("a run begins once".to_owned()),
            Record::Intent {
                path,
                op,
                args,
                effect,
                site,
            } => {
                let step = Step {
                    op,
                    args,
                    effect,
                    site,
                    phase: Phase::Issued,
                    attempts: 0,
                    witnesses: Vec::new(),
                    began: None,
                    ended: None,
                    did: None,
                };
                if self.steps.insert(path.clone(), step).is_some() {
                    return Err(format!("{path} is asked for twice"));
                }
            }
            Record::Suspend { why } => {
                self.waited = match why {
                    Suspended::Waiting(until) => Some(until),
                    _ => None,
                };
                self.suspended = Some(why);
            }
            Record::Resume { observed, .. } => {
                self.resumes += 1;
                if !observed.is_empty() {
                    self.observed = Some((self.completions.len(), observed));
                }
            }
            Record::Cancel { .. } if self.cancelled.is_some() => {
                return Err("a run is aborted once".to_owned());
            }
            Record::Cancel { .. } => self.cancelled = Some(self.completions.len()),
            Record::End { result } => self.end = Some(result),
            record => {
                let path = record.path().cloned();
                let path = path.ok_or("it is about no step")?;
                let step = self
                    .steps
                    .get_mut(&path)
                    .ok_or_else(|| format!("{path} was never asked for"))?;
                let delivered = step
                    .take(at, record)
                    .map_err(|why| format!("{path}: {why}"))?;
                self.completions
                    .extend(delivered.map(|(result, by)| Completion { path, result, by }));
            }
        }
        Ok(())
    }

    /// The number of the last sitting; 0 where none has begun.
    pub(crate) fn sitting(&self) -> u32 {
        self.sittings.last().map_or(0, |sitting| sitting.number)
    }

    /// What the run itself knows of the cluster: the last look at it, and what its steps reported since.
    pub(crate) fn expectation(
        &self,
        observed: impl Fn(&Step, &Value) -> Observation,
    ) -> Observation {
        let (from, mut known) = self.observed.clone().unwrap_or_default();
        for completion in self.completions.iter().skip(from) {
            if let (Ok(value), Some(step)) = (&completion.result, self.steps.get(&completion.path))
            {
                known.extend(observed(step, value));
            }
        }
        known
    }

    /// Whether a check refused the run before it changed anything: it ended at a step that the playbook never saw.
    pub(crate) fn refused(&self) -> bool {
        let held = |step: &Step| matches!(step.phase, Phase::Held { .. });
        self.end.is_some() && self.steps.values().any(held)
    }
}

type Delivered = Option<(Result<Value, Failure>, By)>;

impl Step {
    /// Whether it may have changed something. What a guard refused did not.
    pub(crate) fn touched(&self) -> bool {
        let refused =
            matches!(&self.phase, Phase::Held { failure, .. } if failure.kind == Kind::Refused);
        self.effect != Effect::Read && self.attempts > 0 && !refused
    }

    /// The next state, or why the record can't come now.
    fn take(&mut self, at: Timestamp, record: Record) -> Result<Delivered, String> {
        let illegal =
            |what: &str, phase: &Phase| Err(format!("{what} can't follow {}", phase.word()));
        let mut delivered = None;
        if let Record::Hold { failure, .. } | Record::Failed { failure, .. } = &record
            && let Some(did) = failure.detail.get(DID)
        {
            self.did = Some(did.clone());
        }
        self.phase = match (record, &self.phase) {
            (Record::Start { attempt, .. }, Phase::Issued | Phase::Running)
                if attempt == self.attempts + 1 =>
            {
                self.attempts = attempt;
                self.began.get_or_insert(at);
                Phase::Running
            }
            (Record::Start { attempt, .. }, phase) => {
                return Err(format!(
                    "attempt {attempt} can't follow {} ({} so far)",
                    phase.word(),
                    self.attempts
                ));
            }
            (Record::Witness { data, .. }, Phase::Running) => {
                self.witnesses.push(data);
                Phase::Running
            }
            (Record::Witness { .. }, phase) => return illegal("a witness", phase),
            (
                Record::Done { value, by, .. },
                phase @ (Phase::Running | Phase::Held { .. } | Phase::Issued),
            ) if by == By::Operator || *phase == Phase::Running => {
                delivered = Some((Ok(value), by));
                Phase::Done
            }
            (Record::Done { .. }, phase) => return illegal("a result", phase),
            (Record::Failed { failure, .. }, phase)
                if matches!(phase, Phase::Running | Phase::Held { .. })
                    // A step that an abort came before.
                    || (*phase == Phase::Issued && failure.kind == Kind::Cancelled) =>
            {
                delivered = Some((Err(failure), By::Run));
                Phase::Failed
            }
            (Record::Failed { .. }, phase) => return illegal("a failure", phase),
            (
                Record::Hold {
                    failure, in_doubt, ..
                },
                Phase::Running | Phase::Issued | Phase::Held { .. },
            ) => Phase::Held {
                failure: Box::new(failure),
                in_doubt,
            },
            (Record::Hold { .. }, phase) => return illegal("a hold", phase),
            (
                Record::Decide {
                    choice: Choice::Retry,
                    ..
                },
                Phase::Held {
                    in_doubt: false, ..
                },
            ) => Phase::Issued,
            (
                Record::Decide {
                    choice: Choice::Retry,
                    ..
                },
                Phase::Held { .. } | Phase::Running,
            ) => Phase::Running,
            (Record::Decide { .. }, phase @ (Phase::Held { .. } | Phase::Running)) => phase.clone(),
            (Record::Decide { .. }, phase) => return illegal("a decision", phase),
            (other, _) => return Err(format!("{other:?} is not about a step")),
        };
        if matches!(self.phase, Phase::Done | Phase::Failed) {
            self.ended = Some(at);
        }
        Ok(delivered)
    }
}

impl Phase {
    /// One word for messages and listings.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Running => "running",
            Self::Held { .. } => "held",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

fn damaged(index: usize, why: &str) -> JournalError {
    JournalError::Damaged {
        line: index + 1,
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use lockstep_modules::contract::cluster::{Cluster, SshConfig};
    use serde_json::json;

    use super::super::{ClusterRef, FORMAT};
    use super::*;

    fn head() -> Record {
        Record::Run(Box::new(Head {
            format: FORMAT,
            id: "update-1".to_owned(),
            playbook: "update".to_owned(),
            params: json!({}),
            lockstep: "0.1.0".to_owned(),
            target: ClusterRef::Twin(":1".to_owned()),
            cluster: Cluster {
                name: "lab".to_owned(),
                members: Vec::new(),
                machines: Vec::new(),
                ssh: SshConfig::default(),
            },
            seed: 1,
            bundle: BTreeMap::new(),
            programs: None,
            who: "me@here".to_owned(),
        }))
    }

    fn intent() -> Record {
        Record::Intent {
            path: "a".into(),
            op: "demo.act".to_owned(),
            args: json!({}),
            effect: Effect::Once,
            site: "x:1".to_owned(),
        }
    }

    fn start(attempt: u32) -> Record {
        Record::Start {
            path: "a".into(),
            attempt,
        }
    }

    fn done(by: By) -> Record {
        Record::Done {
            path: "a".into(),
            value: json!({}),
            by,
        }
    }

    fn hold() -> Record {
        Record::Hold {
            path: "a".into(),
            failure: Failure::new(Kind::Command, "x"),
            in_doubt: false,
        }
    }

    fn decide(choice: Choice) -> Record {
        Record::Decide {
            path: "a".into(),
            choice,
            who: "me@here".to_owned(),
        }
    }

    fn fold(records: Vec<Record>) -> Result<History, JournalError> {
        History::of(
            records
                .into_iter()
                .map(|r| (Timestamp::UNIX_EPOCH, r))
                .collect(),
        )
    }

    #[test]
    fn a_held_and_retried_step_is_followed_to_its_end() {
        let records = vec![
            head(),
            intent(),
            start(1),
            hold(),
            decide(Choice::Retry),
            start(2),
            done(By::Run),
        ];
        let history = fold(records).unwrap();
        assert_eq!(history.steps["a"].phase, Phase::Done);
        assert_eq!(history.steps["a"].attempts, 2);
        assert_eq!(history.completions.len(), 1);
    }

    #[test]
    fn illegal_transitions_are_refused_with_their_line() {
        let complain = |records: Vec<Record>| fold(records).unwrap_err().to_string();
        let cases = [
            complain(vec![]),
            complain(vec![intent()]),
            complain(vec![head(), head()]),
            complain(vec![head(), intent(), intent()]),
            complain(vec![head(), start(1)]),
            complain(vec![head(), intent(), start(2)]),
            complain(vec![head(), intent(), done(By::Run)]),
            complain(vec![
                head(),
                intent(),
                start(1),
                done(By::Run),
                done(By::Run),
            ]),
            complain(vec![head(), intent(), start(1), done(By::Run), hold()]),
            complain(vec![head(), intent(), decide(Choice::Retry)]),
            complain(vec![
                head(),
                Record::End {
                    result: Ok(json!(null)),
                },
                intent(),
            ]),
            complain(vec![
                head(),
                Record::Suspend {
                    why: Suspended::Fenced("x".to_owned()),
                },
                intent(),
            ]),
        ];
        insta::assert_snapshot!(cases.join("\n"));
    }
}
