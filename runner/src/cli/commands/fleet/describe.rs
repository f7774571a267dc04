//! `fleet describe`: a cluster's job, as its executor knows it.

use clap::Args;
use serde_json::json;

use super::control::{asked, known};
use super::exec::line;
use super::named::{Which, begun};
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::runtime;
use crate::cli::print;
use crate::fleet::{Specs, standing_of};

/// Which cluster's job is described.
#[derive(Args)]
pub(crate) struct DescribeArgs {
    /// The cluster
    cluster: String,
    #[command(flatten)]
    which: Which,
}

/// Lines of a job's log that are shown.
const LINES: usize = 20;

pub(crate) fn describe(app: &App<'_>, args: &DescribeArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let rollout = args.which.find(&runs)?;
    known(
        &begun(&runs, &rollout)?,
        &rollout,
        std::slice::from_ref(&args.cluster),
    )?;
    let jobs = asked(&runs, &rollout)?;
    let described = runtime()?.block_on(jobs.describe(&args.cluster));
    let described = described.map_err(|error| Fault::new(Exit::Failed, error))?;
    let found = standing_of(
        &runs,
        &Specs::of(&runs, &rollout),
        &args.cluster,
        &described.run,
    )?;
    let process = runs.process_of(&described.run);
    if app.global.json {
        let process = process.map(|(process, host)| json!({"pid": process, "host": host}));
        let job = json!(described);
        print::json(
            &json!({"cluster": args.cluster, "state": found, "process": process, "job": job}),
        );
        return Ok(Exit::Done);
    }
    out!("{}", line(&found));
    out!("executor: {}", described.executor);
    if let Some((process, host)) = process {
        out!("process: {process} on {host}");
    }
    for (what, text) in [("scheduler", &described.scheduler), ("log", &described.log)] {
        let lines: Vec<&str> = text.trim_end().lines().collect();
        if !lines.is_empty() {
            out!("{what}:");
            for line in &lines[lines.len().saturating_sub(LINES)..] {
                out!("  {line}");
            }
        }
    }
    Ok(Exit::Done)
}
