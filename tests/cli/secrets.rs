//! Secrets: who gets to know them, and that nobody else does.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::{Ran, read, write};
use lockstep_tests::secrets::{
    TOKEN, assert_clean, assert_printed_clean, assert_state_clean, playbook,
};
use serde_json::Value;

#[test]
fn a_secret_that_cannot_be_had_is_reported_before_any_step() {
    let desk = Desk::new();
    write(
        &desk.path("cluster.toml"),
        "name = \"c\"\n[[members]]\nname = \"micro01\"\n",
    );
    fs::copy(playbook(), desk.path("site.lua")).unwrap();
    for (name, text) in [
        ("empty", "\n"),
        ("short", "abc12\n"),
        ("long", &"x".repeat(9000)),
    ] {
        write(&desk.path(name), text);
    }
    let mut printed = String::new();
    for source in [
        "hunter2hunter2",
        "env:NOT_SET",
        "file:gone",
        "file:empty",
        "file:short",
        "file:long",
        "file:.",
        "ask",
    ] {
        // Without a terminal at all, whatever runs the tests has.
        let output = Command::new("setsid")
            .args([
                "-w",
                &lockstep(),
                "--state",
                "state",
                "run",
                "site.lua",
                "--token",
                source,
            ])
            .current_dir(desk.path(""))
            .stdin(Stdio::null())
            .env_remove("LOCKSTEP_CLUSTER")
            .output()
            .unwrap();
        let ran = Ran::of(output);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{source}");
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        let reported = ran.stderr.replace(
            desk.path("").to_str().unwrap().trim_end_matches('/'),
            "HERE",
        );
        printed.push_str(&format!(
            "$ lockstep run site.lua --token {source}\n{reported}\n"
        ));
    }
    for (what, spec) in [
        ("no default", r#"{ type = "secret" }"#),
        (
            "its own value",
            r#"{ type = "secret", default = "hunter2hunter2" }"#,
        ),
        (
            "some words",
            r#"{ type = "secret", one_of = { "hunter2" } }"#,
        ),
    ] {
        let text = format!(
            "return {{ api = 1, params = {{ token = {spec} }}, run = function(_, p) return p.token == nil end }}\n"
        );
        let ran = desk.play(&text);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        printed.push_str(&format!(
            "$ lockstep run site.lua    # a secret with {what}\n{}{}\n",
            ran.stdout, ran.stderr
        ));
    }
    write(
        &desk.path("cluster.toml"),
        "name = \"c\"\nparams.site.token = 1234567\n[[members]]\nname = \"micro01\"\n",
    );
    fs::copy(playbook(), desk.path("site.lua")).unwrap();
    let ran = desk.run(&["run", "site.lua"]);
    assert!(!ran.stderr.contains("1234567"), "{}", ran.stderr);
    printed.push_str(&format!(
        "$ lockstep run site.lua    # the cluster file has a number\n{}",
        ran.stderr
    ));
    insta::assert_snapshot!("a_secret_that_cannot_be_had", printed);
    assert!(!desk.path("state/runs/secret-1").exists());
}

#[test]
fn a_simulated_cluster_needs_no_secret_and_gets_none() {
    let desk = Desk::new();
    fs::copy(playbook(), desk.path("site.lua")).unwrap();
    let with = |args: &[&str]| Ran::of(desk.command(args).env("LB_TOKEN", TOKEN).output().unwrap());
    let twin = ["--cluster", "twin:1"];
    let ran = with(&[&["run", "site.lua", "-v", "--json"][..], &twin].concat());
    assert_printed_clean(&ran);
    let ended: Value = serde_json::from_str(ran.exits(0).lines().last().unwrap()).unwrap();
    assert_eq!(ended["result"]["token"], "***", "{ended}");

    let ran = desk.run(&[&["run", "site.lua"][..], &twin].concat());
    assert_printed_clean(&ran);
    assert!(ran.exits(0).contains("the token is ***"));
    assert_printed_clean(&desk.run(&["check", "site.lua", "--tries", "3"]));
    let rehearsed = desk.run(&["rehearse", "site.lua", "--members", "1"]);
    assert_printed_clean(&rehearsed);
    let _ = rehearsed.exits(0);

    // A plan holds wherever the secret is found.
    let planned = desk.run(&[&["plan", "site.lua", "-o", "plan.json"][..], &twin].concat());
    assert_printed_clean(&planned);
    let _ = planned.exits(0);
    let keeping = [
        "run",
        "site.lua",
        "--plan",
        "plan.json",
        "--token",
        "env:OTHER",
    ];
    let _ = with(&[&keeping[..], &twin].concat()).exits(0);
    assert_clean("the plan", &read(&desk.path("plan.json")));
    assert!(assert_state_clean(&desk.path("state")) >= 12);
    let events = read(&desk.path("state/runs/site-1/events.jsonl"));
    assert!(
        !events.contains('\u{E000}') && events.contains("***"),
        "{events}"
    );
}

#[test]
fn a_part_of_a_secret_is_not_passed_on() {
    let desk = Desk::new();
    let text = "return { api = 1, params = { token = { type = \"secret\", default = \"env:X\" } }, run = function(_, p)\n\
        exec { member = \"micro01\", argv = { \"/bin/echo\", p.token:sub(1, 5) }, effect = \"read\" }\nend }\n";
    let out = desk.play(text).exits(4);
    assert!(
        out.contains("a secret can only be passed on whole"),
        "{out}"
    );
}

#[test]
fn the_help_says_where_a_secret_may_be_found() {
    let desk = Desk::new();
    let help = desk.run(&["run", &playbook(), "--help"]).exits(0);
    let words: Vec<&str> = help.split_whitespace().collect();
    let help = words.join(" ");
    for part in [
        "--token <SOURCE>",
        "Token of the load balancer (a secret: env:NAME, file:PATH or ask) [default: env:LB_TOKEN]",
    ] {
        assert!(help.contains(part), "{help}");
    }
}

#[test]
fn a_file_that_others_may_read_is_warned_of() {
    let desk = Desk::new();
    write(
        &desk.path("cluster.toml"),
        "name = \"c\"\n[ssh]\nconnect_timeout = \"1s\"\n[[members]]\nname = \"micro01\"\naddress = \"nobody.invalid\"\n",
    );
    write(&desk.path("token"), TOKEN);
    let ran = desk.run(&["run", &playbook(), "--token", "file:token"]);
    let file = desk.path("token");
    let warning = format!(
        "{} holds a secret and can be read by others",
        file.display()
    );
    assert!(ran.stderr.contains(&warning), "{}", ran.stderr);
    assert_printed_clean(&ran);
}

#[test]
fn what_a_run_leaves_is_private() {
    let desk = Desk::new();
    let _ = desk
        .run(&["plan", "update", "--cluster", "twin:5", "-o", "plan.json"])
        .exits(0);
    let _ = desk
        .run(&["update", "--cluster", "twin:5", "--plan", "plan.json"])
        .exits(0);
    let mut seen = Vec::new();
    let mut folders = vec![desk.path("state")];
    while let Some(folder) = folders.pop() {
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                seen.push(path.file_name().unwrap().to_string_lossy().into_owned());
            }
        }
    }
    for name in [
        "journal.jsonl",
        "events.jsonl",
        "twin.json",
        "plan.json",
        "lock",
    ] {
        assert!(seen.iter().any(|file| file == name), "{name} in {seen:?}");
    }
    assert!(desk.path("state/runs/update-1/bundle").is_dir());
    assert!(desk.path("state/runs/update-1/out").is_dir());
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}
