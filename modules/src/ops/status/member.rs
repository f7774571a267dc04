//! One member: whether it answers as itself, and what is installed on it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::component::Component;
use crate::contract::cx::Cx;
use crate::contract::error::{Kind, OpError};
use crate::contract::schema::Member;
use crate::ops::lock::{self, MemberLock};
use crate::ops::snap::Installed;
use crate::products::snapd::{self, Change, Snap};

/// A member.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct MemberStatus {
    /// Its name.
    pub name: Member,
    /// Whether it answered.
    pub(crate) reachable: bool,
    /// Whether nothing at all came back from it in time: the machine is off, or cut off.
    #[serde(default)]
    pub(crate) silent: bool,
    /// Why it didn't, or what was wrong with its answer.
    pub problem: Option<String>,
    /// The components that are installed, by snap.
    pub snaps: BTreeMap<String, Installed>,
    /// Changes of these snaps in progress.
    pub changes: Vec<String>,
    /// Whose the cluster is, as the lock on this member tells it; absent where it didn't answer.
    pub lock: Option<MemberLock>,
}

/// What there is to be seen on a member; what went wrong is part of the record.
pub(super) async fn status(cx: &Cx, member: &Member) -> MemberStatus {
    let mut status = MemberStatus {
        name: member.clone(),
        reachable: true,
        silent: false,
        problem: None,
        snaps: BTreeMap::new(),
        changes: Vec::new(),
        lock: None,
    };
    match installed(cx, member).await {
        Ok((snaps, changes, lock)) => {
            status.snaps = snaps;
            status.changes = changes;
            status.lock = Some(lock);
        }
        Err(error) => {
            status.reachable = error.kind != Kind::Unreachable;
            status.silent = error.is_silence();
            status.problem = Some(error.message);
        }
    }
    status
}

/// A cluster file may have the address of one member for another: whoever works on that member would work on the wrong
/// machine, and its own would be left behind. Members are called like their machines: all four products take the name of
/// the host when a member joins.
async fn itself(cx: &Cx, member: &Member) -> Result<(), OpError> {
    let name = cx.facts(member).await?.hostname;
    if *member != name && cx.members().iter().any(|other| *other == name) {
        let why = format!(
            "the machine that answers has hostname {name}, which is another member; fix the address in the cluster file"
        );
        return Err(OpError::refused(why).on(member));
    }
    Ok(())
}

async fn installed(
    cx: &Cx,
    member: &Member,
) -> Result<(BTreeMap<String, Installed>, Vec<String>, MemberLock), OpError> {
    let names = Component::ALL.map(Component::snap);
    // Asked for by snap: a host without a serial vault has a change that never ends ("Initialize device"), and older
    // releases of snapd don't say in a change which snaps it is about.
    let changes = names.map(|snap| format!("/v2/changes?select=in-progress&for={snap}"));
    let [a, b, c, d] = changes.each_ref().map(String::as_str);
    let paths = [&format!("/v2/snaps?snaps={}", names.join(",")), a, b, c, d];
    itself(cx, member).await?;
    // Whoever is to be updated must let us be root; better to know before the first change.
    let lock = lock::at(cx, member).await?;
    let [snaps, changes @ ..] = snapd::get(cx, member, paths).await?;
    let snaps: Vec<Snap> = snapd::read(member, snaps)?;
    let mut going = Vec::new();
    for answer in changes {
        let changes: Vec<Change> = snapd::read(member, answer)?;
        going.extend(
            changes
                .iter()
                .map(|c| format!("{} ({})", c.summary, c.status)),
        );
    }
    going.dedup();
    let now = cx.now();
    Ok((
        snaps
            .into_iter()
            .map(|snap| (snap.name.clone(), Installed::of(snap, now)))
            .collect(),
        going,
        lock,
    ))
}
