//! `update`, `upgrade` and `run`: a playbook from its beginning.

use std::path::PathBuf;
use std::rc::Rc;

use clap::Args;
use lockstep_modules::op::Registry;
use lockstep_modules::transport::Transport;
use serde_json::{Map, Value};

use super::Global;
use super::exit::{Exit, Fault};
use super::session::{self, Session, runtime, state, tell};
use super::target::{Target, simulation, ssh};
use crate::bundle::Finder;
use crate::engine::Start;
use crate::journal::{FORMAT, Head};
use crate::runs::Runs;
use crate::script::Script;

/// The parameters of a playbook.
#[derive(Args, Clone)]
pub(crate) struct Params {
    /// A parameter of the playbook; may be given more than once
    #[arg(long = "param", short, value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// Go on although this check of the preflight says no; may be given more than once
    #[arg(long, value_name = "CHECK")]
    accept: Vec<String>,
}

/// What every run takes.
#[derive(Args, Clone)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    params: Params,
    /// Answer every question of the playbook with yes
    #[arg(long)]
    yes: bool,
    /// What a failure does: hold the run where it is, or let the playbook have it
    #[arg(long, value_name = "WHAT", value_parser = ["hold", "deliver"], default_value = "hold")]
    on_failure: String,
}

/// A site's own playbook.
#[derive(Args)]
pub(crate) struct FileArgs {
    /// The playbook: a Lua file, or the name of a shipped one
    file: String,
    #[command(flatten)]
    run: RunArgs,
}

/// A playbook with its parameters, for commands that don't touch a cluster.
#[derive(Args, Clone)]
pub(crate) struct Which {
    /// The playbook: a Lua file, or the name of a shipped one
    file: String,
    /// A parameter of the playbook; may be given more than once
    #[arg(long = "param", short, value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
}

/// A playbook that was named on the command line.
pub(super) struct Main {
    /// Its main module.
    pub(super) main: String,
    /// The name that its runs get.
    pub(super) name: String,
    /// Where its modules are.
    pub(super) finder: Finder,
}

impl Main {
    /// A shipped playbook by its name, or a site's by its file.
    pub(super) fn of(global: &Global, file: &str) -> Self {
        if global.playbooks().names().iter().any(|name| name == file) {
            return Self {
                main: file.to_owned(),
                name: file.to_owned(),
                finder: Finder::shipped(global.playbooks()),
            };
        }
        let path = PathBuf::from(file);
        let stem = path.file_stem().map_or_else(
            || "run".to_owned(),
            |stem| stem.to_string_lossy().into_owned(),
        );
        Self {
            main: file.to_owned(),
            name: plain(&stem),
            finder: Finder::site(&path, global.playbooks()),
        }
    }
}

impl Which {
    pub(super) fn main(&self, global: &Global) -> Main {
        Main::of(global, &self.file)
    }

    /// The parameters, as they were typed.
    pub(super) fn given(&self) -> Map<String, Value> {
        typed(&self.params).collect()
    }
}

fn typed(params: &[(String, String)]) -> impl Iterator<Item = (String, Value)> {
    params
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("{text:?} is not of the form NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Runs a shipped playbook.
pub(super) fn shipped(
    registry: &Registry,
    global: &Global,
    name: &str,
    args: &RunArgs,
) -> Result<Exit, Fault> {
    run(registry, global, Main::of(global, name), args)
}

/// Runs a playbook from a file.
pub(super) fn file(registry: &Registry, global: &Global, args: &FileArgs) -> Result<Exit, Fault> {
    run(registry, global, Main::of(global, &args.file), &args.run)
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

fn run(registry: &Registry, global: &Global, main: Main, args: &RunArgs) -> Result<Exit, Fault> {
    let Main { main, name, finder } = main;
    let target = Target::of(global)?;
    let seed = 1;
    let mut script = Script::load(&main, Box::new(finder), registry, seed)?;
    let params = script
        .playbook()
        .params(&given(&target, &script, &name, &args.params))?;
    let cluster = target.config.cluster.clone();
    script.start(&cluster, &params)?;

    let folder = Runs::in_state(&state(global)?).create(&name)?;
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
        who: session::who(),
    };
    let journal = Box::new(folder.create_journal()?);
    let runtime = runtime(target.twin.is_some())?;
    let outcome = runtime.block_on(async {
        let transport: Rc<dyn Transport> = match &target.twin {
            Some(scenario) => Rc::new(simulation(scenario.build(), Some(folder.file("twin.json")))),
            None => ssh(&cluster)?,
        };
        let session = Session {
            registry,
            cluster,
            transport,
            folder: Some(folder.path.clone()),
            json: global.json,
            verbose: global.verbose,
            quiet: false,
            yes: args.yes,
            deliver_failures: args.on_failure == "deliver",
        };
        session
            .play(script, journal, Start::Fresh(Box::new(head)))
            .await
            .map_err(Fault::from)
    })?;
    Ok(tell(&folder.id, &outcome, global.json))
}

/// The parameters that are given: the command line's, then the cluster file's. Channels in the file are parameters of
/// every playbook that takes them.
pub(super) fn given(
    target: &Target,
    script: &Script,
    name: &str,
    args: &Params,
) -> Map<String, Value> {
    let takes = |name: &str| {
        script
            .playbook()
            .params
            .iter()
            .any(|(known, _)| known == name)
    };
    let channels = target
        .config
        .channels
        .iter()
        .filter(|(name, _)| takes(name));
    let mut given: Map<String, Value> = channels
        .map(|(name, c)| (name.clone(), Value::from(c.as_str())))
        .collect();
    given.extend(target.config.params.get(name).cloned().unwrap_or_default());
    given.extend(typed(&args.params));
    if !args.accept.is_empty() {
        given.insert("accept".to_owned(), Value::from(args.accept.clone()));
    }
    given
}
