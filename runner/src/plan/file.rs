//! A plan as a file.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::{FORMAT, Plan};
use crate::private::{self, FileError, Over, PRIVATE};
use crate::runs::RunFolder;

/// The file in a run's folder with the plan that it has to keep to.
pub(crate) const KEPT: &str = "plan.json";

/// Why a plan can't be read.
#[derive(Debug, thiserror::Error)]
#[error("the plan {path}: {what}")]
pub struct PlanError {
    path: PathBuf,
    what: String,
}

impl Plan {
    /// A plan that was written down.
    pub(crate) fn read(file: &Path) -> Result<Self, PlanError> {
        let unusable = |what: String| PlanError {
            path: file.to_owned(),
            what,
        };
        let text = std::fs::read_to_string(file)
            .map_err(|e| unusable(format!("it can't be read: {e}")))?;
        let damaged = |e: serde_json::Error| unusable(format!("it is damaged: {e}"));
        let value: Value = serde_json::from_str(&text).map_err(damaged)?;
        if value.get("format").and_then(Value::as_u64) != Some(u64::from(FORMAT)) {
            return Err(unusable(format!(
                "its version is not the one that this lockstep knows ({FORMAT}); create it again"
            )));
        }
        Self::deserialize(&value).map_err(damaged)
    }

    /// Writes it down where the operator wants it.
    pub(crate) fn write(&self, file: &Path) -> Result<(), FileError> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from);
        text.and_then(|text| private::place(file, &(text + "\n"), PRIVATE, Over::Anything))
            .map_err(|source| FileError::of(file, "written", source))
    }

    /// Keeps it in the folder of the run that has to keep to it.
    pub(crate) fn keep(&self, folder: &RunFolder) -> Result<(), FileError> {
        let file = folder.file(KEPT);
        let text = serde_json::to_string(self).map_err(std::io::Error::from);
        text.and_then(|text| private::write(&file, &text))
            .map_err(|source| FileError::of(&file, "written", source))?;
        folder.sync(&file)
    }
}
