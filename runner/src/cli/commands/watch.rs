//! `watch`: a run that somebody else runs, as they see it.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use futures_util::future::{Either, select};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::show::{changes, exit, stands, unread};
use crate::account::{Line, State, Tail, load};
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::runtime;
use crate::cli::global::Global;
use crate::cli::shown::Shown;
use crate::clock::Clock;
use crate::event::Reporter;
use crate::report::{LineReporter, LiveReporter, Screen, harmless, harmless_line};
use crate::runs::{EVENTS, Runs};

/// Between two looks at whether something happened.
const PAUSE: Duration = Duration::from_millis(250);

/// Which run is followed.
#[derive(Args)]
pub(crate) struct WatchArgs {
    /// The run, for example update-14 [default: the one that is running, or else the last]
    run: Option<String>,
}

/// Follows a run to its end. What happened before comes first.
pub(crate) fn watch(app: &App<'_>, args: &WatchArgs) -> Result<Exit, Fault> {
    let runs = app.runs()?;
    let id = match &args.run {
        Some(id) => id.clone(),
        None => runs.newest()?.ok_or_else(|| {
            Fault::usage("there are no runs yet").help("lockstep runs  lists them")
        })?,
    };
    let folder = runs.folder_of(&id)?;
    let screen = Shown::of_run(app.global).screen();
    let view = View::of(app.global, screen.as_ref());
    let runtime = runtime()?;
    let left = runtime.block_on(async {
        // Before anything is shown: who sees something may interrupt it.
        let mut interrupt = signal(SignalKind::interrupt())
            .map_err(|e| Fault::new(Exit::State, format!("no signals can be taken: {e}")))?;
        let follow = follow(&runs, &id, &folder, view, screen.as_ref());
        match select(std::pin::pin!(follow), std::pin::pin!(interrupt.recv())).await {
            Either::Left((ended, _)) => ended.map(|()| false),
            Either::Right(_) => Ok(true),
        }
    });
    if let Some(screen) = &screen {
        screen.clear();
    }
    if left? {
        if runs.is_running(&id) {
            err!("{id} continues; watch it again with: lockstep watch {id}");
        }
        return Ok(Exit::Done);
    }
    let account = load(&runs, &id)?;
    unread(&account);
    if !app.global.json {
        if account.state.is_over() {
            changes(&account);
        }
        stands(app, &account);
    } else if account.state == State::BrokenOff {
        // The stream itself doesn't say it.
        err!("{id}: the process that ran it is gone");
    }
    Ok(exit(&account))
}

/// What is made of the lines.
enum View {
    Raw,
    Reported(Box<dyn Reporter>),
    Quiet,
}

impl View {
    fn of(global: &Global, screen: Option<&Screen>) -> Self {
        if global.quiet {
            return Self::Quiet;
        }
        if global.json {
            return Self::Raw;
        }
        Self::Reported(match screen {
            Some(screen) => Box::new(LiveReporter::new(screen.clone(), global.verbose)),
            None => Box::new(LineReporter::new(std::io::stdout(), global.verbose)),
        })
    }

    /// Takes a line, and tells its time if it is an event.
    fn take(&mut self, bytes: &[u8]) -> Option<Timestamp> {
        let line = Line::of(bytes);
        let at = match &line {
            Line::Event(event) => Some(event.at),
            Line::Strange(_) | Line::Garbage => None,
        };
        match (self, line) {
            (Self::Raw, Line::Event(_) | Line::Strange(_)) => {
                // Whoever listened may be gone; the run continues.
                let line = harmless_line(&String::from_utf8_lossy(bytes));
                let _ = writeln!(std::io::stdout(), "{line}");
            }
            (Self::Reported(reporter), Line::Event(event)) => reporter.take(&event),
            // What can't be read is reported at the end, once.
            (Self::Reported(_), Line::Strange(name)) => {
                err!(
                    "an event that this lockstep doesn't know: {}",
                    harmless(&name)
                );
            }
            (Self::Raw | Self::Reported(_), Line::Garbage) | (Self::Quiet, _) => {}
        }
        at
    }
}

/// Shows lines as they come, until nobody is there who could write more.
async fn follow(
    runs: &Runs,
    id: &str,
    folder: &Path,
    mut view: View,
    screen: Option<&Screen>,
) -> Result<(), Fault> {
    let clock = Clock::system();
    let mut tail = Tail::of(&folder.join(EVENTS));
    let mut last = Timestamp::MIN;
    loop {
        // Asked first: whoever is gone by now has written all of it.
        let running = runs.is_running(id);
        runs.folder_of(id)?;
        let lines = tail.lines().map_err(|error| {
            Fault::new(
                Exit::State,
                format!("the events of {id} can't be read: {error}"),
            )
        })?;
        for line in lines.iter().filter(|line| !line.is_empty()) {
            last = view.take(line).unwrap_or(last);
        }
        let _ = std::io::stdout().flush();
        if !running {
            return Ok(());
        }
        // The clocks on the screen move on, but for a simulated cluster whose time is ahead of ours.
        if let Some(screen) = screen.filter(|_| clock.now() > last) {
            screen.draw(clock.now());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
