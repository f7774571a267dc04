//! `fleet`: many clusters, ring by ring.

mod ask;
mod control;
mod describe;
mod due;
mod exec;
mod init;
mod list;
mod named;
mod pages;
mod report;
mod rollout;
mod status;
mod survey;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};

/// What all commands about a fleet take.
#[derive(Args)]
pub(crate) struct FleetArgs {
    /// The fleet's file [default: fleet.toml]
    #[arg(
        long,
        global = true,
        env = "LOCKSTEP_FLEET",
        value_name = "FILE",
        hide_env_values = true
    )]
    fleet: Option<PathBuf>,
    #[command(subcommand)]
    command: FleetCommand,
}

#[derive(Subcommand)]
enum FleetCommand {
    /// Write fleet.toml from cluster files
    Init(init::InitArgs),
    /// List the clusters, and the ring that each would be in
    List(list::ListArgs),
    /// List what runs on each cluster, and how it is
    Inventory(survey::InventoryArgs),
    /// Check whether an update or upgrade can start, on each cluster
    Preflight(survey::AheadArgs),
    /// Fetch the snaps of an update or upgrade ahead of it, on each cluster
    Stage(survey::AheadArgs),
    /// Plan a playbook for each cluster; plans that differ only in names are shown as one
    Plan(survey::PlanArgs),
    /// Approve plans, without which clusters of some rings do not begin
    Approve(control::ApproveArgs),
    /// Take the clusters through a playbook, ring by ring
    Rollout(rollout::RolloutArgs),
    /// Show how far a rollout is
    Status(status::StatusArgs),
    /// Write a report of a rollout, or its pages again and again
    Report(report::ReportArgs),
    /// List the clusters whose runs stopped before their end, and why
    Held(status::HeldArgs),
    /// Continue the runs of clusters that stopped before their end
    Resume(control::ResumeArgs),
    /// Take clusters out of a rollout
    Skip(control::SkipArgs),
    /// Start no more clusters; those that run come to their end
    Pause(control::PauseArgs),
    /// Stop the jobs of clusters; their runs end after the step under way, and can be resumed
    Stop(control::StopArgs),
    /// Show a cluster's job, as its executor knows it
    Describe(describe::DescribeArgs),
    /// Continue a rollout that was held, paused or killed
    Continue(control::ContinueArgs),
    /// End a rollout; the clusters' own runs are left as they are
    Abort(control::AbortArgs),
    /// Show who decided what, in a rollout and its clusters' runs
    Audit(status::AuditArgs),
    /// Run or take up a cluster's run: what executors call
    Exec(exec::ExecArgs),
    /// Answer what a rollout's playbook asks about a cluster: what executors call
    #[command(hide = true)]
    Ask(ask::AskArgs),
}

pub(crate) fn fleet(app: &App<'_>, args: &FleetArgs) -> Result<Exit, Fault> {
    let file = args.fleet.as_deref();
    match &args.command {
        FleetCommand::Init(args) => init::init(args),
        FleetCommand::List(args) => list::list(app, file, args),
        FleetCommand::Inventory(args) => survey::inventory(app, file, args),
        FleetCommand::Preflight(args) => survey::preflight(app, file, args),
        FleetCommand::Stage(args) => survey::stage(app, file, args),
        FleetCommand::Plan(args) => survey::plan(app, file, args),
        FleetCommand::Approve(args) => control::approve(app, args),
        FleetCommand::Rollout(args) => rollout::rollout(app, file, args),
        FleetCommand::Status(args) => status::status(app, args),
        FleetCommand::Report(args) => report::report(app, args),
        FleetCommand::Held(args) => status::held(app, args),
        FleetCommand::Resume(args) => control::resume(app, args),
        FleetCommand::Skip(args) => control::skip(app, args),
        FleetCommand::Pause(args) => control::pause(app, args),
        FleetCommand::Stop(args) => control::stop(app, args),
        FleetCommand::Describe(args) => describe::describe(app, args),
        FleetCommand::Continue(args) => control::carry_on(app, args),
        FleetCommand::Abort(args) => control::abort(app, args),
        FleetCommand::Audit(args) => status::audit(app, args),
        FleetCommand::Exec(args) => exec::exec(app, args),
        FleetCommand::Ask(args) => ask::ask(app, args),
    }
}
