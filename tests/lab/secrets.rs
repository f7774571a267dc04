//! Secrets on their way over SSH: the program on the member gets them, and nobody else does.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use lockstep_tests::desk::lockstep;
use lockstep_tests::lab::{Odd, Ran, SshLab, read, wait_until, write};
use lockstep_tests::root;
use lockstep_tests::secrets::{
    TOKEN, assert_clean, assert_printed_clean, assert_state_clean, files, playbook,
};
use lockstep_twin::Scenario;
use serde_json::Value;

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
fn reported(lab: &SshLab, args: &[&str]) -> Ran {
    let mut command = lab.lockstep(args);
    Ran::of(command.env("LB_TOKEN", TOKEN).output().unwrap())
}

#[test]
fn the_program_gets_the_secret_and_nobody_else_does() {
    let lab = lab();
    let (book, got) = (playbook(), lab.path("got"));
    let into = got.display().to_string();
    let ran = reported(&lab, &["run", &book, "--into", &into, "--verbose"]);
    assert_printed_clean(&ran);
    assert!(ran.stdout.contains("the token is ***"), "{}", ran.stdout);
    assert!(ran.stdout.contains("raw: ***"), "{}", ran.stdout);
    assert!(
        ran.stdout.contains("secret-1 is held at exec#3"),
        "{}",
        ran.stdout
    );
    assert_eq!(read(&got), format!("{TOKEN}\n").repeat(3));

    let ran = reported(&lab, &["resume", "secret-1", "--json"]);
    assert_printed_clean(&ran);
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
        assert_printed_clean(&reported(&lab, more));
    }
    let last = reported(&lab, &["show", "secret-1", "--json"]).exits(0);
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
fn what_a_running_program_says_is_shown_without_the_secret() {
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
    let mut reported = Vec::new();
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
            reported.push(line);
            write(&lab.path("got.next"), "");
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(4));
    let of = |begin: &str| reported.iter().find(|line| line.starts_with(begin));
    assert_eq!(of("raw").unwrap(), "raw: ***");
    assert_eq!(of("argument").unwrap(), "argument: ***");
    assert_eq!(of("{").unwrap(), r#"{"token":"***"}"#);
    assert_eq!(of("hexadecimal").unwrap(), "hexadecimal: ***");
    assert_eq!(of("the end").unwrap(), "the end");
    // A line that isn't whole may hold a part of it.
    assert_eq!(of("half"), None, "{reported:?}");
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
    let mut printed = String::new();
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
        printed.push_str(&format!(
            "$ lockstep {}\n{}\n",
            more.join(" "),
            plain(lab.run(more))
        ));
    }
    insta::assert_snapshot!("a_secret_that_is_not_there_any_more", printed);
    assert_eq!(journal(), before, "something was done");

    let file = lab.path("token");
    write(&file, &format!("{TOKEN}\n"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let source = format!("token=file:{}", file.display());
    let ran = lab.run(&["resume", "secret-1", "--secret", &source]);
    assert_printed_clean(&ran);
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
