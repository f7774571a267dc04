//! `stage`: the downloads of an update before it, and for how long that will then stop the control plane.

use super::playbook::{RunArgs, main_of, play};
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::tell;
use crate::cli::target;
use crate::engine::Finish;
use crate::foreseen::remembered;

/// Plays the playbook, and says what to expect of the update.
pub(crate) fn stage(app: &App<'_>, args: &RunArgs) -> Result<Exit, Fault> {
    let target = target::named(app.global)?;
    let main = main_of(app.global, "stage")?;
    let played = play(app, main, &target, args, None)?;
    let exit = tell(&played, app.global);
    let Finish::Done(value) = &played.finish else {
        return Ok(exit);
    };
    if app.global.json || target.is_simulated() {
        return Ok(exit);
    }
    let members = value["fetched"].as_object().into_iter().flatten();
    let snaps = members.filter_map(|(_, snaps)| snaps.as_object()).flatten();
    let mut snaps: Vec<&str> = snaps.map(|(snap, _)| snap.as_str()).collect();
    snaps.sort_unstable();
    snaps.dedup();
    let windows = remembered(&app.runs()?, &target.config.cluster.name, &snaps);
    for window in &windows {
        out!("Window: {window}");
    }
    if windows.len() < snaps.len() {
        out!("To see for how long a component may take no changes: lockstep plan update");
    }
    Ok(exit)
}
