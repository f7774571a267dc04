//! What a rollout's folder says of its clusters: what each one's run is, and what the operator decided about it.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use lockstep_twin::Fault;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::select::Labels;
use crate::config::Notify;
use crate::private::{self, FileError};
use crate::runs::{Runs, RunsError};

/// What is run on a cluster. Whoever has it needs nothing else of the rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// The cluster file, or a simulated cluster, as `--cluster` takes it.
    pub(crate) cluster: String,
    /// The cluster's labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub(crate) labels: Labels,
    /// The playbook: a shipped one's name, or a file.
    pub(crate) playbook: String,
    /// The fingerprint of what is played, as it was when the rollout began.
    pub(crate) fingerprint: String,
    /// Its parameters, as they were given.
    pub(crate) params: Map<String, Value>,
    /// Every question of the run is answered with yes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) yes: bool,
    /// It begins only if its plan is one that was approved, and then keeps to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) approve_plan: bool,
    /// What goes wrong on a simulated cluster.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) faults: Vec<Fault>,
    /// The folder of playbooks in place of the shipped ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) playbooks: Option<PathBuf>,
    /// The folder of the site's module programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) modules: Option<PathBuf>,
    /// The ssh_config in place of the user's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ssh_config: Option<PathBuf>,
    /// Who gets to know what the run comes to, beside those that the cluster file names.
    #[serde(default, skip_serializing_if = "Notify::is_empty")]
    pub(crate) notify: Notify,
}

/// That a cluster was taken out of a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Skip {
    /// By whom, as `user@host`.
    pub(crate) who: String,
    /// When.
    pub(crate) at: Timestamp,
    /// Why.
    pub(crate) why: String,
}

/// That a plan was approved for a rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    /// The digest of the plan, or how it begins.
    pub(crate) plan: String,
    /// By whom, as `user@host`.
    pub(crate) who: String,
    /// When.
    pub(crate) at: Timestamp,
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.who)
    }
}

/// The plans that were approved. No cluster's file has this name, whatever the cluster is called.
const APPROVED: &str = "clusters/plans.approved";

/// The files of a rollout's clusters.
pub(crate) struct Specs {
    runs: Runs,
    rollout: String,
}

impl Specs {
    pub(crate) fn of(runs: &Runs, rollout: &str) -> Self {
        Self {
            runs: runs.clone(),
            rollout: rollout.to_owned(),
        }
    }

    /// Writes down what a cluster's run is. It never changes: it is made of the rollout's parameters, and of whom its own run notifies.
    pub(crate) fn write(&self, cluster: &str, spec: &Spec) -> Result<(), RunsError> {
        self.put(&file(cluster, "json"), &spec.labels, spec)
    }

    /// Gives the files of clusters that were imported into a database the labels by which roles see them.
    pub(crate) fn label(&self) -> Result<(), RunsError> {
        let specs = self
            .runs
            .all_attached(&self.rollout, "clusters/", ".json")?;
        for (name, text) in specs.iter().flat_map(|specs| specs.iter()) {
            if let Some(spec) = self.parsed::<Spec>(name, Some(text))? {
                self.put(name, &spec.labels, &spec)?;
            }
        }
        Ok(())
    }

    /// What a cluster's run is; none where there is no such cluster.
    pub(crate) fn read(&self, cluster: &str) -> Result<Option<Spec>, RunsError> {
        self.get(&file(cluster, "json"))
    }

    /// Takes a cluster with these labels out of the rollout.
    pub(crate) fn skip(
        &self,
        cluster: &str,
        labels: &Labels,
        skip: &Skip,
    ) -> Result<(), RunsError> {
        self.put(&file(cluster, "skip"), labels, skip)
    }

    /// Why a cluster was taken out of the rollout, if it was.
    pub(crate) fn skipped(&self, cluster: &str) -> Result<Option<Skip>, RunsError> {
        let all = self
            .runs
            .all_attached(&self.rollout, "clusters/", ".skip")?;
        let name = file(cluster, "skip");
        match all {
            Some(all) => self.parsed(&name, all.get(&name)),
            None => self.get(&name),
        }
    }

    /// Approves plans for the rollout, beside those that are.
    pub(crate) fn approve(&self, more: Vec<Approval>) -> Result<(), RunsError> {
        let mut all = self.approvals()?;
        all.extend(more);
        self.put(APPROVED, &Labels::new(), &all)
    }

    /// The plans that were approved, in the order in which that was done.
    pub(crate) fn approvals(&self) -> Result<Vec<Approval>, RunsError> {
        Ok(self.get(APPROVED)?.unwrap_or_default())
    }

    /// Writes down why a cluster's run was refused before it began, or that it wasn't yet.
    pub(crate) fn refuse(
        &self,
        cluster: &str,
        spec: &Spec,
        why: Option<&str>,
    ) -> Result<(), RunsError> {
        self.put(&file(cluster, "refused"), &spec.labels, &why)
    }

    /// Why a cluster's run was refused before it began, if it was.
    pub(crate) fn refusal(&self, cluster: &str) -> Result<Option<String>, RunsError> {
        Ok(self
            .get::<Option<String>>(&file(cluster, "refused"))?
            .flatten())
    }

    /// Writes down who asked the job of a cluster with these labels to stop, or that nobody does any more.
    pub(crate) fn stop(
        &self,
        cluster: &str,
        labels: &Labels,
        who: Option<&str>,
    ) -> Result<(), RunsError> {
        self.put(&file(cluster, "stopped"), labels, &who)
    }

    /// Who asked a cluster's job to stop, if somebody did and nobody resumed its run since.
    pub(crate) fn stopped(&self, cluster: &str) -> Result<Option<String>, RunsError> {
        Ok(self
            .get::<Option<String>>(&file(cluster, "stopped"))?
            .flatten())
    }

    /// Where the complaints of a cluster's job go that runs here.
    pub(crate) fn log(&self, cluster: &str) -> PathBuf {
        let log = self.runs.place_of(&self.rollout).join(file(cluster, "log"));
        // Where it can't be made, whoever opens the file says so.
        let _ = private::make_folder(private::folder_of(&log));
        log
    }

    /// What a cluster's job complained of, if anything.
    pub(crate) fn complaint(&self, cluster: &str) -> Option<String> {
        let said = |text: String| Some(text.trim().to_owned()).filter(|said| !said.is_empty());
        let here = fs::read_to_string(self.log(cluster)).ok().and_then(said);
        let elsewhere = || {
            // Without a store it would be the same file.
            self.runs.store()?;
            self.runs
                .attached(&self.rollout, &file(cluster, "log"))
                .ok()?
        };
        here.or_else(|| elsewhere().and_then(said))
    }

    /// Keeps what a cluster's job complains of, for whoever is on another machine.
    pub(crate) fn complain(&self, cluster: &str, spec: Option<&Spec>, text: &str) {
        if self.runs.store().is_some() {
            let labels = spec.map(|spec| spec.labels.clone()).unwrap_or_default();
            let name = file(cluster, "log");
            // It is said here as well.
            let _ = self.runs.attach(&self.rollout, &name, &labels, text);
        }
    }

    fn put(&self, name: &str, labels: &Labels, value: &impl Serialize) -> Result<(), RunsError> {
        let text = serde_json::to_string(value).unwrap_or_default();
        self.runs.attach(&self.rollout, name, labels, &text)
    }

    fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, RunsError> {
        self.parsed(name, self.runs.attached(&self.rollout, name)?.as_ref())
    }

    fn parsed<T: DeserializeOwned>(
        &self,
        name: &str,
        text: Option<&String>,
    ) -> Result<Option<T>, RunsError> {
        let value = text.map(|text| serde_json::from_str(text)).transpose();
        Ok(value.map_err(|error| {
            let path = self.runs.place_of(&self.rollout).join(name);
            FileError::of(&path, "read", error.into())
        })?)
    }
}

fn file(cluster: &str, what: &str) -> String {
    format!("clusters/{cluster}.{what}")
}
