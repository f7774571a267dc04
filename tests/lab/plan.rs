//! Plans over SSH: making one changes nothing, and a run does what was planned.

use lockstep_tests::lab::{SshLab, read};
use lockstep_tests::planned;
use lockstep_twin::Scenario;
use serde_json::Value;

/// The paths of the steps that a run asked for.
fn asked(journal: &str) -> Vec<String> {
    let records = journal
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let intent = |r: Value| Some(r["record"].get("intent")?["path"].as_str()?.to_owned());
    records.filter_map(intent).collect()
}

fn sorted(mut paths: Vec<String>) -> Vec<String> {
    paths.sort();
    paths
}

#[test]
fn a_plan_only_looks_and_a_run_keeps_to_it() {
    let lab = SshLab::up(&Scenario::of(3));
    let file = lab.path("plan.json");
    let file = file.to_str().unwrap();
    let args = ["update", "-p", "looks=1"];
    let out = lab
        .run(&[&["plan"], &args[..], &["-o", file]].concat())
        .exits(0);
    assert!(out.contains("snap.refresh lxd: 33100 → 33110"), "{out}");
    let guess = |snap: &str| format!("Window: {snap} may take no changes for about ");
    for snap in ["microceph", "microovn", "lxd", "microcloud"] {
        let line = out.lines().find(|line| line.starts_with(&guess(snap)));
        assert!(
            line.is_some_and(|l| l.ends_with("(a guess: on a simulated cluster)")),
            "{out}"
        );
    }
    let arrived: Vec<String> = lab.world().log.iter().map(|e| e.argv.join(" ")).collect();
    assert!(arrived.len() > 20, "{arrived:?}");
    let changing = |e: &&lockstep_twin::Entry| e.changed;
    assert_eq!(
        lab.world().log.iter().find(changing),
        None,
        "a plan changes nothing"
    );
    let suspicious = [
        "refresh",
        "switch",
        "set-group",
        "change-election-timer",
        "-X",
        "tee",
        "mkdir",
        "ln",
    ];
    for command in &arrived {
        let word = command.split(' ').find(|word| suspicious.contains(word));
        assert_eq!(word, None, "{command}");
    }

    let plan: Value = serde_json::from_str(&read(&lab.path("plan.json"))).unwrap();
    let _ = lab.run(&[&args[..], &["--plan", file]].concat()).exits(0);
    let journal = read(&lab.path("state/runs/update-1/journal.jsonl"));
    assert_eq!(sorted(asked(&journal)), sorted(planned(&plan)));
    assert_eq!(lab.world().violations(), []);
    // The plan is of another day now: there is nothing to do, and nothing outside it is done.
    let out = lab.run(&[&["plan"], &args[..]].concat()).exits(0);
    assert!(!out.contains("snap.refresh"), "{out}");
    // The next release takes about as long as this one did.
    let mut next = lab
        .world()
        .store
        .release("microcloud", 1210)
        .unwrap()
        .clone();
    next.revision = 1211;
    lab.world().store.publish("microcloud", "2/stable", next);
    let out = lab.run(&[&["plan"], &args[..]].concat()).exits(0);
    let line = out
        .lines()
        .find(|line| line.starts_with(&guess("microcloud")));
    assert!(
        line.is_some_and(|l| l.ends_with("(as in update-1)")),
        "{out}"
    );
    let staged = lab.run(&["stage"]).exits(0);
    assert_eq!(staged.lines().last(), line, "{staged}");
}

#[test]
fn a_plan_refuses_what_a_preflight_refuses() {
    let text = r#"
members = 2
updates = false
manager_modules = ["dashboard"]
pools = [{ name = "local", driver = "zfs" }, { name = "remote", driver = "ceph" }]
buckets = [{ name = "photos", pool = "local" }]
health = [{ code = "MGR_MODULE_ERROR", severity = "HEALTH_ERR" }]
releases = [
    { snap = "microceph", channel = "tentacle/stable", revision = 1700, version = "20.2.1+snap1" },
    { snap = "lxd", channel = "6/stable", revision = 34100, version = "6.9-ab8fad2" },
]
[hosts.micro02]
os = "22.04"
snapd = "2.63"
kernel = "5.15.0-171-generic"
"#;
    let scenario: Scenario = toml::from_str(text).unwrap();
    let lab = SshLab::up(&scenario);
    let moves = [
        "--microceph",
        "tentacle/stable",
        "--microovn",
        "26.03/stable",
        "--lxd",
        "6/stable",
    ];
    let preflight = lab.run(&[&["preflight", "--json"], &moves[..]].concat());
    let report: Value = serde_json::from_str(&preflight.stdout).unwrap();
    let _ = preflight.exits(3);
    let odd = report["checks"].as_array().unwrap().iter();
    let odd = odd.filter(|c| ["fail", "unknown"].contains(&c["verdict"].as_str().unwrap()));
    let odd: Vec<&str> = odd.map(|c| c["name"].as_str().unwrap()).collect();
    for name in [
        "ceph-dashboard",
        "lxd-6-buckets",
        "lxd-6-zfs",
        "lxd-6-snapd",
        "microovn-snapd",
        "microovn-jammy",
    ] {
        assert!(odd.contains(&name), "{name}: {odd:?}");
    }
    let plan = lab.run(&[&["plan", "upgrade", "--json"], &moves[..]].concat());
    let reported: Value = serde_json::from_str(&plan.stdout).unwrap();
    let _ = plan.exits(3);
    let why = reported["end"]["stops"]["why"].as_str().unwrap();
    // What the lab's machines have of their own is nobody's hazard.
    for name in odd.iter().filter(|name| **name != "clients") {
        assert!(why.contains(&format!("{name}: ")), "{name}: {why}");
    }
}

#[test]
fn a_cluster_that_can_be_seen_only_in_part_has_no_plan() {
    let lab = SshLab::up(&Scenario::of(2));
    lab.garble("microceph.ceph");
    let ran = lab.run(&["plan", "update"]);
    assert!(
        ran.stderr
            .contains("not everything about the cluster can be seen: Ceph:"),
        "{}",
        ran.stderr
    );
    let _ = ran.exits(3);
}
