//! `resume`: a run that was held, interrupted or killed.

use std::rc::Rc;

use clap::Args;
use lockstep_modules::contract::cmd::quote;
use lockstep_modules::contract::op::{Effect, Registry};
use lockstep_modules::contract::reach::Transport;
use lockstep_modules::contract::schema::required;
use serde_json::{Value, json};

use super::playbook::{Main, PLAN};
use crate::cli::exit::{Exit, Fault};
use crate::cli::global::Global;
use crate::cli::params;
use crate::cli::session::{Session, runtime, state, tell};
use crate::cli::shown::{Shown, is_screen};
use crate::cli::target::{self, Target, read_world, simulation, ssh};
use crate::cli::{modules, print};
use crate::clock::Clock;
use crate::engine::{Decisions, EngineError, Finish, Held, Resume, Start};
use crate::journal::{History, Step};
use crate::programs;
use crate::report::harmless;
use crate::report::hold::{self, Way, assumed};
use crate::runs::{RunFolder, Runs};
use crate::script::Script;
use crate::secret::Secrets;

/// How a run is gone on with.
#[derive(Args)]
pub(crate) struct ResumeArgs {
    /// The run, for example update-14
    run: String,
    /// Run this step again, regardless of its outcome; can be repeated
    #[arg(long, value_name = "STEP")]
    retry: Vec<String>,
    /// Mark this step done, with this result as JSON; can be repeated
    #[arg(long, value_name = "STEP[=RESULT]")]
    assume_done: Vec<String>,
    /// Pass the failures of all held steps to the playbook, which cleans up and ends
    #[arg(long)]
    deliver: bool,
    /// Continue even if something else changed the cluster
    #[arg(long)]
    trust_cluster: bool,
    /// Continue with this playbook instead of the captured one; it must match what was done so far
    #[arg(long, value_name = "FILE|NAME")]
    pub(crate) playbook: Option<String>,
    /// Read this secret from another source: env:NAME, file:PATH, or ask; can be repeated
    #[arg(long, value_name = "NAME=SOURCE")]
    secret: Vec<String>,
    /// Stop following the run's plan
    #[arg(long)]
    without_plan: bool,
    /// Rehearsals only: clear all faults before continuing
    #[arg(long)]
    mend: bool,
    /// Rehearsals only: simulated seconds per real second
    #[arg(long, value_name = "N", value_parser = super::rehearse::speed)]
    speed: Option<f64>,
    /// Answer yes to every prompt
    #[arg(long)]
    yes: bool,
    /// On a further failure: hold the run, or pass the failure to the playbook
    #[arg(long, value_name = "WHAT", value_parser = ["hold", "deliver"], default_value = "hold")]
    on_failure: String,
}

impl ResumeArgs {
    /// What an abort takes of all this.
    pub(crate) fn to_abort(run: &str, assume_done: &[String], secret: &[String]) -> Self {
        Self {
            run: run.to_owned(),
            retry: Vec::new(),
            assume_done: assume_done.to_vec(),
            deliver: false,
            trust_cluster: false,
            playbook: None,
            secret: secret.to_vec(),
            without_plan: false,
            mend: false,
            speed: None,
            yes: false,
            on_failure: "hold".to_owned(),
        }
    }
}

/// Goes on with a run.
pub(crate) fn resume(
    registry: &Registry,
    global: &Global,
    args: &ResumeArgs,
) -> Result<Exit, Fault> {
    go_on(registry, global, args, false)
}

/// Goes on with a run, to its end or to abort it.
pub(crate) fn go_on(
    registry: &Registry,
    global: &Global,
    args: &ResumeArgs,
    abort: bool,
) -> Result<Exit, Fault> {
    let runs = Runs::in_state(&state(global)?);
    let folder = runs.take_up(&args.run)?;
    let (journal, history) = folder.open_journal()?;
    if history.refused() {
        let text = format!("{} was refused; nothing was changed", args.run);
        return Err(Fault::usage(text).help("run the command again"));
    }
    if history.end.is_some() {
        return Err(Fault::usage(format!("{} has ended", args.run))
            .help(format!("lockstep show {}  shows how", args.run)));
    }
    let aborting = abort || history.cancelled.is_some();
    let head = history.head.clone();
    let registry = &registry_of(registry, &folder, &history, global)?;
    let mut script = match &args.playbook {
        Some(named) => {
            let Main { main, finder, .. } = Main::of(global.playbooks(), named)?;
            Script::load(&main, Box::new(finder), registry, head.seed)?
        }
        None => Script::load(
            &head.playbook,
            Box::new(folder.captured(&head)?),
            registry,
            head.seed,
        )?,
    };
    let plan = folder.file(PLAN);
    let approved = if plan.exists() && !args.without_plan {
        Some(super::plan::read(&plan)?.approved())
    } else {
        None
    };
    let simulated = head.target.is_simulated();
    let secrets = params::secrets(
        script.playbook(),
        &head.params,
        simulated,
        Some(&args.secret),
    )?;
    let decisions = decisions(registry, &history, &secrets, args)?;
    if args.mend && !simulated {
        return Err(Fault::usage(
            "--mend works only on rehearsals; repair the cluster yourself",
        ));
    }
    if args.speed.is_some() && !simulated {
        return Err(Fault::usage("--speed works only on rehearsals"));
    }
    let mut cluster = head.cluster.clone();
    if global.cluster.is_some() && !simulated {
        // The members stay those of the run; how they are reached may be another way now.
        let now = Target::of(global)?.config.cluster;
        if now.names() != cluster.names() {
            let members = cluster.names().join(", ");
            return Err(Fault::usage(format!(
                "the run has the members {members}, and this cluster file has others"
            )));
        }
        cluster = now;
    }
    target::with_ssh_config(&mut cluster, global);
    script.start(&head.cluster, &head.params)?;
    // Only for what is shown where the two differ: a run goes on with another playbook even if its own can't be read.
    let then = folder.captured(&head).map(|captured| captured.0);
    let (then, now) = (then.unwrap_or_default(), script.loaded());

    let speed = args.speed.or(global.pace);
    let runtime = runtime(simulated || speed.is_some())?;
    let outcome = runtime.block_on(async {
        let twin = if simulated {
            let file = folder.file("twin.json");
            let mut world = read_world(&file)?;
            if args.mend {
                world.mend();
            }
            Some(simulation(world, Some(file)))
        } else {
            None
        };
        let transport: Rc<dyn Transport> = match &twin {
            Some(twin) => Rc::new(twin.clone()),
            None => ssh(&cluster)?,
        };
        let session = Session {
            registry,
            cluster,
            transport,
            folder: Some(folder.path.clone()),
            shown: Shown::of_run(global),
            simulated,
            // A simulated cluster stood still in the meantime.
            clock: twin.as_ref().map_or_else(Clock::system, |twin| {
                let world = twin.world();
                let world = world.borrow();
                Clock::at(world.timestamp(world.now))
            }),
            yes: args.yes,
            deliver_failures: args.on_failure == "deliver",
            approved,
            secrets,
            speed,
        };
        if !simulated && matches!(session.shown, Shown::All { .. }) && !is_screen() {
            out!("{}: looking at the cluster first", folder.id);
        }
        let resume = Resume {
            history,
            decisions,
            trust_cluster: args.trust_cluster,
            abort,
        };
        let outcome = session
            .play(script, Box::new(journal), Start::Resumed(Box::new(resume)))
            .await;
        if let Some(twin) = &twin {
            twin.leave();
        }
        outcome.map_err(|error| match error {
            EngineError::Divergence(at) => Fault::diverged(&at, &then, &now),
            error => Fault::from(error),
        })
    })?;
    if let (true, false, Finish::Held(held)) = (aborting, global.json, &outcome.finish) {
        not_given_back(&folder.id, held, &runs.history(&folder.id)?);
        return Ok(Exit::Held);
    }
    let exit = tell(&folder.id, &outcome, global.json);
    if exit == Exit::Aborted && !global.json {
        stays(registry, &runs.history(&folder.id)?);
    }
    Ok(exit)
}

/// The ops that the run goes on with: those of lockstep itself, and the programs that the run captured or that are named now.
fn registry_of(
    native: &Registry,
    folder: &RunFolder,
    history: &History,
    global: &Global,
) -> Result<Registry, Fault> {
    let head = &history.head;
    let registry = match (&global.modules, &head.programs) {
        (Some(named), _) => modules::of_folder(native, named)?,
        (None, Some(captured)) => {
            let changed = captured.changed();
            if !changed.is_empty() {
                err!(
                    "{id} continues with its own copy of modules/; changed since: {}. To continue with what is there now:\n  \
                     lockstep resume {id} --modules {}",
                    changed.join(", "),
                    captured.folder.display(),
                    id = head.id,
                );
            }
            let modules = programs::captured(&folder.path, captured).map_err(|changed| {
                let (id, from) = (&head.id, captured.folder.display());
                Fault::from(changed).help(format!(
                    "if there is another copy that does the same, name it:\n  lockstep resume {id} --modules {from}\n  \
                     lockstep abort {id} --modules {from}"
                ))
            })?;
            native.with(modules)
        }
        (None, None) => native.clone(),
    };
    let missing = history
        .steps
        .values()
        .find(|step| registry.op(&step.op).is_err());
    match missing {
        None => Ok(registry),
        Some(step) => Err(Fault::usage(format!(
            "{} called {}, and there is no such op here",
            head.id, step.op
        ))
        .help("continue with the lockstep and the modules that it was started with")),
    }
}

/// Tells what an abort could not give back, with what to type.
fn not_given_back(id: &str, held: &[Held], history: &History) {
    let way = |what: &str, command: String| Way {
        what: what.to_owned(),
        command,
    };
    out!("{id} is not fully aborted. These were not restored, or their state is unknown:");
    let again = format!("lockstep abort {id}");
    let mut ways = vec![way("retry once the cause is fixed", again.clone())];
    for step in held {
        out!("  {}: {}", step.path, step.failure);
        let command = history.steps.get(&step.path).and_then(by_hand);
        if let Some(command) = command.filter(|_| !step.in_doubt) {
            ways.push(way("restore it by hand", command));
        }
        let done = format!("{again} --assume-done {}", assumed(step));
        ways.push(way("mark it done (you restored it by hand)", done));
    }
    let ways = hold::table(&ways, hold::columns());
    print::styled(&format!("What you can do:\n{}", harmless(&ways)));
}

/// The command that does what a step does; none where its arguments are more than can be typed.
fn by_hand(step: &Step) -> Option<String> {
    if step.op.starts_with("lock.") {
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

/// Tells what an aborted run leaves: what became of snaps and of a site's own programs, which nothing gives back.
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
        let lasting = step.op == "exec" || step.op.starts_with("snap.");
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
    args: &ResumeArgs,
) -> Result<Decisions, Fault> {
    let mut decisions = Decisions {
        retry: args.retry.iter().cloned().collect(),
        deliver: args.deliver,
        ..Decisions::default()
    };
    for given in &args.assume_done {
        let (path, value) = match given.split_once('=') {
            Some((path, text)) => {
                let value = serde_json::from_str(text).map_err(|e| {
                    Fault::usage(format!("--assume-done {path}: the result is not JSON: {e}"))
                })?;
                (path, value)
            }
            None => (given.as_str(), json!({})),
        };
        let value = fitted(registry, history, path, value)?;
        decisions
            .assume_done
            .insert(path.to_owned(), secrets.take_out(value));
    }
    Ok(decisions)
}

/// A result that the operator gives must be what the playbook expects to read.
fn fitted(
    registry: &Registry,
    history: &History,
    path: &str,
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
