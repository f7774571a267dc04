//! The commands: one file each.

pub(super) mod abort;
pub(super) mod check;
pub(super) mod completions;
pub(super) mod doc;
pub(super) mod fleet;
pub(super) mod init;
pub(super) mod man;
pub(super) mod new;
pub(super) mod notify;
pub(super) mod op;
pub(super) mod plan;
pub(super) mod playbook;
pub(super) mod playbooks;
pub(super) mod preflight;
pub(super) mod rehearse;
pub(super) mod report;
pub(super) mod resume;
pub(super) mod runs;
pub(super) mod show;
pub(super) mod stage;
pub(super) mod status;
pub(super) mod store;
pub(super) mod types;
pub(super) mod unlock;
pub(super) mod watch;

use clap::Subcommand;

/// The commands. `help` puts them into groups and gives them examples; `op` is made from the registry.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show installed versions, whether members are in step, and health
    Status(status::StatusArgs),
    /// Check whether an update or upgrade can start
    Preflight(preflight::PreflightArgs),
    /// Refresh every component within its channel
    Update(playbook::RunArgs),
    /// Move components to other channels
    Upgrade(playbook::RunArgs),
    /// Fetch the snaps of an update or upgrade ahead of it
    Stage(playbook::RunArgs),
    /// Run a playbook of your own
    Run(playbook::FileArgs),
    /// List the runs
    Runs(runs::RunsArgs),
    /// Show a run: what changed, what happened, and where it stands
    Show(show::ShowArgs),
    /// Follow a run from another terminal
    Watch(watch::WatchArgs),
    /// Write a report of a run: HTML, Markdown, or a trace
    Report(report::ReportArgs),
    /// Deliver what receivers of a run missed, or try them out
    Notify(notify::NotifyArgs),
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
        after_help = "It runs on simulated clusters: undisturbed, killed and resumed at every step, and with random faults.\n\
                      The playbook of rollouts (rollout) runs on simulated fleets of as many clusters as --members says."
    )]
    Check(check::CheckArgs),
    /// Take many clusters through a playbook, ring by ring
    Fleet(fleet::FleetArgs),
    /// Prepare the database that several machines share
    Store(store::StoreArgs),
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
