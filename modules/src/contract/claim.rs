//! What a lock says: whose a cluster is.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::Guard;
use crate::contract::run::{Run, Sitting};

/// The lock of a member: a link.
pub const LOCK: &str = "/var/lib/lockstep/lock";

/// Whose a member's lock is: what the link's target says, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Claim {
    /// The run, for example `update-14`.
    pub run: String,
    /// Who began it, as `user@host`.
    pub holder: String,
    /// When the run began. Other controllers have an `update-14` too.
    #[schemars(with = "String")]
    pub began: Timestamp,
    /// Who took it up last; absent where a lockstep did that didn't number its sittings yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sitting: Option<Sitting>,
}

impl Claim {
    /// The claim of a run, for its present sitting.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        Self {
            run: run.id.clone(),
            holder: run.holder.clone(),
            began: run.began,
            sitting: Some(run.sitting.clone()),
        }
    }

    /// Whether it is this run's, in whichever sitting.
    pub(crate) fn same_run(&self, run: &Run) -> bool {
        (&self.run, &self.holder, self.began) == (&run.id, &run.holder, run.began)
    }

    /// Whether it is this run's, in this sitting or one that it knows of.
    #[must_use]
    pub fn is_of(&self, run: &Run) -> bool {
        let known = |sitting: &Sitting| *sitting == run.sitting || run.earlier.contains(sitting);
        self.same_run(run) && self.sitting.as_ref().is_none_or(known)
    }

    /// What guards the commands of whoever has this claim.
    #[must_use]
    pub fn guard(&self) -> Guard {
        Guard {
            link: LOCK,
            says: self.text(),
        }
    }

    /// The link's target.
    pub(crate) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Why `run` can't have what this claims, and what can be done about it.
    pub(crate) fn refusal(&self, run: &Run) -> String {
        match &self.sitting {
            Some(sitting) if self.is_of(run) => format!(
                "the lock is still held by session {} of {}: lockstep resume {1} takes it over",
                sitting.number, self.run
            ),
            Some(sitting) if self.same_run(run) => format!(
                "{} was continued elsewhere by {}, as session {}: continue it there; if that run no longer exists: lockstep unlock",
                self.run, sitting.who, sitting.number
            ),
            _ => format!(
                "the cluster belongs to the run {self}: let it end; if it stopped, continue it where it was started with: lockstep resume {0}, or end it with: lockstep abort {0}; if it no longer exists: lockstep unlock",
                self.run
            ),
        }
    }
}

/// Why a member began nothing of what `run` asked for, though it had the cluster: its lock says this now.
pub(crate) fn taken(says: &str, run: &Run) -> String {
    match serde_json::from_str::<Claim>(says) {
        Ok(claim) => claim.refusal(run),
        Err(_) if says.is_empty() => format!(
            "the lock of {0} is gone, so the cluster may be changed by somebody else: lockstep resume {0} takes it again",
            run.id
        ),
        Err(_) => format!("the lock can't be read; see {LOCK} there"),
    }
}

impl std::fmt::Display for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let began = self.began.strftime("%Y-%m-%d %H:%M:%S UTC");
        write!(f, "{} of {}, begun {began}", self.run, self.holder)
    }
}
