//! `show` and `report`: what is shown of a run that is over, or that waits for somebody.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use jiff::Timestamp;
use lockstep_tests::desk::{Desk, held, printed, troubled};
use lockstep_tests::lab::{read, write};
use regex::Regex;
use serde_json::{Value, json};

/// Times and names of this machine, taken out.
fn settled(text: &str) -> String {
    let mut text = text.to_owned();
    for (what, with) in [
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "2026-04-01 12:00:00"),
        (r"\d{8}T\d{6}Z", "20260401T120000Z"),
        (
            r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z",
            "2026-04-01T12:00:00Z",
        ),
        (r"\b\d\d:\d\d:\d\d\b", "12:00:00"),
        (
            r"\b\d+ h \d+ min\b|\b\d+ min \d+ s\b|\b\d+\.\d s\b",
            "1.0 s",
        ),
        (r"(uid \d+|\w+)@((?:&#8203;)?)[\w.-]+", "me@${2}here"),
        (r"lockstep \d+\.\d+\.\d+", "lockstep 0.0.0"),
        (r" +\n", "\n"),
    ] {
        text = Regex::new(what)
            .unwrap()
            .replace_all(&text, with)
            .into_owned();
    }
    text
}

fn journal(desk: &Desk) -> PathBuf {
    desk.path("state/runs/site-1/journal.jsonl")
}

fn events(desk: &Desk) -> PathBuf {
    desk.path("state/runs/site-1/events.jsonl")
}

#[test]
fn a_run_with_a_hold_is_shown_on_a_screen_and_as_a_ticket() {
    let desk = troubled();
    let show = desk.run(&["show", "update-1"]).exits(0);
    assert!(show.lines().count() <= 45, "{show}");
    // Columns are as wide as the times in them are.
    let show = Regex::new(" {2,}")
        .unwrap()
        .replace_all(&settled(&show), "  ")
        .into_owned();
    insta::assert_snapshot!("show", show);
    let ticket = desk
        .run(&["report", "update-1", "--format", "markdown", "-o", "-"])
        .exits(0);
    insta::assert_snapshot!("ticket", settled(&ticket));
}

#[test]
fn every_step_is_shown_with_its_commands_and_outputs() {
    let desk = held();
    let steps = desk.run(&["show", "site-1", "--steps"]).exits(0);
    insta::assert_snapshot!(settled(&steps));
    let short = desk.json(&["show", "site-1", "--json"]);
    assert_eq!(short["state"], "held");
    assert!(short["steps"][0].get("commands").is_none(), "{short}");
    let all = desk.json(&["show", "site-1", "--json", "--steps"]);
    assert!(
        all["steps"][0]["commands"][0]["command"].is_string(),
        "{all}"
    );
    assert_eq!(all["held"], json!(["LXD/snap.info#1"]));
}

#[test]
fn a_decision_is_shown_with_who_took_it_and_what_was_given() {
    let desk = held();
    let info = json!({"revision": "1", "version": "1", "channel": "", "cohort": "", "held": false, "active": true});
    let assumed = format!("LXD/snap.info#1={info}");
    let ran = desk.run(&["resume", "site-1", "--assume-done", &assumed]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let shown = desk.json(&["show", "site-1", "--json"]);
    let turns = shown["turns"].as_array().unwrap();
    let decided = turns.iter().find(|turn| turn["what"] == "decided");
    let decided = decided.unwrap_or_else(|| panic!("{ran:?}\n{shown}"));
    assert_eq!(decided["choice"], "assume-done");
    assert_eq!(decided["path"], "LXD/snap.info#1");
    assert_eq!(decided["given"], info);
    assert!(decided["who"].as_str().unwrap().contains('@'), "{decided}");
}

#[test]
fn a_damaged_journal_is_reported_and_the_rest_is_shown() {
    let desk = held();
    let text = read(&journal(&desk));
    let lines: Vec<&str> = text.lines().collect();
    let mut damaged: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    damaged[3] = damaged[3].replace("record", "rec0rd");
    write(&journal(&desk), &(damaged.join("\n") + "\n"));
    let show = desk.run(&["show", "site-1"]);
    assert_eq!(show.code, Some(7), "{show:?}");
    assert!(
        show.stderr
            .contains("error: site-1: line 4 of the journal is damaged"),
        "{}",
        show.stderr
    );
    for known in ["site.lua of twin of 2", "LXD/snap.info#1", "held"] {
        assert!(show.stdout.contains(known), "{known}\n{}", show.stdout);
    }
    // Nothing is offered that would be refused.
    assert!(!show.stdout.contains("lockstep resume"), "{}", show.stdout);
    assert!(
        show.stdout.contains(
            "it can't be resumed from this journal; look at the cluster with: lockstep status"
        ),
        "{}",
        show.stdout
    );
    let report = desk.run(&["report", "site-1"]);
    assert_eq!(report.code, Some(7), "{report:?}");
    let html = read(&desk.path("site-1.html"));
    assert!(!html.contains("lockstep resume"));
    for printed in [
        "The journal can't be read",
        "line 4 of the journal is damaged",
        "LXD/snap.info#1",
    ] {
        assert!(html.contains(printed), "{printed}");
    }
    // Without a word of the journal the events still tell what happened.
    write(&journal(&desk), "\u{0}garbage\n");
    let show = desk.run(&["show", "site-1"]);
    assert_eq!(show.code, Some(7), "{show:?}");
    assert!(
        show.stderr.contains("from the events alone"),
        "{}",
        show.stderr
    );
    for known in ["site.lua of twin of 2", "LXD/snap.info#1", "held"] {
        assert!(show.stdout.contains(known), "{known}\n{}", show.stdout);
    }
}

#[test]
fn a_torn_or_missing_journal_is_shown_as_far_as_it_goes() {
    let desk = held();
    let text = read(&journal(&desk));
    write(&journal(&desk), &text[..text.len() - 30]);
    let show = desk.run(&["show", "site-1"]).exits(0);
    assert!(show.contains("held"), "{show}");
    // Where only the journal is gone, the events know that there was a run.
    fs::remove_file(journal(&desk)).unwrap();
    let report = desk.run(&["report", "site-1", "-o", "-"]);
    assert_eq!(report.code, Some(7), "{report:?}");
    assert!(report.stdout.contains("the journal can't be read"));
    // Killed while its folder was filled, after the journal was made, or in its first line.
    fs::remove_file(events(&desk)).unwrap();
    for begun in [None, Some(""), Some(&text[..20])] {
        if let Some(begun) = begun {
            write(&journal(&desk), begun);
        }
        for command in ["show", "resume", "abort", "report"] {
            let ran = desk.run(&[command, "site-1"]);
            assert_eq!(ran.code, Some(7), "{ran:?}");
            let reported = "the run did not start: its journal is missing or empty";
            assert!(ran.stderr.contains(reported), "{command}: {ran:?}");
            for offered in ["lockstep resume", "lockstep status"] {
                assert!(!ran.stdout.contains(offered), "{command}: {ran:?}");
            }
        }
        let runs = desk.run(&["runs"]).exits(0);
        assert!(runs.contains("did not begin"), "{runs}");
        let runs = desk.run(&["runs", "--json"]).exits(0);
        assert!(runs.contains(r#""state":"did not begin""#), "{runs}");
    }
}

#[test]
fn with_a_journal_of_another_version_the_events_are_shown() {
    let desk = held();
    let line = r#"{"n":1,"at":"2026-01-01T00:00:00Z","sum":"acd6b9e450aaca59","record":{"run":{"format":9}}}"#;
    write(&journal(&desk), &format!("{line}\n"));
    let show = desk.run(&["show", "site-1"]);
    assert_eq!(show.code, Some(7), "{show:?}");
    assert!(
        show.stderr.contains("the journal is of format 9"),
        "{}",
        show.stderr
    );
    assert!(show.stdout.contains("LXD/snap.info#1"), "{}", show.stdout);
}

#[test]
fn missing_unknown_or_garbage_events_cost_only_themselves() {
    let desk = held();
    let text = read(&events(&desk));
    let strange = r#"{"v":1,"at":"2026-04-01T12:00:00Z","event":"eclipse","of":"the sun"}"#;
    write(
        &events(&desk),
        &format!("{strange}\n\u{0}\u{1}[[[\n{text}{{\"v\":1,"),
    );
    let show = desk.run(&["show", "site-1"]);
    assert_eq!(show.code, Some(0), "{show:?}");
    for printed in [
        "1 line of events that this lockstep doesn't know: eclipse",
        "1 line of the events that can't be read",
        "the last line of the events, which is incomplete",
    ] {
        assert!(show.stderr.contains(printed), "{printed}\n{}", show.stderr);
    }
    assert!(show.stdout.contains("LXD/snap.info#1"), "{}", show.stdout);
    fs::remove_file(events(&desk)).unwrap();
    let show = desk.run(&["show", "site-1", "--steps"]);
    assert_eq!(show.code, Some(0), "{show:?}");
    assert!(
        show.stderr
            .contains("commands, outputs, and what was waited for are unknown"),
        "{}",
        show.stderr
    );
    assert!(show.stdout.contains("nosuch"), "{}", show.stdout);
}

#[test]
fn a_run_that_is_not_there_gets_a_near_match() {
    let desk = held();
    for command in ["show", "watch", "report"] {
        let ran = desk.run(&[command, "siet-1"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(
            ran.stderr.contains("did you mean \"site-1\"?"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_report_is_written_over_only_under_its_own_name() {
    let desk = held();
    assert_eq!(desk.run(&["report", "site-1"]).exits(0), "site-1.html\n");
    assert_eq!(desk.run(&["report", "site-1"]).exits(0), "site-1.html\n");
    assert_eq!(
        desk.run(&["report", "site-1", "--format", "markdown"])
            .exits(0),
        "site-1.md\n"
    );
    write(&desk.path("notes.html"), "mine");
    let refused = desk.run(&["report", "site-1", "-o", "notes.html"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--force"), "{}", refused.stderr);
    assert_eq!(read(&desk.path("notes.html")), "mine");
    let _ = desk
        .run(&["report", "site-1", "-o", "notes.html", "--force"])
        .exits(0);
    assert!(read(&desk.path("notes.html")).starts_with("<!DOCTYPE html>"));
    let nowhere = desk.run(&["report", "site-1", "-o", "nowhere/a.html"]);
    assert_eq!(nowhere.code, Some(2), "{nowhere:?}");
    assert!(
        nowhere.stderr.contains("nowhere/a.html can't be written"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn a_long_output_is_cut_and_says_where_all_of_it_is() {
    let desk = held();
    let out = desk.path("state/runs/site-1/out");
    fs::create_dir_all(&out).unwrap();
    let name = "0123456789abcdef".repeat(4);
    write(&out.join(&name), &"y".repeat(10_000_000));
    printed(&desk, &format!("out/{name} (10000000 bytes)"));
    let _ = desk.run(&["report", "site-1"]).exits(0);
    let html = read(&desk.path("site-1.html"));
    assert!(html.len() < 200_000, "{}", html.len());
    assert!(html.contains("all of its 10000000 bytes are in"));
    assert!(html.contains(&format!("out/{name}")));
    let steps = desk.run(&["show", "site-1", "--steps"]).exits(0);
    assert!(
        steps.len() < 50_000 && steps.contains("10000000 bytes"),
        "{}",
        steps.len()
    );
}

#[test]
fn a_simulated_cluster_stands_still_between_two_sittings() {
    let desk = Desk::new();
    let fault = "refresh-fails:microcloud,micro01";
    let held = desk.run(&[
        "rehearse",
        "update",
        "--only",
        "microcloud",
        "--fault",
        fault,
    ]);
    assert_eq!(held.code, Some(4), "{held:?}");
    let done = desk.run(&["resume", "update-1", "--mend"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let show = desk.json(&["show", "update-1", "--json"]);
    let time = |sitting: usize, what: &str| -> Timestamp {
        let text = show["sessions"][sitting][what].as_str().unwrap();
        text.parse().unwrap()
    };
    let pause = time(1, "began").duration_since(time(0, "last"));
    assert!(
        !pause.is_negative() && pause.as_secs() < 5,
        "{pause:?}: {}",
        show["sessions"]
    );
}

/// A span's attribute.
fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    let all = span["attributes"].as_array().unwrap().iter();
    let mut found = all.filter(|one| one["key"] == key);
    found
        .next()
        .map_or(&Value::Null, |one| &one["value"]["stringValue"])
}

#[test]
fn a_run_is_a_trace_with_the_same_ids_each_time() {
    let desk = troubled();
    let made = desk
        .run(&["report", "update-1", "--format", "otlp"])
        .exits(0);
    assert_eq!(made, "update-1.otlp.json\n");
    let text = read(&desk.path("update-1.otlp.json"));
    let again = desk
        .run(&["report", "update-1", "--format", "otlp", "-o", "-"])
        .exits(0);
    assert_eq!(text, again);
    let trace: Value = serde_json::from_str(&text).unwrap();
    let spans = &trace["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let spans = spans.as_array().unwrap();
    let hex = |id: &Value, digits: usize| {
        let id = id.as_str().unwrap();
        id.len() == digits && id.bytes().all(|b| b.is_ascii_hexdigit())
    };
    let nanos = |at: &Value| at.as_str().unwrap().parse::<u64>().unwrap();
    let ids: BTreeSet<&str> = spans
        .iter()
        .map(|s| s["spanId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), spans.len());
    for span in spans {
        assert!(
            hex(&span["traceId"], 32) && hex(&span["spanId"], 16),
            "{span}"
        );
        assert_eq!(span["traceId"], spans[0]["traceId"]);
        assert_eq!(span["kind"], 1);
        let [from, to] = ["startTimeUnixNano", "endTimeUnixNano"].map(|at| nanos(&span[at]));
        assert!(from <= to, "{span}");
        let parent = span["parentSpanId"].as_str();
        assert!(parent.is_none_or(|parent| ids.contains(parent)), "{span}");
    }
    let roots: Vec<&Value> = spans
        .iter()
        .filter(|s| s["parentSpanId"].is_null())
        .collect();
    let [root] = roots.as_slice() else {
        panic!("{roots:?}")
    };
    assert_eq!(root["name"], "update-1");
    assert_eq!(root["status"]["code"], 1);
    let turns = root["events"].as_array().unwrap().iter();
    let held = turns.filter(|turn| turn["name"].as_str().unwrap().contains("held: "));
    assert_eq!(held.count(), 2);
    let wave = spans.iter().find(|span| span["name"] == "LXD").unwrap();
    let refresh = spans.iter().find(|span| {
        attribute(span, "lockstep.op") == "snap.refresh"
            && attribute(span, "lockstep.member") == "micro02"
    });
    let refresh = refresh.unwrap();
    assert_eq!(refresh["parentSpanId"], wave["spanId"]);
    assert_eq!(attribute(refresh, "lockstep.component"), "LXD");
    assert_eq!(refresh["status"]["code"], 1);
    // It was tried again.
    assert_eq!(refresh["events"].as_array().unwrap().len(), 2);
    let attempts = json!({"key": "lockstep.attempts", "value": {"intValue": "3"}});
    assert!(
        refresh["attributes"]
            .as_array()
            .unwrap()
            .contains(&attempts)
    );
}
