//! The schemas of OVN's databases, their conversion, and what `microovn status` tells of it.

use super::state::Event;
use crate::dialects::Trait;
use crate::microcluster::state::{Daemon, Row};
use crate::world::{Due, World};

/// From the moment when all members expect the new schema to its being there, in milliseconds.
const CONVERSION: u64 = 3000;
/// Between two looks of the daemon that leads the conversion (`ovn/ovsdb/ovsdb.go`).
const LOOK: u64 = 2000;

/// The schemas that all members' releases expect, if they agree and all can be asked.
fn common_expectation(world: &World) -> Option<(String, String)> {
    let micro = world.micro.get("microovn")?;
    let ready = |(name, row): (&String, &Row)| row.daemon == Daemon::Ready && world.answers(name);
    if !micro.rows.iter().all(ready) {
        return None;
    }
    // A release of before has no such question among its API.
    if !micro.rows.keys().all(|m| world.has(m, Trait::OvnSchemas)) {
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

/// A daemon is ready: the one with the lowest id begins to look whether the databases need another schema.
pub(crate) fn expect_conversion(world: &mut World) {
    if !world.ovn.converting {
        world.ovn.converting = true;
        world.schedule(CONVERSION, Due::Ovn(Event::Convert));
    }
}

/// It looks again and again while somebody can't be asked or expects something else. A conversion that fails is not tried
/// again before the daemon's next start.
pub(super) fn convert(world: &mut World) {
    world.ovn.converting = false;
    let any_ready = world
        .micro
        .get("microovn")
        .is_some_and(|m| m.rows.values().any(|row| row.daemon == Daemon::Ready));
    match common_expectation(world) {
        Some(expected) if expected == world.ovn.schemas => {}
        Some(expected) if !world.ovn.faults.conversion_fails => world.ovn.schemas = expected,
        None if any_ready => {
            world.ovn.converting = true;
            world.schedule(LOOK, Due::Ovn(Event::Convert));
        }
        Some(_) | None => {}
    }
}

/// `microovn status` on a member, whose daemon is ready.
pub(crate) fn status(world: &World, member: &str) -> String {
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
    if !world.has(member, Trait::OvnSchemas) {
        return text;
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
        let reports = micro.rows.iter().map(|(name, row)| {
            let expected = world
                .release(name, "microovn")
                .and_then(|r| r.ovn.as_ref())
                .map(|pair| side(pair, north));
            let answers =
                world.answers(name) && !matches!(row.daemon, Daemon::Down | Daemon::Crashing);
            let report = match expected {
                Some(expected) if answers && world.has(name, Trait::OvnSchemas) => expected,
                Some(_) if answers => "Missing API. MicroOVN needs upgrade".to_owned(),
                _ => "Error. Failed to contact member".to_owned(),
            };
            (name.clone(), report)
        });
        let reports: Vec<(String, String)> = reports.collect();
        if reports.iter().all(|(_, expected)| *expected == active) {
            text.push_str(&format!("{title}: OK ({active})\n"));
            continue;
        }
        text.push_str(&format!(
            "{title}: Upgrade or attention required!\nCurrently active schema: {active}\nCluster report (expected schema versions):\n"
        ));
        for (name, expected) in reports {
            text.push_str(&format!("\t{name}: {expected}\n"));
        }
        text.push('\n');
    }
    if world.has(member, Trait::OvnDates) {
        text.push_str(&super::certificates::expired(world, member));
    }
    text
}
