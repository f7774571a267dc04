//! `status.snapshot`: everything about a cluster that a simulated one needs to be like it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Status;
use super::lasting::{self, Area};
use crate::contract::component::Component;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::ops::lxd::{self, Bucket, InstanceDetail, StoragePool};
use crate::ops::microovn::Placement;
use crate::ops::preflight::{self, Machine};
use crate::ops::snap::{self, Update};
use crate::products::ceph::{self, Picture, Raised};
use crate::products::snapd;

/// Look at everything about the cluster that a simulated one needs to be like it. It changes nothing.
///
/// What can't be read is reported, and left out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SnapshotArgs {}

/// A cluster, to be simulated.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SnapshotOut {
    /// What `status.read` tells.
    pub status: Status,
    /// What the store offers to each member, by member and snap.
    pub updates: BTreeMap<Member, BTreeMap<String, Update>>,
    /// What the store has in every channel, by snap and channel.
    pub channels: BTreeMap<String, BTreeMap<String, Update>>,
    /// Ceph, where there is MicroCeph.
    pub storage: Option<StorageSnapshot>,
    /// OVN, where there is MicroOVN.
    pub network: Option<Placement>,
    /// LXD's instances.
    pub instances: Vec<InstanceDetail>,
    /// LXD's configuration.
    pub config: BTreeMap<String, String>,
    /// What must be the same after a run, and what of it could not be read: that is no part of what is simulated.
    #[serde(default)]
    pub(crate) lasting: Vec<Area>,
    /// LXD's storage pools.
    #[serde(default)]
    pub pools: Vec<StoragePool>,
    /// LXD's buckets in pools that aren't Ceph's own object storage, where LXD can tell.
    #[serde(default)]
    pub buckets: Vec<Bucket>,
    /// Each member's machine.
    #[serde(default)]
    pub machines: BTreeMap<Member, Machine>,
    /// What could not be read, in sentences.
    pub unknown: Vec<String>,
}

/// Where Ceph's daemons are.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StorageSnapshot {
    /// Members with a monitor.
    pub monitors: Vec<String>,
    /// The member whose manager is active.
    pub manager: String,
    /// The OSDs of each member.
    pub osds: BTreeMap<String, Vec<i64>>,
    /// Flags of the whole cluster.
    pub flags: Vec<String>,
    /// Flags of single hosts.
    pub host_flags: BTreeMap<String, Vec<String>>,
    /// How many placement groups there are.
    pub pgs: u64,
    /// The modules of the manager that are switched on beside those that always are, where it can tell.
    #[serde(default)]
    pub modules: BTreeSet<String>,
    /// The health checks that are raised.
    #[serde(default)]
    pub raised: Vec<Raised>,
}

/// `status.snapshot`
pub struct Snapshot;

impl Op for Snapshot {
    const NAME: &'static str = "status.snapshot";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(10 * 60);
    type Args = SnapshotArgs;
    type Out = SnapshotOut;

    fn summary(out: &SnapshotOut) -> String {
        let read = format!("{}; {} instances", out.status.brief(), out.instances.len());
        if out.unknown.is_empty() {
            return read;
        }
        format!("{read}; not seen: {}", out.unknown.join("; "))
    }

    async fn run(cx: &Cx, _: SnapshotArgs) -> Result<SnapshotOut, OpError> {
        let status = super::read(cx).await;
        let mut unknown: Vec<String> = Vec::new();
        for member in &status.members {
            unknown.extend(member.problem.clone());
        }
        let having = |component: Component| {
            let has = |m: &&super::MemberStatus| m.snaps.contains_key(component.snap());
            let has = status.members.iter().filter(has);
            has.map(|m| m.name.clone()).collect::<Vec<_>>()
        };
        let names = cx.members();
        let offers = join_all(names.iter().map(|member| snap::updates(cx, member))).await;
        let mut updates = BTreeMap::new();
        for (member, offer) in names.iter().zip(offers) {
            if let Some(offer) = seen(offer, &format!("updates of {member}"), &mut unknown) {
                updates.insert(member.clone(), offer);
            }
        }
        let mut channels = BTreeMap::new();
        for component in Component::ALL {
            let snap = component.snap();
            if !having(component).is_empty()
                && let Some(map) = seen(
                    snapd::channels(cx, snap).await,
                    &format!("channels of {snap}"),
                    &mut unknown,
                )
            {
                let map = map.into_iter();
                channels.insert(
                    snap.to_owned(),
                    map.map(|(name, has)| (name, has.into())).collect(),
                );
            }
        }
        let mut storage = match having(Component::Microceph) {
            members if members.is_empty() => None,
            members => seen(
                Picture::take(cx, &members).await.map(storage),
                "Ceph",
                &mut unknown,
            ),
        };
        if let Some(storage) = &mut storage {
            // A preflight asks again where anything depends on it; a likeness does without.
            storage.modules = ceph::manager_modules(cx).await.unwrap_or_default();
        }
        let network = match having(Component::Microovn) {
            members if members.is_empty() => None,
            _ => seen(
                crate::ops::microovn::placement(cx).await,
                "OVN",
                &mut unknown,
            ),
        };
        let (mut instances, mut config) = (Vec::new(), BTreeMap::new());
        if !having(Component::Lxd).is_empty()
            && let Some((all, set)) = seen(
                crate::ops::lxd::inventory(cx).await,
                "LXD's instances",
                &mut unknown,
            )
        {
            (instances, config) = (all, set);
        }
        let (mut pools, mut buckets) = (Vec::new(), Vec::new());
        if !having(Component::Lxd).is_empty() {
            let read = seen(lxd::pools(cx).await, "LXD's storage pools", &mut unknown);
            pools = read.unwrap_or_default();
            // An LXD that is too old to tell has none that matter: see lxd::local_buckets.
            buckets = lxd::local_buckets(cx).await.unwrap_or_default();
        }
        let machines = preflight::machines(cx).await;
        Ok(SnapshotOut {
            lasting: lasting::look(cx).await,
            status,
            updates,
            channels,
            storage,
            network,
            instances,
            config,
            pools,
            buckets,
            machines,
            unknown,
        })
    }
}

/// What was read; otherwise why not, in a list.
fn seen<T>(result: Result<T, OpError>, what: &str, unknown: &mut Vec<String>) -> Option<T> {
    result
        .map_err(|error| unknown.push(format!("{what}: {error}")))
        .ok()
}

fn storage(picture: Picture) -> StorageSnapshot {
    StorageSnapshot {
        monitors: picture.mons.names().map(str::to_owned).collect(),
        osds: picture.tree.by_host(),
        flags: picture.dump.flags_set.clone(),
        host_flags: picture.dump.crush_node_flags.clone(),
        pgs: picture.status.pg_states().values().sum(),
        manager: picture.mgr.active_name,
        modules: BTreeSet::new(),
        raised: picture.status.raised(),
    }
}
