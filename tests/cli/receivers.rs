//! Receivers: what is made of their answers, and which ones a run has.

use lockstep_tests::lab::write;
use lockstep_tests::receiver::{Manner, Receiver, answer};
use serde_json::json;

use crate::notify::{
    ENDED, HELD, REHEARSE, RESUMED, SMALL, STARTED, cluster, desk, hook, small, types,
};

#[test]
fn receivers_can_be_tried_out() {
    let receiver = Receiver::new(Manner::Answers(200));
    let desk = desk(&format!(
        "[notify]\nmetrics = \"nowhere\"\n{}",
        hook(&receiver.url)
    ));
    let out = desk.run(&["notify", "--test"]).exits(1);
    let metrics = desk.path("nowhere").display().to_string();
    assert_eq!(
        out,
        format!("test: pager: 1 event delivered\ntest: metrics: {metrics} is not a folder\n")
    );
    assert_eq!(types(&receiver), ["lockstep.test"]);
    assert!(receiver.seen()[0].genuine);
    assert!(!desk.path("state").exists());
    write(
        &desk.path("fleet.toml"),
        &format!(
            "{}{}",
            crate::fleet::fleet(&[], "", &[]),
            hook(&receiver.url)
        ),
    );
    let out = desk
        .run(&["notify", "--test", "--fleet", "fleet.toml"])
        .exits(0);
    assert_eq!(out, "test: pager: 1 event delivered\n");
}

#[test]
fn whatever_a_receiver_answers_is_read_to_its_end() {
    let desk = desk(&hook("http://URL/"));
    let said = |url: &str, code| {
        write(&desk.path("cluster.toml"), &cluster(&hook(url)));
        desk.run(&["notify", "--test"]).exits(code)
    };
    let receiver = Receiver::new(Manner::Says(|_| answer(500, &"no".repeat(150_000))));
    let refused = said(&receiver.url, 1);
    assert!(
        refused.starts_with("test: pager: it answered 500: nono"),
        "{refused}"
    );
    receiver.behave(Manner::Says(|_| answer(202, &"ok".repeat(50_000))));
    assert_eq!(said(&receiver.url, 0), "test: pager: 1 event delivered\n");
    // One that breaks off hasn't taken it, whatever its first line says.
    receiver.behave(Manner::Says(|_| answer(200, "ok").replace(" 2\r", " 9\r")));
    let broken = said(&receiver.url, 1);
    assert!(
        broken.starts_with("test: pager: transfer closed"),
        "{broken}"
    );
    // Brackets of a URL are its own.
    receiver.behave(Manner::Answers(200));
    let _ = said(&format!("{}?of=[1-3]{{a,b}}", receiver.url), 0);
    assert_eq!(receiver.seen().len(), 4);
    assert!(receiver.seen()[3].line.contains("?of=[1-3]{a,b} "));
}

#[test]
fn what_is_refused_for_good_is_in_nobodys_way() {
    let receiver = Receiver::new(Manner::Says(|seen| match seen.text("type").as_str() {
        STARTED => answer(400, "odd"),
        _ => answer(200, ""),
    }));
    let desk = desk(&hook(&receiver.url));
    let why = "it answered 400: odd";
    let refused = format!("pager: 1 event was refused: {why}");
    let ran = desk
        .run(&[&REHEARSE[..], &["--speed", "100"]].concat())
        .exits(0);
    let warning = format!("notify: {refused}; the run continues, and sends the events after it");
    assert!(ran.contains(&warning), "{ran}");
    assert_eq!(types(&receiver), [ENDED]);
    let shown = desk.run(&["show", "update-1"]).exits(0);
    let said = format!("pager refused 1 event ({why}); send them with: lockstep notify update-1\n");
    assert!(shown.ends_with(&said), "{shown}");
    let undelivered = &desk.json(&["show", "update-1", "--json"])["undelivered"];
    let known = json!([{"receiver": "pager", "events": 1, "refused": 1, "why": why}]);
    assert_eq!(*undelivered, known);
    // A timer doesn't insist, and a person may.
    assert_eq!(desk.run(&["notify"]).exits(0), "");
    assert_eq!(receiver.seen().len(), 2);
    let again = desk.run(&["notify", "update-1"]).exits(1);
    assert_eq!(again, format!("update-1: {refused}\n"));
    receiver.behave(Manner::Answers(200));
    let delivered = desk.run(&["notify", "update-1"]).exits(0);
    assert_eq!(delivered, "update-1: pager: 1 event delivered\n");
    assert_eq!(types(&receiver), [ENDED, STARTED]);
    assert_eq!(
        desk.json(&["show", "update-1", "--json"])["undelivered"],
        json!([])
    );
}

#[test]
fn other_receivers_are_for_runs_on_clusters_of_a_file() {
    let desk = small("");
    let _ = desk.run(&SMALL).exits(0);
    let none = desk.run(&["notify", "small-1"]);
    assert_eq!(none.stderr.trim(), "error: small-1 has no receivers");
    let others = desk.run(&["notify", "small-1", "--cluster", "cluster.toml"]);
    assert_eq!((none.code, others.code), (Some(2), Some(2)));
    insta::assert_snapshot!(others.stderr);
}

#[test]
fn a_run_of_a_fleets_cluster_keeps_the_fleets_receivers() {
    let receiver = Receiver::new(Manner::Answers(503));
    let desk = small("");
    let ssh = "Host *\n  Hostname 127.0.0.1\n  Port 9\n";
    write(&desk.path("ssh_config"), ssh);
    let fleet = "name = \"stores\"\n[[clusters]]\nname = \"berlin\"\nfile = \"cluster.toml\"\n";
    write(
        &desk.path("fleet.toml"),
        &format!("{fleet}{}", hook(&receiver.url)),
    );
    let ssh = ["--ssh-config", "ssh_config"];
    let _ = desk
        .run(&[&["fleet", "rollout", "small.lua"], &ssh[..]].concat())
        .exits(4);
    let named = ["rollout-1.berlin", "--cluster", "cluster.toml"];
    receiver.behave(Manner::Answers(200));
    let told = desk.run(&[&["notify"], &named[..]].concat()).exits(0);
    assert_eq!(told, "rollout-1.berlin: pager: 2 events delivered\n");
    let _ = desk.run(&[&["resume"], &named[..], &ssh].concat()).exits(4);
    let of_berlin = |(_, id): &(String, String)| id.starts_with("rollout-1.berlin/");
    let taken: Vec<_> = receiver.taken().into_iter().filter(of_berlin).collect();
    let kinds: Vec<&str> = taken.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(kinds, [STARTED, HELD, RESUMED, HELD]);
}

#[test]
fn mistakes_in_notify_are_named_with_their_place() {
    let good = "[notify.webhook.pager]\nurl = \"https://site/\"\nsecret = \"s\"\nevents = [\"hold\"]\n\
                [notify.silence]\nalertmanager = \"http://am:9093\"\nmatchers = [\"site=berlin\"]\n";
    let mut complaints = Vec::new();
    for (from, to) in [
        ("url =", "uri ="),
        ("secret = \"s\"\n", ""),
        ("https://site/", "ftp://site/"),
        ("\"hold\"", "\"holdd\""),
        ("[\"hold\"]", "[]"),
        ("pager", "\"the pager\""),
        ("site=berlin", "berlin"),
        ("[\"site=berlin\"]", "[]"),
        ("[\"site=berlin\"]", "[\"site=berlin\"]\nspan = \"10s\""),
        ("[notify.silence]", "[notify.silences]"),
    ] {
        assert!(good.contains(from), "{from}");
        let desk = desk(&good.replace(from, to));
        let out = desk.run(&["notify", "--test"]);
        assert_eq!(out.code, Some(2), "{out:?}");
        complaints.push(out.stderr.trim().to_owned());
    }
    insta::assert_snapshot!(complaints.join("\n"));
}
