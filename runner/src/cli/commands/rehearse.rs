//! `rehearse`: a playbook on a simulated cluster, with what may go wrong, to see what a run does and to practise.

use std::path::PathBuf;

use clap::Args;
use lockstep_twin::Fault as Mishap;

use super::playbook::{self, RunArgs, machines_of, main_of};
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::tell;
use crate::cli::global::Global;
use crate::cli::target::simulated;
use crate::config::{Config, Notify, read_scenario};
use crate::target::{Made, Target};

/// How a rehearsal is set up.
#[derive(Args)]
#[command(after_help = help())]
pub(crate) struct RehearseArgs {
    /// Playbook: a Lua file, or the name of a shipped one
    file: String,
    #[command(flatten)]
    run: RunArgs,
    /// Simulate this many members, installed as MicroCloud 1, 1-latest, 2, or 3 [default: 3@2]
    #[arg(long, value_name = "N[@SET]")]
    members: Option<Made>,
    /// Simulate the cluster described in this TOML file
    #[arg(long, value_name = "FILE", conflicts_with = "members")]
    scenario: Option<PathBuf>,
    /// Simulate a cluster modeled on this one, which is inspected once and not changed
    #[arg(long, value_name = "CLUSTER", conflicts_with_all = ["members", "scenario"])]
    like: Option<String>,
    /// Fault to inject; can be repeated
    #[arg(long = "fault", value_name = "NAME[:ARG,…][@WHEN][+SPAN]")]
    faults: Vec<Mishap>,
    /// Notify the receivers of this cluster file; without it, nobody gets to know of a rehearsal
    #[arg(long, value_name = "FILE")]
    notify: Option<PathBuf>,
    /// Simulated seconds per real second; without it, waiting takes no time
    #[arg(long, value_name = "N", value_parser = speed)]
    speed: Option<f64>,
}

pub(crate) fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(speed) if (0.1..=10_000.0).contains(&speed) => Ok(speed),
        _ => Err("a speed is a number from 0.1 to 10000".to_owned()),
    }
}

fn help() -> String {
    let width = lockstep_twin::KINDS
        .iter()
        .map(|kind| kind.usage().len())
        .max()
        .unwrap_or(0);
    let line =
        |kind: &lockstep_twin::FaultKind| format!("  {:width$}  {}\n", kind.usage(), kind.about);
    let kinds: String = lockstep_twin::KINDS.iter().map(line).collect();
    format!(
        "Faults:\n{kinds}\
         @WHEN is a time from the start (@90s), or SNAP/MEMBER: in the middle of that refresh. +SPAN is how long it lasts;\n\
         without it, until it is cleared: lockstep resume RUN --mend"
    )
}

pub(crate) fn rehearse(app: &App<'_>, args: &RehearseArgs) -> Result<Exit, Fault> {
    let (name, mut scenario) = if let Some(file) = &args.scenario {
        (file.display().to_string(), read_scenario(file)?)
    } else if let Some(cluster) = &args.like {
        let like = Global {
            cluster: Some(cluster.clone()),
            ..app.global.clone()
        };
        let (target, scenario) = super::plan::look(&App::of(app.registry, &like))?;
        (target.name.to_string(), scenario)
    } else {
        let made = match args.members {
            Some(made) => made,
            None => simulated(app.global)?,
        };
        (made.to_string(), made.scenario())
    };
    scenario.epoch = crate::clock::now();
    scenario.faults.extend(args.faults.iter().cloned());
    scenario.check().map_err(|(_, what)| Fault::usage(what))?;
    let mut target = Target::simulated(format!(", {name}"), scenario);
    let main = main_of(app.global, &args.file)?;
    target.config.cluster.machines = machines_of(&main, app.global)?;
    if let Some(file) = &args.notify {
        target.config.notify = Notify {
            simulated: true,
            ..Config::read(file)?.notify
        };
    }
    let played = playbook::play(app, main, &target, &args.run, args.speed)?;
    Ok(tell(&played, app.global))
}
