//! The command line: one file a command.

#[macro_use]
mod print;

mod abort;
mod check;
mod completions;
mod doc;
mod exit;
mod help;
mod init;
mod man;
mod mistakes;
mod modules;
mod new;
mod op;
mod params;
mod plan;
mod playbook;
mod playbooks;
mod preflight;
mod reference;
mod rehearse;
mod report;
mod resume;
mod runs;
mod session;
mod show;
mod shown;
mod signals;
mod status;
mod target;
mod typed;
mod types;
mod unlock;
mod version;
mod watch;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use lockstep_modules::op::Registry;

pub use exit::{Exit, Fault};
pub use man::pages;
pub use reference::reference;

use crate::bundle::Playbooks;

/// Updates and upgrades MicroCloud clusters, one journaled step at a time.
#[derive(Parser)]
#[command(
    name = "lockstep",
    version = version::SHORT,
    long_version = version::LONG.as_str(),
    subcommand_value_name = "COMMAND",
    max_term_width = 110
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Default)]
pub(crate) struct Global {
    /// Cluster file, or a simulated cluster of N members, installed as MicroCloud 1, 1-latest, 2, or 3
    #[arg(
        long,
        short,
        global = true,
        env = "LOCKSTEP_CLUSTER",
        value_name = "FILE|twin[:N[@SET]]",
        hide_env_values = true,
        help_heading = "Global options"
    )]
    cluster: Option<String>,
    /// Where runs are stored [default: $XDG_STATE_HOME/lockstep]
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_STATE",
        hide_env_values = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    state: Option<PathBuf>,
    /// Folder to use instead of the shipped playbooks
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    playbooks: Option<PathBuf>,
    /// Folder with the site's module programs [env: LOCKSTEP_MODULES] [default: modules/ next to the playbook or the
    /// cluster file]
    //
    // The environment is looked at where programs are looked for: it shall not change what a resumed run goes on with.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    modules: Option<PathBuf>,
    /// Use this ssh_config instead of your own (ssh -F)
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        help_heading = "Global options"
    )]
    ssh_config: Option<String>,
    /// Print JSON instead of text
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Show every step and command
    #[arg(long, short, global = true, help_heading = "Global options")]
    verbose: bool,
    /// Show only the outcome of a run
    #[arg(
        long,
        short,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    quiet: bool,
    /// How many seconds pass for a run in one of ours; none where time is what it is.
    #[arg(skip)]
    pace: Option<f64>,
}

impl Global {
    fn playbooks(&self) -> Playbooks {
        self.playbooks
            .clone()
            .map_or(Playbooks::Shipped, Playbooks::Folder)
    }
}

/// The commands. `help` puts them into groups and gives them examples; `op` is made from the registry.
#[derive(Subcommand)]
enum Command {
    /// Show installed versions, whether members are in step, and health
    Status(status::StatusArgs),
    /// Check whether an update or upgrade can start
    Preflight(preflight::PreflightArgs),
    /// Refresh every component within its channel
    Update(playbook::RunArgs),
    /// Move components to other channels
    Upgrade(playbook::RunArgs),
    /// Run a playbook of your own
    Run(playbook::FileArgs),
    /// List the runs
    Runs,
    /// Show a run: what changed, what happened, and where it stands
    Show(show::ShowArgs),
    /// Follow a run from another terminal
    Watch(watch::WatchArgs),
    /// Write a report of a run: one HTML file, or Markdown for a ticket
    Report(report::ReportArgs),
    /// Continue a run that was held, interrupted, or killed
    Resume(resume::ResumeArgs),
    /// Abort a run and restore the settings it changed
    Abort(abort::AbortArgs),
    /// Remove the cluster lock of a run that no longer exists
    Unlock(unlock::UnlockArgs),
    /// Show what a playbook will do on a cluster, without doing it
    #[command(
        after_help = "The cluster is inspected once; the playbook then runs on a simulated cluster modeled on it."
    )]
    Plan(plan::PlanArgs),
    /// Run a playbook on a simulated cluster, with injected faults
    Rehearse(rehearse::RehearseArgs),
    /// Find the rules a playbook breaks under faults and interruptions
    #[command(
        after_help = "It runs on simulated clusters: undisturbed, killed and resumed at every step, and with random faults."
    )]
    Check(check::CheckArgs),
    /// Create a starter playbook
    New(new::NewArgs),
    /// Write the files that editors need to complete and check playbooks
    Types(types::TypesArgs),
    /// List the available playbooks
    Playbooks(playbooks::PlaybooksArgs),
    /// Show the documentation of a module or op
    Doc(doc::DocArgs),
    /// Create a cluster file by asking one member for the others
    Init(init::InitArgs),
    /// Generate shell completions
    Completions(completions::CompletionsArgs),
    /// Print or write the manual pages
    Man(man::ManArgs),
}

/// Runs the command line of this process with the ops of `registry`, and those of the site's programs. A site's own build
/// calls this with more modules: `modules/example` shows how.
#[must_use]
pub fn main(registry: &Registry) -> ExitCode {
    main_at(registry, None)
}

/// As [`main`], with runs for which so many seconds pass in one of ours: members that are simulated behind real
/// connections are fast, and waiting for them would be most of a test.
#[must_use]
pub fn main_at(registry: &Registry, pace: Option<f64>) -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    if completions::answered(registry, &argv) {
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
        Err(error) => return mistakes::told(&command, error),
    };
    let json = matches.get_flag("json");
    let result = match matches.subcommand() {
        Some(("op", given)) => Global::from_arg_matches(&matches)
            .map_err(Fault::usage)
            .and_then(|global| op::run(registry, &global, given)),
        Some((name, _)) if let Some(text) = help::topic(name) => {
            out!("{text}");
            Ok(Exit::Done)
        }
        _ => Cli::from_arg_matches(&matches)
            .map_err(Fault::usage)
            .and_then(|mut cli| {
                cli.global.pace = pace;
                dispatch(registry, cli)
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

/// The command line, as these words need it: the parameters of the playbook that they name are flags of its command.
///
/// # Errors
/// Where that playbook can't be used.
pub fn command(registry: &Registry, argv: &[OsString]) -> Result<clap::Command, Fault> {
    let command = Cli::command()
        .bin_name("lockstep")
        .subcommand(op::command(registry));
    params::flags(help::dress(command), registry, argv)
}

fn dispatch(registry: &Registry, cli: Cli) -> Result<Exit, Fault> {
    let global = &cli.global;
    match cli.command {
        Command::Status(args) => status::status(registry, global, &args),
        Command::Preflight(args) => preflight::preflight(registry, global, &args),
        Command::Update(args) => playbook::shipped(registry, global, "update", &args),
        Command::Upgrade(args) => playbook::shipped(registry, global, "upgrade", &args),
        Command::Run(args) => playbook::file(registry, global, &args),
        Command::Runs => runs::runs(global),
        Command::Show(args) => show::show(registry, global, &args),
        Command::Watch(args) => watch::watch(registry, global, &args),
        Command::Report(args) => report::report(registry, global, &args),
        Command::Resume(args) => resume::resume(registry, global, &args),
        Command::Abort(args) => abort::abort(registry, global, &args),
        Command::Unlock(args) => unlock::unlock(registry, global, &args),
        Command::Plan(args) => plan::plan(registry, global, &args),
        Command::Rehearse(args) => rehearse::rehearse(registry, global, &args),
        Command::Check(args) => check::check(registry, global, &args),
        Command::New(args) => new::new(global, &args),
        Command::Types(args) => types::types(registry, global, &args),
        Command::Playbooks(args) => playbooks::playbooks(registry, global, &args),
        Command::Doc(args) => doc::doc(registry, global, &args),
        Command::Init(args) => init::init(global, &args),
        Command::Man(args) => man::man(registry, &args),
        Command::Completions(args) => completions::completions(&args),
    }
}
