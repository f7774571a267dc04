//! Where Ceph's daemons live.

use std::collections::BTreeSet;

use super::{Ceph, Daemon, Mon, Osd, Version};
use crate::world::World;

/// Placement groups of the first pool.
const PGS: u64 = 33;

impl Ceph {
    /// Monitors, managers and metadata servers on `services`, an OSD on each of `disks`, all of one release.
    pub(crate) fn placed(services: &[String], disks: &[String], version: &Version) -> Self {
        let mon = Mon {
            running: true,
            in_quorum: true,
            version: version.clone(),
        };
        let daemon = Daemon {
            running: true,
            version: version.clone(),
        };
        let osd = |host: &String| Osd {
            host: host.clone(),
            running: true,
            up: true,
            version: version.clone(),
        };
        let daemons = || {
            services
                .iter()
                .map(|host| (host.clone(), daemon.clone()))
                .collect()
        };
        Self {
            mons: services
                .iter()
                .map(|host| (host.clone(), mon.clone()))
                .collect(),
            mgrs: daemons(),
            mgr: services.first().cloned(),
            mdss: daemons(),
            osds: (0..).zip(disks.iter().map(osd)).collect(),
            pgs: PGS,
            require_osd_release: version.1.clone(),
            min_mon_release: version.1.clone(),
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
        let version = self
            .ceph
            .mons
            .values()
            .next()
            .map(|mon| mon.version.clone());
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        self.ceph = Ceph::placed(&own(services), &own(disks), &version.unwrap_or_default());
    }

    /// There is a file system, served by the first metadata server.
    pub fn add_filesystem(&mut self) {
        self.ceph.filesystem = true;
        self.ceph.mds = self.ceph.mdss.keys().next().cloned();
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
