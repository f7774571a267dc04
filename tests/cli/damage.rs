//! What becomes of a run when its folder is damaged, full, or not there any more.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::{Ran, read, write};
use serde_json::json;

use crate::fleet::{FAULT, alone, fleet, states};

/// A run that changes something and is held.
const HELD: &str = r#"return { api = 1, run = function()
    microceph.noout { member = "micro01", on = true }
    finally(function() snap.info { member = "micro01", snap = "nosuch" } end, function()
        microceph.noout { member = "micro01", on = false }
    end)
end }"#;

/// The captured copies of modules with this text in them.
fn copies(desk: &Desk, run: &str, text: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(desk.path(&format!("state/runs/{run}/bundle"))).unwrap();
    let files = files.map(|file| file.unwrap().path());
    files.filter(|file| read(file).contains(text)).collect()
}

fn damage(desk: &Desk, run: &str, text: &str) {
    let copies = copies(desk, run, text);
    assert!(!copies.is_empty(), "no copy has {text}");
    for file in copies {
        write(&file, &format!("{} ", read(&file)));
    }
}

#[test]
fn an_emptied_journal_is_not_a_run_that_did_not_start() {
    let desk = Desk::new();
    let _ = desk.play(HELD).exits(4);
    let journal = desk.path("state/runs/site-1/journal.jsonl");
    write(&journal, "");
    let lost = "site-1: its journal is missing or empty, and its events are not: what was recorded is lost";
    for command in ["resume", "abort"] {
        let ran = desk.run(&[command, "site-1"]);
        // The other finds it gone.
        let _ = fs::remove_file(&journal);
        assert_eq!(ran.code, Some(7), "{ran:?}");
        assert!(
            ran.stderr.contains(lost) && ran.stderr.contains("see lockstep show site-1"),
            "{ran:?}"
        );
    }
    write(&journal, "");
    let listed = desk.run(&["runs"]).exits(0);
    assert!(!listed.contains("did not begin"), "{listed}");
    // What is left is shown, and how little it is.
    let shown = desk.run(&["show", "site-1"]);
    assert!(
        shown.stderr.contains("what was recorded is lost")
            && shown
                .stdout
                .contains("it can't be resumed from this journal"),
        "{shown:?}"
    );
}

#[test]
fn a_damaged_journal_of_a_cluster_is_in_no_other_ones_way() {
    let desk = Desk::new();
    write(&desk.path("fleet.toml"), &alone(&[FAULT]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let journal = desk.path("state/runs/rollout-1.berlin/journal.jsonl");
    write(&journal, &read(&journal).replacen("update", "upgrade", 1));
    assert_eq!(states(&desk), json!({"berlin": "failed"}));
    let held = desk.run(&["fleet", "held"]).exits(0);
    assert!(held.contains("line 1 of the journal is damaged"), "{held}");
    // What it left is for a person to find out: it isn't begun anew.
    let resumed = desk.run(&["fleet", "resume", "berlin"]);
    assert_eq!(resumed.code, Some(7), "{resumed:?}");
    assert!(
        resumed
            .stderr
            .contains("see lockstep show rollout-1.berlin"),
        "{resumed:?}"
    );
    let _ = desk.run(&["fleet", "continue"]).exits(4);
    let _ = desk
        .run(&["fleet", "skip", "berlin", "--why", "seen to"])
        .exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
}

#[test]
fn a_run_with_a_damaged_playbook_says_how_it_ends() {
    for (command, exit) in [("resume", 4), ("abort", 9)] {
        let desk = Desk::new();
        let _ = desk.play(HELD).exits(4);
        damage(&desk, "site-1", "nosuch");
        let refused = desk.run(&[command, "site-1"]);
        assert_eq!(refused.code, Some(7), "{refused:?}");
        let way = format!("lockstep {command} site-1 --playbook site.lua");
        assert!(refused.stderr.contains(&way), "{refused:?}");
        let shown = desk.run(&["show", "site-1"]);
        assert!(
            shown.stderr.contains("with --playbook site.lua"),
            "{shown:?}"
        );
        let _ = desk
            .run(&[command, "site-1", "--playbook", "site.lua"])
            .exits(exit);
    }
}

#[test]
fn a_run_of_a_shipped_playbook_needs_no_copy_of_it() {
    let held = || {
        let desk = Desk::new();
        let fault = "no-return:microceph,micro02";
        let _ = desk.run(&["rehearse", "update", "--fault", fault]).exits(4);
        damage(&desk, "update-1", "return");
        desk
    };
    let _ = held().run(&["abort", "update-1"]).exits(9);
    let _ = held().run(&["resume", "update-1", "--mend"]).exits(0);
    let named = ["resume", "update-1", "--mend", "--playbook", "update"];
    let _ = held().run(&named).exits(0);
    let named = ["abort", "update-1", "--playbook", "updaet"];
    assert_eq!(held().run(&named).code, Some(2));
}

/// Runs a playbook with files that may be no larger than this many blocks of 512 bytes.
fn with_small_files(desk: &Desk, blocks: usize, playbook: &str) -> Ran {
    write(&desk.path("site.lua"), playbook);
    let mut command = Command::new("sh");
    let run = r#"ulimit -f "$1"; exec "$2" --state state run site.lua --cluster twin:1 --quiet"#;
    command
        .args(["-c", run, "sh", &blocks.to_string(), &lockstep()])
        .current_dir(desk.path(""))
        .stdin(Stdio::null());
    Ran::of(command.output().unwrap())
}

#[test]
fn a_journal_that_may_not_grow_ends_the_run_with_a_sentence() {
    let desk = Desk::new();
    let says = r#"return { api = 1, run = function()
        for i = 1, 50 do log.info(("x"):rep(4000)) end
    end }"#;
    let _ = with_small_files(&desk, 200, says).exits(0);
    assert!(
        fs::metadata(desk.path("state/runs/site-1/events.jsonl"))
            .unwrap()
            .len()
            <= 200 * 512
    );
    let writes = r#"return { api = 1, run = function()
        for i = 1, 50 do exec { member = "micro01", argv = { "/bin/echo", ("x"):rep(4000) }, effect = "read" } end
    end }"#;
    let ended = with_small_files(&desk, 200, writes);
    assert_eq!(ended.code, Some(7), "{ended:?}");
    assert!(
        ended.stderr.contains("can't be written: File too large"),
        "{ended:?}"
    );
    let _ = desk.run(&["resume", "site-2", "--quiet"]).exits(0);
}

#[test]
fn endless_output_fills_neither_the_journal_nor_the_disk() {
    let desk = Desk::new();
    let cluster = "name = \"here\"\n\n[[members]]\nname = \"here\"\nlocal = true\n";
    write(&desk.path("here.toml"), cluster);
    let text = r#"return { api = 1, run = function()
        for i = 1, 40 do
            local program = "yes " .. i .. " | head -c 2500000"
            exec { member = "here", argv = { "/bin/sh", "-c", program }, effect = "read" }
        end
    end }"#;
    write(&desk.path("site.lua"), text);
    let _ = desk
        .run(&["run", "site.lua", "--cluster", "here.toml", "--quiet"])
        .exits(0);
    let bytes = |name: &str| {
        let file = desk.path(&format!("state/runs/site-1/{name}"));
        fs::metadata(file).unwrap().len()
    };
    assert!(bytes("journal.jsonl") < 40 * 80_000);
    assert!(bytes("events.jsonl") < 40 * 10_000);
    let outputs = fs::read_dir(desk.path("state/runs/site-1/out")).unwrap();
    let outputs: Vec<u64> = outputs
        .map(|file| file.unwrap().metadata().unwrap().len())
        .collect();
    assert_eq!(outputs.len(), 40);
    assert!(outputs.iter().all(|bytes| *bytes < (1 << 20) + 100));
}

/// Tells which files and folders are synced, by their paths, a line each.
const WITNESS: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
static int synced(const char *how, int file) {
    char link[64], path[4096], line[4098];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0) {
        path[length] = 0;
        int log = open(getenv("WITNESS"), O_WRONLY | O_CREAT | O_APPEND, 0600);
        length = snprintf(line, sizeof line, "%s\n", path);
        if (write(log, line, length) != length) abort();
        close(log);
    }
    return ((int (*)(int)) dlsym(RTLD_NEXT, how))(file);
}
int fsync(int file) { return synced("fsync", file); }
int fdatasync(int file) { return synced("fdatasync", file); }
"#;

/// What was synced in a run of these lines, by paths in the desk.
fn synced(desk: &Desk, cluster: &str, lines: &str) -> Vec<String> {
    write(&desk.path("witness.c"), WITNESS);
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o", "witness.so", "witness.c", "-ldl"])
        .current_dir(desk.path(""));
    assert!(cc.status().unwrap().success());
    let text = format!("return {{ api = 1, run = function() {lines} end }}");
    write(&desk.path("site.lua"), &text);
    let mut command = desk.command(&["run", "site.lua", "--cluster", cluster]);
    command
        .env("LD_PRELOAD", desk.path("witness.so"))
        .env("WITNESS", desk.path("synced"));
    let _ = Ran::of(command.output().unwrap()).exits(0);
    let here = fs::canonicalize(desk.path("")).unwrap();
    let here = here.display().to_string();
    let synced = read(&desk.path("synced"));
    let paths = synced.lines().map(|line| line.trim_start_matches(&here));
    paths
        .map(|path| path.trim_matches('/').to_owned())
        .collect()
}

#[test]
fn all_of_a_run_is_on_disk_before_each_step_begins() {
    let desk = Desk::new();
    let cluster = "name = \"here\"\n\n[[members]]\nname = \"here\"\nlocal = true\n";
    write(&desk.path("here.toml"), cluster);
    let step = format!(
        r#"exec {{ member = "here", argv = {{ "/bin/sh", "-c", "echo step >> {}" }}, effect = "once" }}"#,
        desk.path("synced").display()
    );
    let synced = synced(&desk, "here.toml", &format!("{step} {step}"));
    let steps: Vec<&[String]> = synced.split(|line| line == "step").collect();
    let [before, between, _] = steps[..] else {
        panic!("{synced:?}");
    };
    let journal = "state/runs/site-1/journal.jsonl".to_owned();
    for lasts in ["", "state", "state/runs", "state/runs/site-1", &journal] {
        assert!(
            before.iter().any(|path| path == lasts),
            "{lasts}: {synced:?}"
        );
    }
    assert!(between.contains(&journal), "{synced:?}");
    let appends = read(&desk.path(&journal));
    let appends = appends.lines().filter(|line| !line.contains("\"more\""));
    let syncs = synced.iter().filter(|path| **path == journal);
    assert_eq!(syncs.count(), appends.count(), "{synced:?}");
    let bundle = "state/runs/site-1/bundle/";
    assert!(before.iter().any(|path| path.starts_with(bundle)));
}

/// Its cluster isn't either, and has to fit its journal.
#[test]
fn nothing_of_a_simulated_run_waits_for_the_disk() {
    let desk = Desk::new();
    let step = r#"microceph.noout { member = "micro01", on = true }
        microceph.noout { member = "micro01", on = false }"#;
    let synced = synced(&desk, "twin:1", step);
    let of_run = synced
        .iter()
        .filter(|path| path.starts_with("state/runs/site-1/"));
    assert_eq!(of_run.count(), 0, "{synced:?}");
}

#[test]
fn a_name_that_is_no_runs_makes_nothing_anywhere() {
    let desk = Desk::new();
    let update = ["update", "--cluster", "twin:1", "--yes", "--quiet"];
    let _ = desk.run(&update).exits(0);
    fs::create_dir(desk.path("elsewhere")).unwrap();
    let elsewhere = desk.path("elsewhere").display().to_string();
    for command in ["resume", "show", "abort", "watch", "report"] {
        for name in ["", ".", "..", "../runs/update-1", "update-1/", &elsewhere] {
            let said = desk.run(&[command, name]);
            assert_eq!(said.code, Some(2), "{command} {name:?}: {}", said.stderr);
        }
    }
    for lock in ["state/lock", "state/runs/lock", "elsewhere/lock"] {
        assert!(!desk.path(lock).exists(), "{lock}");
    }
}

#[test]
fn a_cluster_that_could_not_be_looked_at_is_resumed() {
    let desk = crate::fleet::desk(&fleet(&["paris"], "approve = true", &[]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let torn = desk.path("state/runs/rollout-1/clusters/paris.skip");
    write(&torn, "{");
    let out = desk.run(&["fleet", "continue", "--yes"]).exits(4);
    assert!(out.contains("paris.skip can't be read"), "{out}");
    fs::remove_file(&torn).unwrap();
    let _ = desk.run(&["fleet", "resume", "paris"]).exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
    assert_eq!(states(&desk), json!({"berlin": "done", "paris": "done"}));
}
