//! What can go wrong with snapd and its snaps, on purpose, and what somebody else may have done to them.

use crate::world::World;

impl World {
    /// The post-refresh hook of a snap fails on a member, so many times.
    pub fn fail_hook(&mut self, member: &str, snap: &str, times: u32) {
        if let Some(machine) = self.members.get_mut(member) {
            machine.snapd.failing_hooks.insert(snap.to_owned(), times);
        }
    }

    /// Someone else has refreshed a snap on a member.
    pub fn set_revision(&mut self, member: &str, snap: &str, revision: u32) {
        if let Some(installed) = self.installed_mut(member, snap) {
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
            release.size = millis * super::RATE / 1000;
        }
    }

    /// The revision of this number, if the store gives it to a member.
    pub(crate) fn by_number(&self, member: &str, snap: &str, number: &str) -> Option<u32> {
        let revision = number.parse().ok()?;
        let known = self.store.release(snap, revision)?;
        (!self.faults.keeps_back(member, snap)).then_some(known.revision)
    }

    /// A snap follows another channel on a member than it did.
    pub fn track(&mut self, member: &str, snap: &str, channel: &str) {
        if let Some(installed) = self.installed_mut(member, snap) {
            installed.tracking = channel.to_owned();
        }
    }

    /// The revision of a snap that a member has calls itself another version.
    pub fn set_version(&mut self, member: &str, snap: &str, version: &str) {
        if let Some(installed) = self.installed_mut(member, snap) {
            installed.version = version.to_owned();
        }
    }

    /// Whether refreshes of a snap that don't name it are held on a member.
    #[must_use]
    pub fn held(&self, member: &str, snap: &str) -> bool {
        self.installed(member, snap).is_some_and(|s| s.held)
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
}
