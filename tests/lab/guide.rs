//! An upgrade over the real client and server.

use lockstep_tests::assert_follows;
use lockstep_tests::lab::SshLab;
use lockstep_twin::{Scenario, Set};

#[test]
fn the_upgrade_to_lts_goes_through_the_real_client_and_server() {
    let scenario = Scenario {
        microcloud: Set::One,
        updates: false,
        ..Scenario::of(3)
    };
    let lab = SshLab::up(&scenario);
    let out = lab.run(&["upgrade", "--to", "2", "--yes", "-p", "looks=1"]);
    let out = out.exits(0);
    assert!(out.contains("upgrade-1: done"), "{out}");
    let lts = ["squid/stable", "24.03/stable", "5.21/stable", "2/stable"];
    assert_follows(&lab.world(), lts);
    assert_eq!(lab.world().violations(), []);
}
