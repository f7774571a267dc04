//! The account of a run: what is known of it, from its journal and its events. Whatever is shown of a run that is over, or
//! that somebody else runs, is made of this and of nothing else.
//!
//! The journal is believed to the letter: it is read up to its first line that isn't what was written, and no further. The
//! events add what it doesn't have (commands, outputs, waiting), and speak alone where it is silent. A line of theirs that
//! can't be read is counted and left out.

mod events;
mod fold;
mod load;
mod step;
mod turn;
mod wave;

use jiff::{SignedDuration, Timestamp};
use lockstep_modules::contract::schema::Member;
use serde::Serialize;
use serde_json::Value;

pub(crate) use crate::event::Change;
use crate::event::Outcome;
use crate::journal::ClusterRef;
use crate::window::{self, Window};
use lockstep_modules::contract::path::StepPath;

pub(crate) use events::{EventLog, Line};
pub(crate) use fold::ended;
pub(crate) use load::{Tail, load, recalled};
pub(crate) use step::is_gate;
pub use step::{Attempt, Command, Output, Progress, Step};
pub(crate) use turn::{Turn, What};
pub(crate) use wave::Wave;

/// What is known of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Account {
    pub(crate) run: String,
    pub(crate) playbook: String,
    pub(crate) cluster: String,
    /// How the cluster was named on the command line.
    pub(crate) target: ClusterRef,
    pub(crate) members: Vec<Member>,
    pub(crate) params: Value,
    /// The lockstep that began the run.
    pub(crate) lockstep: String,
    pub(crate) who: String,
    pub(crate) began: Option<Timestamp>,
    /// The time of the last that is known of it.
    pub(crate) last: Option<Timestamp>,
    pub(crate) state: State,
    /// Why it stopped there, where there is more to say.
    pub(crate) why: Option<String>,
    pub(crate) result: Option<Value>,
    pub(crate) held: Vec<StepPath>,
    pub(crate) resumes: usize,
    pub(crate) steps_done: usize,
    pub(crate) changes: Vec<Change>,
    /// For how long members had different revisions of a snap.
    pub(crate) windows: Vec<Window>,
    /// The waves, in the order in which they began.
    pub(crate) waves: Vec<Wave>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) turns: Vec<Turn>,
    /// The steps, in the order in which they were asked for.
    pub(crate) steps: Vec<Step>,
    /// What of the journal and the events could not be read, a sentence each.
    pub troubles: Vec<String>,
    /// Whether the journal, on which everything rests, could be read to its end.
    pub sound: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    Running,
    Done,
    Failed,
    /// A check refused it before anything was changed.
    Refused,
    /// It was aborted, and what it had switched on was restored.
    Aborted,
    /// It waits for a decision.
    Held,
    /// It was interrupted in order.
    Suspended,
    /// The process that ran it is gone, and recorded nothing.
    #[default]
    BrokenOff,
    /// It was killed before anything was recorded, and so before anything was done.
    NotBegun,
}

impl From<Outcome> for State {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::Failed => Self::Failed,
            Outcome::Refused => Self::Refused,
            Outcome::Aborted => Self::Aborted,
            Outcome::Held => Self::Held,
            Outcome::Suspended => Self::Suspended,
        }
    }
}

impl State {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
            Self::Held => "held",
            Self::Suspended => "suspended",
            Self::BrokenOff => "broken off",
            Self::NotBegun => "did not begin",
        }
    }

    /// Whether nothing can follow.
    pub(crate) fn is_over(self) -> bool {
        matches!(
            self,
            Self::Done | Self::Failed | Self::Refused | Self::Aborted | Self::NotBegun
        )
    }
}

/// The same change of a component on several members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Move<'a> {
    /// The snap, or what else was changed.
    pub(crate) component: &'a str,
    pub(crate) from: &'a str,
    pub(crate) to: &'a str,
    pub(crate) version: Option<&'a str>,
    pub(crate) members: Vec<Member>,
    /// For how long members had different revisions; with the component's first change.
    pub(crate) window: Option<&'a Window>,
}

impl Move<'_> {
    /// For how long members had different revisions, in words; empty where they didn't, or where that stands elsewhere.
    pub(crate) fn differed(&self) -> String {
        let ms = self
            .window
            .map(|window| i64::try_from(window.ms()).unwrap_or(i64::MAX));
        ms.map_or_else(String::new, span)
    }

    /// On which of these members: `all 4`, or their names.
    pub(crate) fn among(&self, members: &[Member]) -> String {
        if self.members.len() == members.len() && members.len() > 1 {
            return format!("all {}", members.len());
        }
        // Few that are missing say more than many that are not.
        let missing: Vec<Member> = members
            .iter()
            .filter(|member| !self.members.contains(member))
            .cloned()
            .collect();
        if missing.len() * 3 < members.len() {
            let (n, all) = (self.members.len(), members.len());
            return format!("{n} of {all}, not {}", missing.join(", "));
        }
        self.members.join(", ")
    }
}

/// A time in which a process ran the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Session {
    pub(crate) began: Timestamp,
    /// The time of the last that is known of it.
    pub(crate) last: Timestamp,
}

impl Session {
    fn at(at: Timestamp) -> Self {
        Self {
            began: at,
            last: at,
        }
    }

    pub(crate) fn ms(&self) -> i64 {
        between(self.began, self.last)
    }
}

impl Account {
    pub(crate) fn step(&self, path: &StepPath) -> Option<&Step> {
        self.steps.iter().find(|step| step.path == *path)
    }

    /// How long processes were at it, in milliseconds: the time in which it was paused isn't counted.
    pub(crate) fn ms(&self) -> i64 {
        self.sessions.iter().map(Session::ms).sum()
    }

    /// The gates that were passed, or not: steps that judge whether the run may continue.
    pub(crate) fn gates(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|step| step.is_gate())
    }

    /// What changed, with the members for which it was the same taken together, in the order of the first change.
    pub(crate) fn moves(&self) -> Vec<Move<'_>> {
        let mut all: Vec<Move<'_>> = Vec::new();
        for change in &self.changes {
            let one = Move {
                component: &change.component,
                from: &change.from,
                to: &change.to,
                version: change.version.as_deref(),
                members: Vec::new(),
                window: None,
            };
            let same = |known: &&mut Move<'_>| {
                (known.component, known.from, known.to, known.version)
                    == (one.component, one.from, one.to, one.version)
            };
            match all.iter_mut().find(same) {
                Some(known) => known.members.push(change.member.clone()),
                None => {
                    let is_first = all.iter().all(|known| known.component != one.component);
                    let window = window::of(&self.windows, one.component);
                    all.push(Move {
                        members: vec![change.member.clone()],
                        window: window.filter(|_| is_first),
                        ..one
                    });
                }
            }
        }
        all
    }

    /// The name of the wave that a step belongs to; nothing for what is done around the waves.
    pub(crate) fn wave_of<'a>(&self, step: &'a Step) -> Option<&'a str> {
        let first = step.path.stage()?;
        let is_member = self.members.iter().any(|m| *m == *first);
        (!is_member && first != "finally").then_some(first)
    }
}

/// Milliseconds from one time to a later one; none where clocks say otherwise.
fn between(from: Timestamp, to: Timestamp) -> i64 {
    let ms = to.duration_since(from).as_millis();
    i64::try_from(ms).unwrap_or(i64::MAX).max(0)
}

/// A length of time for people: `0.4 s`, `49.7 s`, `12 min 5 s`, `3 h 2 min`.
pub(crate) fn span(ms: i64) -> String {
    let whole = SignedDuration::from_millis(ms).as_secs();
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}.{} s", ms % 1000 / 100),
        (0, _) => format!("{minutes} min {seconds} s"),
        (hours, _) if hours < 24 => format!("{hours} h {minutes} min"),
        (hours, _) => format!("{} d {} h", hours / 24, hours % 24),
    }
}

#[cfg(test)]
mod tests;
