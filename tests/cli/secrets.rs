//! Secrets: who gets to know them, and that nobody else does.

mod inside;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::{Odd, Ran, SshLab, now, pause, read, write};
use lockstep_tests::root;
use lockstep_twin::Scenario;
use serde_json::Value;

/// It has what has to be escaped in JSON, shells, URLs and base64.
const TOKEN: &str = r#"Zq7"vK9xQ\xW3rT/mT5kP+ bR8hS&nY2gD=pL6dF4"#;

fn playbook() -> String {
    root().join("tests/lua/secret.lua").display().to_string()
}

/// A lab with a member on which a program gives secrets away.
fn lab() -> SshLab {
    SshLab::with(&Scenario::of(1), |_| Odd {
        files: vec![(
            "/usr/local/bin/leak".to_owned(),
            read(&root().join("tests/src/lab/leak.sh")),
        )],
        ..Odd::default()
    })
}

/// lockstep, about the lab's cluster, where the environment has the token.
fn told(lab: &SshLab, args: &[&str]) -> Ran {
    let mut command = lab.lockstep(args);
    Ran::of(command.env("LB_TOKEN", TOKEN).output().unwrap())
}

/// The letters of base64 that are the token's alone, behind so many other bytes.
fn letters(before: usize) -> String {
    let text = format!("{}{TOKEN}", "-".repeat(before));
    let mut child = Command::new("base64")
        .args(["-w", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let letters = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    letters[4..letters.len() - 4].to_owned()
}

/// Fails if a text holds the token or a part of it, in any form that the program knows.
fn assert_clean(what: &str, text: &str) {
    let hex: String = TOKEN.bytes().map(|b| format!("{b:02x}")).collect();
    let parts = ["vK9xQ", "xW3rT", "mT5kP", "bR8hS", "nY2gD", "pL6dF4"];
    let parts = parts.map(str::to_owned).into_iter();
    for part in parts
        .chain((0..3).map(letters))
        .chain([hex[..12].to_owned()])
    {
        if let Some(at) = text.find(&part) {
            let from = (0..=at.saturating_sub(200))
                .rev()
                .find(|i| text.is_char_boundary(*i));
            panic!("{what}: …{}{part}", &text[from.unwrap_or(0)..at]);
        }
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Fails if anything that runs left behind holds the token. Returns how many files there are.
fn assert_state_clean(state: &Path) -> usize {
    let files = files(state);
    for file in &files {
        let bytes = fs::read(file).unwrap();
        assert_clean(
            &file.display().to_string(),
            &String::from_utf8_lossy(&bytes),
        );
    }
    files.len()
}

fn assert_said_clean(ran: &Ran) {
    assert_clean("standard output", &ran.stdout);
    assert_clean("standard error", &ran.stderr);
    for mark in ['\u{E000}', '\u{E001}'] {
        assert!(
            !ran.stdout.contains(mark) && !ran.stderr.contains(mark),
            "{ran:?}"
        );
    }
}

fn wait_until(otherwise: &str, mut there: impl FnMut() -> bool) {
    let deadline = now() + Duration::from_secs(60);
    while !there() {
        assert!(now() < deadline, "{otherwise}");
        pause(Duration::from_millis(20));
    }
}

#[test]
fn the_program_gets_the_secret_and_nobody_else_does() {
    let lab = lab();
    let (book, got) = (playbook(), lab.path("got"));
    let into = got.display().to_string();
    let ran = told(&lab, &["run", &book, "--into", &into, "--verbose"]);
    assert_said_clean(&ran);
    assert!(ran.stdout.contains("the token is ***"), "{}", ran.stdout);
    assert!(ran.stdout.contains("raw: ***"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("secret-1 is held at exec#3"),
        "{}",
        ran.stdout
    );
    assert_eq!(read(&got), format!("{TOKEN}\n").repeat(3));

    let ran = told(&lab, &["resume", "secret-1", "--json"]);
    assert_said_clean(&ran);
    let _ = ran.exits(4);
    for more in [
        &["show", "secret-1"][..],
        &["show", "secret-1", "--json"],
        &["runs"],
        &[
            "resume",
            "secret-1",
            "--assume-done",
            "exec#3={\"code\":0,\"stdout\":\"x\",\"stderr\":\"\"}",
        ],
        &["show", "secret-1", "--verbose"],
    ] {
        assert_said_clean(&told(&lab, more));
    }
    let last = told(&lab, &["show", "secret-1", "--json"]).exits(0);
    let last: Value = serde_json::from_str(&last).unwrap();
    assert_eq!(last["state"], "done", "{last}");
    assert_eq!(last["params"]["token"], "env:LB_TOKEN", "{last}");

    let runs = lab.path("state/runs/secret-1");
    assert!(assert_state_clean(&lab.path("state")) >= 5);
    let journal = read(&runs.join("journal.jsonl"));
    assert!(journal.contains(r#""same":true"#), "{journal}");
    let outputs = files(&runs.join("out"));
    assert!(!outputs.is_empty());
}

#[test]
fn what_a_program_says_while_it_runs_is_shown_without_the_secret() {
    let lab = lab();
    let (book, got) = (playbook(), lab.path("got"));
    let into = got.display().to_string();
    write(&lab.path("got.slowly"), "");
    let mut child = lab
        .lockstep(&["run", &book, "--into", &into, "--json"])
        .env("LB_TOKEN", TOKEN)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        assert_clean("an event", &line);
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["event"] == "printed" {
            let line = event["line"].as_str().unwrap().to_owned();
            // The others are as talkative.
            if line == "the end" {
                fs::remove_file(lab.path("got.slowly")).unwrap();
            }
            told.push(line);
            write(&lab.path("got.next"), "");
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let of = |begin: &str| told.iter().find(|line| line.starts_with(begin));
    assert_eq!(of("raw").unwrap(), "raw: ***");
    assert_eq!(of("argument").unwrap(), "argument: ***");
    assert_eq!(of("{").unwrap(), r#"{"token":"***"}"#);
    assert_eq!(of("hexadecimal").unwrap(), "hexadecimal: ***");
    assert_eq!(of("the end").unwrap(), "the end");
    // A line that isn't whole may hold a part of it.
    assert_eq!(of("half"), None, "{told:?}");
}

#[test]
fn a_killed_run_finds_its_secret_again_or_says_what_is_missing() {
    let lab = lab();
    let (book, got) = (playbook(), lab.path("got"));
    let into = got.display().to_string();
    write(&lab.path("got.wait"), "");
    let mut child = lab
        .lockstep(&["run", &book, "--into", &into])
        .env("LB_TOKEN", TOKEN)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the program isn't begun", || got.exists());
    child.kill().unwrap();
    child.wait().unwrap();
    fs::remove_file(lab.path("got.wait")).unwrap();
    let journal = || read(&lab.path("state/runs/secret-1/journal.jsonl"));
    let before = journal();

    let plain = |ran: Ran| {
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        ran.stderr
    };
    let mut said = String::new();
    for more in [
        &["resume", "secret-1"][..],
        &["abort", "secret-1"],
        &["resume", "secret-1", "--secret", "token=hunter2hunter2"],
        &["resume", "secret-1", "--secret", "hunter2hunter2"],
        &["resume", "secret-1", "--secret", "tokne=env:HOME"],
        &[
            "resume",
            "secret-1",
            "--secret",
            "token=file:/nonexistent/token",
        ],
    ] {
        said.push_str(&format!(
            "$ lockstep {}\n{}\n",
            more.join(" "),
            plain(lab.run(more))
        ));
    }
    insta::assert_snapshot!("a_secret_that_is_not_there_any_more", said);
    assert_eq!(journal(), before, "something was done");

    let file = lab.path("token");
    write(&file, &format!("{TOKEN}\n"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let source = format!("token=file:{}", file.display());
    let ran = lab.run(&["resume", "secret-1", "--secret", &source]);
    assert_said_clean(&ran);
    assert_eq!(ran.stderr, "");
    let _ = ran.exits(4);
    assert_eq!(read(&got), format!("{TOKEN}\n").repeat(4));
    assert_state_clean(&lab.path("state"));
}

#[test]
fn a_person_at_a_terminal_is_asked_without_an_echo() {
    let lab = lab();
    let (book, got) = (playbook(), lab.path("got"));
    let (folder, lockstep) = (lab.path(""), lockstep());
    let folder = folder.display();
    let tty = lab.path("tty");
    let line = format!(
        "tty > {}; HOME={folder} {lockstep} --state {folder}/state --cluster {folder}/cluster.toml run {book} --into {} --token ask",
        tty.display(),
        got.display()
    );
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut seen = Vec::new();
    let asked = b"Token of the load balancer (token): ";
    while !seen.ends_with(asked) {
        let mut byte = [0];
        let read = screen.read(&mut byte).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    wait_until("the terminal's echo isn't switched off", || {
        let look = Command::new("stty")
            .args(["-a", "-F", read(&tty).trim()])
            .output();
        String::from_utf8_lossy(&look.unwrap().stdout).contains(" -echo ")
    });
    keys.write_all(format!("{TOKEN}\n").as_bytes()).unwrap();
    screen.read_to_end(&mut seen).unwrap();
    drop(keys);
    child.wait().unwrap();
    let seen = String::from_utf8_lossy(&seen).into_owned();
    assert_clean("the terminal", &seen);
    assert!(seen.contains("secret-1 is held at"), "{seen}");
    assert_eq!(read(&got), format!("{TOKEN}\n").repeat(3));
    assert_state_clean(&lab.path("state"));
}

#[test]
fn a_secret_that_can_t_be_had_is_told_before_anything_is_done() {
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
    let mut said = String::new();
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
        let told = ran.stderr.replace(
            desk.path("").to_str().unwrap().trim_end_matches('/'),
            "HERE",
        );
        said.push_str(&format!(
            "$ lockstep run site.lua --token {source}\n{told}\n"
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
        said.push_str(&format!(
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
    said.push_str(&format!(
        "$ lockstep run site.lua    # the cluster file has a number\n{}",
        ran.stderr
    ));
    insta::assert_snapshot!("a_secret_that_can_t_be_had", said);
    assert!(!desk.path("state/runs/secret-1").exists());
}

#[test]
fn a_simulated_cluster_needs_no_secret_and_gets_none() {
    let desk = Desk::new();
    fs::copy(playbook(), desk.path("site.lua")).unwrap();
    let with = |args: &[&str]| Ran::of(desk.command(args).env("LB_TOKEN", TOKEN).output().unwrap());
    let twin = ["--cluster", "twin:1"];
    let ran = with(&[&["run", "site.lua", "-v", "--json"][..], &twin].concat());
    assert_said_clean(&ran);
    let ended: Value = serde_json::from_str(ran.exits(0).lines().last().unwrap()).unwrap();
    assert_eq!(ended["result"]["token"], "***", "{ended}");

    let ran = desk.run(&[&["run", "site.lua"][..], &twin].concat());
    assert_said_clean(&ran);
    assert!(ran.exits(0).contains("the token is ***"));
    assert_said_clean(&desk.run(&["check", "site.lua", "--tries", "3"]));
    let rehearsed = desk.run(&["rehearse", "site.lua", "--members", "1"]);
    assert_said_clean(&rehearsed);
    let _ = rehearsed.exits(0);

    // A plan holds wherever the secret is found.
    let planned = desk.run(&[&["plan", "site.lua", "-o", "plan.json"][..], &twin].concat());
    assert_said_clean(&planned);
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
    assert_said_clean(&ran);
}

#[test]
fn what_a_run_leaves_is_nobody_else_s_business() {
    let desk = Desk::new();
    let _ = desk
        .run(&["plan", "update", "--cluster", "twin:4", "-o", "plan.json"])
        .exits(0);
    let _ = desk
        .run(&["update", "--cluster", "twin:4", "--plan", "plan.json"])
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
