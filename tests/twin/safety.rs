//! One run at a time, and a run that restores what it had switched on.

use std::time::Duration;

use lockstep::engine::{Decisions, Finish};
use lockstep::journal::{Crash, Phase};
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::path::StepPath;
use lockstep_tests::{Bench, Ended};
use lockstep_twin::{Node, Scenario};
use serde_json::json;

const LOCK: &str = "/var/lib/lockstep/lock";

/// Someone else's lock on a member.
fn foreign(bench: &mut Bench, member: &str) {
    let claim = json!({"run": "upgrade-7", "holder": "eve@jump2", "began": "2026-03-31T22:00:00Z"});
    bench
        .world
        .set_file(member, LOCK, Some(Node::Link(claim.to_string())));
}

/// What is switched on that was not in the beginning, or off that was on.
fn left_on(bench: &Bench) -> Vec<String> {
    let before = Scenario::of(bench.world.members.len()).build().settings();
    let now = bench.world.settings();
    let names = before.keys().chain(now.keys());
    let mut changed: Vec<String> = names
        .filter(|name| before.get(*name) != now.get(*name))
        .cloned()
        .collect();
    changed.sort();
    changed.dedup();
    changed
}

fn locked(bench: &Bench) -> Vec<&String> {
    let members = bench.world.members.keys();
    members
        .filter(|m| bench.world.file(m, LOCK).is_some())
        .collect()
}

#[test]
fn a_run_has_the_cluster_to_itself_until_it_ends() {
    let mut bench = Bench::update(3);
    // The journal is cut in the middle of the run: the lock is there, and names the run.
    assert!(matches!(bench.run_until(Crash::Before(30)), Ended::Killed));
    let Some(Node::Link(claim)) = bench.world.file("micro03", LOCK) else {
        panic!("no lock on micro03");
    };
    assert!(
        claim.contains(r#""run":"update-1","holder":"nobody@twin""#),
        "{claim}"
    );
    bench.resume().done();
    assert_eq!(locked(&bench), Vec::<&String>::new());
    bench.assert_updated();
}

#[test]
fn a_second_run_is_refused_until_the_first_has_ended() {
    // Whichever member the other controller got first.
    for member in ["micro01", "micro03"] {
        let mut bench = Bench::update(3);
        foreign(&mut bench, member);
        let held = bench.run().held();
        assert_eq!(held.failure.kind, Kind::Refused);
        assert_eq!(
            held.failure.to_string(),
            format!(
                "preflight.require: lock: {member}: the cluster belongs to the run upgrade-7 of eve@jump2, begun 2026-03-31 22:00:00 UTC: \
                 let it end; if it stopped, continue it where it was started with: lockstep resume upgrade-7, or end it with: \
                 lockstep abort upgrade-7; if it no longer exists: lockstep unlock"
            )
        );
        assert_eq!(
            locked(&bench),
            [member],
            "only the other run's lock is left"
        );
        assert_eq!(bench.refreshes(), Vec::<String>::new());
        bench.world.set_file(member, LOCK, None);
        bench.resume().done();
        bench.assert_updated();
    }
}

#[test]
fn a_run_of_the_same_name_from_elsewhere_is_another_run() {
    let mut bench = Bench::update(1);
    let claim =
        json!({"run": "update-1", "holder": "nobody@twin", "began": "2026-03-31T22:00:00Z"});
    let claim = Node::Link(claim.to_string());
    bench.world.set_file("micro01", LOCK, Some(claim.clone()));
    assert_eq!(bench.run().held().failure.kind, Kind::Refused);
    assert_eq!(bench.world.file("micro01", LOCK), Some(&claim));
}

#[test]
fn a_lock_that_cannot_be_read_is_not_free() {
    for node in [
        Node::Link("garbage".to_owned()),
        Node::File("update-1".to_owned()),
        Node::Folder,
    ] {
        let mut bench = Bench::update(3);
        bench.world.set_file("micro02", LOCK, Some(node.clone()));
        let held = bench.run().held();
        assert_eq!(held.failure.kind, Kind::Refused, "{held:?}");
        let text = held.failure.to_string();
        assert!(
            text.starts_with("preflight.require: lock: unknown: micro02: the lock "),
            "{text}"
        );
        assert!(
            text.ends_with("lockstep unlock shows it and asks"),
            "{text}"
        );
        assert_eq!(locked(&bench), ["micro02"]);
        assert_eq!(bench.refreshes(), Vec::<String>::new());
    }
}

#[test]
fn a_member_that_cannot_be_written_is_reported() {
    let mut bench = Bench::update(3);
    bench.world.read_only.insert("micro02".to_owned());
    let text = bench.run().held().failure.to_string();
    assert!(
        text.contains("micro02: lock.take: install failed (exit 1): install: cannot create directory '/var/lib/lockstep': Read-only"),
        "{text}"
    );
    assert_eq!(locked(&bench), Vec::<&String>::new());
}

#[test]
fn a_cluster_that_another_run_took_is_left_alone() {
    let mut bench = Bench::update(3);
    assert!(matches!(bench.run_until(Crash::Before(30)), Ended::Killed));
    bench.world.set_file("micro01", LOCK, None);
    foreign(&mut bench, "micro02");
    bench.wait(Duration::from_secs(60));
    let (before, refreshes) = (bench.world.settings(), bench.refreshes());
    let reported = "micro02: the cluster belongs to the run upgrade-7 of eve@jump2";
    let resumed = bench.resume().suspended();
    assert!(resumed.starts_with(reported), "{resumed}");
    let trusting = bench.resume_with(Decisions::default(), true).suspended();
    assert!(trusting.starts_with(reported), "{trusting}");
    let aborted = bench.abort().suspended();
    assert!(aborted.starts_with(reported), "{aborted}");
    assert_eq!(bench.world.settings(), before);
    assert_eq!(bench.refreshes(), refreshes);
    assert_eq!(locked(&bench), ["micro02", "micro03"]);
}

#[test]
fn a_lock_that_is_gone_is_taken_again_before_anything_else() {
    let mut bench = Bench::update(3);
    assert!(matches!(bench.run_until(Crash::Before(30)), Ended::Killed));
    for member in ["micro01", "micro02", "micro03"] {
        bench.world.set_file(member, LOCK, None);
    }
    assert!(matches!(
        bench.resume_until(Decisions::default(), Crash::Before(4)),
        Ended::Killed
    ));
    assert_eq!(locked(&bench), ["micro01", "micro02", "micro03"]);
    bench.resume().done();
    bench.assert_updated();
    assert_eq!(locked(&bench), Vec::<&String>::new());
}

#[test]
fn unlocking_removes_what_was_shown_whatever_it_is() {
    let body = r#"
        local shown = {}
        for _, lock in ipairs(lock.read {}.members) do
            if lock.claim or lock.problem then shown[lock.member] = lock.says end
        end
        return lock.remove { shown = shown }
    "#;
    let mut bench = Bench::playing(body, 3);
    foreign(&mut bench, "micro01");
    bench
        .world
        .set_file("micro02", LOCK, Some(Node::File("x".to_owned())));
    for member in ["micro01", "micro02"] {
        let folder = Some(Node::Folder);
        bench.world.set_file(member, "/var/lib/lockstep", folder);
    }
    bench.run().done();
    assert_eq!(locked(&bench), Vec::<&String>::new());
}

#[test]
fn a_lock_that_is_not_as_shown_stays() {
    let shown = r#"{ micro01 = "the lock of before", micro02 = "x", micro03 = "x" }"#;
    let mut bench = Bench::playing(&format!("return lock.remove {{ shown = {shown} }}"), 3);
    foreign(&mut bench, "micro01");
    let link = |text: &str| Some(Node::Link(text.to_owned()));
    bench.world.set_file("micro02", LOCK, link("x"));
    bench
        .world
        .set_file("micro02", "/var/lib/lockstep", Some(Node::Folder));
    bench
        .world
        .set_file("micro01", "/var/lib/lockstep", Some(Node::Folder));
    bench.world.set_link("micro03", false);
    let why = bench.run().held().failure.message;
    let reported = "the lock was removed on micro02 only; micro01: upgrade-7 of eve@jump2, begun 2026-03-31 22:00:00 UTC; micro03: no answer: ";
    assert!(why.starts_with(reported), "{why}");
    assert_eq!(locked(&bench), ["micro01"]);
}

#[test]
fn a_run_that_leaves_something_on_is_not_done() {
    let playing = |body: &str| {
        let text = format!("return {{ api = 1, run = function()\n{body}\nend }}");
        Bench::whole(text, 3)
    };
    let body = "lock.take {}\nmicroceph.noout { member = \"micro02\", on = true }";
    let failure = match playing(body).run() {
        Ended::Finish(Finish::Failed(failure)) => failure.message,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        failure,
        "the playbook ended, and these settings were not restored:\n  \
         noout is set for micro02; undo it with: lockstep op microceph.noout --member micro02 --on false\n  \
         the cluster is locked; undo it with: lockstep unlock"
    );
    let both = format!(
        "{body}\nmicroceph.noout {{ member = \"micro02\", on = false }}\nlock.release {{}}"
    );
    playing(&both).run().done();
    // An abort doesn't report either that all was restored.
    let mut held = playing(&format!("{body}\nconfirm \"Now?\""));
    held.run().held();
    match held.abort() {
        Ended::Finish(Finish::Failed(failure)) => assert!(
            failure
                .message
                .starts_with("the run was aborted, and these settings"),
            "{failure}"
        ),
        other => panic!("{other:?}"),
    }
}

/// Where the update of a cluster is held for good: in the middle of its first wave, with noout set.
fn held_in_mid_wave() -> Bench {
    let mut bench = Bench::update(3);
    bench.world.fail_hook("micro02", "microceph", 99);
    let held = bench.run().held();
    assert_eq!(held.path, "MicroCeph/micro02/snap.refresh#1");
    assert!(left_on(&bench).len() > 3, "{:?}", left_on(&bench));
    bench
}

/// What an abort must come to, wherever it came in between.
fn assert_restored(bench: &Bench, refreshes: &[String]) {
    assert_eq!(left_on(bench), Vec::<String>::new());
    assert_eq!(bench.world.violations(), []);
    assert_eq!(bench.refreshes(), refreshes, "an abort refreshes nothing");
    let held = bench
        .world
        .members
        .keys()
        .all(|m| bench.world.held(m, "microceph"));
    assert!(held, "holds stay");
    let history = bench.history();
    assert!(history.cancelled.is_some() && history.end.is_some());
    let open = |phase: &Phase| !matches!(phase, Phase::Done | Phase::Failed);
    assert!(!history.steps.values().any(|step| open(&step.phase)));
}

#[test]
fn an_aborted_run_restores_what_it_switched_and_begins_nothing() {
    let mut bench = held_in_mid_wave();
    let before = bench.refreshes();
    assert!(matches!(bench.abort(), Ended::Finish(Finish::Aborted)));
    assert_restored(&bench, &before);
}

#[test]
fn an_abort_can_be_killed_at_every_append() {
    let placements: [fn(usize) -> Crash; 3] = [Crash::Before, Crash::Torn, Crash::After];
    let mut tried = 0;
    for place in placements {
        for n in 1.. {
            let mut bench = held_in_mid_wave();
            let before = bench.refreshes();
            match bench.abort_until(place(n)) {
                Ended::Killed => {}
                Ended::Finish(Finish::Aborted) => break,
                other => panic!("{other:?}"),
            }
            bench.wait(Duration::from_secs(30));
            // Killed before the journal had it, it has to be asked for again; later a resume continues it.
            let history = bench.history();
            if history.end.is_none() {
                let cancelled = history.cancelled.is_some();
                let ended = if cancelled {
                    bench.resume()
                } else {
                    bench.abort()
                };
                let over = matches!(&ended, Ended::Finish(Finish::Aborted));
                assert!(over, "{:?}: {ended:?}\n{}", place(n), bench.journal.text());
            }
            assert_restored(&bench, &before);
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn a_run_killed_anywhere_can_be_aborted() {
    for n in (2..200).step_by(3) {
        let mut bench = Bench::update(3);
        if !matches!(bench.run_until(Crash::After(n)), Ended::Killed) {
            break;
        }
        let ended = bench.abort();
        let fine = matches!(&ended, Ended::Finish(Finish::Aborted | Finish::Done(_)));
        assert!(fine, "append {n}: {ended:?}");
        assert_eq!(left_on(&bench), Vec::<String>::new(), "append {n}");
        assert_eq!(bench.world.violations(), [], "append {n}");
        assert!(
            !bench
                .world
                .members
                .keys()
                .any(|m| bench.world.is_changing(m)),
            "append {n}: a refresh was left to itself"
        );
    }
}

#[test]
fn what_cannot_be_restored_holds_the_abort() {
    let mut bench = held_in_mid_wave();
    bench.world.read_only.insert("micro02".to_owned());
    let held = bench.abort().held();
    assert_eq!(held.path, "finally/lock.release#1");
    assert!(held.failure.message.contains("Read-only"), "{held:?}");
    bench.world.read_only.clear();
    assert!(matches!(bench.resume(), Ended::Finish(Finish::Aborted)));
    assert_eq!(left_on(&bench), Vec::<String>::new());
}

#[test]
fn after_an_abort_a_playbook_only_cleans_up() {
    // It tries again for ever, and something else besides.
    let body = r#"
        finally(function()
            while not try(exec, { member = "micro01", argv = { "/bin/false" }, effect = "read" }).ok do
                confirm "Again?"
            end
        end, function()
            try(exec, { member = "micro01", argv = { "/bin/echo", "one" }, effect = "converge" })
            parallel({ "micro01", "micro02" }, function(member)
                exec { member = member, argv = { "/bin/echo", "two" }, effect = "converge" }
            end)
        end)
    "#;
    let mut bench = Bench::playing(body, 2);
    assert_eq!(bench.run().held().path, "confirm#1");
    assert!(matches!(bench.abort(), Ended::Finish(Finish::Aborted)));
    let printed: Vec<&str> = bench
        .world
        .log
        .iter()
        .filter(|e| e.argv[0] == "/bin/echo")
        .map(|e| e.argv[1].as_str())
        .collect();
    assert_eq!(printed, ["one", "two", "two"]);
}

#[test]
fn a_cluster_of_one_is_locked_and_aborted_too() {
    let mut bench = Bench::update(1);
    bench.answer = lockstep::engine::Answer::Yes;
    assert!(matches!(bench.run_until(Crash::After(30)), Ended::Killed));
    assert_eq!(locked(&bench).len(), 1);
    let ended = bench.abort();
    assert!(
        matches!(&ended, Ended::Finish(Finish::Aborted)),
        "{ended:?}"
    );
    assert_eq!(left_on(&bench), Vec::<String>::new());
}

/// Where an update keeps its backup on a member.
fn backup_of(bench: &Bench, member: &str) -> String {
    let path = StepPath::from(format!("Backup/{member}/backup.take#1"));
    let record = &bench.history().steps[&path];
    assert_eq!(record.phase, Phase::Done);
    let done = bench.history().completions.into_iter();
    let mut taken = done.filter(|c| c.path == path);
    let value = taken.next().unwrap().result.unwrap();
    assert_eq!(value["files"].as_array().unwrap().len(), 11, "{value}");
    value["folder"].as_str().unwrap().to_owned()
}

#[test]
fn an_update_begins_with_a_backup_on_every_member() {
    let mut bench = Bench::update(3);
    let result = bench.run().done();
    for member in ["micro01", "micro02", "micro03"] {
        let folder = backup_of(&bench, member);
        assert_eq!(result["backup"][member], folder);
        let Some(Node::File(dump)) = bench
            .world
            .file(member, &format!("{folder}/lxd-global.sql"))
        else {
            panic!("no dump on {member}");
        };
        assert!(dump.ends_with("COMMIT;\n"), "{dump}");
    }
    let first = |program: &str| {
        bench
            .world
            .log
            .iter()
            .position(|e| e.argv.iter().any(|word| word == program))
            .unwrap()
    };
    assert!(
        first("/usr/bin/sha256sum") < first("--no-wait"),
        "the backup comes first"
    );
}

#[test]
fn no_room_for_a_backup_holds_the_run_before_any_change() {
    let mut bench = Bench::shipped("update", &Scenario::of(3), &json!({"accept": ["disk"]}));
    bench.world.host("micro02").free = 0;
    let held = bench.run().held();
    assert_eq!(held.path, "Backup/micro02/backup.take#1");
    let text = held.failure.to_string();
    assert!(
        text.contains("the backup can't be written to /var/lib/lockstep/backup/"),
        "{text}"
    );
    assert!(text.contains("No space left on device. Free up space there and resume, or start a run with --backup=false"), "{text}");
    assert_eq!(bench.refreshes(), Vec::<String>::new());
    bench.world.host("micro02").free = 1 << 40;
    bench.resume().done();
    bench.assert_updated();
}

#[test]
fn an_unwritable_backup_folder_holds_the_run_before_any_change() {
    let folder = "/var/lib/lockstep/backup";
    let mut bench = Bench::update(3);
    let node = Node::File("not a folder".to_owned());
    bench.world.set_file("micro03", folder, Some(node));
    let held = bench.run().held();
    assert_eq!(held.path, "Backup/micro03/backup.take#1");
    let text = held.failure.to_string();
    assert!(
        text.ends_with(
            "File exists. Fix that there and resume, or start a run with --backup=false"
        ),
        "{text}"
    );
    assert_eq!(bench.refreshes(), Vec::<String>::new());
    bench.world.set_file("micro03", folder, None);
    bench.resume().done();
    bench.assert_updated();
}

#[test]
fn a_run_without_a_backup_says_so() {
    let mut bench = Bench::shipped("update", &Scenario::of(1), &json!({"backup": false}));
    bench.answer = lockstep::engine::Answer::Yes;
    bench.run().done();
    assert!(
        bench
            .history()
            .steps
            .keys()
            .all(|path| !path.as_str().contains("backup"))
    );
    assert_eq!(bench.history().head.params["backup"], false);
}

#[test]
fn a_backup_that_was_changed_is_not_whole() {
    let body = r#"
        local folder = backup.take({ member = "micro01" }).folder
        backup.verify { member = "micro01" }
        confirm "Go on?"
        backup.verify { member = "micro01", folder = folder }
    "#;
    for text in ["", "PRAGMA foreign_keys=OFF;\n"] {
        let mut bench = Bench::playing(body, 1);
        assert_eq!(bench.run().held().path, "confirm#1");
        let taken = bench.history().completions[0].result.clone().unwrap();
        let folder = taken["folder"].as_str().unwrap().to_owned();
        bench.world.set_file(
            "micro01",
            &format!("{folder}/microceph.sql"),
            Some(Node::File(text.to_owned())),
        );
        bench.answer = lockstep::engine::Answer::Yes;
        let failure = bench.resume().held().failure;
        assert!(
            failure
                .message
                .contains("the backup isn't what was written: ")
                && failure.message.contains("/microceph.sql: FAILED"),
            "{failure}"
        );
    }
}

#[test]
fn old_backups_are_removed() {
    let mut bench = Bench::playing(r#"return backup.take { member = "micro01", keep = 3 }"#, 1);
    let old = [
        "20250101T000000Z-update-1",
        "20250201T000000Z-update-2",
        "20250301T000000Z-update-3",
    ];
    for name in old {
        let folder = format!("/var/lib/lockstep/backup/{name}");
        bench.world.set_file("micro01", &folder, Some(Node::Folder));
        bench.world.set_file(
            "micro01",
            &format!("{folder}/SHA256SUMS"),
            Some(Node::File("x".to_owned())),
        );
    }
    // What somebody else keeps there is left alone, and isn't counted.
    let others = [
        "00-before-the-move",
        "20240101",
        "20240101T000000Z-",
        "20241399T000000Z-update-0",
        "20240101T000000Z.tar-update-0",
    ];
    let place = |name: &str| format!("/var/lib/lockstep/backup/{name}");
    for name in others {
        bench
            .world
            .set_file("micro01", &place(name), Some(Node::Folder));
    }
    let out = bench.run().done();
    assert_eq!(
        out["pruned"],
        json!(["/var/lib/lockstep/backup/20250101T000000Z-update-1"])
    );
    for name in others {
        assert!(
            bench.world.file("micro01", &place(name)).is_some(),
            "{name}"
        );
    }
    assert!(
        bench
            .world
            .file(
                "micro01",
                "/var/lib/lockstep/backup/20250101T000000Z-update-1/SHA256SUMS"
            )
            .is_none()
    );
    assert!(
        bench
            .world
            .file(
                "micro01",
                "/var/lib/lockstep/backup/20250201T000000Z-update-2/SHA256SUMS"
            )
            .is_some()
    );
}
