//! The fold itself: first the journal, then the events.

mod events;

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockstep_modules::contract::error::{DID, Kind};
use lockstep_modules::contract::op::Effect;
use lockstep_modules::contract::schema::Member;
use serde_json::Value;

use super::wave::waves;
use super::{Account, EventLog, Progress, Session, State, Step, Turn, What};
use crate::event::{Change, Outcome, StepInfo};
use crate::failure::Failure;
use crate::journal::{
    By, Choice, ClusterRef, Head, History, JournalError, Record, Suspended, readable,
};
use crate::window;
use lockstep_modules::contract::path::StepPath;

impl Account {
    /// What is known of the run of this name: from the texts of its journal and its events, or why there is none, and
    /// whether a process is `running` it now.
    #[must_use]
    pub fn of(
        run: &str,
        journal: Result<&[u8], String>,
        events: Result<&[u8], String>,
        running: bool,
    ) -> Self {
        let mut fold = Fold::default();
        fold.account.run = run.to_owned();
        let (records, damage) = match journal {
            Ok(text) => {
                let (records, error) = sound(text);
                fold.empty = matches!(error, Some(JournalError::Empty));
                let events = events.as_ref().is_ok_and(|text| !text.is_empty());
                (records, error.map(|error| error.beside(events).to_string()))
            }
            Err(why) => (Vec::new(), Some(why)),
        };
        fold.account.sound = damage.is_none();
        if let Some(why) = damage {
            let before = match records.len() {
                0 => "what is shown is from the events alone".to_owned(),
                1 => "what is shown is from the record before that and from the events".to_owned(),
                n => {
                    format!("what is shown is from the {n} records before that and from the events")
                }
            };
            fold.account.troubles.push(format!("{why}; {before}"));
        }
        for (at, record) in records {
            fold.journaled(at, record);
        }
        match events {
            Ok(text) => {
                let log = EventLog::of(text);
                fold.account.troubles.extend(log.troubles(running));
                fold.silent_after = fold
                    .account
                    .sessions
                    .last()
                    .map(|last| (fold.account.sessions.len() - 1, last.last));
                for event in log.events {
                    fold.event(event);
                }
            }
            Err(why) => fold.account.troubles.push(format!(
                "{why}: commands, outputs, and what was waited for are unknown"
            )),
        }
        fold.end(running)
    }
}

/// The records of a journal that can be believed, and what is wrong with what follows them.
fn sound(text: &[u8]) -> (Vec<(Timestamp, Record)>, Option<JournalError>) {
    let (decoded, mut error) = readable(text);
    let mut records = decoded.records;
    // A record that can't stand where it stands is as bad as one that can't be read.
    if let Err(illegal) = History::of(records.clone()) {
        match &illegal {
            JournalError::Damaged { line, .. } => records.truncate(line - 1),
            _ => records.clear(),
        }
        // The first mistake is reported.
        if error.is_none() || !records.is_empty() {
            error = Some(illegal);
        }
    }
    (records, error)
}

#[derive(Default)]
struct Fold {
    account: Account,
    index: BTreeMap<StepPath, usize>,
    /// The journal has nothing in it.
    empty: bool,
    /// The session that the events are in.
    session: usize,
    /// The last session whose beginning is among the events.
    announced: Option<usize>,
    /// Where the journal ends: session and time. Where it isn't sound the events speak alone from there on.
    silent_after: Option<(usize, Timestamp)>,
    /// Since when contact with a member is lost, by step and member.
    lost: BTreeMap<(StepPath, Member), Timestamp>,
    /// How the events say that the run stopped, with the reason.
    outcome: Option<(Outcome, Value)>,
    end: Option<Result<Value, Failure>>,
    suspended: Option<Suspended>,
    cancelled: bool,
}

impl Fold {
    fn step(&mut self, path: &StepPath) -> &mut Step {
        let steps = &mut self.account.steps;
        let i = *self.index.entry(path.clone()).or_insert_with(|| {
            steps.push(Step::at(path));
            steps.len() - 1
        });
        &mut steps[i]
    }

    /// The step, as an event names it.
    fn named(&mut self, info: StepInfo) -> &mut Step {
        let step = self.step(&info.path);
        (step.op, step.member, step.headline) = (info.op, info.member, info.headline);
        step.effect = Some(info.effect);
        step
    }

    fn turn(&mut self, at: Timestamp, session: usize, what: What) {
        self.account.turns.push(Turn { at, session, what });
    }

    fn head(&mut self, at: Timestamp, head: Head) {
        let account = &mut self.account;
        account.playbook = head.playbook;
        account.cluster.clone_from(&head.cluster.name);
        account.members = head.cluster.names();
        account.target = head.target;
        account.params = head.params;
        if matches!(account.target, ClusterRef::Fleet(_)) {
            // All clusters of the fleet are among them.
            account.params = brief(std::mem::take(&mut account.params));
        }
        account.lockstep = head.lockstep;
        account.who.clone_from(&head.who);
        account.began = Some(at);
        account.sessions.push(Session::at(at));
        self.turn(at, 0, What::Began { who: head.who });
    }

    fn journaled(&mut self, at: Timestamp, record: Record) {
        // Looking at the cluster comes before a resume, and is nothing that the run did.
        if matches!(record, Record::Sitting(_)) {
            return;
        }
        let resumes = matches!(record, Record::Resume { .. });
        if resumes {
            self.account.sessions.push(Session::at(at));
            self.account.resumes += 1;
        }
        let session = self.account.sessions.len().saturating_sub(1);
        if !resumes {
            self.reach(session, at);
        }
        self.suspended = None;
        match record {
            Record::Run(head) => self.head(at, *head),
            Record::Intent {
                path,
                op,
                args,
                effect,
                site,
            } => {
                let step = self.step(&path);
                step.member = args.get("member").and_then(Value::as_str).map(Member::from);
                (step.op, step.args, step.site) = (op, args, site);
                step.effect = Some(effect);
            }
            Record::Start { path, .. } => self.step(&path).begin(session, at),
            Record::Witness { .. } | Record::Sitting(_) => {}
            Record::Done { path, value, by } => self.done(&path, session, at, value, by),
            Record::Failed { path, failure } => {
                let step = self.step(&path);
                step.end(session, at, Progress::Failed);
                step.failure = Some(failure.clone());
                self.did(&path, at, &failure);
                self.turn(at, session, What::Failed { path, failure });
            }
            Record::Hold {
                path,
                failure,
                in_doubt,
            } => self.hold(at, session, path, failure, in_doubt),
            Record::Decide { path, choice, who } => {
                if choice == Choice::Retry {
                    let step = self.step(&path);
                    (step.state, step.failure) = (Progress::Asked, None);
                }
                self.turn(
                    at,
                    session,
                    What::Decided {
                        path,
                        choice,
                        who,
                        given: None,
                    },
                );
            }
            Record::Suspend { why } => {
                // A hold says it better.
                if !matches!(why, Suspended::Held(_)) {
                    let why = why.to_string();
                    self.turn(at, session, What::Suspended { why });
                }
                self.suspended = Some(why);
            }
            Record::Resume { who, .. } => self.turn(at, session, What::Resumed { who }),
            Record::Cancel { who } => {
                self.cancelled = true;
                self.turn(at, session, What::Aborted { who });
            }
            Record::End { result } => {
                let held = self.account.steps.iter().any(Step::is_held);
                let state = ended(&result, self.cancelled, held);
                let why = match &result {
                    Err(failure) if state == State::Failed => Some(failure.to_string()),
                    _ => None,
                };
                self.turn(at, session, What::Ended { state, why });
                self.end = Some(result);
            }
        }
    }

    fn done(&mut self, path: &StepPath, session: usize, at: Timestamp, value: Value, by: By) {
        let step = self.step(path);
        step.end(session, at, Progress::Done);
        (step.by, step.failure) = (Some(by), None);
        step.in_doubt = false;
        step.result = Some(value.clone());
        let change = Change::of(&step.op, &step.args, step.member.as_ref(), &value);
        self.changed(at, change);
        match by {
            By::Run => {}
            By::Probe => self.turn(at, session, What::Probed { path: path.clone() }),
            By::Operator => {
                let decided = self
                    .account
                    .turns
                    .iter_mut()
                    .rev()
                    .find_map(|turn| match &mut turn.what {
                        What::Decided {
                            path: of, given, ..
                        } if of == path => Some(given),
                        _ => None,
                    });
                if let Some(given) = decided {
                    *given = Some(value);
                }
            }
        }
    }

    fn hold(
        &mut self,
        at: Timestamp,
        session: usize,
        path: StepPath,
        failure: Failure,
        in_doubt: bool,
    ) {
        let step = self.step(&path);
        step.end(session, at, Progress::Held);
        (step.failure, step.in_doubt) = (Some(failure.clone()), in_doubt);
        self.did(&path, at, &failure);
        self.turn(
            at,
            session,
            What::Held {
                path,
                failure,
                in_doubt,
            },
        );
    }

    /// What a step has changed although it failed.
    fn did(&mut self, path: &StepPath, at: Timestamp, failure: &Failure) {
        let step = self.step(path);
        let did = failure.detail.get(DID);
        let change =
            did.and_then(|did| Change::of(&step.op, &step.args, step.member.as_ref(), did));
        self.changed(at, change);
    }

    /// One that comes again on the same member counts from where the first began.
    fn changed(&mut self, at: Timestamp, change: Option<Change>) {
        let Some(change) = change else { return };
        window::note(&mut self.account.windows, at, &change);
        let known = &mut self.account.changes;
        let same =
            |c: &&mut Change| (&c.component, &c.member) == (&change.component, &change.member);
        match known.iter_mut().find(same) {
            Some(before) => (before.to, before.version) = (change.to, change.version),
            None => known.push(change),
        }
    }

    /// Something is known of this session at this time.
    fn reach(&mut self, session: usize, at: Timestamp) {
        if let Some(session) = self.account.sessions.get_mut(session) {
            session.last = session.last.max(at);
        }
    }

    /// Whether the journal has nothing to say about what happened now.
    fn alone(&self, at: Timestamp) -> bool {
        !self.account.sound && self.silent_after.is_none_or(|end| (self.session, at) > end)
    }

    fn end(mut self, running: bool) -> Account {
        let account = &mut self.account;
        // What a resume looks at before it continues is no step of the playbook's.
        for look in account.steps.iter_mut().filter(|step| step.op.is_empty()) {
            look.op = look.path.to_string();
            "the current state of the cluster".clone_into(&mut look.headline);
            (look.state, look.effect) = (Progress::Done, Some(Effect::Read));
        }
        account.turns.sort_by_key(|turn| (turn.session, turn.at));
        account.last = account.sessions.last().map(|session| session.last);
        let held = account.steps.iter().filter(|step| step.is_held());
        account.held = held.map(|step| step.path.clone()).collect();
        let done = |step: &&Step| matches!(step.state, Progress::Done | Progress::Failed);
        account.steps_done = account.steps.iter().filter(done).count();
        (account.state, account.why) = match (&self.end, &self.outcome) {
            (Some(result), _) => {
                let state = ended(result, self.cancelled, !account.held.is_empty());
                let why = result.as_ref().err().map(ToString::to_string);
                (
                    state,
                    why.filter(|_| matches!(state, State::Failed | State::Refused)),
                )
            }
            (None, _) if running => (State::Running, None),
            (None, None) if self.empty && account.began.is_none() => {
                account.troubles = vec![JournalError::Empty.to_string()];
                (State::NotBegun, None)
            }
            (None, Some((outcome, detail))) => {
                (State::from(*outcome), detail.as_str().map(str::to_owned))
            }
            (None, None) if !account.held.is_empty() => (State::Held, None),
            (None, None) => match &self.suspended {
                Some(why) => (State::Suspended, Some(why.to_string())),
                None => (
                    State::BrokenOff,
                    Some("the process that ran it is gone".to_owned()),
                ),
            },
        };
        account.result = match (self.end, self.outcome) {
            (Some(result), _) => result.ok(),
            (None, Some((Outcome::Done, detail))) => Some(detail),
            _ => None,
        };
        account.waves = waves(account);
        self.account
    }
}

/// A run that ended while a step was held was refused there. One that was to be aborted and left something on has failed, as has
/// one that failed while it cleaned up.
pub(crate) fn ended(result: &Result<Value, Failure>, cancelled: bool, held: bool) -> State {
    match result {
        Ok(_) => State::Done,
        Err(failure) if cancelled && failure.kind == Kind::Cancelled => State::Aborted,
        Err(_) if held && !cancelled => State::Refused,
        Err(_) => State::Failed,
    }
}

/// Parameters without lists and records.
fn brief(params: Value) -> Value {
    match params {
        Value::Object(all) => all
            .into_iter()
            .filter(|(_, value)| !value.is_array() && !value.is_object())
            .collect(),
        other => other,
    }
}
