//! snapd's REST API, through `curl` on its socket and through `snap debug api`.

use serde_json::{Value, json};

use super::change::{Change, Task};
use super::{Installed, Snapd, file};
use crate::dialects::Trait;
use crate::host::Host;
use crate::microcluster;
use crate::world::{Proc, Reply, World, json as printed};

/// Until when a snap is held that is held for ever: 290 years from now.
const FOREVER_HOURS: i64 = 290 * 8766;

/// `curl … --unix-socket /run/snapd.socket http://localhost/v2/…`
pub(crate) fn curl(world: &World, proc: &Proc, args: &[&str]) -> Reply {
    let Some(url) = args
        .last()
        .and_then(|url| url.strip_prefix("http://localhost"))
    else {
        return Reply::fail(7, "curl: (7) Couldn't connect to server\n");
    };
    if url == "/v2/download" {
        return file::download(world, proc, args);
    }
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

fn answer(world: &World, member: &str, path: &str) -> Value {
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
            sync(
                snaps
                    .map(|(name, snap)| snap_json(world, name, snap))
                    .collect(),
            )
        }
        Some(["snaps", name]) => match snapd.snaps.get(*name) {
            Some(snap) => sync(snap_json(world, name, snap)),
            None => {
                let mut answer = failure(404, "snap-not-found", "snap not installed");
                answer["result"]["value"] = Value::from(*name);
                answer
            }
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
            sync(
                snapd
                    .changes
                    .iter()
                    .filter(shown)
                    .map(|c| change_json(world, c))
                    .collect(),
            )
        }
        Some(["changes", id]) => match snapd.changes.iter().find(|c| c.id.to_string() == *id) {
            Some(change) => sync(change_json(world, change)),
            None => failure(404, "", &format!("cannot find change with id \"{id}\"")),
        },
        Some(["find"]) if param("select").as_deref() == Some("refresh") => {
            updates(world, member, snapd)
        }
        Some(["find"]) if param("name").is_some() => {
            found(world, &param("name").unwrap_or_default())
        }
        Some(["apps"]) => sync(microcluster::services(
            world,
            member,
            &param("names").unwrap_or_default(),
        )),
        Some(["system-info"]) => sync(system_info(&world.host_of(member))),
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
fn updates(world: &World, member: &str, snapd: &Snapd) -> Value {
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
    sync(snapd.snaps.iter().filter_map(offer).collect())
}

/// A snap by its name, with what each of its channels has (`client/packages.go`).
fn found(world: &World, name: &str) -> Value {
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
    sync(json!([{"name": name, "status": "available", "type": "app", "channels": channels}]))
}

fn sync(result: Value) -> Value {
    let mut envelope = json!({"type": "sync", "status-code": 200, "status": "OK"});
    envelope["result"] = result;
    envelope
}

pub(super) fn failure(code: u16, kind: &str, message: &str) -> Value {
    let mut result = json!({"message": message});
    if !kind.is_empty() {
        result["kind"] = Value::from(kind);
    }
    let status = if code == 404 {
        "Not Found"
    } else {
        "Internal Server Error"
    };
    json!({"type": "error", "status-code": code, "status": status, "result": result})
}

fn snap_json(world: &World, name: &str, snap: &Installed) -> Value {
    let mut value = json!({
        "id": format!("{name}0000000000000000000000"), "title": name, "summary": name, "name": name, "type": "app",
        "publisher": {"id": "canonical", "username": "canonical", "display-name": "Canonical", "validation": "verified"},
        "status": if snap.active { "active" } else { "installed" }, "version": snap.version,
        "revision": snap.revision.to_string(), "confinement": "strict", "devmode": false, "jailmode": false,
        "channel": snap.tracking, "tracking-channel": snap.tracking, "ignore-validation": false, "private": false,
    });
    if !snap.cohort.is_empty() {
        value["cohort-key"] = Value::from(snap.cohort.as_str());
    }
    if snap.held {
        let until = world
            .timestamp(world.now)
            .checked_add(jiff::SignedDuration::from_hours(FOREVER_HOURS));
        value["hold"] = Value::from(until.map_or_else(|_| String::new(), |t| t.to_string()));
    }
    value
}

fn change_json(world: &World, change: &Change) -> Value {
    let time = |at: u64| Value::from(world.timestamp(at).to_string());
    let task = |task: &Task| {
        let is_download = task.kind == "download-snap";
        let label = if is_download {
            change.snap.as_str()
        } else {
            ""
        };
        let mut value = json!({"id": task.id.to_string(), "kind": task.kind, "summary": task.summary, "status": task.status,
            "progress": {"label": label, "done": task.done(world.now), "total": task.total}, "spawn-time": time(task.spawned)});
        if let Some(at) = task.ready_at {
            value["ready-time"] = time(at);
        }
        value
    };
    let mut value = json!({"id": change.id.to_string(), "kind": change.kind, "summary": change.summary,
        "status": change.status(), "ready": change.ready(), "spawn-time": time(change.spawned)});
    if !change.tasks.is_empty() {
        value["tasks"] = change.tasks.iter().map(task).collect();
    }
    if let Some(at) = change.ready_at {
        value["ready-time"] = time(at);
    }
    if !change.err.is_empty() && change.ready() {
        value["err"] = Value::from(change.err.as_str());
    }
    value
}
