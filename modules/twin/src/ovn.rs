//! OVN: the raft of servers behind each of its two databases, and what becomes of them by themselves.

mod appctl;
mod certificates;
mod faults;
mod placement;
mod schema;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::microcluster;
use crate::product::Product;
use crate::world::{Due, World};
pub(crate) use appctl::{appctl, sbctl};
pub(crate) use certificates::{certificates, openssl};
use schema::expect_conversion;
pub(crate) use schema::status;

pub(crate) struct MicroOvn;

impl Product for MicroOvn {
    fn snap(&self) -> &'static str {
        "microovn"
    }

    fn stops_in(&self) -> u64 {
        450
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["ovn-nbctl", "ovn-sbctl", "ovs-vsctl"]
    }

    fn services(&self) -> &'static [&'static str] {
        &[
            "chassis",
            "ovn-northd",
            "ovn-ovsdb-server-nb",
            "ovn-ovsdb-server-sb",
            "switch",
        ]
    }

    fn places(&self, world: &World, member: &str, service: &str) -> bool {
        !service.starts_with("ovn-") || world.ovn.northbound.servers.contains_key(member)
    }

    fn stop(&self, world: &mut World, member: &str) {
        microcluster::stop(world, self.snap(), member);
        stop(world, member);
    }

    fn start(&self, world: &mut World, member: &str) {
        microcluster::start(world, self.snap(), member);
        start(world, member);
    }

    fn ready(&self, world: &mut World) {
        expect_conversion(world);
    }

    fn link_changed(&self, world: &mut World, member: &str) {
        link_changed(world, member);
    }
}

/// The network's databases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ovn {
    pub(crate) northbound: Raft,
    pub(crate) southbound: Raft,
    /// The schemas that the databases have now.
    schemas: (String, String),
    /// A conversion is waited for.
    converting: bool,
    faults: faults::Faults,
    #[serde(default)]
    certificates: certificates::Dates,
}

/// A database's servers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Raft {
    pub(crate) servers: BTreeMap<String, Server>,
    pub(crate) leader: Option<String>,
    term: u64,
    /// Milliseconds without a leader after which an election begins.
    election_timer: u64,
    elected_at: u64,
}

/// A server: its short id, and whether it runs and has joined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    id: String,
    running: bool,
    pub(crate) joined: bool,
    /// When the others last heard of it, if that is over.
    silent_since: Option<u64>,
}

/// One of the two databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Database {
    Northbound,
    Southbound,
}

const DATABASES: [Database; 2] = [Database::Northbound, Database::Southbound];

/// What happens by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// A server that was started has joined the others.
    Joins(String),
    /// Nobody has heard of a leader for longer than the election timer.
    Election(Database),
    /// The servers have agreed on another election timer.
    Timer(Database, u64),
    /// The daemon that leads conversions looks whether one is due.
    Convert,
}

/// From the start of a server to its being connected to all others, in milliseconds.
const JOINS: u64 = 2000;
/// An election takes about so long.
const ELECTION: u64 = 1000;

impl Ovn {
    fn raft(&self, database: Database) -> &Raft {
        match database {
            Database::Northbound => &self.northbound,
            Database::Southbound => &self.southbound,
        }
    }

    fn raft_mut(&mut self, database: Database) -> &mut Raft {
        match database {
            Database::Northbound => &mut self.northbound,
            Database::Southbound => &mut self.southbound,
        }
    }

    /// The databases' election timers, in milliseconds.
    pub(crate) fn timers(&self) -> [(Database, u64); 2] {
        DATABASES.map(|database| (database, self.raft(database).election_timer))
    }
}

fn stop(world: &mut World, member: &str) {
    watch::on_stop(world, member);
    stop_servers(world, member);
}

fn stop_servers(world: &mut World, member: &str) {
    let now = world.now;
    for database in DATABASES {
        let raft = world.ovn.raft_mut(database);
        if let Some(server) = raft.servers.get_mut(member) {
            server.running = false;
            server.joined = false;
            server.silent_since = Some(now);
        }
        // There is no hand-over: the database has no leader until the election timer has run out.
        if raft.leader.as_deref() == Some(member) {
            raft.leader = None;
            let after = raft.election_timer + ELECTION;
            world.schedule(after, Due::Ovn(Event::Election(database)));
        }
    }
}

fn start(world: &mut World, member: &str) {
    for database in DATABASES {
        if let Some(server) = world.ovn.raft_mut(database).servers.get_mut(member) {
            server.running = true;
        }
    }
    world.schedule(JOINS, Due::Ovn(Event::Joins(member.to_owned())));
}

fn link_changed(world: &mut World, member: &str) {
    let (answers, now) = (world.answers(member), world.now);
    for database in DATABASES {
        let raft = world.ovn.raft_mut(database);
        if let Some(server) = raft.servers.get_mut(member).filter(|server| server.joined) {
            server.silent_since = (!answers).then_some(now);
        }
        // A leader that is gone is missed; who comes back may make a majority again.
        if (!answers && raft.leader.as_deref() == Some(member))
            || (answers && raft.leader.is_none())
        {
            let after = raft.election_timer + ELECTION;
            world.schedule(after, Due::Ovn(Event::Election(database)));
        }
    }
}

pub(crate) fn happen(world: &mut World, event: Event) {
    match event {
        Event::Joins(member) => joins(world, &member),
        Event::Election(database) => elect(world, database),
        Event::Timer(database, millis) => world.ovn.raft_mut(database).election_timer = millis,
        Event::Convert => schema::convert(world),
    }
}

fn joins(world: &mut World, member: &str) {
    if world.ovn.faults.lost_servers.contains(member) {
        return;
    }
    for database in DATABASES {
        let raft = world.ovn.raft_mut(database);
        if let Some(server) = raft.servers.get_mut(member).filter(|server| server.running) {
            server.joined = true;
            server.silent_since = None;
        }
        if raft.leader.is_none() {
            let after = raft.election_timer + ELECTION;
            world.schedule(after, Due::Ovn(Event::Election(database)));
        }
    }
}

/// A leader that nobody hears of is replaced, if enough servers hear of each other.
fn elect(world: &mut World, database: Database) {
    let raft = world.ovn.raft(database);
    let able = |(member, server): &(&String, &Server)| server.joined && world.answers(member);
    let able: Vec<String> = raft
        .servers
        .iter()
        .filter(able)
        .map(|(member, _)| member.clone())
        .collect();
    let stays = raft
        .leader
        .as_ref()
        .is_some_and(|leader| able.contains(leader));
    if stays {
        return;
    }
    let (now, enough) = (world.now, 2 * able.len() > raft.servers.len());
    let raft = world.ovn.raft_mut(database);
    raft.leader = able.into_iter().next().filter(|_| enough);
    if raft.leader.is_some() {
        raft.term += 1;
        raft.elected_at = now;
    }
}
