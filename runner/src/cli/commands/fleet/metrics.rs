//! A rollout as a file that Prometheus' node_exporter collects (its textfile collector).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use lockstep_modules::contract::standing::Standing;

use crate::fleet::Progress;
use crate::private::{self, Over, SHARED};

/// Writes a rollout's figures. A reader finds the old file or the new one, and never half of one.
pub(super) fn write(file: &Path, progress: &Progress) -> std::io::Result<()> {
    private::place(file, &text(progress), SHARED, Over::Anything)
}

/// What is measured: name, help, and rows of labels with a value.
type Metric<'a> = (&'a str, &'a str, Vec<(Vec<(&'a str, &'a str)>, usize)>);

fn text(progress: &Progress) -> String {
    let about = [
        ("fleet", progress.fleet.as_str()),
        ("rollout", progress.rollout.as_str()),
    ];
    let (mut clusters, mut budgets) = (Vec::new(), Vec::new());
    for ring in &progress.rings {
        let mut states: BTreeMap<&str, usize> = BTreeMap::new();
        for cluster in &ring.clusters {
            *states
                .entry(cluster.state.map_or("waiting", Standing::word))
                .or_default() += 1;
        }
        let label = ("ring", ring.ring.as_str());
        clusters.extend(
            states
                .into_iter()
                .map(|(state, count)| (vec![label, ("state", state)], count)),
        );
        budgets.push((vec![label], ring.budget as usize));
    }
    let state = (vec![("state", progress.state.word())], 1);
    let metrics: [Metric<'_>; 3] = [
        (
            "lockstep_rollout_clusters",
            "Clusters of a rollout, by ring and state.",
            clusters,
        ),
        (
            "lockstep_rollout_budget",
            "How many clusters of a ring may stop before their end.",
            budgets,
        ),
        (
            "lockstep_rollout_state",
            "Where the rollout itself stands.",
            vec![state],
        ),
    ];
    let mut text = String::new();
    for (name, help, rows) in metrics {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, value) in rows {
            let labels: Vec<String> = about
                .iter()
                .chain(&labels)
                .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
                .collect();
            let _ = writeln!(text, "{name}{{{}}} {value}", labels.join(","));
        }
    }
    text
}

/// As the exposition format has it.
fn escaped(value: &str) -> String {
    value
        .replace('\\', r"\\")
        .replace('"', "\\\"")
        .replace('\n', r"\n")
}
