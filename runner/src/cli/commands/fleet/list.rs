//! `fleet list`: the clusters.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::fleets::read;
use crate::cli::print;
use crate::cli::table::table;
use crate::fleet::{Rollout, Selector};

/// Which clusters are listed.
#[derive(Args)]
pub(crate) struct ListArgs {
    /// Only these clusters, for example country=de,tier!=1 or name=berlin-*
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    select: Option<String>,
}

pub(crate) fn list(app: &App<'_>, file: Option<&Path>, args: &ListArgs) -> Result<Exit, Fault> {
    let (_, fleet) = read(file)?;
    let chosen =
        Selector::parse(args.select.as_deref().unwrap_or_default()).map_err(Fault::usage)?;
    let all = fleet
        .clusters
        .iter()
        .map(|cluster| (cluster.name.as_str(), &cluster.labels));
    if let Some(why) = chosen.complaint(&all) {
        return Err(Fault::usage(why));
    }
    // Rings that don't work out are a mistake in the file, whichever clusters are listed.
    let rollout = Rollout::of(&fleet, "", "", &Map::new(), &Selector::default())?;
    let rings: BTreeMap<&str, &str> = rollout
        .rings
        .iter()
        .flat_map(|ring| {
            ring.clusters
                .iter()
                .map(|entry| (entry.name.as_str(), ring.name.as_str()))
        })
        .collect();
    let clusters = fleet
        .clusters
        .iter()
        .filter(|c| chosen.selects(&c.name, &c.labels));
    if app.global.json {
        let clusters = clusters.map(|c| {
            json!({
                "cluster": c.name, "file": c.cluster, "ring": rings.get(c.name.as_str()), "labels": c.labels,
                "window": c.window, "executor": c.executor,
            })
        });
        print::json(&clusters.collect::<Value>());
        return Ok(Exit::Done);
    }
    let mut table = table(["CLUSTER", "RING", "WINDOW", "LABELS", "FILE"]);
    for cluster in clusters {
        let labels: Vec<String> = cluster
            .labels
            .iter()
            .map(|(label, value)| format!("{label}={value}"))
            .collect();
        table.add_row([
            cluster.name.as_str(),
            rings.get(cluster.name.as_str()).unwrap_or(&""),
            cluster.window.as_deref().unwrap_or("any time"),
            &labels.join(","),
            &cluster.cluster,
        ]);
    }
    out!("{}", table.trim_fmt());
    Ok(Exit::Done)
}
