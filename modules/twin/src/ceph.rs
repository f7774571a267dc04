//! Ceph: monitors, managers, OSDs and placement groups, as `ceph` tells of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::world::{Due, Proc, Reply, World};

/// The storage cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ceph {
    /// Hosts of monitors and managers, and which of their daemons run.
    pub(crate) mons: BTreeMap<String, Mon>,
    /// The host of the active manager.
    pub(crate) mgr: Option<String>,
    pub(crate) osds: BTreeMap<u32, Osd>,
    pub(crate) pgs: u64,
    pub(crate) flags: BTreeSet<String>,
    pub(crate) host_flags: BTreeMap<String, BTreeSet<String>>,
    pub(crate) require_osd_release: String,
    /// OSDs that don't come back when their host's services start.
    pub(crate) lost_osds: BTreeSet<u32>,
    /// Placement groups are catching up until then.
    recovering_until: u64,
    epoch: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mon {
    pub(crate) running: bool,
    pub(crate) in_quorum: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Osd {
    pub(crate) host: String,
    pub(crate) up: bool,
    pub(crate) version: (String, String),
}

/// What comes up again by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    MonJoins(String),
    MgrTakesOver,
    OsdUp(u32),
    FinishUpgrade,
}

/// From the start of a monitor to its being in quorum, in milliseconds.
const MON_JOINS: u64 = 3000;
/// From the start of an OSD to its being up.
const OSD_BOOTS: u64 = 5000;
/// From an OSD's being up to its placement groups being clean.
const RECOVERY: u64 = 6000;
/// From the end of a manager to its standby's taking over.
const MGR_FAILOVER: u64 = 2000;
/// MicroCeph looks for the end of an upgrade so long after its daemon's start.
const FINISH: u64 = 15_000;

pub(crate) fn stop(world: &mut World, member: &str) {
    let ceph = &mut world.ceph;
    ceph.epoch += 1;
    if let Some(mon) = ceph.mons.get_mut(member) {
        mon.running = false;
        mon.in_quorum = false;
    }
    if ceph.mgr.as_deref() == Some(member) {
        ceph.mgr = None;
        world.schedule(MGR_FAILOVER, Due::Ceph(Event::MgrTakesOver));
    }
    for osd in world
        .ceph
        .osds
        .values_mut()
        .filter(|osd| osd.host == member)
    {
        osd.up = false;
    }
}

pub(crate) fn start(world: &mut World, member: &str) {
    let version = world
        .release(member, "microceph")
        .and_then(|r| r.ceph.clone());
    if let Some(mon) = world.ceph.mons.get_mut(member) {
        mon.running = true;
        world.schedule(MON_JOINS, Due::Ceph(Event::MonJoins(member.to_owned())));
    }
    if world.ceph.mgr.is_none() {
        world.schedule(MGR_FAILOVER, Due::Ceph(Event::MgrTakesOver));
    }
    let ids: Vec<u32> = world
        .ceph
        .osds
        .iter()
        .filter(|(_, osd)| osd.host == member)
        .map(|(id, _)| *id)
        .collect();
    for id in ids {
        if let (Some(osd), Some(version)) = (world.ceph.osds.get_mut(&id), &version) {
            osd.version.clone_from(version);
        }
        if !world.ceph.lost_osds.contains(&id) {
            world.schedule(OSD_BOOTS, Due::Ceph(Event::OsdUp(id)));
        }
    }
    world.schedule(FINISH, Due::Ceph(Event::FinishUpgrade));
}

pub(crate) fn happen(world: &mut World, event: Event) {
    let now = world.now;
    let ceph = &mut world.ceph;
    ceph.epoch += 1;
    match event {
        Event::MonJoins(host) => {
            if let Some(mon) = ceph.mons.get_mut(&host).filter(|mon| mon.running) {
                mon.in_quorum = true;
            }
        }
        Event::MgrTakesOver => {
            if ceph.mgr.is_none() {
                ceph.mgr = ceph
                    .mons
                    .iter()
                    .find(|(_, mon)| mon.running)
                    .map(|(host, _)| host.clone());
            }
        }
        Event::OsdUp(id) => {
            let host_runs = |host: &str| ceph.mons.get(host).is_none_or(|mon| mon.running);
            if ceph.osds.get(&id).is_some_and(|osd| host_runs(&osd.host))
                && let Some(osd) = ceph.osds.get_mut(&id)
            {
                osd.up = true;
                ceph.recovering_until = now + RECOVERY;
            }
        }
        Event::FinishUpgrade => {
            let names: BTreeSet<&String> = ceph.osds.values().map(|osd| &osd.version.1).collect();
            if names.len() == 1 && ceph.osds.values().all(|osd| osd.up) {
                ceph.require_osd_release = names.into_iter().next().cloned().unwrap_or_default();
            }
        }
    }
}

/// `microceph.ceph …`
pub(crate) fn command(world: &mut World, proc: &Proc, args: &[&str]) -> Reply {
    let connect_timeout = args
        .iter()
        .position(|a| *a == "--connect-timeout")
        .and_then(|i| args.get(i + 1)?.parse().ok());
    if !has_quorum(world) {
        // Without a limit of its own it would hang.
        let limit: u64 = connect_timeout.unwrap_or(u64::MAX / 2000);
        let spent = world.now - proc.began;
        if spent < limit * 1000 {
            return Reply::Again(limit * 1000 - spent);
        }
        return Reply::fail(
            1,
            format!(
                "monclient(hunting): authenticate timed out after {limit}\n[errno 110] RADOS timed out (error connecting to the cluster)\n"
            ),
        );
    }
    let words: Vec<&str> = words(args);
    match words.as_slice() {
        ["-s"] => json_reply(&status(world)),
        ["osd", "dump"] => json_reply(&osd_dump(world)),
        ["osd", "tree"] => json_reply(&osd_tree(world)),
        ["osd", verb @ ("set-group" | "unset-group"), flag, host] => {
            set_group(world, verb, flag, host)
        }
        ["osd", verb @ ("set" | "unset"), flag] => {
            let on = *verb == "set";
            if on {
                world.ceph.flags.insert((*flag).to_owned());
            } else {
                world.ceph.flags.remove(*flag);
            }
            Reply::Exit(lockstep_modules::cmd::Output::exit(
                0,
                "",
                format!("{flag} is {}\n", if on { "set" } else { "unset" }),
            ))
        }
        _ => Reply::fail(
            22,
            "no valid command found\nError EINVAL: invalid command\n",
        ),
    }
}

/// The words of a command without its options.
fn words<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let mut words = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match *arg {
            "--connect-timeout" | "-f" | "--format" => drop(rest.next()),
            word => words.push(word),
        }
    }
    words
}

/// `ceph -f json` begins with an empty line.
fn json_reply(value: &Value) -> Reply {
    Reply::out(format!("\n{value}\n"))
}

fn in_quorum(world: &World, host: &str) -> bool {
    world.answers(host) && world.ceph.mons.get(host).is_some_and(|mon| mon.in_quorum)
}

fn has_quorum(world: &World) -> bool {
    let all = world.ceph.mons.len();
    2 * world
        .ceph
        .mons
        .keys()
        .filter(|host| in_quorum(world, host))
        .count()
        > all
}

fn osd_up(world: &World, osd: &Osd) -> bool {
    osd.up && world.answers(&osd.host)
}

fn set_group(world: &mut World, verb: &str, flag: &str, host: &str) -> Reply {
    if !world.ceph.osds.values().any(|osd| osd.host == host) {
        return Reply::fail(
            22,
            format!(
                "Error EINVAL: unable to parse osd id or crush node or device class: \"{host}\". \n"
            ),
        );
    }
    let flags = world.ceph.host_flags.entry(host.to_owned()).or_default();
    if verb == "set-group" {
        flags.insert(flag.to_owned());
    } else {
        flags.remove(flag);
    }
    world.ceph.host_flags.retain(|_, flags| !flags.is_empty());
    Reply::out("")
}

fn status(world: &World) -> Value {
    let ceph = &world.ceph;
    let quorum: Vec<&String> = ceph
        .mons
        .keys()
        .filter(|host| in_quorum(world, host))
        .collect();
    let ranks = ceph
        .mons
        .keys()
        .enumerate()
        .filter(|(_, host)| in_quorum(world, host))
        .map(|(rank, _)| rank);
    let up = ceph.osds.values().filter(|osd| osd_up(world, osd)).count();
    let down = ceph.osds.len() - up;
    let pg_state = if down > 0 {
        "active+undersized+degraded"
    } else if world.now < ceph.recovering_until {
        "active+recovering+degraded"
    } else {
        "active+clean"
    };
    let standbys = ceph
        .mons
        .iter()
        .filter(|(host, mon)| mon.running && ceph.mgr.as_ref() != Some(*host))
        .count();
    let checks = checks(world, quorum.len(), down, pg_state);
    let health = if checks.as_object().is_some_and(serde_json::Map::is_empty) {
        "HEALTH_OK"
    } else {
        "HEALTH_WARN"
    };
    let osds = ceph.osds.len();
    json!({
        "fsid": "71f66c83-6e08-492c-b55f-c9a166e69ffc",
        "health": {"status": health, "checks": checks, "mutes": []},
        "election_epoch": 6, "quorum": ranks.collect::<Vec<_>>(), "quorum_names": quorum, "quorum_age": 60,
        "monmap": {"epoch": 1, "min_mon_release_name": ceph.require_osd_release, "num_mons": ceph.mons.len()},
        "osdmap": {"epoch": ceph.epoch, "num_osds": osds, "num_up_osds": up, "num_in_osds": osds, "num_remapped_pgs": 0},
        "pgmap": {"pgs_by_state": [{"state_name": pg_state, "count": ceph.pgs}], "num_pgs": ceph.pgs, "num_pools": 1, "num_objects": 3,
                  "data_bytes": 459_280, "bytes_used": 81_788_928, "bytes_avail": 3_139_436_544_u64, "bytes_total": 3_221_225_472_u64},
        "fsmap": {"epoch": 1, "by_rank": [], "up:standby": quorum.len()},
        "mgrmap": {"available": ceph.mgr.is_some(), "num_standbys": standbys, "modules": ["iostat", "nfs", "restful"], "services": {}},
        "servicemap": {"epoch": 1, "services": {}}, "progress_events": {},
    })
}

fn checks(world: &World, quorum: usize, down: usize, pg_state: &str) -> Value {
    let ceph = &world.ceph;
    let mut checks = serde_json::Map::new();
    let mut raise = |code: &str, message: String, count: usize| {
        let summary = json!({"message": message, "count": count});
        checks.insert(
            code.to_owned(),
            json!({"severity": "HEALTH_WARN", "summary": summary, "muted": false}),
        );
    };
    let mons = ceph.mons.len();
    if quorum < mons {
        let names: Vec<&str> = ceph
            .mons
            .keys()
            .filter(|host| in_quorum(world, host))
            .map(String::as_str)
            .collect();
        raise(
            "MON_DOWN",
            format!(
                "{}/{mons} mons down, quorum {}",
                mons - quorum,
                names.join(",")
            ),
            mons - quorum,
        );
    }
    if ceph.mgr.is_none() {
        raise("MGR_DOWN", "no active mgr".to_owned(), 0);
    }
    if down > 0 {
        raise("OSD_DOWN", format!("{down} osds down"), down);
        let hosts: BTreeSet<&str> = ceph
            .osds
            .values()
            .filter(|osd| !osd_up(world, osd))
            .map(|osd| osd.host.as_str())
            .collect();
        raise(
            "OSD_HOST_DOWN",
            format!("{} host ({down} osds) down", hosts.len()),
            hosts.len(),
        );
    }
    if pg_state.contains("degraded") {
        let text = format!(
            "Degraded data redundancy: 1/3 objects degraded (33.333%), {} pgs degraded",
            ceph.pgs
        );
        raise("PG_DEGRADED", text, usize::try_from(ceph.pgs).unwrap_or(0));
    }
    if !ceph.flags.is_empty() {
        let flags: Vec<&str> = ceph.flags.iter().map(String::as_str).collect();
        raise(
            "OSDMAP_FLAGS",
            format!("{} flag(s) set", flags.join(",")),
            5,
        );
    }
    if !ceph.host_flags.is_empty() {
        let hosts = ceph.host_flags.len();
        let text = "OSDs or CRUSH {nodes, device-classes} have {NOUP,NODOWN,NOIN,NOOUT} flags set";
        raise("OSD_FLAGS", format!("{hosts} {text}"), hosts);
    }
    Value::Object(checks)
}

fn osd_dump(world: &World) -> Value {
    let ceph = &world.ceph;
    let standing = [
        "pglog_hardlimit",
        "purged_snapdirs",
        "recovery_deletes",
        "sortbitwise",
    ];
    let mut flags: Vec<&str> = ceph
        .flags
        .iter()
        .map(String::as_str)
        .chain(standing)
        .collect();
    flags.sort_unstable();
    let osds = ceph.osds.iter().map(|(id, osd)| {
        json!({"osd": id, "uuid": format!("00000000-0000-0000-0000-{id:012}"), "up": u8::from(osd_up(world, osd)), "in": 1})
    });
    json!({
        "epoch": ceph.epoch, "flags": flags.join(","), "flags_set": flags, "require_osd_release": ceph.require_osd_release,
        "osds": osds.collect::<Vec<_>>(), "crush_node_flags": ceph.host_flags, "device_class_flags": {},
    })
}

fn osd_tree(world: &World) -> Value {
    let hosts: BTreeSet<&String> = world.ceph.osds.values().map(|osd| &osd.host).collect();
    let bucket = |i: usize| -(i64::try_from(i).unwrap_or(0)) * 2 - 3;
    let children: Vec<i64> = (0..hosts.len()).map(bucket).collect();
    let mut nodes = vec![
        json!({"id": -1, "name": "default", "type": "root", "type_id": 11, "children": children}),
    ];
    for (i, host) in hosts.into_iter().enumerate() {
        let own = || world.ceph.osds.iter().filter(|(_, osd)| osd.host == *host);
        let ids: Vec<u32> = own().map(|(id, _)| *id).collect();
        nodes.push(json!({"id": bucket(i), "name": host, "type": "host", "type_id": 1, "pool_weights": {}, "children": ids}));
        for (id, osd) in own() {
            nodes.push(json!({"id": id, "device_class": "hdd", "name": format!("osd.{id}"), "type": "osd", "type_id": 0, "exists": 1,
                "status": if osd_up(world, osd) { "up" } else { "down" }, "reweight": 1, "primary_affinity": 1}));
        }
    }
    json!({"nodes": nodes, "stray": []})
}
