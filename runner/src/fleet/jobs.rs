//! The way to the clusters of a rollout: each one's run is a job of its own.
//!
//! A job isn't ended with the rollout: a run of a cluster goes on whatever becomes of whoever began it. It is found again by its
//! run's name, in the state folder and at its executor, and so is never begun twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use lockstep_modules::contract::cmd::{Cmd, End, Output};
use lockstep_modules::contract::reach::{ContactError, Ear, Facts, Transport};
use lockstep_modules::contract::schema::Member;
use lockstep_modules::contract::standing::Standing;
use lockstep_modules::ops::cluster::{Ask, Job};
use tokio::time::{sleep, timeout};

use super::executor::{Executor, Submission};
use super::job;
use super::rings::Rollout;
use super::specs::{Spec, Specs};
use crate::runs::Runs;

/// How often a run is looked at that another process has.
const PACE: Duration = Duration::from_secs(1);

/// How often a job may end without having brought its run anywhere.
const ATTEMPTS: u32 = 3;

/// The clusters of a rollout, and what begins their runs.
pub struct Jobs {
    runs: Runs,
    specs: Specs,
    clusters: BTreeMap<Member, (Spec, String)>,
    executors: BTreeMap<String, Executor>,
}

impl Jobs {
    /// The jobs of a rollout, whose run has the name `id`.
    #[must_use]
    pub fn of(runs: &Runs, id: &str, rollout: &Rollout) -> Self {
        let clusters = rollout.clusters().map(|entry| {
            let what = (rollout.spec(entry), entry.executor.clone());
            (Member::from(entry.name.as_str()), what)
        });
        let executors = rollout.executors.iter();
        Self {
            specs: Specs::of(runs, id),
            clusters: clusters.collect(),
            executors: executors
                .map(|(name, executor)| (name.clone(), Executor::of(executor)))
                .collect(),
            runs: runs.clone(),
        }
    }

    /// The run as it stands; a cluster that was taken out of the rollout is that first of all.
    fn look(&self, cluster: &str, run: &str) -> Result<Job, ContactError> {
        if let Some(skip) = self.specs.skipped(cluster).map_err(unread)? {
            return Ok(Job {
                run: run.to_owned(),
                state: Standing::Skipped,
                steps: Vec::new(),
                why: Some(skip.to_string()),
            });
        }
        let mut job = job(&self.runs, run).map_err(unread)?;
        if job.state == Standing::DidNotBegin {
            // Whoever was to begin it may have said why it didn't.
            job.why = self.specs.complaint(cluster);
        }
        Ok(job)
    }

    /// Begins the run, takes it up, or waits for whoever has it, until it stops.
    async fn exec(
        &self,
        cluster: &str,
        run: &str,
        spec: &Spec,
        executor: &Executor,
    ) -> Result<Job, ContactError> {
        let submission = self.submission("exec", cluster, run, executor)?;
        let mut attempts = 0;
        loop {
            let found = self.look(cluster, run)?;
            if found.state.has_stopped() {
                return Ok(found);
            }
            if found.state == Standing::Running || executor.has(&submission).await? {
                sleep(PACE).await;
                continue;
            }
            if attempts > 0 {
                executor.collect(&submission).await?;
                if let Some(why) = self.specs.refusal(cluster).map_err(unread)? {
                    return Ok(Job {
                        state: Standing::Refused,
                        why: Some(why),
                        ..found
                    });
                }
            }
            if attempts == ATTEMPTS {
                return Ok(Job {
                    why: Some(self.last_words(cluster)),
                    ..found
                });
            }
            attempts += 1;
            self.specs.write(cluster, spec).map_err(unread)?;
            if spec.approve_plan {
                self.specs.refuse(cluster, spec, None).map_err(unread)?;
            }
            if let Some(stopped) = executor.submit(&submission).await? {
                return Ok(stopped);
            }
        }
    }

    /// A lockstep of its own that sees to a cluster's run.
    fn submission(
        &self,
        what: &str,
        cluster: &str,
        run: &str,
        executor: &Executor,
    ) -> Result<Submission, ContactError> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        // Here it is the program of this process, even where its file was replaced meanwhile.
        let program = match executor.is_here() {
            true => PathBuf::from("/proc/self/exe"),
            false => this_program().map_err(unread)?,
        };
        let state = PathBuf::from(self.runs.word());
        let words = [
            program.as_path(),
            Path::new("fleet"),
            Path::new(what),
            Path::new(run),
            Path::new("--state"),
            &state,
        ];
        Ok(Submission {
            name: run.to_owned(),
            words: words
                .iter()
                .map(|word| word.display().to_string())
                .collect(),
            log: absolute(&self.specs.log(cluster)),
            shared: self.runs.store().is_none(),
        })
    }

    fn last_words(&self, cluster: &str) -> String {
        let silence = || format!("its job ended {ATTEMPTS} times without a word");
        self.specs.complaint(cluster).unwrap_or_else(silence)
    }

    async fn answer(&self, cluster: &Member, cmd: &Cmd) -> Result<Output, ContactError> {
        let unknown =
            || ContactError::Executor(format!("a fleet's clusters don't know {:?}", cmd.display()));
        let (ask, run) = Ask::of(cmd).ok_or_else(unknown)?;
        let (spec, executor) = self.clusters.get(cluster).ok_or_else(unknown)?;
        let executor = self.executors.get(executor).ok_or_else(unknown)?;
        let name = cluster.as_str();
        let printed = match ask {
            Ask::State => serde_json::to_string(&self.look(name, &self.current(run))?),
            Ask::Exec => {
                let _turn = executor.turns.acquire().await;
                serde_json::to_string(&self.exec(name, &self.current(run), spec, executor).await?)
            }
            Ask::Verify => {
                let submission = self.submission("verify", name, &self.current(run), executor)?;
                let said = executor.ask(&submission, cmd.timeout).await?;
                // Where it printed nothing, its complaint is the reason.
                return Ok(match said.trim().is_empty() {
                    true => Output::exit(1, said, self.last_words(name)),
                    false => Output::exit(0, said, ""),
                });
            }
        };
        Ok(Output::exit(0, printed.unwrap_or_default(), ""))
    }

    /// The run of a cluster that counts: the last attempt.
    fn current(&self, run: &str) -> String {
        self.runs.last_attempt(run)
    }
}

/// Where this program lies. One that was replaced lies there still, as another one.
fn this_program() -> std::io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let replaced = program
        .to_str()
        .and_then(|path| path.strip_suffix(" (deleted)"));
    Ok(replaced.map(PathBuf::from).unwrap_or(program))
}

fn unread(error: impl std::fmt::Display) -> ContactError {
    ContactError::Executor(error.to_string())
}

impl Transport for Jobs {
    fn facts<'a>(&'a self, cluster: &'a Member) -> LocalBoxFuture<'a, Result<Facts, ContactError>> {
        let facts = Facts {
            hostname: cluster.to_string(),
            ..Facts::default()
        };
        Box::pin(std::future::ready(Ok(facts)))
    }

    fn run<'a>(
        &'a self,
        cluster: &'a Member,
        batch: &'a [Cmd],
        _ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        Box::pin(async move {
            let mut outputs = Vec::new();
            for cmd in batch {
                outputs.push(
                    match timeout(cmd.timeout, self.answer(cluster, cmd)).await {
                        Ok(output) => output?,
                        Err(_) => Output {
                            end: End::TimedOut,
                            ..Output::exit(0, "", "")
                        },
                    },
                );
            }
            Ok(outputs)
        })
    }

    fn warm<'a>(
        &'a self,
        _clusters: &'a [Member],
    ) -> LocalBoxFuture<'a, Vec<(Member, Result<Facts, ContactError>)>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}
