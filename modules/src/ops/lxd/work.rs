//! What LXD is at work on, and what it warns of.

use std::collections::BTreeMap;

use futures_util::future::join5;
use serde::Deserialize;

use super::{LxdMember, query};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;

/// What LXD is at work on, and what it warns of: a sentence each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Work {
    /// Running operations that a restart of the daemon would break off.
    pub(crate) operations: Vec<String>,
    /// Warnings about the cluster that nobody has acknowledged.
    pub(crate) warnings: Vec<String>,
    /// Instances that are stopped, and that it starts by itself when it is refreshed.
    pub(crate) starts: Vec<String>,
    /// Why its database would not outlive a member's absence.
    pub(crate) voters: Option<String>,
    pub(crate) healing: Option<String>,
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
pub(crate) async fn work(cx: &Cx) -> Result<Work, OpError> {
    let (by_status, warnings, instances, members, healing) = join5(
        query(cx, "/1.0/operations?recursion=1&all-projects=true"),
        query(cx, "/1.0/warnings?recursion=1"),
        super::instances::instances(cx),
        super::members(cx),
        super::healing::threshold(cx),
    )
    .await;
    let by_status: BTreeMap<String, Vec<Operation>> = by_status?;
    let going = by_status
        .into_iter()
        .filter(|(status, _)| status == "running" || status == "pending");
    let tasks = going
        .flat_map(|(_, operations)| operations)
        .filter(|op| op.class == "task");
    let warnings: Vec<Warning> = warnings?;
    let fresh = warnings
        .into_iter()
        .filter(|warning| warning.status == "new" && TELLING.contains(&warning.kind.as_str()));
    let instances = instances?;
    let starts = instances.iter().filter(|i| !i.runs() && i.autostarts);
    let (members, healing) = (members?, healing?);
    Ok(Work {
        voters: voters(&members),
        healing: (healing > 0).then(|| {
            format!("cluster.healing_threshold is {healing}: 0 during the run, then restored")
        }),
        starts: starts
            .map(|i| {
                let title = i.title();
                at(&i.location, &format!("{title} is stopped, and LXD starts it when it is refreshed (boot.autostart)"))
            })
            .collect(),
        operations: tasks.map(|op| at(&op.location, &op.description)).collect(),
        warnings: fresh
            .map(|w| at(&w.location, &format!("{}: {}", w.kind, w.last_message)))
            .collect(),
    })
}

/// Two of three votes are a majority; LXD hands out three (`cluster.max_voters`) as soon as there are three members.
/// The leader is one of them, and from 6.7 on shows no other role (`lxd/db/node.go`).
fn voters(members: &[LxdMember]) -> Option<String> {
    const ROLES: [&str; 3] = ["database", "database-voter", "database-leader"];
    let votes = |m: &&LxdMember| m.roles.iter().any(|role| ROLES.contains(&role.as_str()));
    let voting: Vec<&str> = members
        .iter()
        .filter(votes)
        .map(|m| m.name.as_str())
        .collect();
    (members.len() >= 3 && voting.len() < 3).then(|| {
        format!(
            "of {} members only {} have a vote in LXD's database, so that the absence of one can stop it; \
             LXD gives online members a vote by itself; see: lxc cluster list",
            members.len(),
            voting.join(", ")
        )
    })
}

fn at(location: &str, what: &str) -> String {
    if location.is_empty() {
        what.to_owned()
    } else {
        format!("{location}: {what}")
    }
}
