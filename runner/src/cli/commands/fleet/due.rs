//! `fleet continue --due`: the rollouts that wait for their time without a process, continued when it has come.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use tokio::time::Instant;

use super::named::rollouts;
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::clock;
use crate::fleet;
use crate::runs::Runs;

/// How often it is looked for more of them, as long as one runs.
const PACE: Duration = Duration::from_secs(30);

/// How long one is left alone that ended and is due still: it couldn't be continued.
const AGAIN: Duration = Duration::from_secs(300);

/// How often it is looked whether one has ended.
const BEAT: Duration = Duration::from_secs(1);

/// Continues each rollout that is due in a process of its own, and those that become due meanwhile.
pub(super) fn carry_on(app: &App<'_>) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let mut begun: BTreeMap<String, Instant> = BTreeMap::new();
    let mut running: Vec<Child> = Vec::new();
    let mut first = Exit::Done;
    let mut looked: Option<Instant> = None;
    loop {
        if looked.is_none_or(|at| at.elapsed() >= PACE) {
            looked = Some(Instant::now());
            for id in rollouts(&runs)? {
                let fresh = begun.get(&id).is_none_or(|at| at.elapsed() >= AGAIN);
                if fresh && is_due(&runs, &id) {
                    running.push(continued(app, &runs, &id)?);
                    begun.insert(id, Instant::now());
                }
            }
        }
        running.retain_mut(|child| match child.try_wait() {
            Ok(None) => true,
            Ok(Some(ended)) => {
                if first == Exit::Done {
                    first = trouble(ended.code());
                }
                false
            }
            Err(_) => false,
        });
        if running.is_empty() {
            return Ok(first);
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "there is nothing else to do until it is looked at again"
        )]
        std::thread::sleep(BEAT);
    }
}

fn is_due(runs: &Runs, id: &str) -> bool {
    let history = runs.history(id);
    history.is_ok_and(|history| fleet::due(&history, runs.is_running(id), clock::now()).is_some())
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

/// What somebody has to see to. A rollout that waits again, or that somebody else has, is as it should be.
fn trouble(code: Option<i32>) -> Exit {
    let codes = Exit::value_variants().iter();
    let exit = codes.copied().find(|exit| Some(*exit as i32) == code);
    match exit {
        Some(Exit::Done | Exit::Suspended | Exit::Locked) => Exit::Done,
        Some(exit) => exit,
        None => Exit::Failed,
    }
}
