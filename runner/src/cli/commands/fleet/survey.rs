//! `fleet inventory`, `preflight`, `stage` and `plan`: a command for each cluster by itself, and one table of what they said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;
use futures_util::stream::{self, StreamExt};
use lockstep_modules::contract::cmd::quote;
use lockstep_modules::contract::component::Component;
use lockstep_modules::ops::preflight::Check;
use lockstep_modules::ops::status::Status;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use tokio::process::Command;

use crate::cli::app::App;
use crate::cli::commands::playbook::main_of;
use crate::cli::exit::{Exit, Fault};
use crate::cli::fleets::read;
use crate::cli::front::runtime;
use crate::cli::params::Params;
use crate::cli::print;
use crate::cli::table::table;
use crate::event::Outcome;
use crate::fleet::{FleetCluster, Selector};
use crate::plan::{DIGITS, End, Plan};

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
    words: impl Fn(&FleetCluster) -> Vec<String>,
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
    let globals = globals(app)?;
    let selected = fleet
        .clusters
        .iter()
        .filter(|c| selector.selects(&c.name, &c.labels));
    let asked = selected.map(|cluster| {
        let words = [words(cluster), globals.clone()].concat();
        async move { (cluster.clone(), ask(&words, &cluster.cluster).await) }
    });
    let runtime = runtime()?;
    let said = runtime.block_on(stream::iter(asked).buffered(chosen.limit.into()).collect());
    Ok(said)
}

/// What was typed for all commands, for those that are called.
fn globals(app: &App<'_>) -> Result<Vec<String>, Fault> {
    let text = |path: &PathBuf| path.display().to_string();
    let given = [
        ("--state", Some(state(app)?)),
        ("--playbooks", app.global.playbooks.as_ref().map(text)),
        ("--modules", app.global.modules.as_ref().map(text)),
        ("--ssh-config", app.global.ssh_config.clone()),
    ];
    let given = given
        .into_iter()
        .filter_map(|(flag, value)| Some([flag.to_owned(), value?]));
    Ok(given.flatten().collect())
}

/// Where runs are, without connecting to it.
fn state(app: &App<'_>) -> Result<String, Fault> {
    match app.global.store() {
        Some(url) => Ok(url.to_owned()),
        None => Ok(app.runs()?.word()),
    }
}

/// Calls lockstep about a cluster. Whatever it is asked has a deadline of its own.
async fn ask(words: &[String], cluster: &str) -> Said {
    let mut command = Command::new("/proc/self/exe");
    command.args(words).args(["--cluster", cluster, "--json"]);
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
    match status.revisions(component).as_slice() {
        [] => "-".to_owned(),
        all => all.join(", "),
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
    let mut said = survey(app, file, &args.chosen, |_| vec!["status".to_owned()])?;
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

/// The words that plan a playbook with parameters.
pub(super) fn plan_of(playbook: &str, params: &Map<String, Value>) -> Vec<String> {
    let params = params
        .iter()
        .flat_map(|(name, value)| ["-p".to_owned(), format!("{name}={}", typed(value))]);
    let plan = ["plan".to_owned(), playbook.to_owned()];
    plan.into_iter().chain(params).collect()
}

/// Words for a cluster, as somebody types them.
pub(super) fn typed_for(words: &[String], cluster: &str) -> String {
    let words = words.iter().map(String::as_str);
    let words: Vec<String> = words.chain(["--cluster", cluster]).map(quote).collect();
    format!("lockstep {}", words.join(" "))
}

/// A value of the fleet's file, as it is typed.
fn typed(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(all) => all.iter().map(typed).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// What `lockstep preflight` says, as far as it is shown.
#[derive(Deserialize)]
struct Readiness {
    ok: bool,
    checks: Vec<Check>,
}

/// Checks whether an update, or the upgrade that the parameters name, can start on each cluster.
pub(crate) fn preflight(
    app: &App<'_>,
    file: Option<&Path>,
    args: &AheadArgs,
) -> Result<Exit, Fault> {
    let words = with_params(&["preflight"], &args.params);
    let said = survey(app, file, &args.chosen, |_| words.clone())?;
    let known: Vec<Result<Readiness, String>> =
        said.iter().map(|(_, said)| read_as(said)).collect();
    let ready =
        |known: &Result<Readiness, String>| known.as_ref().is_ok_and(|readiness| readiness.ok);
    let exit = if known.iter().all(ready) {
        Exit::Done
    } else {
        Exit::Refused
    };
    if app.global.json {
        print::json(&all(&said));
        return Ok(exit);
    }
    let mut table = table(["CLUSTER", "READY", "BECAUSE OF"]);
    for ((cluster, _), known) in said.iter().zip(&known) {
        let why = match known {
            Ok(readiness) => against(&readiness.checks),
            Err(error) => error.clone(),
        };
        let answer = if ready(known) { "yes" } else { "no" };
        table.add_row([cluster.name.as_str(), answer, &why]);
    }
    out!("{}", table.trim_fmt());
    Ok(exit)
}

/// The checks that speak against it, each with the first of its evidence.
fn against(checks: &[Check]) -> String {
    let against = checks.iter().filter(|check| check.is_against());
    let lines = against.map(|check| match check.evidence.first() {
        Some(evidence) => format!("{}: {evidence}", check.name),
        None => check.name.clone(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// How a run ended, as it is printed last.
#[derive(Deserialize)]
struct Ended {
    run: String,
    outcome: Outcome,
}

/// Fetches the snaps of an update, or of the upgrade that the parameters name, on each cluster.
pub(crate) fn stage(app: &App<'_>, file: Option<&Path>, args: &AheadArgs) -> Result<Exit, Fault> {
    let words = with_params(&["stage"], &args.params);
    let said = survey(app, file, &args.chosen, |_| words.clone())?;
    let known: Vec<Result<Ended, String>> = said.iter().map(|(_, said)| read_as(said)).collect();
    let done = |known: &Result<Ended, String>| {
        known
            .as_ref()
            .is_ok_and(|ended| ended.outcome == Outcome::Done)
    };
    let exit = if known.iter().all(done) {
        Exit::Done
    } else {
        Exit::Failed
    };
    if app.global.json {
        print::json(&all(&said));
        return Ok(exit);
    }
    let mut table = table(["CLUSTER", "STAGED", "RUN"]);
    for ((cluster, _), known) in said.iter().zip(&known) {
        let (how, run) = match known {
            Ok(ended) => (if done(known) { "yes" } else { "no" }, ended.run.as_str()),
            Err(error) => (error.as_str(), ""),
        };
        table.add_row([cluster.name.as_str(), how, run]);
    }
    out!("{}", table.trim_fmt());
    Ok(exit)
}

/// What a command printed, as what it should be.
fn read_as<T: DeserializeOwned>(said: &Said) -> Result<T, String> {
    let value = said.as_ref().map_err(String::clone)?;
    T::deserialize(value)
        .map_err(|error| format!("it printed something else than expected: {error}"))
}

/// Clusters with the same plan but for the names of their members.
#[derive(Default)]
struct Group {
    clusters: Vec<String>,
    steps: usize,
    /// Whether it is known up to the playbook's end.
    ends: bool,
}

/// Plans a playbook for each cluster, and shows plans that differ only in names as one.
pub(crate) fn plan(app: &App<'_>, file: Option<&Path>, args: &PlanArgs) -> Result<Exit, Fault> {
    let name = main_of(app.global, &args.playbook)?.name;
    let words = |cluster: &FleetCluster| {
        // As a rollout would have it: what is typed wins.
        let own = cluster.params.get(&name).cloned().unwrap_or_default();
        let given = with_params(&[], &args.ahead.params);
        [plan_of(&args.playbook, &own), given].concat()
    };
    let said = survey(app, file, &args.ahead.chosen, words)?;
    let known: Vec<Result<Plan, String>> = said.iter().map(|(_, said)| read_as(said)).collect();
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut unplanned = Vec::new();
    for ((cluster, _), known) in said.iter().zip(&known) {
        match known {
            Ok(plan) => {
                let group = groups.entry(plan.shape()).or_default();
                group.clusters.push(cluster.name.clone());
                group.steps = plan.steps.len();
                group.ends = plan.end == End::Done;
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
            json!({"plan": digest, "clusters": group.clusters, "steps": group.steps, "ends": group.ends})
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
            &digest[..DIGITS],
            &group.clusters.len().to_string(),
            &group.steps.to_string(),
            if group.ends { "yes" } else { "not known" },
            &which,
        ]);
    }
    out!("{}", table.trim_fmt());
    for (cluster, error) in &unplanned {
        out!("{cluster}: {error}");
    }
    if let Some(first) = said.first() {
        let words = words(&first.0);
        out!(
            "\nSee one in full with: {}",
            typed_for(&words, &first.0.cluster)
        );
    }
    Ok(exit)
}
