//! Which cluster is in which ring: resolved once, when a rollout begins.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lockstep_modules::contract::schema::Span;
use lockstep_modules::ops::time::Hours;
use lockstep_twin::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::executor::ExecutorConfig;
use super::file::{Amount, Fleet, FleetCluster, FleetError, RingFile};
use super::select::{Labels, Selector};
use super::specs::Spec;
use crate::config::Notify;

/// A rollout, as its run's parameters have it: whatever becomes of the file, this is what is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// The fleet.
    pub fleet: String,
    /// What is played on each cluster: a shipped playbook's name, or a file.
    pub playbook: String,
    /// The fingerprint of what is played: it is the same for all clusters, or no run begins.
    #[serde(default)]
    pub fingerprint: String,
    /// The rings, in order.
    pub rings: Vec<Ring>,
    /// Executors by name.
    pub executors: BTreeMap<String, ExecutorConfig>,
    /// The folder of playbooks in place of the shipped ones, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub playbooks: Option<PathBuf>,
    /// The folder of the site's module programs, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules: Option<PathBuf>,
    /// The ssh_config in place of the user's own, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_config: Option<PathBuf>,
}

/// Clusters that are taken together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ring {
    /// Its name.
    pub name: String,
    /// How many at once.
    pub limit: u32,
    /// How many may stop before their end; one more, and nothing more is begun.
    pub budget: u32,
    /// For how long the next ring waits, after which these are looked at again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soak: Option<Span>,
    /// The operator is asked before it begins.
    pub approve: bool,
    /// What a run will install is fetched before the cluster's window is waited for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stage: bool,
    /// Its clusters, in the order in which they begin.
    pub clusters: Vec<Entry>,
}

/// A cluster in a ring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Its name in the fleet.
    pub name: String,
    /// Its cluster file, or a simulated cluster.
    pub cluster: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// What begins its run.
    pub executor: String,
    /// When its run may begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<Hours>,
    /// The parameters of its run.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub params: Map<String, Value>,
    /// Every question of its run is answered with yes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub yes: bool,
    /// Its run begins only if its plan is one that was approved, and then keeps to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approve_plan: bool,
    /// What goes wrong on a simulated cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
}

impl Entry {
    /// Whether the cluster is simulated: a file is an absolute path.
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        !Path::new(&self.cluster).is_absolute()
    }
}

impl Rollout {
    /// Takes a fleet's clusters into its rings. `name` is the playbook's, by which parameters are given to it; `typed` are those
    /// that somebody typed, which win; `chosen` are the clusters that are meant.
    ///
    /// # Errors
    /// Where a ring has no cluster, or a cluster no ring.
    pub fn of(
        fleet: &Fleet,
        playbook: &str,
        name: &str,
        typed: &Map<String, Value>,
        chosen: &Selector,
    ) -> Result<Self, FleetError> {
        let all = fleet
            .clusters
            .iter()
            .map(|cluster| (cluster.name.as_str(), &cluster.labels));
        if let Some(why) = chosen.complaint(&all) {
            return Err(FleetError::Rings(why));
        }
        let chosen: Vec<&FleetCluster> = fleet
            .clusters
            .iter()
            .filter(|cluster| chosen.selects(&cluster.name, &cluster.labels))
            .collect();
        if chosen.is_empty() {
            return Err(FleetError::Rings("no cluster is selected".to_owned()));
        }
        let partial = chosen.len() < fleet.clusters.len();
        let rings = rings(fleet, chosen, partial)?;
        let rings = rings.into_iter().map(|(ring, clusters)| {
            let budget = ring.budget.of(clusters.len());
            Ring {
                name: ring.name,
                limit: ring.limit,
                budget: u32::try_from(budget).unwrap_or(u32::MAX),
                soak: ring.soak,
                approve: ring.approve,
                stage: ring.stage,
                clusters: clusters
                    .into_iter()
                    .map(|c| Entry {
                        approve_plan: ring.approve_plans,
                        ..entry(fleet, c, name, typed)
                    })
                    .collect(),
            }
        });
        Ok(Self {
            fleet: fleet.name.clone(),
            playbook: playbook.to_owned(),
            fingerprint: String::new(),
            rings: rings.collect(),
            executors: fleet.executors.clone(),
            playbooks: None,
            modules: None,
            ssh_config: None,
        })
    }

    /// All clusters, in the order in which they begin.
    pub fn clusters(&self) -> impl Iterator<Item = &Entry> {
        self.rings.iter().flat_map(|ring| &ring.clusters)
    }

    /// What is run on a cluster. Who gets to know of it isn't among the parameters: their URLs may be secret.
    pub(crate) fn spec(&self, entry: &Entry) -> Spec {
        Spec {
            cluster: entry.cluster.clone(),
            labels: entry.labels.clone(),
            playbook: self.playbook.clone(),
            fingerprint: self.fingerprint.clone(),
            params: entry.params.clone(),
            yes: entry.yes,
            approve_plan: entry.approve_plan,
            faults: entry.faults.clone(),
            playbooks: self.playbooks.clone(),
            modules: self.modules.clone(),
            ssh_config: self.ssh_config.clone(),
            notify: Notify::default(),
        }
    }
}

/// The rings of a fleet that declares none: one cluster after the other, and none may fail.
fn single() -> RingFile {
    RingFile {
        name: "all".to_owned(),
        select: String::new(),
        share: None,
        limit: 1,
        budget: Amount::default(),
        soak: None,
        approve: false,
        approve_plans: false,
        stage: false,
    }
}

/// Each ring with its clusters: the first ring that a cluster fits has it. Of a part of the fleet, rings may stay empty.
fn rings<'a>(
    fleet: &Fleet,
    mut left: Vec<&'a FleetCluster>,
    partial: bool,
) -> Result<Vec<(RingFile, Vec<&'a FleetCluster>)>, FleetError> {
    let declared = match fleet.rings.as_slice() {
        [] => vec![single()],
        rings => rings.to_vec(),
    };
    let mut rings = Vec::new();
    for ring in declared {
        let wrong = |what: String| FleetError::Rings(format!("the ring {:?}: {what}", ring.name));
        let selector = Selector::parse(&ring.select).map_err(wrong)?;
        let all = fleet
            .clusters
            .iter()
            .map(|cluster| (cluster.name.as_str(), &cluster.labels));
        if let Some(why) = selector.complaint(&all) {
            return Err(wrong(why));
        }
        let fits = |cluster: &&FleetCluster| selector.selects(&cluster.name, &cluster.labels);
        let (mut clusters, others): (Vec<_>, Vec<_>) = left.into_iter().partition(fits);
        left = others;
        if let Some(share) = ring.share {
            // The same clusters each time, and none for its place in the file.
            clusters.sort_by_cached_key(|cluster| lot(&ring.name, &cluster.name));
            let count = share.of(clusters.len()).max(1).min(clusters.len());
            left.extend(clusters.split_off(count));
        }
        if clusters.is_empty() {
            if partial {
                continue;
            }
            return Err(wrong(
                "no cluster is left for it: those that it selects are in the rings before it"
                    .to_owned(),
            ));
        }
        rings.push((ring, clusters));
    }
    if !left.is_empty() {
        let (count, first) = (left.len(), left[0].name.clone());
        let who = if count == 1 {
            first
        } else {
            format!("{first} and {} more", count - 1)
        };
        return Err(FleetError::Rings(format!(
            "{who} would be in no ring: add a last ring without `select`, or leave them out with --select"
        )));
    }
    Ok(rings)
}

/// A cluster's place among those of a ring with a share.
fn lot(ring: &str, cluster: &str) -> Vec<u8> {
    Sha256::digest(format!("{ring}\0{cluster}")).to_vec()
}

fn entry(fleet: &Fleet, cluster: &FleetCluster, name: &str, typed: &Map<String, Value>) -> Entry {
    let mut params = cluster.params.get(name).cloned().unwrap_or_default();
    params.extend(typed.clone());
    Entry {
        name: cluster.name.clone(),
        cluster: cluster.cluster.clone(),
        labels: cluster.labels.clone(),
        executor: cluster.executor.clone(),
        window: cluster
            .window
            .as_ref()
            .and_then(|name| fleet.windows.get(name))
            .cloned(),
        params,
        yes: cluster.yes,
        approve_plan: false,
        faults: cluster.faults.clone(),
    }
}
