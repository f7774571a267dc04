//! Exit codes, and what is printed when a command can't do what it was asked to.

use std::fmt::Display;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use crate::config::ConfigError;
use crate::engine::EngineError;
use crate::failure::Failure;
use crate::runs::RunsError;

/// How the process ends. The numbers are a promise, and their meanings are what `lockstep help exit-codes` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// A playbook or an op failed.
    Failed = 1,
    /// The command line, a playbook or the cluster file can't be used.
    Usage = 2,
    /// A check said no before anything was changed.
    Refused = 3,
    /// The run is held at a step; resume it.
    Held = 4,
    /// The run was interrupted; resume it.
    Suspended = 5,
    /// The run is being run by another process.
    Locked = 6,
    /// The run's journal or folder can't be read or written.
    State = 7,
    /// The playbook doesn't do what the run's journal says it did.
    Diverged = 8,
    /// The run was aborted, and what it had switched on was given back.
    Aborted = 9,
    /// The cluster is out of step, not well, or can't be seen: status.
    NotWell = 10,
    /// The playbook breaks a rule: check.
    Found = 11,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends without having done what it was asked to.
#[derive(Debug)]
pub struct Fault {
    /// The exit code.
    pub exit: Exit,
    /// What happened.
    message: String,
    /// What to do or to type next.
    help: Option<String>,
}

impl Fault {
    /// A fault with a message.
    pub fn new(exit: Exit, message: impl Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            help: None,
        }
    }

    /// Something about the input can't be used.
    pub fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds what to do next.
    #[must_use]
    pub fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    pub(super) fn print(&self, json: bool) {
        if json {
            out!(
                "{}",
                json!({"error": self.message, "help": self.help, "exit": self.exit as u8})
            );
            return;
        }
        err!("error: {}", self.message);
        if let Some(help) = &self.help {
            err!("{help}");
        }
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        Self::usage(error)
    }
}

impl From<RunsError> for Fault {
    fn from(error: RunsError) -> Self {
        let exit = match &error {
            RunsError::NoSuchRun { .. } => Exit::Usage,
            RunsError::Locked { .. } => Exit::Locked,
            _ => Exit::State,
        };
        let help = match &error {
            RunsError::NoSuchRun { .. } => Some("lockstep runs  lists them".to_owned()),
            RunsError::Locked { id } => Some(format!("lockstep show {id}  tells how far it is")),
            RunsError::Journal { id, .. } => Some(format!(
                "nothing was changed; the run's folder is left as it is: see lockstep show {id}"
            )),
            RunsError::Io { .. } | RunsError::Bundle { .. } => None,
        };
        Self {
            exit,
            message: error.to_string(),
            help,
        }
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        let (exit, help) = match &error {
            EngineError::Journal(_) => (
                Exit::State,
                Some(
                    "the run stopped there: what is not written down is not done. Make room and resume it.",
                ),
            ),
            EngineError::Divergence(_) => (
                Exit::Diverged,
                Some(
                    "nothing was changed. The run goes on with the playbook it captured if --playbook is left out.",
                ),
            ),
            EngineError::Decision(_) => (Exit::Usage, None),
        };
        Self {
            exit,
            message: error.to_string(),
            help: help.map(str::to_owned),
        }
    }
}

/// A playbook that can't be used.
impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        let site = failure
            .site
            .as_ref()
            .map_or_else(String::new, |site| format!("{site}: "));
        Self::usage(format!("{site}{failure}"))
    }
}
