//! A few files of a member, and the programs that touch them: as GNU coreutils 9 behave and speak with `LC_ALL=C`.

pub(crate) mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use lockstep_modules::contract::cmd::Output;
use lockstep_modules::ops::lock;
use sha2::{Digest, Sha256};

pub use state::Node;

use crate::world::{Proc, Reply, World};

/// Folders that every member has.
const SYSTEM: [&str; 7] = [
    "/",
    "/var",
    "/var/lib",
    "/var/snap/lxd/common/lxd",
    "/var/snap/microceph/common/state",
    "/var/snap/microcloud/common/state",
    "/var/snap/microovn/common/state",
];

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
    match args {
        ["-p", "-m", _, path] => make_folder(world, member, "mkdir", path),
        _ => Reply::fail(1, "mkdir: missing operand\n"),
    }
}

/// `install -d -m MODE PATH`: of a folder that is there it sets the mode.
pub(crate) fn install(world: &mut World, member: &str, args: &[&str]) -> Reply {
    match args {
        ["-d", "-m", _, path] if world.is_folder(member, path) => {
            if world.read_only.contains(member) {
                let why = format!("install: cannot change permissions of '{path}': {READ_ONLY}\n");
                return Reply::fail(1, why);
            }
            Reply::out("")
        }
        ["-d", "-m", _, path] => make_folder(world, member, "install", path),
        _ => Reply::fail(1, "install: missing file operand\n"),
    }
}

fn make_folder(world: &mut World, member: &str, program: &str, path: &str) -> Reply {
    if world.is_folder(member, path) {
        return Reply::out("");
    }
    let complain = |why: &str| {
        let what = format!("{program}: cannot create directory '{path}': {why}\n");
        Reply::fail(1, what)
    };
    if world.file(member, path).is_some() {
        return complain("File exists");
    }
    if world.read_only.contains(member) {
        return complain(READ_ONLY);
    }
    let mut missing = vec![path];
    while !world.is_folder(member, parent(missing[missing.len() - 1])) {
        missing.push(parent(missing[missing.len() - 1]));
    }
    if missing
        .iter()
        .any(|path| world.file(member, path).is_some())
    {
        return complain("Not a directory");
    }
    for path in missing {
        world.set_file(member, path, Some(Node::Folder));
    }
    Reply::out("")
}

/// `ln -sT TARGET PATH`, and with `-f` in place of what is there.
pub(crate) fn ln(world: &mut World, member: &str, args: &[&str]) -> Reply {
    let [how @ ("-sT" | "-sfT"), target, path] = args else {
        return Reply::fail(1, "ln: missing file operand\n");
    };
    let why = if *how == "-sT" && world.file(member, path).is_some() {
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

/// `mv -fT PATH PATH`
pub(crate) fn mv(world: &mut World, member: &str, args: &[&str]) -> Reply {
    let ["-fT", from, to] = args else {
        return Reply::fail(1, "mv: missing file operand\n");
    };
    let why = match world.file(member, from) {
        None => format!("cannot stat '{from}': No such file or directory"),
        Some(_) if world.read_only.contains(member) => {
            format!("cannot move '{from}' to '{to}': {READ_ONLY}")
        }
        Some(node) => {
            let node = node.clone();
            world.set_file(member, to, Some(node));
            world.set_file(member, from, None);
            return Reply::out("");
        }
    };
    Reply::fail(1, format!("mv: {why}\n"))
}

/// `flock -w SECONDS FOLDER /bin/sh -c IF sh LINK SAYS PROGRAM…`: nobody has the folder for as long as that.
pub(crate) fn flock(world: &mut World, proc: &Proc, args: &[&str]) -> Reply {
    let [
        "-w",
        _,
        folder,
        "/bin/sh",
        "-c",
        lock::IF,
        "sh",
        link,
        says,
        program @ ..,
    ] = args
    else {
        return Reply::fail(64, "flock: requires a file descriptor, file or directory\n");
    };
    if !world.is_folder(&proc.member, folder.trim_end_matches("/.")) {
        let why = format!("flock: cannot open lock file {folder}: No such file or directory\n");
        return Reply::fail(66, why);
    }
    let there = match world.file(&proc.member, link) {
        Some(Node::Link(target)) => target.as_str(),
        _ => "",
    };
    if there != *says {
        return Reply::fail(9, "");
    }
    let mut inner = proc.clone();
    Arc::make_mut(&mut inner.cmd).argv = program.iter().map(|word| (*word).to_owned()).collect();
    world.answer(&inner)
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
        found => found.is_some() || world.is_folder(member, path) || is_socket(world, member, path),
    };
    Reply::fail(i32::from(!there), "")
}

/// The sockets of OVN's databases are where these run.
fn is_socket(world: &World, member: &str, path: &str) -> bool {
    let raft = match path.rsplit('/').next() {
        Some("ovnnb_db.sock") => &world.ovn.northbound,
        Some("ovnsb_db.sock") => &world.ovn.southbound,
        _ => return false,
    };
    raft.servers.contains_key(member)
}

/// The text of a file, or what a program says that can't read it.
fn text<'a>(world: &'a World, member: &str, program: &str, path: &str) -> Result<&'a str, Reply> {
    match world.file(member, path) {
        Some(Node::File(text)) => Ok(text),
        _ => Err(Reply::fail(
            1,
            format!("{program}: {path}: No such file or directory\n"),
        )),
    }
}

fn digest(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `sha256sum FILE…` and `sha256sum --check --quiet LIST`
pub(crate) fn sha256sum(world: &World, member: &str, args: &[&str]) -> Reply {
    let ["--check", "--quiet", list] = args else {
        let line = |path: &&str| {
            let text = text(world, member, "sha256sum", path)?;
            Ok(format!("{}  {path}\n", digest(text)))
        };
        let lines = args.iter().map(line).collect::<Result<String, Reply>>();
        return lines.map_or_else(|failure| failure, Reply::out);
    };
    let list = match text(world, member, "sha256sum", list) {
        Ok(list) => list,
        Err(failure) => return failure,
    };
    let wrong = |line: &str| {
        let (sum, path) = line.split_once("  ")?;
        let fits = text(world, member, "sha256sum", path).is_ok_and(|text| digest(text) == sum);
        (!fits).then(|| format!("{path}: FAILED\n"))
    };
    let wrong: String = list.lines().filter_map(wrong).collect();
    if wrong.is_empty() {
        return Reply::out("");
    }
    let count = wrong.lines().count();
    let warning = format!("sha256sum: WARNING: {count} computed checksum did NOT match\n");
    Reply::Exit(Output::exit(1, wrong, warning))
}

pub(crate) fn cat(world: &World, member: &str, args: &[&str]) -> Reply {
    let path = args.first().copied().unwrap_or_default();
    text(world, member, "cat", path).map_or_else(|failure| failure, Reply::out)
}

/// `tail -n 1 FILE`
pub(crate) fn tail(world: &World, member: &str, args: &[&str]) -> Reply {
    let path = args.last().copied().unwrap_or_default();
    match text(world, member, "tail", path) {
        Ok(text) => Reply::out(format!(
            "{}\n",
            text.lines().next_back().unwrap_or_default()
        )),
        Err(failure) => failure,
    }
}

/// `stat -c %s FILE`
pub(crate) fn stat(world: &World, member: &str, args: &[&str]) -> Reply {
    let path = args.last().copied().unwrap_or_default();
    match text(world, member, "stat", path) {
        Ok(text) => Reply::out(format!("{}\n", text.len())),
        Err(failure) => failure,
    }
}

pub(crate) fn ls(world: &World, member: &str, args: &[&str]) -> Reply {
    let folder = args.last().copied().unwrap_or_default();
    if !world.is_folder(member, folder) {
        let what = format!("ls: cannot access '{folder}': No such file or directory\n");
        return Reply::fail(2, what);
    }
    let files = world.files.get(member).into_iter().flat_map(BTreeMap::keys);
    let names = files.filter(|path| parent(path) == folder);
    Reply::out(
        names
            .map(|path| format!("{}\n", &path[folder.len() + 1..]))
            .collect::<String>(),
    )
}

/// `rm -f PATH` and `rm -rf FOLDER`
pub(crate) fn rm(world: &mut World, member: &str, args: &[&str]) -> Reply {
    let path = match args {
        ["-f", path] => path,
        ["-rf", path] => {
            let inside = |file: &String| file == path || file.starts_with(&format!("{path}/"));
            if let Some(files) = world.files.get_mut(member) {
                files.retain(|file, _| !inside(file));
            }
            return Reply::out("");
        }
        _ => return Reply::fail(1, "rm: missing operand\n"),
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
