//! How things are, and how they are shown: monitors miss a silent host late, and know of placement groups what the manager tells.

use std::collections::BTreeSet;

use crate::world::World;

/// Whether a monitor is in quorum as the monitors have it. One that was cut off is for some seconds more.
pub(super) fn in_quorum(world: &World, host: &str) -> bool {
    world.ceph.mons.get(host).is_some_and(|mon| mon.in_quorum)
}

/// Whether enough monitors answer for a command to get anywhere.
pub(super) fn has_quorum(world: &World) -> bool {
    let mons = &world.ceph.mons;
    let answering = mons
        .keys()
        .filter(|host| in_quorum(world, host) && world.answers(host));
    2 * answering.count() > mons.len()
}

/// How the placement groups are.
pub(super) fn real_pg_state(world: &World) -> &'static str {
    let ceph = &world.ceph;
    let down = ceph.osds.values().filter(|osd| !osd.up);
    let hosts: BTreeSet<&str> = down.map(|osd| osd.host.as_str()).collect();
    if hosts.len() > ceph.can_lose() {
        "undersized+degraded+peered"
    } else if !hosts.is_empty() || ceph.faults.unclean {
        "active+undersized+degraded"
    } else if world.now < ceph.recovering_until {
        "active+recovering+degraded"
    } else {
        "active+clean"
    }
}

/// How they are, as far as the manager has told the monitors.
pub(super) fn pg_state(world: &World) -> &str {
    match (&world.ceph.mgr, &world.ceph.told_last) {
        (None, Some(state)) => state,
        _ if world.now < world.ceph.unknown_until => "unknown",
        _ if world.now < world.ceph.reported_at => &world.ceph.shown,
        _ => real_pg_state(world),
    }
}

/// How many placement groups are in which state. There is one object, and only the placement group that holds it is degraded
/// where copies are missing: the others have nothing to miss.
pub(super) fn pgs_by_state(world: &World) -> Vec<(String, u64)> {
    let (state, pgs) = (pg_state(world), world.ceph.pgs);
    let empty = state.replace("+degraded", "");
    if empty == state || pgs < 2 {
        return vec![(state.to_owned(), pgs)];
    }
    let empty = if empty == "active+recovering" {
        "active+clean".to_owned()
    } else {
        empty
    };
    vec![(empty, pgs - 1), (state.to_owned(), 1)]
}

pub(super) const FSID: &str = "71f66c83-6e08-492c-b55f-c9a166e69ffc";
