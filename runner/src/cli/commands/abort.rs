//! `abort`: a run that must not continue restores what it had switched on.

use clap::Args;

use super::resume::{Common, continue_run};
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};

/// Which run is aborted.
#[derive(Args)]
pub(crate) struct AbortArgs {
    /// The run, for example update-14
    run: String,
    /// Mark this step done, with this result as JSON, because you restored it by hand; can be repeated
    #[arg(long, value_name = "STEP[=RESULT]")]
    assume_done: Vec<String>,
    /// Abort with this playbook instead of the captured one; it must match what was done so far
    #[arg(long, value_name = "FILE|NAME")]
    playbook: Option<String>,
    /// Read this secret from another source: env:NAME, file:PATH, or ask; can be repeated
    #[arg(long, value_name = "NAME=SOURCE")]
    secret: Vec<String>,
}

/// Aborts a run. Running steps are waited for; nothing new is begun but what the playbook cleans up with.
pub(crate) fn abort(app: &App<'_>, args: &AbortArgs) -> Result<Exit, Fault> {
    let common = Common {
        run: &args.run,
        assume_done: &args.assume_done,
        playbook: args.playbook.as_deref(),
        secret: &args.secret,
    };
    continue_run(app, &common, None)
}
