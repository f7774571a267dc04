//! `fleet inventory`, `preflight`, `stage` and `plan`: a command for each cluster by itself, and one table of what they said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;
use futures_util::stream::{self, StreamExt};
use lockstep_modules::contract::component::Component;
use lockstep_modules::ops::status::Status;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::bundle;
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::fleets::read;
use crate::cli::front::{runtime, state};
use crate::cli::params::Params;
use crate::cli::print;
use crate::cli::table::table;
use crate::fleet::{FleetCluster, Selector};

/// Which clusters are looked at.
#[derive(Args)]
pub(crate) struct Chosen {
    /// Only these clusters, for example country=de,tier!=1 or name=berlin-*
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    select: Option<String>,
    /// How many clusters at once
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..))]
    limit: u16,
}

/// What is listed.
#[derive(Args)]
pub(crate) struct InventoryArgs {
    #[command(flatten)]
    chosen: Chosen,
    /// Only clusters that are out of step, unhealthy or unreachable, or have other revisions than most
    #[arg(long)]
    drift: bool,
}

/// What is asked before an update or upgrade, and fetched for it.
#[derive(Args)]
pub(crate) struct AheadArgs {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    params: Params,
}

/// What is planned.
#[derive(Args)]
pub(crate) struct PlanArgs {
    /// Playbook: a Lua file, or the name of a shipped one
    playbook: String,
    #[command(flatten)]
    ahead: AheadArgs,
}

/// What a cluster's command came to: what it printed as JSON, or why it printed none.
type Said = Result<Value, String>;

/// Calls lockstep for each cluster, so many at once, and returns what each said, in the fleet's order.
fn survey(
    app: &App<'_>,
    file: Option<&Path>,
    chosen: &Chosen,
    words: &[String],
) -> Result<Vec<(FleetCluster, Said)>, Fault> {
    let (_, fleet) = read(file)?;
    let selector =
        Selector::parse(chosen.select.as_deref().unwrap_or_default()).map_err(Fault::usage)?;
    let all = fleet
        .clusters
        .iter()
        .map(|cluster| (cluster.name.as_str(), &cluster.labels));
    if let Some(why) = selector.complaint(&all) {
        return Err(Fault::usage(why));
    }
    let state = state(app.global)?;
    let selected = fleet
        .clusters
        .iter()
        .filter(|c| selector.selects(&c.name, &c.labels));
    let asked = selected.map(|cluster| {
        let state = state.clone();
        async move { (cluster.clone(), ask(words, &cluster.cluster, state).await) }
    });
    let runtime = runtime(false)?;
    let said = runtime.block_on(stream::iter(asked).buffered(chosen.limit.into()).collect());
    Ok(said)
}

/// Calls lockstep about a cluster. Whatever it is asked has a deadline of its own.
async fn ask(words: &[String], cluster: &str, state: PathBuf) -> Said {
    let mut command = Command::new("/proc/self/exe");
    command
        .args(words)
        .args(["--cluster", cluster, "--json", "--state"])
        .arg(state);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| error.to_string())?;
    let (stdout, stderr) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    // A run prints its events first, and its outcome last.
    let last = stdout.lines().next_back().unwrap_or_default();
    let value: Value = serde_json::from_str(last).map_err(|_| {
        stderr
            .trim()
            .lines()
            .next_back()
            .unwrap_or("it said nothing")
            .to_owned()
    })?;
    match value.get("error").and_then(Value::as_str) {
        Some(error) => Err(error.to_owned()),
        None => Ok(value),
    }
}

/// As one JSON list.
fn all(said: &[(FleetCluster, Said)]) -> Value {
    let one = |(cluster, said): &(FleetCluster, Said)| match said {
        Ok(value) => json!({"cluster": cluster.name, "said": value}),
        Err(error) => json!({"cluster": cluster.name, "error": error}),
    };
    said.iter().map(one).collect()
}

/// The revisions of a component on a cluster: one, or all that there are.
fn revisions(status: &Status, component: Component) -> String {
    let all: BTreeSet<String> = status
        .members
        .iter()
        .filter_map(|member| member.snaps.get(component.snap()))
        .map(|snap| format!("{} {}", snap.revision, snap.channel))
        .collect();
    match all.len() {
        0 => "-".to_owned(),
        _ => all.into_iter().collect::<Vec<_>>().join(", "),
    }
}

/// What most clusters have.
fn usual<'a>(all: impl Iterator<Item = &'a [String; 4]>) -> Option<[String; 4]> {
    let mut counts: BTreeMap<&[String; 4], usize> = BTreeMap::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    counts
        .into_iter()
        .max_by_key(|(_, count)| *count)
        .map(|(one, _)| one.clone())
}

/// Lists what runs on each cluster, and how it is.
pub(crate) fn inventory(
    app: &App<'_>,
    file: Option<&Path>,
    args: &InventoryArgs,
) -> Result<Exit, Fault> {
    let mut said = survey(app, file, &args.chosen, &["status".to_owned()])?;
    let has = |said: &Said| {
        let status = Status::deserialize(said.as_ref().ok()?).ok()?;
        Some((
            Component::ALL.map(|component| revisions(&status, component)),
            status,
        ))
    };
    let known: Vec<_> = said.iter().map(|(_, said)| has(said)).collect();
    let usual = usual(known.iter().flatten().map(|(revisions, _)| revisions));
    let is_odd = |known: &Option<([String; 4], Status)>| {
        known.as_ref().is_none_or(|(revisions, status)| {
            !status.in_step || !status.healthy || Some(revisions) != usual.as_ref()
        })
    };
    let odd: Vec<bool> = known.iter().map(is_odd).collect();
    if app.global.json {
        let mut odd = odd.iter();
        said.retain(|_| !args.drift || odd.next().copied().unwrap_or(true));
        print::json(&all(&said));
        return Ok(Exit::Done);
    }
    let mut table = table(["CLUSTER", "", "MICROCEPH", "MICROOVN", "LXD", "MICROCLOUD"]);
    let mut shown = 0;
    for (((cluster, said), known), odd) in said.iter().zip(&known).zip(&odd) {
        if args.drift && !odd {
            continue;
        }
        shown += 1;
        let mut row = vec![cluster.name.clone()];
        match (known, said) {
            (Some((revisions, status)), _) => {
                row.push(status.brief());
                row.extend(revisions.iter().cloned());
            }
            (None, Err(error)) => row.push(error.clone()),
            (None, Ok(_)) => row.push("its status can't be read".to_owned()),
        }
        table.add_row(row);
    }
    match (shown, args.drift) {
        (0, true) => out!(
            "all {} clusters are in step, healthy, and have the same revisions",
            said.len()
        ),
        _ => out!("{}", table.trim_fmt()),
    }
    Ok(if odd.iter().any(|odd| *odd) {
        Exit::NotWell
    } else {
        Exit::Done
    })
}

/// The words of a command that takes parameters.
fn with_params(words: &[&str], params: &Params) -> Vec<String> {
    let pairs = params.typed().iter().flat_map(|(name, value)| {
        let value = value.as_str().unwrap_or_default();
        ["-p".to_owned(), format!("{name}={value}")]
    });
    words
        .iter()
        .map(|word| (*word).to_owned())
        .chain(pairs)
        .collect()
}

/// Checks whether an update, or the upgrade that the parameters name, can start on each cluster.
pub(crate) fn preflight(
    app: &App<'_>,
    file: Option<&Path>,
    args: &AheadArgs,
) -> Result<Exit, Fault> {
    let words = with_params(&["preflight"], &args.params);
    let said = survey(app, file, &args.chosen, &words)?;
    let ready = |said: &Said| said.as_ref().is_ok_and(|value| value["ok"] == json!(true));
    let exit = if said.iter().all(|(_, said)| ready(said)) {
        Exit::Done
    } else {
        Exit::Refused
    };
    if app.global.json {
        print::json(&all(&said));
        return Ok(exit);
    }
    let mut table = table(["CLUSTER", "READY", "BECAUSE OF"]);
    for (cluster, said) in &said {
        let why = match said {
            Ok(value) => against(value),
            Err(error) => error.clone(),
        };
        table.add_row([
            cluster.name.as_str(),
            if ready(said) { "yes" } else { "no" },
            &why,
        ]);
    }
    out!("{}", table.trim_fmt());
    Ok(exit)
}

/// The checks that failed, each with the first of its evidence.
fn against(report: &Value) -> String {
    let checks = report["checks"].as_array().into_iter().flatten();
    let failed = checks
        .filter(|check| check["verdict"] != json!("pass") && check["verdict"] != json!("accepted"));
    let line = |check: &Value| {
        let name = check["name"].as_str().unwrap_or_default();
        match check["evidence"][0].as_str() {
            Some(evidence) => format!("{name}: {evidence}"),
            None => name.to_owned(),
        }
    };
    failed.map(line).collect::<Vec<_>>().join("\n")
}

/// Fetches the snaps of an update, or of the upgrade that the parameters name, on each cluster.
pub(crate) fn stage(app: &App<'_>, file: Option<&Path>, args: &AheadArgs) -> Result<Exit, Fault> {
    let words = with_params(&["stage"], &args.params);
    let said = survey(app, file, &args.chosen, &words)?;
    let done = |said: &Said| {
        said.as_ref()
            .is_ok_and(|value| value["outcome"] == json!("done"))
    };
    let exit = if said.iter().all(|(_, said)| done(said)) {
        Exit::Done
    } else {
        Exit::Failed
    };
    if app.global.json {
        print::json(&all(&said));
        return Ok(exit);
    }
    let mut table = table(["CLUSTER", "STAGED", "RUN"]);
    for (cluster, said) in &said {
        let (outcome, run) = match said {
            Ok(value) => (
                value["outcome"].as_str().unwrap_or("unknown"),
                value["run"].as_str().unwrap_or_default(),
            ),
            Err(error) => (error.as_str(), ""),
        };
        table.add_row([cluster.name.as_str(), outcome, run]);
    }
    out!("{}", table.trim_fmt());
    Ok(exit)
}

/// Clusters with the same plan but for the names of their members.
#[derive(Default)]
struct Group {
    clusters: Vec<String>,
    steps: usize,
    end: String,
}

/// Plans a playbook for each cluster, and shows plans that differ only in names as one.
pub(crate) fn plan(app: &App<'_>, file: Option<&Path>, args: &PlanArgs) -> Result<Exit, Fault> {
    let words = with_params(&["plan", &args.playbook], &args.ahead.params);
    let said = survey(app, file, &args.ahead.chosen, &words)?;
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut unplanned = Vec::new();
    for (cluster, said) in &said {
        match said {
            Ok(plan) => {
                let group = groups.entry(digest(plan)).or_default();
                group.clusters.push(cluster.name.clone());
                group.steps = plan["steps"].as_array().map_or(0, Vec::len);
                group.end = plan["end"].as_str().unwrap_or("not known").to_owned();
            }
            Err(error) => unplanned.push((cluster.name.as_str(), error.as_str())),
        }
    }
    let exit = if unplanned.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    };
    if app.global.json {
        let groups = groups.iter().map(|(digest, group)| {
            json!({"plan": digest, "clusters": group.clusters, "steps": group.steps, "end": group.end})
        });
        let failed = unplanned
            .iter()
            .map(|(cluster, error)| json!({"cluster": cluster, "error": error}));
        print::json(
            &json!({"plans": groups.collect::<Value>(), "unplanned": failed.collect::<Value>()}),
        );
        return Ok(exit);
    }
    let mut table = table(["PLAN", "CLUSTERS", "STEPS", "ENDS", "WHICH"]);
    for (digest, group) in &groups {
        let which = match group.clusters.as_slice() {
            [a, b, c, _, rest @ ..] => format!("{a}, {b}, {c} and {} more", rest.len() + 1),
            few => few.join(", "),
        };
        table.add_row([
            &digest[..8],
            &group.clusters.len().to_string(),
            &group.steps.to_string(),
            &group.end,
            &which,
        ]);
    }
    out!("{}", table.trim_fmt());
    for (cluster, error) in &unplanned {
        out!("{cluster}: {error}");
    }
    if let Some(first) = said.first() {
        out!(
            "\nSee one in full with: lockstep plan {} --cluster {}",
            args.playbook,
            first.0.cluster
        );
    }
    Ok(exit)
}

/// What is the same in two plans that differ only in the names of clusters and members: what is changed, in which order, and to
/// what. What is merely read differs from cluster to cluster.
fn digest(plan: &Value) -> String {
    let steps = plan["steps"].as_array().into_iter().flatten();
    let changes = steps.filter(|step| step["effect"] != json!("read"));
    let line = |step: &Value| {
        let words = ["path", "op", "headline", "summary"].map(|field| step[field].to_string());
        words.join(" ") + "\n"
    };
    let mut text: String = changes.map(line).collect();
    let members = plan["members"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    for (i, member) in members.enumerate() {
        text = text.replace(member, &format!("member {}", i + 1));
    }
    bundle::digest(&text)
}
