//! Exit codes, and what is printed when a command can't do what it was asked to.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use lockstep_modules::contract::cmd::quote;
use serde_json::json;

use super::print;
use crate::config::ConfigError;
use crate::engine::{Divergence, EngineError};
use crate::failure::Failure;
use crate::fleet::{FleetError, ProgressError};
use crate::journal::JournalError;
use crate::plan::PlanError;
use crate::private::FileError;
use crate::programs::CaptureError;
use crate::report::excerpt::Ink;
use crate::report::failure::Teller;
use crate::runs::RunsError;
use crate::runs::archive::ArchiveError;
use crate::script::Source;
use crate::session::SessionError;
use crate::store::StoreError;
use crate::target::TargetError;
use crate::trust::Distrust;

/// How the process ends. The numbers are a promise, and their meanings are what `lockstep help exit-codes` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Exit {
    /// Done, or nothing to do.
    Done = 0,
    /// A playbook or an op failed.
    Failed = 1,
    /// The command line, a playbook, or the cluster file can't be used.
    Usage = 2,
    /// A check failed before anything was changed.
    Refused = 3,
    /// The run is held at a step; resume it.
    Held = 4,
    /// The run was interrupted, or waits for its time; resume it.
    Suspended = 5,
    /// The run is in use by another process.
    Locked = 6,
    /// The run's journal or folder can't be read or written.
    State = 7,
    /// The playbook no longer matches the run's journal.
    Diverged = 8,
    /// The run was aborted, and all settings it changed were restored.
    Aborted = 9,
    /// The cluster is out of step, unhealthy, or can't be seen (status).
    NotWell = 10,
    /// The playbook breaks a rule (check).
    Found = 11,
    /// A member can't be reached, and nothing else failed (op, unlock, init).
    Unreachable = 12,
    /// lockstep itself is wrong: please report it.
    Internal = 13,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends without having done what it was asked to.
#[derive(Debug)]
pub struct Fault {
    pub(crate) exit: Exit,
    message: String,
    /// What to do or to type next.
    help: Option<String>,
    /// The line of a playbook that is at fault.
    place: Option<Place>,
}

#[derive(Debug)]
struct Place {
    site: String,
    /// The line in its source, and how the playbook came to it, for people; empty where its source isn't known.
    excerpt: String,
}

impl Fault {
    pub(crate) fn new(exit: Exit, message: impl Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
            help: None,
            place: None,
        }
    }

    pub(crate) fn unwritten(path: &Path, error: impl Display) -> Self {
        let message = format!("{} can't be written: {error}", path.display());
        Self::new(Exit::State, message)
    }

    /// What happened, in a sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Something about the input can't be used.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self {
            help: Some(help.into()),
            ..self
        }
    }

    /// It is about this cluster of a fleet.
    pub(crate) fn within(self, cluster: &str) -> Self {
        Self {
            message: format!("{cluster}: {}", self.message),
            ..self
        }
    }

    /// A file that was found isn't used; `flag` is how it is named.
    pub(super) fn distrusted(distrust: &Distrust, flag: &str, file: &Path) -> Self {
        let file = quote(&file.display().to_string());
        let remedy = distrust.remedy().map(|remedy| format!("; or {remedy}"));
        Self::usage(distrust).help(format!(
            "if you trust it, name it: {flag} {file}{}",
            remedy.unwrap_or_default()
        ))
    }

    /// Tells it as a warning: the command continues without what is at fault.
    pub(super) fn warn(&self) {
        err!("warning: {}", self.message);
        if let Some(help) = &self.help {
            err!("{help}");
        }
    }

    pub(super) fn print(&self, json: bool) {
        let (site, excerpt) = match &self.place {
            None => (String::new(), ""),
            Some(Place { site, excerpt }) => (format!("{site}: "), excerpt.as_str()),
        };
        if json {
            let error = format!("{site}{}", self.message);
            let exit = self.exit as u8;
            print::json(&json!({"error": error, "help": self.help, "exit": exit}));
            return;
        }
        if excerpt.is_empty() {
            err!("error: {site}{}", self.message);
        } else {
            err!("error: {}", self.message);
            // It is fit for a terminal already, colours and all.
            let _ = std::io::stderr().write_all(excerpt.as_bytes());
        }
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
        let error = match error {
            RunsError::Store(error) => return Self::from(error),
            error => error,
        };
        let exit = match &error {
            RunsError::NoSuchRun { .. } => Exit::Usage,
            RunsError::Locked { .. } | RunsError::Starting => Exit::Locked,
            _ => Exit::State,
        };
        let help = match &error {
            RunsError::NoSuchRun { .. } => Some("lockstep runs  lists them".to_owned()),
            RunsError::Starting => Some("run the command again".to_owned()),
            RunsError::Locked { id, .. } => Some(format!("lockstep show {id}  shows its progress")),
            RunsError::Exists(id) => Some(format!("lockstep show {id}  shows what is known of it")),
            RunsError::Journal {
                source: JournalError::Empty,
                ..
            } => Some("nothing was changed: run the command again".to_owned()),
            RunsError::Bundle { id, playbook, .. } => Some(format!(
                "if there is another copy of the playbook that does the same, name it:\n  \
                 lockstep resume {id} --playbook {of}\n  lockstep abort {id} --playbook {of}",
                of = quote(playbook)
            )),
            RunsError::Journal { id, .. } => Some(format!(
                "nothing was changed; the run's folder is left as it is: see lockstep show {id}"
            )),
            RunsError::Io(_) | RunsError::Store(_) => None,
        };
        Self {
            help,
            ..Self::new(exit, error)
        }
    }
}

impl From<ArchiveError> for Fault {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::Runs(error) => Self::from(error),
            ArchiveError::Io { .. } => Self::new(Exit::State, error),
            ArchiveError::Strange(_)
            | ArchiveError::Journal { .. }
            | ArchiveError::Cut
            | ArchiveError::Differs(_) => Self::usage(error),
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        let exit = match &error {
            StoreError::Url(_) | StoreError::Password | StoreError::NoSuchRun(_) => Exit::Usage,
            StoreError::InUse { .. } | StoreError::TakenUp { .. } => Exit::Locked,
            _ => Exit::State,
        };
        let help = match &error {
            StoreError::Url(_) => Some("for example postgresql://lockstep@db.example/lockstep".to_owned()),
            StoreError::Password => Some(
                "leave it out of the URL, and put it into ~/.pgpass, the file that PGPASSFILE names, or PGPASSWORD"
                    .to_owned(),
            ),
            StoreError::Denied { .. } => Some(
                "passwords are looked for in PGPASSWORD, the file that PGPASSFILE names, and ~/.pgpass"
                    .to_owned(),
            ),
            StoreError::NoSchema { .. } => {
                Some("lockstep store init  makes them".to_owned())
            }
            StoreError::Closed { .. } => Some(
                "the database's owner grants what a role needs, beginning with: grant usage on schema lockstep to ROLE"
                    .to_owned(),
            ),
            StoreError::Older { .. } => Some(
                "lockstep store init  changes them; an older lockstep can't use them afterwards"
                    .to_owned(),
            ),
            StoreError::Newer { .. } => {
                Some("use the lockstep that changed them, or a newer one".to_owned())
            }
            StoreError::TakenUp { .. } => Some(ELSEWHERE.to_owned()),
            StoreError::SetBack { run, copy, .. } => Some(format!(
                "if the database is right, move the copy away: mv {copy} {copy}.old\n\
                 if the copy is right, save it: lockstep runs export {run} --state {state} -o {run}.tar",
                copy = quote(&copy.display().to_string()),
                state = quote(&state_of(copy).display().to_string()),
            )),
            _ => None,
        };
        Self {
            help,
            ..Self::new(exit, error)
        }
    }
}

/// The state folder that a run's folder is in.
fn state_of(run: &Path) -> &Path {
    run.parent().and_then(Path::parent).unwrap_or(run)
}

/// What a process is told whose run is another one's.
const ELSEWHERE: &str = "this process stopped here; continue the run where it is running";

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        let (exit, help) = match &error {
            EngineError::Journal(JournalError::Shared(_)) => (Exit::Locked, Some(ELSEWHERE)),
            EngineError::Journal(JournalError::Store(StoreError::TakenUp { .. })) => {
                (Exit::Locked, Some(ELSEWHERE))
            }
            EngineError::Journal(JournalError::Store(_) | JournalError::Away { .. }) => (
                Exit::State,
                Some(
                    "the run stopped here; what is not written down was not done. Resume it when the database is back",
                ),
            ),
            EngineError::Journal(_) => (
                Exit::State,
                Some(
                    "the run stopped here; what is not written down was not done. Free up space, then resume it",
                ),
            ),
            EngineError::Divergence(_) => (
                Exit::Diverged,
                Some(
                    "nothing was changed; without --playbook, the run continues with the playbook that it captured",
                ),
            ),
            EngineError::Script(failure) => {
                let fault = Self::from(failure.as_ref().clone());
                return Self {
                    exit: Exit::Failed,
                    ..fault
                };
            }
            EngineError::Internal(_) => (
                Exit::Internal,
                Some("nothing is lost: please report it, with the run's folder"),
            ),
            EngineError::Decision(_) => (Exit::Usage, None),
            EngineError::Random(_) => (Exit::State, None),
        };
        Self {
            help: help.map(str::to_owned),
            ..Self::new(exit, error)
        }
    }
}

impl From<PlanError> for Fault {
    fn from(error: PlanError) -> Self {
        Self::usage(error)
    }
}

impl From<FileError> for Fault {
    fn from(error: FileError) -> Self {
        Self::new(Exit::State, error)
    }
}

impl From<TargetError> for Fault {
    fn from(error: TargetError) -> Self {
        let exit = match &error {
            TargetError::Fault(_) => Exit::Usage,
            TargetError::Sockets(_)
            | TargetError::Rollout(_)
            | TargetError::Unreadable { .. }
            | TargetError::Damaged { .. } => Exit::State,
        };
        Self::new(exit, error)
    }
}

impl From<FleetError> for Fault {
    fn from(error: FleetError) -> Self {
        match error {
            FleetError::File(error) => Self::from(error),
            error => Self::usage(error),
        }
    }
}

impl From<ProgressError> for Fault {
    fn from(error: ProgressError) -> Self {
        match error {
            ProgressError::Runs(error) => Self::from(error),
            error => Self::usage(error),
        }
    }
}

impl From<CaptureError> for Fault {
    fn from(error: CaptureError) -> Self {
        Self::new(Exit::State, error)
    }
}

impl From<SessionError> for Fault {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Playbook(failure) => Self::from(*failure),
            SessionError::Runs(error) => Self::from(error),
            SessionError::Programs(error) => Self::from(error),
            SessionError::Target(error) => Self::from(error),
            SessionError::Plan(error) => Self::from(error),
            SessionError::File(error) => Self::from(error),
            SessionError::Refused(_) => Self::usage(error).help("run the command again"),
            SessionError::Ended(ref id) => {
                let help = format!("lockstep show {id}  shows how");
                Self::usage(error).help(help)
            }
            SessionError::OtherMembers(_) => Self::usage(error),
            SessionError::NoSuchOp { .. } => Self::usage(error)
                .help("continue with the lockstep and the modules that it was started with"),
            SessionError::Real => {
                Self::usage("--mend works only on rehearsals; repair the cluster yourself")
            }
        }
    }
}

/// A playbook that can't be used.
impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        let place = failure.site.as_ref().map(|site| {
            let excerpt = match &failure.source {
                Some(_) => Teller::of(&BTreeMap::new(), Ink::stderr()).details(&failure),
                None => String::new(),
            };
            let site = site.clone();
            Place { site, excerpt }
        });
        Self {
            place,
            ..Self::usage(&failure)
        }
    }
}

impl Fault {
    /// A playbook that doesn't do what its run did: with both lines, each in its own source.
    pub(super) fn diverged(
        at: &Divergence,
        then: &BTreeMap<String, Source>,
        now: &BTreeMap<String, Source>,
    ) -> Self {
        let about = format!("{:?}", at.key);
        let sides = [("then", then), ("now", now)].into_iter().zip(&at.sites);
        let shown = sides.filter_map(|((when, sources), site)| {
            let teller = Teller::of(sources, Ink::stderr());
            let excerpt = teller.excerpt(site.as_ref()?, &about, true)?;
            Some(format!("{when}:\n{excerpt}\n"))
        });
        let excerpt: String = shown.collect();
        let site = at.sites.iter().flatten().next_back().cloned();
        let fault = Self::from(EngineError::Divergence(Box::new(at.clone())));
        Self {
            place: site.map(|site| Place { site, excerpt }),
            ..fault
        }
    }
}
