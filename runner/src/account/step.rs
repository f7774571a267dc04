//! A step of an account: its attempts, its commands, and what it changed.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lockstep_modules::contract::op::Effect;
use lockstep_modules::contract::schema::Member;
use serde::Serialize;
use serde_json::Value;

use super::between;
use crate::event::{CommandEnd, OUT, Transcript};
use crate::failure::Failure;
use crate::journal::By;
use lockstep_modules::contract::path::StepPath;

/// A step, with all that is known of it.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Its path.
    pub path: StepPath,
    /// Its op.
    pub op: String,
    pub(crate) member: Option<Member>,
    pub(crate) headline: String,
    /// Its arguments; null where only the events tell of it.
    pub args: Value,
    pub(crate) effect: Option<Effect>,
    /// The line that asked for it; empty where only the events tell of it.
    pub(crate) site: String,
    pub(crate) state: Progress,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    pub(crate) summary: String,
    pub(crate) result: Option<Value>,
    /// How the end is known.
    pub(crate) by: Option<By>,
    pub(crate) failure: Option<Failure>,
    /// Whether its effect may exist or still be running.
    pub(crate) in_doubt: bool,
    /// What it last reported of what it waited for, or the last line of a command that continued.
    #[serde(rename = "heard")]
    pub(crate) last_progress: String,
    /// Its commands. One that was repeated and printed the same stands here once.
    pub(crate) commands: Vec<Command>,
    /// Where in `commands` the last one of a member and a text is.
    #[serde(skip)]
    latest: BTreeMap<(Member, String), usize>,
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Asked for. Nothing was done.
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
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Asked => "requested",
            Self::UnderWay => "running",
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
    pub(crate) session: usize,
    pub(crate) began: Timestamp,
    /// When its end was known; none where it wasn't.
    pub(crate) ended: Option<Timestamp>,
    pub(crate) state: Progress,
}

impl Attempt {
    /// How long it took, in milliseconds, if its end is known.
    pub(crate) fn ms(&self) -> Option<i64> {
        self.ended.map(|ended| between(self.began, ended))
    }
}

/// A command that was run on a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Command {
    /// When it ended, the first time.
    pub(crate) at: Timestamp,
    pub(crate) member: Member,
    /// The command, as one could paste it.
    pub(crate) command: String,
    pub(crate) end: CommandEnd,
    /// How long it took the first time, in milliseconds.
    pub(crate) ms: u64,
    /// How often it was run with the same outcome.
    pub(crate) times: usize,
    /// When it ended the last time.
    pub(crate) last: Timestamp,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
}

/// What a command printed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Output {
    /// The text, or its beginning where it is in a file.
    pub(crate) text: String,
    /// The file in the run's folder where the whole of it is, if it is long.
    pub(crate) file: Option<String>,
    /// How long the whole of it is.
    pub(crate) bytes: u64,
}

/// Whether an op judges, or waits until something is well, before the run continues. The last word of its name tells.
pub(crate) fn is_gate(op: &str) -> bool {
    const JUDGES: [&str; 6] = ["wait", "require", "verify", "spare", "unharmed", "confirm"];
    JUDGES.contains(&op.rsplit('.').next().unwrap_or_default())
}

impl Step {
    pub(crate) fn is_gate(&self) -> bool {
        is_gate(&self.op)
    }

    /// Whether the run stopped at it, and the playbook never saw its failure.
    pub(crate) fn is_held(&self) -> bool {
        self.state == Progress::Held
    }

    /// Whether it may have changed something.
    pub(crate) fn changes(&self) -> bool {
        self.effect != Some(Effect::Read)
    }

    /// How it came out, in a line.
    pub(crate) fn outcome(&self) -> String {
        match (&self.failure, self.state) {
            (Some(failure), state) => format!("{}: {}", state.word(), failure.message),
            (None, Progress::Done) if !self.summary.is_empty() => self.summary.clone(),
            (None, state) => state.word().to_owned(),
        }
    }

    /// What it is about, as `op headline`.
    pub(crate) fn what(&self) -> String {
        format!("{} {}", self.op, self.headline)
            .trim_end()
            .to_owned()
    }

    pub(crate) fn began(&self) -> Option<Timestamp> {
        self.attempts.first().map(|attempt| attempt.began)
    }

    /// How long its attempts took, in milliseconds, as far as their ends are known.
    pub(crate) fn ms(&self) -> Option<i64> {
        let known = self.attempts.iter().filter_map(Attempt::ms);
        known.reduce(|sum, ms| sum + ms)
    }

    pub(super) fn at(path: &StepPath) -> Self {
        Self {
            path: path.clone(),
            op: String::new(),
            member: None,
            headline: String::new(),
            args: Value::Null,
            effect: None,
            site: String::new(),
            state: Progress::Asked,
            attempts: Vec::new(),
            summary: String::new(),
            result: None,
            by: None,
            failure: None,
            in_doubt: false,
            last_progress: String::new(),
            commands: Vec::new(),
            latest: BTreeMap::new(),
        }
    }

    pub(super) fn begin(&mut self, session: usize, at: Timestamp) {
        self.state = Progress::UnderWay;
        self.attempts.push(Attempt {
            session,
            began: at,
            ended: None,
            state: Progress::UnderWay,
        });
    }

    pub(super) fn end(&mut self, session: usize, at: Timestamp, state: Progress) {
        self.state = state;
        if let Some(attempt) = self.attempts.last_mut()
            && attempt.ended.is_none()
            && attempt.state == Progress::UnderWay
        {
            attempt.state = state;
            // One that was left to itself ended at a time that nobody knows.
            if attempt.session == session {
                attempt.ended = Some(at);
            }
        }
    }

    /// An attempt has failed and `next` follows.
    pub(super) fn failed_attempt(&mut self, next: u32, at: Timestamp) {
        let before = usize::try_from(next)
            .ok()
            .and_then(|next| next.checked_sub(2));
        let attempt = before.and_then(|i| self.attempts.get_mut(i));
        if let Some(attempt) = attempt.filter(|attempt| attempt.ended.is_none()) {
            (attempt.ended, attempt.state) = (Some(at), Progress::Failed);
        }
    }

    /// What is asked again and again with the same answer is kept once.
    pub(super) fn command(&mut self, command: Command) {
        let key = (command.member.clone(), command.command.clone());
        let before = self.latest.get(&key).map(|i| &mut self.commands[*i]);
        match before {
            Some(before)
                if (&before.end, &before.stdout, &before.stderr)
                    == (&command.end, &command.stdout, &command.stderr) =>
            {
                before.times += 1;
                before.last = command.at;
            }
            _ => {
                self.latest.insert(key, self.commands.len());
                self.commands.push(command);
            }
        }
    }
}

impl Output {
    /// As an event has it.
    pub(super) fn of(transcript: Transcript) -> Self {
        match transcript {
            Transcript::Text(text) => Self {
                bytes: text.len() as u64,
                file: None,
                text,
            },
            Transcript::Kept { name, bytes } => Self {
                text: String::new(),
                file: Some(format!("{OUT}/{name}")),
                bytes,
            },
        }
    }
}
