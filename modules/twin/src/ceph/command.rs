//! `microceph.ceph …`: what is asked, and what is changed by it.

use lockstep_modules::contract::cmd::Output;
use serde::Serialize;

use super::state::rank;
use super::{groups, health, maps, mutes, osds, seen, watch};
use crate::world::{Proc, Reply, World, json};

/// `microceph.ceph …`. Without a command it reads commands, one a line, and prints what each of them prints; it ends with 0
/// whatever becomes of them, and what fails leaves only its error (`src/ceph.in`, seen with 18.2.7).
pub(crate) fn command(world: &mut World, proc: &Proc, args: &[&str]) -> Reply {
    let words = words(args);
    match words[..] {
        [] => {}
        // Not among commands that are read: "Can not use 'tell' in interactive mode." (seen with 18.2.7)
        ["tell", "osd.*", "flush_pg_stats"] if seen::has_quorum(world) => {
            return groups::flush(world);
        }
        _ => return one(world, proc, args, &words),
    }
    if !seen::has_quorum(world) {
        return without_quorum(world, proc, args);
    }
    let (mut stdout, mut stderr) = (String::new(), String::new());
    for line in proc.cmd.stdin.as_deref().unwrap_or_default().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match one(world, proc, args, &words) {
            Reply::Exit(output) => {
                if output.success() {
                    stdout += &output.stdout;
                }
                stderr += &output.stderr;
            }
            other => return other,
        }
    }
    Reply::Exit(Output::exit(0, stdout, stderr))
}

fn one(world: &mut World, proc: &Proc, args: &[&str], words: &[&str]) -> Reply {
    if let ["-v" | "--version"] = words {
        let release = world.release(&proc.member, "microceph");
        let version = release
            .and_then(|r| r.ceph.as_ref())
            .map_or_else(String::new, maps::long);
        return Reply::out(format!("{version}\n"));
    }
    if !seen::has_quorum(world) {
        return without_quorum(world, proc, args);
    }
    match words {
        ["-s" | "status"] => json_reply(&health::status(world)),
        ["health", "detail"] => json_reply(&health::health(world, true)),
        ["health", "mute", code, rest @ ..] => mutes::mute(world, code, rest.contains(&"--sticky")),
        ["health", "unmute", rest @ ..] => mutes::unmute(world, rest.first().copied()),
        ["mgr", "module", "ls"] => json_reply(&maps::mgr_modules(world)),
        ["mgr", "dump"] => json_reply(&maps::mgr_dump(world)),
        ["versions"] => json_reply(&maps::versions(world)),
        ["mon", "dump"] => json_and_note(&maps::mon_dump(world), "dumped monmap epoch 1\n"),
        ["mgr", "stat"] => json_reply(&maps::mgr_stat(world)),
        ["mgr", "metadata"] => json_reply(&maps::mgr_metadata(world)),
        ["mds", "stat"] => json_reply(&maps::mds_stat(world)),
        [kind @ ("mon" | "osd"), "metadata", who] => {
            match maps::daemon_metadata(world, kind, who) {
                Some(value) => json_reply(&value),
                None => Reply::fail(2, format!("Error ENOENT: {kind}.{who} does not exist\n")),
            }
        }
        ["osd", "metadata"] => json_reply(&maps::osd_metadata(world)),
        ["osd", "dump"] => json_reply(&osds::dump(world)),
        // Who isn't there can't answer: without a manager these hang.
        ["pg", "stat" | "ls-by-osd", ..] if world.ceph.mgr.is_none() => Reply::Hang,
        ["pg", "stat"] => json_reply(&groups::stat(world)),
        // Seen with 18.2.7.
        ["pg", "ls-by-osd", id] if groups::is_down(world, id) => {
            Reply::fail(11, format!("Error EAGAIN: osd {id} is not up\n"))
        }
        ["pg", "ls-by-osd", id] => match id.parse().ok().and_then(|id| groups::of_osd(world, id)) {
            Some(value) => json_reply(&value),
            None => Reply::fail(2, format!("Error ENOENT: osd {id} does not exist\n")),
        },
        ["osd", "tree"] => json_reply(&osds::tree(world)),
        ["osd", "ok-to-stop", ids @ ..] => ok_to_stop(world, ids),
        ["osd", "ls"] => json_reply(&serde_json::json!(
            world.ceph.osds.keys().collect::<Vec<_>>()
        )),
        ["osd", "pool", "ls", "detail"] => json_reply(&maps::pools(world)),
        ["config-key", "ls"] => json_reply(&maps::keys(world)),
        ["fs", "ls"] => json_reply(&maps::filesystems(world)),
        ["config", "show", _, "cluster_network" | "public_network"] => Reply::out("10.0.0.0/24\n"),
        ["osd", "require-osd-release", release, ..] => require_release(world, release),
        ["osd", verb @ ("set-group" | "unset-group"), flag, host] => {
            set_group(world, *verb == "set-group", flag, host)
        }
        ["osd", verb @ ("set" | "unset"), flag] => set(world, *verb == "set", flag),
        _ => Reply::fail(
            22,
            "no valid command found\nError EINVAL: invalid command\n",
        ),
    }
}

/// The words of a command without its options.
fn words<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let mut words = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match *arg {
            "--connect-timeout" | "-f" | "--format" => drop(rest.next()),
            word => words.push(word),
        }
    }
    words
}

/// Without a limit of its own a command hangs.
fn without_quorum(world: &World, proc: &Proc, args: &[&str]) -> Reply {
    let at = args.iter().position(|arg| *arg == "--connect-timeout");
    let Some(limit) = at.and_then(|at| args.get(at + 1)?.parse::<u64>().ok()) else {
        return Reply::Hang;
    };
    let spent = world.now - proc.began;
    if spent < limit * 1000 {
        return Reply::Again(limit * 1000 - spent);
    }
    Reply::fail(
        1,
        format!(
            "monclient(hunting): authenticate timed out after {limit}\n[errno 110] RADOS timed out (error connecting to the cluster)\n"
        ),
    )
}

/// `ceph -f json` begins with an empty line.
fn json_reply(value: &impl Serialize) -> Reply {
    Reply::out(document(value))
}

fn document(value: &impl Serialize) -> String {
    format!("\n{}\n", json(value))
}

/// JSON on stdout, and a sentence on stderr.
fn json_and_note(value: &impl Serialize, sentence: &str) -> Reply {
    Reply::Exit(Output::exit(0, document(value), sentence))
}

fn note(sentence: impl Into<String>) -> Reply {
    Reply::Exit(Output::exit(0, "", sentence))
}

/// The manager answers this one: without it the command hangs. The JSON is printed in any case.
fn ok_to_stop(world: &World, ids: &[&str]) -> Reply {
    if world.ceph.mgr.is_none() {
        return Reply::Hang;
    }
    let ids: Vec<u32> = ids
        .iter()
        .filter_map(|id| id.trim_start_matches("osd.").parse().ok())
        .collect();
    if ids.is_empty() {
        return Reply::fail(
            22,
            "Invalid command: saw 0 of ids(<string>)..., expected at least 1\nosd ok-to-stop <ids>... [<max:int>] :  check whether osd(s) can be safely stopped without reducing immediate data availability\n\nError EINVAL: invalid command\n",
        );
    }
    let (answer, ok) = maps::ok_to_stop(world, &ids);
    if ok {
        return json_reply(&answer);
    }
    let pgs = world.ceph.pgs;
    let refusal = format!(
        "Error EBUSY: unsafe to stop osd(s) at this time ({pgs} PGs are or would become offline)\n"
    );
    Reply::Exit(Output::exit(16, document(&answer), refusal))
}

/// Only forward, and only where all OSDs that are up have the release.
fn require_release(world: &mut World, release: &str) -> Reply {
    let up = world.ceph.osds.values().filter(|osd| osd.up);
    if up.clone().any(|osd| rank(&osd.version.1) < rank(release)) {
        let name = release.to_uppercase();
        return Reply::fail(
            1,
            format!("Error EPERM: not all up OSDs have CEPH_FEATURE_SERVER_{name} feature\n"),
        );
    }
    if rank(release) < rank(&world.ceph.require_osd_release) {
        return Reply::fail(
            1,
            "Error EPERM: require_osd_release cannot be lowered once it has been set\n",
        );
    }
    release.clone_into(&mut world.ceph.require_osd_release);
    note("")
}

fn set_group(world: &mut World, on: bool, flag: &str, host: &str) -> Reply {
    if !world.ceph.osds.values().any(|osd| osd.host == host) {
        let what = format!(
            "Error EINVAL: unable to parse osd id or crush node or device class: \"{host}\". \n"
        );
        return Reply::fail(22, what);
    }
    if !on {
        watch::on_unset(world, flag, Some(host));
    }
    let flags = world.ceph.host_flags.entry(host.to_owned()).or_default();
    if on {
        flags.insert(flag.to_owned());
    } else {
        flags.remove(flag);
    }
    world.ceph.host_flags.retain(|_, flags| !flags.is_empty());
    note("")
}

fn set(world: &mut World, on: bool, flag: &str) -> Reply {
    if on {
        world.ceph.flags.insert(flag.to_owned());
        return note(format!("{flag} is set\n"));
    }
    watch::on_unset(world, flag, None);
    world.ceph.flags.remove(flag);
    note(format!("{flag} is unset\n"))
}
