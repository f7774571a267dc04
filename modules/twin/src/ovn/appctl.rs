//! `microovn.ovn-appctl`: what the servers of the databases tell of themselves, and their election timer.

use serde_json::{Value, json};

use super::state::{Database, Event, Raft, Server};
use crate::world::{Due, Reply, World};

/// From a change of the election timer to its being in force, in milliseconds.
const TIMER_CHANGES: u64 = 100;

/// `microovn.ovn-sbctl --format=json --columns=chassis_name,type,ip list Encap`: every member is a chassis.
pub(crate) fn sbctl(world: &World, args: &[&str]) -> Reply {
    let ["list", "Encap"] = args
        .iter()
        .copied()
        .filter(|a| !a.starts_with("--"))
        .collect::<Vec<_>>()[..]
    else {
        return Reply::fail(1, "ovn-sbctl: unknown command\n");
    };
    if world.ovn.raft(Database::Southbound).leader.is_none() {
        return Reply::fail(
            1,
            "ovn-sbctl: ssl:10.0.0.1:6642: database connection failed ()\n",
        );
    }
    let members = world
        .micro
        .get("microovn")
        .into_iter()
        .flat_map(|micro| micro.rows.keys());
    let rows = members.map(|name| {
        let address = world.members.get(name).map_or("", |m| m.address.as_str());
        json!([name, "geneve", address])
    });
    let table =
        json!({"data": rows.collect::<Value>(), "headings": ["chassis_name", "type", "ip"]});
    Reply::out(format!("{table}\n"))
}

/// `microovn.ovn-appctl --timeout=N -t SOCKET COMMAND DATABASE [ARGUMENT]`
pub(crate) fn appctl(world: &mut World, member: &str, args: &[&str]) -> Reply {
    let words: Vec<&str> = args
        .iter()
        .copied()
        .filter(|a| !a.starts_with("--"))
        .collect();
    let ["-t", socket, command, name, rest @ ..] = words.as_slice() else {
        return Reply::fail(
            2,
            "\"\" is not a valid command\novn-appctl: server returned an error\n",
        );
    };
    let refused = |why: &str| {
        Reply::fail(
            2,
            format!("{why}\novn-appctl: {socket}: server returned an error\n"),
        )
    };
    let database = match *name {
        "OVN_Northbound" => Database::Northbound,
        "OVN_Southbound" => Database::Southbound,
        _ => return refused("unknown cluster"),
    };
    let raft = world.ovn.raft(database);
    let Some(server) = raft.servers.get(member).filter(|server| server.running) else {
        return Reply::fail(
            1,
            format!("ovn-appctl: cannot connect to \"{socket}\" (No such file or directory)\n"),
        );
    };
    match (*command, rest) {
        ("cluster/status", []) => Reply::out(cluster_status(world, database, member, server)),
        ("cluster/change-election-timer", [millis]) => {
            let Some(millis) = millis
                .parse()
                .ok()
                .filter(|ms| (100..=600_000).contains(ms))
            else {
                return refused("election timer must be between 100 and 600000, in msec.");
            };
            if raft.leader.as_deref() != Some(member) {
                return refused("election timer must be changed through leader.");
            }
            if millis > 2 * raft.election_timer {
                return refused("election timer increase should not exceed the current value x 2.");
            }
            world.schedule(TIMER_CHANGES, Due::Ovn(Event::Timer(database, millis)));
            Reply::out("change of election timer initiated.\n")
        }
        (other, _) => refused(&format!("\"{other}\" is not a valid command")),
    }
}

fn cluster_status(world: &World, database: Database, member: &str, own: &Server) -> String {
    let raft = world.ovn.raft(database);
    let (name, port, cluster) = match database {
        Database::Northbound => ("OVN_Northbound", 6643, "c7a4"),
        Database::Southbound => ("OVN_Southbound", 6644, "c88c"),
    };
    let address = |m: &str| {
        format!(
            "ssl:{}:{port}",
            world.members.get(m).map_or("", |m| m.address.as_str())
        )
    };
    let leads = raft.leader.as_deref() == Some(member);
    let leader = match &raft.leader {
        Some(_) if leads => "self".to_owned(),
        Some(leader) if own.joined => raft
            .servers
            .get(leader)
            .map_or_else(String::new, |s| s.id.clone()),
        _ => "unknown".to_owned(),
    };
    let cut_off = world.ovn.faults.lost_servers.contains(member) && !own.joined;
    let status = if cut_off {
        "disconnected from the cluster (election timeout)"
    } else {
        "cluster member"
    };
    let elected = if leads {
        let ago = world.now - raft.elected_at + 34_922;
        format!(
            "Last Election started {ago} ms ago, reason: timeout\nLast Election won: {ago} ms ago\n"
        )
    } else {
        String::new()
    };
    let pending = world
        .ovn
        .faults
        .uncommitted
        .get(member)
        .copied()
        .unwrap_or(0);
    let (id, vote) = (&own.id, if leads { "self" } else { "unknown" });
    let role = if leads { "leader" } else { "follower" };
    format!(
        "{id}\nName: {name}\nCluster ID: {cluster} ({cluster}d76e-ab09-4eb4-a44b-769a26e5c1fc)\nServer ID: {id} ({id}2d6e-ab09-4eb4-a44b-769a26e5c1fc)\n\
         Address: {}\nStatus: {status}\nRole: {role}\nTerm: {}\nLeader: {leader}\nVote: {vote}\n\n{elected}Election timer: {}\nLog: [2, 12]\n\
         Entries not yet committed: {pending}\nEntries not yet applied: 0\nConnections: {}\nDisconnections: 0\nServers:\n{}",
        address(member),
        raft.term,
        raft.election_timer,
        connections(world, raft, member, own),
        servers(world, raft, member, own, &address),
    )
}

fn connected(world: &World, raft: &Raft, a: &str, b: &str) -> bool {
    let fine = |m: &str| raft.servers.get(m).is_some_and(|s| s.joined) && world.answers(m);
    fine(a) && fine(b)
}

fn connections(world: &World, raft: &Raft, member: &str, own: &Server) -> String {
    let others = raft.servers.iter().filter(|(name, _)| *name != member);
    let lines: Vec<String> = others
        .map(|(name, server)| {
            let id = &server.id;
            if own.joined && connected(world, raft, member, name) {
                format!("<-{id} ->{id}")
            } else {
                format!("(->{id})")
            }
        })
        .collect();
    lines.join(" ")
}

fn servers(
    world: &World,
    raft: &Raft,
    member: &str,
    own: &Server,
    address: &dyn Fn(&str) -> String,
) -> String {
    let leads = raft.leader.as_deref() == Some(member);
    let line = |(name, server): (&String, &Server)| {
        let id = &server.id;
        let ago = server
            .silent_since
            .map_or(320, |since| world.now - since + 320);
        let tail = match (name == member, leads) {
            (true, true) => " (self) next_index=2 match_index=11".to_owned(),
            (true, false) => " (self)".to_owned(),
            (false, true) => format!(" next_index=12 match_index=11 last msg {ago} ms ago"),
            (false, false) if own.joined && raft.leader.as_ref() == Some(name) => {
                format!(" last msg {ago} ms ago")
            }
            (false, false) => String::new(),
        };
        format!("    {id} ({id} at {}){tail}\n", address(name))
    };
    raft.servers.iter().map(line).collect()
}
