//! OVN: the raft of servers behind each of its two databases, and what becomes of them by themselves.

mod appctl;
mod certificates;
mod faults;
mod placement;
mod schema;
pub(crate) mod state;
#[cfg(test)]
mod tests;
mod watch;

use crate::product::Product;
use crate::world::{Due, World};
pub(crate) use appctl::{appctl, sbctl};
pub(crate) use certificates::{certificates, openssl};
use schema::expect_conversion;
pub(crate) use schema::status;
use state::DATABASES;
pub(crate) use state::{Database, Event, Ovn, Server};

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
        world.daemon_stops(self.snap(), member);
        stop(world, member);
    }

    fn start(&self, world: &mut World, member: &str) {
        world.daemon_starts(self.snap(), member);
        start(world, member);
    }

    fn ready(&self, world: &mut World) {
        expect_conversion(world);
    }

    fn link_changed(&self, world: &mut World, member: &str) {
        link_changed(world, member);
    }
}

/// From the start of a server to its being connected to all others, in milliseconds.
const JOINS: u64 = 2000;
/// An election takes about so long.
const ELECTION: u64 = 1000;

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
