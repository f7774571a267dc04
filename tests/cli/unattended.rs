//! Rollouts whose process ends where there is nothing to do but wait, and is begun again by a timer.

use std::fs::{self, File};
use std::process::Stdio;

use jiff::{Timestamp, ToSpan};
use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{read, wait_until};
use serde_json::{Value, json};

use crate::fleet::{FAULT, desk, fleet, states};

/// What is printed last, as JSON.
fn last(printed: &str) -> Value {
    serde_json::from_str(printed.lines().last().unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// A fleet of two rings, of which the first soaks, and whose second is as given.
pub(crate) fn soaking(span: &str, rest: &str) -> String {
    fleet(&["paris"], rest, &[]).replace(
        "select = \"canary=true\"",
        &format!("select = \"canary=true\"\nsoak = {span:?}"),
    )
}

fn begun(text: &str) -> (Desk, Timestamp) {
    let desk = desk(text);
    let rollout = ["fleet", "rollout", "update", "--no-wait", "--json"];
    let ended = last(&desk.run(&rollout).exits(5));
    assert_eq!(ended["outcome"], "suspended", "{ended}");
    let until = ended["until"].as_str().unwrap().parse().unwrap();
    (desk, until)
}

#[test]
fn a_rollout_that_only_waits_ends_and_a_timer_continues_it() {
    let (desk, until) = begun(&soaking("8s", ""));
    assert_eq!(states(&desk), json!({"berlin": "done", "paris": null}));
    let status = desk.run(&["fleet", "status"]).exits(5);
    assert!(status.contains("nothing runs until then"), "{status}");
    // Before its time it isn't touched.
    let journal = desk.path("state/runs/rollout-1/journal.jsonl");
    let before = std::fs::read(&journal).unwrap();
    let _ = desk.run(&["fleet", "continue", "--due"]).exits(0);
    if Timestamp::now() < until {
        assert_eq!(std::fs::read(&journal).unwrap(), before);
    }
    wait_until("it isn't continued", || {
        let _ = desk
            .run(&["fleet", "continue", "--due", "--quiet"])
            .exits(0);
        states(&desk)["paris"] == "done"
    });
    assert!(Timestamp::now() >= until);
    // What a process waited for isn't waited for again, and nothing is begun twice.
    let text = std::fs::read_to_string(&journal).unwrap();
    assert_eq!(
        text.matches("{\"start\":{\"path\":\"canary/time.sleep#1\"")
            .count(),
        1,
        "{text}"
    );
    for cluster in ["berlin", "paris"] {
        let start = format!("{cluster}/cluster.run#1\",\"attempt\"");
        assert_eq!(text.matches(&start).count(), 1, "{cluster}\n{text}");
    }
    // What is over isn't due.
    assert_eq!(desk.run(&["fleet", "continue", "--due"]).exits(0), "");
}

#[test]
fn a_window_is_waited_for_without_a_process() {
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let at = |hours: i64| now.checked_add(hours.hours()).unwrap();
    let hours = format!("{}-{}", at(2).strftime("%H:%M"), at(3).strftime("%H:%M"));
    let text = fleet(&["paris"], "", &[]).replace(
        "labels = { tier = \"2\" }",
        "labels = { tier = \"2\" }\nwindow = \"night\"",
    ) + &format!("\n[windows.night]\nhours = {hours:?}\n");
    let (desk, until) = begun(&text);
    let opens = at(2).strftime("%Y-%m-%dT%H:%M:00Z").to_string();
    assert_eq!(until.to_string(), opens);
    assert_eq!(desk.run(&["fleet", "continue", "--due"]).exits(0), "");
    // It can be looked at again at any time, and waits until the same.
    let again = ["fleet", "continue", "--no-wait", "--json"];
    assert_eq!(last(&desk.run(&again).exits(5))["until"], opens);
    assert_eq!(states(&desk), json!({"berlin": "done", "paris": null}));
    // Whoever waits has not had its turn, and who is taken out waits no more.
    let early = desk.run(&["fleet", "resume", "paris"]).exits(0);
    assert!(
        early.contains("its turn in rollout-1 has not come"),
        "{early}"
    );
    let skip = ["fleet", "skip", "paris", "--why", "it moves"];
    let _ = desk.run(&skip).exits(0);
    let _ = desk.run(&again).exits(0);
    assert_eq!(states(&desk), json!({"berlin": "done", "paris": "skipped"}));
}

#[test]
fn who_waits_for_a_window_has_no_place_in_its_ring() {
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let at = |hours: i64| now.checked_add(hours.hours()).unwrap().strftime("%H:%M");
    let text = fleet(&["paris", "rome"], "limit = 1", &[]).replacen(
        "labels = { tier = \"2\" }",
        "labels = { tier = \"2\" }\nwindow = \"night\"",
        1,
    );
    let hours = format!("{}-{}", at(2), at(3));
    let (desk, _) = begun(&(text + &format!("\n[windows.night]\nhours = {hours:?}\n")));
    assert_eq!(
        states(&desk),
        json!({"berlin": "done", "paris": null, "rome": "done"})
    );
}

#[test]
fn a_budget_holds_while_others_wait_for_their_window() {
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let at = |hours: i64| now.checked_add(hours.hours()).unwrap().strftime("%H:%M");
    // All in one ring: berlin is held, paris waits, and rome is put back.
    let text = fleet(&["paris", "rome"], "", &[FAULT])
        .replacen(
            "labels = { tier = \"2\" }",
            "labels = { tier = \"2\" }\nwindow = \"night\"",
            1,
        )
        .replace("select = \"canary=true\"", "")
        .replace("\n[[rollout.rings]]\nname = \"rest\"\n", "");
    let hours = format!("{}-{}", at(2), at(3));
    let desk = desk(&(text + &format!("\n[windows.night]\nhours = {hours:?}\n")));
    for words in [
        ["fleet", "rollout", "update", "--no-wait"].as_slice(),
        &["fleet", "continue"],
    ] {
        let held = desk.run(words).exits(4);
        assert!(held.contains("held at canary/cluster.budget#1"), "{held}");
    }
    assert_eq!(
        states(&desk),
        json!({"berlin": "held", "paris": null, "rome": null})
    );
    let _ = desk.run(&["fleet", "resume", "berlin", "--mend"]).exits(0);
    let _ = desk.run(&["fleet", "continue", "--no-wait"]).exits(5);
    assert_eq!(
        states(&desk),
        json!({"berlin": "done", "paris": null, "rome": "done"})
    );
}

#[test]
fn who_is_out_of_the_rollout_is_not_waited_for() {
    let now = Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
    let at = |hours: i64| now.checked_add(hours.hours()).unwrap().strftime("%H:%M");
    let text = fleet(&["paris"], "", &[FAULT]).replace(
        "labels = { tier = \"2\" }",
        "labels = { tier = \"2\" }\nwindow = \"night\"",
    );
    let hours = format!("{}-{}", at(2), at(3));
    let desk = desk(&(text + &format!("\n[windows.night]\nhours = {hours:?}\n")));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let _ = desk.run(&["fleet", "resume", "berlin", "--mend"]).exits(0);
    let _ = desk
        .run(&["fleet", "skip", "paris", "--why", "it moves"])
        .exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
    assert_eq!(states(&desk), json!({"berlin": "done", "paris": "skipped"}));
}

#[test]
fn a_timer_leaves_what_waits_for_a_person() {
    // Paused by somebody while no process was there.
    let (desk, until) = begun(&soaking("1s", ""));
    let paused = desk.run(&["fleet", "pause"]).exits(0);
    assert!(paused.contains("continued by nobody but you"), "{paused}");
    let passed = || Timestamp::now() > until;
    wait_until("time doesn't pass", passed);
    assert_eq!(desk.run(&["fleet", "continue", "--due"]).exits(0), "");
    assert_eq!(states(&desk), json!({"berlin": "done", "paris": null}));
    let _ = desk.run(&["fleet", "continue", "--no-wait"]).exits(0);
    // Paused after whoever had taken it up died.
    let (desk, until) = begun(&soaking("1s", "approve = true"));
    wait_until("time doesn't pass", || Timestamp::now() > until);
    let journal = desk.path("state/runs/rollout-1/journal.jsonl");
    let resumed = || read(&journal).contains("{\"resume\":");
    let mut taken = desk.command(&["fleet", "continue", "--yes"]);
    let mut taken = taken.stdout(Stdio::null()).spawn().unwrap();
    wait_until("nobody takes it up", resumed);
    taken.kill().unwrap();
    taken.wait().unwrap();
    let paused = desk.run(&["fleet", "pause"]).exits(0);
    assert!(paused.contains("continued by nobody but you"), "{paused}");
    assert_eq!(desk.run(&["fleet", "continue", "--due"]).exits(0), "");
    // A question is for a person too, and is asked once.
    let (desk, _) = begun(&soaking("1s", "approve = true"));
    wait_until("it isn't continued", || {
        let held = desk.run(&["fleet", "continue", "--due", "--quiet"]);
        held.code == Some(4)
    });
    let journal = || std::fs::read(desk.path("state/runs/rollout-1/journal.jsonl")).unwrap();
    let before = journal();
    assert_eq!(desk.run(&["fleet", "continue", "--due"]).exits(0), "");
    assert_eq!(journal(), before);
}

#[test]
fn a_rollout_does_not_wait_for_another_start_forever() {
    let desk = desk(&fleet(&["paris"], "", &[]));
    fs::create_dir(desk.path("state")).unwrap();
    let lock = File::create(desk.path("state/rollouts.lock")).unwrap();
    lock.lock().unwrap();
    let said = desk.run(&["fleet", "rollout", "update"]);
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    let why = "another rollout is being started";
    assert!(said.stderr.contains(why), "{}", said.stderr);
}
