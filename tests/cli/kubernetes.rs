//! A fleet whose runs are jobs of a Kubernetes cluster.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::{Ran, read, wait_until, write};
use serde_json::{Value, json};

use crate::fleet::{alone, desk, fleet, states};

const MANIFEST: &str = r#"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"labels": {"team": "storage"}}, "spec": {
    "backoffLimit": 2, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "lockstep", "image": "lockstep:1"}]}}}}"#;

const EXECUTOR: &str = "name = \"stores\"\n\n[executor.default]\nkind = \"kubernetes\"\njob = \"job.json\"\noptions = [\"--context=ops\"]\n";

/// A desk with a fleet whose runs are jobs.
fn clustered(text: &str) -> Desk {
    let desk = desk(&text.replace("name = \"stores\"\n", EXECUTOR));
    write(&desk.path("job.json"), MANIFEST);
    fs::create_dir_all(desk.path("kube/jobs")).unwrap();
    let kubectl = desk.path("kube/kubectl");
    write(&kubectl, include_str!("kubectl.py"));
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
    desk
}

/// Runs the program where `kubectl` is, with pods that have `image`.
fn run(desk: &Desk, image: &str, words: &[&str]) -> Ran {
    Ran::of(typed(desk, image, words).output().unwrap())
}

/// The program where `kubectl` is, not yet begun.
fn typed(desk: &Desk, image: &str, words: &[&str]) -> Command {
    let found = std::env::var("PATH").unwrap();
    let mut command = desk.command(words);
    command.env("PATH", format!("{}:{found}", desk.path("kube").display()));
    command.env("IMAGE", image);
    command
}

#[test]
fn jobs_of_kubernetes_run_a_rollout() {
    let desk = clustered(&fleet(&["paris", "rome"], "limit = 2", &[]));
    let out = run(&desk, &lockstep(), &["fleet", "rollout", "update"]).exits(0);
    assert!(out.contains("rollout-1: done: 3 clusters"), "{out}");
    let created = fs::read_to_string(desk.path("kube/created")).unwrap();
    let mut created: Vec<&str> = created
        .lines()
        .filter(|run| !run.ends_with(".ask"))
        .collect();
    created.sort_unstable();
    assert_eq!(
        created,
        ["rollout-1.berlin", "rollout-1.paris", "rollout-1.rome"]
    );
    assert_eq!(
        states(&desk),
        json!({"berlin": "done", "paris": "done", "rome": "done"})
    );
    let made = fs::read_dir(desk.path("kube/jobs")).unwrap();
    let made = made.map(|file| file.unwrap().path());
    for job in made.filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let spec = &serde_json::from_str::<Value>(&read(&job)).unwrap()["spec"];
        // The manifest says how often a pod is tried, and not for how long the job is kept.
        assert_eq!(spec["backoffLimit"], 2);
        assert_eq!(spec["ttlSecondsAfterFinished"], 3600);
    }
}

/// A rollout whose canary is looked at after its soak, by pods that do this before what they are told.
fn soaked(does: impl Fn(&Desk) -> String) -> (Desk, Ran) {
    let fleet = fleet(&["paris"], "", &[]);
    let select = "select = \"canary=true\"";
    let desk = clustered(&fleet.replace(select, &format!("{select}\nsoak = \"1s\"")));
    let image = desk.path("image");
    let script = format!("#!/bin/sh\n{}\nexec {} \"$@\"\n", does(&desk), lockstep());
    write(&image, &script);
    fs::set_permissions(&image, fs::Permissions::from_mode(0o755)).unwrap();
    let image = image.display().to_string();
    let ran = run(&desk, &image, &["fleet", "rollout", "update"]);
    (desk, ran)
}

#[test]
fn health_after_a_soak_is_what_a_job_prints_last() {
    let (desk, ran) = soaked(|_| "echo 'warning: a line of the pod'".to_owned());
    let _ = ran.exits(0);
    let shown = desk.run(&["show", "rollout-1", "--steps"]).exits(0);
    assert!(!shown.contains("without a word"), "{shown}");
    // One that fails says why.
    let fails = "echo 'error: micro01 can not be reached'; exit 1";
    let (_desk, ran) = soaked(|_| format!("[ \"$2\" != ask ] || {{ {fails}; }}"));
    let out = ran.exits(4);
    assert!(out.contains("micro01 can not be reached"), "{out}");
    assert!(!out.contains("JSON"), "{out}");
    // Nobody waits for one that is gone.
    let (_desk, ran) = soaked(|desk| {
        let jobs = desk.path("kube/jobs");
        let deletes = format!("rm '{}'/*ask*.json; exit 1", jobs.display());
        format!("[ \"$2\" != ask ] || {{ {deletes}; }}")
    });
    let out = ran.exits(4);
    assert!(out.contains("somebody deleted the job"), "{out}");
}

#[test]
fn what_a_pod_complained_of_is_quoted() {
    let desk = clustered(&fleet(&["paris"], "", &[]));
    let out = run(&desk, "/nowhere/lockstep", &["fleet", "rollout", "update"]).exits(4);
    assert!(out.contains("/nowhere/lockstep: not found"), "{out}");
}

#[test]
fn a_job_that_somebody_else_made_first_is_not_made_again() {
    let desk = clustered(&alone(&[]));
    // Its run is begun between the look for a job of its name and the job's making.
    let script = fs::read_to_string(desk.path("kube/kubectl")).unwrap();
    let twice = script.replace(
        "    if os.path.exists(path(name)):\n",
        "    if len(sys.argv) < 9 and not os.path.exists(path(name)):\n        subprocess.run([sys.argv[0]] + sys.argv[1:] + [\"--again\"] * 9, input=json.dumps(made), text=True)\n    if os.path.exists(path(name)):\n",
    );
    assert_ne!(twice, script);
    write(&desk.path("kube/kubectl"), &twice);
    let out = run(&desk, &lockstep(), &["fleet", "rollout", "update"]).exits(0);
    assert!(out.contains("rollout-1: done: 1 cluster"), "{out}");
    let created = fs::read_to_string(desk.path("kube/created")).unwrap();
    assert_eq!(created, "rollout-1.berlin\n");
}

#[test]
fn a_manifest_that_is_none_is_named() {
    let desk = clustered(&fleet(&["paris"], "", &[]));
    let rollout = ["fleet", "rollout", "update"];
    let odd = MANIFEST.replace(r#"{"team": "storage"}"#, "7");
    let bare = MANIFEST.replace(r#"{"name": "lockstep", "image": "lockstep:1"}"#, "7");
    for (manifest, why) in [
        (r#"{"kind": "CronJob"}"#, "job.json: it is no Job"),
        (r#"{"kind": "Job"}"#, "job.json: its pod has no container"),
        (&odd, "job.json: metadata.labels is no map"),
        (&bare, "job.json: its first container is no map"),
    ] {
        write(&desk.path("job.json"), manifest);
        let out = run(&desk, &lockstep(), &rollout).exits(4);
        assert!(out.contains(why), "{out}");
        let _ = desk.run(&["fleet", "abort"]);
    }
    fs::remove_file(desk.path("job.json")).unwrap();
    let out = run(&desk, &lockstep(), &rollout);
    assert_eq!(out.code, Some(2), "{out:?}");
    assert!(out.stderr.contains("fleet.toml:3"), "{}", out.stderr);
    assert!(
        out.stderr.contains("has no job's manifest"),
        "{}",
        out.stderr
    );
}

#[test]
fn a_job_of_kubernetes_is_described_and_stopped() {
    let desk = clustered(&alone(&[]));
    desk.with_endless_step();
    let mut rollout = typed(&desk, &lockstep(), &["fleet", "rollout", "ops.lua"]);
    let mut rollout = rollout.stdout(Stdio::null()).spawn().unwrap();
    let has = |what: &str| {
        let events = desk.path("state/runs/rollout-1.berlin/events.jsonl");
        fs::read_to_string(events).is_ok_and(|text| text.contains(what))
    };
    wait_until("the step doesn't begin", || has("step-started"));
    let described = run(&desk, "", &["fleet", "describe", "berlin"]).exits(0);
    for what in [
        "rollout-1.berlin: running",
        "COMPLETIONS",
        "rollout-1-berlin-",
    ] {
        assert!(described.contains(what), "{described}");
    }
    let _ = run(&desk, "", &["fleet", "stop", "berlin"]).exits(0);
    wait_until("its process isn't told to end", || has("interrupted"));
    desk.end_step();
    assert_eq!(rollout.wait().unwrap().code(), Some(4));
    assert_eq!(states(&desk), json!({"berlin": "suspended"}));
}
