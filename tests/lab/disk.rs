//! A real disk that is full.

use std::path::Path;

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::{Ran, as_root};

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
