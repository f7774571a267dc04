//! Events: what whoever watches a run gets to see. One stream feeds every reporter and `events.jsonl`.
//!
//! Events bear no correctness. If one can't be written the run continues, and deleting `events.jsonl` changes nothing.

pub mod reference;

use std::cell::RefCell;
use std::rc::Rc;

use jiff::Timestamp;
use lockstep_modules::contract::cmd::End;
use lockstep_modules::contract::cx::LogLevel;
use lockstep_modules::contract::op::Effect;
use lockstep_modules::contract::schema::Member;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bounds::{OUTPUT, TEXT, shorten};
use crate::clock::Clock;
use crate::failure::Failure;
use crate::journal::By;
use crate::secret::Secrets;
use lockstep_modules::contract::path::StepPath;

/// The version of the stream. A new field or event doesn't change it: readers leave out what they don't know. It changes
/// when a word comes to mean something else, or goes.
pub const VERSION: u32 = 1;

/// Something that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    tag = "event",
    rename_all = "kebab-case",
    rename_all_fields = "snake_case"
)]
pub enum Event {
    /// The run begins, or is resumed.
    RunStarted {
        /// Its name.
        run: String,
        /// The playbook's module name.
        playbook: String,
        /// The cluster's name.
        cluster: String,
        /// Its members.
        #[schemars(with = "Vec<String>")]
        members: Vec<Member>,
        /// The playbook's stages, in their order, where it names them.
        #[serde(default)]
        stages: Vec<String>,
        /// How many steps are already done, where the run is resumed.
        replayed: usize,
    },
    /// An attempt at a step begins.
    StepStarted {
        /// The step.
        #[serde(flatten)]
        step: StepInfo,
        /// Counted from 1.
        attempt: u32,
        /// Seconds that it may take.
        timeout: u64,
    },
    /// The world is asked what became of a step whose end was missed.
    StepProbed {
        /// The step.
        #[serde(flatten)]
        step: StepInfo,
    },
    /// How far a step is.
    Progress {
        /// The step.
        path: StepPath,
        /// Units done.
        done: u64,
        /// Units in all, where known.
        total: Option<u64>,
        /// What is being done or waited for.
        text: String,
    },
    /// A running command has printed a line. Reported every other second at most, of programs that talk to people (`exec`,
    /// commands of module programs): what it printed in all stands in `command`, when it is over.
    Printed {
        /// The step.
        path: StepPath,
        /// The member.
        #[schemars(with = "String")]
        member: Member,
        /// The last line that is whole, without its end.
        line: String,
    },
    /// A command was run on a member.
    Command {
        /// The step.
        path: StepPath,
        /// The member.
        #[schemars(with = "String")]
        member: Member,
        /// The command, as one could paste it.
        command: String,
        /// How it ended, or why that isn't known.
        end: CommandEnd,
        /// How long it took, in milliseconds.
        ms: u64,
        /// What it printed on standard output.
        stdout: Transcript,
        /// What it printed on standard error.
        stderr: Transcript,
    },
    /// The connection to a member broke while nothing ran over it, and was made again.
    Mended {
        /// The step.
        path: StepPath,
        /// The member.
        #[schemars(with = "String")]
        member: Member,
        /// Why it had broken.
        reason: String,
    },
    /// Contact with a member was lost; the step waits for it.
    Away {
        /// The step.
        path: StepPath,
        /// The member.
        #[schemars(with = "String")]
        member: Member,
        /// Why.
        reason: String,
    },
    /// A step is done.
    StepDone {
        /// The step.
        #[serde(flatten)]
        step: StepInfo,
        /// Its result, in a few words.
        summary: String,
        /// The revision that it brought, where it did.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        change: Option<Change>,
        /// How the end is known.
        by: By,
        /// How long it took, in milliseconds.
        ms: u64,
    },
    /// An attempt failed, and another follows.
    StepRetried {
        /// The step.
        path: StepPath,
        /// Why it failed.
        failure: Failure,
        /// The attempt that follows.
        attempt: u32,
        /// Seconds until then.
        wait: u64,
    },
    /// A step failed, and the playbook gets the failure.
    StepFailed {
        /// The step.
        path: StepPath,
        /// Why.
        failure: Failure,
    },
    /// The run pauses at this step.
    StepHeld {
        /// The step.
        path: StepPath,
        /// Why.
        failure: Failure,
        /// Whether its effect may exist or still be running.
        in_doubt: bool,
    },
    /// The playbook says something.
    Log {
        /// How much it matters: `debug` is shown only to those who want to see everything.
        level: LogLevel,
        /// Where, for example `MicroCeph/micro2`.
        scope: String,
        /// What.
        message: String,
    },
    /// The operator interrupts.
    Interrupted {
        /// What follows.
        level: Interruption,
    },
    /// The run stops, or has ended.
    RunEnded {
        /// How.
        outcome: Outcome,
        /// Why, in a sentence; or the playbook's result.
        detail: Value,
    },
}

impl Event {
    /// With as much of what others printed as a run keeps.
    fn bounded(mut self) -> Self {
        match &mut self {
            Self::Command {
                end,
                stdout,
                stderr,
                ..
            } => {
                if let CommandEnd::Unknown(why) = end {
                    shorten(why, TEXT);
                }
                for output in [stdout, stderr] {
                    if let Transcript::Text(text) = output {
                        shorten(text, OUTPUT);
                    }
                }
            }
            Self::Progress { text, .. }
            | Self::Printed { line: text, .. }
            | Self::Mended { reason: text, .. }
            | Self::Away { reason: text, .. }
            | Self::StepDone { summary: text, .. }
            | Self::Log { message: text, .. } => shorten(text, TEXT),
            Self::RunStarted { .. }
            | Self::StepStarted { .. }
            | Self::StepProbed { .. }
            | Self::StepRetried { .. }
            | Self::StepFailed { .. }
            | Self::StepHeld { .. }
            | Self::Interrupted { .. }
            | Self::RunEnded { .. } => {}
        }
        self
    }

    /// Whether it shows how far the run is, and not only what was seen and logged on the way.
    pub(crate) fn is_essential(&self) -> bool {
        !matches!(
            self,
            Self::Command { .. }
                | Self::Progress { .. }
                | Self::Printed { .. }
                | Self::Mended { .. }
                | Self::Away { .. }
                | Self::Log { .. }
        )
    }
}

/// A step, as events name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepInfo {
    /// The step.
    pub path: StepPath,
    /// Its op.
    pub op: String,
    /// The member it is about, if one.
    #[schemars(with = "Option<String>")]
    pub member: Option<Member>,
    /// Its object, in a few words.
    pub headline: String,
    /// What doing it twice would mean.
    #[serde(default = "unnamed")]
    pub effect: Effect,
}

/// Only steps that may not be done twice had a `step-probed` while it didn't name their effect.
fn unnamed() -> Effect {
    Effect::Once
}

/// A revision that is another one than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The snap, or what else was changed.
    pub(crate) component: String,
    /// The member.
    #[schemars(with = "String")]
    pub(crate) member: Member,
    /// The revision before.
    pub(crate) from: String,
    /// The revision after.
    pub(crate) to: String,
    /// The version after, where it is known.
    pub(crate) version: Option<String>,
}

impl Change {
    /// What a step's result says about a revision that is another one than before.
    pub(crate) fn of(
        op: &str,
        args: &Value,
        member: Option<&Member>,
        value: &Value,
    ) -> Option<Self> {
        let text =
            |of: &Value, field: &str| of.get(field).and_then(Value::as_str).map(str::to_owned);
        if value.get("changed") != Some(&Value::Bool(true)) {
            return None;
        }
        Some(Self {
            component: text(args, "snap").unwrap_or_else(|| op.to_owned()),
            member: member?.clone(),
            from: text(value, "from")?,
            to: text(value, "to")?,
            version: text(value, "version"),
        })
    }
}

/// How a command ended, or why that isn't known. On the wire a text: `exit 0`, `signal 9`, `timed out`, or the reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub enum CommandEnd {
    /// It ended like this.
    Ended(End),
    /// Its end isn't known, for this reason.
    Unknown(String),
}

impl From<CommandEnd> for String {
    fn from(end: CommandEnd) -> Self {
        end.to_string()
    }
}

impl From<String> for CommandEnd {
    fn from(text: String) -> Self {
        text.parse().map_or(Self::Unknown(text), Self::Ended)
    }
}

impl std::fmt::Display for CommandEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ended(end) => end.fmt(f),
            Self::Unknown(why) => f.write_str(why),
        }
    }
}

/// The folder of long outputs, in that of a run.
pub(crate) const OUT: &str = "out";

/// One output of a command. On the wire a text: what was printed, or `out/NAME (N bytes)` where that is in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Transcript {
    /// This was printed.
    Text(String),
    /// It is in a file of the folder of long outputs.
    Kept {
        /// The file's name: the digest of what is in it, which no program prints by chance.
        name: String,
        /// How long it is.
        bytes: u64,
    },
}

impl From<Transcript> for String {
    fn from(transcript: Transcript) -> Self {
        match transcript {
            Transcript::Text(text) => text,
            Transcript::Kept { name, bytes } => format!("{OUT}/{name} ({bytes} bytes)"),
        }
    }
}

impl From<String> for Transcript {
    fn from(text: String) -> Self {
        let kept = || {
            let (name, rest) = text
                .strip_prefix(OUT)?
                .strip_prefix('/')?
                .split_once(" (")?;
            let digest = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
            let bytes = rest.strip_suffix(" bytes)")?.parse().ok()?;
            digest.then(|| (name.to_owned(), bytes))
        };
        match kept() {
            Some((name, bytes)) => Self::Kept { name, bytes },
            None => Self::Text(text),
        }
    }
}

/// What an interrupt leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Interruption {
    /// Nothing new is begun; what is under way comes to its end.
    Drain,
    /// What is under way is left to itself.
    StopWaiting,
}

/// How a run stopped or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The playbook ended.
    Done,
    /// A failure ended it.
    Failed,
    /// A check refused before anything was changed.
    Refused,
    /// The operator ended it.
    Aborted,
    /// It pauses at steps that failed.
    Held,
    /// It stopped in order, and can be resumed.
    Suspended,
}

/// An event with its place in time: a line of the stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stamped {
    /// The version of the stream.
    pub v: u32,
    /// When, in UTC.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// Shows events, or keeps them.
pub trait Reporter {
    /// Takes one event.
    fn take(&mut self, event: &Stamped);

    /// What it can't do any more, as an event for all. Each trouble is reported once.
    fn trouble(&mut self) -> Option<Event> {
        None
    }
}

/// The way of events to reporters.
#[derive(Clone)]
pub struct Events {
    clock: Clock,
    secrets: Rc<Secrets>,
    reporters: Rc<RefCell<Vec<Box<dyn Reporter>>>>,
    heard: Heard,
}

/// How much of a run there are events of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Heard {
    /// All of it.
    #[default]
    Everything,
    /// Its steps and what it logs, and not what they do on the way.
    Steps,
    /// Nothing.
    Nothing,
}

impl Events {
    /// A stream to these reporters.
    #[must_use]
    pub fn new(clock: Clock, reporters: Vec<Box<dyn Reporter>>) -> Self {
        Self {
            clock,
            secrets: Rc::default(),
            reporters: Rc::new(RefCell::new(reporters)),
            heard: Heard::Everything,
        }
    }

    /// The same stream, as far as it is heard.
    pub(crate) fn heard(self, heard: Heard) -> Self {
        Self { heard, ..self }
    }

    /// Whether anybody hears what a step does on the way.
    pub(crate) fn follows_steps(&self) -> bool {
        self.heard == Heard::Everything
    }

    /// The same stream, of which no reporter gets to see these.
    pub(crate) fn hiding(self, secrets: Rc<Secrets>) -> Self {
        Self { secrets, ..self }
    }

    /// Tells every reporter, and all of them what one of them has trouble with.
    pub(crate) fn emit(&self, event: Event) {
        if self.heard == Heard::Nothing {
            return;
        }
        let Some(event) = self.secrets.show(event) else {
            return;
        };
        let mut next = Some(event.bounded());
        while let Some(event) = next.take() {
            let stamped = Stamped {
                v: VERSION,
                at: self.clock.now(),
                event,
            };
            for reporter in self.reporters.borrow_mut().iter_mut() {
                reporter.take(&stamped);
                next = next.or_else(|| reporter.trouble());
            }
        }
    }
}

/// Keeps all events, for tests and for plans.
#[derive(Clone, Debug, Default)]
pub struct Kept(pub Rc<RefCell<Vec<Stamped>>>);

impl Reporter for Kept {
    fn take(&mut self, event: &Stamped) {
        self.0.borrow_mut().push(event.clone());
    }
}
