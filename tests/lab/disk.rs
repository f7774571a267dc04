//! A real disk that is full.

use std::path::Path;

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::{Ran, as_root, write};

#[test]
fn a_full_disk_stops_a_run_that_continues_when_there_is_room() {
    let desk = Desk::new();
    let state = desk.path("full");
    std::fs::create_dir(&state).unwrap();
    // In a mount namespace of its own, the state folder is a disk of 150 KiB; what was written is copied out.
    let lockstep = lockstep();
    let script = format!(
        "mount -t tmpfs -o size=150k,mode=777 none {0} && {{ {lockstep} update --cluster twin:3 --state {0} --only microceph; code=$?; cp -r {0} {0}.kept; exit $code; }}",
        state.display()
    );
    let ran = Ran::of(
        as_root(Path::new("unshare"))
            .args(["--mount", "sh", "-c", &script])
            .output()
            .unwrap(),
    );
    assert_eq!(ran.code, Some(7), "{ran:?}");
    assert!(
        ran.stderr.contains("can't be written") && ran.stderr.contains("No space left on device"),
        "{}",
        ran.stderr
    );
    let kept = format!("{}.kept", state.display());
    let resumed = desk.run(&["resume", "update-1", "--state", &kept]);
    // The simulated cluster lies on the same full disk: it is as old as its last copy, which a real one never is.
    assert!(matches!(resumed.code, Some(0 | 4 | 5)), "{resumed:?}");
}

#[test]
fn a_rollout_that_filled_its_disk_continues_when_there_is_room() {
    let desk = Desk::new();
    write(
        &desk.path("fleet.toml"),
        "name = \"retail\"\nclusters = [\n  { name = \"berlin\", file = \"twin:3\" },\n  { name = \"paris\", file = \"twin:3\" },\n]\n[[rollout.rings]]\nname = \"all\"\nlimit = 2\n",
    );
    write(
        &desk.path("ops.lua"),
        "return { api = 1, run = function(cluster) each(cluster.members, function(m) snap.info { member = m, snap = \"lxd\" } end) end }",
    );
    let state = desk.path("full");
    std::fs::create_dir(&state).unwrap();
    let lockstep = lockstep();
    // Wherever it is that there is no more room: at a cluster's first file, at its journal's first record, or later.
    let mut filled = 0;
    for kib in (24..=88).step_by(8) {
        let script = format!(
            "mount -t tmpfs -o size={kib}k,mode=777 none {0} && {{ {lockstep} fleet rollout ops.lua --yes --state {0}; code=$?; [ $code = 4 ] || exit $code; mount -o remount,size=10m {0} && {lockstep} fleet continue --yes --state {0} && exit 10; }}",
            state.display()
        );
        let ran = Ran::of(
            as_root(Path::new("unshare"))
                .args(["--mount", "sh", "-c", &script])
                .current_dir(desk.path("."))
                .output()
                .unwrap(),
        );
        assert!(matches!(ran.code, Some(0 | 10)), "{kib} KiB: {ran:?}");
        filled += u32::from(ran.code == Some(10));
    }
    assert!(filled > 3, "{filled} disks were filled");
}
