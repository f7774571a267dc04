//! What is shown of something while it runs.

use std::io::IsTerminal;

use super::global::Global;
use crate::event::Reporter;
use crate::report::{JsonReporter, LineReporter, LiveReporter, NowReporter, Screen};

/// What is shown of a session while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Nothing,
    /// What is in progress, on a terminal, if it takes longer than a moment. Nothing of it stays.
    Now,
    /// What is over, and on a terminal what is in progress: every step and command, or what matters.
    All {
        verbose: bool,
    },
    Stream,
}

impl Shown {
    /// What the command line wants to see of a run.
    pub(super) fn of_run(global: &Global) -> Self {
        match (global.quiet, global.json, global.verbose) {
            (true, _, _) => Self::Nothing,
            (_, true, _) => Self::Stream,
            (_, _, verbose) => Self::All { verbose },
        }
    }

    /// What the command line wants to see of a look or a single op, of which only the result is asked for.
    pub(super) fn of_op(global: &Global) -> Self {
        match (global.quiet || global.json, global.verbose) {
            (true, _) => Self::Nothing,
            (false, true) => Self::All { verbose: true },
            (false, false) => Self::Now,
        }
    }

    /// The terminal, where something is drawn on it.
    pub(super) fn screen(self) -> Option<Screen> {
        let draws = matches!(self, Self::Now | Self::All { .. });
        (draws && is_screen()).then(Screen::stdout)
    }

    /// What shows it, on this screen if there is one.
    pub(super) fn reporter(self, screen: Option<&Screen>) -> Option<Box<dyn Reporter>> {
        Some(match (self, screen) {
            (Self::Nothing, _) | (Self::Now, None) => return None,
            (Self::Now, Some(screen)) => Box::new(NowReporter::new(screen.clone())),
            (Self::All { verbose }, Some(screen)) => {
                Box::new(LiveReporter::new(screen.clone(), verbose))
            }
            (Self::All { verbose }, None) => {
                Box::new(LineReporter::new(std::io::stdout(), verbose))
            }
            (Self::Stream, _) => Box::new(JsonReporter),
        })
    }
}

/// Whether standard output is a terminal on which a part can be drawn again and again.
pub(super) fn is_screen() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}
