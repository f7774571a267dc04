//! OVN: the raft of servers behind each of its two databases, and their schemas.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::microcluster::Daemon;
use crate::world::{Due, Reply, World};

/// The network's databases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ovn {
    pub(crate) northbound: Raft,
    pub(crate) southbound: Raft,
    /// The schemas that the databases have now.
    pub(crate) schemas: (String, String),
}

/// A database's servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Raft {
    pub(crate) servers: BTreeMap<String, Server>,
    pub(crate) leader: Option<String>,
    pub(crate) term: u64,
    pub(crate) election_timer: u64,
}

/// A server: its short id, and whether it runs and has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) running: bool,
    pub(crate) joined: bool,
}

/// What happens by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A server that was started has joined the others.
    Joins(String),
    /// Nobody has heard of a leader for longer than the election timer.
    Election,
    /// The schemas are converted.
    Convert,
}

/// From the start of a server to its being connected to all others, in milliseconds.
const JOINS: u64 = 2000;
/// From the moment when all members expect the new schema to its being there.
const CONVERSION: u64 = 3000;

impl Ovn {
    fn rafts(&mut self) -> [&mut Raft; 2] {
        [&mut self.northbound, &mut self.southbound]
    }
}

pub(crate) fn stop(world: &mut World, member: &str) {
    let mut elections = Vec::new();
    for raft in world.ovn.rafts() {
        if let Some(server) = raft.servers.get_mut(member) {
            server.running = false;
            server.joined = false;
        }
        // There is no hand-over: the database has no leader until the election timer has run out.
        if raft.leader.as_deref() == Some(member) {
            raft.leader = None;
            elections.push(raft.election_timer + 1000);
        }
    }
    for after in elections {
        world.schedule(after, Due::Ovn(Event::Election));
    }
}

pub(crate) fn start(world: &mut World, member: &str) {
    for raft in world.ovn.rafts() {
        if let Some(server) = raft.servers.get_mut(member) {
            server.running = true;
        }
    }
    world.schedule(JOINS, Due::Ovn(Event::Joins(member.to_owned())));
}

pub(crate) fn happen(world: &mut World, event: Event) {
    match event {
        Event::Joins(member) => {
            for raft in world.ovn.rafts() {
                if let Some(server) = raft.servers.get_mut(&member).filter(|s| s.running) {
                    server.joined = true;
                }
            }
        }
        Event::Election => elect(world),
        Event::Convert => {
            if let Some(expected) = common_expectation(world) {
                world.ovn.schemas = expected;
            }
        }
    }
}

fn elect(world: &mut World) {
    let reachable: Vec<String> = world
        .members
        .keys()
        .filter(|m| world.answers(m))
        .cloned()
        .collect();
    for raft in world.ovn.rafts() {
        let able: Vec<&String> = raft
            .servers
            .iter()
            .filter(|(m, s)| s.joined && reachable.contains(m))
            .map(|(m, _)| m)
            .collect();
        if raft.leader.is_none() && 2 * able.len() > raft.servers.len() {
            raft.leader = able.first().map(|m| (*m).clone());
            raft.term += 1;
        }
    }
}

/// The schemas that all members' releases expect, if they agree and all daemons are ready.
fn common_expectation(world: &World) -> Option<(String, String)> {
    let micro = world.micro.get("microovn")?;
    if micro.rows.values().any(|row| row.daemon != Daemon::Ready) {
        return None;
    }
    let mut expected = micro
        .rows
        .keys()
        .map(|m| world.release(m, "microovn").and_then(|r| r.ovn.clone()));
    let first = expected.next()??;
    expected
        .all(|other| other.as_ref() == Some(&first))
        .then_some(first)
}

/// All daemons are ready: the one with the lowest id sees whether the databases need another schema.
pub(crate) fn expect_conversion(world: &mut World) {
    if common_expectation(world).is_some_and(|expected| expected != world.ovn.schemas) {
        world.schedule(CONVERSION, Due::Ovn(Event::Convert));
    }
}

/// `microovn.ovn-appctl --timeout=N -t SOCKET cluster/status DATABASE`
pub(crate) fn appctl(world: &World, member: &str, args: &[&str]) -> Reply {
    let words: Vec<&str> = args
        .iter()
        .copied()
        .filter(|a| !a.starts_with("--"))
        .collect();
    let ["-t", socket, "cluster/status", name] = words.as_slice() else {
        return Reply::fail(
            2,
            "\"\" is not a valid command\novn-appctl: server returned an error\n",
        );
    };
    let (raft, port) = match *name {
        "OVN_Northbound" => (&world.ovn.northbound, 6643),
        "OVN_Southbound" => (&world.ovn.southbound, 6644),
        _ => {
            return Reply::fail(
                2,
                format!("unknown cluster\novn-appctl: {socket}: server returned an error\n"),
            );
        }
    };
    match raft.servers.get(member).filter(|server| server.running) {
        Some(server) => Reply::out(cluster_status(world, raft, member, server, name, port)),
        None => Reply::fail(
            1,
            format!("ovn-appctl: cannot connect to \"{socket}\" (No such file or directory)\n"),
        ),
    }
}

fn cluster_status(
    world: &World,
    raft: &Raft,
    member: &str,
    own: &Server,
    name: &str,
    port: u16,
) -> String {
    let address = |m: &str| {
        format!(
            "ssl:{}:{port}",
            world.members.get(m).map_or("", |m| m.address.as_str())
        )
    };
    let connected =
        |m: &str, s: &Server| own.joined && s.joined && world.answers(m) && world.answers(member);
    let leads = raft.leader.as_deref() == Some(member);
    let role = if leads { "leader" } else { "follower" };
    let leader = match &raft.leader {
        Some(_) if leads => "self".to_owned(),
        Some(m) if own.joined => raft
            .servers
            .get(m)
            .map_or_else(String::new, |s| s.id.clone()),
        _ => "unknown".to_owned(),
    };
    let others = || raft.servers.iter().filter(|(m, _)| *m != member);
    let connections: Vec<String> = others()
        .flat_map(|(m, s)| {
            let (to, from) = (format!("->{}", s.id), format!("<-{}", s.id));
            if connected(m, s) {
                vec![from, to]
            } else {
                vec![format!("({to})")]
            }
        })
        .collect();
    let servers: String = raft
        .servers
        .iter()
        .map(|(m, s)| {
            let id = &s.id;
            let tail = match (m == member, leads) {
                (true, true) => " (self) next_index=2 match_index=11".to_owned(),
                (true, false) => " (self)".to_owned(),
                (false, true) if connected(m, s) => {
                    " next_index=12 match_index=11 last msg 320 ms ago".to_owned()
                }
                (false, true) => " next_index=12 match_index=9 last msg 60000 ms ago".to_owned(),
                (false, false) if raft.leader.as_ref() == Some(m) => {
                    " last msg 352 ms ago".to_owned()
                }
                (false, false) => String::new(),
            };
            format!("    {id} ({id} at {}){tail}\n", address(m))
        })
        .collect();
    let elected = if leads {
        "Last Election started 34922 ms ago, reason: timeout\nLast Election won: 34922 ms ago\n"
    } else {
        ""
    };
    let (id, vote) = (&own.id, if leads { "self" } else { "unknown" });
    format!(
        "{id}\nName: {name}\nCluster ID: c7a4 (c7a4d76e-ab09-4eb4-a44b-769a26e5c1fc)\nServer ID: {id} ({id}2d6e-ab09-4eb4-a44b-769a26e5c1fc)\nAddress: {}\nStatus: cluster member\nRole: {role}\nTerm: {}\nLeader: {leader}\nVote: {vote}\n\n{elected}Election timer: {}\nLog: [2, 12]\nEntries not yet committed: 0\nEntries not yet applied: 0\nConnections: {}\nDisconnections: 0\nServers:\n{servers}",
        address(member),
        raft.term,
        raft.election_timer,
        connections.join(" "),
    )
}

/// `microovn status`, of a daemon that is ready.
pub(crate) fn status(world: &World) -> String {
    let Some(micro) = world.micro.get("microovn") else {
        return String::new();
    };
    let mut text = "MicroOVN deployment summary:\n".to_owned();
    for name in micro.rows.keys() {
        let address = world.members.get(name).map_or("", |m| m.address.as_str());
        let central = if world.ovn.northbound.servers.contains_key(name) {
            "central, "
        } else {
            ""
        };
        text.push_str(&format!(
            "- {name} ({address})\n  Services: {central}chassis, switch\n"
        ));
    }
    text.push_str("OVN Database summary:\n");
    let side = |pair: &(String, String), north: bool| {
        if north {
            pair.0.clone()
        } else {
            pair.1.clone()
        }
    };
    for (title, north) in [("OVN Northbound", true), ("OVN Southbound", false)] {
        let active = side(&world.ovn.schemas, north);
        let reports: Vec<(String, String)> = micro
            .rows
            .iter()
            .map(|(name, row)| {
                let expected = world
                    .release(name, "microovn")
                    .and_then(|r| r.ovn.as_ref())
                    .map(|pair| side(pair, north));
                let answers =
                    world.answers(name) && !matches!(row.daemon, Daemon::Down | Daemon::Crashing);
                let report = expected.filter(|_| answers);
                (
                    name.clone(),
                    report.unwrap_or_else(|| "Error. Failed to contact member".to_owned()),
                )
            })
            .collect();
        if reports.iter().all(|(_, expected)| *expected == active) {
            text.push_str(&format!("{title}: OK ({active})\n"));
            continue;
        }
        text.push_str(&format!("{title}: Upgrade or attention required!\nCurrently active schema: {active}\nCluster report (expected schema versions):\n"));
        for (name, expected) in reports {
            text.push_str(&format!("\t{name}: {expected}\n"));
        }
        text.push('\n');
    }
    text
}
