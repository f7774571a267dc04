//! Programs of a snap that run on a member: each keeps its snap from being refreshed, and shows in a scope of its own
//! (`sandbox/cgroup/tracking.go`).

use crate::world::{Reply, World};

/// A process of a snap's program.
struct Client {
    snap: String,
    app: String,
    pid: u64,
}

/// Whose processes run on a member: people's, and those of whoever asks.
fn all(world: &World, member: &str) -> Vec<Client> {
    let people = world.clients.iter().filter(|c| c.member == member);
    let people = people.map(|c| Client {
        snap: c.snap.clone(),
        app: c.app.clone(),
        pid: c.pid.into(),
    });
    let faults = world.faults.running_apps(member).map(|snap| Client {
        snap: snap.to_owned(),
        app: program(snap).to_owned(),
        pid: 4242,
    });
    let asked = world.running(member).filter_map(|proc| {
        let (snap, app) = World::snap_of(&proc.cmd)?;
        Some(Client {
            snap: snap.to_owned(),
            app: app.to_owned(),
            pid: 5000 + proc.id,
        })
    });
    people.chain(faults).chain(asked).collect()
}

/// The program of a snap that people use.
fn program(snap: &str) -> &str {
    let aliases = World::product(snap).map_or(&[][..], |product| product.aliases());
    aliases.first().copied().unwrap_or(snap)
}

/// What `snap refresh` says where programs of the snap run (`overlord/snapstate/refresh.go`).
pub(super) fn running(world: &World, member: &str, name: &str) -> Option<String> {
    let here: Vec<Client> = all(world, member)
        .into_iter()
        .filter(|c| c.snap == name)
        .collect();
    let mut apps: Vec<&str> = here.iter().map(|c| c.app.as_str()).collect();
    apps.dedup();
    let pids: Vec<String> = here.iter().map(|c| c.pid.to_string()).collect();
    (!here.is_empty()).then(|| {
        let (apps, pids) = (apps.join(", "), pids.join(","));
        let text = format!(
            "error: cannot refresh \"{name}\": snap \"{name}\" has running apps ({apps}), pids: {pids}"
        );
        wrapped(&text) + "\n"
    })
}

/// `find /sys/fs/cgroup … -path '*/snap.*.scope/cgroup.procs' ( -exec head -v {} ; … )`
pub(crate) fn find(world: &World, member: &str, args: &[&str]) -> Reply {
    if args.first() != Some(&"/sys/fs/cgroup") || !args.contains(&"*/snap.*.scope/cgroup.procs") {
        return Reply::fail(1, "find: unknown arguments\n");
    }
    let files = all(world, member).into_iter().map(|Client { snap, app, pid }| {
        let scope = format!("snap.{snap}.{app}-5f1b2a1e-6f0c-4c39-8d53-{pid:012}.scope");
        format!("==> /sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/{scope}/cgroup.procs <==\n{pid}\n")
    });
    Reply::out(files.collect::<String>())
}

/// Wrapped to a terminal's width, with what follows indented under the first word behind `error:`.
pub(super) fn wrapped(text: &str) -> String {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > 79 {
            lines.push(std::mem::replace(&mut line, " ".repeat(7) + word));
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines.push(line);
    lines.join("\n")
}
