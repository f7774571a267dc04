//! `resume`: a run that was held, interrupted or killed.

use clap::Args;
use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::cmd::quote;
use lockstep_modules::contract::op::{Effect, Op, Registry};
use lockstep_modules::contract::schema::required;
use lockstep_modules::ops::exec::Exec;
use lockstep_modules::ops::lock::{Release, Take};
use lockstep_modules::ops::snap::REFRESH;
use serde_json::{Value, json};

use super::notify::receivers;
use super::playbook::{DELIVER, main_of};
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::{Front, Waits, runtime_at, tell, undelivered, who};
use crate::cli::global::Global;
use crate::cli::shown::{Shown, is_screen};
use crate::cli::{modules, params, print, target};
use crate::config::Config;
use crate::engine::{Decisions, EngineError, Finish, Held};
use crate::journal::{ClusterRef, History, Step};
use crate::programs::Captured;
use crate::report::harmless;
use crate::report::hold::{self, Suggestion, assumed};
use crate::secret::Secrets;
use crate::session::{Choices, Played, SessionError, TakenUp};
use lockstep_modules::contract::path::StepPath;

/// How a run is continued.
#[derive(Args, Default)]
pub(crate) struct ResumeArgs {
    /// The run, for example update-14
    run: String,
    /// Run this step again, regardless of its outcome; can be repeated
    #[arg(long, value_name = "STEP")]
    retry: Vec<StepPath>,
    /// Mark this step done, with this result as JSON; can be repeated
    #[arg(long, value_name = "STEP[=RESULT]")]
    assume_done: Vec<String>,
    #[command(flatten)]
    how: How,
    /// Continue with this playbook instead of the captured one; it must match what was done so far
    #[arg(long, value_name = "FILE|NAME")]
    playbook: Option<String>,
    /// Read this secret from another source: env:NAME, file:PATH, or ask; can be repeated
    #[arg(long, value_name = "NAME=SOURCE")]
    secret: Vec<String>,
    /// Stop following the run's plan
    #[arg(long)]
    without_plan: bool,
    /// Rehearsals only: simulated seconds per real second
    #[arg(long, value_name = "N", value_parser = super::rehearse::speed)]
    speed: Option<f64>,
    /// On a further failure: hold the run, or pass the failure to the playbook
    #[arg(long, value_name = "WHAT", value_parser = ["hold", DELIVER], default_value = "hold")]
    on_failure: String,
    #[arg(skip)]
    waits: Waits,
}

/// What is decided without naming a step.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct How {
    /// Pass the failures of all held steps to the playbook, which cleans up and ends
    #[arg(long)]
    pub(crate) deliver: bool,
    /// Continue even if something else changed the cluster
    #[arg(long)]
    pub(crate) trust_cluster: bool,
    /// Rehearsals only: clear all faults before continuing
    #[arg(long)]
    pub(crate) mend: bool,
    /// Answer yes to every prompt
    #[arg(long)]
    pub(crate) yes: bool,
}

impl From<How> for ResumeArgs {
    fn from(how: How) -> Self {
        Self {
            how,
            ..Self::default()
        }
    }
}

impl ResumeArgs {
    /// The same, with this where the run has nothing to do but wait.
    pub(super) fn waiting(self, waits: Waits) -> Self {
        Self { waits, ..self }
    }
}

/// What is typed to continue a run, and to abort it.
pub(super) struct Common<'a> {
    pub(super) run: &'a str,
    pub(super) assume_done: &'a [String],
    pub(super) playbook: Option<&'a str>,
    pub(super) secret: &'a [String],
}

/// Continues a run.
pub(crate) fn resume(app: &App<'_>, args: &ResumeArgs) -> Result<Exit, Fault> {
    let common = Common {
        run: &args.run,
        assume_done: &args.assume_done,
        playbook: args.playbook.as_deref(),
        secret: &args.secret,
    };
    continue_run(app, &common, Some(args))
}

impl<'a> Common<'a> {
    /// A run that continues with what it captured.
    pub(super) fn of(run: &'a str) -> Self {
        Self {
            run,
            assume_done: &[],
            playbook: None,
            secret: &[],
        }
    }
}

/// A run that was continued, and how that came out.
pub(super) struct Continued {
    pub(super) played: Played,
    aborting: bool,
    registry: Registry,
}

/// Continues a run: as `resumed` asks, or, where nobody resumes it, to abort it. Tells how it ended.
pub(super) fn continue_run(
    app: &App<'_>,
    common: &Common<'_>,
    resumed: Option<&ResumeArgs>,
) -> Result<Exit, Fault> {
    let continued = played(app, common, resumed, Shown::of_run(app.global))?;
    let Continued {
        played,
        aborting,
        registry,
    } = continued;
    let runs = app.runs()?;
    if let (true, false, Finish::Held(held)) = (aborting, app.global.json, &played.finish) {
        not_restored(&played.id, held, &runs.history(&played.id)?);
        undelivered(&played);
        return Ok(Exit::Held);
    }
    let exit = tell(&played, app.global);
    if exit == Exit::Aborted && !app.global.json {
        let history = runs.history(&played.id)?;
        match &history.head.target {
            ClusterRef::Fleet(_) => out!(
                "The runs of its clusters are as they were: lockstep fleet status -r {}",
                played.id
            ),
            _ => stays(&registry, &history),
        }
    }
    Ok(exit)
}

/// Continues a run, of which this is shown.
pub(super) fn played(
    app: &App<'_>,
    common: &Common<'_>,
    resumed: Option<&ResumeArgs>,
    shown: Shown,
) -> Result<Continued, Fault> {
    let (abort, speed) = (resumed.is_none(), resumed.and_then(|args| args.speed));
    let is_set = |flag: fn(&ResumeArgs) -> bool| resumed.is_some_and(flag);
    let runs = app.runs()?;
    let taken = TakenUp::of(&runs, common.run)?;
    let aborting = abort || taken.history().cancelled.is_some();
    let registry = registry_of(app, &taken)?;
    let named = common.playbook.map(|named| main_of(app.global, named));
    let named = named.transpose()?;
    let script = taken.script(&registry, named)?;
    let simulated = taken.is_simulated();
    let looks = matches!(taken.head().target, ClusterRef::File(_));
    let secrets = params::secrets(
        script.playbook(),
        &taken.head().params,
        simulated,
        Some(common.secret),
    )?;
    if speed.is_some() && !simulated {
        return Err(Fault::usage("--speed works only on rehearsals"));
    }
    let named = target::again(taken.head(), app.global)?;
    let choices = Choices {
        who: who(),
        cluster: cluster_of(&taken, named.as_ref(), app.global),
        notify: named
            .map(|config| receivers(&runs, common.run, config.notify))
            .transpose()?,
        decisions: decisions(&registry, taken.history(), &secrets, common, resumed)?,
        secrets,
        trust_cluster: is_set(|args| args.how.trust_cluster),
        abort,
        without_plan: is_set(|args| args.without_plan),
        mend: is_set(|args| args.how.mend),
    };
    let speed = speed.or(app.global.pace);
    let runtime = runtime_at(simulated, &registry, speed)?;
    let _within = runtime.enter();
    // Only for what is shown where the two differ: a run continues with another playbook even if its own can't be read.
    let then = taken.captured();
    let session = taken.resume(registry.clone(), script, choices)?;
    let now = session.sources();
    let front = Front {
        shown,
        yes: is_set(|args| args.how.yes),
        deliver_failures: is_set(|args| args.on_failure == DELIVER),
        waits: resumed.map_or(Waits::Here, |args| args.waits),
        speed,
    };
    if looks && matches!(front.shown, Shown::All { .. }) && !is_screen() {
        out!("{}: looking at the cluster first", session.id);
    }
    let played = runtime.block_on(front.play(session));
    let played = played.map_err(|error| match error {
        EngineError::Divergence(at) => Fault::diverged(&at, &then, &now),
        error => Fault::from(error),
    })?;
    Ok(Continued {
        played,
        aborting,
        registry,
    })
}

/// The members stay those of the run; how they are reached may be another way now.
fn cluster_of(taken: &TakenUp, named: Option<&Config>, global: &Global) -> Option<Cluster> {
    if taken.is_simulated() {
        return None;
    }
    let mut cluster = match named {
        Some(config) => config.cluster.clone(),
        None => taken.head().cluster.clone(),
    };
    target::with_ssh_config(&mut cluster, global);
    Some(cluster)
}

/// The ops that the run continues with: those of lockstep itself, and the programs that the run captured or that are named
/// now.
fn registry_of(app: &App<'_>, taken: &TakenUp) -> Result<Registry, Fault> {
    let (id, captured) = (&taken.head().id, &taken.head().programs);
    if let Some(named) = &app.global.modules {
        let named = modules::of_folder(app.registry, named)?;
        return Ok(taken.registry(app.registry, Some(named))?);
    }
    let from = captured.as_ref().map(|captured| captured.folder.display());
    let changed = captured.as_ref().map(Captured::changed).unwrap_or_default();
    if let (Some(from), false) = (&from, changed.is_empty()) {
        err!(
            "{id} continues with its own copy of modules/; changed since: {}. To continue with what is there now:\n  \
             lockstep resume {id} --modules {from}",
            changed.join(", "),
        );
    }
    let registry = taken.registry(app.registry, None);
    registry.map_err(|error| match (error, from) {
        (SessionError::Programs(changed), Some(from)) => Fault::from(changed).help(format!(
            "if there is another copy that does the same, name it:\n  lockstep resume {id} --modules {from}\n  \
             lockstep abort {id} --modules {from}"
        )),
        (error, _) => Fault::from(error),
    })
}

/// Tells what an abort could not restore, with what to type.
fn not_restored(id: &str, held: &[Held], history: &History) {
    out!("{id} is not fully aborted. These were not restored, or their state is unknown:");
    let again = format!("lockstep abort {id}");
    let mut suggestions = vec![Suggestion::new(
        "retry once the cause is fixed",
        again.clone(),
    )];
    for step in held {
        out!("  {}: {}", step.path, step.failure);
        let command = history.steps.get(&step.path).and_then(by_hand);
        if let Some(command) = command.filter(|_| !step.in_doubt) {
            suggestions.push(Suggestion::new("restore it by hand", command));
        }
        let done = format!("{again} --assume-done {}", assumed(step));
        suggestions.push(Suggestion::new(
            "mark it done (you restored it by hand)",
            done,
        ));
    }
    let suggestions = hold::table(&suggestions, hold::columns());
    print::styled(&format!("What you can do:\n{}", harmless(&suggestions)));
}

/// The command that does what a step does; none where its arguments are more than can be typed.
fn by_hand(step: &Step) -> Option<String> {
    if step.op == Take::NAME || step.op == Release::NAME {
        return Some("lockstep unlock".to_owned());
    }
    let mut command = format!("lockstep op {}", step.op);
    for (name, value) in step.args.as_object()? {
        let name = name.replace('_', "-");
        match value {
            Value::Null => {}
            Value::Bool(_) => command.push_str(&format!(" --{name}={value}")),
            Value::Number(_) => command.push_str(&format!(" --{name} {value}")),
            Value::String(text) => command.push_str(&format!(" --{name} {}", quote(text))),
            Value::Array(_) | Value::Object(_) => return None,
        }
    }
    Some(command)
}

/// Tells what an aborted run leaves: what became of snaps and of a site's own programs, which nothing restores.
fn stays(registry: &Registry, history: &History) {
    let mut lines = Vec::new();
    for completion in &history.completions {
        let Some(step) = history.steps.get(&completion.path) else {
            continue;
        };
        // What failed may have changed something all the same.
        let value = match &completion.result {
            Ok(value) => Some(value),
            Err(_) => step.did.as_ref(),
        };
        let (Some(value), Ok(op)) = (value, registry.op(&step.op)) else {
            continue;
        };
        let lasting = step.op == Exec::NAME || step.op == REFRESH;
        let changed = value.get("changed") != Some(&Value::Bool(false));
        if lasting && step.effect == Effect::Once && changed {
            let member = op
                .member(&step.args)
                .map_or_else(String::new, |m| m.to_string());
            let (what, how) = (op.call.headline(&step.args), op.call.summary(value));
            lines.push(format!("  {member}  {} {what}: {how}", op.name));
        }
    }
    if lines.is_empty() {
        out!("It changed nothing else.");
        return;
    }
    out!("These changes remain:\n{}", lines.join("\n"));
    out!(
        "lockstep status shows the state of the cluster; lockstep update brings its members in step."
    );
}

fn decisions(
    registry: &Registry,
    history: &History,
    secrets: &Secrets,
    common: &Common<'_>,
    resumed: Option<&ResumeArgs>,
) -> Result<Decisions, Fault> {
    let mut decisions = resumed.map_or_else(Decisions::default, |args| Decisions {
        retry: args.retry.iter().cloned().collect(),
        deliver: args.how.deliver,
        ..Decisions::default()
    });
    for given in common.assume_done {
        let (path, value) = match given.split_once('=') {
            Some((path, text)) => {
                let value = serde_json::from_str(text).map_err(|e| {
                    Fault::usage(format!("--assume-done {path}: the result is not JSON: {e}"))
                })?;
                (StepPath::from(path), value)
            }
            None => (given.as_str().into(), json!({})),
        };
        let value = fitted(registry, history, &path, value)?;
        decisions.assume_done.insert(path, secrets.take_out(value));
    }
    Ok(decisions)
}

/// A result that the operator gives must be what the playbook expects to read.
fn fitted(
    registry: &Registry,
    history: &History,
    path: &StepPath,
    value: Value,
) -> Result<Value, Fault> {
    let Some(step) = history.steps.get(path) else {
        // The engine knows which steps wait, and says so.
        return Ok(value);
    };
    let op = registry.op(&step.op).map_err(Fault::usage)?;
    lockstep_modules::contract::schema::coerce(&op.out, value).map_err(|misfit| {
        let fields: Vec<&str> = required(&op.out).collect();
        let fault = Fault::usage(format!(
            "--assume-done {path}: the result of {}: {misfit}",
            op.name
        ));
        fault.help(format!(
            "it has the fields {}; see lockstep doc {}",
            fields.join(", "),
            op.name
        ))
    })
}
