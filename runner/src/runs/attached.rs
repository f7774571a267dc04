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
        let fresh = file.with_extension("new");
        let written = private::write(&fresh, text).and_then(|_| fs::rename(&fresh, &file));
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
