//! `ceph -s` and `ceph health detail`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::maps;
use super::seen::{FSID, in_quorum, pg_state, pgs_by_state};
use super::severity::Severity;
use super::state::{Check, Checks, Mute, Osd, rank};
use crate::dialects::numbers;
use crate::world::World;

fn warn(checks: &mut Checks, code: &str, message: &str, count: usize, detail: Vec<String>) {
    let check = Check {
        count,
        detail,
        ..Check::new(Severity::Warning, message)
    };
    checks.insert(code.to_owned(), check);
}

/// `ceph -s -f json`
pub(super) fn status(world: &World) -> Value {
    let ceph = &world.ceph;
    let hosts: Vec<&String> = ceph.mons.keys().collect();
    let ranks: Vec<usize> = (0..hosts.len())
        .filter(|i| in_quorum(world, hosts[*i]))
        .collect();
    let names: Vec<&String> = ranks.iter().map(|i| hosts[*i]).collect();
    let (osds, up) = (
        ceph.osds.len(),
        ceph.osds.values().filter(|osd| osd.up).count(),
    );
    let state = pg_state(world);
    let by_state = pgs_by_state(world).into_iter();
    let by_state = by_state.map(|(name, count)| json!({"state_name": name, "count": count}));
    let mut pgmap = json!({
        "pgs_by_state": by_state.collect::<Value>(), "num_pgs": ceph.pgs, "num_pools": 1, "num_objects": 1,
        "data_bytes": 459_280, "bytes_used": 81_788_928, "bytes_avail": 3_139_436_544_u64, "bytes_total": 3_221_225_472_u64,
    });
    // The ratios are printed only where they aren't 0 (`PGMap.cc`).
    if state.contains("degraded") {
        (
            pgmap["degraded_objects"],
            pgmap["degraded_total"],
            pgmap["degraded_ratio"],
        ) = (json!(1), json!(3), json!(0.333_333));
    }
    match state {
        "unknown" => pgmap["unknown_pgs_ratio"] = json!(1),
        state if !state.contains("active") => pgmap["inactive_pgs_ratio"] = json!(1),
        _ => {}
    }
    let standbys = |all: &BTreeMap<String, super::Daemon>, active: &Option<String>| {
        let standing_by = all
            .iter()
            .filter(|(host, d)| d.running && active.as_ref() != Some(*host));
        standing_by.count()
    };
    let by_rank: Vec<Value> = ceph.mds.iter().map(|name| json!({"filesystem_id": 1, "rank": 0, "name": name, "status": "up:active", "gid": 4138})).collect();
    let mut fsmap =
        json!({"epoch": 3, "by_rank": by_rank, "up:standby": standbys(&ceph.mdss, &ceph.mds)});
    if ceph.filesystem {
        (fsmap["id"], fsmap["up"], fsmap["in"], fsmap["max"]) =
            (json!(1), json!(ceph.mds.iter().count()), json!(1), json!(1));
    }
    let mgrs = if ceph.mgr.is_some() {
        standbys(&ceph.mgrs, &ceph.mgr)
    } else {
        0
    };
    json!({
        "fsid": FSID, "health": health(world, false), "election_epoch": ceph.election, "quorum": ranks, "quorum_names": names, "quorum_age": 60,
        "monmap": {"epoch": ceph.monmap_epoch(), "min_mon_release_name": ceph.min_mon_release, "num_mons": ceph.mons.len()},
        "osdmap": {"epoch": ceph.epoch, "num_osds": osds, "num_up_osds": up, "osd_up_since": 1_775_044_000, "num_in_osds": osds,
                   "osd_in_since": 1_775_044_000, "num_remapped_pgs": 0},
        "pgmap": pgmap, "fsmap": fsmap,
        "mgrmap": {"available": ceph.mgr.is_some(), "num_standbys": mgrs, "modules": maps::enabled_modules(world), "services": {}},
        "servicemap": {"epoch": 1, "modified": "2026-04-01T11:00:00.000000+0000", "services": {}}, "progress_events": {},
    })
}

/// The health, in `ceph -s` and, with `detail`, in `ceph health detail`.
pub(super) fn health(world: &World, detail: bool) -> Value {
    let checks = checks(world);
    let mutes = mutes_in_force(world, &checks);
    let unmuted = checks.iter().filter(|(code, _)| !mutes.contains_key(code));
    let worst = unmuted.map(|(_, check)| check.severity).max();
    let shown = checks.iter().map(|(code, check)| {
        let mut shown = json!({"severity": check.severity, "summary": {"message": check.message, "count": check.count}, "muted": mutes.contains_key(code)});
        if detail {
            let lines = check.detail.iter().map(|line| json!({"message": line}));
            shown["detail"] = lines.collect();
        }
        (code.clone(), shown)
    });
    json!({"status": worst.unwrap_or_default(), "checks": shown.collect::<serde_json::Map<_, _>>(), "mutes": mutes_json(&mutes)})
}

pub(super) fn checks(world: &World) -> Checks {
    let mut checks = world.ceph.faults.raised.clone();
    about_daemons(world, &mut checks);
    about_osds(world, &mut checks);
    about_flags(world, &mut checks);
    about_releases(world, &mut checks);
    checks
}

fn about_daemons(world: &World, checks: &mut Checks) {
    let ceph = &world.ceph;
    let (inside, outside): (Vec<&String>, Vec<&String>) =
        ceph.mons.keys().partition(|host| in_quorum(world, host));
    if !outside.is_empty() {
        let names: Vec<&str> = inside.iter().map(|name| name.as_str()).collect();
        let message = format!(
            "{}/{} mons down, quorum {}",
            outside.len(),
            ceph.mons.len(),
            names.join(",")
        );
        let detail = outside.iter().map(|host| {
            let rank = ceph.mons.keys().position(|name| name == *host).unwrap_or(0);
            let address = world.members.get(*host).map_or("", |m| m.address.as_str());
            format!("mon.{host} (rank {rank}) addr [v2:{address}:3300/0,v1:{address}:6789/0] is down (out of quorum)")
        });
        warn(
            checks,
            "MON_DOWN",
            &message,
            outside.len(),
            detail.collect(),
        );
    }
    if ceph.mgr.is_none() {
        warn(checks, "MGR_DOWN", "no active mgr", 0, vec![]);
    }
    if ceph.filesystem && ceph.mds.is_none() {
        let detail = vec!["fs cephfs is degraded".to_owned()];
        warn(checks, "FS_DEGRADED", "1 filesystem is degraded", 1, detail);
    }
}

fn about_osds(world: &World, checks: &mut Checks) {
    let down: Vec<(&u32, &Osd)> = world.ceph.osds.iter().filter(|(_, osd)| !osd.up).collect();
    if !down.is_empty() {
        let detail = down
            .iter()
            .map(|(id, osd)| format!("osd.{id} (root=default,host={}) is down", osd.host));
        warn(
            checks,
            "OSD_DOWN",
            &format!("{} osds down", down.len()),
            down.len(),
            detail.collect(),
        );
        let of = |host: &str| {
            world
                .ceph
                .osds
                .values()
                .filter(|osd| osd.host == host)
                .collect::<Vec<_>>()
        };
        let hosts: BTreeSet<&str> = down.iter().map(|(_, osd)| osd.host.as_str()).collect();
        let hosts: Vec<&str> = hosts
            .into_iter()
            .filter(|host| of(host).iter().all(|osd| !osd.up))
            .collect();
        let osds: usize = hosts.iter().map(|host| of(host).len()).sum();
        if !hosts.is_empty() {
            let detail = hosts.iter().map(|host| {
                format!(
                    "host {host} (root=default) ({} osds) is down",
                    of(host).len()
                )
            });
            let message = format!("{} host ({osds} osds) down", hosts.len());
            warn(
                checks,
                "OSD_HOST_DOWN",
                &message,
                hosts.len(),
                detail.collect(),
            );
        }
    }
    let state = pg_state(world);
    if state.contains("degraded") {
        let message = "Degraded data redundancy: 1/3 objects degraded (33.333%), 1 pg degraded";
        let detail = vec![format!("pg 1.0 is {state}, acting [0,1]")];
        warn(checks, "PG_DEGRADED", message, 1, detail);
    }
    if !state.contains("active") && state != "unknown" {
        let pgs = usize::try_from(world.ceph.pgs).unwrap_or(0);
        let message = format!("Reduced data availability: {pgs} pgs inactive");
        warn(
            checks,
            "PG_AVAILABILITY",
            &message,
            pgs,
            vec![format!("pg 1.0 is {state}, acting [0]")],
        );
    }
}

fn about_flags(world: &World, checks: &mut Checks) {
    let ceph = &world.ceph;
    if !ceph.flags.is_empty() {
        let flags: Vec<&str> = ceph.flags.iter().map(String::as_str).collect();
        warn(
            checks,
            "OSDMAP_FLAGS",
            &format!("{} flag(s) set", flags.join(",")),
            5,
            vec![],
        );
    }
    if !ceph.host_flags.is_empty() {
        let hosts = ceph.host_flags.len();
        let message = format!(
            "{hosts} OSDs or CRUSH {{nodes, device-classes}} have {{NOUP,NODOWN,NOIN,NOOUT}} flags set"
        );
        let detail = ceph.host_flags.iter().map(|(host, flags)| {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            format!("host {host} has flags {}", flags.join(","))
        });
        warn(checks, "OSD_FLAGS", &message, hosts, detail.collect());
    }
}

/// What appears because daemons are newer than what is required of them.
fn about_releases(world: &World, checks: &mut Checks) {
    let ceph = &world.ceph;
    let oldest = ceph
        .osds
        .values()
        .map(|osd| osd.version.1.as_str())
        .min_by_key(|name| rank(name));
    if let Some(name) = oldest.filter(|name| rank(name) > rank(&ceph.require_osd_release)) {
        let message =
            format!("all OSDs are running {name} or later but require_osd_release < {name}");
        warn(checks, "OSD_UPGRADE_FINISHED", &message, 1, vec![]);
    }
    about_keys(world, checks);
}

/// What monitors of 2026 say of old keys, from the moment on at which one of them leads (19.2.6 and 20.2.4, CVE-2025-30156;
/// seen on a real upgrade to 20.2.4).
fn about_keys(world: &World, checks: &mut Checks) {
    let ceph = &world.ceph;
    let leader = ceph.mons.iter().find(|(host, _)| in_quorum(world, host));
    let asks = leader.is_some_and(|(_, mon)| match numbers(&mon.version.0).as_slice() {
        [19, 2, n] => *n >= 6,
        [20, 2, n] => *n >= 4,
        [major, ..] => *major > 20,
        [] => false,
    });
    if !asks {
        return;
    }
    let services = ceph.osds.len() + ceph.mgrs.len() + ceph.mdss.len();
    let (error, warning) = (Severity::Error, Severity::Warning);
    let allowed = "Monitors are configured to";
    for (code, severity, count, message) in [
        (
            "CLIENT_KEY_TYPE",
            warning,
            7,
            "7 auth client entities with insecure key types".to_owned(),
        ),
        (
            "KEYS_ALLOWED",
            warning,
            1,
            format!("{allowed} allow auth using insecure key types"),
        ),
        (
            "KEYS_CREATABLE",
            warning,
            1,
            format!("{allowed} allow creation of insecure key types"),
        ),
        (
            "ROTATING_SERVICE_KEY_TYPE",
            warning,
            4,
            "4 rotating auth service keys using insecure key types".to_owned(),
        ),
        (
            "SERVICE_KEY_TYPE",
            error,
            services,
            format!("{services} auth service entities with insecure key types"),
        ),
        (
            "SERVICE_TICKETS",
            error,
            1,
            format!("{allowed} issue insecure service tickets"),
        ),
    ] {
        let check = Check {
            count,
            ..Check::new(severity, &message)
        };
        checks.insert(format!("AUTH_INSECURE_{code}"), check);
    }
}

/// The mutes that are in force, of those that were set.
fn mutes_in_force<'a>(world: &'a World, checks: &Checks) -> BTreeMap<&'a String, &'a Mute> {
    let holds = |(code, mute): &(&String, &Mute)| {
        mute.sticky || checks.get(*code).is_some_and(|c| c.count <= mute.count)
    };
    world.ceph.mutes.iter().filter(holds).collect()
}

/// As `ceph health detail` has them.
fn mutes_json(mutes: &BTreeMap<&String, &Mute>) -> Value {
    let mute = |(code, mute): (&&String, &&Mute)| json!({"code": code, "sticky": mute.sticky, "summary": mute.summary, "count": mute.count});
    mutes.iter().map(mute).collect()
}
