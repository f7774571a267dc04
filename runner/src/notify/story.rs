//! What of a journal is worth telling: the fold of records into notices, each of which is known by a record's place.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lockstep_modules::contract::error::{DID, Kind};
use lockstep_modules::contract::op::{Effect, Op};
use lockstep_modules::contract::schema::Member;
use lockstep_modules::ops::cluster::Settle;
use lockstep_modules::ops::confirm::Confirm;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reading::Entry;
use crate::account::{Change, State, ended};
use crate::config::Topic;
use crate::failure::Failure;
use crate::fleet::Rollout;
use crate::journal::{Head, Record, Suspended};
use lockstep_modules::contract::path::StepPath;

/// Something that happened in a run and is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Notice {
    /// The place of the record by which it is known.
    pub(super) n: usize,
    pub(super) at: Timestamp,
    pub(super) what: What,
}

/// What happened. Serialized, these are the fields that its event has beside the run's.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum What {
    Started {
        who: String,
    },
    Resumed {
        who: String,
    },
    Held {
        step: StepPath,
        failure: String,
        in_doubt: bool,
    },
    Suspended {
        why: String,
    },
    Waiting {
        until: Timestamp,
    },
    Question {
        step: StepPath,
        question: String,
    },
    RingStarted {
        ring: String,
        clusters: usize,
    },
    RingEnded {
        ring: String,
        clusters: usize,
    },
    Ended {
        outcome: State,
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

impl What {
    /// The type of its event.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Started { .. } => "lockstep.run.started",
            Self::Resumed { .. } => "lockstep.run.resumed",
            Self::Held { .. } => "lockstep.run.held",
            Self::Suspended { .. } => "lockstep.run.suspended",
            Self::Waiting { .. } => "lockstep.run.waiting",
            Self::Question { .. } => "lockstep.run.question",
            Self::RingStarted { .. } => "lockstep.ring.started",
            Self::RingEnded { .. } => "lockstep.ring.ended",
            Self::Ended { .. } => "lockstep.run.ended",
        }
    }

    pub(super) fn topic(&self) -> Topic {
        match self {
            Self::Started { .. } | Self::Resumed { .. } => Topic::Begin,
            Self::Held { .. } | Self::Suspended { .. } => Topic::Hold,
            Self::Waiting { .. } => Topic::Wait,
            Self::Question { .. } => Topic::Question,
            Self::RingStarted { .. } | Self::RingEnded { .. } => Topic::Ring,
            Self::Ended { .. } => Topic::End,
        }
    }
}

/// A step that isn't over.
struct Open {
    op: String,
    args: Value,
    effect: Effect,
    /// What it asks the operator, if it does.
    question: Option<String>,
    begun: bool,
    held: bool,
}

/// A ring that is under way, with the last record that is about it.
struct InRing {
    ring: String,
    clusters: usize,
    last: (usize, Timestamp),
}

/// Members of a component have different revisions.
struct Window {
    since: Timestamp,
    /// The wave in which it opened.
    stage: Option<String>,
    /// The members that came to another revision.
    members: BTreeSet<Member>,
}

/// What is known of a run as far as its journal was read.
#[derive(Default)]
pub(super) struct Story {
    head: Option<Box<Head>>,
    began: Option<Timestamp>,
    last: Option<Timestamp>,
    /// The rings of a rollout with how many clusters they have.
    rings: BTreeMap<String, usize>,
    ring: Option<InRing>,
    open: BTreeMap<StepPath, Open>,
    done: usize,
    cancelled: bool,
    suspended: Option<Suspended>,
    end: Option<State>,
    /// By component.
    windows: BTreeMap<String, Window>,
    /// Something may have been changed.
    touched: bool,
    /// Holds by a check before anything was changed: with them the run ends, as a rule, and that says all.
    refusals: Vec<Notice>,
}

impl Story {
    pub(super) fn head(&self) -> Option<&Head> {
        self.head.as_deref()
    }

    pub(super) fn began(&self) -> Option<Timestamp> {
        self.began
    }

    /// When the last record was written.
    pub(super) fn last(&self) -> Option<Timestamp> {
        self.last
    }

    /// How many steps have ended.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// How many steps it is held at.
    pub(super) fn held(&self) -> usize {
        self.open.values().filter(|step| step.held).count()
    }

    /// Where it stands. Whether its process lives the journal doesn't know.
    pub(super) fn state(&self) -> State {
        match (self.end, &self.suspended) {
            (Some(state), _) => state,
            (None, Some(Suspended::Held(_))) => State::Held,
            (None, Some(_)) => State::Suspended,
            (None, None) => State::Running,
        }
    }

    /// Whether it goes on: it is neither over, nor suspended, nor held at any step.
    pub(super) fn is_under_way(&self) -> bool {
        self.state() == State::Running && self.held() == 0
    }

    /// The components of which members have different revisions, and since when.
    pub(super) fn windows(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        let windows = self.windows.iter();
        windows.map(|(component, window)| (component.as_str(), window.since))
    }

    /// Whether something may have been changed.
    pub(super) fn touched(&self) -> bool {
        self.touched
    }

    /// Whether a step is under way that waits for no person.
    pub(super) fn works(&self) -> bool {
        let mut steps = self.open.values();
        steps.any(|step| step.begun && step.question.is_none())
    }

    /// Whether a question waits for its answer.
    pub(super) fn asks(&self, step: &StepPath) -> bool {
        self.open
            .get(step)
            .is_some_and(|open| open.begun && !open.held)
    }

    /// What a record tells. Its place is that of the notice, but for the end of a ring: that is known by the last record that is
    /// about it, since the next ring's first one has a notice of its own.
    pub(super) fn take(&mut self, entry: &Entry) -> Vec<Notice> {
        let Entry { n, at, record } = entry;
        let mut notices = self.turn(*n, *at, record);
        let notice = |what| Notice {
            n: *n,
            at: *at,
            what,
        };
        self.last = Some(*at);
        // Who takes a run up may find that it is not to be resumed.
        if !matches!(record, Record::Sitting(_)) {
            self.suspended = None;
        }
        match record {
            Record::Run(head) => {
                self.began = Some(*at);
                if let Ok(rollout) = Rollout::deserialize(&head.params) {
                    let rings = rollout.rings.into_iter();
                    self.rings = rings.map(|ring| (ring.name, ring.clusters.len())).collect();
                }
                self.head = Some(head.clone());
                let who = head.who.clone();
                notices.push(notice(What::Started { who }));
            }
            Record::Resume { who, .. } => {
                notices.push(notice(What::Resumed { who: who.clone() }));
            }
            Record::Intent {
                path,
                op,
                args,
                effect,
                ..
            } => {
                let open = Open {
                    op: op.clone(),
                    args: args.clone(),
                    effect: *effect,
                    question: question(op, args),
                    begun: false,
                    held: false,
                };
                self.open.insert(path.clone(), open);
            }
            Record::Start { path, .. } => {
                if let Some(open) = self.open.get_mut(path) {
                    open.begun = true;
                    self.touched |= open.effect != Effect::Read;
                    // What a wave has not brought to another revision it doesn't have to.
                    let stage = path.stage();
                    self.windows
                        .retain(|_, window| window.stage.as_deref() == stage);
                    notices.extend(open.question.clone().map(|question| {
                        let step = path.clone();
                        notice(What::Question { step, question })
                    }));
                }
            }
            Record::Hold {
                path,
                failure,
                in_doubt,
            } => {
                self.changed(*at, path, failure.detail.get(DID));
                if let Some(open) = self.open.get_mut(path) {
                    open.held = true;
                }
                let held = notice(What::Held {
                    step: path.clone(),
                    failure: failure.to_string(),
                    in_doubt: *in_doubt,
                });
                match failure.kind == Kind::Refused && !self.touched {
                    true => self.refusals.push(held),
                    false => notices.push(held),
                }
            }
            Record::Decide { path, .. } => {
                if let Some(open) = self.open.get_mut(path) {
                    (open.held, open.begun) = (false, false);
                }
            }
            Record::Done { path, value, .. } => {
                self.changed(*at, path, Some(value));
                self.over(path);
            }
            Record::Failed { path, failure } => {
                self.changed(*at, path, failure.detail.get(DID));
                self.over(path);
            }
            Record::Suspend { why } => {
                self.suspended = Some(why.clone());
                notices.append(&mut self.refusals);
                match why {
                    // That was told with the step.
                    Suspended::Held(_) => {}
                    Suspended::Waiting(until) => {
                        notices.push(notice(What::Waiting { until: *until }));
                    }
                    why => {
                        let why = why.to_string();
                        notices.push(notice(What::Suspended { why }));
                    }
                }
            }
            Record::Cancel { .. } => self.cancelled = true,
            Record::End { result } => {
                let outcome = ended(result, self.cancelled, self.held() > 0);
                self.end = Some(outcome);
                self.windows.clear();
                let why = result.as_ref().err().map(Failure::to_string);
                notices.push(notice(What::Ended { outcome, why }));
            }
            Record::Sitting(_) | Record::Witness { .. } => {}
        }
        notices
    }

    fn over(&mut self, path: &StepPath) {
        self.open.remove(path);
        self.done += 1;
    }

    /// A step has brought this, of which a component's window may open or shut.
    fn changed(&mut self, at: Timestamp, path: &StepPath, value: Option<&Value>) {
        let (Some(open), Some(value), Some(head)) = (self.open.get(path), value, &self.head) else {
            return;
        };
        let member = open.args.get("member").and_then(Value::as_str);
        let member = member.map(Member::from);
        let Some(change) = Change::of(&open.op, &open.args, member.as_ref(), value) else {
            return;
        };
        let new = || Window {
            since: at,
            stage: path.stage().map(str::to_owned),
            members: BTreeSet::new(),
        };
        let window = self.windows.entry(change.component.clone());
        let members = &mut window.or_insert_with(new).members;
        members.insert(change.member);
        if members.len() >= head.cluster.members.len() {
            self.windows.remove(&change.component);
        }
    }

    /// The rings that this record begins and ends.
    fn turn(&mut self, n: usize, at: Timestamp, record: &Record) -> Vec<Notice> {
        let mut notices = Vec::new();
        let stage = record.path().and_then(StepPath::stage);
        let next = stage.and_then(|stage| self.rings.get_key_value(stage));
        let here = self.ring.as_ref().map(|ring| ring.ring.as_str());
        let over = matches!(record, Record::End { result: Ok(_) });
        if let Some((ring, _)) = next
            && here == Some(ring)
            && let Some(known) = &mut self.ring
        {
            known.last = (n, at);
        } else if next.is_some() || over {
            if let Some(InRing {
                ring,
                clusters,
                last: (n, at),
            }) = self.ring.take()
            {
                let what = What::RingEnded { ring, clusters };
                notices.push(Notice { n, at, what });
            }
            if let Some((ring, clusters)) = next {
                let (ring, clusters) = (ring.clone(), *clusters);
                self.ring = Some(InRing {
                    ring: ring.clone(),
                    clusters,
                    last: (n, at),
                });
                let what = What::RingStarted { ring, clusters };
                notices.push(Notice { n, at, what });
            }
        }
        notices
    }
}

/// What a step asks the operator, if it does.
fn question(op: &str, args: &Value) -> Option<String> {
    match op {
        Confirm::NAME => Some(args.get("question")?.as_str()?.to_owned()),
        Settle::NAME => {
            let ring = args.get("ring")?.as_str()?;
            Some(format!(
                "Some clusters of the ring {ring} are not done. Continue without them?"
            ))
        }
        _ => None,
    }
}
