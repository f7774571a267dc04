//! What MicroCloud's daemon tells of the services of all members, on its control socket: `GET /1.0/status`
//! (`api/types/status.go`, `api/status.go`). It asks every other daemon what that one finds; those that don't answer are left
//! out.

use serde_json::{Map, Value, json};

use super::{Daemon, is_ready, member_json, unready};
use crate::dialects::Trait;
use crate::lxd;
use crate::world::{Proc, Reply, World};

/// The daemon's socket.
pub(crate) const SOCKET: &str = "/var/snap/microcloud/common/state/control.socket";

/// `curl … --unix-socket SOCKET http://localhost/1.0/status`
pub(crate) fn curl(world: &World, proc: &Proc, args: &[&str]) -> Reply {
    let micro = world.micro.get("microcloud");
    let own = micro.and_then(|micro| micro.rows.get(&proc.member));
    let (Some(micro), Some(own)) = (micro, own) else {
        return Reply::fail(7, "curl: (7) Couldn't connect to server\n");
    };
    if matches!(own.daemon, Daemon::Down | Daemon::Crashing) {
        return Reply::fail(7, "curl: (7) Couldn't connect to server\n");
    }
    if !args.last().is_some_and(|url| url.ends_with("/1.0/status"))
        || !world.has(&proc.member, Trait::CloudStatus)
    {
        return failure(404, "not found");
    }
    if let Some(why) = unready(world, "microcloud", &proc.member) {
        return failure(503, &why);
    }
    let others = micro.rows.keys().filter(|name| **name != proc.member);
    let all = std::iter::once(&proc.member).chain(others);
    let answering = all.filter(|name| is_ready(world, "microcloud", name));
    let rows: Vec<Value> = answering.map(|name| row(world, name)).collect();
    Reply::json(&json!({
        "type": "sync", "status": "Success", "status_code": 200, "operation": "", "error_code": 0, "error": "", "metadata": rows,
    }))
}

fn failure(code: u16, error: &str) -> Reply {
    Reply::json(&json!({
        "type": "error", "status": "", "status_code": 0, "operation": "", "error_code": code, "error": error, "metadata": null,
    }))
}

/// What one member finds.
fn row(world: &World, name: &str) -> Value {
    let mut clusters = Map::new();
    for (snap, title) in [
        ("microceph", "MicroCeph"),
        ("microcloud", "MicroCloud"),
        ("microovn", "MicroOVN"),
    ] {
        let Some(micro) = world.micro.get(snap).filter(|m| m.rows.contains_key(name)) else {
            continue;
        };
        let parts = micro.rows.iter().enumerate().map(|(i, (peer, row))| {
            let status = if is_ready(world, snap, peer) {
                "ONLINE"
            } else {
                "UNREACHABLE"
            };
            member_json(world, micro, peer, row, i, status)
        });
        clusters.insert(title.to_owned(), parts.collect());
    }
    if lxd::serves(world, name) {
        let part = |peer: &String| {
            let status = match lxd::state(world, name, peer).0 {
                "Online" => "ONLINE",
                other => other,
            };
            json!({"name": peer, "status": status})
        };
        clusters.insert("LXD".to_owned(), world.lxd.nodes.keys().map(part).collect());
    }
    let address = world.members.get(name).map_or("", |m| m.address.as_str());
    json!({"name": name, "address": address, "clusters": clusters, "osds": [], "ceph_services": [], "ovn_services": []})
}
