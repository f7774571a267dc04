//! snapd on a member: its snaps, its changes, the `snap` program and the REST API.

mod api;
mod change;
mod clients;
mod faults;
mod file;
#[cfg(test)]
mod samples;
pub(crate) mod state;

use lockstep_modules::contract::cmd::Output;

use change::RATE;
use change::Target;
pub(crate) use change::task_done;
pub(crate) use clients::find;
use clients::wrapped;
pub(crate) use file::stage;
pub(crate) use state::{Change, Installed, Snapd};

use crate::dialects::{self, numbers};
use crate::world::{Proc, Reply, World};

/// `curl … --unix-socket /run/snapd.socket http://localhost/v2/…`
pub(crate) fn curl(world: &World, proc: &Proc, args: &[&str]) -> Reply {
    match args.last() {
        Some(&"http://localhost/v2/download") => file::download(world, proc, args),
        _ => api::curl(world, proc, args),
    }
}

pub(crate) fn snap(world: &mut World, member: &str, root: bool, args: &[&str]) -> Reply {
    let (flags, names): (Vec<&str>, Vec<&str>) =
        args.iter().copied().partition(|a| a.starts_with("--"));
    if names.first() == Some(&"debug") {
        return api::debug(world, member, &names);
    }
    if let ["watch", id] = names.as_slice() {
        return change::watch(world, member, id);
    }
    if !root {
        return Reply::fail(1, "error: access denied (try with sudo)\n");
    }
    match names.as_slice() {
        ["refresh", name] if flags.iter().any(|f| f.starts_with("--hold")) => {
            hold(world, member, name, true)
        }
        ["refresh", name] if flags.contains(&"--unhold") => hold(world, member, name, false),
        ["refresh", name] => refresh(world, member, name, &flags),
        ["switch", name] => switch(world, member, name, &flags),
        ["abort", id] => change::abort(world, member, id),
        [verb, ..] => Reply::Stranger(Output::exit(
            64,
            "",
            format!("error: unknown command \"{verb}\", see 'snap help'.\n"),
        )),
        [] => Reply::out(""),
    }
}

fn option<'a>(flags: &[&'a str], name: &str) -> Option<&'a str> {
    flags
        .iter()
        .find_map(|flag| flag.strip_prefix(name)?.strip_prefix('='))
}

fn not_installed(name: &str) -> Reply {
    Reply::fail(1, format!("error: snap \"{name}\" is not installed\n"))
}

fn hold(world: &mut World, member: &str, name: &str, on: bool) -> Reply {
    let Some(machine) = world.members.get_mut(member) else {
        return Reply::Hang;
    };
    let Some(snap) = machine.snapd.snaps.get_mut(name) else {
        return not_installed(name);
    };
    snap.held = on;
    let (kind, summary, text) = if on {
        (
            "hold-snap",
            format!("Hold general refreshes for \"{name}\""),
            format!("General refreshes of \"{name}\" held indefinitely\n"),
        )
    } else {
        (
            "unhold-snap",
            format!("Remove refresh hold for \"{name}\""),
            format!("Removed general refresh hold of \"{name}\"\n"),
        )
    };
    change::done_at_once(world, member, name, kind, summary);
    Reply::out(text)
}

fn switch(world: &mut World, member: &str, name: &str, flags: &[&str]) -> Reply {
    let Some(machine) = world.members.get_mut(member) else {
        return Reply::Hang;
    };
    let conflict = machine.snapd.under_way(name).map(conflict);
    let Some(snap) = machine.snapd.snaps.get_mut(name) else {
        return not_installed(name);
    };
    if let Some(reply) = conflict {
        return reply;
    }
    let (channel, cohort) = (option(flags, "--channel"), option(flags, "--cohort"));
    let mut parts = Vec::new();
    if let Some(channel) = channel {
        channel.clone_into(&mut snap.tracking);
        parts.push(format!("the \"{channel}\" channel"));
    }
    if let Some(cohort) = cohort {
        cohort.clone_into(&mut snap.cohort);
        parts.push(format!("the \"{cohort}\" cohort"));
    }
    if parts.is_empty() {
        return Reply::fail(
            1,
            "error: nothing to switch; specify --channel (and/or one of --cohort/--leave-cohort)\n",
        );
    }
    change::done_at_once(
        world,
        member,
        name,
        "switch-snap",
        format!("Switch \"{name}\" snap"),
    );
    Reply::out(format!(
        "\"{name}\" switched to {}\n\n",
        parts.join(" and ")
    ))
}

fn conflict(change: &Change) -> Reply {
    let (name, kind) = (&change.snap, &change.kind);
    Reply::fail(
        10,
        format!("error: snap \"{name}\" has \"{kind}\" change in progress\n"),
    )
}

/// `snap refresh --no-wait NAME`: what snapd checks before there is a change, in its order.
fn refresh(world: &mut World, member: &str, name: &str, flags: &[&str]) -> Reply {
    if let Some(why) = world.store.trouble(world.linked(member)) {
        return Reply::fail(1, store_error(name, &why));
    }
    let Some(machine) = world.members.get(member) else {
        return Reply::Hang;
    };
    let Some(snap) = machine.snapd.snaps.get(name) else {
        return Reply::fail(
            1,
            format!("error: cannot refresh \"{name}\": snap \"{name}\" is not installed\n"),
        );
    };
    let channel = option(flags, "--channel")
        .unwrap_or(&snap.tracking)
        .to_owned();
    let number = option(flags, "--revision");
    let asked = option(flags, "--cohort");
    if number.is_some() && asked.is_some() {
        return Reply::fail(1, "error: cannot specify both cohort-key and revision\n");
    }
    let cohort = match asked {
        _ if flags.contains(&"--leave-cohort") => "",
        asked => asked.unwrap_or(&snap.cohort),
    };
    let cohort = cohort.to_owned();
    let Some(head) = world.store.offered(member, name, &channel) else {
        return Reply::fail(1, unknown_channel(world, name, &channel));
    };
    let target = match number {
        None => head,
        Some(number) => match world.by_number(member, name, number) {
            Some(revision) => revision,
            None => {
                return Reply::fail(
                    1,
                    format!(
                        "error: snap \"{name}\" revision {number} not available (see 'snap info {name}')\n"
                    ),
                );
            }
        },
    };
    if let Some(change) = machine.snapd.under_way(name) {
        return conflict(change);
    }
    if target == snap.revision && channel == snap.tracking && cohort == snap.cohort {
        return Reply::out(format!("snap \"{name}\" has no updates available\n"));
    }
    if let Some(error) = assumes(world, member, name, target) {
        return Reply::fail(1, error);
    }
    if target != snap.revision
        && let Some(text) = clients::running(world, member, name)
    {
        return Reply::fail(1, text);
    }
    let target = Target {
        revision: target,
        channel: &channel,
        cohort: &cohort,
    };
    let id = change::begin(world, member, "refresh-snap", name, &target);
    Reply::out(format!("{id}\n"))
}

/// A snap may want a newer snapd than there is (`overlord/snapstate/check_snap.go`).
fn assumes(world: &World, member: &str, name: &str, revision: u32) -> Option<String> {
    let version = &world.store.release(name, revision)?.version;
    let wanted = dialects::assumed_snapd(name, version)?;
    let lacks = numbers(&world.host_of(member).snapd) < numbers(wanted);
    let text = format!(
        "error: cannot refresh \"{name}\": snap \"{name}\" assumes unsupported features: snapd{wanted} (try to update snapd and refresh the core snap)"
    );
    lacks.then(|| wrapped(&text) + "\n")
}

/// Where nobody answers at all, the program says so in words of its own (seen with snapd 2.68).
fn store_error(name: &str, why: &str) -> String {
    if why.starts_with("Post ") {
        return "error: unable to contact snap store\n".to_owned();
    }
    let broken = why.replace(" for updates", " for\n       updates");
    let broken = broken.replace(" via POST to ", " via POST to\n       ");
    format!("error: cannot refresh \"{name}\": {broken}\n")
}

fn unknown_channel(world: &World, name: &str, channel: &str) -> String {
    let tracks = world
        .store
        .channels
        .get(name)
        .map_or_else(Vec::new, |c| c.keys().cloned().collect());
    let width = tracks.iter().map(String::len).max().unwrap_or(0).max(9) + 2;
    let lines: Vec<String> = tracks
        .iter()
        .map(|c| {
            let track = c.trim_end_matches("/stable");
            format!("       {c:width$}snap refresh --channel={track} {name}\n")
        })
        .collect();
    let what = wrapped(&format!(
        "error: snap \"{name}\" is not available on {channel} but is available to install on the following tracks:"
    ));
    format!(
        "{what}\n\n{}\n       Please be mindful that different tracks may include different features.\n       Get more information with 'snap info {name}'.\n",
        lines.concat()
    )
}

/// snapd refreshes a snap by itself, to what the channel has.
pub(crate) fn auto_refresh(world: &mut World, member: &str, name: &str) {
    let Some(snap) = world.installed(member, name) else {
        return;
    };
    let (channel, cohort) = (snap.tracking.clone(), snap.cohort.clone());
    let offer = world.store.offered(member, name, &channel);
    let Some(revision) = offer.filter(|revision| *revision != snap.revision) else {
        return;
    };
    if world.is_changing(member) {
        return;
    }
    let target = Target {
        revision,
        channel: &channel,
        cohort: &cohort,
    };
    change::begin(world, member, "auto-refresh", name, &target);
}

/// What a lagging LXD does to itself: `snap refresh lxd --cohort=+ --no-wait`, in the channel it follows.
pub(crate) fn refresh_itself(world: &mut World, member: &str) {
    let _ = refresh(world, member, "lxd", &["--cohort=+"]);
}
