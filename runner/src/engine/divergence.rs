//! Where a playbook doesn't ask for what its run has done.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::call::{Call, canonical};
use crate::journal::{History, Step};
use lockstep_modules::contract::path::StepPath;

/// Where the playbook and the journal part.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the playbook no longer matches this run: {what}\n  then: {then}\n  now:  {now}")]
pub struct Divergence {
    /// In which way.
    pub(crate) what: String,
    /// What the journal says, with the line that asked for it.
    pub(crate) then: String,
    /// What the playbook does now, with its line.
    pub(crate) now: String,
    /// The argument in which the two differ, if it is one.
    pub(crate) key: String,
    /// The line that asked for it then, and the one that asks now, where there is one.
    pub(crate) sites: [Option<String>; 2],
}

pub(super) fn diverged(what: &str, then: String, now: String) -> Divergence {
    Divergence {
        what: what.to_owned(),
        then,
        now,
        key: String::new(),
        sites: [None, None],
    }
}

impl Divergence {
    /// With the lines of the playbook that asked, where there are any.
    pub(super) fn between(self, then: &str, now: &str) -> Self {
        let site = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            sites: [site(then), site(now)],
            ..self
        }
    }
}

pub(super) fn changed(call: &Call, step: &Step) -> Divergence {
    if call.op != step.op {
        let then = format!("{} ({})", step.op, step.site);
        let now = format!("{} ({})", call.op, call.site);
        return diverged(&format!("{} is a different op", call.path), then, now)
            .between(&step.site, &call.site);
    }
    let (key, then, now) = first_difference(&step.args, &call.args);
    let divergence = diverged(
        &format!("{} has a different {key}", call.path),
        format!("{key} = {then} ({})", step.site),
        format!("{key} = {now} ({})", call.site),
    );
    Divergence { key, ..divergence }.between(&step.site, &call.site)
}

/// The first argument in which two calls of an op differ.
fn first_difference(then: &Value, now: &Value) -> (String, String, String) {
    let shown = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), canonical);
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let (old, new) = (fields(then), fields(now));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let different = keys
        .into_iter()
        .find(|key| shown(old.get(*key)) != shown(new.get(*key)));
    let key = different.cloned().unwrap_or_default();
    let (then, now) = (shown(old.get(&key)), shown(new.get(&key)));
    (key, then, now)
}

pub(super) fn not_asked(path: &StepPath, history: &History, ended: bool) -> Divergence {
    let site = history
        .steps
        .get(path)
        .map_or("", |step| step.site.as_str());
    let now = if ended {
        "the playbook ends before it"
    } else {
        "the playbook doesn't request it"
    };
    diverged(
        "a step is missing",
        format!("{path} ({site})"),
        now.to_owned(),
    )
    .between(site, "")
}
