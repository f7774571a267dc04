//! What a run's folder says of its receivers: who they are, and how far each one knows the run.
//!
//! ```text
//! RUN/notify/settings.json       the receivers, as the run began with them
//!            webhook-NAME.json   up to which record of the journal a webhook knows all, and what it refused before
//!            silence.json        the silence that there is
//!            metrics.json        why the last figures couldn't be written, if they couldn't
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::Notify;
use crate::private::{self, FileError};

const FOLDER: &str = "notify";
const SETTINGS: &str = "settings.json";

/// Writes down who gets to know what the run in this folder comes to.
pub(crate) fn keep(run: &Path, notify: &Notify) -> Result<(), FileError> {
    let folder = run.join(FOLDER);
    private::make_folder(&folder).map_err(|source| FileError::of(&folder, "made", source))?;
    put(&folder.join(SETTINGS), notify)
}

/// Who gets to know what the run in this folder comes to. Nobody, where that can't be read: it is no reason not to run.
pub(crate) fn settings(run: &Path) -> Notify {
    read(&run.join(FOLDER).join(SETTINGS)).unwrap_or_default()
}

/// What is kept of one receiver.
pub(super) struct Kept<T> {
    file: PathBuf,
    pub(super) state: T,
    /// Why it isn't up to date, if it isn't.
    pub(super) why: Option<String>,
}

/// For a receiver of which nothing else has to be kept.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Nothing {}

#[derive(Default, Serialize, Deserialize)]
struct Written<T> {
    #[serde(flatten)]
    state: T,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl<T: Clone + Default + Serialize + DeserializeOwned> Kept<T> {
    /// What is kept in a run's folder of a receiver that isn't a webhook.
    pub(super) fn of(run: &Path, receiver: &str) -> Self {
        let file = run.join(FOLDER).join(format!("{receiver}.json"));
        let Written { state, why } = read(&file).unwrap_or_default();
        Self { file, state, why }
    }

    /// What is kept in a run's folder of the webhook of this name.
    pub(super) fn of_webhook(run: &Path, name: &str) -> Self {
        Self::of(run, &format!("webhook-{name}"))
    }

    /// Writes it down, with why the receiver isn't up to date, if it isn't. What can't be written is told again: receivers know an
    /// event by its name.
    pub(super) fn save(&mut self, why: Option<String>) {
        self.why.clone_from(&why);
        let state = self.state.clone();
        let _ = put(&self.file, &Written { state, why });
    }

    /// Writes down that the receiver is up to date, where it wasn't.
    pub(super) fn settle(&mut self) {
        if self.why.is_some() {
            self.save(None);
        }
    }
}

fn read<T: DeserializeOwned>(file: &Path) -> Option<T> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

fn put(file: &Path, value: &impl Serialize) -> Result<(), FileError> {
    let text = serde_json::to_string(value).unwrap_or_default();
    private::replace(file, &text).map_err(|source| FileError::of(file, "written", source))
}
