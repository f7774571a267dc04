//! `status`: the whole cluster as one record.

mod component;
mod halfway;
mod lasting;
mod require;
mod snapshot;

use std::collections::BTreeMap;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use component::{ComponentStatus, Health};
pub use lasting::{Area, Lasting, Unharmed};
pub(crate) use require::Require;
pub use snapshot::{Snapshot, SnapshotOut, StorageSnapshot};

use crate::contract::component::Component;
use crate::contract::cx::Cx;
use crate::contract::error::{Kind, OpError};
use crate::contract::op::{Effect, Module, Observation, Op};
use crate::contract::schema::{Member, Span};
use crate::contract::text::joined;
use crate::ops::lock::{self, MemberLock};
use crate::ops::snap::Installed;
use crate::products::snapd::{self, Change, Snap};

pub(crate) fn module() -> Module {
    Module::new("status", "The whole cluster as one record.")
        .op::<Read>()
        .op::<Require>()
        .op::<Snapshot>()
        .op::<Lasting>()
        .op::<Unharmed>()
}

/// Inspect the whole cluster: what is installed on each member, whether all members are in step, and the health of each
/// component.
///
/// It doesn't fail because something is wrong or a member can't be reached; that is part of the record.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadArgs {}

/// The whole cluster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The cluster's name.
    pub cluster: String,
    /// Whether all members are known to run the same revision of each component, from the same channel, in the cohort.
    pub in_step: bool,
    /// Whether every member was seen, and every installed component is healthy.
    pub healthy: bool,
    /// The members, in the cluster's order.
    pub members: Vec<MemberStatus>,
    /// The components, in the order in which they are refreshed.
    pub components: Vec<ComponentStatus>,
}

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

/// `status.read`
pub struct Read;

impl Op for Read {
    const NAME: &'static str = "status.read";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(5 * 60);
    type Args = ReadArgs;
    type Out = Status;

    fn summary(out: &Status) -> String {
        out.brief()
    }

    fn observed(_: &ReadArgs, out: &Status) -> Observation {
        out.observation()
    }

    async fn run(cx: &Cx, _: ReadArgs) -> Result<Status, OpError> {
        Ok(read(cx).await)
    }
}

/// The whole cluster. What can't be seen is part of the record.
pub(crate) async fn read(cx: &Cx) -> Status {
    cx.name_the_silent();
    let names = cx.members();
    let members = join_all(names.iter().map(|member| member_status(cx, member))).await;
    let each = Component::ALL.map(|component| component::read(cx, component, &members));
    let components = join_all(each).await;
    // Of a member that wasn't seen nobody knows what it runs.
    let seen = members.iter().all(|m| m.problem.is_none());
    let well = |c: &ComponentStatus| matches!(c.health, Health::Ok | Health::Absent);
    Status {
        cluster: cx.cluster().name.clone(),
        in_step: seen && components.iter().all(|c| c.in_step),
        // Where nothing is installed there is nothing that could be well.
        healthy: seen && components.iter().all(well) && !is_bare(&components),
        members,
        components,
    }
}

/// Whether no member has any component.
fn is_bare(components: &[ComponentStatus]) -> bool {
    components.iter().all(|c| c.members.is_empty())
}

async fn member_status(cx: &Cx, member: &Member) -> MemberStatus {
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

impl Status {
    /// The cluster in a sentence.
    #[must_use]
    pub fn brief(&self) -> String {
        let mut parts = vec![match self.members.len() {
            1 => "1 member".to_owned(),
            n => format!("{n} members"),
        }];
        let apart = self.components.iter().any(|c| !c.in_step);
        parts.extend(match (self.in_step, apart) {
            (true, _) => Some("in step".to_owned()),
            (false, true) => Some("out of step".to_owned()),
            (false, false) => None,
        });
        let unseen = |reachable: bool| {
            let members = self.members.iter();
            let unseen = members.filter(|m| m.problem.is_some() && m.reachable == reachable);
            joined(unseen.map(|m| &m.name), ", ")
        };
        for (reachable, what) in [(false, "not reachable"), (true, "not seen")] {
            let who = unseen(reachable);
            if !who.is_empty() {
                parts.push(format!("{who} {what}"));
            }
        }
        let unwell = |c: &&ComponentStatus| !matches!(c.health, Health::Ok | Health::Absent);
        parts.extend(
            self.components
                .iter()
                .filter(unwell)
                .map(|c| format!("{} {}", c.title, c.health.word())),
        );
        if self.healthy {
            parts.push("healthy".to_owned());
        }
        parts.join(", ")
    }

    pub(crate) fn observation(&self) -> Observation {
        let mut observation = Observation::new();
        for member in self.members.iter().filter(|m| m.reachable) {
            observation.insert(format!("{}/reachable", member.name), "yes".to_owned());
            for (snap, installed) in &member.snaps {
                observation.extend(installed.observation(&member.name, snap));
            }
            observation.extend(member.lock.iter().flat_map(MemberLock::observation));
        }
        observation
    }
}
