//! Which program a command is, and who plays it.

use lockstep_modules::contract::cmd::Cmd;

use crate::microcluster::overview;
use crate::world::{Proc, Reply, World};
use crate::{ceph, dumps, files, host, lxd, microcluster, ovn, snapd};

/// The program that a command comes to, where it is run by a shell too.
fn effective_program(cmd: &Cmd) -> &str {
    dumps::within(cmd).map_or_else(|| program(cmd), name)
}

/// The program of a command, by its name in `PATH`.
fn program(cmd: &Cmd) -> &str {
    cmd.argv.first().map_or("", |path| name(path))
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What the start of Ceph's client takes, in milliseconds.
const CEPH: u64 = 300;

/// What a command takes beyond the ordinary before it first looks at the world, in milliseconds.
pub(crate) fn extra_latency(world: &World, cmd: &Cmd) -> u64 {
    match effective_program(cmd) {
        "snap" if cmd.argv.get(1).is_some_and(|verb| verb == "refresh") => {
            200 + world.store.takes(true)
        }
        "curl"
            if cmd.argv.last().is_some_and(|url| {
                url.contains("select=refresh") || url.ends_with("/v2/download")
            }) =>
        {
            200 + world.store.takes(true)
        }
        "microceph.ceph" => CEPH,
        _ => 0,
    }
}

impl World {
    /// The snap whose program a command is. While it runs, that snap can't be refreshed on the member.
    pub(crate) fn snap_of(cmd: &Cmd) -> Option<(&'static str, &str)> {
        Self::app(effective_program(cmd))
    }

    /// What a command's program answers when it looks at the world now.
    pub(crate) fn answer(&mut self, proc: &Proc) -> Reply {
        if let Some(reply) = self.broken(proc) {
            return reply;
        }
        let reply = answer(self, proc);
        self.muted(proc, reply)
    }
}

fn answer(world: &mut World, proc: &Proc) -> Reply {
    let args: Vec<&str> = proc.cmd.argv.iter().skip(1).map(String::as_str).collect();
    if world.machines.contains(&proc.member) {
        return stranger(&proc.cmd);
    }
    if let Some((snap, _)) = World::app(program(&proc.cmd)) {
        let installed = world.installed(&proc.member, snap);
        if !installed.is_some_and(|s| s.active) {
            return missing(&proc.cmd);
        }
        if !proc.cmd.root && snap != "lxd" {
            return Reply::fail(1, "Error: This must be run as root\n");
        }
    }
    match program(&proc.cmd) {
        "snap" => snapd::snap(world, &proc.member, proc.cmd.root, &args),
        "curl" if args.contains(&overview::SOCKET) => overview::curl(world, proc, &args),
        "curl" => snapd::curl(world, proc, &args),
        "lxc" => lxd::lxc(world, proc, &args),
        "lxd" => lxd::lxd(world, proc, &args),
        name @ ("microceph" | "microovn" | "microcloud") => {
            microcluster::command(world, proc, name, &args)
        }
        "microceph.ceph" => ceph::command(world, proc, &args),
        "microovn.ovn-appctl" => ovn::appctl(world, &proc.member, &args),
        "openssl" => ovn::openssl(world, &proc.member, &args),
        "microovn.ovn-sbctl" => ovn::sbctl(world, &args),
        "df" => host::df(world, &proc.member, &args),
        "date" => host::date(world, &proc.member, &args),
        "find" => snapd::find(world, &proc.member, &args),
        "sh" => match snapd::stage(world, proc, &args) {
            Some(reply) => reply,
            None => dumps::sh(world, proc, &args),
        },
        "flock" => files::flock(world, proc, &args),
        "mv" => files::mv(world, &proc.member, &args),
        "cat" => files::cat(world, &proc.member, &args),
        "ls" => files::ls(world, &proc.member, &args),
        "sha256sum" => files::sha256sum(world, &proc.member, &args),
        "stat" => files::stat(world, &proc.member, &args),
        "tail" => files::tail(world, &proc.member, &args),
        "install" => files::install(world, &proc.member, &args),
        "mkdir" => files::mkdir(world, &proc.member, &args),
        "ln" => files::ln(world, &proc.member, &args),
        "readlink" => files::readlink(world, &proc.member, &args),
        "test" => files::test(world, &proc.member, &args),
        "rm" => files::rm(world, &proc.member, &args),
        "true" => Reply::out(""),
        "false" => Reply::fail(1, ""),
        "echo" => Reply::out(format!("{}\n", args.join(" "))),
        "sleep" => sleep(world, proc, &args),
        _ => stranger(&proc.cmd),
    }
}

fn stranger(cmd: &Cmd) -> Reply {
    match missing(cmd) {
        Reply::Exit(output) => Reply::Stranger(output),
        reply => reply,
    }
}

/// What `timeout` says of a program that isn't there.
fn missing(cmd: &Cmd) -> Reply {
    let path = cmd.argv.first().map_or("", String::as_str);
    Reply::fail(
        127,
        format!("/usr/bin/timeout: failed to run command ‘{path}’: No such file or directory\n"),
    )
}

fn sleep(world: &World, proc: &Proc, args: &[&str]) -> Reply {
    let wanted = args
        .first()
        .and_then(|secs| secs.parse::<u64>().ok())
        .unwrap_or(0)
        * 1000;
    let slept = world.now - proc.began;
    if slept >= wanted {
        Reply::out("")
    } else {
        Reply::Again(wanted - slept)
    }
}
