//! `fleet exec`: a cluster's run, as an executor begins it. What becomes of it is in the run, and on standard output as JSON.

use std::path::Path;

use clap::Args;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::standing::Standing;
use lockstep_modules::ops::cluster::{Health, Job};
use lockstep_modules::ops::status::{self, Status};
use serde::Deserialize;
use serde_json::{Value, json};

use super::survey::{plan_of, typed_for};
use crate::bundle::Main;
use crate::cli::app::App;
use crate::cli::commands::op;
use crate::cli::commands::plan;
use crate::cli::commands::playbook::main_of;
use crate::cli::commands::resume::{self, Common};
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::{Front, Waits, runtime, who};
use crate::cli::global::Global;
use crate::cli::shown::Shown;
use crate::cli::{modules, params, print, target};
use crate::fleet::{Spec, Specs, cluster_of, job};
use crate::journal::ClusterRef;
use crate::plan::{DIGITS, Plan};
use crate::runs::Runs;
use crate::session::{Begin, Draft, Once};
use crate::target::{Target, Way, read_world};

/// Which run.
#[derive(Args)]
pub(crate) struct ExecArgs {
    /// The run of a cluster, for example rollout-3.berlin-012
    run: String,
}

/// Which run's cluster.
#[derive(Args)]
pub(crate) struct VerifyArgs {
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
    match job(runs, run)?.state {
        Standing::DidNotBegin => begin(app, runs, run, Shown::Nothing)?,
        Standing::BrokenOff => {
            let how = resume::How {
                yes: spec_of(runs, run)?.yes,
                ..resume::How::default()
            };
            resume::played(app, &Common::of(run), Some(&how.into()), Shown::Nothing)?;
        }
        _ => {}
    }
    let job = job(runs, run)?;
    let taken = job.state == Standing::Running;
    print::json(&json!(job));
    Ok(if taken { Exit::Locked } else { Exit::Done })
}

/// Says that a run was refused before it began, as its job's outcome.
fn refused(run: &str, fault: &Fault) -> Exit {
    print::json(&json!(Job {
        run: run.to_owned(),
        state: Standing::Refused,
        steps: Vec::new(),
        why: Some(fault.message().to_owned()),
    }));
    Exit::Done
}

/// The plan of a cluster, if it is one that was approved for its rollout; else its digest.
fn approved(
    app: &App<'_>,
    runs: &Runs,
    run: &str,
    (main, registry): (Main, Registry),
    target: &Target,
    typed: &[(String, Value)],
) -> Result<Result<Plan, String>, Fault> {
    let scenario = plan::look_at(app, target)?;
    let (plan, _) = plan::made(&registry, main, target, &scenario, typed)?;
    let (rollout, _) = cluster_of(run).unwrap_or_default();
    let shape = plan.shape();
    let approvals = Specs::of(runs, rollout).approvals()?;
    let is_approved = approvals
        .iter()
        .any(|approval| approval.plan.len() >= DIGITS && shape.starts_with(&approval.plan));
    Ok(if is_approved { Ok(plan) } else { Err(shape) })
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
pub(super) fn begin(app: &App<'_>, runs: &Runs, run: &str, shown: Shown) -> Result<(), Fault> {
    let spec = spec_of(runs, run)?;
    let global = Global {
        playbooks: spec.playbooks.clone(),
        ssh_config: spec
            .ssh_config
            .as_ref()
            .map(|file| file.display().to_string()),
        ..app.global.clone()
    };
    let (main, registry) = playbook_of(app.registry, &global, &spec)?;
    let mut target = target::of(&spec.cluster, &global)?;
    target.config.notify = target.config.notify.or(&spec.notify);
    let typed: Vec<(String, Value)> = spec.params.clone().into_iter().collect();
    let plan = match spec.approve_plan {
        true => {
            let played = playbook_of(app.registry, &global, &spec)?;
            let approved = approved(app, runs, run, played, &target, &typed)?;
            Some(approved.map_err(|plan| unapproved(run, &spec, &plan))?)
        }
        false => None,
    };
    // A plan knows nothing of what goes wrong.
    if let Some(scenario) = &mut target.twin {
        scenario.faults = spec.faults;
    }
    let draft = Draft::new(&registry, main, &target, &typed)?.named(run, &spec.labels);
    if draft.fingerprint() != spec.fingerprint {
        let what = format!("{} isn't what it was when the rollout began", spec.playbook);
        return Err(Fault::new(Exit::Diverged, what)
            .help("restore the playbook, or the lockstep that has it; or begin another rollout"));
    }
    let simulated = target.is_simulated();
    let secrets = params::secrets(draft.playbook(), draft.params(), simulated, None)?;
    let runtime = runtime(simulated)?;
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
    runtime.block_on(front.play(session))?;
    Ok(())
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
            [&spec.playbook, &spec.cluster].map(Path::new),
        )?,
        false => registry.clone(),
    };
    Ok((main, registry))
}

fn spec_of(runs: &Runs, run: &str) -> Result<Spec, Fault> {
    let unknown = || Fault::usage(format!("{run:?} is no run of a cluster in a rollout here"));
    let (rollout, cluster) = cluster_of(run).ok_or_else(unknown)?;
    Specs::of(runs, rollout).read(cluster)?.ok_or_else(unknown)
}

/// Looks at the cluster of a run: a simulated one as the run left it.
pub(crate) fn verify(app: &App<'_>, args: &VerifyArgs) -> Result<Exit, Fault> {
    let (runs, run) = (app.runs()?, args.run.as_str());
    let spec = spec_of(&runs, run)?;
    let history = runs.history(run)?;
    let target = Target {
        name: history.head.target.clone(),
        ..target::of(&spec.cluster, app.global)?
    };
    let runtime = runtime(target.is_simulated())?;
    let _within = runtime.enter();
    let way = match target.name {
        ClusterRef::Twin(_) => {
            Way::twin(read_world(&runs.folder_of(run)?.join("twin.json"))?, None)
        }
        _ => target.way(None)?,
    };
    let read = Once::of("status.read", json!({}));
    let read = op::read_once(app.registry, &target, &way, read, Shown::Nothing);
    let status =
        Status::deserialize(runtime.block_on(read)?).map_err(|e| Fault::new(Exit::Failed, e))?;
    print::json(&json!(health(&status)));
    Ok(Exit::Done)
}

/// What is wrong with a cluster, in sentences.
fn health(status: &Status) -> Health {
    let mut wrong = Vec::new();
    if !status.in_step || !status.healthy {
        wrong.push(status.brief());
    }
    let unwell = status
        .components
        .iter()
        .filter(|c| !matches!(c.health, status::Health::Ok | status::Health::Absent));
    wrong.extend(unwell.flat_map(|c| {
        c.problems
            .iter()
            .map(|problem| format!("{}: {problem}", c.title))
    }));
    Health { wrong }
}

/// A run that stopped, in a line.
pub(super) fn line(job: &Job) -> String {
    match &job.why {
        Some(why) => format!("{}: {}: {why}", job.run, job.state),
        None => format!("{}: {}", job.run, job.state),
    }
}
