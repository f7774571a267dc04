//! Each shipped row of what is known to go wrong, and of what goes together, is met in one rehearsal and not in another.

use lockstep_tests::Bench;
use lockstep_tests::hazards::{Case, shipped, table};
use lockstep_twin::Scenario;
use serde_json::{Value, json};

/// The channels that a new cluster follows.
const FOLLOWED: [(&str, &str); 4] = [
    ("microceph", "squid/stable"),
    ("microovn", "24.03/stable"),
    ("lxd", "5.21/stable"),
    ("microcloud", "2/stable"),
];

/// What a check of the preflight comes to.
fn check(name: &str, case: &Case) -> Value {
    let (snap, channel, version) = case.gets;
    let scenario = Scenario {
        updates: false,
        ..toml::from_str(case.there).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let follows = FOLLOWED.iter().find(|(of, _)| *of == snap).unwrap().1;
    let runs = case.runs.iter().find(|(of, _)| *of == snap);
    // A component that runs what is in the channel already is refreshed in it.
    let within = follows == channel || runs.is_some_and(|(_, runs)| runs[..2] == version[..2]);
    let params = if within {
        json!({"only": [snap]})
    } else {
        json!({snap: channel})
    };
    let mut bench = Bench::shipped("preflight", &scenario, &params);
    let world = &mut bench.world;
    let mut release = world.store.releases[snap][0].clone();
    release.revision = 9000;
    version.clone_into(&mut release.version);
    if within {
        for member in scenario.names() {
            world.track(&member, snap, channel);
        }
    }
    world.store.publish(snap, channel, release);
    for (snap, version) in case.runs {
        for member in scenario.names() {
            world.set_version(&member, snap, version);
        }
    }
    let report = bench.run().done();
    let checks = report["checks"].as_array().unwrap();
    let found = checks.iter().find(|c| c["name"] == name);
    found
        .unwrap_or_else(|| panic!("there is no check {name}"))
        .clone()
}

#[test]
fn every_shipped_row_is_met_in_one_rehearsal_and_not_in_another() {
    let (table, rows) = (table(), shipped());
    let names: Vec<&str> = table.iter().map(|(name, ..)| *name).collect();
    let shipped: Vec<&str> = rows
        .iter()
        .map(|row| row["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names, shipped,
        "each shipped row has its rehearsals, in order"
    );
    for (name, met, unmet) in &table {
        let (fails, passes) = (check(name, met), check(name, unmet));
        assert_eq!(fails["verdict"], "fail", "{name}: {fails}");
        assert_eq!(passes["verdict"], "pass", "{name}: {passes}");
    }
}
