//! Where Ceph's daemons live.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{Ceph, Daemon, Mon, Osd, Version, rank};
use crate::world::World;

/// Placement groups of the first pool.
const PGS: u64 = 33;

/// The OSDs' map as a cluster begins with it.
const FIRST_MAP: u64 = 15;

impl Ceph {
    /// Monitors, managers and metadata servers on `services`, an OSD on each of `disks`, each of its host's release. What the
    /// cluster requires is what the oldest of them has.
    pub(crate) fn placed(
        services: &[String],
        disks: &[String],
        versions: &BTreeMap<String, Version>,
    ) -> Self {
        let oldest = versions.values().min_by_key(|v| rank(&v.1)).cloned();
        let oldest = oldest.unwrap_or_default();
        let of = |host: &String| versions.get(host).unwrap_or(&oldest).clone();
        let mon = |host: &String| {
            let mon = Mon {
                running: true,
                in_quorum: true,
                version: of(host),
            };
            (host.clone(), mon)
        };
        let daemon = |host: &String| {
            let daemon = Daemon {
                running: true,
                version: of(host),
            };
            (host.clone(), daemon)
        };
        let osd = |host: &String| Osd {
            host: host.clone(),
            running: true,
            up: true,
            up_from: FIRST_MAP,
            version: of(host),
        };
        Self {
            mons: services.iter().map(mon).collect(),
            mgrs: services.iter().map(daemon).collect(),
            mgr: services.first().cloned(),
            mdss: services.iter().map(daemon).collect(),
            osds: (0..).zip(disks.iter().map(osd)).collect(),
            pgs: PGS,
            epoch: FIRST_MAP,
            election: 6,
            require_osd_release: oldest.1.clone(),
            min_mon_release: oldest.1,
            ..Self::default()
        }
    }

    /// Copies of each object, on as many hosts: three where there are so many.
    pub(super) fn size(&self) -> usize {
        let hosts: BTreeSet<&String> = self.osds.values().map(|osd| &osd.host).collect();
        hosts.len().min(3)
    }

    /// Hosts that may be away while data stays available (`osd_pool_default_min_size`: size - size / 2).
    pub(super) fn can_lose(&self) -> usize {
        self.size() / 2
    }
}

impl World {
    /// Ceph's monitors, managers and metadata servers live on `services`, and an OSD on each of `disks`.
    pub fn place_ceph(&mut self, services: &[&str], disks: &[&str]) {
        let version = |host: &String| {
            let release = self.release(host, "microceph")?;
            Some((host.clone(), release.ceph.clone()?))
        };
        let versions = self.members.keys().filter_map(version).collect();
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        self.ceph = Ceph::placed(&own(services), &own(disks), &versions);
    }

    /// There is a file system, served by the first metadata server.
    pub fn add_filesystem(&mut self) {
        self.ceph.filesystem = true;
        self.ceph.mds = self.ceph.mdss.keys().next().cloned();
    }

    /// The monitors keep a key for this OSD's disk, or have lost it.
    pub fn keep_key(&mut self, osd: u32, kept: bool) {
        if kept {
            self.ceph.keys.insert(osd);
        } else {
            self.ceph.keys.remove(&osd);
        }
    }

    /// The active manager is the one on this member.
    pub fn activate_mgr(&mut self, member: &str) {
        self.ceph.mgr = Some(member.to_owned());
    }

    /// What MicroCeph shows as a member's services and number of disks (`cmd/microceph/status.go`).
    pub(crate) fn ceph_services(&self, member: &str) -> (String, usize) {
        let ceph = &self.ceph;
        let disks = ceph.osds.values().filter(|osd| osd.host == member).count();
        let placed = [
            ("mds", ceph.mdss.contains_key(member)),
            ("mgr", ceph.mgrs.contains_key(member)),
            ("mon", ceph.mons.contains_key(member)),
            ("osd", disks > 0),
        ];
        let names: Vec<&str> = placed
            .iter()
            .filter(|(_, here)| *here)
            .map(|(name, _)| *name)
            .collect();
        (names.join(", "), disks)
    }
}
