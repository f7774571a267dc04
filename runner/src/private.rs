//! Files and folders for whoever runs lockstep and nobody else: what a run leaves behind tells how production machines are made.

use std::cell::RefCell;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Result, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat, renameat_with};
use serde::Serialize;
use tempfile::NamedTempFile;

/// Something about a file or a folder doesn't work.
#[derive(Debug, thiserror::Error)]
#[error("{path} can't be {verb}: {source}")]
pub struct FileError {
    path: PathBuf,
    /// What was tried, as a participle.
    verb: &'static str,
    source: std::io::Error,
}

impl FileError {
    pub(crate) fn of(path: &Path, verb: &'static str, source: std::io::Error) -> Self {
        Self {
            path: path.to_owned(),
            verb,
            source,
        }
    }
}

/// The folder that a file lies in, or is to lie in.
pub(crate) fn folder_of(file: &Path) -> &Path {
    let folder = file.parent();
    let named = folder.filter(|folder| !folder.as_os_str().is_empty());
    named.unwrap_or(Path::new("."))
}

/// How a folder is made.
pub(crate) fn folder() -> DirBuilder {
    let mut folder = DirBuilder::new();
    folder.mode(0o700);
    folder
}

/// How a file is opened, which may have to be made.
pub(crate) fn file() -> OpenOptions {
    let mut file = OpenOptions::new();
    file.mode(0o600);
    file
}

/// Makes a folder, and those that it is in, where they aren't there yet.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    make_folder(folder_of(path))?;
    match make_new_folder(path) {
        // Somebody else was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Makes a folder that isn't there yet, in one that is. Its name lasts as what is written into it does.
pub(crate) fn make_new_folder(path: &Path) -> Result<()> {
    folder().create(path)?;
    match File::open(folder_of(path)) {
        // One that may be written and not read can't be synced.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        opened => opened?.sync_all(),
    }
}

/// Writes a file that has just this in it, and returns it.
pub(crate) fn write(path: &Path, text: &str) -> Result<File> {
    let mut options = file();
    let mut file = options.write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// Writes a file of ours, whole, in place of what is there. Others may write it, or others beside it, at the same time.
pub(crate) fn replace(path: &Path, text: &str) -> Result<()> {
    let mut fresh = fresh(path, PRIVATE)?;
    fresh.write_all(text.as_bytes())?;
    fresh.persist(path).map_err(std::io::Error::from)?;
    Ok(())
}

/// A file that takes the place of another, beside it.
fn fresh(path: &Path, mode: u32) -> Result<NamedTempFile> {
    tempfile::Builder::new()
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder_of(path))
}

/// A file that is written anew again and again, and is whole at each moment.
///
/// What is new is written over a spare file, which then changes places with it, and stays. Making a file and deleting another at
/// each change costs more than all the writing, and even one deletion a run is noticed where there are thousands: for five
/// minutes ext4 asks at each new file whether that inode was deleted a moment ago.
pub(crate) struct Rewritten {
    path: PathBuf,
    spare: PathBuf,
    /// What was written last, whose room the next takes.
    text: RefCell<Vec<u8>>,
}

impl Rewritten {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            spare: path.with_extension("new"),
            path,
            text: RefCell::default(),
        }
    }

    /// Writes a value as JSON.
    pub(crate) fn write(&self, value: &impl Serialize) -> Result<()> {
        let mut text = self.text.borrow_mut();
        text.clear();
        serde_json::to_writer(&mut *text, value)?;
        let mut spare = file()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&self.spare)?;
        spare.write_all(&text)?;
        spare.set_len(text.len() as u64)?;
        let exchange = RenameFlags::EXCHANGE;
        // Not all file systems can do it, and the first time there is nothing to change places with.
        renameat_with(CWD, &self.spare, CWD, &self.path, exchange)
            .or_else(|_| renameat(CWD, &self.spare, CWD, &self.path))?;
        Ok(())
    }
}

/// Opens a file that is there to be locked, and locks it until what is returned is closed, however the process ends. None where
/// somebody else has it. What is in it stays.
pub(crate) fn lock(path: &Path) -> Result<Option<File>> {
    let mut options = file();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(source),
    }
}

/// The mode of files that are for nobody else.
pub(crate) const PRIVATE: u32 = 0o600;

/// The mode of files that others may read, as far as the umask lets them.
pub(crate) const SHARED: u32 = 0o644;

/// What a file that is written where somebody works may take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// Nothing may have its name.
    Nothing,
    /// A file is replaced; a link is somebody's way to somewhere else, and is left alone.
    File,
    /// It was named, and is written to whatever it is: also where a link leads, and into a pipe.
    Anything,
}

/// Writes a file with this mode under a name that somebody else may have made something of: a file there is replaced as a
/// whole, so that its old mode is gone, and no link is followed without being asked for. Whoever reads it finds the old file, or
/// all of the new one.
pub(crate) fn place(path: &Path, text: impl AsRef<[u8]>, mode: u32, over: Over) -> Result<()> {
    place_filled(path, mode, over, |file| file.write_all(text.as_ref()))
}

/// The same, with what `fill` writes: where that fails, what was there before stays.
pub(crate) fn place_filled<E: From<std::io::Error>>(
    path: &Path,
    mode: u32,
    over: Over,
    fill: impl FnOnce(&mut File) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        there => Some(there?),
    };
    let refused = match (there, over) {
        (None, _) => {
            let mut fresh = fresh(path, mode)?;
            fill(fresh.as_file_mut())?;
            fresh
                .persist_noclobber(path)
                .map_err(std::io::Error::from)?;
            return Ok(());
        }
        (Some(there), Over::File | Over::Anything) if there.is_file() => {
            let mut fresh = fresh(path, mode)?;
            fill(fresh.as_file_mut())?;
            fresh.persist(path).map_err(std::io::Error::from)?;
            return Ok(());
        }
        (Some(_), Over::Anything) => {
            return fill(&mut OpenOptions::new().write(true).truncate(true).open(path)?);
        }
        (Some(there), Over::File) if there.is_symlink() => std::io::Error::new(
            ErrorKind::AlreadyExists,
            "it is a link, which isn't followed",
        ),
        (Some(_), Over::Nothing | Over::File) => ErrorKind::AlreadyExists.into(),
    };
    Err(refused.into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_placed_follows_no_link_and_keeps_no_old_mode() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let read = |name: &str| fs::read_to_string(at(name)).unwrap();
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o777;
        let refused = |name: &str, over| {
            let error = place(&at(name), "new", PRIVATE, over).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{name} {over:?}");
        };
        fs::write(at("victim"), "old").unwrap();
        fs::set_permissions(at("victim"), Permissions::from_mode(0o644)).unwrap();
        symlink(at("victim"), at("link")).unwrap();
        symlink(at("nothing"), at("dangling")).unwrap();
        for over in [Over::Nothing, Over::File] {
            refused("link", over);
            refused("dangling", over);
        }
        refused("victim", Over::Nothing);
        assert_eq!(read("victim"), "old");
        assert!(!at("nothing").exists());
        place(&at("fresh"), "new", PRIVATE, Over::Nothing).unwrap();
        assert_eq!((read("fresh").as_str(), mode("fresh")), ("new", 0o600));
        place(&at("link"), "through", PRIVATE, Over::Anything).unwrap();
        assert_eq!(
            (read("victim").as_str(), mode("victim")),
            ("through", 0o644)
        );
        place(&at("victim"), "anew", PRIVATE, Over::File).unwrap();
        assert_eq!((read("victim").as_str(), mode("victim")), ("anew", 0o600));
    }
}
