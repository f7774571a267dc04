//! What an evacuation would do with each instance of a member, by the rules that LXD itself goes by.
//!
//! LXD answers no such question: it finds out on the way, with the member already marked, and passes over what has nowhere
//! to go. The rules are those of `lxd/instance/drivers/driver_common.go` (`CanMigrate`) and `lxd/db/node.go` (the target:
//! fewest instances by count, whatever their size).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::detail::{Detailed, Place, Server, StoragePool, is_remote};
use super::placement::{self, Limits};
use super::{LxdMember, detail};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::Member;

/// Tell what an evacuation of a member would do with each of its running instances, and what speaks against it.
///
/// Live: moved while it runs. Cold: stopped, moved and started, and once more on the way back. Stop: stopped where it is
/// until the member is restored. Cannot: it would be lost, or left behind, or end the evacuation halfway.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PredictArgs {
    /// Member that would be evacuated.
    pub(crate) member: Member,
}

/// What an evacuation would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PredictOut {
    /// The running instances of the member.
    pub(crate) instances: Vec<Foretold>,
    /// Instances that don't run, and that LXD starts on the way; `lxd.restore` stops them again.
    #[serde(default)]
    pub(crate) starts: Vec<String>,
    /// What speaks against it. Empty where nothing does.
    pub(crate) refusals: Vec<String>,
}

/// What an evacuation would do with an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Foretold {
    /// Its name.
    pub(crate) name: String,
    /// Its project.
    pub(crate) project: String,
    /// What would happen to it.
    pub(crate) action: Action,
    /// Why, in a few words.
    pub(crate) reason: String,
    /// The member that LXD would choose for it.
    pub(crate) target: Option<Member>,
}

/// What happens to an instance when its member is evacuated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    /// It is moved while it runs.
    Live,
    /// It is stopped, moved and started.
    Cold,
    /// It is stopped, and stays.
    Stop,
    /// It can't be moved, and must not be tried.
    Cannot,
}

pub(crate) struct Predict;

impl Op for Predict {
    const NAME: &'static str = "lxd.predict";
    const EFFECT: Effect = Effect::Read;
    type Args = PredictArgs;
    type Out = PredictOut;

    fn headline(_: &PredictArgs) -> String {
        "an evacuation".to_owned()
    }

    fn summary(out: &PredictOut) -> String {
        if !out.refusals.is_empty() {
            return out.refusals.join("; ");
        }
        let mut parts: Vec<String> = out.instances.iter().map(Foretold::brief).collect();
        let starts = out.starts.iter();
        parts.extend(starts.map(|name| format!("{name} is started, and stopped again")));
        if parts.is_empty() {
            return "nothing runs there".to_owned();
        }
        parts.join("; ")
    }

    async fn run(cx: &Cx, args: PredictArgs) -> Result<PredictOut, OpError> {
        predict(cx, &args.member).await
    }
}

/// What an evacuation of `member` would do.
pub(super) async fn predict(cx: &Cx, member: &Member) -> Result<PredictOut, OpError> {
    let members = super::members(cx).await?;
    let server = detail::server(cx).await?;
    let pools = detail::pools(cx).await?;
    let instances = detail::instances(cx).await?;
    let limits = placement::limits(cx, &instances).await?;
    let mut places = BTreeMap::new();
    for other in members.iter().filter(|m| m.name != *member) {
        if other.status == "Online" {
            places.insert(
                other.name.clone(),
                detail::place(cx, &other.name, &pools).await?,
            );
        }
    }
    let mut refusals = standing(member, &members, &server);
    let foretold = foretell(
        member,
        &members,
        &server,
        &pools,
        &instances,
        &limits,
        &mut places,
    );
    for instance in foretold.iter().filter(|i| i.action == Action::Cannot) {
        refusals.push(format!("{}: {}", instance.title(), instance.reason));
    }
    for (name, place) in &places {
        refusals.extend(place.overfull(name));
    }
    let stopped = instances
        .iter()
        .filter(|i| i.location == member.as_str() && !i.runs());
    let starts = stopped
        .filter(|i| detail::autostarts(|key| i.set(key)))
        .map(|i| detail::title(&i.project, &i.name))
        .collect();
    Ok(PredictOut {
        instances: foretold,
        starts,
        refusals,
    })
}

impl Foretold {
    /// Its name, with its project where that isn't the default one.
    pub(super) fn title(&self) -> String {
        detail::title(&self.project, &self.name)
    }

    /// What becomes of it, and why.
    fn brief(&self) -> String {
        let (title, reason) = (self.title(), &self.reason);
        let to = self
            .target
            .as_ref()
            .map_or("another member", Member::as_str);
        match self.action {
            Action::Live => format!("{title} moves live to {to} ({reason})"),
            Action::Cold => format!("{title} is stopped, moved to {to} and started ({reason})"),
            Action::Stop => format!("{title} is stopped and stays ({reason})"),
            Action::Cannot => format!("{title} can't be moved ({reason})"),
        }
    }
}

/// What about the cluster speaks against evacuating `member`.
pub(super) fn standing(member: &Member, members: &[LxdMember], server: &Server) -> Vec<String> {
    let mut problems = Vec::new();
    if !members.iter().any(|m| m.name == *member) {
        problems.push(format!("{member} is no member of the LXD cluster"));
    }
    if members.len() < 2 {
        problems.push("there is no other member to move instances to".to_owned());
    }
    let amiss = members.iter().filter(|m| m.status != "Online");
    problems.extend(amiss.map(|m| format!("{} is {} ({})", m.name, m.status, m.message)));
    if server.version() >= [6, 9] && too_few_voters(member, members) {
        problems.push(format!(
            "without {member} the database would lose its quorum (too few voters)"
        ));
    }
    problems
}

/// LXD's own guard since 6.9 (`lxd/api_cluster_member.go`): a majority of voters stays, or somebody can take the place.
fn too_few_voters(member: &Member, members: &[LxdMember]) -> bool {
    let votes = |m: &LxdMember| {
        let voting = ["database", "database-voter", "database-leader"];
        m.roles.iter().any(|role| voting.contains(&role.as_str()))
    };
    let voters = members.iter().filter(|m| votes(m)).count();
    let here = members.iter().any(|m| m.name == *member && votes(m));
    let spare = members.iter().any(|m| !votes(m) && m.status == "Online");
    here && !spare && voters.saturating_sub(1) < voters.saturating_sub(1) / 2 + 1
}

/// What happens to each running instance of `member`, one after the other as LXD goes through them: each move makes the
/// next target's choice another one.
fn foretell(
    member: &Member,
    members: &[LxdMember],
    server: &Server,
    pools: &[StoragePool],
    instances: &[Detailed],
    limits: &Limits,
    places: &mut BTreeMap<Member, Place>,
) -> Vec<Foretold> {
    let mut by_then: Vec<(&Detailed, Member)> = instances
        .iter()
        .map(|i| (i, i.location.as_str().into()))
        .collect();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for instance in instances {
        *counts.entry(&instance.location).or_default() += 1;
    }
    let mut all = Vec::new();
    for instance in instances.iter().filter(|i| i.location == *member) {
        let (mut action, mut reason) = fate(instance, pools, server);
        let mut target = None;
        if matches!(action, Action::Live | Action::Cold) {
            let open = members
                .iter()
                .filter(|m| m.name != *member && takes(m, instance))
                .collect();
            target = limits
                .allowed(instance, open, &by_then, member)
                .into_iter()
                .min_by_key(|m| counts.get(m.name.as_str()).copied().unwrap_or(0))
                .map(|m| m.name.clone());
            if let Some(to) = &target {
                let from = members.iter().find(|m| m.name == *to);
                let name = from.map_or("", |m| m.name.as_str());
                *counts.entry(name).or_default() += 1;
                for (_, place) in by_then
                    .iter_mut()
                    .filter(|(i, _)| std::ptr::eq(*i, instance))
                {
                    place.clone_from(to);
                }
                if let Some(place) = places.get_mut(to) {
                    place.take(instance, pools, action == Action::Live);
                }
            } else {
                action = Action::Cannot;
                "no other member may take it: by its architecture, cluster groups, project or placement group"
                    .clone_into(&mut reason);
            }
        }
        if instance.runs() {
            all.push(Foretold {
                name: instance.name.clone(),
                project: instance.project.clone(),
                action,
                reason,
                target,
            });
        }
    }
    all
}

/// Whether LXD would choose this member for an instance.
fn takes(member: &LxdMember, instance: &Detailed) -> bool {
    let group = instance.set("volatile.cluster.group");
    let scheduler = member
        .config
        .get("scheduler.instance")
        .map_or("all", String::as_str);
    let open = match scheduler {
        "manual" => false,
        "group" => group.is_some(),
        _ => true,
    };
    let fits = member.architecture.is_empty() || member.architecture == instance.architecture;
    let grouped = group.is_none_or(|group| member.groups.iter().any(|g| g == group));
    member.status == "Online" && open && fits && grouped
}

/// What LXD would do with an instance, and why.
fn fate(instance: &Detailed, pools: &[StoragePool], server: &Server) -> (Action, String) {
    if instance.status == "Error" {
        return (
            Action::Cannot,
            "its member gives no answer about it".to_owned(),
        );
    }
    let (action, reason) = match instance.set("cluster.evacuate").unwrap_or("auto") {
        "stop" => (Action::Stop, "cluster.evacuate=stop".to_owned()),
        "migrate" => (Action::Cold, "cluster.evacuate=migrate".to_owned()),
        "live-migrate" if instance.kind == "container" => {
            let why = "cluster.evacuate=live-migrate, which LXD can't do with containers";
            (Action::Cannot, why.to_owned())
        }
        "live-migrate" if instance.set("migration.stateful") != Some("true") => {
            let why = "cluster.evacuate=live-migrate without migration.stateful=true";
            (Action::Cannot, why.to_owned())
        }
        // LXD looks at no device then, and fails half way (`canMigrate` in `lxd/instance/drivers/driver_common.go`).
        "live-migrate" => match bound(instance, pools, server) {
            Some((device, why)) => {
                let why = format!(
                    "cluster.evacuate=live-migrate, and {device} {why}, with which that fails"
                );
                (Action::Cannot, why)
            }
            None => (Action::Live, "cluster.evacuate=live-migrate".to_owned()),
        },
        _ => automatic(instance, pools, server),
    };
    if action == Action::Live
        && let Some(why) = instance.too_large_to_move_live(pools)
    {
        return (Action::Cannot, why);
    }
    if instance.ephemeral && instance.runs() && matches!(action, Action::Cold | Action::Stop) {
        let why = "it is ephemeral: stopping it would delete it";
        return (Action::Cannot, why.to_owned());
    }
    (action, reason)
}

/// The device that binds an instance to its host, and why.
fn bound<'a>(
    instance: &'a Detailed,
    pools: &[StoragePool],
    server: &Server,
) -> Option<(&'a str, &'static str)> {
    instance.expanded_devices.iter().find_map(|(name, device)| {
        let get = |key: &str| device.get(key).map_or("", String::as_str);
        let why = match get("type") {
            "disk" if get("path") == "/" => None,
            "disk" if get("pool").is_empty() && server.version() < [6, 8] => Some(CRASHES),
            "disk" if get("pool").is_empty() => Some("is a path of its host"),
            "disk" if !is_remote(pools, get("pool")) => Some("is in a pool of its host"),
            "nic" if get("network").is_empty() && get("nictype") != "ovn" => {
                Some("is on no network of LXD's")
            }
            "disk" | "nic" | "tpm" | "none" => None,
            _ => Some("is a device of its host"),
        };
        Some((name.as_str(), why?))
    })
}

/// Why LXD must not be let look at a disk.
const CRASHES: &str = "is a disk in no pool, on which LXD before 6.8 crashes when it evacuates";

fn automatic(instance: &Detailed, pools: &[StoragePool], server: &Server) -> (Action, String) {
    match bound(instance, pools, server) {
        Some((device, CRASHES)) => {
            let why = format!("its device {device} {CRASHES}; set cluster.evacuate for it");
            return (Action::Cannot, why);
        }
        Some((device, why)) => return (Action::Stop, format!("{device} {why}")),
        None => {}
    }
    if instance.kind == "container" {
        return (Action::Cold, "a container".to_owned());
    }
    if instance.set("migration.stateful") == Some("true") {
        return (Action::Live, "migration.stateful=true".to_owned());
    }
    (Action::Cold, "without migration.stateful=true".to_owned())
}
