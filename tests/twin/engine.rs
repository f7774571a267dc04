//! Holding, deciding, resuming, diverging: what the engine promises, on a small playbook.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep::engine::{Answer, Decisions, Finish};
use lockstep::event::Event;
use lockstep::journal::{By, Choice, Crash, Record};
use lockstep_modules::contract::path::StepPath;
use lockstep_tests::{Bench, Ended};
use serde_json::json;

const REFRESH_ALL: &str = r#"
    return parallel(cluster.members, function(m)
        local r = snap.refresh { member = m, snap = "microceph" }
        return r.to
    end)
"#;

/// A refresh on micro01 whose post-refresh hook fails this many times.
fn failing(times: u32) -> Bench {
    let mut bench = Bench::playing(
        r#"return snap.refresh { member = "micro01", snap = "microceph" }"#,
        1,
    );
    bench.world.fail_hook("micro01", "microceph", times);
    bench
}

#[test]
fn a_failure_holds_and_a_resume_tries_it_again() {
    let mut bench = failing(1);
    let held = bench.run().held();
    assert_eq!(held.path, "snap.refresh#1");
    assert!(!held.in_doubt);
    assert!(
        held.failure
            .message
            .starts_with("snapd undid the refresh: Run post-refresh hook"),
        "{}",
        held.failure
    );
    assert_eq!(bench.revisions("microceph"), [1500]);

    let result = bench.resume().done();
    assert_eq!(result["changed"], json!(true));
    assert_eq!(bench.revisions("microceph"), [1501]);
    assert_eq!(bench.history().steps["snap.refresh#1"].attempts, 2);
}

#[test]
fn beside_a_held_step_work_is_finished_and_none_begun() {
    let mut bench = Bench::playing(
        r#"
        parallel(cluster.members, function(m)
            snap.refresh { member = m, snap = m == "micro02" and "core99" or "microceph" }
            snap.unhold { member = m, snap = "lxd" }
        end)
        "#,
        3,
    );
    assert_eq!(bench.run().held().path, "micro02/snap.refresh#1");
    assert_eq!(bench.revisions("microceph"), [1501, 1500, 1501]);
    let words: Vec<String> = bench
        .history()
        .steps
        .iter()
        .map(|(path, step)| format!("{path} {}", step.phase.word()))
        .collect();
    let expected = [
        "micro01/snap.refresh#1 done",
        "micro01/snap.unhold#1 issued",
        "micro02/snap.refresh#1 held",
        "micro03/snap.refresh#1 done",
        "micro03/snap.unhold#1 issued",
    ];
    assert_eq!(words, expected);
    // The held one is still held; what had only been asked for is done now.
    assert_eq!(bench.resume().held().path, "micro02/snap.refresh#1");
    assert_eq!(
        bench.history().steps["micro01/snap.unhold#1"].phase.word(),
        "done"
    );
}

#[test]
fn a_delivered_failure_reaches_the_playbook_which_cleans_up() {
    let mut bench = Bench::playing(
        r#"
        finally(function() snap.refresh { member = "micro01", snap = "microceph" } end,
            function(ok) snap.unhold { member = "micro01", snap = "lxd" } end)
        "#,
        1,
    );
    bench.world.fail_hook("micro01", "microceph", 9);
    assert_eq!(bench.run().held().path, "snap.refresh#1");
    let Ended::Finish(lockstep::engine::Finish::Failed(failure)) = bench.resume_with(
        Decisions {
            deliver: true,
            ..Decisions::default()
        },
        false,
    ) else {
        panic!("the failure was to end the playbook")
    };
    assert_eq!(failure.step, Some("snap.refresh#1".into()));
    assert!(
        bench.history().steps["finally/snap.unhold#1"]
            .ended
            .is_some()
    );
    let decided = |r: &Record| matches!(r, Record::Decide { choice: Choice::Deliver, who, .. } if who == "nobody@twin");
    assert!(bench.records().iter().any(decided));
}

#[test]
fn what_was_done_by_hand_is_taken_as_done() {
    let mut bench = failing(9);
    assert_eq!(bench.run().held().path, "snap.refresh#1");
    let value = json!({"changed": true, "from": "1500", "to": "1501", "version": "x", "channel": "squid/stable"});
    let assume_done = BTreeMap::from([("snap.refresh#1".into(), value)]);
    let result = bench
        .resume_with(
            Decisions {
                assume_done,
                ..Decisions::default()
            },
            false,
        )
        .done();
    assert_eq!(result["to"], json!("1501"));
    assert_eq!(bench.refreshes().len(), 1);
    assert_eq!(bench.history().completions[0].by, By::Operator);
}

/// Two steps that must not be done twice wait, and something else continues beside them.
fn two_in_doubt() -> Bench {
    let body = r#"
        return parallel(cluster.members, function(m)
            if m == "micro03" then return snap.refresh { member = m, snap = "microceph" }.to end
            local r = try(exec, { member = m, argv = { "/bin/echo", "sent" }, effect = "once" })
            return r.ok and r.value.stdout or r.error.kind
        end)
    "#;
    let mut bench = Bench::playing(body, 3);
    kill_at(
        &mut bench,
        |r| matches!(r, Record::Start { path, .. } if path == "micro03/snap.refresh#1"),
    );
    let Ended::Finish(lockstep::engine::Finish::Held(held)) = bench.resume() else {
        panic!("two steps are in doubt")
    };
    assert_eq!(held.len(), 2);
    bench
}

#[test]
fn a_decision_in_the_journal_outlives_any_kill() {
    let by_hand = json!({"code": 0, "stdout": "by hand", "stderr": ""});
    let paths = ["micro01/exec#1", "micro02/exec#1"].map(StepPath::from);
    let assumed = Decisions {
        assume_done: paths.clone().map(|path| (path, by_hand.clone())).into(),
        ..Decisions::default()
    };
    let delivered = Decisions {
        deliver: true,
        ..Decisions::default()
    };
    let again = Decisions {
        retry: paths.into(),
        ..Decisions::default()
    };
    let cases = [
        (assumed, Choice::AssumeDone, true, json!("by hand")),
        (delivered, Choice::Deliver, true, json!("command")),
        (again, Choice::Retry, false, json!("sent\n")),
    ];
    for (decisions, choice, once, kept) in cases {
        let held = two_in_doubt();
        let journal = held.journal.text();
        for n in 1.. {
            let mut ended = 0;
            for crash in [Crash::Before(n), Crash::Torn(n), Crash::After(n)] {
                let mut bench = held.fresh_copy();
                bench.journal = lockstep::journal::MemoryJournal::with(&journal);
                let killed = bench.resume_until(decisions.clone(), crash);
                ended += usize::from(!matches!(killed, Ended::Killed));
                let decided: Vec<StepPath> = bench
                    .records()
                    .iter()
                    .filter(|r| matches!(r, Record::Decide { choice: c, .. } if *c == choice))
                    .filter_map(|r| r.path().cloned())
                    .collect();
                // Whatever isn't in the journal is decided otherwise now.
                for _ in 0..2 {
                    let again = Decisions {
                        retry: held_paths(&bench),
                        ..Decisions::default()
                    };
                    if bench.history().end.is_none() {
                        bench.resume_with(again, true);
                    }
                }
                let Some(Ok(result)) = bench.history().end else {
                    panic!("{crash:?}: it has no end")
                };
                for (i, path) in ["micro01/exec#1", "micro02/exec#1"].iter().enumerate() {
                    if decided.iter().any(|decided| decided == path) {
                        let attempts = bench.history().steps[*path].attempts;
                        let found = (attempts == 1, &result[i]);
                        assert_eq!(found, (once, &kept), "{crash:?}: {choice:?} of {path}");
                    }
                }
            }
            if ended == 3 {
                assert!(n > 3, "only {n} appends");
                break;
            }
        }
    }
}

/// The steps that wait for a decision.
fn held_paths(bench: &Bench) -> BTreeSet<StepPath> {
    let steps = bench.history().steps.into_iter();
    let held = steps.filter(|(_, step)| step.phase.word() == "held");
    held.map(|(path, _)| path).collect()
}

#[test]
fn a_decision_about_a_step_that_does_not_wait_is_refused() {
    let mut bench = failing(1);
    let _ = bench.run().held();
    let retry = BTreeSet::from(["snap.refersh#1".into()]);
    let ended = bench.resume_with(
        Decisions {
            retry,
            ..Decisions::default()
        },
        false,
    );
    let Ended::Error(error) = ended else {
        panic!("{ended:?}")
    };
    insta::assert_snapshot!(error.to_string(), @r#"the step snap.refersh#1 is not waiting (did you mean "snap.refresh#1"?); waiting steps: snap.refresh#1"#);
    // Nothing is lost by it.
    bench.resume().done();
}

#[test]
fn retries_are_attempts_with_pauses_between_them() {
    let mut bench = Bench::playing(
        r#"return snap.refresh { member = "micro01", snap = "microceph", retry = { times = 2, every = "1m" } }"#,
        1,
    );
    bench.world.fail_hook("micro01", "microceph", 2);
    bench.run().done();
    assert_eq!(bench.history().steps["snap.refresh#1"].attempts, 3);
    assert!(bench.world.now > 120_000);
}

#[test]
fn failures_inside_try_are_data() {
    let mut bench = Bench::playing(
        r#"
        local r = try(snap.refresh, { member = "micro01", snap = "microceph" })
        return { ok = r.ok, kind = r.error.kind, step = r.error.step }
        "#,
        1,
    );
    bench.world.fail_hook("micro01", "microceph", 1);
    assert_eq!(
        bench.run().done(),
        json!({"ok": false, "kind": "command", "step": "snap.refresh#1"})
    );
}

#[test]
fn a_question_holds_where_nobody_is_there_and_yes_answers_it() {
    let mut bench = Bench::playing(r#"confirm "Go on?""#, 1);
    let held = bench.run().held();
    assert_eq!(
        held.failure.message,
        "nobody is there to answer: Go on? Resume with --yes."
    );
    bench.answer = Answer::No;
    assert_eq!(bench.resume().held().failure.message, "answered no: Go on?");
    bench.answer = Answer::Yes;
    bench.resume().done();
}

/// Kills the controller at the append in which this record is written, after it is on disk.
fn kill_at(bench: &mut Bench, wanted: impl Fn(&Record) -> bool) {
    for n in 1.. {
        let mut copy = bench.fresh_copy();
        match copy.run_until(Crash::After(n)) {
            Ended::Killed if copy.records().last().is_some_and(&wanted) => {
                *bench = copy;
                return;
            }
            Ended::Killed => {}
            other => panic!("the record was never written: {other:?}"),
        }
    }
}

#[test]
fn a_refresh_that_was_under_way_is_found_by_its_change() {
    let mut bench = Bench::playing(REFRESH_ALL, 1);
    kill_at(
        &mut bench,
        |r| matches!(r, Record::Witness { data, .. } if data.get("change").is_some()),
    );
    assert_eq!(bench.resume().done(), json!(["1501"]));
    assert_eq!(bench.refreshes(), ["micro01 microceph"]);
    assert_eq!(bench.history().completions[0].by, By::Probe);
}

#[test]
fn a_refresh_that_ended_while_nobody_looked_is_found_too() {
    let mut bench = Bench::playing(REFRESH_ALL, 1);
    kill_at(
        &mut bench,
        |r| matches!(r, Record::Witness { data, .. } if data.get("change").is_some()),
    );
    bench.wait(Duration::from_secs(600));
    assert_eq!(bench.resume().done(), json!(["1501"]));
    assert_eq!(bench.refreshes(), ["micro01 microceph"]);
}

#[test]
fn an_intent_without_a_start_was_never_begun() {
    let mut bench = Bench::playing(REFRESH_ALL, 1);
    let intent = |r: &Record| matches!(r, Record::Start { .. });
    kill_at(&mut bench, intent);
    bench.resume().done();
    assert_eq!(bench.refreshes(), ["micro01 microceph"]);
}

#[test]
fn a_once_without_a_probe_is_for_the_operator_to_decide() {
    let body =
        r#"return exec { member = "micro01", argv = { "/bin/echo", "sent" }, effect = "once" }"#;
    let mut bench = Bench::playing(body, 1);
    kill_at(&mut bench, |r| matches!(r, Record::Start { .. }));
    let held = bench.resume().held();
    assert!(held.in_doubt);
    insta::assert_snapshot!(held.failure.message, @"lockstep ended while this step was running; exec leaves no trace from which its outcome can be determined");
    // Asking again changes nothing about it.
    assert!(bench.resume().held().in_doubt);
    let retry = BTreeSet::from(["exec#1".into()]);
    let result = bench
        .resume_with(
            Decisions {
                retry,
                ..Decisions::default()
            },
            false,
        )
        .done();
    assert_eq!(result["stdout"], json!("sent\n"));
}

#[test]
fn lost_contact_is_waited_for_and_the_refresh_not_repeated() {
    let mut bench = Bench::playing(REFRESH_ALL, 1);
    // The link goes down while the refresh runs, and comes back a minute later.
    bench.fault("cut:micro01@3s+1m");
    assert_eq!(bench.run().done(), json!(["1501"]));
    assert_eq!(bench.refreshes(), ["micro01 microceph"]);
    let away = |e: &Event| matches!(e, Event::Away { member, .. } if member == "micro01");
    assert!(bench.events.iter().any(|e| away(&e.event)));
    assert_eq!(bench.history().completions[0].by, By::Probe);
}

#[test]
fn a_member_that_stays_away_holds_the_run() {
    let mut bench = Bench::playing(REFRESH_ALL, 1);
    bench.fault("cut:micro01@3s+1h");
    let held = bench.run().held();
    assert!(held.in_doubt);
    assert_eq!(held.failure.kind.word(), "unreachable");
    bench.wait(Duration::from_secs(3_600));
    assert_eq!(bench.resume().done(), json!(["1501"]));
    assert_eq!(bench.refreshes(), ["micro01 microceph"]);
}

/// An attempt that asks one member after the other takes its time; that isn't a sign that any of them is back.
#[test]
fn two_members_that_stay_away_hold_the_run_too() {
    let mut bench = Bench::update(3);
    bench.fault("freeze:micro03@microceph/micro02");
    bench.fault("power-off:micro02@3m48s");
    let held = bench.run().held();
    assert_eq!(held.path, "MicroCeph/micro02/microceph.wait#1");
    assert!(
        held.failure.message.contains("gave up after 10m"),
        "{}",
        held.failure.message
    );
}

#[test]
fn a_refresh_past_its_time_is_waited_for_after_a_resume() {
    let body = r#"return snap.refresh { member = "micro01", snap = "microceph", timeout = "3s" }"#;
    let mut bench = Bench::playing(body, 1);
    let held = bench.run().held();
    assert!(held.in_doubt, "{held:?}");
    assert!(
        held.failure.message.contains("still running"),
        "{}",
        held.failure
    );
    bench.wait(Duration::from_secs(60));
    assert_eq!(bench.resume().done()["to"], json!("1501"));
    assert_eq!(bench.refreshes(), ["micro01 microceph"]);
}

#[test]
fn a_sleep_only_sleeps_for_the_rest() {
    let mut bench = Bench::playing(r#"time.sleep { span = "10m" }"#, 1);
    kill_at(&mut bench, |r| matches!(r, Record::Witness { .. }));
    bench.wait(Duration::from_secs(400));
    let before = bench.world.now;
    bench.resume().done();
    let slept = bench.world.now - before;
    assert!((190_000..220_000).contains(&slept), "{slept} ms");
}

#[test]
fn a_fixed_playbook_continues_while_its_past_is_the_same() {
    let mut bench = Bench::playing(
        r#"snap.hold { member = "micro01", snap = "lxd" }
        snap.info { member = "micro01", snap = "nosuch" }"#,
        1,
    );
    assert_eq!(
        bench.run().held().failure.message,
        "the snap \"nosuch\" is not installed"
    );
    bench.edit(
        r#"-- A comment moves every line, which is no other past.
        snap.hold { member = "micro01", snap = "lxd" }
        snap.info { member = "micro01", snap = "nosuch" }
        return "mended""#,
    );
    let value = json!({"revision": "1", "version": "", "channel": "", "cohort": "", "held": true, "active": true});
    let assume_done = BTreeMap::from([("snap.info#1".into(), value)]);
    assert_eq!(
        bench
            .resume_with(
                Decisions {
                    assume_done,
                    ..Decisions::default()
                },
                false
            )
            .done(),
        json!("mended")
    );
}

#[test]
fn a_playbook_with_another_past_is_refused_with_both_sides() {
    let diverge = |body: &str| {
        let mut bench = Bench::playing(
            r#"snap.hold { member = "micro01", snap = "lxd" }
            snap.info { member = "micro01", snap = "nosuch" }"#,
            1,
        );
        let _ = bench.run().held();
        bench.edit(body);
        match bench.resume() {
            Ended::Error(error) => error.to_string(),
            other => panic!("{other:?}"),
        }
    };
    let cases = [
        r#"snap.hold { member = "micro01", snap = "microceph" }"#,
        r#"snap.unhold { member = "micro01", snap = "lxd" }"#,
        r#"section("new", function() snap.hold { member = "micro01", snap = "lxd" } end)"#,
        r#"snap.hold { member = "micro01", snap = "lxd" }"#,
        r"return 1",
        r#"parallel({ "a", "b" }, function() snap.hold { member = "micro01", snap = "lxd" } end)"#,
    ];
    let reported =
        cases.map(|body| format!("{body}\n    {}\n", diverge(body).replace('\n', "\n    ")));
    insta::assert_snapshot!(reported.join("\n"));
}

#[test]
fn a_run_on_a_cluster_that_someone_else_changed_stops() {
    let mut bench = Bench::playing(
        r#"
        status.read {}
        snap.refresh { member = "micro01", snap = "microcloud" }
        snap.refresh { member = "micro02", snap = "microcloud" }
        "#,
        2,
    );
    bench.world.fail_hook("micro02", "microcloud", 1);
    assert_eq!(bench.run().held().path, "snap.refresh#2");
    bench.world.set_revision("micro01", "lxd", 33110);
    // What is about to be refreshed may have moved: that explains itself.
    bench.world.set_revision("micro02", "microcloud", 1210);
    let why = bench.resume().suspended();
    insta::assert_snapshot!(why, @r"
    something else changed the cluster since this run last saw it:
      micro01/lxd/revision: 33100 → 33110
    resume with --trust-cluster to continue anyway
    ");
    // It is still refused when it is asked again.
    assert_eq!(bench.resume().suspended(), why);
    bench.resume_with(Decisions::default(), true).done();
}

#[test]
fn a_change_that_was_accepted_is_not_asked_about_again() {
    let mut bench = Bench::playing(
        r#"
        status.read {}
        snap.refresh { member = "micro02", snap = "microcloud" }
        "#,
        2,
    );
    bench.world.fail_hook("micro02", "microcloud", 2);
    let _ = bench.run().held();
    bench.world.set_revision("micro01", "lxd", 33110);
    let _ = bench.resume().suspended();
    let _ = bench.resume_with(Decisions::default(), true).held();
    bench.resume().done();
}

#[test]
fn a_lost_member_is_noticed_before_anything_is_done() {
    let mut bench = Bench::playing(
        r#"
        status.read {}
        snap.refresh { member = "micro01", snap = "microceph" }
        "#,
        2,
    );
    bench.world.fail_hook("micro01", "microceph", 1);
    let _ = bench.run().held();
    bench.fault("cut:micro02+1h");
    let why = bench.resume().suspended();
    insta::assert_snapshot!(why, @r"
    no answer from micro02: the current state there is unknown
    resume with --trust-cluster to continue anyway
    ");
}

#[test]
fn replaying_a_finished_journal_runs_no_command() {
    let mut bench = Bench::update(3);
    let result = bench.run().done();
    // The end is cut off, as if the process had died just before it was written.
    let text = bench.journal.text();
    let without_end = &text[..text.trim_end().rfind('\n').unwrap() + 1];
    bench.journal = lockstep::journal::MemoryJournal::with(without_end);
    bench.world.log.clear();
    assert_eq!(bench.resume().done(), result);
    assert_eq!(bench.world.log, []);
}

#[test]
fn an_endless_pattern_ends_with_its_line_and_is_aborted() {
    let body = r#"
        local on = microceph.noout { member = "micro01", on = true }
        finally(function()
            local text = exec {
                member = "micro01", effect = "read", argv = { "/opt/site/report" }, plan = { stdout = ("="):rep(30000) },
            }.stdout
            local a, b, c = text:match("(.-)=(.-)=(.-)=(.-);")
        end, function()
            microceph.noout { member = "micro01", on = not on.changed }
        end)
    "#;
    // The controller ends in the middle of it, and so does the replay of the next one: an abort goes the same way.
    let killed_after_the_text_was_read = |append: usize| {
        let mut bench = Bench::playing(body, 1);
        let ended = bench.run_until(Crash::Before(append));
        let read = bench.history().completions.len() == 2;
        (read && matches!(ended, Ended::Killed)).then_some(bench)
    };
    let mut bench = (2..10)
        .find_map(killed_after_the_text_was_read)
        .expect("there is such a moment");
    assert_ne!(bench.world.settings(), bench.settings);
    let Ended::Finish(Finish::Failed(failure)) = bench.abort() else {
        panic!("it was to fail");
    };
    let reported = "this pattern takes too long on 30000 bytes of text: ";
    assert!(failure.message.starts_with(reported), "{failure}");
    assert_eq!(failure.site.as_deref(), Some("test.lua:8"));
    lockstep_tests::assert_nothing_left_on(&bench);
}
