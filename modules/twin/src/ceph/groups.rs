//! Placement groups, as the manager has them.
//!
//! It knows of them what the OSDs report, which they do every 5 s (`mgr_stats_period`), and what the monitors show is what it
//! tells them: for some seconds after an OSD is back, placement groups are shown as they were before it went (seen with
//! 18.2.7: clean, with reports from before, for up to 4 s).

use lockstep_modules::contract::cmd::Output;
use serde::Serialize;
use serde_json::{Value, json};

use super::seen;
use crate::world::{Reply, World};

/// `ceph pg stat`
pub(super) fn stat(world: &World) -> Value {
    let states = seen::pgs_by_state(world).into_iter();
    let states: Value = states
        .map(|(name, num)| json!({"name": name, "num": num}))
        .collect();
    json!({"pg_ready": true, "pg_summary": {
        "num_pg_by_state": states, "num_pgs": world.ceph.pgs, "num_bytes": 459_280, "total_bytes": 3_221_225_472_u64,
        "total_avail_bytes": 3_139_436_544_u64, "total_used_bytes": 81_788_928, "total_used_raw_bytes": 81_788_928,
    }})
}

/// `ceph tell osd.* flush_pg_stats`: the OSDs report now, one after the other. One that is down is an error, and one that
/// doesn't answer is waited for (seen with 18.2.7).
pub(super) fn flush(world: &mut World) -> Reply {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    for (id, osd) in &world.ceph.osds {
        if !osd.up {
            stderr += &format!("Error ENXIO: problem getting command descriptions from osd.{id}\n");
        } else if world.answers(&osd.host) {
            stdout += &format!("osd.{id}: {}\n", 120_259_084_348 + world.now);
        } else {
            return Reply::Hang;
        }
    }
    world.ceph.reported_at = world.ceph.reported_at.min(world.now);
    let code = if stderr.is_empty() { 0 } else { 6 };
    Reply::Exit(Output::exit(code, stdout, stderr))
}

/// Whether there is such an OSD, and it is down.
pub(super) fn is_down(world: &World, id: &str) -> bool {
    let osd = id.parse().ok().and_then(|id: u32| world.ceph.osds.get(&id));
    osd.is_some_and(|osd| !osd.up)
}

/// `ceph pg ls-by-osd ID`
#[derive(Serialize)]
pub(super) struct Groups<'a> {
    pg_ready: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pg_stats: Vec<Group<'a>>,
}

#[derive(Serialize)]
struct Group<'a> {
    pgid: String,
    version: &'static str,
    reported_seq: u64,
    reported_epoch: u64,
    state: &'a str,
    up: [u32; 1],
    acting: [u32; 1],
    up_primary: u32,
    acting_primary: u32,
}

/// The placement groups of an OSD, if there is one: every OSD has a copy of each.
pub(super) fn of_osd(world: &World, id: u32) -> Option<Groups<'_>> {
    let ceph = &world.ceph;
    let osd = ceph.osds.get(&id)?;
    let reported = if world.now < ceph.reported_at {
        osd.up_from.saturating_sub(1)
    } else {
        ceph.epoch
    };
    let state = seen::pg_state(world);
    let group = |n: u64| Group {
        pgid: format!("1.{n:x}"),
        version: "0'0",
        reported_seq: 16,
        reported_epoch: reported,
        state,
        up: [id],
        acting: [id],
        up_primary: id,
        acting_primary: id,
    };
    Some(Groups {
        pg_ready: true,
        pg_stats: (0..ceph.pgs).map(group).collect(),
    })
}
