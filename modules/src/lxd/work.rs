//! What LXD is at work on, and what it warns of.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::query;
use crate::cx::Cx;
use crate::error::OpError;

/// What LXD is at work on, and what it warns of: a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Operations that go on and that a restart of the daemon would break off.
    pub operations: Vec<String>,
    /// Warnings about the cluster that nobody has acknowledged.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Operation {
    class: String,
    description: String,
    #[serde(default)]
    location: String,
}

#[derive(Deserialize)]
struct Warning {
    #[serde(default)]
    location: String,
    #[serde(default)]
    last_message: String,
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Warnings that tell of the cluster (`lxd/db/warningtype/warning_type.go`). Most others tell what a kernel lacks.
const TELLING: [&str; 5] = [
    "Failed autostarting instance",
    "Network unavailable",
    "Offline cluster member",
    "Storage pool unavailable",
    "Time skew detected between leader and local",
];

/// Asks for it. Sessions of people (`lxc exec`) are operations too; they are theirs to end, and left out.
///
/// # Errors
/// Where no member answers.
pub async fn work(cx: &Cx) -> Result<Work, OpError> {
    let by_status: BTreeMap<String, Vec<Operation>> =
        query(cx, "/1.0/operations?recursion=1&all-projects=true").await?;
    let going = by_status
        .into_iter()
        .filter(|(status, _)| status == "running" || status == "pending");
    let tasks = going
        .flat_map(|(_, operations)| operations)
        .filter(|op| op.class == "task");
    let warnings: Vec<Warning> = query(cx, "/1.0/warnings?recursion=1").await?;
    let fresh = warnings
        .into_iter()
        .filter(|warning| warning.status == "new" && TELLING.contains(&warning.kind.as_str()));
    Ok(Work {
        operations: tasks.map(|op| at(&op.location, &op.description)).collect(),
        warnings: fresh
            .map(|w| at(&w.location, &format!("{}: {}", w.kind, w.last_message)))
            .collect(),
    })
}

fn at(member: &str, what: &str) -> String {
    if member.is_empty() {
        what.to_owned()
    } else {
        format!("{member}: {what}")
    }
}
