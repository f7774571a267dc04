//! What an op can fail with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::contract::contact::ContactError;
use crate::contract::schema::Member;

/// Where in the evidence of a failure stands what was done all the same: what the op's result would have been.
pub const DID: &str = "did";

/// Why a step failed. The set is closed: playbooks branch on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The arguments don't fit the op.
    Args,
    /// A program on a member failed, or printed what its parser can't read.
    Command,
    /// The member can't be reached, or contact was lost on the way: to it, or to the program of a module.
    Unreachable,
    /// Something did not come about, or did not answer, in its time.
    Timeout,
    /// A guard refused: the cluster isn't in a state in which this may be done.
    Refused,
    /// Something else is being done to the same thing.
    Conflict,
    /// The cluster isn't this process's any more: another run, or another process that took this run up, has it.
    Taken,
    /// The run was aborted.
    Cancelled,
    /// The playbook itself raised an error.
    Script,
    /// Several strands of a `parallel` or `rolling` failed.
    Several,
    /// A simulated cluster doesn't know what a real one would do.
    Unknown,
}

impl Kind {
    /// The word that playbooks and journals use.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Args => "args",
            Self::Command => "command",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
            Self::Conflict => "conflict",
            Self::Taken => "taken",
            Self::Cancelled => "cancelled",
            Self::Script => "script",
            Self::Several => "several",
            Self::Unknown => "unknown",
        }
    }

    /// Whether the effect may have begun all the same, so that only the world can tell.
    #[must_use]
    pub fn in_doubt(self) -> bool {
        matches!(self, Self::Unreachable | Self::Timeout)
    }
}

/// The failure of an op.
///
/// `message` is a lowercase fragment that reads after "micro2: snap.refresh: ".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(deny_unknown_fields)]
#[error("{message}")]
pub struct OpError {
    /// The class of the failure.
    pub kind: Kind,
    /// What happened, for a person.
    pub message: String,
    /// The member it happened on, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<Member>,
    /// Evidence: the command, its exit, the end of its output.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub detail: Map<String, Value>,
}

impl OpError {
    /// A failure of this class with this message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            member: None,
            detail: Map::new(),
        }
    }

    /// A guard refused.
    pub fn refused(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// A program failed or printed something unreadable.
    pub fn command(message: impl Into<String>) -> Self {
        Self::new(Kind::Command, message)
    }

    /// Time ran out.
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(Kind::Timeout, message)
    }

    /// Names the member that it happened on.
    #[must_use]
    pub fn on(mut self, member: &Member) -> Self {
        self.member = Some(member.clone());
        self
    }

    /// The message, with the member that it is about.
    #[must_use]
    pub fn located(&self) -> String {
        let member = self.member.as_ref();
        member.map_or_else(|| self.to_string(), |member| format!("{member}: {self}"))
    }

    /// Adds a piece of evidence.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(key.to_owned(), value.into());
        self
    }

    /// Contact with `member` failed.
    #[must_use]
    pub fn contact(member: &Member, error: &ContactError) -> Self {
        let kind = match error {
            ContactError::Unsimulated(_) => Kind::Unknown,
            ContactError::Taken(_) => Kind::Taken,
            _ => Kind::Unreachable,
        };
        let failure = Self::new(kind, error.to_string())
            .on(member)
            .with("contact", error.word())
            .with("transient", error.transient());
        if error.kept_out() {
            failure.with("kept_out", true)
        } else {
            failure
        }
    }

    /// Whether contact failed before there was a connection: nothing of the command that was to be run can have begun.
    #[must_use]
    pub fn kept_out(&self) -> bool {
        self.detail.get("kept_out") == Some(&Value::Bool(true))
    }

    /// Whether contact failed because nothing came back in time.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        let word = self.detail.get("contact").and_then(Value::as_str);
        word == Some(ContactError::TIMED_OUT)
    }

    /// Whether waiting for the member may help: the connection dropped, or the machine is on its way back.
    #[must_use]
    pub fn transient(&self) -> bool {
        self.kind == Kind::Unreachable && self.detail.get("transient") == Some(&Value::Bool(true))
    }
}
