//! The account of a run: what is known of it, from its journal and its events. Whatever is shown of a run that is over, or
//! that somebody else runs, is made of this and of nothing else.
//!
//! The journal is believed to the letter: it is read up to its first line that isn't what was written, and no further. The
//! events add what it doesn't have (commands, outputs, waiting), and speak alone where it is silent. A line of theirs that
//! can't be read is counted and left out.

mod events;
mod fold;
mod load;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use lockstep_modules::op::Effect;
use serde::Serialize;
use serde_json::Value;

pub use events::{Heard, Line};
pub use load::{Tail, load};

use crate::failure::Failure;
use crate::journal::{By, Choice};

/// What is known of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Account {
    /// Its name.
    pub run: String,
    /// The playbook.
    pub playbook: String,
    /// The cluster's name.
    pub cluster: String,
    /// How the cluster was named on the command line.
    pub target: String,
    /// The cluster's members, in its order.
    pub members: Vec<String>,
    /// The playbook's parameters.
    pub params: Value,
    /// The lockstep that began the run.
    pub lockstep: String,
    /// Who began it, as `user@host`.
    pub who: String,
    /// When it began.
    pub began: Option<Timestamp>,
    /// When something was last heard of it.
    pub last: Option<Timestamp>,
    /// Where it stands.
    pub state: State,
    /// Why it stands there, where there is more to say.
    pub why: Option<String>,
    /// What the playbook returned.
    pub result: Option<Value>,
    /// The steps that it is held at.
    pub held: Vec<String>,
    /// How often it was resumed.
    pub resumes: usize,
    /// How many steps came to an end.
    pub steps_done: usize,
    /// What was changed, by component and member.
    pub changes: Vec<Change>,
    /// The waves, in the order in which they began.
    pub waves: Vec<Wave>,
    /// The times in which a process ran it.
    pub sessions: Vec<Session>,
    /// What happened to the run as a whole, in its order.
    pub turns: Vec<Turn>,
    /// The steps, in the order in which they were asked for.
    pub steps: Vec<Step>,
    /// What of the journal and the events could not be read, a sentence each.
    pub troubles: Vec<String>,
    /// Whether the journal, on which everything rests, could be read to its end.
    pub sound: bool,
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// A process is at it.
    Running,
    /// The playbook came to its end.
    Done,
    /// A failure ended the playbook.
    Failed,
    /// It was aborted, and what it had switched on was given back.
    Aborted,
    /// It waits for a decision.
    Held,
    /// It was interrupted in order.
    Suspended,
    /// The process that ran it is gone, and said nothing.
    #[default]
    BrokenOff,
}

impl State {
    /// In a word or two.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Held => "held",
            Self::Suspended => "suspended",
            Self::BrokenOff => "broken off",
        }
    }

    /// Whether nothing can follow.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Aborted)
    }
}

/// What was changed of a component on a member, from the run's beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The snap, or what else was changed.
    pub component: String,
    /// The member.
    pub member: String,
    /// The revision before.
    pub from: String,
    /// The revision now.
    pub to: String,
    /// The version now, where it is known.
    pub version: Option<String>,
}

/// The same change of a component on several members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move<'a> {
    /// The snap, or what else was changed.
    pub component: &'a str,
    /// The revision before.
    pub from: &'a str,
    /// The revision now.
    pub to: &'a str,
    /// The version now, where it is known.
    pub version: Option<&'a str>,
    /// The members, in the order of their changes.
    pub members: Vec<&'a str>,
}

impl Move<'_> {
    /// On which of these members: `all 4`, or their names.
    #[must_use]
    pub fn among(&self, members: &[String]) -> String {
        if self.members.len() == members.len() && members.len() > 1 {
            return format!("all {}", members.len());
        }
        // Few that are missing say more than many that are not.
        let missing: Vec<&str> = members
            .iter()
            .map(String::as_str)
            .filter(|member| !self.members.contains(member))
            .collect();
        if missing.len() * 3 < members.len() {
            let (n, all) = (self.members.len(), members.len());
            return format!("{n} of {all}, not {}", missing.join(", "));
        }
        self.members.join(", ")
    }
}

/// A section of the playbook: as a rule one component across all members.
#[derive(Clone, Debug, Serialize)]
pub struct Wave {
    /// Its name.
    pub name: String,
    /// When its first step began.
    pub began: Option<Timestamp>,
    /// How long it took, without the time in which the run was paused, in milliseconds.
    pub ms: i64,
    /// How many steps it has.
    pub steps: usize,
    /// How many members had a part in it.
    pub members: usize,
    /// How many attempts were repeated.
    pub again: usize,
}

/// A time in which a process ran the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Session {
    /// When it began.
    pub began: Timestamp,
    /// When something was last heard of it.
    pub last: Timestamp,
}

impl Session {
    /// How long it was, in milliseconds.
    #[must_use]
    pub fn ms(&self) -> i64 {
        between(self.began, self.last)
    }
}

/// Something that happened to the run as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turn {
    /// When.
    pub at: Timestamp,
    /// In which session, counted from 0.
    pub session: usize,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened to a run as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// It began.
    Began {
        /// By whom; empty where only the events tell.
        who: String,
    },
    /// It went on.
    Resumed {
        /// By whom; empty where only the events tell.
        who: String,
    },
    /// It was held at a step.
    Held {
        /// The step.
        path: String,
        /// Why.
        failure: Failure,
        /// Whether the effect may have existed or still gone on.
        in_doubt: bool,
    },
    /// The operator decided about a held step.
    Decided {
        /// The step.
        path: String,
        /// What.
        choice: Choice,
        /// By whom.
        who: String,
        /// The result that was given for it, where it was taken as done.
        given: Option<Value>,
    },
    /// The operator interrupted.
    Interrupted {
        /// What followed: `drain` or `stop-waiting`.
        level: String,
    },
    /// It stopped in order.
    Suspended {
        /// Why.
        why: String,
    },
    /// It was aborted.
    Aborted {
        /// By whom.
        who: String,
    },
    /// It came to its end.
    Ended {
        /// How.
        state: State,
        /// Why, where it failed.
        why: Option<String>,
    },
    /// A step failed and was tried again.
    Retried {
        /// The step.
        path: String,
        /// Why it had failed.
        failure: Failure,
        /// The attempt that followed.
        attempt: u32,
    },
    /// A step failed, and the playbook was told.
    Failed {
        /// The step.
        path: String,
        /// Why.
        failure: Failure,
    },
    /// Contact with a member was lost.
    Lost {
        /// The step that noticed.
        path: String,
        /// The member.
        member: String,
        /// Why.
        reason: String,
    },
    /// The member was there again.
    Found {
        /// The step that waited.
        path: String,
        /// The member.
        member: String,
        /// After so many milliseconds.
        ms: i64,
    },
    /// An idle connection had broken and was made again.
    Mended {
        /// The member.
        member: String,
        /// Why it had broken.
        reason: String,
    },
    /// A step whose end had been missed was found to have ended.
    Probed {
        /// The step.
        path: String,
    },
    /// The playbook said something.
    Said {
        /// `info` or `warn`.
        level: String,
        /// Where.
        scope: String,
        /// What.
        message: String,
    },
}

/// A step, with all that was heard of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Step {
    /// Its path.
    pub path: String,
    /// Its op.
    pub op: String,
    /// The member it is about, if one.
    pub member: Option<String>,
    /// Its object, in a few words.
    pub headline: String,
    /// Its arguments; null where only the events tell of it.
    pub args: Value,
    /// What doing it twice would mean.
    pub effect: Option<Effect>,
    /// The line that asked for it; empty where only the events tell of it.
    pub site: String,
    /// How far it is, in a word.
    pub state: Progress,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// Its result in a few words.
    pub summary: String,
    /// Its result.
    pub result: Option<Value>,
    /// How the end is known.
    pub by: Option<By>,
    /// Why it failed, or is held.
    pub failure: Option<Failure>,
    /// Whether its effect may exist or still go on.
    pub in_doubt: bool,
    /// What it last said of what it waited for.
    pub heard: String,
    /// Its commands. One that was repeated and said the same stands here once.
    pub commands: Vec<Command>,
    /// Where in `commands` the last one of a member and a text is.
    #[serde(skip)]
    latest: BTreeMap<(String, String), usize>,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Asked for. Nothing was done.
    #[default]
    Asked,
    /// Begun; its end is not known.
    UnderWay,
    /// The run pauses here.
    Held,
    /// Done.
    Done,
    /// Failed, and the playbook knows.
    Failed,
}

impl Progress {
    /// In a word or two.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked for",
            Self::UnderWay => "under way",
            Self::Held => "held",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}

/// One attempt at a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// In which session, counted from 0.
    pub session: usize,
    /// When it began.
    pub began: Timestamp,
    /// When its end was known; none where it wasn't.
    pub ended: Option<Timestamp>,
    /// How it came out.
    pub state: Progress,
}

/// A command that was run on a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// When it ended, the first time.
    pub at: Timestamp,
    /// The member.
    pub member: String,
    /// The command, as one could paste it.
    pub command: String,
    /// How it ended, or why that isn't known.
    pub end: String,
    /// How long it took the first time, in milliseconds.
    pub ms: u64,
    /// How often it was run with the same outcome.
    pub times: usize,
    /// When it ended the last time.
    pub last: Timestamp,
    /// What it printed on standard output.
    pub stdout: Output,
    /// What it printed on standard error.
    pub stderr: Output,
}

/// What a command printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Output {
    /// The text, or its beginning where it is in a file.
    pub text: String,
    /// The file in the run's folder where the whole of it is, if it is long.
    pub file: Option<String>,
    /// How long the whole of it is.
    pub bytes: u64,
}

impl Account {
    /// The step of this path.
    #[must_use]
    pub fn step(&self, path: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.path == path)
    }

    /// How long processes were at it, in milliseconds: the time in which it was paused isn't counted.
    #[must_use]
    pub fn ms(&self) -> i64 {
        self.sessions.iter().map(Session::ms).sum()
    }

    /// The gates that were passed, or not: steps that judge whether the run may go on.
    pub fn gates(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is_gate())
    }

    /// What changed, with the members for which it was the same taken together, in the order of the first change.
    #[must_use]
    pub fn moves(&self) -> Vec<Move<'_>> {
        let mut all: Vec<Move<'_>> = Vec::new();
        for change in &self.changes {
            let one = Move {
                component: &change.component,
                from: &change.from,
                to: &change.to,
                version: change.version.as_deref(),
                members: Vec::new(),
            };
            let same = |known: &&mut Move<'_>| {
                (known.component, known.from, known.to, known.version)
                    == (one.component, one.from, one.to, one.version)
            };
            match all.iter_mut().find(same) {
                Some(known) => known.members.push(&change.member),
                None => all.push(Move {
                    members: vec![&change.member],
                    ..one
                }),
            }
        }
        all
    }

    /// The name of the wave that a step belongs to; nothing for what is done around the waves.
    #[must_use]
    pub fn wave_of<'a>(&self, step: &'a Step) -> Option<&'a str> {
        let (first, _) = step.path.split_once('/')?;
        let is_member = self.members.iter().any(|m| m == first);
        (!is_member && first != "finally").then_some(first)
    }
}

impl Step {
    /// Whether it judges, or waits until something is well, before the run goes on. The last word of an op's name tells.
    #[must_use]
    pub fn is_gate(&self) -> bool {
        const JUDGES: [&str; 6] = ["wait", "require", "verify", "spare", "unharmed", "confirm"];
        let last = self.op.rsplit('.').next().unwrap_or_default();
        JUDGES.contains(&last)
    }

    /// Whether it may have changed something.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.effect != Some(Effect::Read)
    }

    /// What it is about, as `op headline`.
    #[must_use]
    pub fn what(&self) -> String {
        format!("{} {}", self.op, self.headline)
            .trim_end()
            .to_owned()
    }

    /// When its first attempt began.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.attempts.first().map(|attempt| attempt.began)
    }

    /// How long its attempts took, in milliseconds, as far as their ends are known.
    #[must_use]
    pub fn ms(&self) -> Option<i64> {
        let known = self.attempts.iter().filter_map(Attempt::ms);
        known.reduce(|sum, ms| sum + ms)
    }
}

impl Attempt {
    /// How long it took, in milliseconds, if its end is known.
    #[must_use]
    pub fn ms(&self) -> Option<i64> {
        self.ended.map(|ended| between(self.began, ended))
    }
}

impl Choice {
    /// In words, as what somebody did.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Retry => "try it again",
            Self::AssumeDone => "take it as done",
            Self::Deliver => "let the playbook have the failure",
        }
    }
}

impl What {
    /// The step that it is about, if one.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Held { path, .. }
            | Self::Decided { path, .. }
            | Self::Retried { path, .. }
            | Self::Failed { path, .. }
            | Self::Lost { path, .. }
            | Self::Found { path, .. }
            | Self::Probed { path } => Some(path),
            _ => None,
        }
    }

    /// Whether a person has to know of it to understand how the run went.
    #[must_use]
    pub fn matters(&self) -> bool {
        !matches!(self, Self::Mended { .. } | Self::Said { .. })
    }

    /// In a sentence, without who and where.
    #[must_use]
    pub fn sentence(&self) -> String {
        let by = |what: &str, who: &str| match who {
            "" => what.to_owned(),
            who => format!("{what} by {who}"),
        };
        match self {
            Self::Began { who } => by("begun", who),
            Self::Resumed { who } => by("resumed", who),
            Self::Held {
                failure, in_doubt, ..
            } => {
                let doubt = if *in_doubt {
                    "; it is not known whether this was done"
                } else {
                    ""
                };
                format!("held: {failure}{doubt}")
            }
            Self::Decided {
                choice, who, given, ..
            } => {
                let given = given
                    .as_ref()
                    .map_or_else(String::new, |value| format!(", with the result {value}"));
                format!("{who} decided: {}{given}", choice.word())
            }
            Self::Interrupted { level } if level == "drain" => {
                "interrupted: what was under way was finished".to_owned()
            }
            Self::Interrupted { .. } => {
                "interrupted: what was under way was left to itself".to_owned()
            }
            Self::Suspended { why } => format!("paused: {why}"),
            Self::Aborted { who } => by("aborted", who),
            Self::Ended { state, why: None } => format!("ended: {}", state.word()),
            Self::Ended {
                state,
                why: Some(why),
            } => format!("ended: {}: {why}", state.word()),
            Self::Retried {
                failure, attempt, ..
            } => format!("{failure}; attempt {attempt} followed"),
            Self::Failed { failure, .. } => format!("failed: {failure}"),
            Self::Lost { member, reason, .. } => format!("contact with {member} lost: {reason}"),
            Self::Found { member, ms, .. } => {
                format!("{member} was there again after {}", span(*ms))
            }
            Self::Mended { member, reason } => format!("{member}: {reason}; connected again"),
            Self::Probed { .. } => {
                "its end had been missed; what became of it was found out afterwards".to_owned()
            }
            Self::Said { level, message, .. } if level == "warn" => format!("warning: {message}"),
            Self::Said { message, .. } => message.clone(),
        }
    }
}

/// Milliseconds from one time to a later one; none where clocks say otherwise.
fn between(from: Timestamp, to: Timestamp) -> i64 {
    let ms = to.duration_since(from).as_millis();
    i64::try_from(ms).unwrap_or(i64::MAX).max(0)
}

/// A length of time for people: `0.4 s`, `49.7 s`, `12 min 5 s`, `3 h 2 min`.
#[must_use]
pub fn span(ms: i64) -> String {
    let whole = SignedDuration::from_millis(ms).as_secs();
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}.{} s", ms % 1000 / 100),
        (0, _) => format!("{minutes} min {seconds} s"),
        (hours, _) if hours < 24 => format!("{hours} h {minutes} min"),
        (hours, _) => format!("{} d {} h", hours / 24, hours % 24),
    }
}
