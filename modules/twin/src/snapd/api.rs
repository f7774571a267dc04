//! snapd's REST API, through `curl` on its socket and through `snap debug api`.

use serde::Serialize;
use serde_json::{Value, json};

use super::state::{Change, Installed, Snapd, Task};
use crate::dialects::Trait;
use crate::host::Host;
use crate::microcluster::{self, Service};
use crate::world::{Proc, Reply, World, json as printed};

/// Until when a snap is held that is held for ever: 290 years from now.
const FOREVER_HOURS: i64 = 290 * 8766;

/// `curl … --unix-socket /run/snapd.socket http://localhost/v2/…`
pub(super) fn curl(world: &World, proc: &Proc, args: &[&str]) -> Reply {
    let Some(url) = args
        .last()
        .and_then(|url| url.strip_prefix("http://localhost"))
    else {
        return Reply::fail(7, "curl: (7) Couldn't connect to server\n");
    };
    Reply::out(printed(&answer(world, &proc.member, url)))
}

/// `snap debug api /v2/…`
pub(super) fn debug(world: &World, member: &str, names: &[&str]) -> Reply {
    let ["debug", "api", path] = names else {
        return Reply::fail(64, "error: unknown command\n");
    };
    if !world.has(member, Trait::SnapDebugApi) {
        return Reply::fail(1, "error: unknown command \"api\", see 'snap help debug'\n");
    }
    let text = serde_json::to_string_pretty(&answer(world, member, path)).unwrap_or_default();
    Reply::out(text + "\n")
}

/// What snapd answers. What it is asked most is written without a tree of JSON between.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Answer<'a> {
    r#type: &'static str,
    pub(super) status_code: u16,
    pub(super) status: &'static str,
    result: Found<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Found<'a> {
    Snap(Box<Snap<'a>>),
    Snaps(Vec<Snap<'a>>),
    Change(Box<Shown<'a>>),
    Changes(Vec<Shown<'a>>),
    Services(Vec<Service<'a>>),
    Other(Value),
}

/// A snap (`client/packages.go`).
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Snap<'a> {
    id: String,
    title: &'a str,
    summary: &'a str,
    name: &'a str,
    r#type: &'static str,
    publisher: Publisher,
    status: &'static str,
    version: &'a str,
    revision: String,
    confinement: &'static str,
    devmode: bool,
    jailmode: bool,
    channel: &'a str,
    tracking_channel: &'a str,
    ignore_validation: bool,
    private: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    cohort_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hold: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Publisher {
    id: &'static str,
    username: &'static str,
    display_name: &'static str,
    validation: &'static str,
}

/// A change, as it is shown (`client/change.go`).
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown<'a> {
    id: String,
    kind: &'a str,
    summary: &'a str,
    status: &'static str,
    ready: bool,
    spawn_time: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tasks: Vec<ShownTask<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_time: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    err: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShownTask<'a> {
    id: String,
    kind: &'a str,
    summary: &'a str,
    status: &'a str,
    progress: Progress<'a>,
    spawn_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready_time: Option<String>,
}

#[derive(Serialize)]
struct Progress<'a> {
    label: &'a str,
    done: u64,
    total: u64,
}

fn answer<'a>(world: &'a World, member: &str, path: &str) -> Answer<'a> {
    let Some(machine) = world.members.get(member) else {
        return failure(500, "", "no such machine");
    };
    let snapd = &machine.snapd;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let param = |name: &str| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
            .map(str::to_owned)
    };
    match path
        .strip_prefix("/v2/")
        .map(|rest| rest.split('/').collect::<Vec<_>>())
        .as_deref()
    {
        Some(["snaps"]) => {
            let wanted = param("snaps");
            let asked = |name: &str| {
                wanted
                    .as_ref()
                    .is_none_or(|w| w.split(',').any(|n| n == name))
            };
            let snaps = snapd.snaps.iter().filter(|(name, _)| asked(name));
            let shown = snaps.map(|(name, snap)| snap_shown(world, name, snap));
            sync(Found::Snaps(shown.collect()))
        }
        Some(["snaps", name]) => match snapd.snaps.get_key_value(*name) {
            Some((name, snap)) => sync(Found::Snap(Box::new(snap_shown(world, name, snap)))),
            None => failed(
                404,
                json!({"kind": "snap-not-found", "message": "snap not installed", "value": name}),
            ),
        },
        Some(["changes"]) => {
            let (select, of) = (
                param("select").unwrap_or_else(|| "in-progress".to_owned()),
                param("for"),
            );
            let shown = |change: &&Change| {
                let state = match select.as_str() {
                    "all" => true,
                    "ready" => change.ready(),
                    _ => !change.ready(),
                };
                state && of.as_ref().is_none_or(|name| change.snap == *name)
            };
            let shown = snapd.changes.iter().filter(shown);
            sync(Found::Changes(
                shown.map(|change| change_shown(world, change)).collect(),
            ))
        }
        Some(["changes", id]) => match snapd.changes.iter().find(|c| c.id.to_string() == *id) {
            Some(change) => sync(Found::Change(Box::new(change_shown(world, change)))),
            None => failure(404, "", &format!("cannot find change with id \"{id}\"")),
        },
        Some(["find"]) if param("select").as_deref() == Some("refresh") => {
            updates(world, member, snapd)
        }
        Some(["find"]) if param("name").is_some() => {
            found(world, &param("name").unwrap_or_default())
        }
        Some(["apps"]) => sync(Found::Services(microcluster::services(
            world,
            member,
            &param("names").unwrap_or_default(),
        ))),
        Some(["system-info"]) => sync(Found::Other(system_info(&world.host_of(member)))),
        _ => failure(404, "", "not found"),
    }
}

/// `client/system.go`
fn system_info(host: &Host) -> Value {
    json!({"series": "16", "version": host.snapd, "os-release": {"id": "ubuntu", "version-id": host.os}, "on-classic": true,
        "managed": false, "kernel-version": host.kernel, "architecture": "amd64", "confinement": "strict",
        "locations": {"snap-mount-dir": "/snap", "snap-bin-dir": "/snap/bin"}})
}

/// What the store has for the installed snaps. Held snaps are listed too.
fn updates<'a>(world: &World, member: &str, snapd: &Snapd) -> Answer<'a> {
    if let Some(why) = world.store.trouble(world.linked(member)) {
        return failure(500, "", &format!("cannot list updates: {why}"));
    }
    let offer = |(name, snap): (&String, &Installed)| {
        let revision = world
            .store
            .offered(member, name, &snap.tracking)
            .filter(|r| *r != snap.revision)?;
        let release = world.store.release(name, revision)?;
        Some(
            json!({"name": name, "version": release.version, "revision": revision.to_string(), "channel": snap.tracking,
                    "status": "available", "type": "app", "download-size": release.size}),
        )
    };
    sync(Found::Other(snapd.snaps.iter().filter_map(offer).collect()))
}

/// A snap by its name, with what each of its channels has (`client/packages.go`).
fn found<'a>(world: &World, name: &str) -> Answer<'a> {
    if let Some(status) = world.store.status {
        return failure(
            500,
            "",
            &format!(
                "cannot get details for snap {name:?}: got unexpected HTTP status code {status}"
            ),
        );
    }
    let Some(channels) = world.store.channels.get(name) else {
        return failure(404, "snap-not-found", "snap not found");
    };
    let channel = |(channel, revision): (&String, &u32)| {
        let release = world.store.release(name, *revision)?;
        let (track, risk) = channel.split_once('/').unwrap_or((channel, "stable"));
        let entry = json!({"revision": revision.to_string(), "confinement": "strict", "version": release.version,
            "channel": channel, "epoch": {"read": [0], "write": [0]}, "size": release.size, "track": track, "risk": risk});
        Some((channel.clone(), entry))
    };
    let channels: serde_json::Map<String, Value> = channels.iter().filter_map(channel).collect();
    sync(Found::Other(
        json!([{"name": name, "status": "available", "type": "app", "channels": channels}]),
    ))
}

fn sync(result: Found<'_>) -> Answer<'_> {
    Answer {
        r#type: "sync",
        status_code: 200,
        status: "OK",
        result,
    }
}

pub(super) fn failure<'a>(code: u16, kind: &str, message: &str) -> Answer<'a> {
    let mut result = json!({"message": message});
    if !kind.is_empty() {
        result["kind"] = Value::from(kind);
    }
    failed(code, result)
}

fn failed<'a>(status_code: u16, result: Value) -> Answer<'a> {
    Answer {
        r#type: "error",
        status_code,
        status: match status_code {
            404 => "Not Found",
            _ => "Internal Server Error",
        },
        result: Found::Other(result),
    }
}

fn snap_shown<'a>(world: &World, name: &'a str, snap: &'a Installed) -> Snap<'a> {
    let held = || {
        let until = world
            .timestamp(world.now)
            .checked_add(jiff::SignedDuration::from_hours(FOREVER_HOURS));
        until.map_or_else(|_| String::new(), |t| t.to_string())
    };
    Snap {
        id: format!("{name}0000000000000000000000"),
        title: name,
        summary: name,
        name,
        r#type: "app",
        publisher: Publisher {
            id: "canonical",
            username: "canonical",
            display_name: "Canonical",
            validation: "verified",
        },
        status: if snap.active { "active" } else { "installed" },
        version: &snap.version,
        revision: snap.revision.to_string(),
        confinement: "strict",
        devmode: false,
        jailmode: false,
        channel: &snap.tracking,
        tracking_channel: &snap.tracking,
        ignore_validation: false,
        private: false,
        cohort_key: &snap.cohort,
        hold: snap.held.then(held),
    }
}

fn change_shown<'a>(world: &World, change: &'a Change) -> Shown<'a> {
    let time = |at: u64| world.timestamp(at).to_string();
    let task = |task: &'a Task| {
        let is_download = task.kind == "download-snap";
        let label = if is_download { &*change.snap } else { "" };
        ShownTask {
            id: task.id.to_string(),
            kind: &task.kind,
            summary: &task.summary,
            status: &task.status,
            progress: Progress {
                label,
                done: task.done(world.now),
                total: task.total,
            },
            spawn_time: time(task.spawned),
            ready_time: task.ready_at.map(time),
        }
    };
    Shown {
        id: change.id.to_string(),
        kind: &change.kind,
        summary: &change.summary,
        status: change.status(),
        ready: change.ready(),
        spawn_time: time(change.spawned),
        tasks: change.tasks.iter().map(task).collect(),
        ready_time: change.ready_at.map(time),
        err: if change.ready() { &change.err } else { "" },
    }
}
