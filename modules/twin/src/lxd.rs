//! LXD: its members and how they block each other, its instances, and the programs `lxc` and `lxd`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::snapd;
use crate::world::{Due, Proc, Reply, World};

/// The LXD cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lxd {
    pub(crate) nodes: BTreeMap<String, Node>,
    pub(crate) instances: Vec<Instance>,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Daemon {
    Down,
    Starting,
    /// It waits for the other members to align their versions: it votes and sends heartbeats, and serves no API.
    Waiting,
    Ready,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) name: String,
    pub(crate) location: String,
    pub(crate) running: bool,
    /// When it was last started.
    pub(crate) started: u64,
}

/// What happens by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A daemon compares its version with the others'.
    Align(String),
    /// A member that lags behind refreshes itself.
    SelfUpdate(String),
}

/// From a daemon's start to its comparing versions, in milliseconds.
const START: u64 = 2500;
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
        }
    }
}

pub(crate) fn stop(world: &mut World, member: &str) {
    let now = world.now;
    if let Some(node) = world.lxd.nodes.get_mut(member) {
        node.daemon = Daemon::Down;
        node.stopped = now;
    }
}

/// The member's power goes, with every instance there; or it has booted, and those that ran are started again.
pub(crate) fn power(world: &mut World, member: &str, on: bool) {
    let now = world.now;
    for instance in world
        .lxd
        .instances
        .iter_mut()
        .filter(|i| i.location == member && i.running)
    {
        if on {
            instance.started = now;
        }
    }
}

pub(crate) fn start(world: &mut World, member: &str) {
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
    let nodes = &mut world.lxd.nodes;
    let versions: Vec<(u32, u32)> = nodes.values().map(|n| n.version).collect();
    let same = versions.iter().all(|v| *v == versions[0]);
    let Some(node) = nodes.get_mut(member).filter(|n| n.daemon != Daemon::Down) else {
        return;
    };
    node.daemon = if same { Daemon::Ready } else { Daemon::Waiting };
    node.ready = now;
    let own = node.version;
    if same {
        for other in nodes.values_mut().filter(|n| n.daemon == Daemon::Waiting) {
            other.daemon = Daemon::Ready;
            other.ready = now;
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
        Daemon::Down => Some(
            "LXD unix socket not accessible: Get \"http://unix.socket/1.0\": dial unix /var/snap/lxd/common/lxd/unix.socket: connect: connection refused",
        ),
    }
}

fn has_quorum(world: &World) -> bool {
    let all = world.lxd.nodes.len().min(3);
    let voters = world.lxd.nodes.iter().take(3);
    2 * voters
        .filter(|(name, n)| world.answers(name) && n.daemon != Daemon::Down)
        .count()
        > all
}

/// `lxc query PATH`
pub(crate) fn lxc(world: &World, proc: &Proc, args: &[&str]) -> Reply {
    let ["query", path] = args else {
        return Reply::fail(1, "Error: unknown command\n");
    };
    if let Some(error) = unserved(world, &proc.member) {
        return Reply::fail(1, format!("Error: {error}\n"));
    }
    if !has_quorum(world) {
        return Reply::Hang;
    }
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    match path {
        "/1.0/cluster/members" => pretty(
            &world
                .lxd
                .nodes
                .keys()
                .map(|name| member_json(world, name))
                .collect(),
        ),
        "/1.0/instances" => {
            // Each member that gives no answer takes 10 s, all of them at the same time.
            let silent = |i: &Instance| !serves(world, &i.location);
            if world.lxd.instances.iter().any(silent) && world.now - proc.began < 10_000 {
                return Reply::Again(10_000);
            }
            pretty(
                &world
                    .lxd
                    .instances
                    .iter()
                    .map(|i| instance_json(world, &proc.member, i))
                    .collect(),
            )
        }
        _ => Reply::fail(1, "Error: not found\n"),
    }
}

fn pretty(value: &Value) -> Reply {
    Reply::out(serde_json::to_string_pretty(value).unwrap_or_default() + "\n\n")
}

fn serves(world: &World, member: &str) -> bool {
    world.answers(member) && unserved(world, member).is_none()
}

fn member_json(world: &World, name: &str) -> Value {
    let (status, message) = state(world, name);
    let address = world.members.get(name).map_or("", |m| m.address.as_str());
    let roles = match world.lxd.nodes.keys().position(|n| n == name) {
        Some(0) => json!(["database-leader", "database"]),
        Some(1 | 2) => json!(["database"]),
        Some(3 | 4) => json!(["database-standby"]),
        _ => json!([]),
    };
    json!({"architecture": "x86_64", "config": {}, "database": roles.as_array().is_some_and(|r| !r.is_empty()), "description": "",
        "failure_domain": "default", "groups": ["default"], "message": message, "roles": roles, "server_name": name,
        "status": status, "url": format!("https://{address}:8443")})
}

/// A member's state as the others have it (`lxd/db/node.go`).
fn state(world: &World, name: &str) -> (&'static str, String) {
    let Some(node) = world.lxd.nodes.get(name) else {
        return ("Offline", String::new());
    };
    let silent = match node.daemon {
        Daemon::Down => world.now - node.stopped,
        _ if !world.answers(name) => OFFLINE + 1,
        _ => 0,
    };
    if silent > OFFLINE {
        let since = world.timestamp(world.now.saturating_sub(silent));
        return (
            "Offline",
            format!("No heartbeat for {}s ({since})", silent / 1000),
        );
    }
    let others = || world.lxd.nodes.values().map(|n| n.version);
    if others().any(|v| v > node.version) {
        return (
            "Blocked",
            "LXD version is older than other members".to_owned(),
        );
    }
    if others().any(|v| v < node.version) {
        return (
            "Blocked",
            "LXD version is newer than other members".to_owned(),
        );
    }
    ("Online", "Fully operational".to_owned())
}

fn instance_json(world: &World, asked: &str, instance: &Instance) -> Value {
    let ready = world
        .lxd
        .nodes
        .get(&instance.location)
        .map_or(0, |n| n.ready);
    let heard = ready == 0 || asked == instance.location || world.now >= ready + HEARD;
    let answered = heard && serves(world, &instance.location);
    let (status, code) = match (answered, instance.running) {
        (false, _) => ("Error", 112),
        (true, true) => ("Running", 103),
        (true, false) => ("Stopped", 102),
    };
    json!({"architecture": "x86_64", "config": {}, "created_at": world.epoch.to_string(), "description": "", "devices": {},
        "ephemeral": false, "expanded_config": {}, "expanded_devices": {"root": {"path": "/", "pool": "local", "type": "disk"}},
        "last_used_at": world.timestamp(instance.started).to_string(), "location": instance.location, "name": instance.name,
        "profiles": ["default"], "project": "default", "stateful": false, "status": status, "status_code": code, "type": "container"})
}

/// `lxd waitready …` and `lxd sql global --format=json …`
pub(crate) fn lxd(world: &World, proc: &Proc, args: &[&str]) -> Reply {
    match args {
        ["waitready", flags @ ..] => {
            if unserved(world, &proc.member).is_none() {
                return Reply::out("");
            }
            let limit = flags
                .iter()
                .find_map(|f| f.strip_prefix("--timeout=")?.parse::<u64>().ok());
            let spent = world.now - proc.began;
            match limit {
                Some(limit) if spent >= limit * 1000 => Reply::fail(
                    1,
                    format!("Error: LXD daemon not ready yet after {limit}s timeout\n"),
                ),
                _ => Reply::Again(500),
            }
        }
        ["sql", "global", "--format=json", _] => {
            if let Some(error) = unserved(world, &proc.member) {
                return Reply::fail(1, format!("Error: {error}\n"));
            }
            if !has_quorum(world) {
                return Reply::Hang;
            }
            let rows = world
                .lxd
                .nodes
                .iter()
                .map(|(name, n)| json!([name, n.version.0, n.version.1]));
            let rows: Vec<Value> = rows.collect();
            Reply::json(
                &json!({"type": "select", "columns": ["name", "schema", "api_extensions"], "rows": rows, "rows_affected": 0}),
            )
        }
        _ => Reply::fail(1, "Error: unknown command\n"),
    }
}
