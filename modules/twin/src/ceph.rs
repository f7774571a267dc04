//! Ceph: monitors, managers, metadata servers, OSDs and placement groups, and what becomes of them by themselves.
//!
//! Times are rounded from three real hosts with Ceph 18.2.7: a host that is cut off is missed by the monitors after some
//! 12 s and its OSDs after some 18 s, and until then everything looks well.

mod command;
mod faults;
mod groups;
mod health;
mod maps;
mod mutes;
mod osds;
mod placement;
mod seen;
pub(crate) mod severity;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use crate::product::Product;
use crate::world::{Due, World};
pub(crate) use command::command;
pub(crate) use maps::disks;
pub(crate) use severity::Severity;
pub(crate) use state::{Ceph, Event, Osd, Raised};
use state::{Daemon, rank};

pub(crate) struct MicroCeph;

impl Product for MicroCeph {
    fn snap(&self) -> &'static str {
        "microceph"
    }

    fn stops_in(&self) -> u64 {
        5000
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["ceph", "rbd", "rados"]
    }

    fn services(&self) -> &'static [&'static str] {
        &["mds", "mgr", "mon", "osd"]
    }

    fn places(&self, world: &World, member: &str, service: &str) -> bool {
        let (services, _) = world.ceph_services(member);
        services.split(", ").any(|placed| placed == service)
    }

    fn stop(&self, world: &mut World, member: &str) {
        world.daemon_stops(self.snap(), member);
        stop(world, member);
    }

    fn start(&self, world: &mut World, member: &str) {
        world.daemon_starts(self.snap(), member);
        start(world, member);
    }

    fn ready(&self, world: &mut World) {
        // MicroCeph looks whether an upgrade is over.
        world.schedule(FINISH, Due::Ceph(Event::FinishUpgrade(1)));
    }

    fn link_changed(&self, world: &mut World, member: &str) {
        link_changed(world, member);
    }
}

/// By how much an election of the monitors raises its number: one for its begin, and one for its end.
const ELECTION: u64 = 2;
/// From the start of a monitor to its being in quorum, in milliseconds.
const MON_JOINS: u64 = 3000;
/// From the start of an OSD to its being up.
const OSD_BOOTS: u64 = 2000;
/// From an OSD's being up to its placement groups being clean.
const RECOVERY: u64 = 6000;
/// From a change of the placement groups to the manager's knowing of it: OSDs report every 5 s (`mgr_stats_period`).
const REPORTS: u64 = 6000;
/// From the stop of a manager or metadata server to its standby's taking over.
const FAILOVER: u64 = 2000;
/// The same where it is cut off (`mon_mgr_beacon_grace`).
const BEACON_GRACE: u64 = 30_000;
/// From a manager's start to its knowing of all placement groups.
const MGR_LEARNS: u64 = 1000;
/// From a host's silence to the monitors' noticing, and to its OSDs' being marked down.
const MON_MISSED: u64 = 12_000;
const OSDS_MISSED: u64 = 18_000;
/// MicroCeph looks for the end of an upgrade so long after its daemon is ready, and then again, so many times.
const FINISH: u64 = 10_000;
const FINISH_TRIES: u32 = 10;

fn stop(world: &mut World, member: &str) {
    watch::on_stop(world, member);
    let state = seen::pg_state(world).to_owned();
    let now = world.now;
    let ceph = &mut world.ceph;
    ceph.epoch += 1;
    if let Some(mon) = ceph.mons.get_mut(member) {
        mon.running = false;
        mon.in_quorum = false;
        ceph.election += ELECTION;
    }
    for daemons in [&mut ceph.mgrs, &mut ceph.mdss] {
        if let Some(daemon) = daemons.get_mut(member) {
            daemon.running = false;
        }
    }
    let mut had_osds = false;
    for osd in ceph.osds.values_mut().filter(|osd| osd.host == member) {
        osd.running = false;
        osd.up = false;
        had_osds = true;
    }
    if had_osds {
        ceph.unclean_by = Some(member.to_owned());
        ceph.shown.clone_from(&state);
        ceph.reported_at = now + REPORTS;
    }
    if ceph.mgr.as_deref() == Some(member) {
        ceph.mgr = None;
        ceph.told_last = Some(state);
        world.schedule(FAILOVER, Due::Ceph(Event::MgrTakesOver));
    }
    if world.ceph.mds.as_deref() == Some(member) {
        world.ceph.mds = None;
        world.schedule(FAILOVER, Due::Ceph(Event::MdsTakesOver));
    }
}

fn start(world: &mut World, member: &str) {
    let Some(version) = world
        .release(member, "microceph")
        .and_then(|release| release.ceph.clone())
    else {
        return;
    };
    let ceph = &mut world.ceph;
    ceph.faults.begin_with(member);
    let mon_comes = !ceph.faults.lost_mons.contains(member);
    let mut due = Vec::new();
    // Its store has features by then that an older release doesn't know: it exits at once.
    let too_old = rank(&version.1) < rank(&ceph.min_mon_release);
    if let Some(mon) = ceph.mons.get_mut(member).filter(|_| !too_old) {
        mon.running = true;
        mon.version.clone_from(&version);
        if mon_comes {
            due.push((MON_JOINS, Event::MonJoins(member.to_owned())));
        }
    }
    for daemons in [&mut ceph.mgrs, &mut ceph.mdss] {
        if let Some(daemon) = daemons.get_mut(member) {
            daemon.running = true;
            daemon.version.clone_from(&version);
        }
    }
    due.extend([
        (FAILOVER, Event::MgrTakesOver),
        (FAILOVER, Event::MdsTakesOver),
    ]);
    for (id, osd) in &mut ceph.osds {
        if osd.host == member && !ceph.faults.lost_osds.contains(id) {
            osd.running = true;
            osd.version.clone_from(&version);
            due.push((OSD_BOOTS, Event::OsdUp(*id)));
        }
    }
    for (after, event) in due {
        world.schedule(after, Due::Ceph(event));
    }
}

fn link_changed(world: &mut World, member: &str) {
    let events = if world.answers(member) {
        let ids = world.ceph.osds.iter();
        let own = ids.filter(|(_, osd)| osd.host == member);
        let mut events: Vec<(u64, Event)> =
            own.map(|(id, _)| (OSD_BOOTS, Event::OsdUp(*id))).collect();
        events.push((MON_JOINS, Event::MonJoins(member.to_owned())));
        events
    } else {
        vec![
            (MON_MISSED, Event::MonMissed(member.to_owned())),
            (OSDS_MISSED, Event::OsdsMissed(member.to_owned())),
            (BEACON_GRACE, Event::MgrTakesOver),
            (BEACON_GRACE, Event::MdsTakesOver),
        ]
    };
    for (after, event) in events {
        world.schedule(after, Due::Ceph(event));
    }
}

pub(crate) fn happen(world: &mut World, event: Event) {
    world.ceph.epoch += 1;
    match event {
        Event::MonJoins(host) => mon_joins(world, &host),
        Event::MonMissed(host) => {
            if !world.answers(&host)
                && let Some(mon) = world.ceph.mons.get_mut(&host)
            {
                mon.in_quorum = false;
                world.ceph.election += ELECTION;
            }
        }
        Event::MgrTakesOver => mgr_takes_over(world),
        Event::MdsTakesOver => {
            let next = successor(world, &world.ceph.mds, &world.ceph.mdss);
            if world.ceph.filesystem {
                world.ceph.mds = next;
            }
        }
        Event::OsdUp(id) => osd_up(world, id),
        Event::OsdsMissed(host) => {
            if !world.answers(&host) {
                for osd in world.ceph.osds.values_mut().filter(|o| o.host == host) {
                    osd.up = false;
                }
                world.ceph.unclean_by = Some(host);
            }
        }
        Event::FinishUpgrade(tries) => finish_upgrade(world, tries),
    }
}

fn mon_joins(world: &mut World, host: &str) {
    let comes = world.answers(host) && !world.ceph.faults.lost_mons.contains(host);
    let ceph = &mut world.ceph;
    if let Some(mon) = ceph.mons.get_mut(host).filter(|mon| mon.running && comes) {
        mon.in_quorum = true;
        ceph.election += ELECTION;
    }
    // The monitors' own floor rises once all of them have a release, and with it there is no way back.
    if ceph.mons.values().all(|mon| mon.in_quorum)
        && let Some(oldest) = ceph
            .mons
            .values()
            .map(|mon| &mon.version.1)
            .min_by_key(|name| rank(name))
        && *oldest != ceph.min_mon_release
    {
        ceph.min_mon_release.clone_from(oldest);
        ceph.monmap_changes += 1;
    }
}

fn mgr_takes_over(world: &mut World) {
    let next = successor(world, &world.ceph.mgr, &world.ceph.mgrs);
    if next.is_some() && next != world.ceph.mgr {
        world.ceph.unknown_until = world.now + MGR_LEARNS;
        world.ceph.told_last = None;
    }
    if next.is_none() && world.ceph.mgr.is_some() {
        world.ceph.told_last = Some(seen::pg_state(world).to_owned());
    }
    world.ceph.mgr = next;
}

/// Who is active: whoever was, if it is still there, or the first that stands by.
fn successor(
    world: &World,
    active: &Option<String>,
    all: &BTreeMap<String, Daemon>,
) -> Option<String> {
    let there = |host: &String| all.get(host).is_some_and(|d| d.running) && world.answers(host);
    let still = active.iter().find(|host| there(host));
    still
        .or_else(|| all.keys().find(|host| there(host)))
        .cloned()
}

fn osd_up(world: &mut World, id: u32) {
    let Some(osd) = world.ceph.osds.get(&id).cloned() else {
        return;
    };
    if osd.up || !osd.running || !world.answers(&osd.host) {
        return;
    }
    let (now, shown) = (world.now, seen::pg_state(world).to_owned());
    let ceph = &mut world.ceph;
    if let Some(osd) = ceph.osds.get_mut(&id) {
        osd.up = true;
        osd.up_from = ceph.epoch;
    }
    ceph.shown = shown;
    ceph.reported_at = now + REPORTS;
    world.ceph.recovering_until = now + RECOVERY;
    world.ceph.unclean_by = Some(osd.host);
}

fn finish_upgrade(world: &mut World, tries: u32) {
    let ceph = &mut world.ceph;
    let versions = ceph.versions();
    let releases: BTreeSet<String> = versions.into_iter().map(|(_, v)| v.1).collect();
    if releases.len() == 1 && ceph.osds.values().any(|osd| osd.up) {
        if !ceph.faults.release_not_required {
            ceph.require_osd_release = releases.into_iter().next().unwrap_or_default();
        }
    } else if tries < FINISH_TRIES {
        world.schedule(FINISH, Due::Ceph(Event::FinishUpgrade(tries + 1)));
    }
}
