//! Fleets on the command line: simulated clusters, taken through a playbook ring by ring.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Stdio};

use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{wait_until, write};
use lockstep_tests::root;
use serde_json::{Value, json};

/// A fault that holds an update of three members.
pub(crate) const FAULT: &str = "refresh-fails:microovn,micro02";

/// A fleet of simulated clusters: one in the canary ring, the others in the second. The faults are of the canary.
pub(crate) fn fleet(others: &[&str], rest: &str, faults: &[&str]) -> String {
    let cluster = |name: &str, labels: &str, faults: &[&str]| {
        format!(
            "\n[[clusters]]\nname = {name:?}\nfile = \"twin:1\"\nyes = true\nlabels = {{ {labels} }}\nfaults = {faults:?}\n"
        )
    };
    let others: String = others
        .iter()
        .map(|name| cluster(name, "tier = \"2\"", &[]))
        .collect();
    format!(
        "name = \"stores\"\n{}{others}\n[[rollout.rings]]\nname = \"canary\"\nselect = \"canary=true\"\n\n[[rollout.rings]]\nname = \"rest\"\n{rest}\n",
        cluster("berlin", "canary = \"true\", tier = \"1\"", faults).replace("twin:1", "twin:3"),
    )
}

/// A fleet of one simulated cluster, without rings.
pub(crate) fn alone(faults: &[&str]) -> String {
    let text = fleet(&[], "", faults);
    let (clusters, _) = text.split_once("\n[[rollout").unwrap();
    clusters.to_owned()
}

pub(crate) fn desk(fleet: &str) -> Desk {
    let desk = Desk::new();
    write(&desk.path("fleet.toml"), fleet);
    desk
}

/// What is printed as JSON, however the process ends.
fn json_of(desk: &Desk, words: &[&str]) -> Value {
    let out = desk.run(words);
    serde_json::from_str(&out.stdout).unwrap_or_else(|error| panic!("{error}: {out:?}"))
}

/// A rollout that has just begun, and its journal.
fn under_way(desk: &Desk) -> (Child, PathBuf) {
    let mut rollout = desk.command(&["fleet", "rollout", "update"]);
    let rollout = rollout.stdout(Stdio::null()).spawn().unwrap();
    (rollout, desk.path("state/runs/rollout-1/journal.jsonl"))
}

/// How each cluster stands, by name.
pub(crate) fn states(desk: &Desk) -> Value {
    let progress = json_of(desk, &["fleet", "status", "--json"]);
    let rings = progress["rings"].as_array().unwrap().iter();
    let clusters = rings.flat_map(|ring| ring["clusters"].as_array().unwrap());
    clusters
        .map(|c| {
            (
                c["cluster"].as_str().unwrap().to_owned(),
                c["state"].clone(),
            )
        })
        .collect()
}

#[test]
fn a_rollout_takes_a_fleet_ring_by_ring() {
    let desk = desk(&fleet(&["paris", "rome"], "limit = 2", &[]));
    let out = desk.run(&["fleet", "rollout", "update"]).exits(0);
    let at = |text: &str| out.find(text).unwrap_or_else(|| panic!("{text}\n{out}"));
    assert!(
        at("berlin  cluster.run: done") < at("paris  cluster.run …"),
        "{out}"
    );
    assert!(out.contains("rollout-1: done: 3 clusters"), "{out}");
    assert_eq!(
        states(&desk),
        json!({"berlin": "done", "paris": "done", "rome": "done"})
    );
    // The clusters' own runs are runs like any other, and don't fill the list.
    assert!(!desk.run(&["runs"]).exits(0).contains("rollout-1.paris"));
    assert!(
        desk.run(&["runs", "--all"])
            .exits(0)
            .contains("rollout-1.paris")
    );
    let _ = desk.run(&["show", "rollout-1.paris"]).exits(0);
}

#[test]
fn a_canary_that_is_held_stops_the_rollout_until_it_is_done() {
    let desk = desk(&fleet(&["paris"], "", &[FAULT]));
    let out = desk.run(&["fleet", "rollout", "update"]).exits(4);
    insta::assert_snapshot!(out[out.find("rollout-1 is held").unwrap()..].trim_end());
    assert_eq!(states(&desk), json!({"berlin": "held", "paris": null}));
    // Nothing has changed: it holds again.
    let _ = desk.run(&["fleet", "continue"]).exits(4);
    let resumed = desk.run(&["fleet", "resume", "berlin", "--mend"]).exits(0);
    assert!(
        resumed.contains("Continue the rollout with: lockstep fleet continue"),
        "{resumed}"
    );
    let out = desk.run(&["fleet", "continue"]).exits(0);
    assert!(out.contains("rollout-1: done: 2 clusters"), "{out}");
    assert_eq!(states(&desk), json!({"berlin": "done", "paris": "done"}));
}

#[test]
fn a_cluster_that_is_skipped_counts_no_more() {
    let desk = desk(&fleet(&["paris"], "", &[FAULT]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let _ = desk
        .run(&[
            "fleet",
            "skip",
            "berlin",
            "--why",
            "the site is being moved",
        ])
        .exits(0);
    let out = desk.run(&["fleet", "continue"]).exits(0);
    assert!(
        out.contains("rollout-1: done: 1 cluster; skipped: berlin"),
        "{out}"
    );
    // One whose turn hasn't come isn't begun.
    let desk = self::desk(&fleet(&["paris"], "", &[FAULT]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let _ = desk
        .run(&["fleet", "skip", "paris", "berlin", "--why", "closed"])
        .exits(0);
    let out = desk.run(&["fleet", "continue"]).exits(0);
    assert!(
        out.contains("rollout-1: done: 0 clusters; skipped: "),
        "{out}"
    );
    let status = desk.run(&["fleet", "status"]).exits(0);
    assert!(
        status.contains("done, 0 of 2 clusters done, 2 skipped") && status.contains("0/1"),
        "{status}"
    );
    assert!(!desk.path("state/runs/rollout-1.paris").exists());
}

#[test]
fn clusters_within_the_budget_may_be_left_behind() {
    let fleet = fleet(&["paris"], "", &[FAULT]).replace(
        "select = \"canary=true\"",
        "select = \"canary=true\"\nbudget = 1",
    );
    let desk = desk(&fleet);
    let out = desk.run(&["fleet", "rollout", "update"]).exits(4);
    assert!(
        out.contains("1 cluster of ring canary is not done"),
        "{out}"
    );
    let out = desk.run(&["fleet", "continue", "--yes"]).exits(0);
    assert!(
        out.contains("rollout-1: done: 1 cluster; left behind: berlin"),
        "{out}"
    );
    let held = json_of(&desk, &["fleet", "held", "--json"]);
    assert_eq!(held[0]["cluster"], "berlin");
    assert_eq!(held[0]["run"], "rollout-1.berlin");
}

#[test]
fn a_run_that_was_refused_is_begun_again() {
    let desk = desk(&alone(&["osd-lost:1"]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    assert_eq!(states(&desk), json!({"berlin": "refused"}));
    // A simulated cluster is made anew, with its faults.
    let _ = desk.run(&["fleet", "resume", "berlin"]).exits(3);
    let held = json_of(&desk, &["fleet", "held", "--json"]);
    assert_eq!(held[0]["run"], "rollout-1.berlin+2");
}

#[test]
fn two_rollouts_never_share_a_cluster() {
    let desk = desk(&fleet(&["paris"], "", &[FAULT]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let refused = desk.run(&["fleet", "rollout", "update"]);
    assert_eq!(refused.code, Some(6), "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("berlin is in rollout-1, which is not over"),
        "{refused:?}"
    );
    let _ = desk.run(&["fleet", "abort"]).exits(9);
    // Another cluster's rollout may begin at any time.
    let _ = desk
        .run(&["fleet", "rollout", "update", "-l", "name=paris"])
        .exits(0);
}

#[test]
fn a_rollout_that_is_killed_finds_its_clusters_runs_again() {
    let names = [
        "store-1", "store-2", "store-3", "store-4", "store-5", "store-6",
    ];
    let desk = desk(&fleet(&names, "limit = 3", &[]));
    let (mut rollout, journal) = under_way(&desk);
    let begun = |text: &str| text.matches("\"start\":{\"path\":\"rest/").count();
    wait_until("the second ring doesn't begin", || {
        fs::read_to_string(&journal).is_ok_and(|text| begun(&text) >= 3)
    });
    rollout.kill().unwrap();
    rollout.wait().unwrap();
    let out = desk.run(&["fleet", "continue"]).exits(0);
    assert!(out.contains("rollout-1: done: 7 clusters"), "{out}");
    let runs = json_of(&desk, &["runs", "--all", "--json"]);
    let runs = runs.as_array().unwrap();
    assert_eq!(runs.len(), 8, "{runs:?}");
    assert!(runs.iter().all(|run| run["state"] == "done" && (run["run"] == "rollout-1" || run["resumes"] == 0)), "{runs:?}");
}

#[test]
fn a_rollout_is_paused_and_continued() {
    let names = ["store-1", "store-2", "store-3", "store-4"];
    let desk = desk(&fleet(&names, "limit = 1", &[]));
    let (mut rollout, journal) = under_way(&desk);
    wait_until("the second ring doesn't begin", || {
        fs::read_to_string(&journal).is_ok_and(|text| text.contains("\"start\":{\"path\":\"rest/"))
    });
    let paused = desk.run(&["fleet", "pause"]).exits(0);
    assert!(paused.contains("starts no more clusters"), "{paused}");
    assert_eq!(rollout.wait().unwrap().code(), Some(5));
    let states = states(&desk);
    assert_eq!(states["store-1"], "done");
    assert_eq!(states["store-4"], Value::Null);
    let _ = desk.run(&["fleet", "pause"]).exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
}

#[test]
fn what_does_not_fit_together_is_said_before_anything_begins() {
    let good = fleet(&["paris"], "", &[]);
    let swap = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        let desk = desk(&good.replace(from, to));
        let ran = desk.run(&["fleet", "rollout", "update", "--dry-run"]);
        assert_eq!(ran.code, Some(2), "{to}: {ran:?}");
        ran.stderr.replace(desk.path("").to_str().unwrap(), "")
    };
    let complaints = [
        swap("name = \"paris\"", "name = \"berlin\""),
        swap("name = \"paris\"", "name = \"pa/ris\""),
        swap("file = \"twin:1\"", "file = \"nosuch.toml\""),
        swap("file = \"twin:1\"", "fil = \"twin:1\""),
        swap("select = \"canary=true\"", "select = \"canry=true\""),
        swap("select = \"canary=true\"", "select = \"canary=yes\""),
        swap("select = \"canary=true\"", "select = \"canary\""),
        swap("select = \"canary=true\"", "share = \"0%\""),
        swap("select = \"canary=true\"", "share = \"half\""),
        swap("select = \"canary=true\"", "limit = 0"),
        swap("select = \"canary=true\"", ""),
        swap(
            "name = \"rest\"",
            "name = \"rest\"\nselect = \"canary=true\"",
        ),
        swap(
            "name = \"rest\"",
            "name = \"rest\"\nselect = \"canary!=true,tier=1\"",
        ),
        swap("name = \"rest\"", "name = \"canary\""),
        swap(
            "name = \"stores\"",
            "name = \"stores\"\n[windows.night]\nhours = \"01:00-05:00\"\nzone = \"Europe/Berln\"",
        ),
        swap(
            "name = \"stores\"",
            "name = \"stores\"\n[windows.night]\nhours = \"1-5\"",
        ),
        swap("file = \"twin:1\"", "file = \"twin:1\"\nwindow = \"nigth\""),
        swap(
            "file = \"twin:1\"",
            "file = \"twin:1\"\nexecutor = \"slurm\"",
        ),
        swap(
            "name = \"stores\"",
            "name = \"stores\"\n[executor.default]\nkind = \"nomad\"",
        ),
        swap(
            "name = \"stores\"",
            "name = \"stores\"\n[executor.default]\nkind = \"program\"\nprogram = []",
        ),
        swap(
            "name = \"stores\"",
            "name = \"stores\"\nprogram = [\"/nosuch\"]",
        ),
        swap(
            "name = \"stores\"",
            "name = \"stores\"\nprogram = [\"echo\", \"{\"]",
        ),
        swap(
            "name = \"stores\"",
            "name = \"stores\"\ninclude = [\"more.toml\"]",
        ),
        swap(
            "name = \"stores\"",
            "name = \"stores\"\n[params.update]\nonyl = [\"lxd\"]",
        ),
    ];
    insta::assert_snapshot!(complaints.concat());
}

#[test]
fn clusters_come_from_files_and_programs() {
    let desk = desk(
        "name = \"stores\"\ninclude = [\"sites\"]\nprogram = [\"./list\"]\n\n[params.update]\nonly = [\"lxd\"]\n\n[[overrides]]\nselect = \"country=fr\"\nparams.update = { skip = [\"microcloud\"] }\nwindow = \"night\"\n\n[windows.night]\nhours = \"00:00-23:59\"\n",
    );
    fs::create_dir_all(desk.path("sites/berlin")).unwrap();
    write(
        &desk.path("sites/de.toml"),
        "[[clusters]]\nname = \"berlin\"\nfile = \"berlin/cluster.toml\"\nlabels = { country = \"de\" }\n",
    );
    write(
        &desk.path("sites/berlin/cluster.toml"),
        "name = \"b\"\n[[members]]\nname = \"micro01\"\n",
    );
    write(
        &desk.path("list"),
        "#!/bin/sh\necho '[{\"name\": \"paris\", \"file\": \"twin:1\", \"labels\": {\"country\": \"fr\"}}]'\n",
    );
    fs::set_permissions(desk.path("list"), fs::Permissions::from_mode(0o755)).unwrap();
    let plan = json_of(
        &desk,
        &[
            "fleet",
            "rollout",
            "update",
            "--dry-run",
            "--json",
            "-p",
            "accept=disk",
        ],
    );
    let clusters = &plan["rings"][0]["clusters"];
    assert_eq!(clusters[0]["name"], "berlin", "{plan}");
    assert!(
        clusters[0]["cluster"]
            .as_str()
            .unwrap()
            .ends_with("/sites/berlin/cluster.toml")
    );
    assert_eq!(
        clusters[0]["params"],
        json!({"only": ["lxd"], "accept": "disk"})
    );
    assert_eq!(
        clusters[1]["params"],
        json!({"only": ["lxd"], "skip": ["microcloud"], "accept": "disk"})
    );
    assert_eq!(clusters[1]["window"]["hours"], "00:00-23:59");
}

#[test]
fn the_playbook_of_rollouts_is_checked_on_simulated_fleets() {
    let desk = Desk::new();
    let few = ["check", "rollout", "--tries", "20", "--no-kills"];
    let out = desk.run(&few).exits(0);
    assert!(
        out.contains("rollout of 12 clusters: no rule is broken"),
        "{out}"
    );
    let shipped = root().join("playbooks");
    let text = fs::read_to_string(shipped.join("rollout.lua")).unwrap();
    fs::create_dir(desk.path("mine")).unwrap();
    write(
        &desk.path("mine/rollout.lua"),
        &text.replace("limit = ring.limit", "limit = 9"),
    );
    fs::copy(shipped.join("flow.lua"), desk.path("mine/flow.lua")).unwrap();
    let found = [&few[..], &["--members", "4", "--playbooks", "mine"]].concat();
    let out = desk.run(&found).exits(11);
    assert!(out.contains("were running, and the limit is"), "{out}");
}

#[test]
fn what_differs_in_a_fleet_is_listed() {
    let text = fleet(&["paris", "rome"], "", &[]).replace(
        "name = \"rome\"\nfile = \"twin:1\"",
        "name = \"rome\"\nfile = \"twin:1@1\"",
    );
    let desk = desk(&text.replace("file = \"twin:3\"", "file = \"twin:1\""));
    let out = desk.run(&["fleet", "inventory", "--drift"]).exits(10);
    assert!(
        out.contains("rome") && out.contains("1300 reef/stable") && !out.contains("paris"),
        "{out}"
    );
    let out = desk
        .run(&["fleet", "inventory", "--drift", "-l", "name!=rome"])
        .exits(0);
    assert!(out.contains("all 2 clusters are in step"), "{out}");
    // The same change on clusters of other names is one plan.
    let plans = json_of(
        &desk,
        &["fleet", "plan", "update", "-p", "downtime=true", "--json"],
    );
    let clusters: Vec<&Value> = plans["plans"]
        .as_array()
        .unwrap()
        .iter()
        .map(|plan| &plan["clusters"])
        .collect();
    assert!(
        clusters.contains(&&json!(["berlin", "paris"])) && clusters.contains(&&json!(["rome"])),
        "{plans}"
    );
    // One that can't be asked is in its row.
    let away = desk.path("away.toml");
    write(
        &away,
        &text.replace("file = \"twin:1@1\"", "file = \"broken.toml\""),
    );
    write(&desk.path("broken.toml"), "name =");
    let list = ["fleet", "inventory", "--fleet", "away.toml"];
    let out = desk.run(&list).exits(10);
    assert!(
        out.contains("rome     broken.toml") || out.contains("broken.toml:1:"),
        "{out}"
    );
}

#[test]
fn clusters_are_checked_and_their_snaps_fetched_ahead() {
    let text = fleet(&["paris"], "", &[]).replace(
        "file = \"twin:1\"\nyes = true\nlabels = { tier = \"2\" }",
        "file = \"twin:2\"\nlabels = { tier = \"2\" }",
    );
    let desk = desk(&text);
    let out = desk.run(&["fleet", "preflight"]).exits(0);
    assert!(
        out.contains("berlin   yes") && out.contains("paris    yes"),
        "{out}"
    );
    let out = desk.run(&["fleet", "preflight", "-p", "to=1"]).exits(3);
    assert!(out.contains("no "), "{out}");
    let out = desk.run(&["fleet", "stage", "-l", "name=paris"]).exits(0);
    assert!(out.contains("paris    yes     stage-1"), "{out}");
}

#[test]
fn any_command_knows_the_clusters_of_the_fleet() {
    let desk = desk(&fleet(&["paris"], "", &[]));
    let out = desk.run(&["status", "--cluster", "stores/paris"]).exits(0);
    assert!(out.starts_with("twin of 1"), "{out}");
    let ran = desk.run(&["status", "--cluster", "stores/pariss"]);
    assert!(ran.stderr.contains("did you mean \"paris\"?"), "{ran:?}");
}

#[test]
fn what_people_decided_is_listed_and_figures_are_written() {
    let desk = desk(&fleet(&["paris"], "approve = true", &[FAULT]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let figures = ["fleet", "status", "--metrics", "lockstep.prom"];
    let _ = desk.run(&figures).exits(4);
    let text = fs::read_to_string(desk.path("lockstep.prom")).unwrap();
    let row = "lockstep_rollout_clusters{fleet=\"stores\",rollout=\"rollout-1\",ring=\"canary\",state=\"held\"} 1\n";
    assert!(text.contains(row), "{text}");
    assert!(
        text.contains("# TYPE lockstep_rollout_budget gauge\n"),
        "{text}"
    );
    let _ = desk.run(&["fleet", "resume", "berlin", "--mend"]).exits(0);
    let _ = desk.run(&["fleet", "continue", "--yes"]).exits(0);
    let deeds = json_of(&desk, &["fleet", "audit", "--json"]);
    let deeds: Vec<String> = deeds
        .as_array()
        .unwrap()
        .iter()
        .map(|deed| {
            format!(
                "{} {}",
                deed["run"].as_str().unwrap(),
                deed["action"].as_str().unwrap()
            )
        })
        .collect();
    // The clock of a simulated cluster is its own.
    let of = |run: &str| {
        deeds
            .iter()
            .filter(|deed| deed.starts_with(&format!("{run} ")))
            .map(String::as_str)
            .collect::<Vec<_>>()
    };
    let rollout = [
        "rollout-1 started",
        "rollout-1 continued",
        "rollout-1 ran again",
        "rollout-1 agreed",
    ];
    assert_eq!(of("rollout-1"), rollout);
    assert_eq!(
        of("rollout-1.berlin"),
        ["rollout-1.berlin continued", "rollout-1.berlin ran again"]
    );
}

#[test]
fn an_aborted_rollout_leaves_the_runs_of_its_clusters() {
    let desk = desk(&fleet(&["paris"], "", &[FAULT]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let out = desk.run(&["fleet", "abort"]).exits(9);
    assert!(
        out.contains("The runs of its clusters are as they were"),
        "{out}"
    );
    assert_eq!(states(&desk), json!({"berlin": "held", "paris": null}));
    let out = desk.run(&["fleet", "resume", "paris"]).exits(0);
    assert!(
        out.contains("paris: its turn in rollout-1 has not come"),
        "{out}"
    );
    let _ = desk.run(&["fleet", "resume", "berlin", "--mend"]).exits(0);
    // What many clusters have in common isn't what a reader looks for.
    let show = desk.run(&["show", "rollout-1"]).exits(0);
    assert!(
        show.contains("playbook=") && !show.contains("\"clusters\""),
        "{show}"
    );
}

#[test]
fn a_fleet_is_made_of_cluster_files() {
    let desk = Desk::new();
    for name in ["berlin", "paris"] {
        fs::create_dir_all(desk.path(name)).unwrap();
        let file = desk.path(name).join("cluster.toml");
        write(
            &file,
            &format!("name = {name:?}\n[[members]]\nname = \"micro01\"\n"),
        );
    }
    let init = [
        "fleet",
        "init",
        "berlin/cluster.toml",
        "paris/cluster.toml",
        "--name",
        "stores",
    ];
    let out = desk.run(&init).exits(0);
    assert!(out.contains("fleet.toml: 2 clusters"), "{out}");
    let list = desk.run(&["fleet", "list"]).exits(0);
    assert!(
        list.contains("berlin   canary") && list.contains("paris    rest"),
        "{list}"
    );
    let _ = desk
        .run(&["fleet", "rollout", "update", "--dry-run"])
        .exits(0);
    let again = desk.run(&init);
    assert_eq!(again.code, Some(2), "{again:?}");
}

#[test]
fn a_playbook_of_a_site_may_be_called_rollout_too() {
    let desk = desk(&alone(&[]).replace("twin:3", "twin:1"));
    write(
        &desk.path("rollout.lua"),
        "return { api = 1, run = function() error('no') end }",
    );
    let _ = desk
        .run(&["run", "rollout.lua", "--cluster", "twin:1"])
        .exits(1);
    let _ = desk
        .run(&["fleet", "rollout", "update", "-p", "only=microcloud"])
        .exits(0);
    let _ = desk
        .run(&["run", "rollout.lua", "--cluster", "twin:1"])
        .exits(1);
    // The last rollout, and not the last run of that name.
    let status = desk.run(&["fleet", "status"]).exits(0);
    assert!(
        status.starts_with("rollout-2: update on stores: done"),
        "{status}"
    );
}

#[test]
fn of_rollouts_that_start_together_one_has_the_clusters() {
    let desk = desk(&fleet(&["paris"], "", &[]));
    let both = [under_way(&desk), under_way(&desk)];
    let mut codes = both.map(|(mut rollout, _)| rollout.wait().unwrap().code());
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(6)]);
}
