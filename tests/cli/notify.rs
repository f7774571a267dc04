//! Who gets to know of a run: that they do, and that the run doesn't notice.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::{Ran, read, wait_until, write};
use lockstep_tests::receiver::{Manner, Receiver, SECRET};
use lockstep_tests::root;
use regex::Regex;
use serde_json::Value;

/// A desk with a cluster file that has these tables, and a secret.
pub(crate) fn desk(tables: &str) -> Desk {
    let desk = Desk::new();
    write(&desk.path("secret"), &format!("{SECRET}\n"));
    write(&desk.path("cluster.toml"), &cluster(tables));
    desk
}

pub(crate) fn cluster(tables: &str) -> String {
    format!("name = \"lab\"\n{tables}\n[[members]]\nname = \"micro01\"\n")
}

pub(crate) fn hook(url: &str) -> String {
    format!("[notify.webhook.pager]\nurl = {url:?}\nsecret = \"secret\"\n")
}

/// An update of a simulated cluster, of which the receivers of the cluster file get to know.
pub(crate) const REHEARSE: [&str; 6] = [
    "rehearse",
    "update",
    "--members",
    "3",
    "--notify",
    "cluster.toml",
];

/// A desk as [`desk`] makes it, with a small playbook.
pub(crate) fn small(tables: &str) -> Desk {
    let desk = desk(tables);
    write(
        &desk.path("small.lua"),
        "return { api = 1, run = function() snap.info { member = 'micro01', snap = 'lxd' } end }",
    );
    desk
}

/// A run of that playbook, of which the receivers of the cluster file get to know.
pub(crate) const SMALL: [&str; 4] = ["rehearse", "small.lua", "--notify", "cluster.toml"];

/// A silence in an Alertmanager that isn't there.
const SILENCE: &str =
    "[notify.silence]\nalertmanager = \"http://127.0.0.1:9\"\nmatchers = [\"a=b\"]\n";

pub(crate) const STARTED: &str = "lockstep.run.started";
pub(crate) const RESUMED: &str = "lockstep.run.resumed";
pub(crate) const HELD: &str = "lockstep.run.held";
pub(crate) const ENDED: &str = "lockstep.run.ended";

pub(crate) fn types(receiver: &Receiver) -> Vec<String> {
    receiver.taken().into_iter().map(|(kind, _)| kind).collect()
}

/// What a run that is over came to, by its own journal.
fn end(desk: &Desk, run: &str) -> Value {
    let journal = read(&desk.path(&format!("state/runs/{run}/journal.jsonl")));
    let last: Value = serde_json::from_str(journal.lines().last().unwrap()).unwrap();
    last["record"]["end"].clone()
}

#[test]
fn a_webhook_gets_each_turn_of_a_run_signed() {
    let receiver = Receiver::new(Manner::Answers(204));
    let desk = desk(&hook(&receiver.url));
    let fault = ["--fault", "refresh-fails:lxd,micro02"];
    let _ = desk.run(&[&REHEARSE[..], &fault].concat()).exits(4);
    assert_eq!(types(&receiver), [STARTED, HELD]);
    let _ = desk.run(&["resume", "update-1", "--mend"]).exits(0);
    assert_eq!(types(&receiver), [STARTED, HELD, RESUMED, ENDED]);
    let journal = read(&desk.path("state/runs/update-1/journal.jsonl"));
    for seen in receiver.seen() {
        assert!(seen.genuine, "{seen:?}");
        assert_eq!(seen.header("content-type"), "application/cloudevents+json");
        assert_eq!(seen.header("webhook-id"), seen.text("id"));
        // The journal has the record by which it is known, at that place and with that time.
        let id = seen.text("id");
        let n: usize = id.rsplit('/').next().unwrap().parse().unwrap();
        let line: Value = serde_json::from_str(journal.lines().nth(n - 1).unwrap()).unwrap();
        assert_eq!(line["at"], seen.event["time"]);
    }
    let events: Vec<String> = receiver
        .seen()
        .iter()
        .map(|seen| serde_json::to_string_pretty(&seen.event).unwrap())
        .collect();
    let mut events = events.join("\n");
    for (changing, fixed) in [
        (r#""time": "[^"]*""#, r#""time": "TIME""#),
        (r"lockstep://[^/]*/", "lockstep://WHO/"),
        (r#""who": "[^"]*""#, r#""who": "WHO""#),
        (r#"(started|resumed) by [^"]*"#, "$1 by WHO"),
        (r"update-1/[0-9a-f]{12}/\d+", "update-1/DIGEST/N"),
    ] {
        let changing = Regex::new(changing).unwrap();
        events = changing.replace_all(&events, fixed).into_owned();
    }
    insta::assert_snapshot!(events);
}

#[test]
fn events_of_two_runs_of_one_name_have_other_ids() {
    let receiver = Receiver::new(Manner::Answers(200));
    for _ in 0..2 {
        let _ = small(&hook(&receiver.url)).run(&SMALL).exits(0);
    }
    let ids: BTreeSet<String> = receiver.taken().into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
}

/// Of a record, all names of its fields.
fn fields(value: &Value) -> BTreeSet<&String> {
    value.as_object().unwrap().keys().collect()
}

#[test]
fn the_event_in_the_book_is_as_they_are() {
    let receiver = Receiver::new(Manner::Answers(200));
    let desk = desk(&hook(&receiver.url));
    let fault = ["--fault", "refresh-fails:lxd,micro02"];
    let _ = desk.run(&[&REHEARSE[..], &fault].concat()).exits(4);
    let page = read(&root().join("docs/notifications.md"));
    let example = page.split("```json\n").nth(1).unwrap();
    let example: Value = serde_json::from_str(example.split("```").next().unwrap()).unwrap();
    let sent = receiver.seen();
    let held = &sent[1].event;
    assert_eq!(fields(&example), fields(held));
    assert_eq!(fields(&example["data"]), fields(&held["data"]));
    for same in ["specversion", "type", "datacontenttype"] {
        assert_eq!(example[same], held[same]);
    }
}

#[test]
fn a_run_that_is_refused_ends_and_is_not_held() {
    let receiver = Receiver::new(Manner::Answers(200));
    let desk = desk(&hook(&receiver.url));
    let fault = ["--fault", "osd-lost:1"];
    let _ = desk.run(&[&REHEARSE[..], &fault].concat()).exits(3);
    assert_eq!(types(&receiver), [STARTED, ENDED]);
    assert_eq!(receiver.seen()[1].event["data"]["outcome"], "refused");
}

#[test]
fn what_is_wrong_with_a_receiver_changes_nothing() {
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let nobody = format!("http://{nobody}/");
    for (manner, why) in [
        (Some(Manner::Answers(500)), "it answered 500"),
        (
            Some(Manner::Hangs),
            "it did not answer before lockstep ended",
        ),
        (None, "Failed to connect"),
    ] {
        let receiver = manner.map(Receiver::new);
        let desk = desk(&hook(receiver.as_ref().map_or(&nobody, |r| &r.url)));
        let out = desk.run(&REHEARSE);
        assert!(out.stderr.contains(why), "{out:?}");
        let said = "pager has not received 2 events";
        assert!(out.stderr.contains(said), "{out:?}");
        let shown = out.exits(0);
        assert!(shown.contains("update-1: done"), "{shown}");
        assert!(end(&desk, "update-1")["result"]["Ok"].is_object());
        let shown = desk.run(&["show", "update-1"]).exits(0);
        assert!(shown.contains(said) && shown.contains(why), "{shown}");
        assert_eq!(
            desk.json(&["show", "update-1", "--json"])["undelivered"][0]["events"],
            2
        );
        // Whoever comes later delivers it, once.
        let other = Receiver::new(Manner::Answers(200));
        let file = read(&desk.path("state/runs/update-1/notify/settings.json"));
        let first = receiver.as_ref().map_or(&nobody, |r| &r.url);
        let file = file.replace(first.as_str(), &other.url);
        write(
            &desk.path("state/runs/update-1/notify/settings.json"),
            &file,
        );
        assert_eq!(
            desk.run(&["notify"]).exits(0),
            "update-1: pager: 2 events delivered\n"
        );
        assert_eq!(types(&other), [STARTED, ENDED]);
        assert_eq!(
            desk.run(&["notify", "update-1"]).exits(0),
            "update-1: pager: up to date\n"
        );
        assert_eq!(other.seen().len(), 2);
        let shown = desk.run(&["show", "update-1"]).exits(0);
        assert!(!shown.contains("has not received"), "{shown}");
    }
}

#[test]
fn a_run_ends_while_a_receiver_still_hangs() {
    let receiver = Receiver::new(Manner::Hangs);
    let desk = desk(&hook(&receiver.url));
    let mut run = desk.begin(&REHEARSE);
    let events = desk.path("state/runs/update-1/events.jsonl");
    wait_until("the run doesn't end", || {
        events.exists() && read(&events).contains("run-ended")
    });
    // It has had one request all the time, and has answered nothing.
    wait_until("nothing was sent", || receiver.seen().len() == 1);
    assert_eq!(run.wait().unwrap().code(), Some(0));
    assert_eq!(receiver.seen().len(), 1);
    assert!(!receiver.seen()[0].taken);
}

#[test]
fn a_receiver_that_fails_is_warned_of_once() {
    let receiver = Receiver::new(Manner::Answers(503));
    let desk = desk(&hook(&receiver.url));
    // Slow enough that it is tried again.
    let mut run = desk.command(&[&REHEARSE[..], &["--speed", "100"]].concat());
    let run = run
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("it isn't tried again", || receiver.seen().len() >= 2);
    receiver.behave(Manner::Answers(200));
    let out = Ran::of(run.wait_with_output().unwrap());
    assert!(!out.stderr.contains("has not received"), "{out:?}");
    let shown = out.exits(0);
    let warning = "notify: pager: it answered 503; the run continues";
    assert_eq!(shown.matches(warning).count(), 1, "{shown}");
    let events = read(&desk.path("state/runs/update-1/events.jsonl"));
    assert_eq!(events.matches(warning).count(), 1);
    assert_eq!(types(&receiver), [STARTED, ENDED]);
}

#[test]
fn what_a_killed_run_had_not_told_its_resume_tells() {
    let receiver = Receiver::new(Manner::Hangs);
    let desk = desk(&hook(&receiver.url));
    let mut run = desk.begin(&[&REHEARSE[..], &["--speed", "100"]].concat());
    wait_until("nothing is sent", || !receiver.seen().is_empty());
    run.kill().unwrap();
    run.wait().unwrap();
    receiver.behave(Manner::Answers(200));
    let first = receiver.seen()[0].text("id");
    assert!(first.starts_with("update-1/") && first.ends_with("/1"));
    let _ = desk.run(&["resume", "update-1"]).exits(0);
    let taken = receiver.taken();
    let kinds: Vec<&str> = taken.iter().map(|(kind, _)| kind.as_str()).collect();
    // The first may have been taken from the one that was killed.
    let new = kinds
        .strip_prefix(&[STARTED])
        .filter(|rest| rest[0] == STARTED)
        .unwrap_or(&kinds);
    assert_eq!(new, [STARTED, RESUMED, ENDED]);
    for (kind, id) in &taken {
        assert!(kind != STARTED || *id == first, "{taken:?}");
    }
    let ids: BTreeSet<&String> = taken.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), 3, "{taken:?}");
}

#[test]
fn nobody_is_told_of_what_is_only_tried_out() {
    let receiver = Receiver::new(Manner::Answers(200));
    let desk = small(&hook(&receiver.url));
    for words in [
        &["rehearse", "update", "--members", "3"][..],
        &["update", "--cluster", "twin:3"],
        &["check", "small.lua", "--tries", "1", "--members", "3"],
    ] {
        let _ = desk.run(words).exits(0);
    }
    let fleet = crate::fleet::fleet(&["paris"], "", &[]);
    write(
        &desk.path("fleet.toml"),
        &format!("{fleet}{}", hook(&receiver.url)),
    );
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(0);
    assert_eq!(receiver.seen().len(), 0);
}

#[test]
fn a_rollout_and_its_clusters_runs_tell_whom_the_fleet_names() {
    let receiver = Receiver::new(Manner::Answers(200));
    let desk = desk("");
    fs::create_dir(desk.path("collected")).unwrap();
    let notify = format!(
        "[notify]\nsimulated = true\nmetrics = \"collected\"\n{}{SILENCE}",
        hook(&receiver.url)
    );
    let fleet = crate::fleet::fleet(&["paris"], "", &[]);
    write(&desk.path("fleet.toml"), &format!("{fleet}{notify}"));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(0);
    let taken = receiver.taken();
    let of = |run: &str| -> Vec<&str> {
        let of = |(_, id): &&(String, String)| id.split('/').next() == Some(run);
        taken
            .iter()
            .filter(of)
            .map(|(kind, _)| kind.as_str())
            .collect()
    };
    let (begins, ends) = ("lockstep.ring.started", "lockstep.ring.ended");
    assert_eq!(
        of("rollout-1"),
        [STARTED, begins, ends, begins, ends, ENDED]
    );
    assert_eq!(of("rollout-1.berlin"), [STARTED, ENDED]);
    assert_eq!(of("rollout-1.paris"), [STARTED, ENDED]);
    let ids: BTreeSet<&String> = taken.iter().map(|(_, id)| id).collect();
    assert_eq!(ids.len(), taken.len(), "each event has a name of its own");
    let rings: Vec<Value> = receiver
        .seen()
        .iter()
        .filter(|seen| seen.text("type").starts_with("lockstep.ring"))
        .map(|seen| seen.event["data"]["ring"].clone())
        .collect();
    assert_eq!(rings, ["canary", "canary", "rest", "rest"]);
    let figures = read(&desk.path("collected/lockstep-rollout-stores.prom"));
    let done = r#"lockstep_rollout_clusters{fleet="stores",rollout="rollout-1",ring="rest",state="done"} 1"#;
    assert!(figures.contains(done), "{figures}");
    assert!(figures.contains("state=\"done\"} 1\n"), "{figures}");
    assert!(desk.path("collected/lockstep-run-paris.prom").exists());
    // Alerts are the clusters'.
    let warned = |run: &str| {
        let events = read(&desk.path(&format!("state/runs/{run}/events.jsonl")));
        events.contains("notify: silence: ")
    };
    assert!(warned("rollout-1.paris") && !warned("rollout-1"));
    let journal = read(&desk.path("state/runs/rollout-1/journal.jsonl"));
    assert!(!journal.contains(&receiver.url), "{journal}");
}

#[test]
fn a_rollout_that_waits_is_not_held_and_continues_to_tell() {
    let [chat, pager] = [(); 2].map(|()| Receiver::new(Manner::Answers(200)));
    let desk = desk("");
    let hooks =
        hook(&pager.url) + "events = [\"hold\"]\n" + &hook(&chat.url).replace("pager", "chat");
    let fleet = crate::unattended::soaking("1s", "");
    let fleet = format!("{fleet}[notify]\nsimulated = true\n{hooks}");
    write(&desk.path("fleet.toml"), &fleet);
    let rollout = ["fleet", "rollout", "update", "--no-wait", "--json"];
    let ended = desk.run(&rollout).exits(5);
    let ended: Value = serde_json::from_str(ended.lines().last().unwrap()).unwrap();
    let seen = chat.seen();
    let waits = &seen.last().unwrap().event;
    assert_eq!(waits["type"], "lockstep.run.waiting");
    assert_eq!(waits["data"]["until"], ended["until"]);
    let named = desk.run(&["notify", "rollout-1", "--cluster", "cluster.toml"]);
    let wrong = "error: rollout-1 is a rollout, which has no cluster file\n";
    assert_eq!((named.code, named.stderr.as_str()), (Some(2), wrong));
    // What is in the environment is for other commands.
    let mut everywhere = desk.command(&["fleet", "continue"]);
    let everywhere = everywhere.env("LOCKSTEP_CLUSTER", "cluster.toml");
    let _ = Ran::of(everywhere.output().unwrap()).exits(0);
    assert_eq!(pager.seen().len(), 0);
    let of_paris = |id: &String| id.starts_with("rollout-1.paris/");
    let all = chat.taken();
    assert_eq!(
        all.iter().filter(|(_, id)| of_paris(id)).count(),
        2,
        "{all:?}"
    );
}

#[test]
fn a_question_is_told_while_it_waits() {
    let receiver = Receiver::new(Manner::Answers(200));
    let desk = desk(&hook(&receiver.url));
    write(
        &desk.path("ask.lua"),
        "return { api = 1, run = function() confirm 'Shall we?' end }",
    );
    let words = "rehearse ask.lua --notify cluster.toml";
    // With `--yes` it waits for nobody.
    let yes: Vec<&str> = words.split(' ').chain(["--yes"]).collect();
    let _ = desk.run(&yes).exits(0);
    assert_eq!(types(&receiver), [STARTED, ENDED]);
    let typed = format!("{} --state state {words}", lockstep());
    let mut asked = Command::new("timeout")
        .args(["120", "script", "-qec", &typed, "/dev/null"])
        .current_dir(desk.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("the question isn't told", || receiver.taken().len() == 4);
    let told = receiver.seen()[3].event.clone();
    assert_eq!(told["type"], "lockstep.run.question");
    assert_eq!(told["data"]["question"], "Shall we?");
    let mut answer = asked.stdin.take().unwrap();
    std::io::Write::write_all(&mut answer, b"y\n").unwrap();
    assert!(asked.wait().unwrap().success());
    assert_eq!(types(&receiver).last().unwrap(), ENDED);
}

#[test]
fn an_abort_that_leaves_something_on_has_failed() {
    let receiver = Receiver::new(Manner::Answers(200));
    let desk = desk(&hook(&receiver.url));
    let noout = "microceph.noout { member = 'micro02', on = true }";
    let text = format!("return {{ api = 1, run = function() {noout} confirm 'Now?' end }}");
    write(&desk.path("small.lua"), &text);
    let _ = desk.run(&SMALL).exits(4);
    let _ = desk.run(&["abort", "small-1"]).exits(1);
    let ended = receiver.seen().pop().unwrap().event;
    let why = "these settings were not restored";
    assert_eq!(ended["data"]["outcome"], "failed");
    assert!(ended["data"]["text"].as_str().unwrap().contains(why));
    let shown = desk.run(&["show", "small-1"]).exits(0);
    assert!(
        shown.contains("small-1: failed: ") && shown.contains(why),
        "{shown}"
    );
    assert_eq!(desk.json(&["runs", "--json"])[0]["state"], "failed");
}

#[test]
fn what_was_not_received_is_said_as_json_too() {
    let receiver = Receiver::new(Manner::Hangs);
    let desk = small(&hook(&receiver.url));
    let out = desk.run(&[&SMALL[..], &["--json"]].concat());
    assert!(
        out.stderr.contains("pager has not received 2 events"),
        "{out:?}"
    );
    let printed = out.exits(0);
    let ended: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(ended["outcome"], "done");
    // Nobody else can send it as long as the run has a process.
    let mut run = desk.begin(&[&REHEARSE[..], &["--speed", "20"]].concat());
    wait_until("nothing is sent", || receiver.seen().len() > 1);
    let shown = desk.run(&["show", "update-1"]).exits(0);
    assert!(shown.contains("update-1 is running"), "{shown}");
    assert!(
        shown.contains("pager has not received 1 event\n"),
        "{shown}"
    );
    run.kill().unwrap();
    run.wait().unwrap();
    let shown = desk.run(&["show", "update-1"]).exits(0);
    assert!(
        shown.contains("; send them with: lockstep notify update-1\n"),
        "{shown}"
    );
}

#[test]
fn a_secret_stands_in_no_file_and_in_no_word() {
    let receiver = Receiver::new(Manner::Hangs);
    let desk = desk(&hook(&receiver.url));
    let mut run = desk.begin(&REHEARSE);
    wait_until("nothing is sent", || !receiver.seen().is_empty());
    let words = fs::read_dir("/proc").unwrap().flatten();
    let words = words.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let curls: Vec<String> = words
        .map(|words| String::from_utf8_lossy(&words).into_owned())
        .filter(|words| words.starts_with("curl\0"))
        .collect();
    assert!(!curls.is_empty());
    receiver.behave(Manner::Answers(200));
    run.wait().unwrap();
    let url = receiver.url.as_str();
    assert!(
        !curls
            .iter()
            .any(|words| words.contains(SECRET) || words.contains(url))
    );
    let kept = fs::read_dir(desk.path("state/runs/update-1/notify")).unwrap();
    for file in kept.flatten() {
        assert!(!read(&file.path()).contains(SECRET), "{file:?}");
    }
}
