//! What becomes of a world when a fault begins, and when it ends.

use lockstep_modules::contract::near::hint;

use super::{Arg, Event, Fault, KINDS, When};
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
        let snaps = ["microceph", "microovn", "lxd", "microcloud"];
        let among = |what: &str, name: &str, all: &[&str]| {
            if all.contains(&name) {
                return Ok(());
            }
            Err(format!(
                "fault {fault}: there is no {what} {name:?}{}",
                hint(name, all)
            ))
        };
        let kind = KINDS.iter().find(|kind| kind.name == fault.name);
        for (arg, value) in kind.into_iter().flat_map(|k| k.args).zip(&fault.args) {
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

    /// The faults that are there now.
    #[must_use]
    pub fn active_faults(&self) -> &[Fault] {
        &self.faults.active
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
        let args: Vec<&str> = fault.args.iter().map(String::as_str).collect();
        match (fault.name.as_str(), args.as_slice()) {
            ("cut", [member]) => self.set_link(member, false),
            ("freeze", [member]) => self.set_frozen(member, true),
            ("power-off", [member]) => self.power_off(member),
            ("reboot", [member]) => {
                self.power_off(member);
                self.power_on(member);
            }
            ("refresh-fails", [snap, member]) => self.fail_hook(member, snap, u32::MAX),
            ("crash", [snap, member]) => {
                self.daemons_stop(member, snap);
                let (snap, member) = ((*snap).to_owned(), (*member).to_owned());
                self.schedule(RESTART, Due::Fault(Event::Restart { snap, member }));
            }
            ("no-self-update", [member]) => self.no_self_update(member),
            ("auto-refresh", [snap, member]) => {
                self.faults.lxd_drifted |= *snap == "lxd";
                snapd::auto_refresh(self, member, snap);
            }
            ("other-revision" | "cohort-apart", [snap, member]) => {
                if let Some(revision) = self.revision(member, snap) {
                    self.store.offer(member, snap, revision);
                }
            }
            ("pool-unavailable", [pool, member]) => self.lose_pool(pool, member),
            ("health", [code, severity]) => {
                let message = format!("{code} is raised, as somebody wanted it");
                self.raise_check(code, *severity, &message);
            }
            ("new-release", [snap]) => self.store.release_again(snap),
            ("slow-store", [seconds]) => {
                self.store.delay = seconds.parse::<u64>().unwrap_or(0) * 1000;
            }
            ("store-error", [status]) => self.store.status = status.parse().ok(),
            ("cannot-migrate", [name]) => self.fail_migration(name, u32::MAX),
            ("left-behind", [name]) => self.overlook(name),
            ("wont-start", [name]) => self.fail_start(name, u32::MAX),
            ("osd-lost", [id]) => self.fail_osd(id.parse().unwrap_or_default()),
            ("mon-lost", [member]) => self.fail_mon(member),
            ("never-clean", [member]) => self.never_clean_after(member),
            ("slow-ops", _) => self.raise_check("SLOW_OPS", "HEALTH_WARN", SLOW_OPS),
            ("release-not-set", _) => self.never_require_release(),
            ("raft-lost", [member]) => self.fail_raft_server(member),
            ("conversion-stalls", _) => self.stall_conversion(),
            // They are looked for where they matter.
            _ => {}
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
        let args: Vec<&str> = fault.args.iter().map(String::as_str).collect();
        match (fault.name.as_str(), args.as_slice()) {
            ("cut", [member]) => self.set_link(member, true),
            ("freeze", [member]) => self.set_frozen(member, false),
            ("power-off", [member]) => self.power_on(member),
            ("refresh-fails", [snap, member]) => self.fail_hook(member, snap, 0),
            // It may have ended before they stopped.
            ("no-return", [snap, member]) if self.is_down(member, snap) => {
                self.services_start(member, snap);
            }
            ("no-self-update", [member]) => self.lxd.no_self_update.retain(|m| m != member),
            ("pool-unavailable", [pool, member]) => self.find_pool(pool, member),
            ("health", [code, _]) => self.lower_check(code),
            ("other-revision" | "cohort-apart", [snap, member]) => {
                self.store.forget_offer(member, snap)
            }
            ("slow-store", _) => self.store.delay = 0,
            ("store-error", _) => self.store.status = None,
            ("cannot-migrate", [name]) => self.fail_migration(name, 0),
            ("left-behind", [name]) => self.attend_to(name),
            ("wont-start", [name]) => self.fail_start(name, 0),
            ("osd-lost" | "mon-lost" | "never-clean" | "slow-ops" | "release-not-set", _) => {
                self.mend_ceph();
            }
            ("raft-lost" | "conversion-stalls", _) => self.mend_ovn(),
            _ => {}
        }
    }
}
