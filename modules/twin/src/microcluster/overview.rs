//! What MicroCloud's daemon tells of the services of all members, on its control socket: `GET /1.0/status`
//! (`api/types/status.go`, `api/status.go`). It asks every other daemon what that one finds; those that don't answer are left
//! out.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::{Daemon, Micro, is_ready, listed, unready};
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
    let shared = |(snap, title)| Some((title, Cow::Owned(cluster(world, snap)?)));
    let shared: Clusters<'_> = CLUSTERS.into_iter().filter_map(shared).collect();
    let rows: Vec<Row<'_>> = answering.map(|name| row(world, name, &shared)).collect();
    Reply::json(&Answer {
        r#type: "sync",
        status: "Success",
        status_code: 200,
        operation: "",
        error_code: 0,
        error: "",
        metadata: rows,
    })
}

fn failure(code: u16, error: &str) -> Reply {
    Reply::json(&json!({
        "type": "error", "status": "", "status_code": 0, "operation": "", "error_code": code, "error": error, "metadata": null,
    }))
}

/// The clusters that all members see alike, by snap and by title.
const CLUSTERS: [(&str, &str); 3] = [
    ("microceph", "MicroCeph"),
    ("microcloud", "MicroCloud"),
    ("microovn", "MicroOVN"),
];

/// The members of each cluster, by its title. They are written once for all who see them: 50 members see 50 members.
type Clusters<'a> = BTreeMap<&'static str, Cow<'a, RawValue>>;

/// The envelope (`lxd/shared/api/response.go`).
#[derive(Serialize)]
struct Answer<'a> {
    r#type: &'a str,
    status: &'a str,
    status_code: u16,
    operation: &'a str,
    error_code: u16,
    error: &'a str,
    metadata: Vec<Row<'a>>,
}

/// What one member finds.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    address: &'a str,
    clusters: Clusters<'a>,
    osds: [(); 0],
    ceph_services: [(); 0],
    ovn_services: [(); 0],
}

/// The members of a snap's cluster.
fn cluster(world: &World, snap: &str) -> Option<Box<RawValue>> {
    let micro = world.micro.get(snap)?;
    let parts = micro.rows.iter().enumerate().map(|(i, (peer, row))| {
        let status = if is_ready(world, snap, peer) {
            "ONLINE"
        } else {
            "UNREACHABLE"
        };
        listed(world, micro, peer, row, i, status)
    });
    to_raw_value(&parts.collect::<Vec<_>>()).ok()
}

fn row<'a>(world: &'a World, name: &'a str, all: &'a Clusters<'_>) -> Row<'a> {
    let mut clusters = Clusters::new();
    for (snap, title) in CLUSTERS {
        let takes_part = |micro: &Micro| micro.rows.contains_key(name);
        if world.micro.get(snap).is_some_and(takes_part)
            && let Some(cluster) = all.get(title)
        {
            clusters.insert(title, Cow::Borrowed(cluster));
        }
    }
    if lxd::serves(world, name) {
        let part = |peer: &String| {
            let status = match lxd::state(world, name, peer).0 {
                "Online" => "ONLINE",
                other => other,
            };
            json!({"name": peer, "status": status})
        };
        let parts: Vec<_> = world.lxd.nodes.keys().map(part).collect();
        clusters.extend(
            to_raw_value(&parts)
                .ok()
                .map(|parts| ("LXD", Cow::Owned(parts))),
        );
    }
    Row {
        name,
        address: world.members.get(name).map_or("", |m| m.address.as_str()),
        clusters,
        osds: [],
        ceph_services: [],
        ovn_services: [],
    }
}
