//! What begins clusters' runs: processes of this machine, a site's scheduler by its own client, or a program of the site's.

mod client;
mod kubernetes;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use lockstep_modules::contract::contact::ContactError;
use lockstep_modules::ops::cluster::Job;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

pub(super) use client::Submission;
use client::{CLIENT, call, failed, limit};
use kubernetes::Kubernetes;

use crate::secret::anchored;

/// An executor, as a fleet's file declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ExecutorConfig {
    /// Processes of this machine.
    Local {
        /// How many at once.
        #[serde(default = "limit")]
        limit: u32,
    },
    /// Slurm, by `sbatch`, `squeue` and `srun`. Runs must be in a folder that all its nodes share, or in a store.
    Slurm {
        /// How many at once.
        #[serde(default = "limit")]
        limit: u32,
        /// Further options of `sbatch`, for example `--partition=ops`.
        #[serde(default)]
        options: Vec<String>,
    },
    /// Jobs of a Kubernetes cluster, by `kubectl`.
    Kubernetes(Kubernetes),
    /// A program of the site's, called as `PROGRAM submit NAME WORD…` and `PROGRAM list`; and as `PROGRAM stop|log|describe NAME`
    /// where an operator asks for it.
    Program {
        /// How many at once.
        #[serde(default = "limit")]
        limit: u32,
        /// The program, with what it is always called with.
        program: Vec<String>,
    },
}

impl Default for ExecutorConfig {
    fn default() -> Self {
        Self::Local { limit: limit() }
    }
}

/// A program as a file in `folder` names it: a path begins there, and a name is looked for as ever.
pub(super) fn program_in(folder: &Path, program: &str) -> PathBuf {
    match program.contains('/') {
        true => anchored(Path::new(program), folder),
        false => PathBuf::from(program),
    }
}

impl ExecutorConfig {
    /// The same for a process that is started in another folder.
    pub(super) fn anchor(&mut self, folder: &Path) {
        match self {
            Self::Program { program, .. } => {
                if let Some(first) = program.first_mut() {
                    *first = program_in(folder, first).display().to_string();
                }
            }
            Self::Kubernetes(kubernetes) => kubernetes.anchor(folder),
            Self::Local { .. } | Self::Slurm { .. } => {}
        }
    }

    /// Why it could never begin anything.
    pub(super) fn wrong(&self) -> Option<String> {
        match self {
            _ if self.limit() == 0 => {
                Some("has a limit of 0: it would never start anything".to_owned())
            }
            Self::Program { program, .. } if program.is_empty() => {
                Some("has no program".to_owned())
            }
            Self::Kubernetes(kubernetes) => kubernetes.wrong(),
            _ => None,
        }
    }

    /// How many jobs are at once.
    fn limit(&self) -> u32 {
        match self {
            Self::Local { limit }
            | Self::Slurm { limit, .. }
            | Self::Kubernetes(Kubernetes { limit, .. })
            | Self::Program { limit, .. } => *limit,
        }
    }
}

/// How long an answer about all jobs is good for.
const FRESH: Duration = Duration::from_secs(2);

/// An executor at work.
pub(super) struct Executor {
    executor: ExecutorConfig,
    /// So many jobs at once.
    pub(super) turns: Semaphore,
    /// The jobs that the scheduler has, and when it said so. One look is for all who wait.
    known: RefCell<Option<(Instant, BTreeSet<String>)>>,
    looking: tokio::sync::Mutex<()>,
}

impl Executor {
    pub(super) fn of(executor: &ExecutorConfig) -> Self {
        Self {
            turns: Semaphore::new(executor.limit() as usize),
            executor: executor.clone(),
            known: RefCell::new(None),
            looking: tokio::sync::Mutex::new(()),
        }
    }

    /// Whether its jobs are processes of this machine.
    pub(super) fn is_here(&self) -> bool {
        matches!(self.executor, ExecutorConfig::Local { .. })
    }

    /// Begins a job. One of this machine's processes is waited for, and says how its run stopped.
    pub(super) async fn submit(
        &self,
        submission: &Submission,
    ) -> Result<Option<Job>, ContactError> {
        let Submission {
            name,
            words,
            log,
            shared,
        } = submission;
        let (program, args): (&str, Vec<String>) = match &self.executor {
            ExecutorConfig::Local { .. } => {
                let printed = here(words, log).await?;
                return Ok(serde_json::from_str(&printed).ok());
            }
            ExecutorConfig::Slurm { options, .. } => {
                // What a job says otherwise gets to its store.
                let log = if *shared { log } else { Path::new("/dev/null") };
                let script: Vec<String> = words
                    .iter()
                    .map(|word| lockstep_modules::contract::cmd::quote(word))
                    .collect();
                let own = [
                    "--parsable".to_owned(),
                    "--requeue".to_owned(),
                    "--chdir=/".to_owned(),
                    format!("--job-name={name}"),
                    format!("--output={}", log.display()),
                ];
                let last = ["--wrap".to_owned(), format!("exec {}", script.join(" "))];
                (
                    "sbatch",
                    own.into_iter()
                        .chain(options.iter().cloned())
                        .chain(last)
                        .collect(),
                )
            }
            ExecutorConfig::Kubernetes(kubernetes) => {
                kubernetes.submit(submission).await?;
                return Ok(self.submitted().await);
            }
            ExecutorConfig::Program { program, .. } => {
                let (program, own) = split(program)?;
                let job = ["submit".to_owned(), name.clone()];
                (
                    program,
                    own.iter()
                        .cloned()
                        .chain(job)
                        .chain(words.iter().cloned())
                        .collect(),
                )
            }
        };
        call(program, &args, None, CLIENT).await?;
        Ok(self.submitted().await)
    }

    /// A job needn't be listed the moment it was submitted.
    async fn submitted(&self) -> Option<Job> {
        self.known.replace(None);
        sleep(FRESH).await;
        None
    }

    /// Asks a job to stop: lockstep in it interrupts its run as ^C would, which leaves it to be resumed. Not for this machine's
    /// processes, which their runs' locks name.
    pub(super) async fn stop(&self, submission: &Submission) -> Result<(), ContactError> {
        self.known.replace(None);
        match &self.executor {
            ExecutorConfig::Local { .. } => Ok(()),
            ExecutorConfig::Slurm { .. } => {
                let name = format!("--name={}", submission.name);
                let cancel = async |how: &[&str]| {
                    let args = ["--me", "--quiet", &name]
                        .into_iter()
                        .chain(how.iter().copied());
                    let args: Vec<String> = args.map(str::to_owned).collect();
                    call("scancel", &args, None, CLIENT).await
                };
                cancel(&["--state=PENDING"]).await?;
                // The script of a batch job is lockstep itself.
                cancel(&["--state=RUNNING", "--batch", "--signal=INT"])
                    .await
                    .map(drop)
            }
            ExecutorConfig::Kubernetes(kubernetes) => kubernetes.stop(submission).await,
            ExecutorConfig::Program { program, .. } => {
                tell(program, "stop", &submission.name).await.map(drop)
            }
        }
    }

    /// What a job printed, where its scheduler keeps that; none where it is in the job's log.
    pub(super) async fn log(
        &self,
        submission: &Submission,
    ) -> Result<Option<String>, ContactError> {
        match &self.executor {
            ExecutorConfig::Local { .. } | ExecutorConfig::Slurm { .. } => Ok(None),
            ExecutorConfig::Kubernetes(kubernetes) => {
                let name = kubernetes::object(submission);
                kubernetes.log(&name).await.map(Some)
            }
            ExecutorConfig::Program { program, .. } => {
                tell(program, "log", &submission.name).await.map(Some)
            }
        }
    }

    /// What the scheduler says of a job, in its own words; nothing where it has none, or where jobs are processes of this machine.
    pub(super) async fn describe(&self, submission: &Submission) -> Result<String, ContactError> {
        match &self.executor {
            ExecutorConfig::Local { .. } => Ok(String::new()),
            ExecutorConfig::Slurm { .. } => {
                let name = format!("--name={}", submission.name);
                let args = ["--me", &name, "--format=%i %T %N %S %r"].map(str::to_owned);
                call("squeue", &args, None, CLIENT).await
            }
            ExecutorConfig::Kubernetes(kubernetes) => kubernetes.describe(submission).await,
            ExecutorConfig::Program { program, .. } => {
                tell(program, "describe", &submission.name).await
            }
        }
    }

    /// Fetches what a job complained of, where that isn't written to its log by itself.
    pub(super) async fn collect(&self, submission: &Submission) -> Result<(), ContactError> {
        match &self.executor {
            ExecutorConfig::Kubernetes(kubernetes) => kubernetes.collect(submission).await,
            _ => Ok(()),
        }
    }

    /// Whether a job waits or runs, as far as the scheduler knows. Of this machine's processes their runs' locks tell.
    pub(super) async fn has(&self, submission: &Submission) -> Result<bool, ContactError> {
        if self.is_here() {
            return Ok(false);
        }
        let _one = self.looking.lock().await;
        let fresh = |known: &Option<(Instant, BTreeSet<String>)>| {
            known.as_ref().is_some_and(|(at, _)| at.elapsed() < FRESH)
        };
        if !fresh(&self.known.borrow()) {
            let names = self.list().await?;
            self.known.replace(Some((Instant::now(), names)));
        }
        let name = match &self.executor {
            ExecutorConfig::Kubernetes(_) => kubernetes::object(submission),
            _ => submission.name.clone(),
        };
        Ok(self
            .known
            .borrow()
            .as_ref()
            .is_some_and(|(_, names)| names.contains(&name)))
    }

    /// The names of all jobs that wait or run.
    async fn list(&self) -> Result<BTreeSet<String>, ContactError> {
        let printed = match &self.executor {
            ExecutorConfig::Local { .. } => String::new(),
            ExecutorConfig::Slurm { .. } => {
                let args = ["--noheader", "--me", "--format=%j"].map(str::to_owned);
                call("squeue", &args, None, CLIENT).await?
            }
            ExecutorConfig::Kubernetes(kubernetes) => return kubernetes.list().await,
            ExecutorConfig::Program { program, .. } => {
                let (program, own) = split(program)?;
                let args: Vec<String> = own.iter().cloned().chain(["list".to_owned()]).collect();
                let printed = call(program, &args, None, CLIENT).await?;
                // A run's name has no spaces. What is no list says nothing of what runs.
                if let Some(line) = printed
                    .lines()
                    .find(|line| line.trim().contains(char::is_whitespace))
                {
                    return Err(failed(format!(
                        "{program} list printed something else than a job's name: {line:?}"
                    )));
                }
                printed
            }
        };
        Ok(printed.lines().map(|line| line.trim().to_owned()).collect())
    }

    /// Runs something where jobs are run, and returns what it printed.
    pub(super) async fn ask(
        &self,
        submission: &Submission,
        limit: Duration,
    ) -> Result<String, ContactError> {
        match &self.executor {
            ExecutorConfig::Slurm { options, .. } => {
                let own = ["--quiet", "--ntasks=1", "--chdir=/"].map(str::to_owned);
                let args: Vec<String> = own
                    .iter()
                    .chain(options)
                    .chain(&submission.words)
                    .cloned()
                    .collect();
                // It may wait for its turn; how long, whoever asks knows.
                call("srun", &args, None, limit).await
            }
            ExecutorConfig::Kubernetes(kubernetes) => kubernetes.ask(submission, limit).await,
            ExecutorConfig::Local { .. } | ExecutorConfig::Program { .. } => {
                here(&submission.words, &submission.log).await
            }
        }
    }
}

/// Calls a program of the site's about a job.
async fn tell(program: &[String], what: &str, name: &str) -> Result<String, ContactError> {
    let (program, own) = split(program)?;
    let args = own.iter().map(String::as_str).chain([what, name]);
    let args: Vec<String> = args.map(str::to_owned).collect();
    call(program, &args, None, CLIENT).await
}

fn split(program: &[String]) -> Result<(&str, &[String]), ContactError> {
    let (program, args) = program
        .split_first()
        .ok_or_else(|| failed("it has no program"))?;
    Ok((program, args))
}

/// Runs a process here, in a group of its own: it isn't ended with this one.
async fn here(words: &[String], log: &PathBuf) -> Result<String, ContactError> {
    let refused = |error: std::io::Error| failed(format!("no job can be started: {error}"));
    let (program, args) = split(words)?;
    let mut job = Command::new(program);
    job.args(args).stdin(Stdio::null()).process_group(0);
    job.stdout(Stdio::piped())
        .stderr(File::create(log).map_err(refused)?);
    let output = job.spawn().map_err(refused)?.wait_with_output().await;
    let output = output.map_err(|error| ContactError::Lost(format!("the job: {error}")))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
