//! The failure of a step, as playbooks, journals and people meet it.

use lockstep_modules::contract::error::{Kind, OpError};
use lockstep_modules::contract::schema::Member;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::call::Call;
use crate::source::Source;
use lockstep_modules::contract::path::StepPath;

/// Where in the evidence of a failure stands what a run left on that has ended otherwise well: what is typed to switch it
/// off, by what it is.
pub(crate) const LEFT_ON: &str = "left_on";

/// An op's failure together with where it happened. This is the record that `try` hands to a playbook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// The class of the failure.
    pub kind: Kind,
    /// What happened, for a person: a fragment that reads after "micro2: snap.refresh: ".
    pub message: String,
    /// The op that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) op: Option<String>,
    /// The step that failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepPath>,
    /// The member it happened on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub member: Option<Member>,
    /// The line of the playbook, as `file:line`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// Evidence: the command, how it ended, the end of its output.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub detail: Map<String, Value>,
    /// What failed in which strand, where several did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) failures: Vec<Failure>,
    /// The strand's label, inside `failures`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label: Option<String>,
    /// The playbook's own frames, innermost first, each as `file:line`, and `in NAME` where the function has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceback: Option<String>,
    /// The source that the line is in, where the playbook couldn't be loaded: there is no run yet that has captured it.
    #[serde(skip)]
    pub(crate) source: Option<Box<Source>>,
}

impl Failure {
    /// A failure of this class with this message, nowhere in particular.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            op: None,
            step: None,
            member: None,
            site: None,
            detail: Map::new(),
            failures: Vec::new(),
            label: None,
            traceback: None,
            source: None,
        }
    }

    /// The failure of an op in a step.
    pub(crate) fn of_step(error: OpError, call: &Call, member: Option<Member>) -> Self {
        Self {
            op: Some(call.op.clone()),
            step: Some(call.path.clone()),
            member: error.member.or(member),
            site: Some(call.site.clone()),
            detail: error.detail,
            ..Self::new(error.kind, error.message)
        }
    }

    /// A mistake in a playbook.
    pub(crate) fn script(message: impl Into<String>) -> Self {
        Self::new(Kind::Script, message)
    }

    /// Whether the run ended well, but for what it left on.
    pub(crate) fn only_leaves_on(&self) -> bool {
        self.detail.contains_key(LEFT_ON)
    }

    pub(crate) fn at(mut self, site: impl Into<String>) -> Self {
        self.site = Some(site.into());
        self
    }
}

/// One line: who, what, why. The line of the playbook is left to those who show an excerpt.
impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(member) = &self.member {
            write!(f, "{member}: ")?;
        }
        if let Some(op) = &self.op {
            write!(f, "{op}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
