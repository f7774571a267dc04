//! Jobs of a Kubernetes cluster, by `kubectl`, made from a template of the site's.
//!
//! The template says everything that lockstep can't know: the image, where ssh's keys and the state come from, limits, and where
//! it may run. Its first container gets lockstep's words as its `args`. A job isn't begun twice: the API server takes a name
//! once, and answers 409 to whoever comes second.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep_modules::contract::contact::ContactError;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::client::{CLIENT, Submission, call, failed, limit};
use crate::secret::anchored;

/// Kubernetes, as a fleet's file declares it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// How many at once.
    #[serde(default = "limit")]
    pub(super) limit: u32,
    /// A Job's manifest, in YAML or JSON. A relative path begins at the file.
    pub(super) job: PathBuf,
    /// Further options of `kubectl`, for example `--context=ops` and `--namespace=lockstep`.
    #[serde(default)]
    pub(super) options: Vec<String>,
}

/// By this label lockstep's jobs are found.
const LABEL: (&str, &str) = ("app.kubernetes.io/managed-by", "lockstep");

/// Whose run a job is: the name of an object has no room for every run's name.
const RUN: &str = "lockstep/run";

/// How long a job that is over is kept where the template doesn't say, in seconds.
const KEPT: u32 = 3600;

/// How long a pod that is told to end may take where the template doesn't say, in seconds: as long as a step.
const GRACE: u32 = 3600;

/// How many lines of a job's log are kept.
const LINES: u32 = 50;

/// How often a job is looked at that somebody waits for.
const PACE: Duration = Duration::from_secs(1);

/// How a job stands.
enum Seen {
    Absent,
    Active,
    Over,
}

impl Kubernetes {
    /// Begins a job. One of this name that is over is replaced.
    pub(super) async fn submit(&self, submission: &Submission) -> Result<(), ContactError> {
        let name = object(submission);
        match self.seen(&name).await? {
            Seen::Active => return Ok(()),
            Seen::Over => self.delete(&name).await?,
            Seen::Absent => {}
        }
        let job = self.job(submission).await?.to_string();
        let created = self.call(&["create", "--filename=-"], Some(&job)).await;
        match created {
            Ok(_) => Ok(()),
            // Somebody else may have been quicker.
            Err(error) => match self.seen(&name).await? {
                Seen::Active => Ok(()),
                Seen::Absent | Seen::Over => Err(error),
            },
        }
    }

    /// The names of the jobs that wait or run.
    pub(super) async fn list(&self) -> Result<BTreeSet<String>, ContactError> {
        let selector = format!("--selector={}={}", LABEL.0, LABEL.1);
        let printed = self
            .call(&["get", "jobs", &selector, "--output=json"], None)
            .await?;
        let jobs: Value = read(&printed)?;
        let items = jobs.get("items").and_then(Value::as_array);
        let items = items.ok_or_else(|| failed("kubectl get jobs printed no list"))?;
        let name = |job: &Value| Some(job.pointer("/metadata/name")?.as_str()?.to_owned());
        Ok(items
            .iter()
            .filter(|job| !is_over(job))
            .filter_map(name)
            .collect())
    }

    /// Writes what a job printed last where its complaints are looked for. A job that is gone has nothing to say.
    pub(super) async fn collect(&self, submission: &Submission) -> Result<(), ContactError> {
        let name = object(submission);
        if let Seen::Absent = self.seen(&name).await? {
            return Ok(());
        }
        // Its pods may have gone with their node.
        let log = self.log(&name).await;
        let log =
            log.unwrap_or_else(|error| format!("its job ended, and its log can't be had: {error}"));
        std::fs::write(&submission.log, log)
            .map_err(|error| failed(format!("{}: {error}", submission.log.display())))
    }

    /// Runs something as a job, waits for its end, and returns what it printed.
    pub(super) async fn ask(
        &self,
        submission: &Submission,
        limit: Duration,
    ) -> Result<String, ContactError> {
        // The job is to be gone before whoever asked gives up.
        let until = Instant::now() + limit.saturating_sub(CLIENT);
        let submission = Submission {
            name: format!("{}.ask", submission.name),
            ..submission.clone()
        };
        let name = object(&submission);
        self.submit(&submission).await?;
        loop {
            match self.seen(&name).await? {
                Seen::Over => break,
                Seen::Absent => return Err(failed(format!("somebody deleted the job {name}"))),
                Seen::Active => {}
            }
            if Instant::now() > until {
                self.delete(&name).await?;
                let waited = limit.as_secs();
                return Err(failed(format!("the job {name} wasn't over in {waited} s")));
            }
            sleep(PACE).await;
        }
        let log = self.log(&name).await?;
        self.delete(&name).await?;
        // A pod's complaints and its answer, which comes last, are in one log.
        let (complaint, answer) = log
            .trim_end()
            .rsplit_once('\n')
            .unwrap_or(("", log.trim_end()));
        if serde_json::from_str::<IgnoredAny>(answer).is_ok() {
            return Ok(answer.to_owned());
        }
        let said = [complaint, answer].join("\n");
        std::fs::write(&submission.log, said.trim())
            .map_err(|error| failed(format!("{}: {error}", submission.log.display())))?;
        Ok(String::new())
    }

    /// Deletes a job. lockstep in its pod is told to end by SIGTERM, and interrupts its run.
    pub(super) async fn stop(&self, submission: &Submission) -> Result<(), ContactError> {
        self.delete(&object(submission)).await
    }

    /// A job and its pods, as `kubectl` lists them.
    pub(super) async fn describe(&self, submission: &Submission) -> Result<String, ContactError> {
        let name = object(submission);
        let wide = ["--ignore-not-found", "--output=wide"];
        let of_job = format!("--selector=job-name={name}");
        let job = self
            .call(&["get", "job", &name, wide[0], wide[1]], None)
            .await?;
        let pods = self
            .call(&["get", "pods", &of_job, wide[0], wide[1]], None)
            .await?;
        Ok(format!("{job}{pods}"))
    }

    pub(super) async fn log(&self, name: &str) -> Result<String, ContactError> {
        let (job, lines) = (format!("job/{name}"), format!("--tail={LINES}"));
        self.call(&["logs", &job, &lines], None).await
    }

    async fn delete(&self, name: &str) -> Result<(), ContactError> {
        let args = [
            "delete",
            "job",
            name,
            "--ignore-not-found",
            "--cascade=background",
        ];
        self.call(&args, None).await.map(drop)
    }

    async fn seen(&self, name: &str) -> Result<Seen, ContactError> {
        let args = ["get", "job", name, "--ignore-not-found", "--output=json"];
        let printed = self.call(&args, None).await?;
        if printed.trim().is_empty() {
            return Ok(Seen::Absent);
        }
        Ok(match is_over(&read(&printed)?) {
            true => Seen::Over,
            false => Seen::Active,
        })
    }

    /// The template, with lockstep's words in it. `kubectl` reads it, so that it may be all that `kubectl` understands.
    async fn job(&self, submission: &Submission) -> Result<Value, ContactError> {
        let file = format!("--filename={}", self.job.display());
        let args = [
            "patch",
            "--local",
            &file,
            "--type=merge",
            "--patch={}",
            "--output=json",
        ];
        let mut job: Value = read(&self.call(&args, None).await?)?;
        let wrong = |what: &str| failed(format!("{}: {what}", self.job.display()));
        if job.get("kind").and_then(Value::as_str) != Some("Job") {
            return Err(wrong("it is no Job"));
        }
        let container = job.pointer_mut("/spec/template/spec/containers/0");
        let container = container.ok_or_else(|| wrong("its pod has no container"))?;
        let container = container.as_object_mut();
        let container = container.ok_or_else(|| wrong("its first container is no map"))?;
        // The image has a lockstep of its own; here it lies somewhere else.
        container.insert("args".to_owned(), json!(submission.words[1..]));
        let put = |job: &mut Value, path: &[&str], key: &str, value: Value| {
            let no_map = || wrong(&format!("{} is no map", path.join(".")));
            let table = table(job, path).ok_or_else(no_map)?;
            table.insert(key.to_owned(), value);
            Ok(())
        };
        put(&mut job, &["metadata"], "name", json!(object(submission)))?;
        put(&mut job, &["metadata", "labels"], LABEL.0, json!(LABEL.1))?;
        let run = json!(submission.name);
        put(&mut job, &["metadata", "annotations"], RUN, run)?;
        let pod = ["spec", "template", "spec"];
        let grace = "terminationGracePeriodSeconds";
        if job
            .pointer("/spec/template/spec")
            .is_some_and(|pod| pod[grace].is_null())
        {
            // A job that is stopped ends with its step.
            put(&mut job, &pod, grace, json!(GRACE))?;
        }
        // The rollout starts a job again, and asks each time what became of the one before.
        for (key, value) in [("ttlSecondsAfterFinished", KEPT), ("backoffLimit", 0)] {
            if let None | Some(Value::Null) = job["spec"].get(key) {
                put(&mut job, &["spec"], key, json!(value))?;
            }
        }
        Ok(job)
    }

    async fn call(&self, args: &[&str], stdin: Option<&str>) -> Result<String, ContactError> {
        let args: Vec<String> = self
            .options
            .iter()
            .cloned()
            .chain(args.iter().map(|arg| (*arg).to_owned()))
            .collect();
        call("kubectl", &args, stdin, CLIENT).await
    }

    /// Why it could never begin anything.
    pub(super) fn wrong(&self) -> Option<String> {
        let missing = !self.job.is_file();
        missing.then(|| {
            format!(
                "has no job's manifest: there is no file {}",
                self.job.display()
            )
        })
    }

    /// Paths as a process in another folder needs them.
    pub(super) fn anchor(&mut self, folder: &Path) {
        self.job = anchored(&self.job, folder);
    }
}

/// The map at a path, made where there is none; none where something else is there.
fn table<'a>(value: &'a mut Value, path: &[&str]) -> Option<&'a mut Map<String, Value>> {
    let mut at = value;
    for key in path {
        at = at.as_object_mut()?.entry(*key).or_insert(Value::Null);
        if at.is_null() {
            *at = json!({});
        }
    }
    at.as_object_mut()
}

/// Whether a job is over. One that was just made has neither pods nor conditions.
fn is_over(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        matches!(condition["type"].as_str(), Some("Complete" | "Failed"))
            && condition["status"] == "True"
    })
}

fn read(printed: &str) -> Result<Value, ContactError> {
    serde_json::from_str(printed).map_err(|error| {
        failed(format!(
            "kubectl printed something that is no JSON: {error}"
        ))
    })
}

/// The name of a run's job: a pod's label has room for 63 characters, lower-case letters, digits and hyphens. Runs in two
/// states may have one name; their words differ, also where lockstep itself lies elsewhere.
pub(super) fn object(submission: &Submission) -> String {
    const ROOM: usize = 50;
    let plain = |c: char| match c.to_ascii_lowercase() {
        c @ ('a'..='z' | '0'..='9') => c,
        _ => '-',
    };
    let name = submission.name.chars().map(plain).take(ROOM);
    let mut name: String = name.collect();
    let words: Vec<u8> = submission.words[1..].join("\0").into();
    let sum = Sha256::digest(words);
    let _ = write!(
        name,
        "-{:02x}{:02x}{:02x}{:02x}",
        sum[0], sum[1], sum[2], sum[3]
    );
    name
}
