//! `notify`: what the receivers of a run don't know yet, and a try-out of them.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::who;
use crate::cli::{fleets, print, target};
use crate::config::Notify;
use crate::journal::ClusterRef;
use crate::notify::{self, Told, Untold};
use crate::report::harmless;
use crate::runs::Runs;

/// Which run is told of, or who is tried out.
#[derive(Args)]
pub(crate) struct NotifyArgs {
    /// The run, for example update-14 [default: all that some receiver doesn't know the end of]
    #[arg(conflicts_with = "test")]
    run: Option<String>,
    /// Try the receivers of the cluster file out: send a test event, and change nothing
    #[arg(long)]
    test: bool,
    /// With --test: those of this fleet.toml
    #[arg(long, value_name = "FILE", requires = "test")]
    fleet: Option<PathBuf>,
}

/// Brings receivers up to date that could not be reached while a run had a process.
pub(crate) fn notify(app: &App<'_>, args: &NotifyArgs) -> Result<Exit, Fault> {
    let told = if args.test {
        vec![("test".to_owned(), test(app, args)?)]
    } else {
        let runs = app.runs()?;
        match &args.run {
            Some(run) => {
                let others = others(app, &runs, run)?;
                vec![(run.clone(), tell(&runs, run, others.as_ref())?)]
            }
            None => all(&runs)?,
        }
    };
    let each = || {
        told.iter()
            .flat_map(|(run, all)| all.iter().map(move |one| (run, one)))
    };
    if app.global.json {
        let each =
            each().map(|(run, one)| json!({"run": run, "receiver": one.receiver, "events": one.events, "why": one.why}));
        print::json(&each.collect::<Vec<_>>());
    } else {
        for (run, one) in each() {
            out!("{}", harmless(&format!("{run}: {}", line(one))));
        }
    }
    let failed = each().any(|(_, one)| one.why.is_some());
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn line(told: &Told) -> String {
    let Told {
        receiver,
        events,
        why,
    } = told;
    match (why, events) {
        (Some(why), 0) => format!("{receiver}: {why}"),
        (Some(why), n) => format!("{receiver}: {n} delivered, then: {why}"),
        (None, 0) => format!("{receiver}: up to date"),
        (None, 1) => format!("{receiver}: 1 event delivered"),
        (None, n) => format!("{receiver}: {n} events delivered"),
    }
}

fn test(app: &App<'_>, args: &NotifyArgs) -> Result<Vec<Told>, Fault> {
    let (name, notify) = match &args.fleet {
        Some(file) => {
            let (_, fleet) = fleets::read(Some(file))?;
            (fleet.name, fleet.notify)
        }
        None => {
            let config = target::named(app.global)?.config;
            (config.cluster.name, config.notify)
        }
    };
    if notify.is_empty() {
        return Err(Fault::usage(format!(
            "the file of {name} has no [notify]: there is nobody to try out"
        )));
    }
    Ok(notify::test(&notify, &who(), &name))
}

fn tell(runs: &Runs, run: &str, others: Option<&Notify>) -> Result<Vec<Told>, Fault> {
    let told = notify::tell(&runs.take_up(run)?, others);
    if told.is_empty() {
        let what = format!("nobody is to know of {run}: it began without a [notify]");
        return Err(Fault::usage(what).help(format!(
            "lockstep notify {run} --cluster FILE  uses the one of that cluster file"
        )));
    }
    Ok(told)
}

/// The receivers of the cluster file that was named, in place of those that the run began with.
fn others(app: &App<'_>, runs: &Runs, run: &str) -> Result<Option<Notify>, Fault> {
    let head = runs.history(run)?.head;
    if !matches!(head.target, ClusterRef::File(_)) || app.global.cluster.is_none() {
        return Ok(None);
    }
    let (of, config) = (head.cluster.name, target::named(app.global)?.config);
    match config.cluster.name == of {
        true => Ok(Some(config.notify)),
        false => Err(Fault::usage(format!(
            "{run} is a run on {of}, and this is the cluster file of {}",
            config.cluster.name
        ))),
    }
}

/// Of every run that no process has and some receiver doesn't know all of.
fn all(runs: &Runs) -> Result<Vec<(String, Vec<Told>)>, Fault> {
    let mut told = Vec::new();
    for run in runs.ids()? {
        let missed = |untold: &Untold| untold.events > 0;
        let untold = notify::untold(&runs.place_of(&run));
        if untold.iter().any(missed) && !runs.is_running(&run) {
            let one = tell(runs, &run, None)?;
            told.push((run, one));
        }
    }
    Ok(told)
}
