//! `notify`: what the receivers of a run don't know yet, and a try-out of them.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::who;
use crate::cli::{fleets, print, target};
use crate::config::Notify;
use crate::fleet::{Specs, cluster_of};
use crate::journal::ClusterRef;
use crate::notify::{self, Told};
use crate::report::harmless;
use crate::runs::{Runs, RunsError};

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
    let (told, mut failed) = if args.test {
        (vec![("test".to_owned(), test(app, args)?)], false)
    } else {
        let runs = app.runs()?;
        match &args.run {
            Some(run) => (vec![(run.clone(), one(app, &runs, run)?)], false),
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
    failed |= each().any(|(_, one)| one.why.is_some());
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

fn line(told: &Told) -> String {
    let Told {
        receiver,
        events,
        why,
        state,
    } = told;
    match (why, events) {
        (Some(why), 0) => format!("{receiver}: {why}"),
        (Some(why), n) => format!("{receiver}: {n} delivered, then: {why}"),
        (None, 0) => format!("{receiver}: {state}"),
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
        return Err(Fault::usage(format!("the file of {name} has no [notify]")));
    }
    Ok(notify::test(&notify, &who(), &name))
}

/// Of one run, to those that it began with, or to those of the cluster file that was named.
fn one(app: &App<'_>, runs: &Runs, run: &str) -> Result<Vec<Told>, Fault> {
    let head = runs.history(run)?.head;
    let others = target::again(&head, app.global)?
        .map(|config| receivers(runs, run, config.notify))
        .transpose()?;
    let told = notify::tell(&runs.take_up(run)?, others);
    if !told.is_empty() {
        return Ok(told);
    }
    let none = Fault::usage(format!("{run} has no receivers"));
    Err(match head.target {
        ClusterRef::File(_) => none.help(format!(
            "lockstep notify {run} --cluster FILE  uses those of that cluster file"
        )),
        _ => none,
    })
}

/// Who gets to know of a run that continues with a cluster file that has these receivers: those, and for a cluster's run in a rollout
/// the fleet's, as from its start on.
pub(super) fn receivers(runs: &Runs, run: &str, own: Notify) -> Result<Notify, Fault> {
    let Some((rollout, cluster)) = cluster_of(run) else {
        return Ok(own);
    };
    let spec = Specs::of(runs, rollout).read(cluster)?;
    Ok(match spec {
        Some(spec) => own.or(&spec.notify),
        None => own,
    })
}

/// What came of each run.
type All = Vec<(String, Vec<Told>)>;

/// Of every run that no process has and of which there is something to be told. Whether one of them can't be looked at: it is reported,
/// and isn't in the way of the others.
fn all(runs: &Runs) -> Result<(All, bool), Fault> {
    let ids = runs.ids()?;
    // All at once is faster. What can't be brought so is reported one by one.
    let _ = runs.bring(ids.clone());
    let (mut all, mut failed) = (Vec::new(), false);
    for run in ids {
        match due(runs, &run) {
            Ok(Some(told)) => all.push((run, told)),
            // One that a process has by now is told of by that.
            Ok(None) | Err(RunsError::Locked { .. }) => {}
            Err(error) => {
                Fault::from(error).within(&run).warn();
                failed = true;
            }
        }
    }
    Ok((all, failed))
}

fn due(runs: &Runs, run: &str) -> Result<Option<Vec<Told>>, RunsError> {
    let due = !runs.is_running(run) && notify::is_due(&runs.folder_of(run)?);
    due.then(|| Ok(notify::tell(&runs.take_up(run)?, None)))
        .transpose()
}
