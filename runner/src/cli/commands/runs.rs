//! `runs`: what was run, and where it stands.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::cli::exit::{Exit, Fault};
use crate::cli::front::state;
use crate::cli::global::Global;
use crate::cli::print;
use crate::cli::table::table;
use crate::journal::{History, JournalError};
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

/// Which runs are listed.
#[derive(Args)]
pub(crate) struct RunsArgs {
    /// Also the runs of clusters in rollouts
    #[arg(long)]
    all: bool,
}

pub(crate) fn runs(global: &Global, args: &RunsArgs) -> Result<Exit, Fault> {
    let runs = Runs::in_state(&state(global)?);
    // One that can't be read is listed all the same.
    let ids = runs.ids()?.into_iter().filter(|id| args.all || !is_job(id));
    let mut rows: Vec<Row> = ids.map(|id| Row::read(&runs, id)).collect();
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
