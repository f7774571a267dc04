//! The twin says what snapd 2.68 said.

use lockstep_modules::contract::cmd::{Cmd, Output};
use serde_json::Value;

use crate::transcript::printed;
use crate::world::World;
use crate::{Fault, Scenario};

/// A world whose MicroCloud is in its first release, and whose store has the next one.
fn world() -> World {
    Scenario::of(3).build()
}

fn begin(world: &mut World, line: &str) -> u64 {
    let argv = line.split(' ').map(str::to_owned);
    let cmd = Cmd::root(argv).timeout(std::time::Duration::from_secs(120));
    world.spawn("micro01", &cmd)
}

fn run(world: &mut World, line: &str) -> Output {
    let id = begin(world, line);
    loop {
        if let Some(output) = world.take(id) {
            return output;
        }
        world.advance(world.next_due().unwrap());
    }
}

fn api(world: &mut World, path: &str) -> Value {
    let url = format!("http://localhost{path}");
    let line = format!("/usr/bin/curl -sS --unix-socket /run/snapd.socket {url}");
    serde_json::from_str(&run(world, &line).stdout).unwrap()
}

fn real_api(file: &str, path: &str, nth: usize) -> Value {
    let command = format!("curl -sS --unix-socket /run/snapd.socket 'http://localhost{path}'");
    serde_json::from_str(&printed(&format!("snapd/{file}"), &command, nth)).unwrap()
}

fn refusal(command: &str, nth: usize) -> String {
    printed("snapd/refusals", command, nth)
}

const REFRESH: &str = "snap refresh --no-wait --cohort=+ microcloud";

/// The store has another address.
fn elsewhere(text: &str) -> String {
    text.replace("http://10.77.0.1:11028/v2", "https://api.snapcraft.io/v2")
}

/// Of each task what it does and how it is. Numbers of revisions and sizes are the twin's own.
fn tasks(change: &Value) -> Vec<String> {
    let tasks = change["result"]["tasks"].as_array().unwrap();
    let each = tasks.iter().map(|task| {
        let text = |key: &str| task[key].as_str().unwrap().to_owned();
        let summary = text("summary").replace(|c: char| c.is_ascii_digit(), "");
        let summary = summary.replace("\"/stable\"", "\"stable\"");
        let progress = &task["progress"];
        let whole = progress["done"] == progress["total"];
        let (ready, label) = (task.get("ready-time").is_some(), &progress["label"]);
        format!(
            "{} | {summary} | {} | {label} whole: {whole} ready: {ready}",
            text("kind"),
            text("status")
        )
    });
    each.collect()
}

/// What is said of a change beside its tasks.
fn about(change: &Value) -> Vec<Value> {
    let keys = ["kind", "summary", "status", "ready", "err"];
    keys.map(|key| change["result"][key].clone()).to_vec()
}

#[test]
fn a_refresh_that_is_asked_for_goes_as_it_went() {
    let mut world = world();
    let asked = run(&mut world, &format!("/usr/bin/{REFRESH}"));
    let id = asked.stdout.trim().to_owned();
    assert!(asked.success() && id.parse::<u64>().is_ok(), "{asked:?}");

    let again = run(&mut world, &format!("/usr/bin/{REFRESH}"));
    assert_eq!(again.stderr, printed("snapd/refresh-no-wait", REFRESH, 1));
    let switch = "snap switch --channel=3/stable --cohort=+ microcloud";
    let switched = run(&mut world, &format!("/usr/bin/{switch}"));
    assert_eq!(switched.stderr, printed("snapd/refresh-no-wait", switch, 0));

    let path = format!("/v2/changes/{id}");
    for nth in [0, 2] {
        let real = real_api("refresh-no-wait", "/v2/changes/16", nth);
        if nth > 0 {
            while world.is_changing("micro01") {
                world.advance(world.next_due().unwrap());
            }
        }
        let twin = api(&mut world, &path);
        assert_eq!(about(&twin), about(&real));
        assert_eq!(tasks(&twin), tasks(&real));
    }
    let nothing = run(&mut world, &format!("/usr/bin/{REFRESH}"));
    assert_eq!(nothing.stdout + &nothing.stderr, refusal(REFRESH, 2));
}

#[test]
fn a_refresh_that_is_undone_looks_as_it_looked() {
    let mut world = world();
    world.fail_hook("micro01", "microcloud", 1);
    let id = run(&mut world, &format!("/usr/bin/{REFRESH}")).stdout;
    while world.is_changing("micro01") {
        world.advance(world.next_due().unwrap());
    }
    let twin = api(&mut world, &format!("/v2/changes/{}", id.trim()));
    let real = real_api("refresh-undone", "/v2/changes/19", 0);
    assert_eq!(tasks(&twin), tasks(&real));
    assert_eq!(about(&twin)[..4], about(&real)[..4]);
    let why = |change: &Value| change["result"]["err"].as_str().unwrap().to_owned();
    // What the hook itself said is its own affair.
    let own = why(&real).replace("lab: injected failure", "hook failed");
    assert_eq!(why(&twin), own);
}

#[test]
fn where_the_store_fails_after_a_refresh_nothing_is_undone() {
    let cases = [
        ("store-error:429", "27"),
        ("slow-store:20", "26"),
        ("cut:micro01", ""),
    ];
    for (fault, path) in cases {
        let mut world = world();
        let id = run(&mut world, &format!("/usr/bin/{REFRESH}")).stdout;
        world.inject(fault.parse().unwrap()).unwrap();
        while world.is_changing("micro01") {
            world.advance(world.next_due().unwrap());
        }
        assert_eq!(world.revision("micro01", "microcloud"), Some(1210));
        let twin = api(&mut world, &format!("/v2/changes/{}", id.trim()));
        if path.is_empty() {
            assert_eq!(twin["result"]["status"], "Error");
            continue;
        }
        let file = "store-fails-behind-a-refresh";
        let mut real = real_api(file, &format!("/v2/changes/{path}"), 0);
        let why = elsewhere(real["result"]["err"].as_str().unwrap());
        real["result"]["err"] = Value::from(why);
        assert_eq!(tasks(&twin), tasks(&real));
        assert_eq!(about(&twin), about(&real));
    }
}

#[test]
fn refusals_are_said_as_they_were() {
    let mut world = world();
    // The store of that day had these two tracks alone.
    let channels = world.store.channels.get_mut("lxd").unwrap();
    channels.retain(|name, _| ["5.21/stable", "6/stable"].contains(&name.as_str()));
    let channel = "snap refresh --no-wait --channel=9/stable --cohort=+ lxd";
    let answer = run(&mut world, &format!("/usr/bin/{channel}"));
    assert_eq!(answer.stderr, refusal(channel, 0));
    let unknown = "snap refresh --no-wait --cohort=+ nosuch";
    let answer = run(&mut world, &format!("/usr/bin/{unknown}"));
    assert_eq!(answer.stderr, refusal(unknown, 0));
    for path in ["/v2/snaps/nosuch", "/v2/changes/9999"] {
        assert_eq!(api(&mut world, path), real_api("refusals", path, 0));
    }
}

#[test]
fn a_store_that_does_not_answer_in_time_is_given_up() {
    let mut world = world();
    world.inject("slow-store:20".parse().unwrap()).unwrap();
    world.advance(0);
    let answer = run(&mut world, &format!("/usr/bin/{REFRESH}"));
    assert_eq!(answer.stderr, "error: unable to contact snap store\n");
    assert!((39_000..42_000).contains(&world.now), "{}", world.now);
}

#[test]
fn a_store_that_is_in_trouble_is_told_of_as_it_was() {
    for (nth, status) in ["503", "429"].iter().enumerate() {
        let mut world = world();
        let fault: Fault = format!("store-error:{status}").parse().unwrap();
        world.inject(fault).unwrap();
        world.advance(0);
        let answer = run(&mut world, &format!("/usr/bin/{REFRESH}"));
        assert_eq!(answer.stderr, elsewhere(&refusal(REFRESH, nth)));
        // A server's error is tried again for half a minute, and a plain no is not.
        assert_eq!(world.now > 30_000, *status == "503");
        let path = "/v2/find?select=refresh";
        let twin = api(&mut world, path).to_string();
        let real = real_api("refusals", path, nth).to_string();
        assert_eq!(twin, elsewhere(&real));
    }
}

/// The names of an answer's headers, without those that say nothing of the file.
fn headers(answer: &str) -> Vec<&str> {
    let head = answer.split("\r\n\r\n").next().unwrap_or_default();
    let names = head
        .lines()
        .filter_map(|line| Some(line.split_once(": ")?.0));
    names.filter(|name| *name != "Date").collect()
}

#[test]
fn the_head_of_a_file_is_told_as_snapd_tells_it() {
    let real = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/transcripts/snapd/");
        let text = std::fs::read_to_string(format!("{folder}{name}.txt")).unwrap();
        text.replace('\n', "\r\n")
    };
    let mut world = world();
    let mut peek = |channel: &str| {
        let wanted = format!(
            r#"{{"snap-name":"microceph","channel":"{channel}","cohort-key":"+","header-peek":true}}"#
        );
        let line = format!("/usr/bin/curl -sS -i -d {wanted} http://localhost/v2/download");
        run(&mut world, &line).stdout
    };
    let head = peek("squid/stable");
    let mut ours = headers(&head);
    let sample = real("download-peek");
    let mut theirs = headers(&sample);
    ours.sort_unstable();
    theirs.sort_unstable();
    assert_eq!(ours, theirs);
    let body = |answer: &str| -> Value {
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body.trim()).unwrap()
    };
    let (ours, theirs) = (
        body(&peek("nono/stable")),
        body(&real("download-no-channel")),
    );
    for key in ["type", "status", "status-code"] {
        assert_eq!(ours[key], theirs[key]);
    }
    for key in ["message", "kind"] {
        assert_eq!(ours["result"][key], theirs["result"][key]);
    }
}

#[test]
fn a_world_with_changes_is_read_as_it_was_written() {
    let mut world = world();
    run(&mut world, REFRESH);
    for _ in 0..60 {
        // The change is written while it is done, and once it is over.
        let written = serde_json::to_string(&world).unwrap();
        let read: World = serde_json::from_str(&written).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), written);
        assert_eq!(serde_json::to_string(&world).unwrap(), written);
        world.advance(world.now + 500);
    }
    let changes = api(&mut world, "/v2/changes?select=ready");
    assert_eq!(changes["result"][0]["tasks"].as_array().unwrap().len(), 22);
}
