//! What happened to a run as a whole.

use jiff::Timestamp;
use lockstep_modules::contract::cx::LogLevel;
use lockstep_modules::contract::schema::Member;
use serde::Serialize;
use serde_json::Value;

use super::{State, span};
use crate::event::Interruption;
use crate::failure::Failure;
use crate::journal::Choice;
use lockstep_modules::contract::path::StepPath;

/// Something that happened to the run as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Turn {
    pub(crate) at: Timestamp,
    /// In which session, counted from 0.
    pub(crate) session: usize,
    #[serde(flatten)]
    pub(crate) what: What,
}

/// What happened to a run as a whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum What {
    Began {
        /// By whom; empty where only the events tell.
        who: String,
    },
    Resumed {
        /// By whom; empty where only the events tell.
        who: String,
    },
    Held {
        path: StepPath,
        failure: Failure,
        /// Whether the effect may have existed or still been running.
        in_doubt: bool,
    },
    Decided {
        path: StepPath,
        choice: Choice,
        who: String,
        /// The result that was given for it, where it was taken as done.
        given: Option<Value>,
    },
    Interrupted {
        level: Interruption,
    },
    /// It stopped in order.
    Suspended {
        why: String,
    },
    Aborted {
        who: String,
    },
    Ended {
        state: State,
        /// Why, where it failed.
        why: Option<String>,
    },
    /// A step failed and was tried again.
    Retried {
        path: StepPath,
        failure: Failure,
        /// The attempt that followed.
        attempt: u32,
    },
    /// A step failed, and the playbook has the failure.
    Failed {
        path: StepPath,
        failure: Failure,
    },
    /// Contact with a member was lost.
    Lost {
        /// The step that noticed.
        path: StepPath,
        member: Member,
        reason: String,
    },
    /// The member was there again.
    Found {
        /// The step that waited.
        path: StepPath,
        member: Member,
        /// After this many milliseconds.
        ms: i64,
    },
    /// An idle connection had broken and was made again.
    Mended {
        member: Member,
        reason: String,
    },
    /// A step whose end had been missed was found to have ended.
    Probed {
        path: StepPath,
    },
    #[serde(rename = "said")]
    Logged {
        level: LogLevel,
        scope: String,
        message: String,
    },
}

impl Choice {
    /// In words, as what somebody did.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::AssumeDone => "mark it done",
            Self::Deliver => "pass the failure to the playbook",
        }
    }
}

impl What {
    pub(crate) fn path(&self) -> Option<&StepPath> {
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
    pub(crate) fn matters(&self) -> bool {
        !matches!(self, Self::Mended { .. } | Self::Logged { .. })
    }

    /// In a sentence, without who and where.
    pub(crate) fn sentence(&self) -> String {
        let by = |what: &str, who: &str| match who {
            "" => what.to_owned(),
            who => format!("{what} by {who}"),
        };
        match self {
            Self::Began { who } => by("started", who),
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
            Self::Interrupted { level } => match level {
                Interruption::Drain => "interrupted: running steps were finished",
                Interruption::StopWaiting => {
                    "interrupted: detached; what was running on the members was not stopped"
                }
            }
            .to_owned(),
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
                format!("{member} was back after {}", span(*ms))
            }
            Self::Mended { member, reason } => format!("{member}: {reason}; connected again"),
            Self::Probed { .. } => {
                "its end was missed; its outcome was determined afterwards".to_owned()
            }
            Self::Logged {
                level: LogLevel::Warn,
                message,
                ..
            } => format!("warning: {message}"),
            Self::Logged { message, .. } => message.clone(),
        }
    }
}
