//! Ceph's maps and what its daemons tell of themselves, as JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::seen;
use super::state::{Version, rank};
use crate::world::World;

/// `ceph version 19.2.3 (sha) squid (stable)`
pub(super) fn long(version: &Version) -> String {
    // Tentacle's daemons add the kind of build.
    let build = if version.1 == "tentacle" {
        "stable - RelWithDebInfo"
    } else {
        "stable"
    };
    format!(
        "ceph version {} (6b0e988052ec84cf2d4a54ff9bbbc5e720b621ad) {} ({build})",
        version.0, version.1
    )
}

pub(super) fn versions(world: &World) -> Value {
    let mut kinds: BTreeMap<&str, BTreeMap<String, u64>> = BTreeMap::new();
    for (kind, version) in world.ceph.versions() {
        for kind in [kind, "overall"] {
            *kinds
                .entry(kind)
                .or_default()
                .entry(long(&version))
                .or_default() += 1;
        }
    }
    json!(kinds)
}

pub(super) fn mon_dump(world: &World) -> Value {
    let ceph = &world.ceph;
    let mons = ceph.mons.keys().enumerate().map(|(rank, name)| {
        let address = world.members.get(name).map_or("", |m| m.address.as_str());
        let vec = json!([{"type": "v2", "addr": format!("{address}:3300"), "nonce": 0}, {"type": "v1", "addr": format!("{address}:6789"), "nonce": 0}]);
        json!({"rank": rank, "name": name, "public_addrs": {"addrvec": vec}, "addr": format!("{address}:6789/0"),
               "public_addr": format!("{address}:6789/0"), "priority": 0, "weight": 0, "crush_location": "{}"})
    });
    let quorum = ceph
        .mons
        .keys()
        .enumerate()
        .filter(|(_, name)| seen::in_quorum(world, name))
        .map(|(rank, _)| rank);
    json!({
        "epoch": ceph.monmap_epoch(), "fsid": seen::FSID, "min_mon_release": rank(&ceph.min_mon_release), "min_mon_release_name": ceph.min_mon_release,
        "election_strategy": 1, "stretch_mode": false, "tiebreaker_mon": "", "mons": mons.collect::<Vec<_>>(), "quorum": quorum.collect::<Vec<_>>(),
    })
}

pub(super) fn mgr_stat(world: &World) -> Value {
    let ceph = &world.ceph;
    let standbys = ceph
        .mgrs
        .iter()
        .filter(|(host, d)| d.running && ceph.mgr.as_ref() != Some(*host))
        .count();
    json!({"epoch": 3, "available": ceph.mgr.is_some(), "active_name": ceph.mgr.as_deref().unwrap_or(""),
           "num_standby": if ceph.mgr.is_some() { standbys } else { 0 }})
}

/// The manager's modules that always run, those that it begins with, and those that may be switched on
/// (`mgr/MgrMap.h`, `mon/MgrMonitor.cc`).
const ALWAYS_ON: [&str; 10] = [
    "balancer",
    "crash",
    "devicehealth",
    "orchestrator",
    "pg_autoscaler",
    "progress",
    "rbd_support",
    "status",
    "telemetry",
    "volumes",
];
const ENABLED: [&str; 3] = ["iostat", "nfs", "restful"];
const OTHERS: [&str; 5] = ["alerts", "dashboard", "influx", "prometheus", "zabbix"];

pub(super) fn enabled_modules(world: &World) -> Vec<&str> {
    let own = world.ceph.modules.iter().map(String::as_str);
    let all: BTreeSet<&str> = ENABLED.into_iter().chain(own).collect();
    all.into_iter().collect()
}

fn module(name: &&str) -> Value {
    json!({"name": name, "can_run": true, "error_string": "", "module_options": {}})
}

/// `ceph config-key ls`: names, also of what managers keep; MicroCeph's are as `microceph/ceph/osd.go` sets them.
pub(super) fn keys(world: &World) -> Value {
    let own = world.ceph.keys.iter();
    let own = own.map(|osd| format!("microceph:osd.{osd}/key"));
    let mut keys = vec!["config-history/1/".to_owned()];
    keys.extend(own);
    json!(keys)
}

/// `ceph mgr module ls`
pub(super) fn mgr_modules(world: &World) -> Value {
    let enabled = enabled_modules(world);
    let disabled = OTHERS.iter().filter(|name| !enabled.contains(name));
    json!({"always_on_modules": ALWAYS_ON, "enabled_modules": enabled, "disabled_modules": disabled.map(module).collect::<Vec<_>>()})
}

pub(super) fn mgr_dump(world: &World) -> Value {
    let ceph = &world.ceph;
    let release = ceph.mgr.as_ref().and_then(|host| ceph.mgrs.get(host));
    let release = release.map_or("", |daemon| daemon.version.1.as_str());
    let mut others = ceph
        .mgrs
        .iter()
        .filter(|(host, d)| d.running && ceph.mgr.as_ref() != Some(*host));
    let standby =
        |(host, _): (&String, _)| json!({"gid": 4126, "name": host, "available_modules": []});
    let available: Vec<Value> = ALWAYS_ON
        .iter()
        .chain(&ENABLED)
        .chain(&OTHERS)
        .map(module)
        .collect();
    json!({"epoch": 3, "flags": 0, "active_gid": 4155, "active_name": ceph.mgr.as_deref().unwrap_or(""), "available": ceph.mgr.is_some(),
           "standbys": others.by_ref().map(standby).collect::<Vec<_>>(), "modules": enabled_modules(world), "available_modules": available,
           "services": {}, "always_on_modules": {release: ALWAYS_ON}, "force_disabled_modules": {}})
}

pub(super) fn mgr_metadata(world: &World) -> Value {
    let running = world.ceph.mgrs.iter().filter(|(_, daemon)| daemon.running);
    let named = running.map(|(host, daemon)| {
        let mut value = metadata(host, &daemon.version);
        value["name"] = json!(host);
        value
    });
    named.collect()
}

pub(super) fn mds_stat(world: &World) -> Value {
    let ceph = &world.ceph;
    let info = |(gid, host): (u64, &String), rank: i64, state: &str| json!({"gid": gid, "name": host, "rank": rank, "incarnation": 0, "state": state, "state_seq": 1});
    let running = (4132..).zip(
        ceph.mdss
            .iter()
            .filter(|(_, d)| d.running)
            .map(|(host, _)| host),
    );
    let (active, standing_by): (Vec<_>, Vec<_>) =
        running.partition(|(_, host)| ceph.mds.as_ref() == Some(*host));
    let serving: Map<String, Value> = active
        .into_iter()
        .map(|who| (format!("gid_{}", who.0), info(who, 0, "up:active")))
        .collect();
    let standbys: Vec<Value> = standing_by
        .into_iter()
        .map(|who| info(who, -1, "up:standby"))
        .collect();
    let filesystem = json!({"mdsmap": {"epoch": 3, "fs_name": "cephfs", "max_mds": 1, "in": [0], "info": serving, "failed": []}, "id": 1});
    let filesystems = if ceph.filesystem {
        vec![filesystem]
    } else {
        vec![]
    };
    json!({"fsmap": {"epoch": 3, "default_fscid": if ceph.filesystem { 1 } else { -1 }, "standbys": standbys, "filesystems": filesystems},
           "mdsmap_first_committed": 1, "mdsmap_last_committed": 3})
}

/// `ceph osd pool ls detail`, of its many fields those that tell how many copies there are
pub(super) fn pools(world: &World) -> Value {
    let (size, ceph) = (world.ceph.size(), &world.ceph);
    let names: &[&str] = if ceph.filesystem {
        &[".mgr", "lxd_remote", "lxd_cephfs_meta", "lxd_cephfs_data"]
    } else {
        &[".mgr", "lxd_remote"]
    };
    let pools = names.iter().enumerate().map(|(i, name)| {
        json!({"pool_id": i + 1, "pool_name": name, "type": 1, "size": size, "min_size": size - ceph.can_lose(), "pg_num": 1})
    });
    pools.collect()
}

/// `ceph fs ls`
pub(super) fn filesystems(world: &World) -> Value {
    let pools = json!({"name": "lxd_cephfs", "metadata_pool": "lxd_cephfs_meta", "metadata_pool_id": 3, "data_pool_ids": [4],
                       "data_pools": ["lxd_cephfs_data"]});
    world.ceph.filesystem.then_some(pools).into_iter().collect()
}

/// `microceph disk list --json` (`cmd/microceph/disk_list.go`)
pub(crate) fn disks(world: &World) -> Value {
    let disks = world.ceph.osds.iter().map(|(id, osd)| {
        json!({"osd": id, "path": format!("/dev/disk/by-id/virtio-disk{id}"), "location": osd.host})
    });
    json!({"ConfiguredDisks": disks.collect::<Value>(), "AvailableDisks": null})
}

/// `ceph mon|osd metadata WHO`
pub(super) fn daemon_metadata(world: &World, kind: &str, who: &str) -> Option<Value> {
    let ceph = &world.ceph;
    if kind == "mon" {
        return ceph.mons.get(who).map(|mon| metadata(who, &mon.version));
    }
    let id: u32 = who.parse().ok()?;
    let osd = ceph.osds.get(&id)?;
    let mut value = metadata(&osd.host, &osd.version);
    value["id"] = json!(id);
    Some(value)
}

pub(super) fn osd_metadata(world: &World) -> Value {
    let ids = world.ceph.osds.keys();
    ids.filter_map(|id| daemon_metadata(world, "osd", &id.to_string()))
        .collect()
}

fn metadata(host: &str, version: &Version) -> Value {
    json!({"arch": "x86_64", "ceph_release": version.1, "ceph_version": long(version), "ceph_version_short": version.0, "hostname": host})
}

/// `ceph osd ok-to-stop IDS`: the answer, and whether it is yes. An OSD that doesn't exist is fine to stop.
pub(super) fn ok_to_stop(world: &World, ids: &[u32]) -> (Value, bool) {
    let ceph = &world.ceph;
    let gone = |(id, osd): &(&u32, &super::Osd)| !osd.up || ids.contains(id);
    let hosts: BTreeSet<&String> = ceph
        .osds
        .iter()
        .filter(gone)
        .map(|(_, osd)| &osd.host)
        .collect();
    let ok = hosts.len() <= ceph.can_lose();
    let pgs: Vec<String> = (0..ceph.pgs).map(|n| format!("1.{n:x}")).collect();
    let (fine, bad) = if ok { (ceph.pgs, 0) } else { (0, ceph.pgs) };
    let mut answer =
        json!({"ok_to_stop": ok, "osds": ids, "num_ok_pgs": fine, "num_not_ok_pgs": bad});
    answer[if ok {
        "ok_become_degraded"
    } else {
        "bad_become_inactive"
    }] = json!(pgs);
    (answer, ok)
}
