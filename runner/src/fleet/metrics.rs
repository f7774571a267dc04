//! The figures of a rollout.

use std::collections::BTreeMap;
use std::path::Path;

use lockstep_modules::contract::standing::Standing;

use super::progress::Progress;
use crate::metrics::{self, Metric};

impl Progress {
    /// Writes the rollout's figures to a file that node_exporter collects.
    pub(crate) fn write_metrics(&self, file: &Path) -> std::io::Result<()> {
        let about = vec![
            ("fleet", self.fleet.as_str()),
            ("rollout", self.rollout.as_str()),
        ];
        let (mut clusters, mut budgets) = (Vec::new(), Vec::new());
        for ring in &self.rings {
            let mut states: BTreeMap<&str, i64> = BTreeMap::new();
            for cluster in &ring.clusters {
                *states
                    .entry(cluster.state.map_or("waiting", Standing::word))
                    .or_default() += 1;
            }
            let label = ("ring", ring.ring.as_str());
            let states = states.into_iter();
            clusters.extend(states.map(|(state, count)| (vec![label, ("state", state)], count)));
            budgets.push((vec![label], i64::from(ring.budget)));
        }
        let metrics = [
            Metric {
                name: "lockstep_rollout_clusters",
                help: "Clusters of a rollout, by ring and state.",
                rows: clusters,
            },
            Metric {
                name: "lockstep_rollout_budget",
                help: "How many clusters of a ring may stop before their end.",
                rows: budgets,
            },
            Metric {
                name: "lockstep_rollout_state",
                help: "Where the rollout itself stands.",
                rows: vec![(vec![("state", self.state.word())], 1)],
            },
        ];
        metrics::write(file, &about, &metrics)
    }
}
