//! `status`: the whole cluster as one record.

mod component;
mod halfway;
mod health;
mod lasting;
mod member;
mod require;
mod snapshot;

use std::collections::BTreeSet;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use component::ComponentStatus;
pub use health::Health;
pub use lasting::{Area, Lasting, Unharmed};
pub use member::MemberStatus;
pub(crate) use require::Require;
pub use snapshot::{Snapshot, SnapshotOut, StorageSnapshot};

use crate::contract::component::Component;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Module, Observation, Op};
use crate::contract::schema::Span;
use crate::contract::text::joined;
use crate::ops::lock::MemberLock;

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
    let members = join_all(names.iter().map(|member| member::status(cx, member))).await;
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

impl Status {
    /// What the members run of a component, as `REVISION CHANNEL`: one entry where all run the same.
    #[must_use]
    pub fn revisions(&self, component: Component) -> Vec<String> {
        let installed = self
            .members
            .iter()
            .filter_map(|member| member.snaps.get(component.snap()));
        let all: BTreeSet<String> = installed
            .map(|snap| format!("{} {}", snap.revision, snap.channel))
            .collect();
        all.into_iter().collect()
    }

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
