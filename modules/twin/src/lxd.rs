//! LXD: its members and how they block each other, its instances, and the programs `lxc` and `lxd`.

mod api;
mod client;
mod evacuation;
mod faults;
mod instance;
mod members;
mod operation;
#[cfg(test)]
mod samples;
pub(crate) mod state;

pub(crate) use client::{lxc, lxd};
use members::{HEARTBEAT, RESTART, down, offline};
pub(crate) use members::{serves, state};
pub use state::Instance;
pub(crate) use state::{Bucket, Daemon, Event, Kind, Node, Pool, StoragePool};

use crate::dialects::Trait;
use crate::product::Product;
use crate::snapd;
use crate::world::{Due, World};

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

/// From a daemon's start to its comparing versions, in milliseconds.
const START: u64 = 2500;
const SELF_UPDATE: u64 = 30_000;
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
