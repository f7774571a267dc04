//! What must never happen to the network's databases, watched whenever a member's services stop.

use super::state::DATABASES;
use crate::world::World;

/// The services of MicroOVN are about to stop on a member, because it is refreshed.
pub(super) fn on_stop(world: &mut World, member: &str) {
    if world.blameless(member, "microovn") {
        return;
    }
    for database in DATABASES {
        let raft = world.ovn.raft(database);
        let Some(own) = raft.servers.get(member).filter(|server| server.joined) else {
            continue;
        };
        let all = raft.servers.len();
        let others = raft.servers.iter().filter(|(name, _)| *name != member);
        let stay = others
            .filter(|(name, server)| server.joined && world.answers(name))
            .count();
        let leaderless = raft.leader.is_none().then(|| own.id.clone());
        if all >= 3 && 2 * stay <= all {
            let what = format!(
                "microovn stops on {member}, and {stay} of {all} servers of {database:?} are left"
            );
            world.violated("quorum-kept", what);
        }
        if all >= 2 && leaderless.is_some() {
            world.violated(
                "gate-open",
                format!("microovn stops on {member} while {database:?} has no leader"),
            );
        }
    }
    let held = world
        .ovn
        .faults
        .uncommitted
        .keys()
        .find(|other| *other != member)
        .cloned();
    if let Some(other) = held {
        world.violated(
            "gate-open",
            format!("microovn stops on {member} while {other} has uncommitted entries"),
        );
    }
}
