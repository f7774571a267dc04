//! Texts that are put beside a run by others than the process that has it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::sync::Arc;

use super::{Runs, RunsError};
use crate::private::{self, FileError};
use crate::store::Attached;

impl Runs {
    /// Puts a text beside a run, whoever has it, for whoever sees clusters with these labels.
    pub(crate) fn attach(
        &self,
        id: &str,
        name: &str,
        labels: &BTreeMap<String, String>,
        text: &str,
    ) -> Result<(), RunsError> {
        if let Some(store) = &self.store {
            return Ok(store.attach(id, name, labels, text)?);
        }
        let file = self.folder.join(id).join(name);
        let folder = private::folder_of(&file);
        private::make_folder(folder).map_err(|source| FileError::of(folder, "made", source))?;
        let written = private::replace(&file, text);
        written.map_err(|source| FileError::of(&file, "written", source).into())
    }

    /// A text that was put beside a run.
    pub(crate) fn attached(&self, id: &str, name: &str) -> Result<Option<String>, RunsError> {
        if let Some(store) = &self.store {
            return Ok(store.attached(id, name, "")?.get(name).cloned());
        }
        let file = self.folder.join(id).join(name);
        match fs::read_to_string(&file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => Ok(Some(
                text.map_err(|source| FileError::of(&file, "read", source))?,
            )),
        }
    }

    /// All texts that were put beside a run and whose names begin and end so: of a store one question, where one by one would
    /// be thousands. None where there is no store.
    pub(crate) fn all_attached(
        &self,
        id: &str,
        begin: &str,
        end: &str,
    ) -> Result<Option<Arc<Attached>>, RunsError> {
        let store = self.store.as_ref();
        let all = store.map(|store| store.attached(id, begin, end));
        Ok(all.transpose()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_that_are_put_at_the_same_time_are_each_as_they_were() {
        let state = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for end in ["json", "stopped"] {
                let state = state.path();
                scope.spawn(move || {
                    let (runs, name) = (Runs::in_state(state), format!("clusters/berlin.{end}"));
                    for _ in 0..300 {
                        runs.attach("rollout-1", &name, &BTreeMap::new(), end)
                            .unwrap();
                        let text = runs.attached("rollout-1", &name).unwrap();
                        assert_eq!(text.as_deref(), Some(end));
                    }
                });
            }
        });
    }
}
