//! `abort`: a run that shall not go on gives back what it had switched on.

use clap::Args;
use lockstep_modules::op::Registry;

use super::Global;
use super::exit::{Exit, Fault};
use super::resume::{self, ResumeArgs};

/// Which run is aborted.
#[derive(Args)]
pub(crate) struct AbortArgs {
    /// The run, for example update-14
    run: String,
    /// Take this step as done, with this result as JSON: it was given back by hand; may be given more than once
    #[arg(long, value_name = "STEP[=RESULT]")]
    assume_done: Vec<String>,
    /// Abort it with this playbook instead of the captured one; it must do what was done so far
    #[arg(long, value_name = "FILE|NAME")]
    playbook: Option<String>,
    /// Find this secret elsewhere than the run did: env:NAME, file:PATH or ask; may be given more than once
    #[arg(long, value_name = "NAME=SOURCE")]
    secret: Vec<String>,
}

/// Aborts a run. What goes on on the cluster is waited for; nothing new is begun but what the playbook cleans up with.
pub(super) fn abort(registry: &Registry, global: &Global, args: &AbortArgs) -> Result<Exit, Fault> {
    let mut resume = ResumeArgs::to_abort(&args.run, &args.assume_done, &args.secret);
    resume.playbook.clone_from(&args.playbook);
    resume::go_on(registry, global, &resume, true)
}
