//! `fleet resume`, `skip`, `pause`, `continue` and `abort`: what an operator decides about a rollout and its clusters.

use std::collections::BTreeMap;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use jiff::Timestamp;
use lockstep_modules::contract::near;
use lockstep_modules::contract::op::Op;
use lockstep_modules::contract::standing::Standing;
use lockstep_modules::ops::cluster::{Run, State, Window};
use rustix::process::{Pid, Signal, kill_process};

use serde_json::{Value, json};

use super::due;
use super::exec::{begin, line};
use super::named::{Which, begun};
use crate::cli::app::App;
use crate::cli::commands::resume::{self, Common, How, continue_run};
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::{Waits, runtime, who};
use crate::cli::print;
use crate::cli::shown::Shown;
use crate::clock;
use crate::config::Notify;
use crate::fleet::{self, Approval, Entry, Jobs, Rollout, Skip, Spec, Specs, job};
use crate::notify;
use crate::plan::DIGITS;
use crate::runs::{Runs, host};

/// Which clusters' runs are continued.
#[derive(Args)]
pub(crate) struct ResumeArgs {
    /// The clusters
    #[arg(required = true, value_name = "CLUSTER")]
    clusters: Vec<String>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    how: How,
}

/// Which clusters are taken out.
#[derive(Args)]
pub(crate) struct SkipArgs {
    /// The clusters
    #[arg(required = true, value_name = "CLUSTER")]
    clusters: Vec<String>,
    /// Why; it is kept with the rollout
    #[arg(long, value_name = "TEXT", value_parser = NonEmptyStringValueParser::new())]
    why: String,
    #[command(flatten)]
    which: Which,
}

/// Which plans are approved.
#[derive(Args)]
pub(crate) struct ApproveArgs {
    /// The digests of plans, as `lockstep fleet plan` shows them
    #[arg(required = true, value_name = "DIGEST")]
    plans: Vec<String>,
    #[command(flatten)]
    which: Which,
}

/// Which rollout is paused.
#[derive(Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    which: Which,
}

/// Which clusters' jobs are stopped.
#[derive(Args)]
pub(crate) struct StopArgs {
    /// The clusters
    #[arg(required = true, value_name = "CLUSTER")]
    clusters: Vec<String>,
    #[command(flatten)]
    which: Which,
}

/// Which rollout is continued.
#[derive(Args)]
pub(crate) struct ContinueArgs {
    #[command(flatten)]
    which: Which,
    /// Where nothing is left but to wait for a window or a soak, end with code 5, and say when to continue
    #[arg(long)]
    no_wait: bool,
    /// Continue all rollouts that ended with --no-wait and whose time has come, in this way; what a timer calls
    #[arg(long, conflicts_with_all = ["rollout", "yes"])]
    due: bool,
    /// Answer yes to every prompt: start rings that need approval, and leave behind clusters that are not done
    #[arg(long)]
    yes: bool,
}

/// Which rollout is ended.
#[derive(Args)]
pub(crate) struct AbortArgs {
    #[command(flatten)]
    which: Which,
}

/// Continues clusters' runs, one after the other. One that ended without being done is begun again, as a second attempt.
pub(crate) fn resume(app: &App<'_>, args: &ResumeArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let rollout = args.which.find(&runs)?;
    let mut worst = Exit::Done;
    let (rolled, specs) = (begun(&runs, &rollout)?, Specs::of(&runs, &rollout));
    for entry in known(&rolled, &rollout, &args.clusters)? {
        let cluster = entry.name.as_str();
        let run = runs.last_attempt(&format!("{rollout}.{cluster}"));
        if specs.stopped(cluster)?.is_some() {
            specs.stop(cluster, &entry.labels, None)?;
        }
        let exit = match job(&runs, &run)?.state {
            Standing::Held | Standing::Suspended | Standing::BrokenOff => {
                continue_run(app, &Common::of(&run), Some(&args.how.into()))?
            }
            Standing::Refused | Standing::Failed | Standing::Aborted => again(app, &runs, &run)?,
            // Its executor refused, or a hook.
            Standing::DidNotBegin if had_its_turn(&runs, &rollout, cluster)? => {
                if specs.read(cluster)?.is_none() {
                    let spec = Spec {
                        notify: notify::settings(&runs.folder_of(&rollout)?),
                        ..rolled.spec(entry)
                    };
                    specs.write(cluster, &spec)?;
                }
                attempt_at(app, &runs, &run)?
            }
            Standing::DidNotBegin => {
                let text = format!("{cluster}: its turn in {rollout} has not come");
                say(app, &json!({"cluster": cluster, "state": null}), &text);
                Exit::Done
            }
            state => {
                let text = format!("{run}: {state}: there is nothing to continue");
                say(app, &json!({"cluster": cluster, "state": state}), &text);
                Exit::Done
            }
        };
        if exit != Exit::Done {
            worst = exit;
        }
    }
    let waits = job(&runs, &rollout)?.state;
    if worst == Exit::Done
        && !app.global.json
        && matches!(
            waits,
            Standing::Held | Standing::Suspended | Standing::BrokenOff
        )
    {
        out!("Continue the rollout with: lockstep fleet continue -r {rollout}");
    }
    Ok(worst)
}

/// Whether a cluster whose run hasn't begun had its turn: one that waits for its window, or for a place, will have it.
fn had_its_turn(runs: &Runs, rollout: &str, cluster: &str) -> Result<bool, Fault> {
    let history = runs.history(rollout)?;
    let completions = history.completions.iter();
    let results: BTreeMap<_, _> = completions.map(|done| (&done.path, &done.result)).collect();
    Ok(history.steps.iter().any(|(path, step)| {
        let is_of_it = step.args.get("member").is_some_and(|name| name == cluster);
        is_of_it
            && match (step.op.as_str(), results.get(path)) {
                (Run::NAME, Some(Ok(out))) => out["outcome"] != json!(Standing::DidNotBegin),
                (Run::NAME, None) | (Run::NAME | State::NAME | Window::NAME, Some(Err(_))) => true,
                _ => false,
            }
    }))
}

/// Begins another attempt at a run that is over.
fn again(app: &App<'_>, runs: &Runs, run: &str) -> Result<Exit, Fault> {
    let (whole, attempt) = match run.split_once('+') {
        Some((whole, number)) => (whole, number.parse().unwrap_or(1) + 1),
        None => (run, 2),
    };
    attempt_at(app, runs, &format!("{whole}+{attempt}"))
}

/// Begins an attempt at a cluster's run.
fn attempt_at(app: &App<'_>, runs: &Runs, run: &str) -> Result<Exit, Fault> {
    begin(app, runs, run, Shown::of_run(app.global))?;
    let stopped = job(runs, run)?;
    say(app, &json!(stopped), &line(&stopped));
    Ok(match stopped.state {
        Standing::Done => Exit::Done,
        Standing::Refused => Exit::Refused,
        Standing::Held => Exit::Held,
        Standing::Suspended => Exit::Suspended,
        _ => Exit::Failed,
    })
}

/// The clusters of these names in a rollout. A name that it hasn't is refused.
pub(super) fn known<'a>(
    begun: &'a Rollout,
    rollout: &str,
    clusters: &[String],
) -> Result<Vec<&'a Entry>, Fault> {
    let found = clusters.iter().map(|cluster| {
        let found = begun.clusters().find(|entry| entry.name == *cluster);
        found.ok_or_else(|| {
            let names: Vec<&str> = begun.clusters().map(|entry| entry.name.as_str()).collect();
            let hint = near::hint(cluster, &names);
            Fault::usage(format!(
                "there is no cluster {cluster:?} in {rollout}{hint}"
            ))
        })
    });
    found.collect()
}

/// Takes clusters out of a rollout. A run that is under way goes on.
pub(crate) fn skip(app: &App<'_>, args: &SkipArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let rollout = args.which.find(&runs)?;
    let (rolled, specs) = (begun(&runs, &rollout)?, Specs::of(&runs, &rollout));
    for entry in known(&rolled, &rollout, &args.clusters)? {
        let skip = Skip {
            who: who(),
            at: clock::now(),
            why: args.why.clone(),
        };
        specs.skip(&entry.name, &entry.labels, &skip)?;
        say(
            app,
            &json!({"rollout": rollout, "skipped": entry.name}),
            &format!("{} is out of {rollout}", entry.name),
        );
    }
    Ok(Exit::Done)
}

/// Approves plans: clusters of rings with `approve_plans` begin only with one of them.
pub(crate) fn approve(app: &App<'_>, args: &ApproveArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let rollout = args.which.find(&runs)?;
    if !begun(&runs, &rollout)?
        .clusters()
        .any(|entry| entry.approve_plan)
    {
        let what = format!("no ring of {rollout} has approve_plans");
        return Err(Fault::usage(what));
    }
    let is_digest = |plan: &String| {
        plan.len() >= DIGITS
            && plan
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    if let Some(odd) = args.plans.iter().find(|plan| !is_digest(plan)) {
        let what = format!(
            "{odd:?} is no plan's digest: it has {DIGITS} digits or more, 0 to 9 and a to f"
        );
        return Err(Fault::usage(what).help("lockstep fleet plan PLAYBOOK  shows them"));
    }
    let approval = |plan: &String| Approval {
        plan: plan.clone(),
        who: who(),
        at: clock::now(),
    };
    // Nobody else approves between our look and what we write.
    let claim = runs.one_at_a_time()?;
    Specs::of(&runs, &rollout).approve(args.plans.iter().map(approval).collect())?;
    drop(claim);
    for plan in &args.plans {
        let text = format!("{plan} is approved for {rollout}");
        say(app, &json!({"rollout": rollout, "approved": plan}), &text);
    }
    Ok(Exit::Done)
}

/// Interrupts a rollout once: what is under way comes to its end, and nothing more is begun.
pub(crate) fn pause(app: &App<'_>, args: &PauseArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let rollout = args.which.find(&runs)?;
    begun(&runs, &rollout)?;
    // Nobody has it, and a timer would continue it, now or at its time.
    if fleet::due(
        &runs.history(&rollout)?,
        runs.is_running(&rollout),
        Timestamp::MAX,
    )
    .is_some()
    {
        return pause_waiting(app, &rollout);
    }
    if !interrupt(&runs, &rollout)? {
        say(
            app,
            &json!({"rollout": rollout, "running": false}),
            &format!("{rollout} is not running"),
        );
        return Ok(Exit::Done);
    }
    say(
        app,
        &json!({"rollout": rollout, "running": true}),
        &format!(
            "{rollout} starts no more clusters; those that run come to their end.\nContinue it with: lockstep fleet continue -r {rollout}"
        ),
    );
    Ok(Exit::Done)
}

/// Interrupts a run as ^C would. Whether a process has it.
fn interrupt(runs: &Runs, run: &str) -> Result<bool, Fault> {
    let Some((process, at)) = runs.process_of(run) else {
        return Ok(false);
    };
    let refused =
        |why: &str| Fault::new(Exit::Failed, format!("{run} can't be interrupted: {why}"));
    // A number means another process on another machine.
    if at != host() {
        return Err(refused(&format!("it runs on {at}")).help("type the command there"));
    }
    let process = Pid::from_raw(process).ok_or_else(|| refused("its lock names no process"))?;
    kill_process(process, Signal::INT).map_err(|error| refused(&error.to_string()))?;
    Ok(true)
}

/// The jobs of a rollout, for what begins nothing.
pub(super) fn asked(runs: &Runs, rollout: &str) -> Result<Jobs, Fault> {
    let begun = begun(runs, rollout)?;
    Ok(Jobs::of(runs, rollout, &begun, &Notify::default(), None))
}

/// Asks the jobs of clusters to stop. Their runs are interrupted, and can be resumed.
pub(crate) fn stop(app: &App<'_>, args: &StopArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let rollout = args.which.find(&runs)?;
    let rolled = begun(&runs, &rollout)?;
    let (jobs, specs) = (asked(&runs, &rollout)?, Specs::of(&runs, &rollout));
    let (runtime, mut exit) = (runtime()?, Exit::Done);
    for entry in known(&rolled, &rollout, &args.clusters)? {
        let cluster = entry.name.as_str();
        let run = runs.last_attempt(&format!("{rollout}.{cluster}"));
        let state = job(&runs, &run)?.state;
        if state.has_stopped() {
            let text = format!("{run}: {state}: there is nothing to stop");
            say(app, &json!({"cluster": cluster, "state": state}), &text);
            continue;
        }
        // Who waits for the job would submit it once more.
        specs.stop(cluster, &entry.labels, Some(&who()))?;
        let stopping = match runtime.block_on(jobs.stop(cluster)) {
            Ok(true) => Ok(true),
            // A process of this machine, or one that somebody began by hand.
            Ok(false) => interrupt(&runs, &run),
            Err(error) => Err(Fault::new(Exit::Failed, format!("{cluster}: {error}"))),
        };
        if !matches!(stopping, Ok(true)) {
            specs.stop(cluster, &entry.labels, None)?;
        }
        match stopping {
            Ok(true) => {
                let text = format!(
                    "{run} is asked to stop, and ends with what is under way.\nContinue it with: lockstep fleet resume {cluster} -r {rollout}"
                );
                say(app, &json!({"cluster": cluster, "stopping": run}), &text);
            }
            Ok(false) => {
                let text = format!("{run} is not running");
                say(app, &json!({"cluster": cluster, "state": state}), &text);
            }
            Err(fault) => {
                fault.print(app.global.json);
                exit = fault.exit;
            }
        }
    }
    Ok(exit)
}

/// Pauses a rollout that waits for its time without a process, so that no timer continues it.
fn pause_waiting(app: &App<'_>, rollout: &str) -> Result<Exit, Fault> {
    let how = resume::ResumeArgs::from(How::default()).waiting(Waits::Paused);
    resume::played(app, &Common::of(rollout), Some(&how), Shown::Nothing)?;
    let text = format!(
        "{rollout} is paused, and is continued by nobody but you.\nContinue it with: lockstep fleet continue -r {rollout}"
    );
    say(app, &json!({"rollout": rollout, "running": false}), &text);
    Ok(Exit::Done)
}

/// Prints what was done: for people, or for programs.
fn say(app: &App<'_>, value: &Value, text: &str) {
    if app.global.json {
        print::json(value);
    } else {
        out!("{text}");
    }
}

/// Continues a rollout.
pub(crate) fn carry_on(app: &App<'_>, args: &ContinueArgs) -> Result<Exit, Fault> {
    if args.due {
        return due::carry_on(app);
    }
    let runs = app.runs()?;
    let rollout = args.which.find(&runs)?;
    begun(&runs, &rollout)?;
    let how = How {
        yes: args.yes,
        ..How::default()
    };
    let waits = match args.no_wait {
        true => Waits::Elsewhere,
        false => Waits::Here,
    };
    let how = resume::ResumeArgs::from(how).waiting(waits);
    continue_run(app, &Common::of(&rollout), Some(&how))
}

/// Ends a rollout.
pub(crate) fn abort(app: &App<'_>, args: &AbortArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let rollout = args.which.find(&runs)?;
    begun(&runs, &rollout)?;
    if runs.is_running(&rollout) {
        let fault = Fault::new(Exit::Locked, format!("{rollout} is running"));
        return Err(fault.help(format!("lockstep fleet pause -r {rollout}  stops it first")));
    }
    continue_run(app, &Common::of(&rollout), None)
}
