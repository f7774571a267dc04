use std::collections::BTreeMap;

use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::op::{Effect, Observation};
use serde_json::{Value, json};

use super::*;
use crate::event::{Event, Outcome, Stamped, StepInfo, Transcript, VERSION};
use crate::failure::Failure;
use crate::journal::{By, Choice, ClusterRef, FORMAT, Head, Record, Suspended, encode};

const REFRESH: &str = "LXD/micro02/snap.refresh#1";
const WAIT: &str = "LXD/micro02/lxd.wait#1";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_775_044_800 + second).unwrap()
}

fn cluster() -> Cluster {
    let members = [json!({"name": "micro01"}), json!({"name": "micro02"})];
    serde_json::from_value(json!({"name": "lab", "members": members})).unwrap()
}

fn head() -> Record {
    Record::Run(Box::new(Head {
        format: FORMAT,
        id: "update-1".to_owned(),
        playbook: "update".to_owned(),
        params: json!({"backup": true}),
        lockstep: "0.1.0".to_owned(),
        target: ClusterRef::File("cluster.toml".into()),
        cluster: cluster(),
        seed: 1,
        bundle: BTreeMap::new(),
        programs: None,
        who: "ann@desk".to_owned(),
    }))
}

fn intent(path: &str, op: &str, effect: Effect) -> Record {
    Record::Intent {
        path: path.into(),
        op: op.to_owned(),
        args: json!({"member": "micro02", "snap": "lxd"}),
        effect,
        site: "playbooks/waves/wave.lua:64".to_owned(),
    }
}

fn start(path: &str, attempt: u32) -> Record {
    Record::Start {
        path: path.into(),
        attempt,
    }
}

fn done(path: &str, value: Value, by: By) -> Record {
    Record::Done {
        path: path.into(),
        value,
        by,
    }
}

fn refreshed(from: &str, to: &str) -> Value {
    json!({"changed": true, "from": from, "to": to, "version": "5.21.4", "channel": "5.21/stable", "change": "3"})
}

fn failure() -> Failure {
    Failure::new(Kind::Command, "snapd undid the refresh")
}

/// Held, left alone overnight, taken up by somebody else on a machine whose clock is behind, and done.
fn journal() -> Vec<(Timestamp, Record)> {
    let decide = Record::Decide {
        path: REFRESH.into(),
        choice: Choice::AssumeDone,
        who: "bob@desk".to_owned(),
    };
    let resume = Record::Resume {
        who: "bob@desk".to_owned(),
        observed: Observation::new(),
    };
    let hold = Record::Hold {
        path: REFRESH.into(),
        failure: failure(),
        in_doubt: true,
    };
    let suspend = Record::Suspend {
        why: Suspended::Held(vec![REFRESH.into()]),
    };
    vec![
        (at(0), head()),
        (at(1), intent(REFRESH, "snap.refresh", Effect::Once)),
        (at(1), start(REFRESH, 1)),
        (at(11), hold),
        (at(11), suspend),
        (at(5), resume),
        (at(5), decide),
        (
            at(5),
            done(REFRESH, refreshed("33100", "33110"), By::Operator),
        ),
        (at(5), intent(WAIT, "lxd.wait", Effect::Read)),
        (at(6), start(WAIT, 1)),
        (at(20), start(WAIT, 2)),
        (at(30), done(WAIT, json!({}), By::Probe)),
        (
            at(31),
            Record::End {
                result: Ok(json!({})),
            },
        ),
    ]
}

fn text(journal: &[(Timestamp, Record)]) -> String {
    let lines = journal.iter().enumerate();
    let lines =
        lines.map(|(i, (at, record))| encode(i + 1, *at, std::slice::from_ref(record)).unwrap());
    lines.collect()
}

fn events() -> String {
    let started = |replayed| Event::RunStarted {
        run: "update-1".to_owned(),
        playbook: "update".to_owned(),
        cluster: "lab".to_owned(),
        members: cluster().names(),
        stages: Vec::new(),
        replayed,
    };
    let command = |end: &str, stdout: &str| Event::Command {
        path: WAIT.into(),
        member: "micro02".into(),
        command: "lxc list".to_owned(),
        end: end.to_owned().into(),
        ms: 40,
        stdout: stdout.to_owned().into(),
        stderr: String::new().into(),
    };
    let away = || Event::Away {
        path: WAIT.into(),
        member: "micro02".into(),
        reason: "the connection was closed".to_owned(),
    };
    let begun = |path: &str, op: &str, effect| Event::StepStarted {
        step: StepInfo {
            path: path.into(),
            op: op.to_owned(),
            member: Some("micro02".into()),
            headline: "lxd".to_owned(),
            effect,
        },
        attempt: 1,
        timeout: 60,
    };
    let reported = [
        (0, started(0)),
        (1, begun(REFRESH, "snap.refresh", Effect::Once)),
        (
            11,
            Event::StepHeld {
                path: REFRESH.into(),
                failure: failure(),
                in_doubt: true,
            },
        ),
        (
            11,
            Event::RunEnded {
                outcome: Outcome::Held,
                detail: json!([REFRESH]),
            },
        ),
        (5, started(0)),
        (6, begun(WAIT, "lxd.wait", Effect::Read)),
        (7, command("exit 0", "[]")),
        (8, command("exit 0", "[]")),
        (9, command("contact lost", "")),
        (9, away()),
        (10, away()),
        (14, command("exit 0", "[1]")),
        (
            18,
            Event::StepRetried {
                path: WAIT.into(),
                failure: failure(),
                attempt: 2,
                wait: 2,
            },
        ),
        (
            19,
            Event::Progress {
                path: WAIT.into(),
                done: 1,
                total: None,
                text: "1 of 2 members".to_owned(),
            },
        ),
        (
            31,
            Event::RunEnded {
                outcome: Outcome::Done,
                detail: json!({}),
            },
        ),
    ];
    let lines = reported.map(|(second, event)| {
        let stamped = Stamped {
            v: VERSION,
            at: at(second),
            event,
        };
        serde_json::to_string(&stamped).unwrap() + "\n"
    });
    lines.concat()
}

fn story(account: &Account) -> String {
    let turns = account.turns.iter().map(|turn| {
        let second = turn.at.duration_since(at(0)).as_secs();
        format!("{}/{second:>2} {}\n", turn.session, turn.what.sentence())
    });
    turns.collect()
}

#[test]
fn a_run_is_shown_in_its_order_by_whoever_knows_best() {
    let journal = text(&journal());
    let account = Account::of(
        "update-1",
        Ok(journal.as_bytes()),
        Ok(events().as_bytes()),
        false,
    );
    assert!(account.sound && account.troubles.is_empty());
    insta::assert_snapshot!(story(&account), @r#"
    0/ 0 started by ann@desk
    0/11 held: snapd undid the refresh; it is not known whether this was done
    1/ 5 resumed by bob@desk
    1/ 5 bob@desk decided: mark it done, with the result {"change":"3","changed":true,"channel":"5.21/stable","from":"33100","to":"33110","version":"5.21.4"}
    1/ 9 contact with micro02 lost: the connection was closed
    1/14 micro02 was back after 5.0 s
    1/18 snapd undid the refresh; attempt 2 followed
    1/30 its end was missed; its outcome was determined afterwards
    1/31 ended: done
    "#);
    assert_eq!(
        (account.state, account.resumes, account.steps_done),
        (State::Done, 1, 2)
    );
    // Eleven seconds and twenty-six, whatever the clocks say.
    assert_eq!(account.ms(), 37_000);
    let moves = account.moves();
    assert_eq!(
        (moves[0].from, moves[0].to, moves[0].among(&account.members)),
        ("33100", "33110", "micro02".to_owned())
    );
    let wait = account.step(&WAIT.into()).unwrap();
    assert!(wait.is_gate() && wait.last_progress == "1 of 2 members");
    let times: Vec<usize> = wait.commands.iter().map(|command| command.times).collect();
    assert_eq!(times, [2, 1, 1], "what is repeated stands once");
    let ends: Vec<Option<i64>> = wait.attempts.iter().map(Attempt::ms).collect();
    assert_eq!(ends, [Some(12_000), Some(10_000)]);
    assert_eq!(account.waves[0].name, "LXD");
    assert_eq!((account.waves[0].again, account.waves[0].members), (1, 1));
}

#[test]
fn with_a_damaged_journal_the_events_continue() {
    let records = journal();
    for damaged in 0..records.len() {
        let mut lines: Vec<String> = text(&records).lines().map(str::to_owned).collect();
        lines[damaged] = lines[damaged].replace("record", "rec0rd");
        let journal = lines.join("\n") + "\n";
        let account = Account::of(
            "update-1",
            Ok(journal.as_bytes()),
            Ok(events().as_bytes()),
            false,
        );
        assert!(!account.sound);
        let trouble = format!("line {} of the journal is damaged", damaged + 1);
        assert!(
            account.troubles[0].contains(&trouble),
            "{:?}",
            account.troubles
        );
        // Whoever knows it, it is reported once, and nothing is missing but who decided.
        let story = story(&account);
        for what in ["held: ", "resumed", "started"] {
            assert_eq!(
                story.matches(what).count(),
                1,
                "line {damaged}, {what}\n{story}"
            );
        }
        assert_eq!(account.cluster, "lab");
        assert_eq!(account.state, State::Done, "line {damaged}");
        assert_eq!(account.steps.len(), 2);
    }
}

#[test]
fn records_that_cannot_follow_are_damage_too() {
    let mut records = journal();
    records.remove(1);
    let journal = text(&records);
    let account = Account::of(
        "update-1",
        Ok(journal.as_bytes()),
        Err("no events".to_owned()),
        false,
    );
    assert!(!account.sound);
    insta::assert_snapshot!(account.troubles.join("\n"), @r"
    line 2 of the journal is damaged: LXD/micro02/snap.refresh#1 was never asked for; what is shown is from the record before that and from the events
    no events: commands, outputs, and what was waited for are unknown
    ");
    assert_eq!((account.who.as_str(), account.steps.len()), ("ann@desk", 0));
}

#[test]
fn where_a_run_stands_is_known_from_journal_and_lock() {
    let all = journal();
    let state = |records: usize, running: bool| {
        let text = text(&all[..records]);
        Account::of("update-1", Ok(text.as_bytes()), Ok(b""), running).state
    };
    assert_eq!(state(3, true), State::Running);
    assert_eq!(state(3, false), State::BrokenOff);
    assert_eq!(state(5, false), State::Held);
    assert_eq!(state(6, true), State::Running);
    assert_eq!(state(13, false), State::Done);
    assert_eq!(state(13, true), State::Done, "the process is about to end");
}

#[test]
fn an_output_in_a_file_is_known_by_the_name_of_the_file() {
    let digest = "0123456789abcdef".repeat(4);
    let kept = Transcript::Kept {
        name: digest.clone(),
        bytes: 12,
    };
    let text = format!("out/{digest} (12 bytes)");
    assert_eq!(Transcript::from(text.clone()), kept);
    assert_eq!(String::from(kept.clone()), text);
    let output = Output::of(kept);
    assert_eq!(
        (output.file, output.bytes),
        (Some(format!("out/{digest}")), 12)
    );
    for printed in ["out/x (12 bytes)", "out/../../etc/shadow (12 bytes)"] {
        let output = Output::of(printed.to_owned().into());
        assert_eq!((output.file, output.text.as_str()), (None, printed));
    }
}
