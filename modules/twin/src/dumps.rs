//! Programs that print a copy of something, and the shell line that keeps it in a file.

use std::sync::Arc;

use lockstep_modules::contract::cmd::Cmd;

use crate::files::Node;
use crate::world::{Proc, Reply, World};

/// `sh -c 'umask 077; out=$1; shift; …' sh FILE PROGRAM…`: the file gets what the program prints. 74 where it can't.
///
/// `sh -c 'printf '%s\n' "$@" | PROGRAM…' NAME LINE…`: the program reads the lines.
pub(crate) fn sh(world: &mut World, proc: &Proc, args: &[&str]) -> Reply {
    if let Some(inner) = piped(proc) {
        return world.answer(&inner);
    }
    let ["-c", script, "sh", path, argv @ ..] = args else {
        return Reply::fail(127, "sh: not understood by the twin\n");
    };
    if !script.starts_with(KEEPS) {
        return Reply::fail(127, "sh: not understood by the twin\n");
    }
    let mut inner = proc.clone();
    Arc::make_mut(&mut inner.cmd).argv = argv.iter().map(|word| (*word).to_owned()).collect();
    let output = match print(world, &inner, argv) {
        Reply::Exit(output) => output,
        waits => return waits,
    };
    if world.read_only.contains(&proc.member) {
        return Reply::fail(
            74,
            format!("sh: 1: cannot create {path}: Read-only file system\n"),
        );
    }
    if world.host_of(&proc.member).free == 0 {
        return Reply::fail(74, "cat: write error: No space left on device\n");
    }
    let text = Node::File(output.stdout.clone());
    world.set_file(&proc.member, path, Some(text));
    Reply::Exit(lockstep_modules::contract::cmd::Output {
        stdout: String::new(),
        ..output
    })
}

/// What a line of the shell begins with that feeds the other words to a program.
const FEEDS: &str = r#"printf '%s\n' "$@" | "#;

/// What a line of the shell begins with that keeps what a program prints in a file.
const KEEPS: &str = "umask 077; out=$1; shift;";

/// The program that reads lines, if that is what a command is.
fn piped(proc: &Proc) -> Option<Proc> {
    let [_, flag, script, _, lines @ ..] = proc.cmd.argv.as_slice() else {
        return None;
    };
    let program = script.strip_prefix(FEEDS)?;
    let mut inner = proc.clone();
    let cmd = Arc::make_mut(&mut inner.cmd);
    cmd.argv = program.split(' ').map(str::to_owned).collect();
    cmd.stdin = Some(lines.join("\n"));
    (flag == "-c").then_some(inner)
}

/// The program that a line of the shell runs.
pub(crate) fn within(cmd: &Cmd) -> Option<&str> {
    match cmd.argv.as_slice() {
        [_, _, script, ..] if script.starts_with(FEEDS) => script[FEEDS.len()..].split(' ').next(),
        [_, _, script, _, _, program, ..] if script.starts_with(KEEPS) => Some(program),
        _ => None,
    }
}

/// What such a program prints.
fn print(world: &mut World, proc: &Proc, argv: &[&str]) -> Reply {
    match argv {
        ["/snap/bin/lxd", "sql", database, ".dump"] => {
            dump(&format!("CREATE TABLE {database} (id INTEGER);"))
        }
        [program, .., "sql", ".dump"] => {
            // The command waits for a database that is ready, as `cluster list` does.
            let mut list = proc.clone();
            Arc::make_mut(&mut list.cmd).argv =
                [program, "cluster", "list"].map(str::to_owned).to_vec();
            match world.answer(&list) {
                Reply::Exit(output) if output.success() => {
                    dump("CREATE TABLE core_cluster_members (id INTEGER PRIMARY KEY, name TEXT);")
                }
                other => other,
            }
        }
        ["/snap/bin/microovn.ovsdb-client", _, "backup", _, database] => Reply::out(format!(
            "OVSDB JSON 42 0123456789abcdef0123456789abcdef01234567\n{{\"name\":\"{database}\"}}\n"
        )),
        ["/usr/bin/tar", ..] => Reply::out("an archive\n"),
        _ => world.answer(proc),
    }
}

/// As `sqlite3 .dump` prints it.
fn dump(table: &str) -> Reply {
    Reply::out(format!(
        "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n{table}\nCOMMIT;\n"
    ))
}
