//! A few files of a member, and the programs that touch them: as GNU coreutils 9 behave and speak with `LC_ALL=C`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::world::{Reply, World};

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// A folder.
    Folder,
    /// A file with this text.
    File(String),
    /// A symbolic link to this target.
    Link(String),
}

/// The files of the members that are there beside those of a fresh system, by member and path.
pub(crate) type Files = BTreeMap<String, BTreeMap<String, Node>>;

/// Folders that every system has.
const SYSTEM: [&str; 3] = ["/", "/var", "/var/lib"];

impl World {
    /// What is at a path of a member.
    #[must_use]
    pub fn file(&self, member: &str, path: &str) -> Option<&Node> {
        self.files.get(member)?.get(path)
    }

    /// Puts something at a path of a member, or takes away what is there.
    pub fn set_file(&mut self, member: &str, path: &str, node: Option<Node>) {
        self.touch();
        let files = self.files.entry(member.to_owned()).or_default();
        match node {
            Some(node) => drop(files.insert(path.to_owned(), node)),
            None => drop(files.remove(path)),
        }
    }

    fn is_folder(&self, member: &str, path: &str) -> bool {
        SYSTEM.contains(&path) || self.file(member, path) == Some(&Node::Folder)
    }
}

fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}

const READ_ONLY: &str = "Read-only file system";

/// `mkdir -p -m MODE PATH`
pub(crate) fn mkdir(world: &mut World, member: &str, args: &[&str]) -> Reply {
    let ["-p", "-m", _, path] = args else {
        return Reply::fail(1, "mkdir: missing operand\n");
    };
    if world.is_folder(member, path) {
        return Reply::out("");
    }
    let complain = |why: &str| {
        Reply::fail(
            1,
            format!("mkdir: cannot create directory '{path}': {why}\n"),
        )
    };
    if world.file(member, path).is_some() {
        return complain("File exists");
    }
    if world.read_only.contains(member) {
        return complain(READ_ONLY);
    }
    let mut missing = vec![*path];
    while !world.is_folder(member, parent(missing[missing.len() - 1])) {
        missing.push(parent(missing[missing.len() - 1]));
    }
    for path in missing {
        world.set_file(member, path, Some(Node::Folder));
    }
    Reply::out("")
}

/// `ln -sT TARGET PATH`
pub(crate) fn ln(world: &mut World, member: &str, args: &[&str]) -> Reply {
    let ["-sT", target, path] = args else {
        return Reply::fail(1, "ln: missing file operand\n");
    };
    let why = if world.file(member, path).is_some() {
        "File exists"
    } else if !world.is_folder(member, parent(path)) {
        "No such file or directory"
    } else if world.read_only.contains(member) {
        READ_ONLY
    } else {
        world.set_file(member, path, Some(Node::Link((*target).to_owned())));
        return Reply::out("");
    };
    Reply::fail(
        1,
        format!("ln: failed to create symbolic link '{path}': {why}\n"),
    )
}

/// `readlink PATH`: silent about whatever is no link.
pub(crate) fn readlink(world: &World, member: &str, args: &[&str]) -> Reply {
    match args.first().and_then(|path| world.file(member, path)) {
        Some(Node::Link(target)) => Reply::out(format!("{target}\n")),
        _ => Reply::fail(1, ""),
    }
}

/// `test -e PATH`: a link is there only if what it points to is.
pub(crate) fn test(world: &World, member: &str, args: &[&str]) -> Reply {
    let ["-e", path] = args else {
        return Reply::fail(2, "test: missing argument\n");
    };
    let there = match world.file(member, path) {
        Some(Node::Link(target)) => world.file(member, target).is_some(),
        found => found.is_some() || world.is_folder(member, path),
    };
    Reply::fail(i32::from(!there), "")
}

/// `rm -f PATH`
pub(crate) fn rm(world: &mut World, member: &str, args: &[&str]) -> Reply {
    let ["-f", path] = args else {
        return Reply::fail(1, "rm: missing operand\n");
    };
    let complain = |why: &str| Reply::fail(1, format!("rm: cannot remove '{path}': {why}\n"));
    match world.file(member, path) {
        None => Reply::out(""),
        Some(Node::Folder) => complain("Is a directory"),
        Some(_) if world.read_only.contains(member) => complain(READ_ONLY),
        Some(_) => {
            world.set_file(member, path, None);
            Reply::out("")
        }
    }
}
