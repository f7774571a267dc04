//! Who decided what in a rollout and in its clusters' runs: read off their journals, which nobody can change afterwards
//! without its being noticed.

use jiff::Timestamp;
use lockstep_modules::contract::op::Op;
use lockstep_modules::ops::cluster::Settle;
use lockstep_modules::ops::confirm::Confirm;
use serde::Serialize;

use super::{Specs, rollout_of};
use crate::journal::{Choice, Record, Suspended};
use crate::runs::{Runs, RunsError};

/// Something that somebody decided.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// By whom, as `user@host`.
    pub who: String,
    /// In which run.
    pub run: String,
    /// What, in a word.
    pub action: &'static str,
    /// About what: a step, a question, a reason.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
}

/// The steps at which the operator is asked.
const ASKED: [&str; 2] = [Confirm::NAME, Settle::NAME];

/// All that was decided in a rollout and its clusters' runs, in the order in which it happened.
///
/// # Errors
/// Where a journal can't be read, or the run is no rollout.
pub fn audit(runs: &Runs, rollout: &str) -> Result<Vec<AuditEntry>, super::ProgressError> {
    let mut all = entries(runs, rollout, true)?;
    let begun = rollout_of(&runs.history(rollout)?)?;
    let specs = Specs::of(runs, rollout);
    let approvals = specs.approvals()?;
    all.extend(approvals.into_iter().map(|approval| AuditEntry {
        at: approval.at,
        who: approval.who,
        run: rollout.to_owned(),
        action: "approved",
        about: approval.plan,
    }));
    for entry in begun.clusters() {
        let skipped = specs.skipped(&entry.name)?;
        all.extend(skipped.map(|skip| AuditEntry {
            at: skip.at,
            who: skip.who,
            run: format!("{rollout}.{}", entry.name),
            action: "skipped",
            about: skip.why,
        }));
    }
    let prefix = format!("{rollout}.");
    let ids = runs.ids()?.into_iter();
    let jobs: Vec<String> = ids.filter(|id| id.starts_with(&prefix)).collect();
    runs.bring(jobs.clone())?;
    for run in &jobs {
        all.extend(entries(runs, run, false)?);
    }
    all.sort_by_key(|entry| entry.at);
    Ok(all)
}

/// What was decided in one run. That a cluster's run began was the rollout's doing.
fn entries(runs: &Runs, run: &str, began: bool) -> Result<Vec<AuditEntry>, RunsError> {
    let (mut all, mut who, mut asked) = (Vec::new(), String::new(), Vec::new());
    for (at, record) in runs.records(run)? {
        let mut add = |who: &str, action, about: String| {
            all.push(AuditEntry {
                at,
                who: who.to_owned(),
                run: run.to_owned(),
                action,
                about,
            });
        };
        match record {
            Record::Run(head) if began => add(&head.who, "started", head.playbook),
            Record::Sitting(sitting) => who = sitting.who,
            Record::Intent { path, op, args, .. } if ASKED.contains(&op.as_str()) => {
                let question = args.get("question").and_then(|question| question.as_str());
                asked.push((
                    path.clone(),
                    question.map_or_else(|| path.to_string(), str::to_owned),
                ));
            }
            Record::Done { path, value, .. } => {
                let left = value.get("left").and_then(|left| left.as_array());
                // Nobody is asked where nobody was left behind.
                if let Some((_, question)) = asked.iter().find(|(asked, _)| *asked == path)
                    && left.is_none_or(|left| !left.is_empty())
                {
                    add(&who, "agreed", question.clone());
                }
            }
            Record::Decide { path, choice, who } => add(&who, word(&choice), path.to_string()),
            Record::Suspend {
                why: Suspended::Drained(_) | Suspended::UnderWay(_),
            } => add(&who, "interrupted", String::new()),
            Record::Resume { who, .. } => add(&who, "continued", String::new()),
            Record::Cancel { who } => add(&who, "aborted", String::new()),
            _ => {}
        }
    }
    Ok(all)
}

fn word(choice: &Choice) -> &'static str {
    match choice {
        Choice::Retry => "ran again",
        Choice::AssumeDone => "assumed done",
        Choice::Deliver => "delivered",
    }
}
