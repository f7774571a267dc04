//! How members are: what their daemons serve, and how others have them.

use super::state::{Daemon, Event};
use crate::dialects::Trait;
use crate::world::{Due, World};

/// A member without heartbeats counts as offline after this (`cluster.offline_threshold`).
pub(super) const OFFLINE: u64 = 20_000;

/// From a daemon's being ready to its peers' hearing from it about instances (seen on real members: some seconds).
pub(super) const HEARD: u64 = 6000;
/// From a daemon's end to systemd's starting it again.
pub(super) const RESTART: u64 = 1000;
/// A lagging member notices with the next heartbeat, and then waits for up to 30 s.
pub(super) const HEARTBEAT: u64 = 10_000;

/// Why a member's API isn't served to its own clients.
pub(super) fn unserved(world: &World, member: &str) -> Option<&'static str> {
    match world.lxd.nodes.get(member)?.daemon {
        Daemon::Ready => None,
        Daemon::Starting | Daemon::Waiting => Some("LXD daemon setup in progress"),
        Daemon::Down | Daemon::Crashing => Some(
            "LXD unix socket not accessible: Get \"http://unix.socket/1.0\": dial unix /var/snap/lxd/common/lxd/unix.socket: connect: connection refused",
        ),
    }
}

/// Whether its process is there at all.
pub(super) fn runs(daemon: Daemon) -> bool {
    !matches!(daemon, Daemon::Down | Daemon::Crashing)
}

pub(super) fn has_quorum(world: &World) -> bool {
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
pub(super) fn silence(world: &World, name: &str) -> u64 {
    let Some(node) = world.lxd.nodes.get(name) else {
        return u64::MAX;
    };
    match node.daemon {
        Daemon::Down | Daemon::Crashing => world.now - node.stopped,
        _ if !world.answers(name) => OFFLINE + 1,
        _ => 0,
    }
}

pub(super) fn offline(world: &World, name: &str) -> bool {
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

/// The daemon is gone, and with it what it was doing.
pub(super) fn down(world: &mut World, member: &str) {
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
pub(super) fn crash(world: &mut World, member: &str) {
    down(world, member);
    world.schedule(RESTART, Due::Lxd(Event::Restart(member.to_owned())));
}
