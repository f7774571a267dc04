//! Instances: what they are, and what LXD would do with each when its member is evacuated.

use std::collections::BTreeMap;

use super::members::offline;
use super::state::{Instance, Kind, default_memory, default_project, default_size, root_on_ceph};
use crate::dialects::Trait;
use crate::world::World;

/// Memory of a virtual machine without `limits.memory`.
const LIVE_DEFAULT: u64 = 1 << 30;

/// Where an instance is to go back to.
pub(super) const ORIGIN: &str = "volatile.evacuate.origin";

/// How an instance was when LXD itself stopped it.
pub(super) const LAST_STATE: &str = "volatile.last_state.power";

/// Storage drivers whose volumes every member reaches (`lxd/storage/drivers`: `Remote`).
const REMOTE: [&str; 6] = [
    "ceph",
    "cephfs",
    "powerflex",
    "powerstore",
    "pure",
    "alletra",
];

/// What an evacuation does with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is moved while it runs.
    Live,
    /// It is stopped, moved and started.
    Cold,
    /// It is stopped, and stays.
    Stay,
    /// LXD looks at a device that isn't there, and crashes.
    Crash,
}

impl Instance {
    /// A running container of MicroCloud's default profile.
    #[must_use]
    pub fn container(name: &str, location: &str) -> Self {
        Self {
            name: name.to_owned(),
            location: location.to_owned(),
            project: default_project(),
            kind: Kind::Container,
            running: true,
            config: BTreeMap::new(),
            devices: root_on_ceph(),
            memory: default_memory(),
            size: default_size(),
            ephemeral: false,
            started: 0,
        }
    }

    /// A running virtual machine of MicroCloud's default profile, which can be moved while it runs.
    #[must_use]
    pub fn machine(name: &str, location: &str) -> Self {
        Self {
            kind: Kind::VirtualMachine,
            memory: LIVE_DEFAULT,
            ..Self::container(name, location).with("migration.stateful", "true")
        }
    }

    /// With a key of its configuration.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.config.insert(key.to_owned(), value.to_owned());
        self
    }

    /// With a device, given as `key=value` pairs.
    #[must_use]
    pub fn device(mut self, name: &str, pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        self.devices.insert(name.to_owned(), pairs.collect());
        self
    }

    pub(super) fn key(&self) -> (String, String) {
        (self.project.clone(), self.name.clone())
    }

    pub(super) fn set(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(String::as_str)
    }

    fn is_on(&self, key: &str) -> Option<bool> {
        self.set(key).map(|value| value == "true")
    }

    /// Whether it is to be started where LXD starts what ran (`lxd/instances.go`, `instanceShouldAutoStart`).
    pub(super) fn autostarts(&self) -> bool {
        let protected = self.is_on("security.protection.start") == Some(true);
        let ran = self.set(LAST_STATE) == Some("RUNNING");
        !protected && self.is_on("boot.autostart").unwrap_or(ran)
    }

    /// What an evacuation does with it (`lxd/instance/drivers/driver_common.go`, `CanMigrate`; then the mode, which
    /// overrides it for all instances alike).
    pub(super) fn fate(&self, world: &World, member: &str, mode: &str) -> Fate {
        let own = self.set("cluster.evacuate").unwrap_or("auto");
        let fate = match own {
            "migrate" => Fate::Cold,
            "live-migrate" => Fate::Live,
            "stop" => Fate::Stay,
            _ => self.automatic(world, member),
        };
        match mode {
            _ if fate == Fate::Crash => fate,
            "stop" => Fate::Stay,
            "migrate" => Fate::Cold,
            "live-migrate" => Fate::Live,
            _ => fate,
        }
    }

    fn automatic(&self, world: &World, member: &str) -> Fate {
        for device in self.devices.values() {
            let get = |key: &str| device.get(key).map_or("", String::as_str);
            let moves = match get("type") {
                "disk" if get("path") == "/" => true,
                "disk" if get("pool").is_empty() => {
                    if !world.has(member, Trait::LxdDisksWithoutPool) {
                        return Fate::Crash;
                    }
                    false
                }
                "disk" => is_remote(world, get("pool")),
                "nic" => !get("network").is_empty() || get("nictype") == "ovn",
                "tpm" | "none" => true,
                _ => false,
            };
            if !moves {
                return Fate::Stay;
            }
        }
        let live =
            self.kind == Kind::VirtualMachine && self.is_on("migration.stateful") == Some(true);
        if live { Fate::Live } else { Fate::Cold }
    }

    /// Whether the member that it is on doesn't get at one of its pools.
    pub(super) fn lacks_pool(&self, world: &World) -> bool {
        let pools = self.devices.values().filter_map(|d| d.get("pool"));
        let mut lost = pools.map(|pool| (pool.clone(), self.location.clone()));
        lost.any(|lost| world.lxd.faults.unavailable.contains(&lost))
    }

    /// Whether its root disk is where every member reaches it.
    pub(super) fn is_remote(&self, world: &World) -> bool {
        let root = self
            .devices
            .values()
            .find(|d| d.get("path").is_some_and(|path| path == "/"));
        root.and_then(|d| d.get("pool"))
            .is_some_and(|pool| is_remote(world, pool))
    }
}

fn is_remote(world: &World, pool: &str) -> bool {
    let pool = world.lxd.pools.get(pool);
    pool.is_some_and(|pool| REMOTE.contains(&pool.driver.as_str()))
}

/// The member that LXD moves an instance to: of those that may take it, the one with the fewest instances by count
/// (`lxd/db/node.go`). It asks neither for memory nor whether versions differ.
pub(super) fn target(world: &World, instance: &Instance) -> Option<String> {
    let group = instance.set("volatile.cluster.group");
    let fits = |name: &String, node: &super::Node| {
        let scheduler = node
            .config
            .get("scheduler.instance")
            .map_or("all", String::as_str);
        *name != instance.location
            && !node.evacuated
            && !offline(world, name)
            && match scheduler {
                "manual" => false,
                "group" => group.is_some(),
                _ => true,
            }
            && group.is_none_or(|group| node.groups.iter().any(|g| g == group))
    };
    let on = |name: &str| {
        world
            .lxd
            .instances
            .iter()
            .filter(|i| i.location == name)
            .count()
    };
    let nodes = world
        .lxd
        .nodes
        .iter()
        .filter(|(name, node)| fits(name, node));
    nodes.map(|(name, _)| name).min_by_key(|n| on(n)).cloned()
}
