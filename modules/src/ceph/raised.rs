//! What of Ceph hazards and likenesses depend on: the checks that are raised, the modules of its manager.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Status, command};
use crate::cx::Cx;
use crate::error::OpError;

/// A health check that is raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Raised {
    /// Its code.
    pub code: String,
    /// `HEALTH_WARN` or `HEALTH_ERR`.
    pub severity: String,
    /// What it says.
    pub message: String,
    /// How often.
    pub count: u64,
    /// Whether somebody has muted it.
    pub muted: bool,
}

impl Status {
    /// The checks that are raised, muted ones too.
    #[must_use]
    pub fn raised(&self) -> Vec<Raised> {
        let raised = |(code, check): (&String, &super::codes::Check)| Raised {
            code: code.clone(),
            severity: check.severity.clone(),
            message: check.summary.message.clone(),
            count: check.summary.count,
            muted: check.muted,
        };
        self.health.checks.iter().map(raised).collect()
    }
}

/// The modules of the manager that are switched on, beside those that always are (`ceph mgr module ls`,
/// `mon/MgrMonitor.cc`).
///
/// # Errors
/// Where no member answers, or not with such a list.
pub async fn manager_modules(cx: &Cx) -> Result<BTreeSet<String>, OpError> {
    #[derive(Deserialize)]
    struct Modules {
        enabled_modules: BTreeSet<String>,
    }
    let cmd = command(&["mgr", "module", "ls"]);
    let (asked, output) = cx.ask(&cx.members(), &cmd).await?;
    let modules: Modules = output.json(&cmd, asked.as_str())?;
    Ok(modules.enabled_modules)
}
