//! What can go wrong with Ceph, on purpose.

use super::severity::Severity;
use super::state::{Check, Event};
use crate::world::{Due, World};

impl World {
    /// An OSD that doesn't come back when its member's services start.
    pub fn lose_osd(&mut self, id: u32) {
        self.ceph.faults.lost_osds.insert(id);
    }

    /// An OSD dies now, and stays down.
    pub fn fail_osd(&mut self, id: u32) {
        self.lose_osd(id);
        if let Some(osd) = self.ceph.osds.get_mut(&id) {
            osd.running = false;
            osd.up = false;
            self.ceph.unclean_by = Some(osd.host.clone());
        }
    }

    /// A monitor that doesn't join the quorum again when its member's services start.
    pub fn lose_mon(&mut self, member: &str) {
        self.ceph.faults.lost_mons.insert(member.to_owned());
    }

    /// A monitor leaves the quorum now, and doesn't come back.
    pub fn fail_mon(&mut self, member: &str) {
        self.lose_mon(member);
        if let Some(mon) = self.ceph.mons.get_mut(member) {
            mon.in_quorum = false;
        }
    }

    /// Placement groups don't become clean again after the OSDs of a member have come back.
    pub fn never_clean_after(&mut self, member: &str) {
        self.ceph.faults.unclean_after.insert(member.to_owned());
    }

    /// A health check is raised and stays. Slow operations, for example: `SLOW_OPS`, `HEALTH_WARN`.
    pub fn raise_check(&mut self, code: &str, severity: impl Into<Severity>, message: &str) {
        self.ceph
            .faults
            .raised
            .insert(code.to_owned(), Check::new(severity, message));
    }

    /// A health check is raised when the services of a member start, and stays.
    pub fn raise_check_after(&mut self, member: &str, code: &str, severity: &str, message: &str) {
        let check = Check::new(severity, message);
        self.ceph
            .faults
            .raised_after
            .insert(member.to_owned(), (code.to_owned(), check));
    }

    /// MicroCeph leaves `require_osd_release` as it is after an upgrade: it gives up after some 100 s, for example.
    pub fn never_require_release(&mut self) {
        self.ceph.faults.release_not_required = true;
    }

    /// The operator has set a flag: for a host, or for the whole cluster.
    pub fn operator_sets_flag(&mut self, flag: &str, host: Option<&str>) {
        let flags = match host {
            Some(host) => self.ceph.host_flags.entry(host.to_owned()).or_default(),
            None => &mut self.ceph.flags,
        };
        flags.insert(flag.to_owned());
        self.ceph
            .faults
            .operators
            .insert((host.map(str::to_owned), flag.to_owned()));
    }

    /// Whether a flag is set now.
    #[must_use]
    pub fn has_flag(&self, flag: &str, host: Option<&str>) -> bool {
        let flags = host.map_or(Some(&self.ceph.flags), |host| {
            self.ceph.host_flags.get(host)
        });
        flags.is_some_and(|flags| flags.contains(flag))
    }

    /// The release that OSDs have to run.
    #[must_use]
    pub fn required_osd_release(&self) -> &str {
        &self.ceph.require_osd_release
    }

    /// Someone has mended Ceph: what was wrong is over, and what was lost is started again.
    pub fn mend_ceph(&mut self) {
        let faults = std::mem::take(&mut self.ceph.faults);
        self.ceph.faults.operators = faults.operators;
        for host in faults.lost_mons {
            self.schedule(super::MON_JOINS, Due::Ceph(Event::MonJoins(host)));
        }
        for id in faults.lost_osds {
            let Some(host) = self.ceph.osds.get(&id).map(|osd| osd.host.clone()) else {
                continue;
            };
            let changing = self.is_changing(&host);
            // In the middle of a refresh the start of the services is still to come.
            let version = self
                .release(&host, "microceph")
                .and_then(|release| release.ceph.clone());
            if let (Some(osd), Some(version), false) =
                (self.ceph.osds.get_mut(&id), version, changing)
            {
                osd.running = true;
                osd.version = version;
                self.schedule(super::OSD_BOOTS, Due::Ceph(Event::OsdUp(id)));
            }
        }
    }
}
