//! What can go wrong in a world, on purpose.

use crate::world::{Due, World};

impl World {
    /// The post-refresh hook of a snap fails on a member, so many times.
    pub fn fail_hook(&mut self, member: &str, snap: &str, times: u32) {
        if let Some(machine) = self.members.get_mut(member) {
            machine.snapd.failing_hooks.insert(snap.to_owned(), times);
        }
    }

    /// The network link of a member goes down in `after` milliseconds, and comes back `length` milliseconds later.
    pub fn cut_link_at(&mut self, member: &str, after: u64, length: u64) {
        self.schedule(
            after,
            Due::Link {
                member: member.to_owned(),
                up: false,
            },
        );
        self.schedule(
            after + length,
            Due::Link {
                member: member.to_owned(),
                up: true,
            },
        );
    }

    /// Someone else has refreshed a snap on a member.
    pub fn set_revision(&mut self, member: &str, snap: &str, revision: u32) {
        if let Some(installed) = self
            .members
            .get_mut(member)
            .and_then(|m| m.snapd.snaps.get_mut(snap))
        {
            installed.revision = revision;
        }
    }

    /// The newest revision of a snap takes so many milliseconds to be downloaded.
    pub fn slow_down(&mut self, snap: &str, millis: u64) {
        if let Some(release) = self
            .store
            .releases
            .get_mut(snap)
            .and_then(|all| all.last_mut())
        {
            release.size = millis * crate::snapd::RATE / 1000;
        }
    }

    /// Whether refreshes of a snap that don't name it are held on a member.
    #[must_use]
    pub fn held(&self, member: &str, snap: &str) -> bool {
        let machine = self.members.get(member);
        machine.is_some_and(|m| m.snapd.snaps.get(snap).is_some_and(|s| s.held))
    }

    /// Whether a change of snapd's goes on on a member.
    #[must_use]
    pub fn is_changing(&self, member: &str) -> bool {
        self.members
            .get(member)
            .is_some_and(|m| m.snapd.changes.iter().any(|c| !c.ready()))
    }

    /// A member whose LXD doesn't refresh itself when it lags behind the others.
    pub fn no_self_update(&mut self, member: &str) {
        self.lxd.no_self_update.push(member.to_owned());
    }

    /// An OSD that doesn't come back when its member's services start.
    pub fn lose_osd(&mut self, id: u32) {
        self.ceph.lost_osds.insert(id);
    }

    /// What is switched on now and was not in the beginning: flags of Ceph, and the lock of a run.
    #[must_use]
    pub fn left_on(&self) -> Vec<String> {
        let locked = self
            .members
            .keys()
            .filter(|member| self.file(member, "/var/lib/lockstep/lock").is_some())
            .map(|member| format!("the lock on {member}"));
        let hosts = self
            .ceph
            .host_flags
            .iter()
            .map(|(host, flags)| format!("{flags:?} for {host}"));
        let flags = self.ceph.flags.iter().cloned();
        flags.chain(hosts).chain(locked).collect()
    }
}
