//! What can go wrong with LXD and its instances, on purpose.

use std::collections::BTreeMap;

use super::state::Faults;
use crate::world::World;

impl Faults {
    fn strikes(list: &mut BTreeMap<String, u32>, name: &str) -> bool {
        match list.get_mut(name) {
            Some(left @ 1..) => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    pub(super) fn migration_fails(&mut self, name: &str) -> bool {
        Self::strikes(&mut self.stuck, name)
    }

    /// Whether a member doesn't get at one of the pools.
    pub(super) fn lacks_pool(&self, member: &str) -> bool {
        self.unavailable.iter().any(|(_, of)| of == member)
    }

    pub(super) fn start_fails(&mut self, name: &str) -> bool {
        Self::strikes(&mut self.broken, name)
    }
}

impl World {
    /// An instance can't be migrated, so many times: an evacuation fails when it gets to it.
    pub fn fail_migration(&mut self, instance: &str, times: u32) {
        self.lxd.faults.stuck.insert(instance.to_owned(), times);
    }

    /// An instance doesn't start, so many times: a restore fails when it comes to it.
    pub fn fail_start(&mut self, instance: &str, times: u32) {
        self.lxd.faults.broken.insert(instance.to_owned(), times);
    }

    /// Evacuations pass over an instance without a word, and succeed: it goes on running where it is, as one for which
    /// LXD finds no member.
    pub fn overlook(&mut self, instance: &str) {
        self.lxd.faults.overlooked.insert(instance.to_owned());
    }

    /// Evacuations see the instance again.
    pub fn attend_to(&mut self, instance: &str) {
        self.lxd.faults.overlooked.remove(instance);
    }

    /// A member's LXD doesn't get at a storage pool any more.
    pub(crate) fn lose_pool(&mut self, pool: &str, member: &str) {
        let lost = (pool.to_owned(), member.to_owned());
        self.lxd.faults.unavailable.insert(lost);
    }

    /// A member's LXD gets at a storage pool again.
    pub(crate) fn find_pool(&mut self, pool: &str, member: &str) {
        let lost = (pool.to_owned(), member.to_owned());
        self.lxd.faults.unavailable.remove(&lost);
    }

    /// The names of LXD's storage pools.
    #[must_use]
    pub fn pools(&self) -> Vec<&str> {
        self.lxd.pools.keys().map(String::as_str).collect()
    }

    /// LXD doesn't give a member a part in its database, as for a while after it has come online.
    pub fn take_vote(&mut self, member: &str) {
        self.lxd.faults.voteless.insert(member.to_owned());
    }

    /// Every migration takes so many milliseconds more.
    pub fn slow_migrations(&mut self, millis: u64) {
        self.lxd.faults.slow = millis;
    }

    /// LXD remembers operations that have ended for so many milliseconds longer: for a world that runs faster than those who ask.
    pub fn remember_operations(&mut self, millis: u64) {
        self.lxd.faults.remembers = millis;
    }

    /// LXD starts the instances of a member that has been offline for so many seconds on others; 0 switches that off.
    pub fn set_healing_threshold(&mut self, seconds: u64) {
        self.lxd
            .config
            .insert("cluster.healing_threshold".to_owned(), seconds.to_string());
    }

    /// The server's configuration: what an operator has set, such as `cluster.healing_threshold`.
    #[must_use]
    pub fn lxd_config(&self) -> &BTreeMap<String, String> {
        &self.lxd.config
    }

    /// An instance, as it is now. `name` is in the project `default` or has its project before a slash.
    #[must_use]
    pub fn instance(&self, name: &str) -> Option<&super::Instance> {
        let (project, name) = name.split_once('/').unwrap_or(("default", name));
        let all = &self.lxd.instances;
        all.iter().find(|i| i.project == project && i.name == name)
    }

    /// All instances.
    #[must_use]
    pub fn instances(&self) -> &[super::Instance] {
        &self.lxd.instances
    }

    /// The members that LXD shows as evacuated.
    #[must_use]
    pub fn evacuated(&self) -> Vec<&str> {
        let nodes = self.lxd.nodes.iter().filter(|(_, node)| node.evacuated);
        nodes.map(|(name, _)| name.as_str()).collect()
    }
}
