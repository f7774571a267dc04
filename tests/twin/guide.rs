//! The guide's whole upgrade: from MicroCloud 1, however it was installed, to the LTS release, and from there to the feature
//! release.

use lockstep_tests::{Bench, assert_follows};
use lockstep_twin::{Scenario, Set, World};
use serde_json::{Value, json};

/// An upgrade of this cluster; it keeps every rule, and the cluster that it leaves.
fn upgraded(world: World, scenario: &Scenario, params: &Value) -> World {
    let mut bench = Bench::shipped("upgrade", scenario, params);
    bench.world = world;
    bench.run().done();
    assert_eq!(bench.world.violations(), []);
    bench.world.clone()
}

#[test]
fn microcloud_1_comes_to_lts_and_then_to_the_feature_release() {
    for members in [1, 3, 5] {
        let scenario = Scenario {
            microcloud: Set::One,
            updates: false,
            ..Scenario::of(members)
        };
        let two = json!({"to": "2", "looks": 1, "downtime": true});
        let world = upgraded(scenario.build(), &scenario, &two);
        assert_follows(
            &world,
            ["squid/stable", "24.03/stable", "5.21/stable", "2/stable"],
        );
        let accept = ["microcloud-3-in-production"];
        let three = json!({"to": "3", "looks": 1, "downtime": true, "accept": accept});
        let world = upgraded(world, &scenario, &three);
        assert_follows(
            &world,
            ["squid/stable", "24.03/stable", "6/stable", "3/stable"],
        );
    }
}

#[test]
fn microcloud_1_from_latest_comes_to_lts_but_for_lxd() {
    for members in [1, 3, 5] {
        let scenario = Scenario {
            microcloud: Set::OneLatest,
            updates: false,
            ..Scenario::of(members)
        };
        let two = json!({"to": "2", "skip": ["lxd"], "looks": 1, "downtime": true});
        let world = upgraded(scenario.build(), &scenario, &two);
        assert_follows(
            &world,
            ["squid/stable", "24.03/stable", "latest/stable", "2/stable"],
        );
    }
}
