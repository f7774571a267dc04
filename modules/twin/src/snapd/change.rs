//! Changes: what snapd does to a snap, task by task, and how it undoes that.

use super::state::{Change, DOWNLOAD, Goal, RE_REFRESH, Task};
use crate::product::Product;
use crate::world::{Due, Reply, World};

/// Bytes a second that a download gets.
pub(crate) const RATE: u64 = 25_000_000;

/// How often `snap watch` looks.
const WATCH: u64 = 100;

/// The task that stops the services of a snap.
const STOP: &str = "stop-snap-services";

/// Task kinds that stay `Done` when the rest is undone (`overlord/snapstate/snapmgr.go`).
const NOT_UNDONE: [&str; 4] = ["prerequisites", "validate-snap", "discard-snap", RE_REFRESH];

/// The tasks of a refresh from the store: kind, milliseconds, summary; as snapd 2.68 took on real machines with small snaps. A
/// download takes what its size takes, and the services of a snap stop as long as they take.
const PIPELINE: &str = "\
prerequisites 30 Ensure prerequisites for {snap} are available
download-snap - Download snap {snap} ({to}) from channel {channel}
validate-snap 90 Fetch and check assertions for snap {snap} ({to})
mount-snap 300 Mount snap {snap} ({to})
run-hook 20 Run pre-refresh hook of {snap} snap if present
stop-snap-services - Stop snap {snap} services
remove-aliases 20 Remove aliases for snap {snap}
unlink-current-snap 230 Make current revision for snap {snap} unavailable
copy-snap-data 40 Copy snap {snap} data
setup-profiles 50 Setup snap {snap} ({to}) security profiles
link-snap 200 Make snap {snap} ({to}) available to the system
auto-connect 30 Automatically connect eligible plugs and slots of snap {snap}
set-auto-aliases 20 Set automatic aliases for snap {snap}
setup-aliases 20 Setup snap {snap} aliases
run-hook 70 Run post-refresh hook of {snap} snap if present
start-snap-services 270 Start snap {snap} ({to}) services
clear-snap 20 Remove data for snap {snap} ({from})
discard-snap 20 Remove snap {snap} ({from}) from the system
cleanup 30 Clean up {snap} ({to}) install
run-hook 40 Run configure hook of {snap} snap if present
run-hook 20 Run health check of {snap} snap
check-rerefresh 50 Monitoring snap {snap} to determine whether extra refresh steps are required";

fn pipeline(
    snap: &str,
    from: u32,
    to: u32,
    channel: &str,
    size: u64,
) -> Vec<(&'static str, String, u64)> {
    let task = |row: &'static str| {
        let (kind, rest) = row.split_once(' ')?;
        let (millis, summary) = rest.split_once(' ')?;
        let summary = summary
            .replace("{snap}", &format!("\"{snap}\""))
            .replace("{channel}", &format!("\"{channel}\""))
            .replace("{from}", &from.to_string())
            .replace("{to}", &to.to_string());
        let takes = match kind {
            DOWNLOAD => size * 1000 / RATE,
            STOP => World::product(snap).map_or(0, Product::stops_in),
            _ => millis.parse().ok()?,
        };
        Some((kind, summary, takes))
    };
    PIPELINE.lines().filter_map(task).collect()
}

fn summary(snap: &str, channel: Option<&str>, cohort: &str) -> String {
    let from = channel.map_or_else(String::new, |c| format!(" from \"{c}\" channel"));
    let within = if cohort.is_empty() {
        String::new()
    } else {
        format!(" from \"{cohort}\" cohort")
    };
    format!("Refresh \"{snap}\" snap{from}{within}")
}

pub(crate) struct Target<'a> {
    pub(crate) revision: u32,
    pub(crate) channel: &'a str,
    pub(crate) cohort: &'a str,
}

/// Makes the change for a refresh, and begins it.
/// `snap watch`: ends with the change, and with 1 where that failed (`cmd/snap/wait.go`).
pub(crate) fn watch(world: &World, member: &str, id: &str) -> Reply {
    let machine = world.members.get(member);
    let mut changes = machine.into_iter().flat_map(|m| &m.snapd.changes);
    let Some(change) = changes.find(|change| change.id.to_string() == id) else {
        return Reply::fail(1, format!("error: cannot find change with id \"{id}\"\n"));
    };
    match (change.ready(), change.status()) {
        // Nothing is over before the task that is being done.
        (false, _) => Reply::Again(world.task_ends(member, change.id).max(WATCH)),
        (true, "Done") => Reply::out(""),
        (true, _) => Reply::fail(1, format!("error: {}\n", change.err)),
    }
}

pub(crate) fn begin(
    world: &mut World,
    member: &str,
    kind: &str,
    snap: &str,
    target: &Target<'_>,
) -> u64 {
    let Target {
        revision: to,
        channel,
        cohort,
    } = *target;
    let (now, step) = (world.now, world.cause.clone());
    let release = world.store.release(snap, to).cloned();
    let size = match world.has_file(member, snap, to) {
        true => 0,
        false => release.as_ref().map_or(0, |r| r.size),
    };
    let Some(machine) = world.members.get_mut(member) else {
        return 0;
    };
    let snapd = &mut machine.snapd;
    let Some(installed) = snapd.snaps.get(snap) else {
        return 0;
    };
    let goal = Goal {
        revision: to,
        version: release
            .as_ref()
            .map_or_else(String::new, |r| r.version.clone()),
        channel: channel.to_owned(),
        cohort: cohort.to_owned(),
        was_revision: installed.revision,
        was_version: installed.version.clone(),
        was_channel: installed.tracking.clone(),
        was_cohort: installed.cohort.clone(),
    };
    let steps = if to == installed.revision {
        let from = if installed.cohort.is_empty() {
            "no cohort".to_owned()
        } else {
            format!("\"{}\"", installed.cohort)
        };
        vec![(
            "switch-snap-channel",
            format!("Switch snap \"{snap}\" from {from} to \"{cohort}\""),
            20,
        )]
    } else {
        pipeline(snap, installed.revision, to, channel, size)
    };
    let mut tasks = Vec::new();
    for (kind, summary, takes) in steps {
        snapd.last_task += 1;
        let is_download = kind == DOWNLOAD;
        tasks.push(Task {
            id: snapd.last_task,
            kind: kind.to_owned(),
            summary,
            status: if kind == RE_REFRESH { "Doing" } else { "Do" }.to_owned(),
            total: if is_download { size.max(1) } else { 1 },
            spawned: now,
            ready_at: None,
            takes,
            began: None,
        });
    }
    snapd.last_change += 1;
    let id = snapd.last_change;
    let named = (channel != installed.tracking).then_some(channel);
    snapd.changes.push(Change {
        id,
        kind: kind.to_owned(),
        summary: summary(snap, named, cohort),
        snap: snap.to_owned(),
        tasks,
        spawned: now,
        step,
        goal,
        ..Change::default()
    });
    do_task(world, member, id);
    id
}

/// A change that is over when the request returns (holds, switches).
pub(super) fn done_at_once(
    world: &mut World,
    member: &str,
    snap: &str,
    kind: &str,
    summary: String,
) {
    world.touch();
    let now = world.now;
    let Some(machine) = world.members.get_mut(member) else {
        return;
    };
    machine.snapd.last_change += 1;
    machine.snapd.changes.push(Change {
        id: machine.snapd.last_change,
        kind: kind.to_owned(),
        summary,
        snap: snap.to_owned(),
        spawned: now,
        ready_at: Some(now),
        step: world.cause.clone(),
        ..Change::default()
    });
}

fn change_mut<'a>(world: &'a mut World, member: &str, id: u64) -> Option<&'a mut Change> {
    let machine = world.members.get_mut(member)?;
    let change = machine.snapd.changes.iter_mut().find(|c| c.id == id)?;
    change.written.take();
    Some(change)
}

/// Begins the current task of a change.
fn do_task(world: &mut World, member: &str, id: u64) {
    let (now, mut cause) = (world.now, String::new());
    let Some(change) = change_mut(world, member, id) else {
        return;
    };
    let (snap, at, undoing) = (change.snap.clone(), change.at, change.undoing);
    change.tasks[at].began = Some(now);
    change.step.clone_into(&mut cause);
    let asks = change.tasks[at].kind == RE_REFRESH && !undoing;
    let task = &mut change.tasks[at];
    task.status = if undoing { "Undoing" } else { "Doing" }.to_owned();
    let (kind, takes) = (task.kind.clone(), task.takes);
    let store = match asks {
        true => world.store.takes(world.linked(member)),
        false => 0,
    };
    world.cause = cause;
    // When a start is undone, what had been started of the new revision is stopped again.
    if let (STOP, false) | ("start-snap-services", true) = (kind.as_str(), undoing) {
        world.services_stop(member, &snap);
    }
    ends_after(world, takes + store, member, id);
}

/// The current task of a change ends then.
fn ends_after(world: &mut World, millis: u64, member: &str, change: u64) {
    let member = member.to_owned();
    world.schedule(millis, Due::Task { member, change });
}

/// The current task of a change is over: its effect shows, and the next one begins.
pub(crate) fn task_done(world: &mut World, member: &str, id: u64) {
    let (now, linked) = (world.now, world.linked(member));
    let Some(machine) = world.members.get_mut(member) else {
        return;
    };
    if !machine.lives() {
        // The change goes on by itself after boot, or when the machine gets on again.
        return ends_after(world, 1000, member, id);
    }
    let Some(change) = machine.snapd.changes.iter().find(|c| c.id == id) else {
        return;
    };
    let (at, undoing) = (change.at, change.undoing);
    let (snap, goal) = (change.snap.clone(), change.goal.clone());
    let kind = change.tasks[at].kind.clone();
    let summary = change.tasks[at].summary.clone();
    if change.aborted && !undoing {
        return undo(world, member, id, "Undone");
    }
    if kind == "copy-snap-data" && !undoing && world.faults.hangs(member, &snap) {
        return ends_after(world, 1000, member, id);
    }
    if kind == DOWNLOAD && !undoing {
        world.place(member, &snap, goal.revision);
    }
    if kind == "validate-snap" && !undoing && world.is_wrong(member, &snap, goal.revision) {
        let why = format!("cannot verify snap \"{snap}\", no matching signatures found");
        return fail(world, member, id, &why);
    }
    if kind == "mount-snap" && !undoing && world.faults.disk_full(member) {
        let why = format!(
            "write /var/lib/snapd/snaps/{snap}_{}.snap: no space left on device",
            goal.revision
        );
        return fail(world, member, id, &why);
    }
    if kind == RE_REFRESH
        && let Some(why) = world.store.trouble(linked)
    {
        return fail_behind(world, member, id, &why);
    }
    let post_refresh = kind == "run-hook" && summary.contains("post-refresh");
    if post_refresh && !undoing && hook_fails(world, member, &snap) {
        return fail(world, member, id, "run hook \"post-refresh\": hook failed");
    }
    let Some(machine) = world.members.get_mut(member) else {
        return;
    };
    if let Some(installed) = machine.snapd.snaps.get_mut(&snap) {
        match (kind.as_str(), undoing) {
            ("unlink-current-snap", false) | ("link-snap", true) => installed.active = false,
            ("link-snap", false) => {
                installed.active = true;
                installed.revision = goal.revision;
                installed.version.clone_from(&goal.version);
                installed.tracking.clone_from(&goal.channel);
                installed.cohort.clone_from(&goal.cohort);
            }
            ("switch-snap-channel", false) => {
                installed.tracking.clone_from(&goal.channel);
                installed.cohort.clone_from(&goal.cohort);
            }
            ("unlink-current-snap", true) => {
                installed.active = true;
                installed.revision = goal.was_revision;
                installed.version.clone_from(&goal.was_version);
                installed.tracking.clone_from(&goal.was_channel);
                installed.cohort.clone_from(&goal.was_cohort);
            }
            _ => {}
        }
    }
    if let ("start-snap-services", false) | (STOP, true) = (kind.as_str(), undoing) {
        world.services_start(member, &snap);
    }
    let Some(change) = change_mut(world, member, id) else {
        return;
    };
    change.tasks[at].status = if undoing { "Undone" } else { "Done" }.to_owned();
    change.tasks[at].ready_at = Some(now);
    let next = if undoing {
        (0..at).rev().find(|i| change.tasks[*i].status == "Undo")
    } else {
        Some(at + 1).filter(|i| *i < change.tasks.len())
    };
    match next {
        Some(next) => {
            change.at = next;
            do_task(world, member, id);
        }
        None => {
            for task in change.tasks.iter_mut().filter(|t| t.status == "Doing") {
                task.status = "Done".to_owned();
                task.ready_at = Some(now);
            }
            change.ready_at = Some(now);
        }
    }
}

/// The look for a further refresh fails. What is done stays done, and the change counts as failed all the same.
fn fail_behind(world: &mut World, member: &str, id: u64, why: &str) {
    let now = world.now;
    let Some(change) = change_mut(world, member, id) else {
        return;
    };
    let task = &mut change.tasks[change.at];
    task.status = "Error".to_owned();
    task.ready_at = Some(now);
    change.err = format!(
        "cannot perform the following tasks:\n- {} ({why})",
        task.summary
    );
    change.ready_at = Some(now);
}

fn hook_fails(world: &mut World, member: &str, snap: &str) -> bool {
    let Some(machine) = world.members.get_mut(member) else {
        return false;
    };
    match machine.snapd.failing_hooks.get_mut(snap) {
        Some(left @ 1..) => {
            *left -= 1;
            true
        }
        _ => false,
    }
}

/// A task fails: what came before is undone in reverse, what would have come is put on hold.
fn fail(world: &mut World, member: &str, id: u64, why: &str) {
    let Some(change) = change_mut(world, member, id) else {
        return;
    };
    change.err = format!(
        "cannot perform the following tasks:\n- {} ({why})",
        change.tasks[change.at].summary
    );
    undo(world, member, id, "Error");
}

/// A change goes no further: what was done is undone. The task at which it was ends with this status.
fn undo(world: &mut World, member: &str, id: u64, ends: &str) {
    let now = world.now;
    let Some(change) = change_mut(world, member, id) else {
        return;
    };
    let at = change.at;
    change.undoing = true;
    for (i, task) in change.tasks.iter_mut().enumerate() {
        let stays = NOT_UNDONE.contains(&task.kind.as_str());
        task.status = match i.cmp(&at) {
            std::cmp::Ordering::Less if stays => "Done",
            std::cmp::Ordering::Less => "Undo",
            std::cmp::Ordering::Equal => ends,
            std::cmp::Ordering::Greater if task.kind == RE_REFRESH => "Doing",
            std::cmp::Ordering::Greater => "Hold",
        }
        .to_owned();
        if task.status == "Hold" {
            task.ready_at = Some(now);
        }
    }
    change.tasks[at].ready_at = Some(now);
    if let Some(next) = (0..at).rev().find(|i| change.tasks[*i].status == "Undo") {
        change.at = next;
        do_task(world, member, id);
    }
}

/// `snap abort ID`: it prints nothing, and what was done is undone when the task that goes on has ended.
pub(super) fn abort(world: &mut World, member: &str, id: &str) -> Reply {
    let number = id.parse().unwrap_or(0);
    match change_mut(world, member, number) {
        None => Reply::fail(1, format!("error: cannot find change with id \"{id}\"\n")),
        Some(change) if change.ready() => Reply::fail(
            1,
            format!("error: cannot abort change {id} with nothing pending\n"),
        ),
        Some(change) => {
            change.aborted = true;
            world.touch();
            Reply::out("")
        }
    }
}
