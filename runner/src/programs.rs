//! The module programs of a site: which names they may have, and how a run captures them.
//!
//! A run copies the whole folder and runs the copies, as it does with Lua modules: editing a program doesn't disturb a run
//! in flight, and a resume finds what the run was begun with. The folder as a whole, since programs share files.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lockstep_modules::contract::op::{Module, Registry};
use lockstep_modules::program::{self, Described, Found, Program};
use serde::{Deserialize, Serialize};

use crate::bundle::digest;
use crate::generate::FLOW;
use crate::private::FileError;
use crate::script::is_of_lua;

/// A folder that is copied into every run may hold no more than this.
const MOST_FILES: usize = 1000;
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// The folder of the copies in a run's.
const COPIES: &str = "modules";

/// What a run's journal says of its programs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Captured {
    /// The folder that they were copied from.
    pub(crate) folder: PathBuf,
    /// The SHA-256 of every file, by its path in the folder.
    pub(crate) files: BTreeMap<String, String>,
    /// The modules by name: the file of each, and how it described itself.
    pub(crate) modules: BTreeMap<String, (String, Described)>,
}

/// Why programs can't be captured, or aren't what was captured.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A file can't be read or written.
    #[error(transparent)]
    Io(#[from] FileError),
    /// It is too much for a copy in every run.
    #[error(
        "{folder} holds more than {MOST_FILES} files or {} MiB, and is copied into every run: keep only what its programs need there",
        MOST_BYTES >> 20
    )]
    TooMuch {
        /// The folder.
        folder: PathBuf,
    },
    /// A copy isn't what was captured.
    #[error("the run's copy of modules/{file} was changed or is missing")]
    Changed {
        /// The file, by its path in the folder.
        file: String,
    },
}

/// Finds the programs in a folder.
///
/// # Errors
/// Where the folder can't be read.
pub async fn find(folder: &Path, native: &Registry) -> io::Result<Found> {
    let taken = |name: &str| {
        if native.modules().iter().any(|module| module.name == name) {
            return Some("a module of lockstep's own".to_owned());
        }
        if FLOW.contains(&name) {
            return Some(format!("the function {name} of playbooks"));
        }
        is_of_lua(name).then(|| "Lua itself".to_owned())
    };
    program::find(folder, taken).await
}

fn of(registry: &Registry) -> impl Iterator<Item = &Program> {
    registry
        .modules()
        .iter()
        .filter_map(|module| module.program.as_deref())
}

/// The modules that aren't programs.
pub(crate) fn native(registry: &Registry) -> Registry {
    let native = registry.modules().iter().filter(|m| m.program.is_none());
    Registry::new(native.cloned())
}

/// Whether an op is a program's.
pub(crate) fn is_of_program(registry: &Registry, op: &str) -> bool {
    let has = |module: &Module| module.ops.iter().any(|own| own.name == op);
    let mut programs = registry.modules().iter().filter(|m| m.program.is_some());
    programs.any(has)
}

/// The SHA-256 of every program of a registry, by its path in the site.
pub(crate) fn digests(registry: &Registry) -> impl Iterator<Item = (String, String)> {
    of(registry).map(|program| {
        let bytes = fs::read(&program.file).unwrap_or_default();
        (program.shown(), digest(&bytes))
    })
}

/// Copies the programs of a registry, with all that is beside them, into a run's folder, whose files and folders `sync` brings
/// to disk. Returns the registry that runs the copies, and what the journal's head says of them.
pub(crate) fn capture(
    run: &Path,
    registry: &Registry,
    sync: impl Fn(&Path) -> Result<(), FileError>,
) -> Result<(Registry, Option<Captured>), CaptureError> {
    let Some(folder) = of(registry).find_map(|program| program.file.parent()) else {
        return Ok((registry.clone(), None));
    };
    let copies = run.join(COPIES);
    let mut files = BTreeMap::new();
    for name in all_files(folder)? {
        let (from, to) = (folder.join(&name), copies.join(&name));
        let parent = to.parent().unwrap_or(&copies);
        fs::create_dir_all(parent).map_err(|source| FileError::of(parent, "made", source))?;
        fs::copy(&from, &to).map_err(|source| FileError::of(&from, "copied", source))?;
        sync(&to)?;
        sync(parent)?;
        let bytes = fs::read(&to).map_err(|source| FileError::of(&to, "read", source))?;
        files.insert(name, digest(&bytes));
    }
    let modules = of(registry).map(|program| {
        let file = program
            .file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        (program.name.clone(), (file, program.described.clone()))
    });
    let captured = Captured {
        folder: folder.to_owned(),
        modules: modules.collect(),
        files,
    };
    let registry = native(registry).with(modules_of(run, &captured));
    Ok((registry, Some(captured)))
}

/// The modules that a run captured.
pub(crate) fn captured(run: &Path, captured: &Captured) -> Result<Vec<Module>, CaptureError> {
    for (name, sum) in &captured.files {
        let bytes = fs::read(run.join(COPIES).join(name)).unwrap_or_default();
        if digest(&bytes) != *sum {
            return Err(CaptureError::Changed { file: name.clone() });
        }
    }
    Ok(modules_of(run, captured).collect())
}

fn modules_of(run: &Path, captured: &Captured) -> impl Iterator<Item = Module> {
    captured
        .modules
        .iter()
        .map(move |(name, (file, described))| {
            let program = Program {
                name: name.clone(),
                file: run.join(COPIES).join(file),
                described: described.clone(),
            };
            program.module()
        })
}

impl Captured {
    /// The files that are another thing now, or gone, where they were copied from.
    pub(crate) fn changed(&self) -> Vec<String> {
        let now = |name: &str| {
            fs::read(self.folder.join(name))
                .map(|bytes| digest(&bytes))
                .ok()
        };
        let changed = self
            .files
            .iter()
            .filter(|(name, sum)| now(name).as_ref() != Some(*sum));
        changed.map(|(name, _)| name.clone()).collect()
    }
}

/// All files in a folder and those below, by their paths in it. Hidden ones, and what Python keeps for itself, are left out.
fn all_files(folder: &Path) -> Result<Vec<String>, CaptureError> {
    let (mut files, mut bytes) = (Vec::new(), 0);
    let mut folders = vec![PathBuf::new()];
    while let Some(within) = folders.pop() {
        let path = folder.join(&within);
        let entries = fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in entries.map_err(|source| FileError::of(&path, "read", source))? {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "__pycache__" {
                continue;
            }
            let path = within.join(&name);
            // A link to a folder isn't followed: it may lead in a circle.
            let about = match entry.file_type() {
                Ok(kind) if kind.is_dir() => {
                    folders.push(path);
                    continue;
                }
                Ok(_) => fs::metadata(entry.path()),
                Err(error) => Err(error),
            };
            let about = about.map_err(|source| FileError::of(&entry.path(), "read", source))?;
            if about.is_file() {
                bytes += about.len();
                files.push(path.to_string_lossy().into_owned());
            }
            if files.len() > MOST_FILES || bytes > MOST_BYTES {
                return Err(CaptureError::TooMuch {
                    folder: folder.to_owned(),
                });
            }
        }
    }
    files.sort();
    Ok(files)
}
