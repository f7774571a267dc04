//! `runs`: what was run, and where it stands.

use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::print;
use crate::cli::table::table;
use crate::fleet::{Specs, cluster_of};
use crate::journal::{History, JournalError};
use crate::private::{self, Over, PRIVATE};
use crate::runs::archive::{self, ArchiveError};
use crate::runs::standing::{held, standing};
use crate::runs::{Runs, RunsError, is_job};

/// A run as it is listed. Its history isn't kept: there may be thousands.
struct Row {
    began: Option<Timestamp>,
    columns: [String; 5],
    brief: Value,
}

impl Row {
    fn read(runs: &Runs, id: String) -> Self {
        let (history, running) = (runs.history(&id), runs.is_running(&id));
        let brief = brief(&id, history.as_ref(), running);
        match history {
            Ok(history) => Self {
                began: Some(history.began),
                columns: [
                    id,
                    history.head.cluster.name.clone(),
                    time(history.began),
                    history.completions.len().to_string(),
                    standing(&history, running).to_string(),
                ],
                brief,
            },
            Err(error) => {
                let state =
                    unbegun(&error, running).map_or_else(|| error.to_string(), str::to_owned);
                let none = String::new;
                Self {
                    began: None,
                    columns: [id, none(), none(), none(), state],
                    brief,
                }
            }
        }
    }
}

/// Which runs are listed, or what else is done with them.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArgs {
    /// Also the runs of clusters in rollouts
    #[arg(long)]
    all: bool,
    #[command(subcommand)]
    command: Option<RunsCommand>,
}

#[derive(Subcommand)]
enum RunsCommand {
    /// Write a run to an archive, with all that belongs to it
    Export(ExportArgs),
    /// Read runs that were exported elsewhere
    Import(ImportArgs),
}

/// Which run is exported.
#[derive(Args)]
struct ExportArgs {
    /// The run, for example update-14; with a rollout's, the runs of its clusters
    run: String,
    /// File to write to [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// What is imported.
#[derive(Args)]
struct ImportArgs {
    /// A file that an export wrote
    file: PathBuf,
}

fn export(app: &App<'_>, args: &ExportArgs) -> Result<Exit, Fault> {
    let (runs, run) = (app.runs()?, args.run.as_str());
    let Some(file) = &args.output else {
        let output = std::io::stdout();
        if output.is_terminal() {
            return Err(Fault::usage("an archive isn't written to a terminal")
                .help(format!("lockstep runs export {run} -o {run}.tar")));
        }
        archive::export(&runs, run, BufWriter::new(output.lock()))?;
        return Ok(Exit::Done);
    };
    let written = private::place_filled(file, PRIVATE, Over::Anything, |to| {
        archive::export(&runs, run, BufWriter::new(to))
    });
    match written {
        Err(ArchiveError::Io { source, .. }) => Err(Fault::unwritten(file, source)),
        written => Ok(written.map(|()| Exit::Done)?),
    }
}

fn import(app: &App<'_>, args: &ImportArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let file = File::open(&args.file)
        .map_err(|error| Fault::usage(format!("{}: {error}", args.file.display())))?;
    let labels = |run: &str| {
        let spec = cluster_of(run).and_then(|(rollout, cluster)| {
            let read = Specs::of(&runs, rollout).read(cluster);
            read.ok().flatten()
        });
        spec.map(|spec| spec.labels).unwrap_or_default()
    };
    let imported = archive::import(&runs, BufReader::new(file), labels)?;
    for rollout in imported.iter().filter(|run| !is_job(run)) {
        Specs::of(&runs, rollout).label()?;
    }
    if app.global.json {
        print::json(&json!({"imported": imported}));
    } else if imported.is_empty() {
        out!("nothing is new: all of it is there already");
    } else {
        out!("imported {}", imported.join(", "));
    }
    Ok(Exit::Done)
}

pub(crate) fn runs(app: &App<'_>, args: &RunsArgs) -> Result<Exit, Fault> {
    match &args.command {
        Some(RunsCommand::Export(args)) => export(app, args),
        Some(RunsCommand::Import(args)) => import(app, args),
        None => list(app, args.all),
    }
}

fn list(app: &App<'_>, all: bool) -> Result<Exit, Fault> {
    let (runs, global) = (app.runs()?, app.global);
    let mut ids = runs.ids()?;
    ids.retain(|id| all || !is_job(id));
    runs.bring(ids.clone())?;
    // One that can't be read is listed all the same.
    let mut rows: Vec<Row> = ids.into_iter().map(|id| Row::read(&runs, id)).collect();
    // The latest stands last, whatever its playbook; those of which nobody knows when they began stand first.
    rows.sort_by_key(|row| row.began);
    if global.json {
        let all: Vec<Value> = rows.into_iter().map(|row| row.brief).collect();
        print::json(&Value::from(all));
        return Ok(Exit::Done);
    }
    if rows.is_empty() {
        out!("no runs yet");
        return Ok(Exit::Done);
    }
    let mut table = table(["RUN", "CLUSTER", "BEGAN", "STEPS", "STATE"]);
    for row in &rows {
        table.add_row(row.columns.each_ref().map(String::as_str));
    }
    out!("{}", table.trim_fmt());
    Ok(Exit::Done)
}

fn brief(id: &str, history: Result<&History, &RunsError>, running: bool) -> Value {
    match history {
        Ok(history) => json!({
            "run": id, "cluster": history.head.cluster.name, "playbook": history.head.playbook, "began": history.began,
            "last": history.last, "steps_done": history.completions.len(), "state": standing(history, running),
            "held": held(history).collect::<Vec<_>>(), "resumes": history.resumes,
        }),
        Err(error) => match unbegun(error, running) {
            Some(state) => json!({"run": id, "state": state}),
            None => json!({"run": id, "error": error.to_string()}),
        },
    }
}

/// Where a run stands that has recorded nothing.
fn unbegun(error: &RunsError, running: bool) -> Option<&'static str> {
    let empty = matches!(
        error,
        RunsError::Journal {
            source: JournalError::Empty,
            ..
        }
    );
    empty.then_some(if running { "running" } else { "did not begin" })
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M").to_string()
}
