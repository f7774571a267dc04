//! `unlock`: the lock of a run of which nothing else is left.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};

use clap::Args;
use lockstep_modules::ops::lock::{MemberLock, ReadOut};
use serde::Deserialize;
use serde_json::json;

use super::op;
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::runtime_at;
use crate::cli::shown::Shown;
use crate::cli::target;
use crate::session::Once;

/// Whether anybody is asked.
#[derive(Args)]
pub(crate) struct UnlockArgs {
    /// Remove it without asking
    #[arg(long)]
    yes: bool,
}

/// Shows whose the cluster is, and takes it away from there if the operator says so.
pub(crate) fn unlock(app: &App<'_>, args: &UnlockArgs) -> Result<Exit, Fault> {
    let target = target::named(app.global)?;
    let cluster = &target.config.cluster.name;
    let runtime = runtime_at(target.is_simulated(), app.registry, None)?;
    let _within = runtime.enter();
    let way = target.way(None)?;
    let (read, shown) = (Once::of("lock.read", json!({})), Shown::of_op(app.global));
    let read = runtime.block_on(op::read_once(app.registry, &target, &way, read, shown))?;
    let found = ReadOut::deserialize(read).map_err(|e| Fault::new(Exit::Failed, e))?;
    let taken: Vec<&MemberLock> = found.members.iter().filter(|lock| !lock.free()).collect();
    if taken.is_empty() {
        out!("{cluster} is not locked");
        return Ok(Exit::Done);
    }
    for lock in &taken {
        out!("{}: {}", lock.member, lock.brief());
    }
    // Only these: by the time of the answer somebody else may have the cluster.
    let shown: BTreeMap<&str, &str> = taken
        .iter()
        .map(|lock| (lock.member.as_str(), lock.says.as_str()))
        .collect();
    let runs = app.runs()?;
    let ours = |lock: &&MemberLock| {
        let claim = lock.claim.as_ref()?;
        let history = runs.history(&claim.run).ok()?;
        let same = history.head.who == claim.holder && history.began == claim.began;
        (same && history.end.is_none()).then(|| claim.run.clone())
    };
    if let Some(run) = taken.iter().find_map(ours) {
        if runs.is_running(&run) {
            return Err(
                Fault::new(Exit::Locked, format!("{run} is running here right now"))
                    .help(format!("lockstep watch {run}  follows it")),
            );
        }
        out!(
            "That run is here and has not ended: lockstep resume {run} continues it; lockstep abort {run} restores the settings it changed, then releases the lock."
        );
    }
    if !args.yes && !agreed()? {
        return Err(Fault::new(Exit::Refused, "the lock was not removed"));
    }
    let remove = Once::of("lock.remove", json!({"shown": shown}));
    runtime.block_on(op::change_once(app.registry, &target, &way, remove, &runs))?;
    out!("{cluster} is no longer locked");
    Ok(Exit::Done)
}

fn agreed() -> Result<bool, Fault> {
    if !std::io::stdin().is_terminal() {
        return Err(Fault::new(
            Exit::Refused,
            "there is no terminal to ask on; the lock was not removed",
        )
        .help("lockstep unlock --yes  removes it; be sure that no run is active"));
    }
    let _ = write!(
        std::io::stderr(),
        "Remove the lock? Another run may be changing the cluster right now. [y/N] "
    );
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    Ok(read.is_ok() && ["y", "yes"].contains(&line.trim().to_lowercase().as_str()))
}
