//! Plans: that making one changes nothing, that a run does what was planned, and what can't be planned is reported. And
//! rehearsals.

use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{read, write};
use lockstep_tests::planned;
use serde_json::Value;

#[test]
fn what_nobody_can_know_is_shown() {
    let desk = Desk::new();
    let text = |looking: &str, plan: &str| {
        format!(
            r#"return {{ api = 1, run = function(cluster)
    local r = exec {{ member = "micro01", argv = {{ "/usr/local/bin/lbctl", "drain" }}, effect = "converge"{plan} }}
    snap.hold {{ member = "micro01", snap = "lxd" }}
    {looking}
    snap.hold {{ member = "micro02", snap = "lxd" }}
end }}"#
        )
    };
    let plan = ["plan", "site.lua", "--cluster", "twin:2", "--json"];
    // Passing over a result is fine.
    write(&desk.path("site.lua"), &text("", ""));
    let whole = desk.json(&plan);
    assert_eq!(whole["end"], "done");
    assert_eq!(planned(&whole), ["exec#1", "snap.hold#1", "snap.hold#2"]);
    // Looking at it is where the plan ends.
    write(
        &desk.path("site.lua"),
        &text("if r.code == 3 then return end", ""),
    );
    let open = desk.json(&plan);
    assert_eq!(planned(&open), ["exec#1", "snap.hold#1"]);
    assert_eq!(open["end"]["open"]["site"], "site.lua:4");
    let shown = desk.run(&plan[..4]).exits(0);
    assert!(
        shown.contains("The plan is exact up to site.lua:4"),
        "{shown}"
    );
    assert!(shown.contains("lbctl"), "{shown}");
    // The author may say what to expect.
    write(
        &desk.path("site.lua"),
        &text(
            "if r.code == 3 then return end",
            ", plan = { code = 3 }, allow = { 3 }",
        ),
    );
    let reported = desk.json(&plan);
    assert_eq!(reported["end"], "done");
    assert_eq!(planned(&reported), ["exec#1", "snap.hold#1"]);
}

#[test]
fn questions_that_will_be_asked_are_part_of_the_plan() {
    let desk = Desk::new();
    let plan = desk.run(&[
        "plan",
        "update",
        "--cluster",
        "twin:1",
        "-p",
        "only=microceph",
    ]);
    let plan = plan.exits(0);
    assert!(
        plan.contains("confirm MicroCeph will stop while members are refreshed"),
        "{plan}"
    );
}

#[test]
fn a_step_outside_the_plan_holds_the_run() {
    let desk = Desk::new();
    let text = |snap: &str| {
        format!(
            r#"return {{ api = 1, params = {{ snap = {{ type = "string", default = "{snap}" }} }}, run = function(cluster, p)
    snap.hold {{ member = "micro01", snap = p.snap }}
end }}"#
        )
    };
    write(&desk.path("site.lua"), &text("lxd"));
    let cluster = ["--cluster", "twin:2"];
    let _ = desk
        .run(&[&["plan", "site.lua", "-o", "plan.json"], &cluster[..]].concat())
        .exits(0);
    let run = |plan: &str| desk.run(&[&["run", "site.lua", "--plan", plan], &cluster[..]].concat());
    let _ = run("plan.json").exits(0);

    let plan = read(&desk.path("plan.json"));
    write(
        &desk.path("less.json"),
        &plan.replace("snap.hold#1", "snap.hold#7"),
    );
    let held = run("less.json").exits(3);
    assert!(held.contains("this step isn't in the plan"), "{held}");
    write(
        &desk.path("other.json"),
        &plan.replace(r#""snap": "lxd""#, r#""snap": "microovn""#),
    );
    let other = run("other.json");
    assert!(
        other.stderr.contains(
            r#"it was made with other parameters: snap is "microovn" in the plan and "lxd" here"#
        ),
        "{}",
        other.stderr
    );
    // What is not in the plan can be done all the same, if somebody says so.
    let _ = desk
        .run(&["resume", "site-2", "--retry", "snap.hold#1"])
        .exits(0);
}

#[test]
fn the_command_that_a_plan_prints_runs_it() {
    let desk = Desk::new();
    let accept = "microcloud-3-in-production,lxd-6-tracking";
    let plan = [
        "plan",
        "upgrade",
        "--to",
        "3",
        "--accept",
        accept,
        "-p",
        "looks=1",
        "--cluster",
        "twin:1",
        "--downtime",
    ];
    let out = desk
        .run(&[&plan[..], &["-o", "up's plan"]].concat())
        .exits(0);
    let printed = out
        .lines()
        .find_map(|line| line.strip_prefix("To run exactly this plan: lockstep "));
    let printed = printed.unwrap_or_else(|| panic!("{out}"));
    assert!(printed.ends_with(r"--plan 'up'\''s plan'"), "{printed}");
    let words = printed.replace(r"'up'\''s plan'", "up's_plan");
    let words: Vec<String> = words
        .split(' ')
        .map(|word| word.replace("s_plan", "s plan"))
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let _ = desk.run(&words).exits(0);
    let other = desk.run(&[
        "run",
        "upgrade",
        "--to",
        "2",
        "--cluster",
        "twin:1",
        "--plan",
        "up's plan",
    ]);
    let reported = r#"to is "3" in the plan and "2" here"#;
    assert!(other.stderr.contains(reported), "{}", other.stderr);
}

#[test]
fn a_plan_that_is_not_for_this_run_is_refused() {
    let desk = Desk::new();
    let _ = desk
        .run(&["plan", "update", "--cluster", "twin:2", "-o", "plan.json"])
        .exits(0);
    let plan = read(&desk.path("plan.json"));
    let mut logged = Vec::new();
    let mut refuse = |name: &str, text: &str, cluster: &str| {
        write(&desk.path(name), text);
        let ran = desk.run(&["update", "--cluster", cluster, "--plan", name]);
        logged.push(ran.stderr.clone());
        let _ = ran.exits(2);
    };
    refuse(
        "version.json",
        &plan.replace(r#""format": 1"#, r#""format": 9"#),
        "twin:2",
    );
    refuse("cluster.json", &plan, "twin:3");
    refuse(
        "playbook.json",
        &plan.replace(r#""playbook": "update""#, r#""playbook": "upgrade""#),
        "twin:2",
    );
    let digest = plan.split(r#""flow": ""#).nth(1).unwrap().get(..8).unwrap();
    refuse("source.json", &plan.replace(digest, "00000000"), "twin:2");
    // After this the length of a time stamp may differ.
    refuse("torn.json", &plan[..5000], "twin:2");
    refuse(
        "key.json",
        &plan.replacen(r#""cluster":"#, r#""clutser":"#, 1),
        "twin:2",
    );
    assert_eq!(
        desk.run(&["runs"]).exits(0).lines().count(),
        1,
        "no run was begun"
    );
    insta::assert_snapshot!(logged.join("\n"));
}

#[test]
fn a_rehearsal_is_held_cleared_and_resumed() {
    let desk = Desk::new();
    let held = desk
        .run(&[
            "rehearse",
            "update",
            "--members",
            "3",
            "-p",
            "looks=1",
            "--fault",
            "refresh-fails:lxd,micro02",
        ])
        .exits(4);
    assert!(held.contains("micro02"), "{held}");
    assert!(held.contains("lockstep resume update-1 --mend"), "{held}");
    // Nothing is fixed yet.
    let _ = desk.run(&["resume", "update-1"]).exits(4);
    let done = desk.run(&["resume", "update-1", "--mend"]).exits(0);
    assert!(done.contains("update-1: done"), "{done}");
}

/// `--cluster` is an option of every command: it means the same everywhere.
#[test]
fn a_simulated_cluster_may_be_named_as_one() {
    let desk = Desk::new();
    for members in ["2", "4@1"] {
        let cluster = format!("twin:{members}");
        let play = |flag: &str, of: &str| {
            let named = [flag, of, "--downtime", "--only", "lxd"];
            desk.run(&[&["rehearse", "update"][..], &named].concat())
                .exits(0)
        };
        let without_number = |text: String| {
            text.lines()
                .skip_while(|l| !l.contains(": done"))
                .skip(1)
                .collect::<Vec<_>>()
                .join("\n")
        };
        let (by_cluster, by_members) = (play("--cluster", &cluster), play("--members", members));
        assert_eq!(without_number(by_cluster), without_number(by_members));
    }
    let text = "return { api = 1, run = function(cluster) rolling(cluster.members, function(member)
        snap.info { member = member, snap = 'lxd' } end) end }";
    write(&desk.path("site.lua"), text);
    let checked = |flag: &str, of: &str| {
        let args = ["check", "site.lua", flag, of, "--tries", "0"];
        desk.run(&args).exits(0)
    };
    assert_eq!(checked("--cluster", "twin:1"), checked("--members", "1"));
    assert_ne!(checked("--cluster", "twin:1"), checked("--members", "3"));
    let file = [
        "rehearse",
        "update",
        "--cluster",
        "site.toml",
        "--only",
        "lxd",
    ];
    let said = desk.run(&file).stderr;
    assert!(said.contains("site.toml isn't played"), "{said}");
    assert!(said.contains("--like site.toml"), "{said}");
    let refused = desk.run(&["rehearse", "update", "--cluster", "twin:77"]);
    assert!(refused.stderr.contains("1 to 50 members"), "{refused:?}");
    let _ = refused.exits(2);
}

#[test]
fn mistakes_in_a_rehearsal_are_named() {
    let desk = Desk::new();
    let mut logged = Vec::new();
    let mut refuse = |args: &[&str]| {
        let ran = desk.run(&[&["rehearse", "update"], args].concat());
        logged.push(format!(
            "$ rehearse update {}\n{}",
            args.join(" "),
            ran.stderr
        ));
        let _ = ran.exits(2);
    };
    for fault in [
        "cutt:micro01",
        "cut:micro09",
        "cut",
        "refresh-fails:lxc,micro01",
        "osd-lost:77",
        "cut:micro01@soon",
        "cut:micro01@lxd/micro7",
    ] {
        refuse(&["--fault", fault]);
    }
    let scenarios = [
        "mebmers = 3\n",
        "members = 51\n",
        "members = 3\n[storage]\nmonitors = [\"micro04\"]\n",
        "members = 3\n[network]\nnorthbound_leader = \"micro01\"\ncentral = [\"micro02\", \"micro03\"]\n",
        "members = 2\n[[instances]]\nname = \"web\"\nlocation = \"micro03\"\n",
        "members = [\"a\", \"a\"]\n",
        "without = [\"microseph\"]\n",
        "faults = [\"cut:micro01\", \"reboot\"]\n",
    ];
    for text in scenarios {
        write(&desk.path("world.toml"), text);
        refuse(&["--scenario", "world.toml"]);
    }
    insta::assert_snapshot!(logged.join("\n"));
}

#[test]
fn a_scenario_is_what_the_file_says() {
    let desk = Desk::new();
    let text = r#"
members = ["alpha", "beta", "gamma", "delta"]
without = ["microovn"]

[storage]
monitors = ["beta", "gamma", "delta"]
manager = "delta"
flags = ["noout"]

[lxd]
"cluster.healing_threshold" = "300"

[[instances]]
name = "web"
location = "alpha"
"#;
    write(&desk.path("world.toml"), text);
    let out = desk
        .run(&[
            "rehearse",
            "update",
            "--scenario",
            "world.toml",
            "-p",
            "looks=1",
        ])
        .exits(0);
    assert!(out.contains("done"), "{out}");
    assert!(out.contains("MicroOVN is not installed"), "{out}");
    let world: Value =
        serde_json::from_str(&read(&desk.path("state/runs/update-1/twin.json"))).unwrap();
    assert_eq!(world["lxd"]["config"]["cluster.healing_threshold"], "300");
    assert_eq!(
        world["ceph"]["flags"],
        serde_json::json!(["noout"]),
        "the operator's flag stays"
    );
}

/// Seconds in which three real machines with small snaps had different revisions (medians of three updates on 2026-11-29:
/// snapd 2.68, Ceph 18.2, OVN 25.03, LXD 5.0, two cores). Of OVN 12 s are added: the servers that were measured hand over their
/// leadership when they stop, and MicroOVN's are ended by a signal, after which a database had no leader for about as long as
/// its election timer says.
const MEASURED: [(&str, f64); 4] = [
    ("microceph", 35.2),
    ("microovn", 11.3 + 12.0),
    ("lxd", 1.0),
    ("microcloud", 4.5),
];

#[test]
fn windows_of_a_simulated_cluster_are_those_of_real_machines() {
    let plan = Desk::new().json(&["plan", "update", "--cluster", "twin:3", "--json"]);
    for (snap, seconds) in MEASURED {
        let windows = plan["windows"].as_array().unwrap();
        let window = windows
            .iter()
            .find(|window| window["snap"] == snap)
            .unwrap();
        let foreseen = window["ms"].as_f64().unwrap() / 1000.0;
        // A second is what a look may be late.
        let apart = (foreseen - seconds).abs();
        assert!(
            apart <= (seconds / 3.0).max(1.0),
            "{snap}: {foreseen} s, and {seconds} s on real machines"
        );
    }
}

#[test]
fn a_playbook_that_goes_on_without_time_passing_is_stopped() {
    let desk = Desk::new();
    let text = "return { api = 1, run = function() while true do time.now {} end end }";
    write(&desk.path("site.lua"), text);
    let out = desk.run(&["plan", "site.lua", "--cluster", "twin:1"]);
    assert!(out.stdout.contains("the playbook does not end"), "{out:?}");
    let check = ["check", "site.lua", "--members", "1", "--tries", "1"];
    let out = desk.run(&check).exits(11);
    assert!(
        out.contains("the run does not end") && out.contains("time.now"),
        "{out}"
    );
}
