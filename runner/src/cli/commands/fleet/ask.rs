//! `fleet ask`: what a rollout's playbook asks about a cluster, where its runs are run.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use lockstep_modules::contract::component::Component;
use lockstep_modules::contract::op::Effect;
use lockstep_modules::ops::cluster::{Look, Planned, Staged};
use lockstep_modules::ops::status::{self, Status};
use serde::Deserialize;
use serde_json::json;

use super::exec::{global_of, planned, spec_of, typed};
use crate::cli::app::App;
use crate::cli::commands::op;
use crate::cli::commands::playbook::main_of;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::{Front, Waits, runtime_at, who};
use crate::cli::shown::Shown;
use crate::cli::{print, target};
use crate::engine::Finish;
use crate::fleet::Spec;
use crate::plan::End;
use crate::secret::Secrets;
use crate::session::{Begin, Draft, Once};
use crate::target::{Way, read_world};

/// What is asked of which cluster.
#[derive(Args)]
pub(crate) struct AskArgs {
    /// What is asked
    what: What,
    /// The run of a cluster, for example rollout-3.berlin-012
    run: String,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// How the cluster is, after its run
    Look,
    /// What its run would do
    Plan,
    /// Fetch what its run would install
    Stage,
}

/// Answers as JSON on standard output.
pub(crate) fn ask(app: &App<'_>, args: &AskArgs) -> Result<Exit, Fault> {
    let spec = spec_of(&app.runs()?, &args.run)?;
    let answer = match args.what {
        What::Look => json!(look(app, &args.run, &spec)?),
        What::Plan => json!(plan(app, &spec)?),
        What::Stage => json!(stage(app, &spec)?),
    };
    print::json(&answer);
    Ok(Exit::Done)
}

/// Looks at the cluster of a run: a simulated one as the run left it.
fn look(app: &App<'_>, run: &str, spec: &Spec) -> Result<Look, Fault> {
    let global = global_of(app, spec);
    let target = target::of(&spec.cluster, &global)?;
    let runs = app.runs()?;
    let left = match runs.exists(run)? {
        true => Some(runs.folder_of(run)?.join("twin.json")).filter(|file| file.exists()),
        false => None,
    };
    let runtime = runtime_at(target.is_simulated(), app.registry, None)?;
    let _within = runtime.enter();
    let way = match left.filter(|_| target.is_simulated()) {
        Some(left) => Way::twin(read_world(&left)?, None),
        None => target.way(None)?,
    };
    let read = Once::of("status.read", json!({}));
    let read = op::read_once(app.registry, &target, &way, read, Shown::Nothing);
    let status =
        Status::deserialize(runtime.block_on(read)?).map_err(|e| Fault::new(Exit::Failed, e))?;
    Ok(Look {
        wrong: wrong(&status),
        components: Component::ALL
            .into_iter()
            .map(|component| (component, status.revisions(component)))
            .filter(|(_, revisions)| !revisions.is_empty())
            .collect::<BTreeMap<_, _>>(),
    })
}

/// What is wrong with a cluster, in sentences.
fn wrong(status: &Status) -> Vec<String> {
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
    wrong
}

fn plan(app: &App<'_>, spec: &Spec) -> Result<Planned, Fault> {
    let plan = planned(app, spec)?;
    let changes = plan.steps.iter().filter(|step| step.effect != Effect::Read);
    Ok(Planned {
        digest: plan.shape(),
        changes: changes.count(),
        whole: plan.end == End::Done,
    })
}

/// Fetches what a run would install. It leaves no run behind: what is there is there, and can be fetched again.
fn stage(app: &App<'_>, spec: &Spec) -> Result<Staged, Fault> {
    let global = global_of(app, spec);
    let main = main_of(&global, STAGE)?;
    let target = target::of(&spec.cluster, &global)?;
    let draft = Draft::fitting(app.registry, main, &target, typed(spec))?;
    let runtime = runtime_at(target.is_simulated(), app.registry, None)?;
    let _within = runtime.enter();
    let session = draft.begin(Begin {
        who: who(),
        runs: None,
        way: None,
        secrets: Secrets::default(),
        plan: None,
    })?;
    let front = Front {
        shown: Shown::Nothing,
        yes: spec.yes,
        // There is no run that could be held.
        deliver_failures: true,
        waits: Waits::Here,
        speed: app.global.pace,
    };
    let played = runtime.block_on(front.play(session))?;
    match played.finish {
        Finish::Done(_) => Ok(Staged {}),
        Finish::Failed(failure) => Err(failure.into()),
        _ => Err(Fault::new(Exit::Failed, "its snaps were not fetched")),
    }
}

/// The playbook that fetches snaps.
const STAGE: &str = "stage";
