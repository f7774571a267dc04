//! The command line: one file a command.

/// Prints a line for whoever called. Somebody who has stopped listening (`lockstep runs | head`) is no reason to fail.
///
/// Journals and results hold placeholders of secrets, which are shown as `***`.
macro_rules! out {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let text = format!($($arg)*);
        let _ = writeln!(std::io::stdout(), "{}", $crate::secret::shown(&text));
    }};
}

/// As `out!`, on standard error.
macro_rules! err {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        let text = format!($($arg)*);
        let _ = writeln!(std::io::stderr(), "{}", $crate::secret::shown(&text));
    }};
}

mod abort;
mod check;
mod doc;
mod exit;
mod init;
mod op;
mod params;
mod plan;
mod playbook;
mod preflight;
mod rehearse;
mod resume;
mod session;
mod show;
mod status;
mod target;
mod unlock;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use lockstep_modules::op::Registry;

pub use exit::{Exit, Fault};

use crate::bundle::Playbooks;

/// Updates and upgrades MicroCloud clusters, one journaled step at a time.
#[derive(Parser)]
#[command(name = "lockstep", version, after_help = exit::HELP, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Clone)]
pub(crate) struct Global {
    /// The cluster: a file, or a simulated one of N members (twin:N)
    #[arg(
        long,
        short,
        global = true,
        env = "LOCKSTEP_CLUSTER",
        value_name = "FILE|twin[:N]",
        help_heading = "Everywhere"
    )]
    cluster: Option<String>,
    /// Where runs are kept [default: $XDG_STATE_HOME/lockstep]
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_STATE",
        value_name = "DIR",
        help_heading = "Everywhere"
    )]
    state: Option<PathBuf>,
    /// A folder that takes the place of the shipped playbooks
    #[arg(long, global = true, value_name = "DIR", help_heading = "Everywhere")]
    playbooks: Option<PathBuf>,
    /// Another ssh_config than yours (ssh -F)
    #[arg(long, global = true, value_name = "FILE", help_heading = "Everywhere")]
    ssh_config: Option<String>,
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true, help_heading = "Everywhere")]
    json: bool,
    /// Show every step and command
    #[arg(long, short, global = true, help_heading = "Everywhere")]
    verbose: bool,
    /// Show only how a run ends
    #[arg(
        long,
        short,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Everywhere"
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

#[derive(Subcommand)]
enum Command {
    /// Refresh every component within its channel
    Update(playbook::RunArgs),
    /// Move components to other channels
    Upgrade(playbook::RunArgs),
    /// Tell whether an update, or an upgrade, could begin; nothing is changed
    Preflight(preflight::PreflightArgs),
    /// Run a playbook of your own
    Run(playbook::FileArgs),
    /// Go on with a run that was held, interrupted or killed
    Resume(resume::ResumeArgs),
    /// End a run that shall not go on: it gives back what it had switched on
    Abort(abort::AbortArgs),
    /// Remove the lock of a run of which nothing else is left
    Unlock(unlock::UnlockArgs),
    /// List the runs
    Runs,
    /// Show a run: its steps, and where it stands
    Show(show::ShowArgs),
    /// Show the cluster: what runs where, whether it is in step, and how it is
    Status(status::StatusArgs),
    /// Show what a playbook will do on a cluster: it is played on a simulated one like it
    Plan(plan::PlanArgs),
    /// Play a playbook on a simulated cluster, with what may go wrong
    Rehearse(rehearse::RehearseArgs),
    /// Try a playbook out on simulated clusters: kill it everywhere, let things go wrong, and see which rules it breaks
    Check(check::CheckArgs),
    /// Show what a module, or one of its ops, does and takes
    Doc(doc::DocArgs),
    /// Write a cluster file by asking one member who the others are
    Init(init::InitArgs),
}

/// Runs the command line of this process with the ops of `registry`. A site's own build calls this with more modules.
#[must_use]
pub fn main(registry: &Registry) -> ExitCode {
    main_at(registry, None)
}

/// As [`main`], with runs for which so many seconds pass in one of ours: members that are simulated behind real
/// connections are fast, and waiting for them would be most of a test.
#[must_use]
pub fn main_at(registry: &Registry, pace: Option<f64>) -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let command = Cli::command()
        .bin_name("lockstep")
        .subcommand(op::command(registry));
    let command = match params::flags(command, registry, &argv) {
        Ok(command) => command,
        Err(fault) => {
            fault.print(argv.iter().any(|word| word == "--json"));
            return fault.exit.into();
        }
    };
    let matches = command.get_matches_from(argv);
    let json = matches.get_flag("json");
    let result = match matches.subcommand() {
        Some(("op", given)) => Global::from_arg_matches(&matches)
            .map_err(Fault::usage)
            .and_then(|global| op::run(registry, &global, given)),
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

fn dispatch(registry: &Registry, cli: Cli) -> Result<Exit, Fault> {
    let global = &cli.global;
    match cli.command {
        Command::Update(args) => playbook::shipped(registry, global, "update", &args),
        Command::Upgrade(args) => playbook::shipped(registry, global, "upgrade", &args),
        Command::Preflight(args) => preflight::preflight(registry, global, &args),
        Command::Run(args) => playbook::file(registry, global, &args),
        Command::Resume(args) => resume::resume(registry, global, &args),
        Command::Abort(args) => abort::abort(registry, global, &args),
        Command::Unlock(args) => unlock::unlock(registry, global, &args),
        Command::Runs => show::runs(global),
        Command::Show(args) => show::show(global, &args),
        Command::Status(args) => status::status(registry, global, &args),
        Command::Plan(args) => plan::plan(registry, global, &args),
        Command::Rehearse(args) => rehearse::rehearse(registry, global, &args),
        Command::Check(args) => check::check(registry, global, &args),
        Command::Doc(args) => doc::doc(registry, global, &args),
        Command::Init(args) => init::init(global, &args),
    }
}
