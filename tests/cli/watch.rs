//! `watch`: a run followed from another terminal.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{read, write};
use serde_json::Value;

/// A run of a playbook that ends with `end`, and its events.
fn over(end: &str, code: i32) -> Desk {
    let desk = Desk::new();
    let text = format!(
        "return {{ api = 1, run = function(cluster, p)\nsnap.hold {{ member = 'micro01', snap = 'lxd' }}\n{end}\nend }}"
    );
    let _ = desk.play(&text).exits(code);
    desk
}

const FAILS: &str = "snap.info { member = 'micro02', snap = 'nosuch' }";

#[test]
fn a_run_that_is_over_is_shown_as_it_was_and_ends_as_it_ended() {
    for (end, code) in [("return 1", 0), (FAILS, 4), ("error('no')", 1)] {
        let desk = over(end, code);
        let ran = desk.run(&["watch", "site-1"]);
        assert_eq!(ran.code, Some(code), "{ran:?}");
        assert!(
            ran.stdout.contains("site-1: site.lua of twin of 2"),
            "{ran:?}"
        );
    }
}

#[test]
fn without_a_name_the_last_run_is_watched() {
    let desk = over("return 1", 0);
    let _ = desk
        .run(&["run", "site.lua", "--cluster", "twin:2"])
        .exits(0);
    assert!(desk.run(&["watch"]).exits(0).contains("site-2: "));
    let empty = Desk::new().run(&["watch"]);
    assert_eq!(empty.code, Some(2));
    assert!(empty.stderr.contains("there are no runs yet"), "{empty:?}");
}

#[test]
fn the_stream_is_passed_on_as_it_is() {
    let desk = over("return 1", 0);
    let events = desk.path("state/runs/site-1/events.jsonl");
    let strange = r#"{"v":1,"at":"2026-04-01T12:00:00Z","event":"eclipse","of":"the sun"}"#;
    let text = format!("{strange}\n{}", read(&events));
    write(&events, &text);
    assert_eq!(desk.run(&["watch", "site-1", "--json"]).exits(0), text);
    let plain = desk.run(&["watch", "site-1"]);
    assert_eq!(plain.code, Some(0), "{plain:?}");
    assert!(plain.stderr.contains("doesn't know: eclipse"), "{plain:?}");
}

#[test]
fn the_stream_does_nothing_to_a_terminal_and_loses_nothing() {
    let desk = over("", 0);
    let events = desk.path("state/runs/site-1/events.jsonl");
    let evil = "a\u{9b}2J\u{202e}\u{61c}\u{7f}\u{e0041}";
    let first = read(&events).lines().next().unwrap().to_owned();
    let mut line: Value = serde_json::from_str(&first).unwrap();
    for (key, value) in [
        ("event", "log"),
        ("level", "info"),
        ("scope", ""),
        ("message", evil),
    ] {
        line[key] = Value::from(value);
    }
    write(&events, &format!("{}{line}\n", read(&events)));
    let out = desk.run(&["watch", "site-1", "--json"]).exits(0);
    let last = out.lines().next_back().unwrap();
    assert!(last.is_ascii(), "{last}");
    assert_eq!(serde_json::from_str::<Value>(last).unwrap(), line);
}

/// A run that somebody else runs: its folder is locked, and its events come when they happen.
struct Live {
    desk: Desk,
    lock: File,
    rest: Vec<String>,
    watch: Child,
}

impl Live {
    /// Of a run that is over, as it was when the first `seen` of its events were there.
    fn at(seen: usize) -> Self {
        let desk = over("return 1", 0);
        let folder = desk.path("state/runs/site-1");
        let text = read(&folder.join("events.jsonl"));
        let mut lines: Vec<String> = text.lines().map(|line| format!("{line}\n")).collect();
        let rest = lines.split_off(seen);
        write(&folder.join("events.jsonl"), &lines.concat());
        let lock = File::create(folder.join("lock")).unwrap();
        lock.try_lock().unwrap();
        let watch = desk
            .command(&["watch", "--json"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            desk,
            lock,
            rest,
            watch,
        }
    }

    fn say(&self, text: &str) {
        let path = self.desk.path("state/runs/site-1/events.jsonl");
        let mut file = OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

#[test]
fn a_run_in_progress_is_followed_to_its_end() {
    let mut live = Live::at(2);
    let mut out = BufReader::new(live.watch.stdout.take().unwrap());
    let mut line = || {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        line
    };
    let first: Value = serde_json::from_str(&line()).unwrap();
    assert_eq!(first["event"], "run-started");
    let _ = line();
    // It is following now: a line in two pieces comes whole, and the end is the end only when the lock is gone.
    let rest = live.rest.concat();
    let (a, b) = rest.split_at(10);
    live.say(a);
    live.say(b);
    for seen in &live.rest {
        assert_eq!(&line(), seen);
    }
    assert!(
        live.watch.try_wait().unwrap().is_none(),
        "it may be resumed by the same process"
    );
    live.lock.unlock().unwrap();
    assert_eq!(line(), "");
    assert_eq!(live.watch.wait().unwrap().code(), Some(0));
}

#[test]
fn a_process_that_is_gone_is_reported() {
    let mut live = Live::at(2);
    let journal = live.desk.path("state/runs/site-1/journal.jsonl");
    let text = read(&journal);
    let last = text.trim_end().rfind('\n').unwrap();
    write(&journal, &text[..=last]);
    live.lock.unlock().unwrap();
    assert_eq!(live.watch.wait().unwrap().code(), Some(5));
    let ran = live.desk.run(&["watch", "site-1"]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(
        ran.stdout
            .contains("site-1: broken off: the process that ran it is gone"),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains("Continue with: lockstep resume site-1"),
        "{ran:?}"
    );
}

#[test]
fn an_interrupt_ends_the_watching_and_not_the_run() {
    let mut live = Live::at(2);
    let mut out = BufReader::new(live.watch.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    let pid = live.watch.id().to_string();
    let kill = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .unwrap();
    assert!(kill.success());
    let output = live.watch.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let seen = String::from_utf8(output.stderr).unwrap();
    assert!(seen.contains("site-1 continues"), "{seen}");
}

#[test]
fn a_run_of_which_little_is_left_is_watched_as_far_as_it_goes() {
    let desk = over("return 1", 0);
    let events = desk.path("state/runs/site-1/events.jsonl");
    let text = read(&events);
    write(&events, &format!("\u{0}\u{0}not an event\n{text}"));
    let ran = desk.run(&["watch", "site-1"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.stderr
            .contains("1 line of the events that can't be read"),
        "{ran:?}"
    );
    fs::remove_file(&events).unwrap();
    let ran = desk.run(&["watch", "site-1"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("site-1: done"), "{ran:?}");
    write(&desk.path("state/runs/site-1/journal.jsonl"), "garbage\n");
    let ran = desk.run(&["watch", "site-1"]);
    assert_eq!(ran.code, Some(7), "{ran:?}");
}
