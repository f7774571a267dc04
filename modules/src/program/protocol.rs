//! What lockstep and a program say to each other: one JSON object a line, with one key that names it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::contract::cmd::Planned;
use crate::contract::cx::LogLevel;
use crate::contract::error::Kind;
use crate::contract::near::hint;
use crate::contract::op::Described;
use crate::contract::schema::{Member, Span};

pub(crate) const PROTOCOL: u32 = 1;

/// What lockstep says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ToProgram<'a> {
    /// What ops are there? The first and only request of a process.
    Describe { protocol: u32 },
    /// Do this. The first and only request of a process.
    Run(Task<'a>),
    /// What became of this? The first and only request of a process.
    Probe(Task<'a>),
    /// The answer to `command`: it ran, and ended as it may.
    Output(Printed<'a>),
    /// The answer to `command`, where the program asked to know: contact was lost, and nobody knows whether it ran.
    Lost { message: &'a str },
    /// The answer to `witness`: it is on disk.
    Kept {},
    /// The answer to `wait`: the time has passed.
    Waited {},
}

/// An attempt at a step.
#[derive(Debug, Serialize)]
pub(super) struct Task<'a> {
    /// The op, for example `lb.drain`.
    pub(super) op: &'a str,
    /// Its arguments, those with defaults filled in.
    pub(super) args: Value,
    pub(super) run: &'a str,
    /// The step's path: no other step of the run has it.
    pub(super) step: &'a str,
    pub(super) members: Vec<Member>,
    pub(super) machines: Vec<&'a str>,
    /// How long it may take.
    pub(super) seconds: u64,
    /// What earlier attempts left, oldest first.
    pub(super) witnesses: Vec<Value>,
}

#[derive(Debug, Serialize)]
pub(super) struct Printed<'a> {
    pub(super) code: i32,
    pub(super) stdout: &'a str,
    pub(super) stderr: &'a str,
}

/// What a program says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum FromProgram {
    /// The answer to `describe`.
    Module(Described),
    /// Run this on a member. Answered.
    Command(Command),
    /// Make this durable. Answered.
    Witness(Value),
    /// Let time pass, since something isn't as wanted yet. Answered.
    Wait(Wait),
    /// How far it is. Not answered.
    Progress(Progress),
    /// A line for the log. Not answered.
    Log(Log),
    /// The end: it is done, and this is the result.
    Done(Map<String, Value>),
    /// The end: it failed, and nothing of it is still running.
    Failed(Failed),
    /// The end of a probe: it did not begin.
    NotStarted(Nothing),
    /// The end of a probe: it is still running.
    Running(Nothing),
    /// The end of a probe: the world doesn't tell.
    Unknown { why: String },
}

/// The keys that name messages.
const WORDS: [&str; 11] = [
    "command",
    "done",
    "failed",
    "log",
    "module",
    "not-started",
    "progress",
    "running",
    "unknown",
    "wait",
    "witness",
];

impl FromProgram {
    /// Reads a line.
    /// An error reads after the program's name.
    pub(super) fn read(line: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(line);
        let value: Value = serde_json::from_str(&text)
            .map_err(|_| format!("printed what is no JSON, where only messages may be (the rest belongs on standard error): {}", quoted(&text)))?;
        let word = value.as_object().filter(|message| message.len() == 1);
        let Some(word) = word.and_then(|message| message.keys().next()).cloned() else {
            return Err(format!(
                "printed what is no message, an object with one key: {}",
                quoted(&text)
            ));
        };
        if !WORDS.contains(&word.as_str()) {
            return Err(format!(
                "printed a message {word:?}, which there isn't{}: {}",
                hint(&word, &WORDS),
                quoted(&text)
            ));
        }
        serde_json::from_value(value).map_err(|e| {
            format!(
                "printed a message {word:?} that can't be read ({e}): {}",
                quoted(&text)
            )
        })
    }

    /// The key that names the message.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Self::Module(_) => "module",
            Self::Command(_) => "command",
            Self::Witness(_) => "witness",
            Self::Wait(_) => "wait",
            Self::Progress(_) => "progress",
            Self::Log(_) => "log",
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
            Self::NotStarted(_) => "not-started",
            Self::Running(_) => "running",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// The beginning of what a program printed, fit to be shown.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN: usize = 120;
    let text = text.trim();
    let mut chars = text.chars();
    let shown: String = chars.by_ref().take(SHOWN).collect();
    let more = if chars.next().is_some() { "…" } else { "" };
    format!("{shown:?}{more}")
}

/// No more is to be sent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// A command for a member or a machine beside the cluster.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Command {
    /// The member, or machine.
    pub(super) member: Member,
    /// The program, by its absolute path, and its arguments.
    pub(super) argv: Vec<String>,
    #[serde(default)]
    pub(super) root: bool,
    #[serde(default)]
    pub(super) stdin: Option<String>,
    /// How long it may take; without it, as long as the step may.
    #[serde(default)]
    pub(super) timeout: Option<Span>,
    /// Which exit statuses beside 0 aren't failures.
    #[serde(default)]
    pub(super) allow: Allow,
    /// What it prints is kept out of transcripts.
    #[serde(default)]
    pub(super) private: bool,
    #[serde(default)]
    pub(super) lost: Lost,
    /// What a simulated cluster takes it to have done, where it doesn't know it.
    #[serde(default)]
    pub(super) plan: Option<Planned>,
}

/// Which exit statuses beside 0 aren't failures.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Allow {
    These(Vec<i32>),
    /// All of them: `"any"`.
    Any(Any),
}

/// The word `any`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Any {
    Any,
}

impl Default for Allow {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}

impl Allow {
    pub(super) fn allows(&self, code: i32) -> bool {
        match self {
            Self::These(codes) => code == 0 || codes.contains(&code),
            Self::Any(Any::Any) => true,
        }
    }
}

/// What lost contact means to a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Lost {
    /// The attempt ends there, as that of a native op would.
    #[default]
    End,
    /// It is informed, and continues.
    Tell,
}

/// A pause in a wait for something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    pub(super) seconds: f64,
    /// What isn't as wanted yet.
    pub(super) missing: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Progress {
    #[serde(default)]
    pub(super) done: u64,
    /// Units in all, where known.
    #[serde(default)]
    pub(super) total: Option<u64>,
    pub(super) text: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    pub(super) text: String,
    #[serde(default)]
    pub(super) level: LogLevel,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failed {
    #[serde(default)]
    pub(super) kind: FailedKind,
    /// What happened: it reads after "lb.drain: ".
    pub(super) message: String,
    #[serde(default)]
    pub(super) member: Option<Member>,
    #[serde(default)]
    pub(super) detail: Map<String, Value>,
}

/// Which failures a program can have; the other kinds are lockstep's to tell.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FailedKind {
    #[default]
    Command,
    Refused,
    Conflict,
    Timeout,
    Unreachable,
}

impl From<FailedKind> for Kind {
    fn from(kind: FailedKind) -> Self {
        match kind {
            FailedKind::Command => Self::Command,
            FailedKind::Refused => Self::Refused,
            FailedKind::Conflict => Self::Conflict,
            FailedKind::Timeout => Self::Timeout,
            FailedKind::Unreachable => Self::Unreachable,
        }
    }
}
