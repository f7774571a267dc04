//! What a rollout's folder says of its clusters: what each one's run is, and what the operator decided about it.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use lockstep_twin::Fault;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Notify;
use crate::private::{self, FileError};
use crate::runs::Runs;

/// What is run on a cluster. Whoever has it needs nothing else of the rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spec {
    /// The cluster file, or a simulated cluster, as `--cluster` takes it.
    pub(crate) cluster: String,
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

/// The files of a rollout's clusters.
pub(crate) struct Specs {
    folder: PathBuf,
}

impl Specs {
    pub(crate) fn of(runs: &Runs, rollout: &str) -> Self {
        Self {
            folder: runs.place_of(rollout).join("clusters"),
        }
    }

    fn file(&self, cluster: &str, what: &str) -> PathBuf {
        self.folder.join(format!("{cluster}.{what}"))
    }

    /// Writes down what a cluster's run is. It never changes: the rollout has it among its parameters.
    pub(crate) fn write(&self, cluster: &str, spec: &Spec) -> Result<(), FileError> {
        self.put(&self.file(cluster, "json"), spec)
    }

    /// What a cluster's run is; none where there is no such cluster.
    pub(crate) fn read(&self, cluster: &str) -> Result<Option<Spec>, FileError> {
        get(&self.file(cluster, "json"))
    }

    /// Takes a cluster out of the rollout.
    pub(crate) fn skip(&self, cluster: &str, skip: &Skip) -> Result<(), FileError> {
        self.put(&self.file(cluster, "skip"), skip)
    }

    /// Why a cluster was taken out of the rollout, if it was.
    pub(crate) fn skipped(&self, cluster: &str) -> Result<Option<Skip>, FileError> {
        get(&self.file(cluster, "skip"))
    }

    /// Approves plans for the rollout, beside those that are.
    pub(crate) fn approve(&self, more: Vec<Approval>) -> Result<(), FileError> {
        let mut all = self.approvals()?;
        all.extend(more);
        self.put(&self.approved(), &all)
    }

    /// The plans that were approved, in the order in which that was done.
    pub(crate) fn approvals(&self) -> Result<Vec<Approval>, FileError> {
        Ok(get(&self.approved())?.unwrap_or_default())
    }

    /// Beside the clusters' files, whatever a cluster is called.
    fn approved(&self) -> PathBuf {
        self.folder.with_file_name("approved.json")
    }

    /// Where the complaints of a cluster's job go.
    pub(crate) fn log(&self, cluster: &str) -> PathBuf {
        self.file(cluster, "log")
    }

    fn put(&self, file: &PathBuf, value: &impl Serialize) -> Result<(), FileError> {
        private::make_folder(&self.folder)
            .map_err(|source| FileError::of(&self.folder, "made", source))?;
        let fresh = file.with_extension("new");
        let text = serde_json::to_string(value).unwrap_or_default();
        let written = private::write(&fresh, &text).and_then(|_| fs::rename(&fresh, file));
        written.map_err(|source| FileError::of(file, "written", source))
    }
}

fn get<T: DeserializeOwned>(file: &PathBuf) -> Result<Option<T>, FileError> {
    let text = match fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|source| FileError::of(file, "read", source))?,
    };
    let value = serde_json::from_str(&text);
    value
        .map(Some)
        .map_err(|error| FileError::of(file, "read", error.into()))
}
