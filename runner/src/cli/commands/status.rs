//! `status`: the cluster on one screen.

use std::time::Duration;

use clap::Args;
use lockstep_modules::contract::schema::Member;
use lockstep_modules::ops::status::{ComponentStatus, Health, MemberStatus, Status};
use serde::Deserialize;
use serde_json::json;

use super::op;
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::runtime_at;
use crate::cli::print;
use crate::cli::shown::{Shown, is_screen};
use crate::cli::table::table;
use crate::cli::target;
use crate::session::Once;

/// How the cluster is shown.
#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Refresh every SECONDS seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
}

/// Shows the cluster. Exits with 0 only if it is in step and well.
pub(crate) fn status(app: &App<'_>, args: &StatusArgs) -> Result<Exit, Fault> {
    let target = target::named(app.global)?;
    let runtime = runtime_at(target.is_simulated(), app.registry, None)?;
    let _within = runtime.enter();
    let way = target.way(None)?;
    runtime.block_on(async {
        loop {
            let (read, shown) = (Once::of("status.read", json!({})), Shown::of_op(app.global));
            let value = op::read_once(app.registry, &target, &way, read, shown).await?;
            let status = Status::deserialize(&value).map_err(|e| Fault::new(Exit::Failed, e))?;
            if args.watch.is_some() && !app.global.json {
                let clear = if is_screen() { CLEAR } else { "" };
                let now = crate::clock::now().strftime("%H:%M:%S UTC");
                print::styled(&format!("{clear}{now}\n"));
            }
            if app.global.json {
                print::json(&value);
            } else {
                print(&status);
            }
            let Some(pause) = args.watch else {
                return Ok(if status.in_step && status.healthy {
                    Exit::Done
                } else {
                    Exit::NotWell
                });
            };
            let pause = Duration::from_secs(pause);
            tokio::time::sleep(pause).await;
            if target.is_simulated() {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "that was the simulated cluster's time; who watches has a clock of their own"
                )]
                std::thread::sleep(pause);
            }
        }
    })
}

/// To the top of an empty screen (ECMA-48).
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

fn print(status: &Status) {
    out!("{}: {}\n", status.cluster, status.brief());
    let mut table = table(["MEMBER", "MICROCEPH", "MICROOVN", "LXD", "MICROCLOUD", ""]);
    for member in &status.members {
        let mut row = vec![member.name.to_string()];
        row.extend(status.components.iter().map(|c| cell(member, c)));
        let note = member
            .problem
            .clone()
            .unwrap_or_else(|| member.changes.join("; "));
        row.push(note);
        table.add_row(row);
    }
    let mut row = vec!["health".to_owned()];
    row.extend(status.components.iter().map(|c| c.health.word().to_owned()));
    table.add_row(row);
    out!("{}", table.trim_fmt());
    let locks = status.members.iter().filter_map(|m| m.lock.as_ref());
    for lock in locks.filter(|lock| !lock.free()) {
        out!("{}: locked: {}", lock.member, lock.brief());
    }
    for component in &status.components {
        for skew in &component.skew {
            out!("{}: {skew}", component.title);
        }
        if component.health != Health::Ok {
            for problem in &component.problems {
                out!("{}: {problem}", component.title);
            }
        }
        for note in &component.notes {
            out!("{}: note: {note}", component.title);
        }
    }
    let apart = |c: &&ComponentStatus| c.halfway.is_some();
    let curable = |c: &ComponentStatus| matches!(c.health, Health::Ok | Health::Waiting);
    let mut halfway = status.components.iter().filter(apart).peekable();
    if halfway.peek().is_some() && halfway.all(curable) {
        let mut locks = status.members.iter().filter_map(|m| m.lock.as_ref());
        let command = match locks.find_map(|lock| lock.claim.as_ref()) {
            Some(claim) => format!("resume {}", claim.run),
            None => "update".to_owned(),
        };
        out!("To bring members that are behind up to date: lockstep {command}");
    }
}

/// `1501 squid/stable` with what is out of the ordinary.
fn cell(member: &MemberStatus, component: &ComponentStatus) -> String {
    let Some(installed) = member.snaps.get(component.name.snap()) else {
        return "-".to_owned();
    };
    let mut text = format!("{} {}", installed.revision, installed.channel);
    if installed.cohort.is_empty() {
        text.push_str(" no cohort");
    }
    if !installed.held {
        text.push_str(" not held");
    }
    if !installed.active {
        text.push_str(" disabled");
    }
    if let Some(halfway) = &component.halfway {
        let has = |names: &[Member]| names.contains(&member.name);
        let words = [
            (has(&halfway.behind), " behind"),
            (has(&halfway.stopped), " stopped"),
            (has(&halfway.waiting), " waits"),
        ];
        text.extend(words.iter().filter(|(is, _)| *is).map(|(_, word)| *word));
    }
    text
}
