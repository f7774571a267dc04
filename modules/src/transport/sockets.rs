//! The folder of a process's control sockets, for its owner alone.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

/// What the folders' names begin with.
const PREFIX: &str = "lockstep-";

/// Of the 107 bytes of a socket's path this is what is left for the folder beside `/lockstep-XXXXXX/m49` and the 17 that ssh
/// appends.
const LONGEST: usize = 65;

/// A file in the folder that is locked for as long as the process lives, however it ends.
const LOCK: &str = "lock";

/// A folder that is younger may not be locked yet.
const YOUNG: Duration = Duration::from_secs(60);

/// A folder for control sockets. It is removed with this.
pub(super) struct Sockets {
    folder: TempDir,
    _lock: File,
}

impl Sockets {
    /// Makes one where the user's sockets are, or in `/tmp`.
    pub(super) fn new() -> io::Result<Self> {
        Self::below(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))
    }

    fn below(runtime: Option<PathBuf>) -> io::Result<Self> {
        // A socket's path has an end, and the folder may be another user's (`su`, `sudo -E`).
        let runtime = runtime.filter(|dir| dir.is_absolute() && dir.as_os_str().len() <= LONGEST);
        match runtime.map(|dir| Self::within(&dir)) {
            Some(Ok(sockets)) => Ok(sockets),
            _ => Self::within(Path::new("/tmp")),
        }
    }

    fn within(parent: &Path) -> io::Result<Self> {
        tidy(parent);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let lock = File::create_new(folder.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what processes have left behind that were killed. What can't be removed stays.
fn tidy(parent: &Path) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    for entry in ours {
        if entry.metadata().is_ok_and(|data| is_old(&data)) && is_left(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Whether it is a folder of this user's that nobody else could put anything into, and not just being made.
fn is_old(data: &Metadata) -> bool {
    let own = data.uid() == rustix::process::geteuid().as_raw() && data.mode() & 0o777 == 0o700;
    let age = data.modified().ok().and_then(|made| made.elapsed().ok());
    data.is_dir() && own && age.is_some_and(|age| age > YOUNG)
}

/// Whether the process whose folder it is is gone.
fn is_left(folder: &Path) -> bool {
    File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn mode(sockets: &Sockets) -> u32 {
        sockets.path().metadata().unwrap().mode() & 0o777
    }

    #[test]
    fn control_sockets_go_where_they_fit_and_are_private() {
        let runtime = tempfile::tempdir_in("/tmp").unwrap();
        let here = Sockets::below(Some(runtime.path().to_owned())).unwrap();
        assert_eq!(here.path().parent(), Some(runtime.path()));
        assert_eq!(mode(&here), 0o700);
        let long = runtime.path().join("x".repeat(LONGEST));
        fs::create_dir(&long).unwrap();
        // What isn't a folder stands for one that can't be written: to root all of them can be.
        let file = runtime.path().join("file");
        fs::write(&file, "").unwrap();
        let elsewhere = [
            Some(long),
            Some(file),
            Some(runtime.path().join("nowhere")),
            Some(PathBuf::from("relative")),
            Some(PathBuf::new()),
            None,
        ];
        for runtime in elsewhere {
            let sockets = Sockets::below(runtime.clone()).unwrap();
            let parent = sockets.path().parent();
            assert_eq!(parent, Some(Path::new("/tmp")), "{runtime:?}");
            assert_eq!(mode(&sockets), 0o700);
        }
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir_in("/tmp").unwrap();
        let alive = Sockets::within(parent.path()).unwrap();
        let make = |name: &str, mode: u32, locked: bool, old: bool| {
            let folder = parent.path().join(name);
            fs::create_dir(&folder).unwrap();
            fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
            if locked {
                fs::write(folder.join(LOCK), "").unwrap();
            }
            if old {
                let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
                File::open(&folder).unwrap().set_modified(then).unwrap();
            }
            folder
        };
        let left = make("lockstep-left", 0o700, true, true);
        let stays = [
            make("lockstep-young", 0o700, true, false),
            make("lockstep-open", 0o755, true, true),
            make("lockstep-other", 0o700, false, true),
            make("another", 0o700, true, true),
        ];
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let folder = File::open(alive.path()).unwrap();
        folder.set_modified(then).unwrap();
        let next = Sockets::within(parent.path()).unwrap();
        assert!(!left.exists());
        for folder in stays.iter().map(PathBuf::as_path) {
            assert!(folder.exists(), "{folder:?}");
        }
        assert!(alive.path().exists() && next.path().exists());
        let gone = alive.path().to_owned();
        drop(alive);
        assert!(!gone.exists());
    }
}
