//! The programs in a folder.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::describe::is_name;
use super::process::interpreter;
use super::{Program, ProgramError};

/// What a folder holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Programs whose ops are known, by name.
    pub programs: Vec<Program>,
    /// Files that were meant to be programs, as it seems, and can't be.
    pub unfit: Vec<ProgramError>,
}

/// Finds the programs in a folder, and asks all of them side by side what they are. `taken` says what a name is that a
/// module can't have.
///
/// # Errors
/// Where the folder can't be read.
pub async fn find(folder: &Path, taken: impl Fn(&str) -> Option<String>) -> std::io::Result<Found> {
    let mut found = Found::default();
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut paths = fs::read_dir(folder)?
        .map(|entry| entry.map(|e| e.path()))
        .collect::<Result<Vec<_>, _>>()?;
    paths.sort();
    for path in paths {
        let unfit = |what: String| ProgramError {
            file: path.clone(),
            what,
        };
        match is_program(&path) {
            Ok(false) => continue,
            Ok(true) => {}
            Err(what) => {
                found.unfit.push(unfit(what));
                continue;
            }
        }
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let wrong = if !is_name(&name) {
            Some(format!(
                "the file's name is the module's, and {name:?} can't be one: lower-case letters, digits and _"
            ))
        } else if let Some(what) = taken(&name) {
            Some(format!(
                "the name {name:?} is taken by {what}: give the file another one"
            ))
        } else {
            let other = files.get(&name).and_then(|file| file.file_name());
            other.map(|other| {
                format!(
                    "{} has the same name: one of them needs another one",
                    other.display()
                )
            })
        };
        match wrong {
            Some(what) => found.unfit.push(unfit(what)),
            None => _ = files.insert(name, path),
        }
    }
    let asked = files
        .iter()
        .map(|(name, file)| Program::describe(name, file));
    for result in futures_util::future::join_all(asked).await {
        match result {
            Ok(program) => found.programs.push(program),
            Err(error) => found.unfit.push(error),
        }
    }
    Ok(found)
}

/// Whether a file is a program; or why it isn't one, although it looks so.
fn is_program(path: &Path) -> Result<bool, String> {
    let hidden = path
        .file_name()
        .is_none_or(|name| name.to_string_lossy().starts_with('.'));
    if hidden {
        return Ok(false);
    }
    let about = fs::metadata(path).map_err(|e| format!("it can't be looked at: {e}"))?;
    if !about.is_file() {
        return Ok(false);
    }
    if about.permissions().mode() & 0o111 != 0 {
        return Ok(true);
    }
    match interpreter(path) {
        Some(_) => Err(format!(
            "it may not be executed: chmod +x {}",
            path.display()
        )),
        None => Ok(false),
    }
}
