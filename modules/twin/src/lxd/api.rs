//! LXD's API, as `lxc query` reaches it through the socket of the member that it runs on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::members::{HEARD, offline, serves, state};
use super::state::{Daemon, Kind, Pool, What, root_on_ceph};
use super::{evacuation, operation};
use crate::dialects::{self, Trait};
use crate::world::{Proc, World};

/// How long LXD waits for an event connection to a member that gives no answer (`lxd/cluster/connect.go`).
const FORWARD: u64 = 10_000;

pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    path: &'a str,
    query: BTreeMap<&'a str, &'a str>,
    body: Value,
}

pub(super) enum Answer {
    /// An object, at once.
    Sync(Value),
    /// A background operation.
    Async(String),
    /// An error's text.
    Error(String),
    /// It takes so many milliseconds more.
    Later(u64),
}

impl<'a> Request<'a> {
    pub(super) fn new(method: &'a str, url: &'a str, body: &str) -> Result<Self, String> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let query = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let body = match body {
            "" => Value::Null,
            text => serde_json::from_str(text).map_err(|e| e.to_string())?,
        };
        Ok(Self {
            method,
            path,
            query,
            body,
        })
    }

    fn text(&self, key: &str) -> &str {
        self.body.get(key).and_then(Value::as_str).unwrap_or("")
    }

    fn asks(&self, key: &str) -> Option<&str> {
        self.query.get(key).copied()
    }

    fn depth(&self) -> u8 {
        self.asks("recursion")
            .and_then(|depth| depth.parse().ok())
            .unwrap_or(0)
    }

    /// The member that a request is for, where it says so.
    fn target<'b>(&'b self, proc: &'b Proc) -> &'b str {
        self.asks("target").unwrap_or(&proc.member)
    }
}

fn not_found() -> Answer {
    Answer::Error("not found".to_owned())
}

pub(super) fn answer(world: &mut World, proc: &Proc, request: &Request<'_>) -> Answer {
    let parts: Vec<&str> = request.path.trim_start_matches('/').split('/').collect();
    match (request.method, parts.as_slice()) {
        ("GET", ["1.0"]) => Answer::Sync(server(world, &proc.member)),
        ("PATCH", ["1.0"]) => configure(world, proc, request),
        (_, ["1.0", "cluster", "members", rest @ ..]) => members(world, proc, request, rest),
        (_, ["1.0", "instances", rest @ ..]) => instances(world, proc, request, rest),
        ("GET", ["1.0", "operations", rest @ ..]) => operations(world, proc, request, rest),
        ("GET", ["1.0", "storage-pools", rest @ ..]) => pools(world, proc, request, rest),
        ("GET", ["1.0", "networks"]) => Answer::Sync(json!([
            {"config": {"network": "UPLINK", "ipv4.address": "10.99.0.1/24"}, "description": "", "managed": true, "name": "default",
             "status": "Created", "type": "ovn", "used_by": []},
            {"config": {}, "description": "", "managed": false, "name": "eth0", "status": "", "type": "physical", "used_by": []},
        ])),
        ("GET", ["1.0", "profiles"]) => Answer::Sync(json!([
            {"config": {}, "description": "", "devices": root_on_ceph(), "name": "default", "project": "default",
             "used_by": []},
        ])),
        ("GET", ["1.0", "projects"]) => {
            let of = world.lxd.instances.iter().map(|i| i.project.as_str());
            let names: std::collections::BTreeSet<&str> = of.chain(["default"]).collect();
            let all = names
                .iter()
                .map(|name| json!({"config": {}, "description": "", "name": name, "used_by": []}));
            Answer::Sync(all.collect())
        }
        ("GET", ["1.0", "warnings"]) => Answer::Sync(warnings(world)),
        ("GET", ["1.0", "resources"]) => {
            let target = request.target(proc).to_owned();
            forwarded(world, proc, &target, |world| resources(world, &target))
        }
        _ => not_found(),
    }
}

/// Asks a member that may give no answer.
fn forwarded(world: &World, proc: &Proc, to: &str, answer: impl Fn(&World) -> Value) -> Answer {
    match unreached(world, proc, to) {
        Some(answer) => answer,
        None => Answer::Sync(answer(world)),
    }
}

fn unreached(world: &World, proc: &Proc, to: &str) -> Option<Answer> {
    if !world.lxd.nodes.contains_key(to) {
        return Some(Answer::Error("Cluster member not found".to_owned()));
    }
    if serves(world, to) {
        return None;
    }
    let spent = world.now - proc.began;
    if spent < FORWARD {
        return Some(Answer::Later(FORWARD - spent));
    }
    let text = "Missing event connection with target cluster member";
    Some(Answer::Error(text.to_owned()))
}

/// `GET /1.0`; of the hundreds of API extensions only those that tell releases apart.
fn server(world: &World, member: &str) -> Value {
    let version = world.release(member, "lxd").map_or("", |r| &r.version);
    let number = version.split('-').next().unwrap_or_default();
    let mut config = world.lxd.config.clone();
    let address = world.members.get(member).map_or("", |m| m.address.as_str());
    config.insert("core.https_address".to_owned(), format!("{address}:8443"));
    json!({"api_extensions": dialects::extensions(version), "api_status": "stable", "api_version": "1.0", "auth": "trusted", "auth_methods": ["tls"],
        "config": config, "environment": {"server": "lxd", "server_clustered": true, "server_name": member,
        "server_version": number}, "public": false})
}

/// `PATCH /1.0`: every member has to hear of it.
fn configure(world: &mut World, proc: &Proc, request: &Request<'_>) -> Answer {
    let names: Vec<String> = world.lxd.nodes.keys().cloned().collect();
    for name in names.iter().filter(|name| !offline(world, name)) {
        if let Some(answer) = unreached(world, proc, name) {
            return answer;
        }
    }
    let Some(config) = request.body.get("config").and_then(Value::as_object) else {
        return Answer::Error("Bad request".to_owned());
    };
    for (key, value) in config {
        let Some(value) = value.as_str() else {
            return Answer::Error(
                "json: cannot unmarshal number into Go struct field of type string".to_owned(),
            );
        };
        if value.is_empty() {
            world.lxd.config.remove(key);
        } else {
            world.lxd.config.insert(key.clone(), value.to_owned());
        }
    }
    Answer::Sync(json!({}))
}

fn members(world: &mut World, proc: &Proc, request: &Request<'_>, rest: &[&str]) -> Answer {
    match (request.method, rest) {
        ("GET", []) if request.depth() == 0 => {
            let names = world.lxd.nodes.keys();
            Answer::Sync(names.map(|n| format!("/1.0/cluster/members/{n}")).collect())
        }
        ("GET", []) => {
            let names = world.lxd.nodes.keys();
            Answer::Sync(
                names
                    .map(|name| member_json(world, &proc.member, name))
                    .collect(),
            )
        }
        (_, [name, ..]) if !world.lxd.nodes.contains_key(*name) => {
            Answer::Error("Cluster member not found".to_owned())
        }
        ("GET", [name]) => Answer::Sync(member_json(world, &proc.member, name)),
        ("GET", [_, "state"]) if !world.has(&proc.member, Trait::LxdMemberState) => {
            Answer::Error("not implemented".to_owned())
        }
        ("GET", [name, "state"]) => forwarded(world, proc, name, |world| sysinfo(world, name)),
        ("POST", [name, "state"]) => {
            if let Some(answer) = unreached(world, proc, name) {
                return answer;
            }
            let (action, mut mode) = (request.text("action"), request.text("mode"));
            if action == "restore" && !world.has(name, Trait::LxdRestoreSkip) {
                mode = "";
            }
            if let Some(why) = evacuation::refusal(world, action, name) {
                return Answer::Error(why);
            }
            match action {
                "evacuate" => Answer::Async(evacuation::evacuate(world, name, mode, proc.id)),
                "restore" if !["", "skip"].contains(&mode) => {
                    Answer::Error(format!("Invalid mode: {mode:?}"))
                }
                "restore" => Answer::Async(evacuation::restore(world, name, mode, proc.id)),
                other => Answer::Error(format!("Unknown action {other:?}")),
            }
        }
        _ => not_found(),
    }
}

fn member_json(world: &World, asked: &str, name: &str) -> Value {
    let (status, message) = state(world, asked, name);
    let address = world.members.get(name).map_or("", |m| m.address.as_str());
    let has = |what| world.has(asked, what);
    let away = world.lxd.nodes.get(name).is_some_and(|n| n.evacuated);
    let roles = match world.lxd.nodes.keys().position(|n| n == name) {
        // From 6.9 on a member that is evacuated has no part in the database.
        _ if away && has(Trait::LxdEvacuationForce) => json!([]),
        _ if world.lxd.faults.voteless.contains(name) => json!([]),
        Some(0) if has(Trait::LxdVoterRole) => json!(["database-leader"]),
        Some(1 | 2) if has(Trait::LxdVoterRole) => json!(["database-voter"]),
        Some(0) => json!(["database-leader", "database"]),
        Some(1 | 2) => json!(["database"]),
        Some(3 | 4) => json!(["database-standby"]),
        _ => json!([]),
    };
    let node = world.lxd.nodes.get(name);
    json!({"architecture": "x86_64", "config": node.map(|n| &n.config), "database": roles.as_array().is_some_and(|r| !r.is_empty()),
        "description": "", "failure_domain": "default", "groups": node.map(|n| &n.groups), "message": message, "roles": roles,
        "server_name": name, "status": status, "url": format!("https://{address}:8443")})
}

/// Bytes of memory that a member's own programs and its running instances use.
fn used(world: &World, member: &str) -> u64 {
    let here = |i: &&super::Instance| i.running && i.location == member;
    let instances = world.lxd.instances.iter().filter(here);
    (2 << 30) + instances.map(|i| i.memory).sum::<u64>()
}

fn total(world: &World, member: &str) -> u64 {
    world.lxd.nodes.get(member).map_or(0, |n| n.memory)
}

fn resources(world: &World, member: &str) -> Value {
    let (used, total) = (used(world, member), total(world, member));
    json!({"memory": {"hugepages_size": 2_097_152, "hugepages_total": 0, "hugepages_used": 0, "nodes": [], "total": total, "used": used}})
}

fn sysinfo(world: &World, member: &str) -> Value {
    let (used, total) = (used(world, member), total(world, member));
    json!({"storage_pools": {}, "sysinfo": {"buffered_ram": 0, "free_ram": total.saturating_sub(used), "free_swap": 0,
        "load_averages": [0.1, 0.1, 0.1], "logical_cpus": 8, "processes": 400, "shared_ram": 0, "total_ram": total, "total_swap": 0,
        "uptime": 86_400}})
}

fn pools(world: &World, proc: &Proc, request: &Request<'_>, rest: &[&str]) -> Answer {
    let shown = |name: &str, pool: &Pool, status: &str| {
        json!({"config": {}, "description": "", "driver": pool.driver, "locations": world.lxd.nodes.keys().collect::<Vec<_>>(),
            "name": name, "status": status, "used_by": []})
    };
    match rest {
        [] => {
            let all = world.lxd.pools.iter();
            Answer::Sync(
                all.map(|(name, pool)| shown(name, pool, "Created"))
                    .collect(),
            )
        }
        [name] => {
            let Some(pool) = world.lxd.pools.get(*name) else {
                return Answer::Error("Storage pool not found".to_owned());
            };
            let of = request.asks("target").unwrap_or_default();
            let lost = world.lxd.faults.unavailable.iter();
            let lost = lost.filter(|(pool, member)| pool == name && member == of);
            let status = if lost.count() > 0 {
                "Unavailable"
            } else {
                "Created"
            };
            Answer::Sync(shown(name, pool, status))
        }
        [name, "resources"] => {
            let Some(pool) = world.lxd.pools.get(*name) else {
                return Answer::Error("Storage pool not found".to_owned());
            };
            forwarded(world, proc, request.target(proc), |world| {
                let here = |i: &&super::Instance| {
                    let on =
                        |d: &BTreeMap<String, String>| d.get("pool").is_some_and(|p| p == name);
                    (i.location == request.target(proc) || pool.driver == "ceph")
                        && i.devices.values().any(on)
                };
                let used: u64 = world
                    .lxd
                    .instances
                    .iter()
                    .filter(here)
                    .map(|i| i.size)
                    .sum();
                json!({"inodes": {"total": 0, "used": 0}, "space": {"total": pool.size, "used": used}})
            })
        }
        _ => not_found(),
    }
}

/// Pools that a member doesn't get at are told as warnings (`lxd/storage.go`); the list of pools of a cluster says nothing of
/// them.
fn warnings(world: &World) -> Value {
    let lost = world.lxd.faults.unavailable.iter();
    let at = world.epoch.to_string();
    let warning = |(pool, member): &(String, String)| {
        json!({"uuid": format!("7c51a5e2-0000-4000-8000-{:012}", pool.len() * 100 + member.len()), "location": member, "project": "", "type": "Storage pool unavailable", "count": 1,
            "first_seen_at": at, "last_seen_at": at, "last_message": format!("Failed mounting storage pool {pool:?}"), "severity": "high",
            "status": "new", "entity_url": format!("/1.0/storage-pools/{pool}")})
    };
    lost.map(warning).collect()
}

fn operations(world: &World, proc: &Proc, request: &Request<'_>, rest: &[&str]) -> Answer {
    match rest {
        [] => {
            let mut by_status: BTreeMap<String, Vec<Value>> = BTreeMap::new();
            for op in operation::remembered(world) {
                let mut json = op.json(world);
                if op.member != proc.member {
                    // Those of other members are read from the database, which knows no progress.
                    json["metadata"] = Value::Null;
                }
                let status = json["status"].as_str().unwrap_or_default().to_lowercase();
                by_status.entry(status).or_default().push(json);
            }
            Answer::Sync(json!(by_status))
        }
        [id, tail @ ..] => {
            let Some(op) = operation::find(world, id) else {
                return Answer::Error("Operation not found".to_owned());
            };
            if let Some(answer) = unreached(world, proc, &op.member) {
                return answer;
            }
            let limit = request.asks("timeout").and_then(|t| t.parse::<i64>().ok());
            let limit = limit.and_then(|t| u64::try_from(t).ok());
            let spent = world.now - proc.began;
            let waits = *tail == ["wait"] && limit.is_none_or(|t| spent < t * 1000);
            if waits && op.runs() {
                return Answer::Later(200);
            }
            Answer::Sync(op.json(world))
        }
    }
}

fn instances(world: &mut World, proc: &Proc, request: &Request<'_>, rest: &[&str]) -> Answer {
    let project = request.asks("project").unwrap_or("default").to_owned();
    match (request.method, rest) {
        ("GET", []) => {
            // Each member that gives no answer takes 10 s, all of them at the same time.
            let silent = |i: &super::Instance| !serves(world, &i.location);
            let spent = world.now - proc.began;
            if world.lxd.instances.iter().any(silent) && spent < FORWARD {
                return Answer::Later(FORWARD - spent);
            }
            let everywhere = request.asks("all-projects") == Some("true");
            let all = &world.lxd.instances;
            let shown = all.iter().filter(|i| everywhere || i.project == project);
            let depth = request.depth();
            Answer::Sync(
                shown
                    .map(|i| match depth {
                        0 => json!(format!("/1.0/instances/{}", i.name)),
                        _ => instance_json(world, &proc.member, i, depth > 1),
                    })
                    .collect(),
            )
        }
        (_, [name, tail @ ..]) => {
            let of = |i: &&super::Instance| i.project == project && i.name == *name;
            let Some(instance) = world.lxd.instances.iter().find(of).cloned() else {
                return Answer::Error("Instance not found".to_owned());
            };
            if let ("GET", []) = (request.method, tail) {
                return Answer::Sync(instance_json(world, &proc.member, &instance, false));
            }
            if let Some(answer) = unreached(world, proc, &instance.location) {
                return answer;
            }
            change(world, proc, request, &instance, tail)
        }
        _ => not_found(),
    }
}

/// What is asked of one instance: to start, to stop, to be moved.
fn change(
    world: &mut World,
    proc: &Proc,
    request: &Request<'_>,
    instance: &super::Instance,
    tail: &[&str],
) -> Answer {
    let key = instance.key();
    match (request.method, tail, request.text("action")) {
        ("PUT", ["state"], "start") if instance.running => {
            Answer::Error("The instance is already running".to_owned())
        }
        ("PUT", ["state"], "stop") if !instance.running => {
            Answer::Error("The instance is already stopped".to_owned())
        }
        ("PUT", ["state"], "start") => {
            Answer::Async(evacuation::change(world, What::Start, key, "", proc.id))
        }
        ("PUT", ["state"], "stop") => {
            Answer::Async(evacuation::change(world, What::Stop, key, "", proc.id))
        }
        ("POST", [], _) => {
            let Some(to) = request.asks("target") else {
                return Answer::Error("Bad request".to_owned());
            };
            let live = request.body.get("live") == Some(&Value::Bool(true));
            if instance.running && !live {
                return Answer::Error(
                    "Instance must be stopped to be moved statelessly".to_owned(),
                );
            }
            if world.lxd.nodes.get(to).is_some_and(|n| n.evacuated) {
                let text = "The destination cluster member is evacuated";
                return Answer::Error(text.to_owned());
            }
            Answer::Async(evacuation::change(world, What::Migrate, key, to, proc.id))
        }
        _ => not_found(),
    }
}

fn instance_json(world: &World, asked: &str, instance: &super::Instance, deep: bool) -> Value {
    let node = world.lxd.nodes.get(&instance.location);
    let ready = node.map_or(0, |n| n.ready);
    let reported = ready == 0 || asked == instance.location || world.now >= ready + HEARD;
    let daemon = node.is_some_and(|n| n.daemon == Daemon::Ready);
    let answered = reported && daemon && serves(world, &instance.location);
    let (status, code) = match (answered, instance.running) {
        (false, _) => ("Error", 112),
        (true, true) => ("Running", 103),
        (true, false) => ("Stopped", 102),
    };
    let kind = match instance.kind {
        Kind::Container => "container",
        Kind::VirtualMachine => "virtual-machine",
    };
    let started = world.timestamp(instance.started).to_string();
    let mut json = json!({"architecture": "x86_64", "config": instance.config, "created_at": world.epoch.to_string(), "description": "",
        "devices": {}, "ephemeral": instance.ephemeral, "expanded_config": instance.config, "expanded_devices": instance.devices,
        "last_used_at": started, "location": instance.location, "name": instance.name, "profiles": ["default"],
        "project": instance.project, "stateful": false, "status": status, "status_code": code, "type": kind});
    if deep {
        let usage = if answered && instance.running {
            instance.memory
        } else {
            0
        };
        json["backups"] = Value::Null;
        json["snapshots"] = Value::Null;
        json["state"] = if answered {
            json!({"disk": {"root": {"total": 0, "usage": instance.size}}, "memory": {"swap_usage": 0, "swap_usage_peak": 0, "total": 0, "usage": usage, "usage_peak": 0}, "status": status, "status_code": code})
        } else {
            Value::Null
        };
    }
    json
}
