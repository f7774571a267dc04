//! Whether a file that was found may be used: what lies in the current folder may have been put there by somebody else, and
//! a cluster file names programs that `ssh` starts.
//!
//! What was named on the command line isn't looked at: naming it is the decision.

use std::fs::{self, Metadata};
use std::io::{ErrorKind, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

/// Links to links are followed so far, as the kernel does.
const MOST_LINKS: usize = 40;

/// Why a file that was found isn't used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} isn't used: it wasn't named explicitly, and {at} {wrong}", found = found.display(), at = at.display())]
pub(crate) struct Distrust {
    /// What was found.
    pub(crate) found: PathBuf,
    /// Who may change it: the file itself, what it is a link to, or a folder that either lies in.
    pub(crate) at: PathBuf,
    wrong: Wrong,
}

/// What is wrong with the owner or the mode of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    /// Whoever owns it may change it at any time.
    #[error("belongs to somebody else (uid {owner}, mode {mode:04o})")]
    Owner { owner: u32, mode: u32 },
    /// Others may write there.
    #[error("may be written by others (uid {owner}, mode {mode:04o})")]
    Mode { owner: u32, mode: u32 },
    /// It isn't known.
    #[error("can't be looked at: {0}")]
    Unknown(String),
}

impl Distrust {
    /// What makes the file one that is used, where that is in the caller's hands.
    pub(crate) fn remedy(&self) -> Option<String> {
        let at = lockstep_modules::contract::cmd::quote(&self.at.display().to_string());
        match self.wrong {
            Wrong::Owner { .. } => Some(format!("chown it: chown \"$(id -u)\" {at}")),
            Wrong::Mode { .. } => Some(format!("remove that permission: chmod go-w {at}")),
            Wrong::Unknown(_) => None,
        }
    }
}

/// Whether nobody but the caller and root may say what is in a file or folder that was found: by its owner and its mode, and
/// those of the folder that it lies in. Of a link that holds for the link's folder, for what it leads to and for the folder
/// of that. Everybody's folder is no place for it, sticky or not: who came first made the file.
pub(crate) fn found(path: &Path) -> std::result::Result<(), Distrust> {
    let distrust = |at: &Path, wrong: Wrong| Distrust {
        found: path.to_owned(),
        at: at.to_owned(),
        wrong,
    };
    let unknown = |at: &Path| {
        let at = at.to_owned();
        move |error: std::io::Error| distrust(&at, Wrong::Unknown(error.to_string()))
    };
    let judged = |at: &Path, about: Result<Metadata>| {
        let about = about.map_err(unknown(at))?;
        wrong(&about).map_or(Ok(()), |wrong| Err(distrust(at, wrong)))
    };
    let mut at = std::path::absolute(path).map_err(unknown(path))?;
    for _ in 0..MOST_LINKS {
        let folder = at.parent().unwrap_or(Path::new("/"));
        let folder = fs::canonicalize(folder).map_err(unknown(folder))?;
        judged(&folder, fs::metadata(&folder))?;
        let about = fs::symlink_metadata(&at);
        // What isn't there is reported by whoever wants to read it, and nobody else can put it there.
        if about
            .as_ref()
            .is_err_and(|e| e.kind() == ErrorKind::NotFound)
        {
            return Ok(());
        }
        if !about.as_ref().is_ok_and(Metadata::is_symlink) {
            return judged(&at, about);
        }
        at = folder.join(fs::read_link(&at).map_err(unknown(&at))?);
    }
    Err(distrust(path, Wrong::Unknown("too many links".to_owned())))
}

fn wrong(about: &Metadata) -> Option<Wrong> {
    let (owner, mode) = (about.uid(), about.mode() & 0o7777);
    if !is_ours(owner) {
        return Some(Wrong::Owner { owner, mode });
    }
    let group = mode & 0o020 != 0 && !is_private(about.gid(), owner);
    (group || mode & 0o002 != 0).then_some(Wrong::Mode { owner, mode })
}

/// Root, the caller, and who became root with `sudo` for this command.
fn is_ours(owner: u32) -> bool {
    let caller = geteuid();
    let sudo = || std::env::var("SUDO_UID").ok()?.parse().ok();
    owner == 0 || owner == caller.as_raw() || (caller.is_root() && sudo() == Some(owner))
}

/// Whether a group is that of its owner alone. On Ubuntu each user has one, and what they make may be written by it.
fn is_private(group: u32, owner: u32) -> bool {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    holds_only(group, owner, &read("/etc/passwd"), &read("/etc/group"))
}

/// Whether nobody else is in a group, by the system's lists. What isn't in them isn't known.
fn holds_only(group: u32, owner: u32, passwd: &str, groups: &str) -> bool {
    let lines = |text: &str| -> Vec<Vec<String>> {
        let words = |line: &str| line.split(':').map(str::to_owned).collect();
        text.lines().map(words).collect()
    };
    let is = |words: &[String], at: usize, id: u32| {
        words.get(at).and_then(|word| word.parse().ok()) == Some(id)
    };
    let (users, groups) = (lines(passwd), lines(groups));
    let owners = |name: &str| {
        users
            .iter()
            .any(|user| user[0] == name && is(user, 2, owner))
    };
    let first = users.iter().filter(|user| is(user, 3, group));
    let mut named = groups.iter().filter(|known| is(known, 2, group)).peekable();
    named.peek().is_some()
        && first.into_iter().all(|user| is(user, 2, owner))
        && named.all(|known| {
            let members = known.get(3).map_or("", String::as_str).split(',');
            members.filter(|name| !name.is_empty()).all(owners)
        })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A folder of ours with a file in it.
    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("cluster.toml");
        fs::write(&file, "").unwrap();
        mode(&file, 0o644);
        (folder, file)
    }

    #[test]
    fn what_others_may_write_is_not_used_nor_what_lies_there() {
        let (folder, file) = place();
        assert_eq!(found(&file), Ok(()));
        for (at, open) in [(file.as_path(), 0o646), (folder.path(), 0o1777)] {
            let closed = fs::metadata(at).unwrap().permissions().mode() & 0o7777;
            mode(at, open);
            let refused = found(&file).unwrap_err();
            assert_eq!(refused.at, fs::canonicalize(at).unwrap());
            assert!(
                refused.to_string().contains(&format!("mode {open:04o}")),
                "{refused}"
            );
            assert!(
                refused.remedy().unwrap().contains("chmod go-w /"),
                "{refused}"
            );
            mode(at, closed);
        }
        assert_eq!(found(&file), Ok(()));
        assert_eq!(found(&folder.path().join("nothing")), Ok(()));
    }

    #[test]
    fn a_link_is_what_it_leads_to_and_where_it_lies() {
        let ((ours, _), (theirs, file)) = (place(), place());
        let link = ours.path().join("link");
        symlink(&file, &link).unwrap();
        assert_eq!(found(&link), Ok(()));
        mode(theirs.path(), 0o777);
        assert_eq!(
            found(&link).unwrap_err().at,
            fs::canonicalize(theirs.path()).unwrap()
        );
        mode(theirs.path(), 0o700);
        mode(ours.path(), 0o777);
        assert_eq!(
            found(&link).unwrap_err().at,
            fs::canonicalize(ours.path()).unwrap()
        );
        mode(ours.path(), 0o700);
        let circle = ours.path().join("circle");
        symlink(&circle, &circle).unwrap();
        assert!(found(&circle).unwrap_err().to_string().contains("links"));
    }

    #[test]
    fn what_belongs_to_somebody_else_is_not_used() {
        if !geteuid().is_root() {
            // Nobody else can be made an owner; root's own files are used by everybody.
            assert_eq!(found(Path::new("/etc/passwd")), Ok(()));
            return;
        }
        let (folder, file) = place();
        for at in [file.as_path(), folder.path()] {
            chown(at, Some(65534), None).unwrap();
            let refused = found(&file).unwrap_err().to_string();
            assert!(
                refused.contains("belongs to somebody else (uid 65534"),
                "{refused}"
            );
            chown(at, Some(0), None).unwrap();
        }
        assert_eq!(found(&file), Ok(()));
    }

    #[test]
    fn a_group_of_its_owner_alone_is_nobody_else() {
        let passwd = "root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\nbob:x:1001:1001::/:/bin/sh\n";
        let alone = |group: &str| holds_only(1000, 1000, passwd, group);
        assert!(alone("ann:x:1000:\n"));
        assert!(alone("ann:x:1000:ann\n"));
        assert!(!alone("ann:x:1000:bob\n"));
        assert!(!alone("ann:x:1000:\nshared:x:1000:bob\n"));
        assert!(!alone("staff:x:50:ann\n"));
        assert!(!holds_only(1000, 1001, passwd, "ann:x:1000:\n"));
        let both = format!("{passwd}eve:x:1002:1000::/:/bin/sh\n");
        assert!(!holds_only(1000, 1000, &both, "ann:x:1000:\n"));
    }
}
