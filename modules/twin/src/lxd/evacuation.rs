//! Evacuating and restoring a member, as `lxd/api_cluster_member.go` does it: one instance after the other, and the
//! member's new state written down before the first one is touched.

use super::instance::{Fate, LAST_STATE, ORIGIN, target};
use super::members::{crash, offline, serves};
use super::operation;
use super::state::{Daemon, Event, Instance, Node, Operation, Stage, What};
use crate::dialects::Trait;
use crate::world::{Due, World};

/// What stopping a container takes: its processes are asked first.
const STOP: u64 = 2400;
const START: u64 = 300;
const ANNOUNCE: u64 = 100;
/// What a move takes beyond the bytes.
const MOVE: u64 = 600;
/// Bytes a millisecond, between members.
const RATE: u64 = 1_000_000;

type Key = (String, String);

/// Why LXD refuses at once.
pub(super) fn refusal(world: &World, action: &str, member: &str) -> Option<String> {
    let runs = |what: What, of: &str| world.lxd.operations.iter().any(|op| op.of_member(what, of));
    if action == "evacuate" && runs(What::Restore, member) {
        return Some(format!(
            "Cannot evacuate \"{member}\" while a restore operation is in progress"
        ));
    }
    if action == "restore" && runs(What::Evacuate, member) {
        return Some(format!(
            "Cannot restore \"{member}\" while an evacuate operation is in progress"
        ));
    }
    let mut others = world.lxd.nodes.keys();
    if action == "evacuate"
        && world.has(member, Trait::LxdEvacuationForce)
        && others.any(|other| runs(What::Evacuate, other))
    {
        return Some(format!(
            "Cannot evacuate \"{member}\" while another cluster member evacuation is in progress"
        ));
    }
    None
}

/// Begins to evacuate a member. Returns the operation's id.
pub(super) fn evacuate(world: &mut World, member: &str, mode: &str, asked_by: u64) -> String {
    let id = operation::create(world, What::Evacuate, member, mode, asked_by);
    if is_evacuated(world, member) {
        operation::end(world, &id, "Cluster member is already evacuated");
        return id;
    }
    watch(world, member);
    if world.has(member, Trait::LxdEvacuationForce) && too_few_voters(world, member) {
        operation::end(world, &id, "Insufficient online voters to maintain quorum");
        return id;
    }
    set_evacuated(world, member, true);
    let here = world
        .lxd
        .instances
        .iter()
        .filter(|i| i.location == member)
        .map(Instance::key)
        .collect();
    go_on_with(world, id, here)
}

/// Begins to restore a member. Returns the operation's id.
pub(super) fn restore(world: &mut World, member: &str, mode: &str, asked_by: u64) -> String {
    let id = operation::create(world, What::Restore, member, mode, asked_by);
    if !is_evacuated(world, member) {
        operation::end(world, &id, "Cluster member is already restored");
        return id;
    }
    set_evacuated(world, member, false);
    if mode == "skip" {
        operation::end(world, &id, "");
        return id;
    }
    let instances = &world.lxd.instances;
    let here = instances
        .iter()
        .filter(|i| i.location == member && !i.running && i.set(LAST_STATE) == Some("RUNNING"));
    let away = instances
        .iter()
        .filter(|i| i.set(ORIGIN) == Some(member) && i.location != member);
    let todo = here.chain(away).map(Instance::key).collect();
    go_on_with(world, id, todo)
}

/// Begins to start, stop or move one instance. Returns the operation's id.
pub(super) fn change(world: &mut World, what: What, key: Key, to: &str, asked_by: u64) -> String {
    let location = find(world, &key).map_or_else(String::new, |i| i.location.clone());
    let id = operation::create(world, what, &location, to, asked_by);
    go_on_with(world, id, [key].into())
}

fn go_on_with(world: &mut World, id: String, todo: std::collections::VecDeque<Key>) -> String {
    if let Some(op) = operation::find_mut(world, &id) {
        op.todo = todo;
    }
    world.schedule(100, Due::Lxd(Event::Work(id.clone())));
    id
}

/// The rules about evacuations.
fn watch(world: &mut World, member: &str) {
    let versions: Vec<_> = world.lxd.nodes.values().map(|n| n.version).collect();
    if versions.iter().any(|v| *v != versions[0]) {
        world.violated(
            "no-evacuation-during-skew",
            format!("{member} is evacuated while the members' versions differ"),
        );
    }
    let away: Vec<String> = world.evacuated().into_iter().map(str::to_owned).collect();
    if !away.is_empty() {
        world.violated(
            "one-member-evacuated",
            format!("{member} is evacuated while {} is", away.join(", ")),
        );
    }
}

fn is_evacuated(world: &World, member: &str) -> bool {
    world.lxd.nodes.get(member).is_some_and(|n| n.evacuated)
}

fn set_evacuated(world: &mut World, member: &str, on: bool) {
    if let Some(node) = world.lxd.nodes.get_mut(member) {
        node.evacuated = on;
    }
}

/// The guard of 6.9: voters that are online without this member, or somebody to take its place.
fn too_few_voters(world: &World, member: &str) -> bool {
    let names: Vec<&String> = world.lxd.nodes.keys().collect();
    let voters = match names.len() {
        0..=2 => 1,
        _ => 3,
    };
    let here = |name: &&&String| !offline(world, name) && !is_evacuated(world, name);
    let online = names.iter().take(voters).filter(here).count();
    let spare = names.iter().skip(voters).any(|name| here(&name));
    let votes = names.iter().take(voters).any(|name| *name == member);
    votes && !spare && online.saturating_sub(1) < (voters - 1) / 2 + 1
}

fn find<'a>(world: &'a World, key: &Key) -> Option<&'a Instance> {
    let all = &world.lxd.instances;
    all.iter()
        .find(|i| (&i.project, &i.name) == (&key.0, &key.1))
}

fn find_mut<'a>(world: &'a mut World, key: &Key) -> Option<&'a mut Instance> {
    let all = &mut world.lxd.instances;
    all.iter_mut()
        .find(|i| (&i.project, &i.name) == (&key.0, &key.1))
}

/// What was being done with an instance is done, and the next thing begins.
pub(super) fn work(world: &mut World, id: &str) {
    let Some(op) = operation::find_mut(world, id)
        .filter(|op| op.runs())
        .cloned()
    else {
        return;
    };
    let down = |n: &Node| matches!(n.daemon, Daemon::Down | Daemon::Starting);
    if world.lxd.nodes.get(&op.member).is_none_or(down) {
        return;
    }
    let Some((key, stage)) = op.at.clone() else {
        return next(world, &op);
    };
    match stage {
        Stage::Announced => fetch(world, &op, &key),
        Stage::Stopping => stopped(world, &op, &key),
        Stage::Moving(to) => moved(world, &op, &key, &to),
        Stage::Starting => started(world, &op, &key),
    }
}

/// Begins something with an instance.
fn begin(world: &mut World, id: &str, key: &Key, stage: Stage, progress: String, takes: u64) {
    let now = world.now;
    if let Some(op) = operation::find_mut(world, id) {
        op.at = Some((key.clone(), stage));
        op.progress = progress;
        op.updated = now;
    }
    world.schedule(takes, Due::Lxd(Event::Work(id.to_owned())));
}

fn of(key: &Key) -> String {
    format!("\"{}\" in project \"{}\"", key.1, key.0)
}

fn next(world: &mut World, op: &Operation) {
    let key = operation::find_mut(world, &op.id).and_then(|op| op.todo.pop_front());
    let Some(key) = key else {
        return operation::end(world, &op.id, "");
    };
    let Some(instance) = find(world, &key).cloned() else {
        return next(world, op);
    };
    let fate = instance.fate(world, &op.member, &op.mode);
    match op.what {
        What::Evacuate if world.lxd.faults.overlooked.contains(&key.1) => next(world, op),
        What::Evacuate if fate == Fate::Crash => {
            // What it had set up to undo is undone on the way down, so the member gets its state back (seen on 5.0.2).
            set_evacuated(world, &op.member, false);
            crash(world, &op.member);
        }
        What::Evacuate if instance.running && fate != Fate::Live => {
            stop(world, op, &key);
        }
        What::Evacuate => go(world, op, &key),
        What::Restore if instance.location == op.member => start(world, op, &key),
        What::Restore => {
            let progress = format!("Migrating {} from \"{}\"", of(&key), instance.location);
            begin(world, &op.id, &key, Stage::Announced, progress, ANNOUNCE);
        }
        What::Start => start(world, op, &key),
        What::Stop => stop(world, op, &key),
        What::Migrate => send(world, op, &key, &op.mode.clone()),
    }
}

/// A restore fetches an instance.
fn fetch(world: &mut World, op: &Operation, key: &Key) {
    let Some(instance) = find(world, key) else {
        return next(world, op);
    };
    let fate = instance.fate(world, &op.member, &op.mode);
    if instance.running && fate != Fate::Live {
        stop(world, op, key);
    } else {
        send(world, op, key, &op.member);
    }
}

fn stop(world: &mut World, op: &Operation, key: &Key) {
    if let Some(instance) = find_mut(world, key) {
        let ran = if op.what == What::Stop {
            "STOPPED"
        } else {
            "RUNNING"
        };
        instance
            .config
            .insert(LAST_STATE.to_owned(), ran.to_owned());
    }
    let progress = format!("Stopping {}", of(key));
    begin(world, &op.id, key, Stage::Stopping, progress, STOP);
}

fn stopped(world: &mut World, op: &Operation, key: &Key) {
    let Some(instance) = find_mut(world, key) else {
        return next(world, op);
    };
    instance.running = false;
    if instance.ephemeral {
        world.lxd.instances.retain(|i| i.key() != *key);
        return next(world, op);
    }
    match op.what {
        What::Evacuate => go(world, op, key),
        What::Restore => send(world, op, key, &op.member),
        _ => next(world, op),
    }
}

/// An instance of an evacuated member goes to another one, if there is one for it. Otherwise it stays, without a word.
fn go(world: &mut World, op: &Operation, key: &Key) {
    let Some(instance) = find(world, key).cloned() else {
        return next(world, op);
    };
    let stays = instance.fate(world, &op.member, &op.mode) == Fate::Stay;
    let Some(to) = target(world, &instance).filter(|_| !stays) else {
        return next(world, op);
    };
    if let Some(instance) = find_mut(world, key) {
        instance
            .config
            .entry(ORIGIN.to_owned())
            .or_insert_with(|| op.member.clone());
    }
    send(world, op, key, &to);
}

fn send(world: &mut World, op: &Operation, key: &Key, to: &str) {
    let Some(instance) = find(world, key).cloned() else {
        return next(world, op);
    };
    let bytes = match (instance.running, instance.is_remote(world)) {
        (true, _) => instance.memory,
        (false, true) => 0,
        (false, false) => instance.size,
    };
    let takes = MOVE + bytes / RATE + world.lxd.faults.slow;
    // A restore has said so before it stopped the instance, and says no more.
    let progress = match operation::find(world, &op.id) {
        Some(op) if op.what == What::Restore => op.progress.clone(),
        _ => format!("Migrating {} to \"{to}\"", of(key)),
    };
    begin(
        world,
        &op.id,
        key,
        Stage::Moving(to.to_owned()),
        progress,
        takes,
    );
}

fn moved(world: &mut World, op: &Operation, key: &Key, to: &str) {
    let why = if world.lxd.faults.migration_fails(&key.1) {
        Some("Failed instance migration: websocket: bad handshake")
    } else if !serves(world, to) {
        Some("Failed requesting instance create on destination: LXD daemon setup in progress")
    } else {
        None
    };
    if let Some(why) = why {
        let text = format!("Failed migrating instance {}: {why}", of(key));
        return fail(world, op, &text);
    }
    let (now, member) = (world.now, op.member.clone());
    let Some(instance) = find_mut(world, key) else {
        return next(world, op);
    };
    to.clone_into(&mut instance.location);
    if op.what == What::Restore {
        instance.config.remove(ORIGIN);
    }
    if instance.running {
        // The machine is started on its new member, from the state of the old one.
        instance.started = now;
        return next(world, op);
    }
    let ran = instance.set(LAST_STATE) == Some("RUNNING");
    let starts = match op.what {
        What::Evacuate => ran || instance.autostarts(),
        What::Restore => ran && member == to,
        _ => false,
    };
    if starts {
        start(world, op, key);
    } else {
        next(world, op);
    }
}

fn start(world: &mut World, op: &Operation, key: &Key) {
    let progress = format!("Starting {}", of(key));
    begin(world, &op.id, key, Stage::Starting, progress, START);
}

fn started(world: &mut World, op: &Operation, key: &Key) {
    let now = world.now;
    let lost = find(world, key).is_some_and(|i| i.lacks_pool(world));
    if lost || world.lxd.faults.start_fails(&key.1) {
        // An evacuation has moved it by then; seen on a real cluster, as was the text.
        if op.what == What::Evacuate {
            let text = "Failed to load config file \"/tmp/lxd_config_64033256\": loading config file for the container failed";
            return fail(world, op, text);
        }
        if let Some(instance) = find_mut(world, key) {
            let stopped = "STOPPED".to_owned();
            instance.config.insert(LAST_STATE.to_owned(), stopped);
        }
        let text = format!("Failed starting instance \"{}\": exit status 1", key.1);
        return fail(world, op, &text);
    }
    if let Some(instance) = find_mut(world, key) {
        instance.running = true;
        instance.started = now;
        instance
            .config
            .insert(LAST_STATE.to_owned(), "RUNNING".to_owned());
    }
    next(world, op);
}

/// The operation fails. Before 6.9 an evacuation then gives the member its state back, whatever has moved; from 6.9 on
/// the member remains evacuated, whatever still runs there.
fn fail(world: &mut World, op: &Operation, why: &str) {
    let mut text = why.to_owned();
    match op.what {
        What::Evacuate if world.has(&op.member, Trait::LxdEvacuationForce) => {
            text.push_str(" (cluster member remains evacuated)");
        }
        What::Evacuate => set_evacuated(world, &op.member, false),
        What::Restore => set_evacuated(world, &op.member, true),
        _ => {}
    }
    operation::end(world, &op.id, &text);
}
