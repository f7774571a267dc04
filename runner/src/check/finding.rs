//! Something that is wrong with a playbook.

use serde::Serialize;

use super::case::Case;
use crate::failure::Failure;
use lockstep_modules::contract::path::{StepPath, or_empty};

/// Something that is wrong, where it comes from, and what shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The rule that is broken.
    pub rule: String,
    /// How.
    pub what: String,
    /// The step that broke it, if one did.
    #[serde(with = "or_empty")]
    pub(crate) step: Option<StepPath>,
    /// The line that asked for the step, as `file:line`.
    pub site: String,
    pub(crate) members: usize,
    /// The number of the random case; none where it isn't one.
    pub(crate) number: Option<usize>,
    /// What disturbed the run; empty where nothing did.
    pub(crate) disturbed: Vec<String>,
    /// The changing commands up to there.
    pub history: Vec<String>,
    #[serde(skip)]
    pub(super) case: Case,
}

impl Finding {
    pub(super) fn new(rule: &str, what: &str, case: &Case) -> Self {
        let before = case.before.iter().map(|f| format!("before the run: {f}"));
        let faults = before.chain(case.faults.iter().map(ToString::to_string));
        Self {
            rule: rule.to_owned(),
            what: what.to_owned(),
            step: None,
            site: String::new(),
            members: 0,
            number: None,
            disturbed: faults
                .chain(case.kills.iter().map(ToString::to_string))
                .collect(),
            history: Vec::new(),
            case: case.clone(),
        }
    }

    pub(super) fn of_failure(rule: &str, failure: &Failure, case: &Case) -> Self {
        Self::new(rule, &failure.to_string(), case).by(
            failure.step.clone(),
            failure.site.as_deref().unwrap_or_default(),
        )
    }

    pub(super) fn by(mut self, step: Option<StepPath>, site: &str) -> Self {
        (self.step, self.site) = (step, site.to_owned());
        self
    }

    pub(super) fn after(mut self, history: Vec<String>) -> Self {
        self.history = history;
        self
    }

    pub(super) fn also(mut self, words: &str) -> Self {
        self.what = format!("{words}: {}", self.what);
        self
    }

    /// What makes two findings the same: one rule, broken by one line.
    pub(super) fn key(&self) -> (String, String) {
        (self.rule.clone(), self.site.clone())
    }
}
