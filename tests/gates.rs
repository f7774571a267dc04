//! Gates that get no answer, or one that can't be read: that is no yes.

use lockstep_tests::Bench;
use lockstep_twin::Broken;

const BROKEN: [Broken; 5] = [
    Broken::Garbage,
    Broken::Nothing,
    Broken::TooMuch,
    Broken::Fails,
    Broken::Never,
];

/// A playbook's one step is held while any of the commands it goes by is broken, whichever way; it has changed nothing, and
/// is done when the commands are whole again.
fn needs_to_know(step: &str, commands: &[&str]) {
    for command in commands {
        for broken in BROKEN {
            let mut bench = Bench::playing(&format!("return {step}"), 3);
            let settings = bench.world.settings();
            bench.world.break_program(command, broken);
            let held = bench.run().held();
            assert!(
                !held.failure.message.is_empty(),
                "{step} with {command} {broken:?}"
            );
            assert_eq!(
                bench.world.settings(),
                settings,
                "{step} with {command} {broken:?}"
            );
            bench.world.mend_programs();
            bench.resume().done();
        }
    }
}

const STORAGE: [&str; 6] = [
    " -s -f", "mon dump", "mgr stat", "mds stat", "osd dump", "osd tree",
];

#[test]
fn storage_before_a_member() {
    needs_to_know(r#"microceph.spare { member = "micro02" }"#, &STORAGE);
    needs_to_know(r#"microceph.spare { member = "micro02" }"#, &["ok-to-stop"]);
    needs_to_know("microceph.baseline {}", &STORAGE);
    needs_to_know(
        "microceph.baseline {}",
        &["ceph --connect-timeout 15 versions", "ok-to-stop"],
    );
    needs_to_know("microceph.order { members = cluster.members }", &STORAGE);
}

#[test]
fn storage_behind_a_member() {
    let wait =
        r#"microceph.wait { member = "micro02", since = microceph.baseline {}, samples = 1 }"#;
    needs_to_know(
        wait,
        &[
            "microceph.ceph -v",
            "osd metadata",
            "mon metadata",
            "microceph cluster list",
        ],
    );
    needs_to_know(
        r#"microceph.wait { member = "micro02", samples = 1 }"#,
        &STORAGE,
    );
    needs_to_know(
        "microceph.wait { samples = 1 }",
        &["microceph cluster list"],
    );
    needs_to_know(
        "microceph.finish { since = microceph.baseline {}, samples = 1 }",
        &["microceph cluster list"],
    );
}

#[test]
fn a_flag_is_not_set_on_a_cluster_that_nobody_can_see() {
    needs_to_know(
        r#"microceph.noout { member = "micro02", on = true }.changed and {} or {}"#,
        &["osd dump", "osd tree"],
    );
}

#[test]
fn network_before_and_behind_a_member() {
    needs_to_know(
        r#"microovn.spare { member = "micro02" }"#,
        &[
            "cluster/status OVN_Northbound",
            "cluster/status OVN_Southbound",
        ],
    );
    needs_to_know(
        r#"microovn.wait { member = "micro02", samples = 1 }"#,
        &[
            "cluster/status OVN_Northbound",
            "cluster/status OVN_Southbound",
            "microovn cluster list",
        ],
    );
    needs_to_know(
        "microovn.wait { samples = 1 }",
        &["microovn cluster list", "microovn status"],
    );
}

#[test]
fn a_refresh_isn_t_begun_where_its_guard_can_t_see() {
    for (snap, command) in [("microceph", "osd tree"), ("microovn", "cluster/status")] {
        for broken in BROKEN {
            let step = format!(r#"snap.refresh {{ member = "micro03", snap = "{snap}" }}"#);
            let mut bench = Bench::playing(&step, 3);
            bench.world.break_program(command, broken);
            bench.run().held();
            assert!(
                bench.refreshes().is_empty(),
                "{snap} with {command} {broken:?}"
            );
            bench.world.mend_programs();
            bench.resume().done();
        }
    }
}
