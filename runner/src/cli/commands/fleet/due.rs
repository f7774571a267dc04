//! `fleet continue --due`: the rollouts that wait for their time without a process, continued when it has come.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;
use tokio::time::Instant;

use super::named::rollouts;
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::clock;
use crate::fleet;
use crate::runs::Runs;

/// How often it is looked for more of them, as long as one runs.
const PACE: Duration = Duration::from_secs(30);

/// How often it is looked whether one has ended.
const BEAT: Duration = Duration::from_secs(1);

/// Continues each rollout that is due in a process of its own, and those that become due meanwhile.
pub(super) fn carry_on(app: &App<'_>) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let mut begun: BTreeMap<String, Timestamp> = BTreeMap::new();
    let mut running: Vec<Child> = Vec::new();
    let mut worst = Exit::Done;
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|at| at.elapsed() >= PACE) {
            looked = Some(Instant::now());
            for id in rollouts(&runs)? {
                // One that couldn't be continued isn't tried again and again.
                if let Some(until) = due(&runs, &id)
                    && begun.insert(id.clone(), until) != Some(until)
                {
                    running.push(continued(app, &runs, &id)?);
                }
            }
        }
        running.retain_mut(|child| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(ended)) => {
                worst = worse(worst, ended.code());
                false
            }
            Err(_) => false,
        });
        if running.is_empty() {
            return Ok(worst);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "there is nothing else to do until it is looked at again"
        )]
        std::thread::sleep(BEAT);
    }
}

fn due(runs: &Runs, id: &str) -> Option<Timestamp> {
    fleet::due(&runs.history(id).ok()?, runs.is_running(id), clock::now())
}

/// A lockstep of its own that continues a rollout.
fn continued(app: &App<'_>, runs: &Runs, id: &str) -> Result<Child, Fault> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["fleet", "continue", "--no-wait", "--rollout", id]);
    command.arg("--state").arg(runs.word()).stdin(Stdio::null());
    command.args(app.global.json.then_some("--json"));
    command.args(app.global.quiet.then_some("--quiet"));
    let what = |error| Fault::new(Exit::Failed, format!("{id} can't be continued: {error}"));
    command.spawn().map_err(what)
}

/// The exit code that matters more. A rollout that waits again, or that somebody else has, is as it should be.
fn worse(worst: Exit, code: Option<i32>) -> Exit {
    let codes = Exit::value_variants().iter();
    let exit = codes.copied().find(|exit| Some(*exit as i32) == code);
    match exit {
        Some(Exit::Done | Exit::Suspended | Exit::Locked) => worst,
        Some(exit) => exit,
        None => Exit::Failed,
    }
}
