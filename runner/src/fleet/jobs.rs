//! The way to the clusters of a rollout: each one's run is a job of its own.
//!
//! A job isn't ended with the rollout: a run of a cluster goes on whatever becomes of whoever began it. It is found again by its
//! run's name, in the state folder and at its executor, and so is never begun twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::LocalBoxFuture;
use lockstep_modules::contract::cmd::{Cmd, End, Output};
use lockstep_modules::contract::reach::{ContactError, Ear, Facts, Transport};
use lockstep_modules::contract::schema::Member;
use lockstep_modules::contract::standing::Standing;
use lockstep_modules::ops::cluster::{Ask, Job, Skipped};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use super::executor::{Executor, Submission};
use super::look::standing_of;
use super::rings::Rollout;
use super::specs::{Skip, Spec, Specs};
use crate::clock;
use crate::config::Notify;
use crate::runs::Runs;

/// How often a run is looked at that another process has.
const PACE: Duration = Duration::from_secs(1);

/// How often a job may end without having brought its run anywhere.
const ATTEMPTS: u32 = 3;

/// The clusters of a rollout, and what begins their runs.
pub struct Jobs {
    runs: Runs,
    specs: Specs,
    /// The rollout's own run.
    rollout: String,
    clusters: BTreeMap<Member, (Spec, String)>,
    executors: BTreeMap<String, Executor>,
    /// The way to the machines beside the clusters.
    machines: Option<Rc<dyn Transport>>,
}

/// The job of a cluster.
#[derive(Clone, Debug, Serialize)]
pub struct Described {
    /// The cluster's run.
    pub run: String,
    /// The executor's name in the fleet's file.
    pub executor: String,
    /// What its scheduler says of it, in its own words, or why it can't be asked; empty where it has none.
    pub scheduler: String,
    /// The end of what it printed.
    pub log: String,
}

impl Jobs {
    /// The jobs of a rollout, whose run has the name `id`. `notify` is who gets to know what they come to, `machines` the way to
    /// the machines beside the clusters, if there are any.
    #[must_use]
    pub fn of(
        runs: &Runs,
        id: &str,
        rollout: &Rollout,
        notify: &Notify,
        machines: Option<Rc<dyn Transport>>,
    ) -> Self {
        let clusters = rollout.clusters().map(|entry| {
            let spec = Spec {
                notify: notify.clone(),
                ..rollout.spec(entry)
            };
            let what = (spec, entry.executor.clone());
            (Member::from(entry.name.as_str()), what)
        });
        let executors = rollout.executors.iter();
        Self {
            specs: Specs::of(runs, id),
            rollout: id.to_owned(),
            clusters: clusters.collect(),
            executors: executors
                .map(|(name, executor)| (name.clone(), Executor::of(executor)))
                .collect(),
            runs: runs.clone(),
            machines,
        }
    }

    /// The way to a machine beside the clusters; none for a cluster.
    fn machine(&self, name: &Member) -> Option<&dyn Transport> {
        let is_cluster = self.clusters.contains_key(name);
        self.machines.as_deref().filter(|_| !is_cluster)
    }

    fn look(&self, cluster: &str, run: &str) -> Result<Job, ContactError> {
        standing_of(&self.runs, &self.specs, cluster, run).map_err(unread)
    }

    /// Begins the run, takes it up, or waits for whoever has it, until it stops.
    async fn exec(
        &self,
        cluster: &str,
        run: &str,
        spec: &Spec,
        executor: &Executor,
    ) -> Result<Job, ContactError> {
        let submission = self.submission(&["exec"], cluster, run, executor)?;
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
        what: &[&str],
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
        let what = what.iter().map(Path::new);
        let words = [program.as_path(), Path::new("fleet")].into_iter();
        let words = words
            .chain(what)
            .chain([Path::new(run), Path::new("--state"), &state]);
        Ok(Submission {
            name: run.to_owned(),
            words: words.map(|word| word.display().to_string()).collect(),
            log: absolute(&self.specs.log(cluster)),
            shared: self.runs.store().is_none(),
        })
    }

    fn submitted(&self, cluster: &str) -> Result<(&str, &Executor, Submission), ContactError> {
        let unknown = || ContactError::NoSuchMember(Member::from(cluster));
        let name = Member::from(cluster);
        let (_, executor) = self.clusters.get(&name).ok_or_else(unknown)?;
        let (name, executor) = self.executors.get_key_value(executor).ok_or_else(unknown)?;
        let run = self.current(&format!("{}.{cluster}", self.rollout));
        Ok((
            name,
            executor,
            self.submission(&["exec"], cluster, &run, executor)?,
        ))
    }

    /// Asks the scheduler of a cluster's job to stop it, which interrupts its run. False where no scheduler has one: then it is at
    /// most a process, which its run's lock names.
    ///
    /// # Errors
    /// Where its executor can't be asked.
    pub async fn stop(&self, cluster: &str) -> Result<bool, ContactError> {
        let (_, executor, submission) = self.submitted(cluster)?;
        if executor.is_here() || !executor.has(&submission).await? {
            return Ok(false);
        }
        let stopped = executor.stop(&submission).await;
        match stopped {
            Ok(()) => Ok(true),
            // It may have ended by itself meanwhile.
            Err(error) if executor.has(&submission).await? => Err(error),
            Err(_) => Ok(false),
        }
    }

    /// The job of a cluster, as its executor knows it.
    ///
    /// # Errors
    /// Where there is no such cluster.
    pub async fn describe(&self, cluster: &str) -> Result<Described, ContactError> {
        let (name, executor, submission) = self.submitted(cluster)?;
        let scheduler = executor.describe(&submission).await;
        // A job that is gone has left what was collected of it.
        let log = executor.log(&submission).await.ok().flatten();
        Ok(Described {
            run: submission.name,
            executor: name.to_owned(),
            scheduler: scheduler.unwrap_or_else(|error| error.to_string()),
            log: log
                .or_else(|| self.specs.complaint(cluster))
                .unwrap_or_default(),
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
            Ask::Bar(why) => {
                serde_json::to_string(&self.bar(name, &self.current(run), spec, why)?)
            }
            Ask::Skip(why) => serde_json::to_string(&self.skip(name, spec, why)?),
            Ask::Exec => {
                let _turn = executor.turns.acquire().await;
                serde_json::to_string(&self.exec(name, &self.current(run), spec, executor).await?)
            }
            Ask::Look | Ask::Plan | Ask::Stage => {
                let words = ["ask", ask.word()];
                let submission = self.submission(&words, name, &self.current(run), executor)?;
                self.specs.write(name, spec).map_err(unread)?;
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

    /// Keeps a run from beginning, if it hasn't.
    fn bar(&self, cluster: &str, run: &str, spec: &Spec, why: &str) -> Result<Job, ContactError> {
        if self.look(cluster, run)?.state == Standing::DidNotBegin {
            let refused = self.specs.refuse(cluster, spec, Some(why));
            refused.map_err(unread)?;
        }
        self.look(cluster, run)
    }

    /// Takes a cluster out of the rollout; what an operator said of it before stays.
    fn skip(&self, cluster: &str, spec: &Spec, why: &str) -> Result<Skipped, ContactError> {
        if self.specs.skipped(cluster).map_err(unread)?.is_none() {
            let skip = Skip {
                who: self.rollout.clone(),
                at: clock::now(),
                why: why.to_owned(),
            };
            self.specs
                .skip(cluster, &spec.labels, &skip)
                .map_err(unread)?;
        }
        Ok(Skipped {})
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
        if let Some(way) = self.machine(cluster) {
            return way.facts(cluster);
        }
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
        ear: &'a Ear<'a>,
    ) -> LocalBoxFuture<'a, Result<Vec<Output>, ContactError>> {
        if let Some(way) = self.machine(cluster) {
            if batch.iter().any(|cmd| Ask::of(cmd).is_some()) {
                let what = format!("{cluster} is a machine beside the clusters");
                return Box::pin(std::future::ready(Err(ContactError::Executor(what))));
            }
            return way.run(cluster, batch, ear);
        }
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
