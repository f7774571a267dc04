//! Files and folders for whoever runs lockstep and nobody else: what a run leaves behind tells how production machines are made.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// How a folder is made.
#[must_use]
pub fn folder() -> DirBuilder {
    let mut folder = DirBuilder::new();
    folder.mode(0o700);
    folder
}

/// How a file is opened, which may have to be made.
#[must_use]
pub fn file() -> OpenOptions {
    let mut file = OpenOptions::new();
    file.mode(0o600);
    file
}

/// Makes a folder, and those that it is in, where they aren't there yet.
///
/// # Errors
/// Where it can't be made.
pub fn make_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_folder(above)?;
    }
    match make_new_folder(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes a folder that isn't there yet, in one that is. Its name lasts as what is written into it does.
///
/// # Errors
/// Where it can't be made, or is there.
pub fn make_new_folder(path: &Path) -> Result<()> {
    folder().create(path)?;
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    match File::open(above.unwrap_or(Path::new("."))) {
        // One that may be written and not read can't be synced.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        opened => opened?.sync_all(),
    }
}

/// Writes a file that has just this in it, and returns it.
///
/// # Errors
/// Where it can't be written.
pub fn write(path: &Path, text: &str) -> Result<File> {
    let mut options = file();
    let mut file = options.write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}
