//! From a look at a cluster to a scenario like it.

use lockstep_modules::products::snapd::Revision;
use std::collections::BTreeMap;

use lockstep_modules::contract::component::Component;
use lockstep_modules::contract::schema::Member;
use lockstep_modules::ops::lxd::{self, InstanceDetail};
use lockstep_modules::ops::preflight::Machine;
use lockstep_modules::ops::snap::Installed;
use lockstep_modules::ops::status::SnapshotOut;
use lockstep_modules::products::ceph;

use super::{Network, Published, Scenario, Snap, Storage};
use crate::ceph::{Raised, Severity};
use crate::host::Host;
use crate::lxd::{Bucket, Instance, Kind, StoragePool};

impl Scenario {
    /// A cluster like the one that was looked at. What a release contains can't be seen: new ones are taken to bring newer
    /// database schemas, which is what makes members wait for each other.
    ///
    /// # Errors
    /// With sentences about what was not seen: there is no such thing as a cluster that is partly like another.
    pub fn like(seen: &SnapshotOut) -> Result<Self, Vec<String>> {
        if !seen.unknown.is_empty() {
            return Err(seen.unknown.clone());
        }
        let names = seen.status.members.iter().map(|m| m.name.to_string());
        let members: Vec<String> = names.collect();
        let there = |snap: &str| {
            seen.status
                .members
                .iter()
                .any(|m| m.snaps.contains_key(snap))
        };
        let snaps = Component::ALL.iter().map(|component| component.snap());
        let absent = snaps.filter(|snap| !there(snap));
        let storage = seen.storage.as_ref();
        let scenario = Self {
            updates: false,
            without: absent.map(str::to_owned).collect(),
            storage: storage.map_or_else(Storage::default, |storage| Storage {
                monitors: storage.monitors.clone(),
                manager: Some(storage.manager.clone())
                    .filter(|name| storage.monitors.contains(name)),
                disks: storage
                    .osds
                    .iter()
                    .flat_map(|(host, ids)| ids.iter().map(move |id| (*id, host.clone())))
                    .collect::<BTreeMap<i64, String>>()
                    .into_values()
                    .collect(),
                flags: own_flags(&storage.flags, &storage.host_flags),
                pgs: Some(storage.pgs),
            }),
            network: seen
                .network
                .as_ref()
                .map_or_else(Network::default, |network| Network {
                    central: network.central.iter().map(Member::to_string).collect(),
                    northbound_leader: network.northbound_leader.as_ref().map(Member::to_string),
                    southbound_leader: network.southbound_leader.as_ref().map(Member::to_string),
                    election_timer: network.election_timer,
                }),
            instances: Some(seen.instances.iter().map(instance).collect()),
            lxd: seen.config.clone(),
            pools: Some(seen.pools.iter().map(pool).collect()),
            buckets: seen.buckets.iter().map(bucket).collect(),
            hosts: seen.machines.iter().map(host).collect(),
            manager_modules: storage.iter().flat_map(|s| s.modules.clone()).collect(),
            health: storage
                .iter()
                .flat_map(|s| s.raised.iter().map(raised))
                .collect(),
            releases: releases(seen),
            installed: seen
                .status
                .members
                .iter()
                .map(|m| {
                    (
                        m.name.to_string(),
                        m.snaps.iter().filter_map(snap).collect(),
                    )
                })
                .collect(),
            members,
            ..Self::default()
        };
        scenario.check().map_err(|(_, what)| vec![what])?;
        Ok(scenario)
    }
}

/// The flags that somebody has set; Ceph shows its own standing ones among them (`osd/OSDMap.h`).
fn own_flags(flags: &[String], host_flags: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    const STANDING: [&str; 7] = [
        "sortbitwise",
        "recovery_deletes",
        "purged_snapdirs",
        "pglog_hardlimit",
        "require_jewel_osds",
        "require_kraken_osds",
        "require_luminous_osds",
    ];
    let all = flags
        .iter()
        .filter(|flag| !STANDING.contains(&flag.as_str()))
        .cloned();
    let hosts = host_flags
        .iter()
        .flat_map(|(host, flags)| flags.iter().map(move |flag| format!("{flag} {host}")));
    all.chain(hosts).collect()
}

fn pool(seen: &lxd::StoragePool) -> StoragePool {
    StoragePool {
        name: seen.name.clone(),
        driver: seen.driver.clone(),
    }
}

fn bucket(seen: &lxd::Bucket) -> Bucket {
    Bucket {
        name: seen.name.clone(),
        pool: seen.pool.clone(),
    }
}

fn host((name, seen): (&Member, &Machine)) -> (String, Host) {
    let host = Host {
        os: seen.os.clone(),
        snapd: seen.snapd.clone(),
        kernel: seen.kernel.clone(),
        ..Host::default()
    };
    (name.to_string(), host)
}

fn raised(seen: &ceph::Raised) -> Raised {
    Raised {
        code: seen.code.clone(),
        severity: match seen.severity {
            ceph::Severity::Warn => Severity::Warning,
            ceph::Severity::Err => Severity::Error,
        },
        message: seen.message.clone(),
        count: usize::try_from(seen.count).unwrap_or(usize::MAX),
        muted: seen.muted,
    }
}

fn instance(seen: &InstanceDetail) -> Instance {
    Instance {
        name: seen.name.clone(),
        location: seen.location.clone(),
        project: seen.project.clone(),
        kind: if seen.kind == "container" {
            Kind::Container
        } else {
            Kind::VirtualMachine
        },
        running: seen.running,
        config: seen.config.clone(),
        devices: seen.devices.clone(),
        memory: seen.memory,
        size: seen.size,
        ephemeral: seen.ephemeral,
        started: 0,
    }
}

/// A local revision (`x1`) is no number: it gets one that no store has.
fn number(revision: &Revision) -> u32 {
    revision
        .as_str()
        .trim_start_matches('x')
        .parse()
        .unwrap_or(0)
}

fn snap((name, installed): (&String, &Installed)) -> Option<(String, Snap)> {
    Component::of_snap(name)?;
    let snap = Snap {
        revision: number(&installed.revision),
        channel: Some(installed.channel.clone()),
        cohort: Some(installed.cohort.clone()),
        held: Some(installed.held),
        restarted: false,
    };
    Some((name.clone(), snap))
}

/// What is installed anywhere, what is offered anywhere, and what every channel has.
fn releases(seen: &SnapshotOut) -> Vec<Published> {
    let mut found: BTreeMap<(String, String, u32), String> = BTreeMap::new();
    let mut order = Vec::new();
    let mut add = |snap: &str, channel: &str, revision: u32, version: &str| {
        let key = (snap.to_owned(), channel.to_owned(), revision);
        if Component::of_snap(snap).is_some()
            && found.insert(key.clone(), version.to_owned()).is_none()
        {
            order.push(key);
        }
    };
    for member in &seen.status.members {
        for (name, snap) in &member.snaps {
            add(name, &snap.channel, number(&snap.revision), &snap.version);
        }
    }
    for (name, channels) in &seen.channels {
        for (channel, release) in channels {
            add(name, channel, number(&release.revision), &release.version);
        }
    }
    for (member, offers) in &seen.updates {
        for (name, offer) in offers {
            let snaps = seen.status.members.iter().find(|m| m.name == *member);
            if let Some(own) = snaps.and_then(|m| m.snaps.get(name)) {
                add(name, &own.channel, number(&offer.revision), &offer.version);
            }
        }
    }
    let published = |key: (String, String, u32)| {
        let version = found.get(&key).cloned().unwrap_or_default();
        let (snap, channel, revision) = key;
        Published {
            snap,
            channel,
            revision,
            version,
            schema: None,
            size: None,
            built: None,
        }
    };
    order.into_iter().map(published).collect()
}
