//! `update`, `upgrade` and `run`: a playbook from its beginning.

use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use lockstep_modules::contract::cluster::MemberConfig;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::reach::Transport;
use serde_json::{Map, Value};

use crate::bundle::{Finder, Playbooks};
use crate::cli::exit::{Exit, Fault};
use crate::cli::global::Global;
use crate::cli::mistakes::near_file;
use crate::cli::params::{self, Params};
use crate::cli::session::{self, Session, runtime, state, tell};
use crate::cli::shown::Shown;
use crate::cli::target::{Target, machines, simulation, ssh, world};
use crate::clock::Clock;
use crate::engine::Start;
use crate::journal::{FORMAT, Head};
use crate::private;
use crate::programs;
use crate::runs::Runs;
use crate::script::Script;
use crate::trial::Piece;

/// The file in a run's folder with the plan that it has to keep to.
pub(crate) const PLAN: &str = "plan.json";

/// What every run takes.
#[derive(Args, Clone)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    params: Params,
    /// Follow this plan; hold at any step not in it
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    /// Answer yes to every prompt
    #[arg(long)]
    yes: bool,
    /// On a failure: hold the run, or pass the failure to the playbook
    #[arg(long, value_name = "WHAT", value_parser = ["hold", "deliver"], default_value = "hold")]
    on_failure: String,
}

/// A site's own playbook.
#[derive(Args)]
pub(crate) struct FileArgs {
    /// Playbook: a Lua file, or the name of a shipped one
    file: String,
    #[command(flatten)]
    run: RunArgs,
}

/// A playbook with its parameters, for commands that don't touch a cluster.
#[derive(Args, Clone)]
pub(crate) struct Which {
    /// Playbook: a Lua file, or the name of a shipped one
    pub(crate) file: String,
    #[command(flatten)]
    pub(crate) params: Params,
}

/// A playbook that was named on the command line.
pub(crate) struct Main {
    /// Its main module.
    pub(crate) main: String,
    /// The name that its runs get.
    pub(crate) name: String,
    /// Where its modules are.
    pub(crate) finder: Finder,
    /// It is a site's own, which may name machines beside the cluster.
    site: bool,
}

impl Main {
    /// A shipped playbook by its name, or a site's by its file.
    pub(crate) fn of(playbooks: Playbooks, file: &str) -> Result<Self, Fault> {
        let names = playbooks.names();
        if names.iter().any(|name| name == file) {
            return Ok(Self {
                main: file.to_owned(),
                name: file.to_owned(),
                finder: Finder::shipped(playbooks),
                site: false,
            });
        }
        let path = PathBuf::from(file);
        if !path.exists() {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let near = near_file(&path, &names);
            return Err(Fault::usage(format!(
                "there is no playbook {file:?}, neither a file nor one of {}{near}",
                names.join(", ")
            )));
        }
        let stem = path.file_stem().map_or_else(
            || "run".to_owned(),
            |stem| stem.to_string_lossy().into_owned(),
        );
        Ok(Self {
            main: file.to_owned(),
            name: plain(&stem),
            finder: Finder::site(&path, playbooks),
            site: true,
        })
    }

    /// The machines beside a simulated cluster, as far as the playbook may need them.
    pub(crate) fn machines(&self, global: &Global) -> Result<Vec<MemberConfig>, Fault> {
        if self.site {
            machines(global)
        } else {
            Ok(Vec::new())
        }
    }
}

impl Which {
    pub(crate) fn main(&self, global: &Global) -> Result<Main, Fault> {
        Main::of(global.playbooks(), &self.file)
    }
}

/// Runs a playbook: a shipped one by its name, or a site's by its file.
pub(crate) fn shipped(
    registry: &Registry,
    global: &Global,
    name: &str,
    args: &RunArgs,
) -> Result<Exit, Fault> {
    let mut target = Target::of(global)?;
    let main = Main::of(global.playbooks(), name)?;
    if target.twin.is_some() {
        target.config.cluster.machines = main.machines(global)?;
    }
    run(registry, global, main, &target, args, None)
}

/// Runs a playbook from a file.
pub(crate) fn file(registry: &Registry, global: &Global, args: &FileArgs) -> Result<Exit, Fault> {
    shipped(registry, global, &args.file, &args.run)
}

/// A file's name as part of a run's name.
fn plain(stem: &str) -> String {
    stem.chars()
        .map(|c| {
            if c.is_alphanumeric() || c == '_' {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// Runs a playbook on a target. `speed` is that of a simulated cluster's time, if it isn't to jump.
pub(crate) fn run(
    registry: &Registry,
    global: &Global,
    main: Main,
    target: &Target,
    args: &RunArgs,
    speed: Option<f64>,
) -> Result<Exit, Fault> {
    let Main {
        main, name, finder, ..
    } = main;
    let seed = 1;
    let mut script = Script::load(&main, Box::new(finder), registry, seed)?;
    let takes = script.playbook().names();
    let params = script
        .playbook()
        .params(&given_by(target, &takes, &name, args.params.typed()))?;
    let config = &target.config;
    let params = params::anchored(script.playbook(), params, &args.params, config, &name)?;
    let cluster = target.config.cluster.clone();
    script.start(&cluster, &params)?;
    let approved = match &args.plan {
        None => None,
        Some(file) => {
            let plan = super::plan::read(file)?;
            let piece = Piece {
                registry: registry.clone(),
                main: main.clone(),
                bundle: script.loaded(),
                params: script.playbook().without_secrets(&params),
                machines: Vec::new(),
            };
            if let Some(why) = plan.misfit(&cluster.name, &cluster.names(), &piece) {
                let text = format!("the plan {} is not for this run: {why}", file.display());
                return Err(Fault::usage(text).help(
                    "run it as the plan was made, or create the plan again: lockstep plan … -o FILE",
                ));
            }
            Some(plan)
        }
    };
    let secrets = params::secrets(script.playbook(), &params, target.twin.is_some(), None)?;

    let folder = Runs::in_state(&state(global)?).create(&name)?;
    let (registry, programs) = programs::capture(&folder.path, registry)?;
    let head = Head {
        format: FORMAT,
        id: folder.id.clone(),
        playbook: main,
        params,
        lockstep: env!("CARGO_PKG_VERSION").to_owned(),
        target: target.name.clone(),
        cluster: cluster.clone(),
        seed,
        bundle: folder.capture(&script.loaded())?,
        programs,
        who: session::who(),
    };
    if let Some(plan) = &approved {
        let text = serde_json::to_string(plan).map_err(|e| Fault::new(Exit::State, e))?;
        let file = folder.file(PLAN);
        let written = private::write(&file, &text).and_then(|file| file.sync_all());
        written.map_err(|e| {
            Fault::new(
                Exit::State,
                format!("{} can't be written: {e}", file.display()),
            )
        })?;
    }
    let approved = approved.map(|plan| plan.approved());
    let journal = Box::new(folder.create_journal()?);
    let speed = speed.or(global.pace);
    let runtime = runtime(target.twin.is_some() || speed.is_some())?;
    let outcome = runtime.block_on(async {
        let twin = match &target.twin {
            Some(scenario) => Some(simulation(
                world(scenario, &cluster.machines)?,
                Some(folder.file("twin.json")),
            )),
            None => None,
        };
        let transport: Rc<dyn Transport> = match &twin {
            Some(twin) => Rc::new(twin.clone()),
            None => ssh(&cluster)?,
        };
        let session = Session {
            registry: &registry,
            cluster,
            transport,
            folder: Some(folder.path.clone()),
            shown: Shown::of_run(global),
            simulated: target.twin.is_some(),
            clock: Clock::system(),
            yes: args.yes,
            deliver_failures: args.on_failure == "deliver",
            approved,
            secrets,
            speed,
        };
        let outcome = session
            .play(script, journal, Start::Fresh(Box::new(head)))
            .await;
        if let Some(twin) = &twin {
            twin.leave();
        }
        outcome.map_err(Fault::from)
    })?;
    Ok(tell(&folder.id, &outcome, global.json))
}

/// The parameters that are given: the command line's, then the cluster file's. Channels in the file are parameters of
/// every playbook that takes them.
pub(crate) fn given_by(
    target: &Target,
    takes: &[String],
    name: &str,
    typed: impl Iterator<Item = (String, Value)>,
) -> Map<String, Value> {
    let channels = target
        .config
        .channels
        .iter()
        .filter(|(name, _)| takes.contains(name));
    let mut given: Map<String, Value> = channels
        .map(|(name, c)| (name.clone(), Value::from(c.as_str())))
        .collect();
    given.extend(target.config.params.get(name).cloned().unwrap_or_default());
    given.extend(typed);
    given
}
