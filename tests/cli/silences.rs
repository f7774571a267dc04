//! Silences in an Alertmanager that behaves badly.

use std::fs;

use lockstep_tests::lab::{read, write};
use lockstep_tests::receiver::{Manner, Receiver, Seen, answer};
use serde_json::{Value, json};

use crate::notify::{REHEARSE, desk};

/// Makes silences, and fails with all else.
fn only_makes(asked: &Seen) -> String {
    match asked.line.starts_with("POST") {
        true => answer(200, r#"{"silenceID": "one"}"#),
        false => answer(500, "oops"),
    }
}

/// Answers, as Alertmanager 0.25 does, that it has no such silence.
fn has_none(asked: &Seen) -> String {
    match asked.line.split(' ').next() {
        Some("GET") => answer(404, ""),
        Some("DELETE") => answer(500, "silence one not found"),
        _ => only_makes(asked),
    }
}

fn silence(url: &str) -> String {
    format!(
        "[notify]\nmetrics = \"nowhere\"\n[notify.silence]\nalertmanager = {url:?}\nmatchers = [\"a=b\"]\n"
    )
}

const HELD: [&str; 2] = ["--fault", "refresh-fails:lxd,micro02"];
const SHOW: [&str; 2] = ["show", "update-1"];
const BEHIND: &str = "silence is not up to date: ";

#[test]
fn a_silence_that_is_left_is_known_and_ended_later() {
    let alertmanager = Receiver::new(Manner::Says(only_makes));
    let desk = desk(&silence(&alertmanager.url));
    let out = desk.run(&[&REHEARSE[..], &HELD].concat());
    assert!(out.stderr.contains(BEHIND), "{out:?}");
    let _ = out.exits(4);
    let made = || {
        alertmanager
            .seen()
            .iter()
            .filter(|seen| seen.line.starts_with("POST"))
            .count()
    };
    assert_eq!(made(), 1);
    // Half of its time is over, and nobody knows whether it is still there: no other one is made.
    let lease = desk.path("state/runs/update-1/notify/silence.json");
    let mut kept: Value = serde_json::from_str(&read(&lease)).unwrap();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(10);
    kept["until"] = json!(soon);
    write(&lease, &kept.to_string());
    let out = desk.run(&["resume", "update-1"]);
    assert!(out.stderr.contains("it answered 500: oops"), "{out:?}");
    let _ = out.exits(4);
    assert_eq!(made(), 1);
    let shown = desk.run(&SHOW).exits(0);
    assert!(shown.contains(BEHIND), "{shown}");
    // The Alertmanager says now that there is none, if in its own way. A timer finds that out.
    alertmanager.behave(Manner::Says(has_none));
    assert_eq!(
        desk.run(&["notify"]).exits(0),
        "update-1: silence: up to date\n"
    );
    assert_eq!(desk.run(&["notify"]).exits(0), "");
    let shown = desk.run(&SHOW).exits(0);
    assert!(!shown.contains(BEHIND), "{shown}");
}

#[test]
fn what_nobody_can_see_to_any_more_is_not_shown() {
    // Nothing was silenced, so nothing is left.
    let desk = desk(&silence("http://127.0.0.1:9"));
    let out = desk.run(&[&REHEARSE[..], &HELD].concat());
    let figures = "metrics is not up to date: ";
    assert!(
        out.stderr.contains(figures) && !out.stderr.contains(BEHIND),
        "{out:?}"
    );
    let shown = out.exits(4);
    for receiver in ["silence", "metrics"] {
        let warning = format!("notify: {receiver}: ");
        assert_eq!(shown.matches(&warning).count(), 1, "{shown}");
    }
    assert!(desk.run(&SHOW).exits(0).contains(figures));
    assert_eq!(desk.run(&["notify"]).exits(0), "", "there are no events");
    let _ = desk.run(&["resume", "update-1", "--mend"]).exits(0);
    let shown = desk.run(&SHOW).exits(0);
    assert!(!shown.contains("not up to date"), "{shown}");
}

#[test]
fn a_run_that_cannot_be_told_of_keeps_no_other() {
    let receiver = Receiver::new(Manner::Answers(503));
    let desk = desk(&format!(
        "[notify.webhook.pager]\nurl = {:?}\nsecret = \"secret\"\n",
        receiver.url
    ));
    for _ in 0..2 {
        let _ = desk.run(&REHEARSE).exits(0);
    }
    let lock = desk.path("state/runs/update-1/lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    receiver.behave(Manner::Answers(200));
    let out = desk.run(&["notify"]);
    assert!(out.stderr.starts_with("warning: update-1: "), "{out:?}");
    assert_eq!(out.exits(1), "update-2: pager: 2 events delivered\n");
}
