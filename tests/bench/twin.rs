//! Without a cluster: plans, rehearsals, checks, and lists of runs.

use lockstep_tests::desk::Desk;

use crate::figures::{Figure, seconds, seconds_and_memory};

const ROUNDS: usize = 5;

/// How many runs are listed.
const RUNS: usize = 2000;

/// What is typed.
const COMMANDS: [(&str, &[&str]); 5] = [
    ("start", &["--version"]),
    ("plan of 4", &["plan", "update", "--cluster", "twin:4"]),
    ("plan of 50", &["plan", "update", "--cluster", "twin:50"]),
    (
        "rehearsed upgrade of 50",
        &[
            "rehearse",
            "upgrade",
            "--to",
            "3",
            "--cluster",
            "twin:50",
            "--accept",
            "microcloud-3-in-production",
        ],
    ),
    (
        "check, 200 random tries, 4 members",
        &[
            "check",
            "update",
            "--members",
            "4",
            "--tries",
            "200",
            "--no-kills",
        ],
    ),
];

pub(crate) fn figures() -> Vec<Figure> {
    let mut figures = Vec::new();
    // Deleted at the end: where files were deleted a moment ago, ext4 is slow to make others.
    let mut desks = Vec::new();
    for (what, args) in COMMANDS {
        let measured = (0..ROUNDS).map(|_| {
            let desk = Desk::new();
            let measured = seconds_and_memory(&mut desk.command(args));
            desks.push(desk);
            measured
        });
        figures.extend(both(what, measured.collect()));
    }
    let desk = desk_of_runs();
    let list = (0..ROUNDS).map(|_| seconds_and_memory(&mut desk.command(&["runs"])));
    figures.extend(both(&format!("list of {RUNS} runs"), list.collect()));
    figures
}

fn both(what: &str, measured: Vec<(f64, f64)>) -> [Figure; 2] {
    let (times, sizes) = measured.into_iter().unzip();
    [
        Figure::alone(what, "s", times),
        Figure::alone(format!("{what}: memory"), "MiB", sizes),
    ]
}

/// A state folder with many runs: one, copied.
fn desk_of_runs() -> Desk {
    let desk = Desk::new();
    let update = ["rehearse", "update", "--only", "lxd", "--yes"];
    let _ = seconds(&mut desk.command(&update));
    let first = desk.path("state/runs/update-1");
    for number in 2..=RUNS {
        let copy = desk.path(&format!("state/runs/update-{number}"));
        let copied = std::process::Command::new("cp")
            .arg("-r")
            .arg(&first)
            .arg(copy)
            .status();
        assert!(copied.unwrap().success());
    }
    desk
}
