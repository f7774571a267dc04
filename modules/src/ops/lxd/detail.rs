//! What LXD knows of its server, pools, instances and the room on its members, as far as evacuations need it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::query;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;

/// Storage drivers whose volumes every member reaches.
const REMOTE: [&str; 6] = [
    "ceph",
    "cephfs",
    "powerflex",
    "powerstore",
    "pure",
    "alletra",
];

/// What LXD gives a virtual machine without `limits.memory` (`lxd/instance/drivers/driver_qemu.go`).
const MACHINE: u64 = 1 << 30;

/// What LXD gives the volume of a virtual machine's state (`lxd/storage/drivers/driver_common.go`).
const STATE: u64 = 100 << 20;

/// The name of an instance, with its project where that isn't the default one.
pub(super) fn title(project: &str, name: &str) -> String {
    if project == "default" {
        name.to_owned()
    } else {
        format!("{project}/{name}")
    }
}

/// Whether LXD starts an instance that doesn't run when it moves it or restores its member: by its configuration
/// (`instanceShouldAutoStart` in `lxd/instances.go`), or because it takes it for one that ran (`restoreClusterMember` in
/// `lxd/api_cluster_member.go`).
pub(super) fn autostarts<'a>(get: impl Fn(&str) -> Option<&'a str>) -> bool {
    let on = |key| get(key).is_some_and(is_true);
    let wanted = on("boot.autostart") && !on("security.protection.start");
    wanted || get("volatile.last_state.power") == Some("RUNNING")
}

/// What LXD takes for yes (`shared.IsTrue`).
fn is_true(value: &str) -> bool {
    ["true", "1", "yes", "on"].contains(&value.to_ascii_lowercase().as_str())
}

#[derive(Deserialize)]
pub(super) struct Server {
    api_extensions: Vec<String>,
    environment: Environment,
}

#[derive(Deserialize)]
struct Environment {
    server_version: String,
}

impl Server {
    /// Whether it knows an extension of its API (`shared/version/api.go`): what it can do, whatever its version is called.
    pub(super) fn knows(&self, extension: &str) -> bool {
        self.api_extensions.iter().any(|known| known == extension)
    }

    /// Major and minor number of its version; 0 where it can't be read.
    pub(super) fn version(&self) -> [u32; 2] {
        let mut numbers = self.environment.server_version.split('.');
        std::array::from_fn(|_| numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0))
    }
}

pub(super) async fn server(cx: &Cx) -> Result<Server, OpError> {
    query(cx, "/1.0").await
}

/// A storage pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StoragePool {
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
}

pub(crate) async fn pools(cx: &Cx) -> Result<Vec<StoragePool>, OpError> {
    query(cx, "/1.0/storage-pools?recursion=1").await
}

/// Whether every member reaches the volumes of a pool.
pub(super) fn is_remote(pools: &[StoragePool], name: &str) -> bool {
    let pool = pools.iter().find(|pool| pool.name == name);
    pool.is_some_and(|pool| REMOTE.contains(&pool.driver.as_str()))
}

/// An instance with everything about it.
#[derive(Deserialize)]
pub(super) struct Detailed {
    pub(super) name: String,
    pub(super) project: String,
    pub(super) location: String,
    pub(super) status: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) architecture: String,
    pub(super) ephemeral: bool,
    #[serde(default)]
    config: BTreeMap<String, String>,
    #[serde(default)]
    expanded_config: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) expanded_devices: BTreeMap<String, BTreeMap<String, String>>,
    state: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    memory: Option<Used>,
    #[serde(default)]
    disk: Option<BTreeMap<String, Used>>,
}

#[derive(Deserialize)]
struct Used {
    #[serde(default)]
    usage: i64,
}

impl Used {
    fn bytes(&self) -> u64 {
        u64::try_from(self.usage).unwrap_or(0)
    }
}

impl Detailed {
    pub(super) fn runs(&self) -> bool {
        ["Running", "Frozen", "Error"].contains(&self.status.as_str())
    }

    /// A key of its configuration, profiles included.
    pub(super) fn set(&self, key: &str) -> Option<&str> {
        let expanded = self.expanded_config.as_ref().and_then(|c| c.get(key));
        expanded
            .or_else(|| self.config.get(key))
            .map(String::as_str)
    }

    fn root(&self) -> Option<(&String, &BTreeMap<String, String>)> {
        let mut devices = self.expanded_devices.iter();
        devices.find(|(_, d)| d.get("path").is_some_and(|path| path == "/"))
    }

    fn root_pool(&self) -> Option<&str> {
        self.root()?.1.get("pool").map(String::as_str)
    }

    /// Why it can't be moved while it runs: its state goes through a volume of its own, which is too small. Pools that every
    /// member reaches need none (`doc/howto/instances_migrate.md`).
    pub(super) fn too_large_to_move_live(&self, pools: &[StoragePool]) -> Option<String> {
        let (name, root) = self.root()?;
        let size = root.get("size.state").map_or("", String::as_str);
        let memory = self.memory(0);
        let fits = bytes(size, 0).unwrap_or(STATE) >= memory;
        let local = self.root_pool().is_some_and(|pool| !is_remote(pools, pool));
        (local && !fits).then(|| {
            format!(
                "its root disk is in a pool of its host, and there it moves live only with size.state of {} MiB or more: \
                 lxc config device set {} {name} size.state={}MiB",
                memory >> 20,
                self.name,
                memory >> 20
            )
        })
    }

    /// Bytes of memory that it needs on a member with this much.
    fn memory(&self, total: u64) -> u64 {
        let limit = self
            .set("limits.memory")
            .and_then(|text| bytes(text, total));
        let usage = self.state.as_ref().and_then(|s| s.memory.as_ref());
        let machine = self.kind != "container";
        limit.unwrap_or_else(|| match usage {
            _ if machine => MACHINE,
            Some(used) => used.bytes(),
            None => 0,
        })
    }

    /// Bytes on its root disk, where LXD knows.
    fn size(&self) -> u64 {
        let disks = self.state.as_ref().and_then(|s| s.disk.as_ref());
        disks.and_then(|d| d.get("root")).map_or(0, Used::bytes)
    }
}

/// An amount as LXD's configuration has it: `512MiB`, `2GB`, `50%` of `total`.
fn bytes(text: &str, total: u64) -> Option<u64> {
    let at = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: u64 = number.parse().ok()?;
    let factor = match unit {
        "" | "B" => 1,
        "%" => return (total / 100).checked_mul(number),
        "kB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// All instances, with what they use.
pub(super) async fn instances(cx: &Cx) -> Result<Vec<Detailed>, OpError> {
    query(cx, "/1.0/instances?recursion=2&all-projects=true").await
}

/// An instance, as a simulated one has to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceDetail {
    /// Its name.
    pub name: String,
    /// Its project.
    pub project: String,
    /// The member that it is on.
    pub location: String,
    /// `container` or `virtual-machine`.
    pub kind: String,
    /// Whether it runs.
    pub running: bool,
    /// Its configuration, profiles included.
    pub config: BTreeMap<String, String>,
    /// Its devices, profiles included.
    pub devices: BTreeMap<String, BTreeMap<String, String>>,
    /// Bytes of memory that it uses.
    pub memory: u64,
    /// Bytes on its root disk, as far as LXD knows.
    pub size: u64,
    /// Whether stopping it deletes it.
    pub ephemeral: bool,
}

/// All instances, and what is set for LXD as a whole.
pub(crate) async fn inventory(
    cx: &Cx,
) -> Result<(Vec<InstanceDetail>, BTreeMap<String, String>), OpError> {
    #[derive(Deserialize)]
    struct Configured {
        #[serde(default)]
        config: BTreeMap<String, serde_json::Value>,
    }
    let all = instances(cx)
        .await?
        .into_iter()
        .map(|instance| InstanceDetail {
            running: instance.runs(),
            memory: instance.memory(0),
            size: instance.size(),
            config: instance.expanded_config.unwrap_or(instance.config),
            devices: instance.expanded_devices,
            name: instance.name,
            project: instance.project,
            location: instance.location,
            kind: instance.kind,
            ephemeral: instance.ephemeral,
        });
    let Configured { config } = query(cx, "/1.0").await?;
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    // What else is set is nobody's business: there are passwords among it.
    let healing = config
        .into_iter()
        .filter(|(key, _)| key == "cluster.healing_threshold");
    let set = healing.map(|(key, value)| (key, text(value)));
    Ok((all.collect(), set.collect()))
}

/// The room on a member, and what an evacuation would ask of it.
pub(super) struct Place {
    total: u64,
    free: u64,
    wanted: u64,
    /// Free bytes and wanted bytes of each pool that is the member's own.
    pools: BTreeMap<String, (u64, u64)>,
}

#[derive(Deserialize)]
struct Resources {
    memory: Amount,
}

#[derive(Deserialize)]
struct PoolResources {
    space: Amount,
}

#[derive(Deserialize)]
struct Amount {
    #[serde(default)]
    used: u64,
    #[serde(default)]
    total: u64,
}

/// The room on a member.
pub(super) async fn place(
    cx: &Cx,
    member: &Member,
    pools: &[StoragePool],
) -> Result<Place, OpError> {
    let resources: Resources = query(cx, &format!("/1.0/resources?target={member}")).await?;
    let mut own = BTreeMap::new();
    for pool in pools
        .iter()
        .filter(|p| !REMOTE.contains(&p.driver.as_str()))
    {
        let path = format!("/1.0/storage-pools/{}/resources?target={member}", pool.name);
        let PoolResources { space } = query(cx, &path).await?;
        own.insert(
            pool.name.clone(),
            (space.total.saturating_sub(space.used), 0),
        );
    }
    let Amount { used, total } = resources.memory;
    Ok(Place {
        total,
        free: total.saturating_sub(used),
        wanted: 0,
        pools: own,
    })
}

impl Place {
    /// An instance would come here.
    pub(super) fn take(&mut self, instance: &Detailed, pools: &[StoragePool], live: bool) {
        if instance.runs() || live {
            let memory = instance.memory(self.total);
            self.wanted = self.wanted.saturating_add(memory);
        }
        if let Some(pool) = instance.root_pool().filter(|pool| !is_remote(pools, pool))
            && let Some((_, wanted)) = self.pools.get_mut(pool)
        {
            *wanted = wanted.saturating_add(instance.size());
        }
    }

    pub(super) fn overfull(&self, member: &Member) -> Vec<String> {
        let mib = |bytes: u64| bytes >> 20;
        let mut problems = Vec::new();
        if self.wanted > self.free {
            problems.push(format!(
                "{member} has {} MiB of memory free, and what would come to it needs {} MiB",
                mib(self.free),
                mib(self.wanted)
            ));
        }
        for (pool, (free, wanted)) in &self.pools {
            if wanted > free {
                problems.push(format!(
                    "the pool {pool} on {member} has {} MiB free, and what would come to it needs {} MiB",
                    mib(*free),
                    mib(*wanted)
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_lxd_writes_them() {
        let read = |text| bytes(text, 1000);
        assert_eq!(read("512MiB"), Some(512 << 20));
        assert_eq!(read("2GB"), Some(2_000_000_000));
        assert_eq!(read("10%"), Some(100));
        assert_eq!(read("77"), Some(77));
        assert_eq!(read("much"), None);
        assert_eq!(read("99999999999TiB"), None);
    }
}
