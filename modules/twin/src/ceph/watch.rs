//! What must never happen to the storage, watched whenever a member's services stop and whenever a flag is cleared.

use super::seen;
use crate::world::World;

/// The services of MicroCeph are about to stop on a member, because it is refreshed.
pub(super) fn on_stop(world: &mut World, member: &str) {
    if world.blameless(member, "microceph") {
        return;
    }
    let ceph = &world.ceph;
    let all = ceph.mons.len();
    let stay = ceph
        .mons
        .keys()
        .filter(|host| *host != member && seen::in_quorum(world, host))
        .count();
    // What was lost before can't be lost by this; with one or two monitors it can't be kept.
    if all >= 3 && seen::in_quorum(world, member) && 2 * stay <= all {
        let what = format!("microceph stops on {member}, and {stay} of {all} monitors are left");
        world.violated("quorum-kept", what);
    }
    let state = seen::real_pg_state(world);
    let its_own = world.ceph.unclean_by.as_deref() == Some(member);
    if state != "active+clean" && !its_own {
        let what = format!("microceph stops on {member} while placement groups are {state}");
        world.violated("gate-open", what);
    }
    let checks = &world.ceph.faults.raised;
    if let Some(code) = ["OSD_FULL", "SLOW_OPS"]
        .iter()
        .find(|code| checks.contains_key(**code))
    {
        let what = format!("microceph stops on {member} while {code} is raised");
        world.violated("gate-open", what);
    }
}

/// A flag is about to be cleared.
pub(super) fn on_unset(world: &mut World, flag: &str, host: Option<&str>) {
    let key = (host.map(str::to_owned), flag.to_owned());
    if world.ceph.faults.operators.contains(&key) {
        let whose = host.unwrap_or("the whole cluster");
        world.violated(
            "operators-settings-kept",
            format!("{flag} of {whose} was set by the operator"),
        );
    }
}
