//! What becomes of a world when a fault begins, and when it ends.

use lockstep_modules::contract::near::hint;

use super::{Arg, Event, Fault, Trouble, When};
use crate::ceph::severity::Severity;
use crate::product::Product;
use crate::snapd;
use crate::world::{Due, World};

/// What Ceph says of slow operations.
const SLOW_OPS: &str = "3 slow ops, oldest one blocked for 41 sec, osd.0 has slow ops";

/// From a daemon's death to systemd's starting it again, in milliseconds.
const RESTART: u64 = 1000;

impl World {
    /// Lets a fault come.
    ///
    /// # Errors
    /// Where it is about something that isn't there.
    pub fn inject(&mut self, fault: Fault) -> Result<(), String> {
        self.check_fault(&fault)?;
        match fault.when {
            When::At(at) => {
                self.faults.waiting.push(fault.clone());
                self.schedule(at.saturating_sub(self.now), Due::Fault(Event::Begin(fault)));
            }
            When::Refresh { .. } => self.faults.waiting.push(fault),
        }
        Ok(())
    }

    fn check_fault(&self, fault: &Fault) -> Result<(), String> {
        let members: Vec<&str> = self.members.keys().map(String::as_str).collect();
        let snaps = World::PRODUCTS.map(Product::snap);
        let among = |what: &str, name: &str, all: &[&str]| {
            if all.contains(&name) {
                return Ok(());
            }
            Err(format!(
                "fault {fault}: there is no {what} {name:?}{}",
                hint(name, all)
            ))
        };
        for (arg, value) in &fault.trouble.args() {
            match arg {
                Arg::Member => among("member", value, &members)?,
                Arg::Snap => among("component", value, &snaps)?,
                Arg::Instance => {
                    let names: Vec<&str> =
                        self.instances().iter().map(|i| i.name.as_str()).collect();
                    among("instance", value, &names)?;
                }
                Arg::Osd
                    if !value
                        .parse()
                        .is_ok_and(|id| self.ceph.osds.contains_key(&id)) =>
                {
                    return Err(format!("fault {fault}: there is no OSD {value}"));
                }
                Arg::Pool => among("storage pool", value, &self.pools())?,
                Arg::Osd | Arg::Seconds | Arg::Status | Arg::Code | Arg::Severity => {}
            }
        }
        if let When::Refresh { snap, member } = &fault.when {
            among("component", snap, &snaps)?;
            among("member", member, &members)?;
        }
        Ok(())
    }

    /// The numbers of the OSDs.
    #[must_use]
    pub fn osds(&self) -> Vec<u32> {
        self.ceph.osds.keys().copied().collect()
    }

    /// Ends every fault, and lets none come that hasn't.
    pub fn mend(&mut self) {
        self.faults.waiting.clear();
        for fault in std::mem::take(&mut self.faults.active) {
            self.end_fault(&fault);
        }
        // The others wait for members that did not follow one whose LXD snapd refreshed by itself.
        if std::mem::take(&mut self.faults.lxd_drifted) {
            let members: Vec<String> = self.members.keys().cloned().collect();
            for member in members {
                snapd::auto_refresh(self, &member, "lxd");
            }
        }
    }

    pub(crate) fn fault_event(&mut self, event: Event) {
        match event {
            Event::Begin(fault) => {
                if let Some(i) = self.faults.waiting.iter().position(|f| *f == fault) {
                    self.faults.waiting.remove(i);
                    self.begin_fault(fault);
                }
            }
            Event::End(fault) => {
                if let Some(i) = self.faults.active.iter().position(|f| *f == fault) {
                    self.faults.active.remove(i);
                    self.end_fault(&fault);
                }
            }
            Event::Restart { snap, member } => self.services_start(&member, &snap),
        }
    }

    /// The services of a snap stop on a member: faults that wait for this begin.
    pub(crate) fn faults_on_stop(&mut self, member: &str, snap: &str) {
        let here = |f: &Fault| matches!(&f.when, When::Refresh { snap: s, member: m } if s == snap && m == member);
        let (begin, waiting) = std::mem::take(&mut self.faults.waiting)
            .into_iter()
            .partition(here);
        self.faults.waiting = waiting;
        let begin: Vec<Fault> = begin;
        for fault in begin {
            self.begin_fault(fault);
        }
    }

    fn begin_fault(&mut self, fault: Fault) {
        self.faults.shaken = Some(self.now);
        let cause = std::mem::take(&mut self.cause);
        match &fault.trouble {
            Trouble::Cut { member } => self.set_link(member, false),
            Trouble::Freeze { member } => self.set_frozen(member, true),
            Trouble::PowerOff { member } => self.power_off(member),
            Trouble::Reboot { member } => {
                self.power_off(member);
                self.power_on(member);
            }
            Trouble::RefreshFails { snap, member } => self.fail_hook(member, snap, u32::MAX),
            Trouble::Crash { snap, member } => {
                self.daemons_stop(member, snap);
                let (snap, member) = (snap.clone(), member.clone());
                self.schedule(RESTART, Due::Fault(Event::Restart { snap, member }));
            }
            Trouble::NoSelfUpdate { member } => self.no_self_update(member),
            Trouble::AutoRefresh { snap, member } => {
                self.faults.lxd_drifted |= snap == "lxd";
                snapd::auto_refresh(self, member, snap);
            }
            Trouble::OtherRevision { snap, member } | Trouble::CohortApart { snap, member } => {
                if let Some(revision) = self.revision(member, snap) {
                    self.store.offer(member, snap, revision);
                }
            }
            Trouble::PoolUnavailable { pool, member } => self.lose_pool(pool, member),
            Trouble::Health { code, severity } => {
                let message = format!("{code} is raised, as somebody wanted it");
                self.raise_check(code, *severity, &message);
            }
            Trouble::NewRelease { snap } => self.store.release_again(snap),
            Trouble::WrongFile { snap, member } => self.misplace(member, snap),
            Trouble::SlowStore { seconds } => self.store.delay = u64::from(*seconds) * 1000,
            Trouble::StoreError { status } => self.store.status = Some(*status),
            Trouble::CannotMigrate { instance } => self.fail_migration(instance, u32::MAX),
            Trouble::LeftBehind { instance } => self.overlook(instance),
            Trouble::WontStart { instance } => self.fail_start(instance, u32::MAX),
            Trouble::OsdLost { id } => self.fail_osd((*id).into()),
            Trouble::MonLost { member } => self.fail_mon(member),
            Trouble::NeverClean { member } => self.never_clean_after(member),
            Trouble::SlowOps => self.raise_check("SLOW_OPS", Severity::Warning, SLOW_OPS),
            Trouble::ReleaseNotSet => self.never_require_release(),
            Trouble::RaftLost { member } => self.fail_raft_server(member),
            Trouble::ConversionStalls => self.stall_conversion(),
            // They are looked for where they matter.
            Trouble::RefreshHangs { .. }
            | Trouble::RunningApp { .. }
            | Trouble::NoReturn { .. }
            | Trouble::DiskFull { .. } => {}
        }
        if let Some(lasts) = fault.lasts {
            self.schedule(lasts, Due::Fault(Event::End(fault.clone())));
        }
        self.faults.active.push(fault);
        self.cause = cause;
    }

    /// What a fault did is undone, as far as it can be.
    fn end_fault(&mut self, fault: &Fault) {
        self.faults.shaken = Some(self.now);
        match &fault.trouble {
            Trouble::Cut { member } => self.set_link(member, true),
            Trouble::Freeze { member } => self.set_frozen(member, false),
            Trouble::PowerOff { member } => self.power_on(member),
            Trouble::RefreshFails { snap, member } => self.fail_hook(member, snap, 0),
            Trouble::NoReturn { snap, member } => {
                // It may have ended before they stopped.
                if self.is_down(member, snap) {
                    self.services_start(member, snap);
                }
            }
            Trouble::NoSelfUpdate { member } => self.lxd.no_self_update.retain(|m| m != member),
            Trouble::PoolUnavailable { pool, member } => self.find_pool(pool, member),
            Trouble::Health { code, .. } => self.lower_check(code),
            Trouble::OtherRevision { snap, member } | Trouble::CohortApart { snap, member } => {
                self.store.forget_offer(member, snap);
            }
            Trouble::SlowStore { .. } => self.store.delay = 0,
            Trouble::StoreError { .. } => self.store.status = None,
            Trouble::CannotMigrate { instance } => self.fail_migration(instance, 0),
            Trouble::LeftBehind { instance } => self.attend_to(instance),
            Trouble::WontStart { instance } => self.fail_start(instance, 0),
            Trouble::OsdLost { .. }
            | Trouble::MonLost { .. }
            | Trouble::NeverClean { .. }
            | Trouble::SlowOps
            | Trouble::ReleaseNotSet => self.mend_ceph(),
            Trouble::RaftLost { .. } | Trouble::ConversionStalls => self.mend_ovn(),
            // They are over at once, can't be undone, or are looked for where they matter.
            Trouble::Reboot { .. }
            | Trouble::Crash { .. }
            | Trouble::AutoRefresh { .. }
            | Trouble::NewRelease { .. }
            | Trouble::WrongFile { .. }
            | Trouble::RefreshHangs { .. }
            | Trouble::RunningApp { .. }
            | Trouble::DiskFull { .. } => {}
        }
    }
}
