//! `fleet status` and `fleet held`: how far a rollout is.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lockstep_modules::contract::standing::Standing;
use serde_json::{Value, json};

use super::named::Which;
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::print;
use crate::cli::shown::is_screen;
use crate::cli::table::table;
use crate::fleet::{self, ClusterProgress, Progress, RingProgress};

/// Which rollout is shown, and how.
#[derive(Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    which: Which,
    /// Refresh every SECONDS seconds, until the rollout stops
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
    /// Also write its figures to this file, for the textfile collector of Prometheus' node_exporter
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
}

/// Which rollout is audited.
#[derive(Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    which: Which,
}

/// Which rollout's clusters are listed.
#[derive(Args)]
pub(crate) struct HeldArgs {
    #[command(flatten)]
    which: Which,
}

/// To the top of an empty screen (ECMA-48).
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

/// Clusters that are named below the rings; `fleet held` has all.
const NAMED: usize = 10;

/// The cells of a bar.
const BAR: usize = 20;

pub(crate) fn status(app: &App<'_>, args: &StatusArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let id = args.which.find(&runs)?;
    loop {
        let progress = Progress::of(&runs, &id)?;
        if let Some(file) = &args.metrics {
            progress
                .write_metrics(file)
                .map_err(|error| Fault::unwritten(file, error))?;
        }
        if args.watch.is_some() && !app.global.json && is_screen() {
            print::styled(CLEAR);
        }
        if app.global.json {
            print::json(&json!(progress));
        } else {
            show(&progress);
        }
        let (Some(pause), Standing::Running) = (args.watch, progress.state) else {
            return Ok(code(&progress));
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "there is nothing else to do until it is looked at again"
        )]
        std::thread::sleep(Duration::from_secs(pause));
    }
}

/// As the exit code of the run of a single cluster would be.
fn code(progress: &Progress) -> Exit {
    match progress.state {
        Standing::Running | Standing::Done | Standing::Skipped => Exit::Done,
        Standing::Held => Exit::Held,
        Standing::Suspended | Standing::BrokenOff | Standing::DidNotBegin => Exit::Suspended,
        Standing::Refused => Exit::Refused,
        Standing::Failed => Exit::Failed,
        Standing::Aborted => Exit::Aborted,
    }
}

fn show(progress: &Progress) {
    let all = progress.clusters().count();
    let count = |state| {
        progress
            .clusters()
            .filter(|c| c.state == Some(state))
            .count()
    };
    let done = count(Standing::Done);
    let skipped = match count(Standing::Skipped) {
        0 => String::new(),
        n => format!(", {n} skipped"),
    };
    let Progress {
        rollout,
        fleet,
        playbook,
        state,
        ..
    } = progress;
    out!("{rollout}: {playbook} on {fleet}: {state}, {done} of {all} clusters done{skipped}\n");
    let mut table = table([
        "RING", "", "DONE", "RUNNING", "WAITING", "NOT DONE", "BUDGET",
    ]);
    for ring in &progress.rings {
        table.add_row(row(ring));
    }
    out!("{}", table.trim_fmt());
    let unwell: Vec<&ClusterProgress> = progress.clusters().filter(|c| c.is_unwell()).collect();
    for cluster in unwell.iter().take(NAMED) {
        out!("{}", complaint(cluster));
    }
    if unwell.len() > NAMED {
        out!(
            "… and {} more: lockstep fleet held -r {rollout}",
            unwell.len() - NAMED
        );
    }
    if let Some(first) = unwell.first() {
        out!(
            "\nContinue a cluster's run with: lockstep fleet resume {} -r {rollout}",
            first.cluster
        );
    }
    match (progress.waits_until, state) {
        (Some(until), _) => out!(
            "It waits until {}; nothing runs until then. The timer continues it, if it is on; or: lockstep fleet continue -r {rollout}",
            until.strftime("%F %T UTC")
        ),
        (None, Standing::Held | Standing::Suspended | Standing::BrokenOff) => {
            out!("Continue the rollout with: lockstep fleet continue -r {rollout}");
        }
        _ => {}
    }
}

fn row(ring: &RingProgress) -> [String; 7] {
    let all = ring.clusters.len();
    let done = ring.count(|c| c.state == Some(Standing::Done));
    let over = done + ring.count(|c| c.state == Some(Standing::Skipped));
    let running = ring.count(|c| c.state == Some(Standing::Running));
    let unwell = ring.count(ClusterProgress::is_unwell);
    let full = over * BAR / all.max(1);
    [
        ring.ring.clone(),
        format!("{}{}", "█".repeat(full), "░".repeat(BAR - full)),
        format!("{done}/{all}"),
        running.to_string(),
        (all - over - running - unwell).to_string(),
        unwell.to_string(),
        ring.budget.to_string(),
    ]
}

fn complaint(cluster: &ClusterProgress) -> String {
    let state = cluster.state.map_or("", Standing::word);
    let why = cluster
        .job
        .as_ref()
        .and_then(|job| job.why.as_deref())
        .unwrap_or_default();
    let colon = if why.is_empty() { "" } else { ": " };
    format!("{}: {state}{colon}{why}", cluster.cluster)
}

pub(crate) fn held(app: &App<'_>, args: &HeldArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let progress = Progress::of(&runs, &args.which.find(&runs)?)?;
    let unwell: Vec<&ClusterProgress> = progress.clusters().filter(|c| c.is_unwell()).collect();
    if app.global.json {
        print::json(
            &unwell
                .iter()
                .map(|cluster| json!(cluster))
                .collect::<Value>(),
        );
        return Ok(Exit::Done);
    }
    if unwell.is_empty() {
        out!(
            "{}: no cluster's run stopped before its end",
            progress.rollout
        );
        return Ok(Exit::Done);
    }
    let mut table = table(["CLUSTER", "STATE", "RUN", "WHY"]);
    for cluster in unwell {
        let job = cluster.job.as_ref();
        table.add_row([
            cluster.cluster.as_str(),
            cluster.state.map_or("", Standing::word),
            job.map_or("", |job| &job.run),
            job.and_then(|job| job.why.as_deref()).unwrap_or_default(),
        ]);
    }
    out!("{}", table.trim_fmt());
    out!("\nlockstep show RUN shows more; lockstep fleet resume CLUSTER continues it.");
    Ok(Exit::Done)
}

pub(crate) fn audit(app: &App<'_>, args: &AuditArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let entries = fleet::audit(&runs, &args.which.find(&runs)?)?;
    if app.global.json {
        print::json(&json!(entries));
        return Ok(Exit::Done);
    }
    let mut table = table(["AT", "WHO", "RUN", "ACTION", "ABOUT"]);
    for entry in &entries {
        let at = entry.at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        table.add_row([
            at.as_str(),
            &entry.who,
            &entry.run,
            entry.action,
            &entry.about,
        ]);
    }
    out!("{}", table.trim_fmt());
    Ok(Exit::Done)
}
