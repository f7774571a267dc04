//! The command line: what can be typed.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};
use lockstep_modules::contract::op::Registry;

use super::commands::{Command, op};
use super::examples::GROUPS;
use super::exit::Fault;
use super::global::Global;
use super::{help, params, version};

/// Updates and upgrades MicroCloud clusters, one journaled step at a time.
#[derive(Parser)]
#[command(
    name = "lockstep",
    version = version::SHORT,
    long_version = version::LONG.as_str(),
    subcommand_value_name = "COMMAND",
    max_term_width = 110
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// The command line, as these words need it: the parameters of the playbook that they name are flags of its command, and `op`
/// has its ops where it is among them.
///
/// # Errors
/// Where that playbook can't be used.
pub fn command(registry: &Registry, argv: &[OsString]) -> Result<clap::Command, Fault> {
    let command = Cli::command()
        .bin_name("lockstep")
        .subcommand(op::command(registry, argv.iter().any(|word| word == "op")));
    params::flags(help::dress(command), registry, argv)
}

/// The command line, and each of its commands with the parameters of the playbook that it always plays.
pub(super) fn all(registry: &Registry) -> Result<(clap::Command, Vec<clap::Command>), Fault> {
    let built = |words: &[&str]| -> Result<clap::Command, Fault> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        let mut command = command(registry, &words)?;
        command.build();
        Ok(command)
    };
    let overview = built(&[])?;
    let mut commands = Vec::new();
    for (name, _) in GROUPS.iter().flat_map(|(_, commands)| *commands) {
        commands.extend(built(&["lockstep", name])?.find_subcommand(name).cloned());
    }
    Ok((overview, commands))
}
