//! The command line of this process.

#[macro_use]
mod print;

mod app;
mod commands;
mod complete;
mod dispatch;
mod examples;
mod exit;
mod fleets;
mod front;
mod global;
mod help;
mod line;
mod mistakes;
mod modules;
mod params;
mod reference;
mod shown;
mod signals;
mod table;
mod target;
mod typed;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::FromArgMatches;
use lockstep_modules::contract::op::Registry;

pub use exit::{Exit, Fault};
pub use line::command;
pub use reference::reference;

use app::App;
use commands::op;
use global::Global;
use line::Cli;

/// Runs the command line of this process with the ops of `registry`, and those of the site's programs. A site's own build
/// calls this with more modules: `modules/example` shows how.
#[must_use]
pub fn main(registry: &Registry) -> ExitCode {
    main_at(registry, None)
}

/// As [`main`], with runs for which this many seconds pass in one of ours: members that are simulated behind real
/// connections are fast, and waiting for them would be most of a test.
#[must_use]
pub fn main_at(registry: &Registry, pace: Option<f64>) -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    if complete::answered(registry, &argv) {
        return Exit::Done.into();
    }
    signals::hear_of_large_files();
    let made = modules::with_programs(registry, &argv).and_then(|registry| {
        let command = command(&registry, &argv)?;
        Ok((command, registry))
    });
    let (mut command, registry) = match made {
        Ok(made) => made,
        Err(fault) => {
            fault.print(argv.iter().any(|word| word == "--json"));
            return fault.exit.into();
        }
    };
    let registry = &registry;
    let matches = match command.try_get_matches_from_mut(argv) {
        Ok(matches) => matches,
        Err(error) => return mistakes::report(&command, registry, error),
    };
    let json = matches.get_flag("json");
    let result = match matches.subcommand() {
        Some(("op", given)) => Global::from_arg_matches(&matches)
            .map_err(Fault::usage)
            .and_then(|global| {
                let global = &global;
                op::run(&App::of(registry, global), given)
            }),
        Some((name, _)) if let Some(text) = help::topic(name) => {
            out!("{text}");
            Ok(Exit::Done)
        }
        _ => Cli::from_arg_matches(&matches)
            .map_err(Fault::usage)
            .and_then(|mut cli| {
                cli.global.pace = pace;
                let global = &cli.global;
                dispatch::dispatch(&App::of(registry, global), cli.command)
            }),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(fault) => {
            fault.print(json);
            fault.exit.into()
        }
    }
}
