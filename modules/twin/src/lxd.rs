//! LXD: its members and how they block each other, its instances, and the programs `lxc` and `lxd`.

mod api;
mod client;
mod evacuation;
mod faults;
mod instance;
mod operation;
#[cfg(test)]
mod samples;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use client::{lxc, lxd};
pub use instance::Instance;
pub(crate) use instance::Kind;
use operation::Operation;

use crate::dialects::Trait;
use crate::product::Product;
use crate::snapd;
use crate::world::{Due, World};

/// Memory of a virtual machine without `limits.memory`.
const LIVE_DEFAULT: u64 = 1 << 30;

pub(crate) struct LxdProduct;

impl Product for LxdProduct {
    fn snap(&self) -> &'static str {
        "lxd"
    }

    fn stops_in(&self) -> u64 {
        250
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["lxc"]
    }

    fn stop(&self, world: &mut World, member: &str) {
        stop(world, member);
    }

    fn start(&self, world: &mut World, member: &str) {
        start(world, member);
    }

    fn is_down(&self, world: &World, member: &str) -> bool {
        let node = world.lxd.nodes.get(member);
        node.is_some_and(|node| node.daemon == Daemon::Down)
    }

    /// Every instance is gone with the power. Those that ran are started again when LXD is.
    fn power_lost(&self, world: &mut World, member: &str) {
        let cause = std::mem::take(&mut world.cause);
        instances_stop(world, member);
        world.cause = cause;
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lxd {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) pools: BTreeMap<String, Pool>,
    #[serde(default)]
    pub(crate) buckets: Vec<Bucket>,
    pub(crate) config: BTreeMap<String, String>,
    operations: Vec<Operation>,
    faults: faults::Faults,
    /// Members that don't refresh themselves when they lag behind.
    pub(crate) no_self_update: Vec<String>,
}

/// A member's row in the database, and its daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    /// Schema, and count of API extensions: what decides whether members block each other.
    pub(crate) version: (u32, u32),
    pub(crate) daemon: Daemon,
    /// When the daemon stopped, while it is down.
    stopped: u64,
    /// When it was last ready to serve.
    ready: u64,
    /// Shown from the moment an evacuation begins, whatever still runs here.
    pub(crate) evacuated: bool,
    /// Bytes.
    memory: u64,
    config: BTreeMap<String, String>,
    groups: Vec<String>,
}

/// A storage pool; a local one is on each member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) driver: String,
    /// Bytes, of each member's part where it is local.
    pub(crate) size: u64,
}

/// A storage pool as a scenario has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoragePool {
    pub name: String,
    /// Its driver: `zfs`, `btrfs`, `ceph`, `cephobject`, …
    pub driver: String,
}

/// A storage bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    pub name: String,
    pub pool: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Daemon {
    Down,
    /// It exits because its version is behind, and systemd starts it again.
    Crashing,
    Starting,
    /// It waits for the other members to align their versions: it votes and sends heartbeats, and serves no API.
    Waiting,
    Ready,
}

/// What happens by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A daemon compares its version with the others'.
    Align(String),
    /// A member that lags behind refreshes itself.
    SelfUpdate(String),
    /// A daemon that crashed is started again.
    Restart(String),
    /// The leader looks whether a member has been offline for too long.
    Heal(String),
    /// An operation gets on.
    Work(String),
}

/// From a daemon's start to its comparing versions, in milliseconds.
const START: u64 = 2500;
/// From a daemon's end to systemd's starting it again.
const RESTART: u64 = 1000;
/// A member without heartbeats counts as offline after this (`cluster.offline_threshold`).
const OFFLINE: u64 = 20_000;
/// A lagging member notices with the next heartbeat, and then waits for up to 30 s.
const HEARTBEAT: u64 = 10_000;
const SELF_UPDATE: u64 = 30_000;
/// From a daemon's being ready to its peers' hearing from it about instances (seen on real members: some seconds).
const HEARD: u64 = 6000;

impl Node {
    pub(crate) fn new(version: (u32, u32)) -> Self {
        Self {
            version,
            daemon: Daemon::Ready,
            stopped: 0,
            ready: 0,
            evacuated: false,
            memory: 16 << 30,
            config: BTreeMap::new(),
            groups: vec!["default".to_owned()],
        }
    }

    /// Its daemon exits, as it may have done before.
    fn exits(&mut self, now: u64) {
        if self.daemon != Daemon::Crashing {
            self.stopped = now;
        }
        self.daemon = Daemon::Crashing;
    }
}

/// A cluster that is found as it is: daemons that are ahead of others wait for them, and so do those that were started again
/// behind others, or they exit, as their release has it. Those that only run on have had their try to refresh themselves.
pub(crate) fn found(world: &mut World, restarted: &[String]) {
    let versions = || world.lxd.nodes.values().map(|node| node.version);
    let (oldest, newest) = (versions().min(), versions().max());
    let names: Vec<String> = world.lxd.nodes.keys().cloned().collect();
    for name in names {
        let aligns = world.has(&name, Trait::LxdAligns);
        let Some(node) = world.lxd.nodes.get_mut(&name) else {
            continue;
        };
        let (ahead, behind) = (Some(node.version) > oldest, Some(node.version) < newest);
        if behind && !aligns && (ahead || restarted.contains(&name)) {
            node.exits(0);
            world.schedule(RESTART, Due::Lxd(Event::Align(name)));
        } else if ahead || (behind && restarted.contains(&name)) {
            node.daemon = Daemon::Waiting;
        }
    }
}

/// A member's daemon stops. Instances run on behind a refresh; behind anything else LXD takes it for the host's
/// shutdown and stops them all (`snapcraft/commands/daemon.stop`).
fn stop(world: &mut World, member: &str) {
    let kinds = ["auto-refresh", "refresh-snap", "install-snap"];
    let machine = world.members.get(member);
    let mut changes = machine.into_iter().flat_map(|m| &m.snapd.changes);
    if !changes.any(|c| c.snap == "lxd" && !c.ready() && kinds.contains(&c.kind.as_str())) {
        instances_stop(world, member);
    }
    down(world, member);
}

fn instances_stop(world: &mut World, member: &str) {
    let here = |i: &&mut Instance| i.location == member && i.running;
    let mut stopped = Vec::new();
    for instance in world.lxd.instances.iter_mut().filter(here) {
        instance.running = false;
        let ran = "RUNNING".to_owned();
        instance.config.insert(instance::LAST_STATE.to_owned(), ran);
        stopped.push(instance.name.clone());
    }
    // What nobody asked for is nobody's fault.
    if !stopped.is_empty() && !world.cause.is_empty() {
        let what = format!("{} stopped with LXD on {member}", stopped.join(", "));
        world.violated("instances-left-alone", what);
    }
}

/// The daemon is gone, and with it what it was doing.
fn down(world: &mut World, member: &str) {
    let healing = world.lxd.config.get("cluster.healing_threshold");
    let healing = healing.and_then(|text| text.parse::<u64>().ok());
    if let Some(seconds) = healing.filter(|seconds| *seconds > 0) {
        let after = (seconds * 1000).max(OFFLINE) + HEARTBEAT;
        world.schedule(after, Due::Lxd(Event::Heal(member.to_owned())));
    }
    world.lxd.operations.retain(|op| op.member != member);
    let now = world.now;
    if let Some(node) = world.lxd.nodes.get_mut(member) {
        node.daemon = Daemon::Down;
        node.stopped = now;
    }
}

/// A daemon dies of itself; systemd starts it again.
fn crash(world: &mut World, member: &str) {
    down(world, member);
    world.schedule(RESTART, Due::Lxd(Event::Restart(member.to_owned())));
}

/// A daemon that is ready starts what ran before, unless its member is evacuated.
fn instances_start(world: &mut World, member: &str) {
    let now = world.now;
    if world.lxd.nodes.get(member).is_some_and(|n| n.evacuated) {
        return;
    }
    let lost = |i: &&Instance| i.lacks_pool(world);
    let lost: Vec<_> = world
        .lxd
        .instances
        .iter()
        .filter(lost)
        .map(Instance::key)
        .collect();
    let here = |i: &&mut Instance| i.location == member && !i.running && i.autostarts();
    let starts = |i: &&mut Instance| here(i) && !lost.contains(&i.key());
    for instance in world.lxd.instances.iter_mut().filter(starts) {
        instance.running = true;
        instance.started = now;
    }
}

/// Instances of a member that counts as dead are started on others, though they may run on where they are.
fn heal(world: &mut World, member: &str) {
    // It is a task of daemons that serve: one that waits for others to have its version has begun none (`lxd/daemon.go`).
    let serves = |node: &Node| node.daemon == Daemon::Ready;
    if !offline(world, member) || !world.lxd.nodes.values().any(serves) {
        return;
    }
    let here = |i: &&Instance| i.location == member && i.is_remote(world);
    let lost: Vec<Instance> = world.lxd.instances.iter().filter(here).cloned().collect();
    for instance in lost {
        let Some(to) = instance::target(world, &instance) else {
            continue;
        };
        let now = world.now;
        let key = instance.key();
        for i in world.lxd.instances.iter_mut().filter(|i| i.key() == key) {
            to.clone_into(&mut i.location);
            i.running = true;
            i.started = now;
        }
        // A member that is dead is what healing is for.
        if world.answers(member) {
            let what = format!("{} is healed from {member} to {to}", instance.name);
            world.violated("instances-left-alone", what);
        }
    }
}

fn start(world: &mut World, member: &str) {
    let version = world
        .release(member, "lxd")
        .map(|r| (r.schema, r.extensions));
    if let (Some(node), Some(version)) = (world.lxd.nodes.get_mut(member), version) {
        node.daemon = Daemon::Starting;
        node.version = version;
    }
    world.schedule(START, Due::Lxd(Event::Align(member.to_owned())));
}

pub(crate) fn happen(world: &mut World, event: Event) {
    match event {
        Event::Align(member) => align(world, &member),
        Event::Restart(member) => start(world, &member),
        Event::Heal(member) => heal(world, &member),
        Event::Work(id) => evacuation::work(world, &id),
        Event::SelfUpdate(member) => {
            let behind = |n: &Node| {
                world
                    .lxd
                    .nodes
                    .values()
                    .any(|other| other.version > n.version)
            };
            if world
                .lxd
                .nodes
                .get(&member)
                .is_some_and(|n| n.daemon == Daemon::Ready && behind(n))
            {
                snapd::refresh_itself(world, &member);
            }
        }
    }
}

/// A daemon that has started commits its version and compares. All the same, everyone goes on; otherwise it waits, and
/// members that run an older version will refresh themselves.
fn align(world: &mut World, member: &str) {
    let now = world.now;
    let aligns = world.has(member, Trait::LxdAligns);
    let nodes = &mut world.lxd.nodes;
    let versions: Vec<(u32, u32)> = nodes.values().map(|n| n.version).collect();
    let same = versions.iter().all(|v| *v == versions[0]);
    let Some(node) = nodes.get_mut(member).filter(|n| n.daemon != Daemon::Down) else {
        return;
    };
    if !aligns && versions.iter().any(|v| *v > node.version) {
        node.exits(now);
        let again = Due::Lxd(Event::Align(member.to_owned()));
        return world.schedule(RESTART + START, again);
    }
    node.daemon = if same { Daemon::Ready } else { Daemon::Waiting };
    node.ready = now;
    let own = node.version;
    if same {
        let mut ready = vec![member.to_owned()];
        for (name, other) in nodes
            .iter_mut()
            .filter(|(_, n)| n.daemon == Daemon::Waiting)
        {
            other.daemon = Daemon::Ready;
            other.ready = now;
            ready.push(name.clone());
        }
        for name in ready {
            instances_start(world, &name);
        }
        return;
    }
    let lagging: Vec<String> = nodes
        .iter()
        .filter(|(_, n)| n.daemon == Daemon::Ready && n.version < own)
        .map(|(name, _)| name.clone())
        .filter(|name| !world.lxd.no_self_update.contains(name))
        .collect();
    for name in lagging {
        let delay = world.random(
            &format!("self-update {name} {own:?}"),
            HEARTBEAT + SELF_UPDATE,
        );
        world.schedule(delay, Due::Lxd(Event::SelfUpdate(name)));
    }
}

/// Why a member's API isn't served to its own clients.
fn unserved(world: &World, member: &str) -> Option<&'static str> {
    match world.lxd.nodes.get(member)?.daemon {
        Daemon::Ready => None,
        Daemon::Starting | Daemon::Waiting => Some("LXD daemon setup in progress"),
        Daemon::Down | Daemon::Crashing => Some(
            "LXD unix socket not accessible: Get \"http://unix.socket/1.0\": dial unix /var/snap/lxd/common/lxd/unix.socket: connect: connection refused",
        ),
    }
}

/// Whether its process is there at all.
fn runs(daemon: Daemon) -> bool {
    !matches!(daemon, Daemon::Down | Daemon::Crashing)
}

fn has_quorum(world: &World) -> bool {
    let all = world.lxd.nodes.len().min(3);
    let voters = world.lxd.nodes.iter().take(3);
    2 * voters
        .filter(|(name, n)| world.answers(name) && runs(n.daemon))
        .count()
        > all
}

pub(crate) fn serves(world: &World, member: &str) -> bool {
    world.answers(member) && unserved(world, member).is_none()
}

/// For how long nobody has heard of a member, in milliseconds.
fn silence(world: &World, name: &str) -> u64 {
    let Some(node) = world.lxd.nodes.get(name) else {
        return u64::MAX;
    };
    match node.daemon {
        Daemon::Down | Daemon::Crashing => world.now - node.stopped,
        _ if !world.answers(name) => OFFLINE + 1,
        _ => 0,
    }
}

fn offline(world: &World, name: &str) -> bool {
    silence(world, name) > OFFLINE
}

/// A member's state as another one has it (`lxd/db/node.go`).
pub(crate) fn state(world: &World, asked: &str, name: &str) -> (&'static str, String) {
    let Some(node) = world.lxd.nodes.get(name) else {
        return ("Offline", String::new());
    };
    if node.evacuated {
        return ("Evacuated", "Unavailable due to maintenance".to_owned());
    }
    let silent = silence(world, name);
    if silent > OFFLINE {
        let since = world.timestamp(world.now.saturating_sub(silent));
        return (
            "Offline",
            format!("No heartbeat for {}s ({since})", silent / 1000),
        );
    }
    let others = || world.lxd.nodes.values().map(|n| n.version);
    let behind = others().any(|v| v > node.version);
    let message = match world.has(asked, Trait::LxdAligns) {
        true if behind => "LXD version is older than other members",
        true if others().any(|v| v < node.version) => "LXD version is newer than other members",
        false if behind => "Needs updating to newer version",
        _ => return ("Online", "Fully operational".to_owned()),
    };
    ("Blocked", message.to_owned())
}
