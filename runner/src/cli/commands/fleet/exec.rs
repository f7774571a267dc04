//! `fleet exec`: a cluster's run, as an executor begins it. What becomes of it is in the run, and on standard output as JSON.

use std::path::{Path, PathBuf};

use clap::Args;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::standing::Standing;
use lockstep_modules::ops::cluster::Job;
use serde_json::{Value, json};

use super::survey::{plan_of, typed_for};
use crate::bundle::Main;
use crate::cli::app::App;
use crate::cli::commands::plan;
use crate::cli::commands::playbook::main_of;
use crate::cli::commands::resume::{self, Common};
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::{Front, Waits, runtime_at, who};
use crate::cli::global::Global;
use crate::cli::shown::Shown;
use crate::cli::{modules, params, print, target};
use crate::engine::Finish;
use crate::fleet::{Spec, Specs, bare, cluster_of, job, standing_of};
use crate::plan::{DIGITS, Plan};
use crate::runs::Runs;
use crate::session::{Begin, Draft, Played};

/// Which run.
#[derive(Args)]
pub(crate) struct ExecArgs {
    /// The run of a cluster, for example rollout-3.berlin-012
    run: String,
}

/// Begins a run, or takes it up where its process is gone. One that has stopped is left as it is.
pub(crate) fn exec(app: &App<'_>, args: &ExecArgs) -> Result<Exit, Fault> {
    let (runs, run) = (app.runs()?, args.run.as_str());
    let done = run_or_resume(app, &runs, run);
    let (Err(fault), Some((rollout, cluster))) = (&done, cluster_of(run)) else {
        return done;
    };
    let (specs, spec) = (Specs::of(&runs, rollout), spec_of(&runs, run).ok());
    if let (Exit::Refused, Some(spec)) = (fault.exit, &spec) {
        // It stays so until somebody has approved its plan, and nothing was recorded of it.
        specs.refuse(cluster, spec, Some(fault.message()))?;
        fault.print(false);
        return Ok(refused(run, fault));
    }
    specs.complain(cluster, spec.as_ref(), fault.message());
    done
}

fn run_or_resume(app: &App<'_>, runs: &Runs, run: &str) -> Result<Exit, Fault> {
    if let Some((rollout, cluster)) = cluster_of(run) {
        let stands = standing_of(runs, &Specs::of(runs, rollout), cluster, run)?;
        // It may have been decided while the job waited in a queue, which doesn't know of it.
        if matches!(stands.state, Standing::Skipped | Standing::Suspended) {
            print::json(&json!(stands));
            return Ok(Exit::Done);
        }
    }
    let played = match job(runs, run)?.state {
        Standing::DidNotBegin => Some(begin(app, runs, run, Shown::Nothing)?),
        Standing::BrokenOff => {
            let how = resume::How {
                yes: spec_of(runs, run)?.yes,
                ..resume::How::default()
            };
            let how = how.into();
            Some(resume::played(app, &Common::of(run), Some(&how), Shown::Nothing)?.played)
        }
        _ => None,
    };
    let job = match played.map(|played| played.finish) {
        Some(Finish::Done(_)) => bare(run, Standing::Done),
        // Its journal says why it isn't done.
        _ => job(runs, run)?,
    };
    let taken = job.state == Standing::Running;
    print::json(&json!(job));
    Ok(if taken { Exit::Locked } else { Exit::Done })
}

/// Says that a run was refused before it began, as its job's outcome.
fn refused(run: &str, fault: &Fault) -> Exit {
    print::json(&json!(Job {
        why: Some(fault.message().to_owned()),
        ..bare(run, Standing::Refused)
    }));
    Exit::Done
}

/// The plan of a cluster, if it is one that was approved for its rollout; else its digest.
fn approved(
    app: &App<'_>,
    runs: &Runs,
    run: &str,
    spec: &Spec,
) -> Result<Result<Plan, String>, Fault> {
    let plan = planned(app, spec)?;
    let (rollout, _) = cluster_of(run).unwrap_or_default();
    let shape = plan.shape();
    let approvals = Specs::of(runs, rollout).approvals()?;
    let is_approved = approvals
        .iter()
        .any(|approval| approval.plan.len() >= DIGITS && shape.starts_with(&approval.plan));
    Ok(if is_approved { Ok(plan) } else { Err(shape) })
}

/// What a cluster's run would do, on a simulated cluster that is like it.
pub(super) fn planned(app: &App<'_>, spec: &Spec) -> Result<Plan, Fault> {
    let global = global_of(app, spec);
    let (main, registry) = playbook_of(app.registry, &global, spec)?;
    let target = target::of(&spec.cluster, &global)?;
    let scenario = plan::look_at(app, &target)?;
    let (plan, _) = plan::made(&registry, main, &target, &scenario, &typed(spec))?;
    Ok(plan)
}

/// What holds for all commands, as a cluster's run has it.
pub(super) fn global_of(app: &App<'_>, spec: &Spec) -> Global {
    let text = |file: &PathBuf| file.display().to_string();
    Global {
        playbooks: spec.playbooks.clone(),
        ssh_config: spec.ssh_config.as_ref().map(text),
        ..app.global.clone()
    }
}

/// The parameters of a cluster's run, as if somebody had typed them.
pub(super) fn typed(spec: &Spec) -> Vec<(String, Value)> {
    spec.params.clone().into_iter().collect()
}

/// That nobody approved a cluster's plan, and how it is looked at.
fn unapproved(run: &str, spec: &Spec, shape: &str) -> Fault {
    let (rollout, _) = cluster_of(run).unwrap_or_default();
    let short = &shape[..DIGITS];
    let see = typed_for(&plan_of(&spec.playbook, &spec.params), &spec.cluster);
    Fault::new(Exit::Refused, format!("its plan {short} is not approved")).help(format!(
        "see it with: {see}\napprove it with: lockstep fleet approve {short} -r {rollout}"
    ))
}

/// Begins the run of a cluster.
pub(super) fn begin(app: &App<'_>, runs: &Runs, run: &str, shown: Shown) -> Result<Played, Fault> {
    let spec = spec_of(runs, run)?;
    let global = global_of(app, &spec);
    let (main, registry) = playbook_of(app.registry, &global, &spec)?;
    let mut target = target::of(&spec.cluster, &global)?;
    target.config.notify = target.config.notify.or(&spec.notify);
    let plan = match spec.approve_plan {
        true => {
            let approved = approved(app, runs, run, &spec)?;
            Some(approved.map_err(|plan| unapproved(run, &spec, &plan))?)
        }
        false => None,
    };
    // A plan knows nothing of what goes wrong.
    if let Some(scenario) = &mut target.twin {
        scenario.faults.clone_from(&spec.faults);
    }
    let draft = Draft::new(&registry, main, &target, &typed(&spec))?.named(run, &spec.labels);
    if draft.fingerprint() != spec.fingerprint {
        let what = format!("{} isn't what it was when the rollout began", spec.playbook);
        return Err(Fault::new(Exit::Diverged, what)
            .help("restore the playbook, or the lockstep that has it; or begin another rollout"));
    }
    let simulated = target.is_simulated();
    let secrets = params::secrets(draft.playbook(), draft.params(), simulated, None)?;
    let runtime = runtime_at(simulated, &registry, app.global.pace)?;
    let _within = runtime.enter();
    let session = draft.begin(Begin {
        who: who(),
        runs: Some(runs),
        way: None,
        secrets,
        plan,
    })?;
    let front = Front {
        shown,
        yes: spec.yes,
        deliver_failures: false,
        waits: Waits::Here,
        speed: app.global.pace,
    };
    Ok(runtime.block_on(front.play(session))?)
}

/// What is played on a cluster, and the ops that it may name.
pub(super) fn playbook_of(
    registry: &Registry,
    global: &Global,
    spec: &Spec,
) -> Result<(Main, Registry), Fault> {
    let main = main_of(global, &spec.playbook)?;
    let registry = match main.site {
        true => modules::of_site(
            registry,
            spec.modules.as_deref(),
            &[&spec.playbook, &spec.cluster].map(Path::new),
        )?,
        false => registry.clone(),
    };
    Ok((main, registry))
}

pub(super) fn spec_of(runs: &Runs, run: &str) -> Result<Spec, Fault> {
    let unknown = || Fault::usage(format!("{run:?} is no run of a cluster in a rollout here"));
    let (rollout, cluster) = cluster_of(run).ok_or_else(unknown)?;
    Specs::of(runs, rollout).read(cluster)?.ok_or_else(unknown)
}

/// A run that stopped, in a line.
pub(super) fn line(job: &Job) -> String {
    match &job.why {
        Some(why) => format!("{}: {}: {why}", job.run, job.state),
        None => format!("{}: {}", job.run, job.state),
    }
}
