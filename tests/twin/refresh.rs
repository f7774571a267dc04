//! Refreshing a snap: what is found out before, meanwhile and afterwards.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use lockstep::engine::{Answer, Finish};
use lockstep_modules::contract::cmd::Output;
use lockstep_tests::answers::{Mutation, asked};
use lockstep_tests::{Bench, reported};
use lockstep_twin::{Broken, Scenario};
use serde_json::{Value, json};

/// The components, with the revision that a cluster has and the one that comes.
const SNAPS: [(&str, u32, u32); 4] = [
    ("microceph", 1500, 1501),
    ("microovn", 700, 701),
    ("lxd", 33100, 33110),
    ("microcloud", 1200, 1210),
];

fn only(snap: &str) -> Bench {
    Bench::shipped("update", &Scenario::of(3), &json!({ "only": [snap] }))
}

/// Which cohorts members are in.
fn cohorts(bench: &mut Bench, snap: &str) -> Vec<Value> {
    let body = format!(
        r#"local all = {{}}
        for i, m in ipairs(cluster.members) do all[i] = snap.info({{ member = m, snap = "{snap}" }}).cohort end
        return all"#
    );
    let mut look = Bench::playing(&body, 3);
    look.world = bench.world.clone();
    look.run().done().as_array().unwrap().clone()
}

#[test]
fn a_refresh_with_an_unread_change_id_is_found_and_followed() {
    for revision in ["", r#", revision = "1501""#] {
        let body = format!(
            r#"return snap.refresh {{ member = "micro02", snap = "microceph"{revision} }}"#
        );
        let mut bench = Bench::playing(&body, 3);
        bench.world.break_program("snap refresh", Broken::Mute);
        let out = bench.run().done();
        assert_eq!(
            (&out["changed"], &out["to"], &out["change"]),
            (&json!(true), &json!("1501"), &json!("1"))
        );
        assert!(!bench.world.is_changing("micro02"));
    }
}

#[test]
fn a_replaced_target_is_asked_about_and_taken_by_all_members() {
    for (snap, old, due) in SNAPS {
        let new = due + 1;
        let mut bench = only(snap);
        bench.fault(&format!("refresh-fails:{snap},micro02"));
        bench.fault("no-self-update:micro02");
        let held = bench.run().held();
        assert_eq!(held.failure.member.as_deref(), Some("micro02"), "{held:?}");
        bench.world.mend();
        bench.fault(&format!("new-release:{snap}"));
        bench.wait(Duration::from_secs(10));
        let before = bench.revisions(snap);

        let held = bench.resume().held();
        assert_eq!(held.path.op(), "confirm", "{held:?}");
        let question = format!("Take all members to {new}?");
        assert!(held.failure.message.contains(&question), "{held:?}");
        assert_eq!(bench.revisions(snap), before, "nothing is done unasked");
        assert_eq!(before[1], old);

        bench.answer = Answer::Yes;
        bench.resume().done();
        assert_eq!(bench.revisions(snap), [new, new, new]);
        assert_eq!(bench.world.violations(), []);
    }
}

#[test]
fn what_an_abort_leaves_the_next_run_takes_to_the_newest() {
    let mut bench = only("microcloud");
    bench.fault("new-release:microcloud@microcloud/micro01");
    bench.run().held();
    bench.abort();
    assert_eq!(bench.revisions("microcloud"), [1210, 1200, 1200]);
    let mut next = only("microcloud");
    next.world = bench.world.clone();
    next.run().done();
    assert_eq!(next.revisions("microcloud"), [1211; 3]);
}

#[test]
fn a_release_in_mid_wave_is_seen_by_the_next_member() {
    // The first one of each wave.
    let waves = [
        (SNAPS[0], "micro02"),
        (SNAPS[1], "micro03"),
        (SNAPS[3], "micro01"),
    ];
    for ((snap, old, due), first) in waves {
        let mut bench = only(snap);
        bench.fault(&format!("new-release:{snap}@{snap}/{first}"));
        let held = bench.run().held();
        let which = format!("which {first} has");
        assert!(held.failure.message.contains(&which), "{held:?}");
        let mut has = bench.revisions(snap);
        has.sort_unstable();
        assert_eq!(has, [old, old, due]);
        bench.answer = Answer::Yes;
        bench.resume().done();
        assert_eq!(bench.revisions(snap), [due + 1; 3]);
        assert_eq!(bench.world.violations(), []);
    }
}

#[test]
fn a_playbook_without_that_question_is_refused_at_first() {
    let body = r#"return snap.refresh { member = "micro02", snap = "lxd", revision = "33105" }"#;
    let mut bench = Bench::playing(body, 3);
    let held = bench.run().held();
    insta::assert_snapshot!(reported(&held), @"snap.refresh#1: all members must have 33105, but the store now has 33110 of lxd, and nothing was done: abort the run and start it again, which takes all of them to the newest; or refresh this one to 33105 with: sudo snap refresh lxd --revision=33105, then resume");
    assert_eq!(bench.revisions("lxd"), [33100; 3]);
    assert_eq!(bench.refreshes(), Vec::<String>::new());
}

#[test]
fn a_release_that_comes_out_in_the_very_moment_is_accounted_for() {
    let mut raced = 0;
    for ms in (100..1200).step_by(50) {
        let body =
            r#"return snap.refresh { member = "micro02", snap = "lxd", revision = "33110" }"#;
        let mut bench = Bench::playing(body, 3);
        bench.fault(&format!("new-release:lxd@{ms}ms"));
        let lockstep_tests::Ended::Finish(lockstep::engine::Finish::Held(held)) = bench.run()
        else {
            continue;
        };
        let Some(did) = held[0].failure.detail.get("did") else {
            continue;
        };
        raced += 1;
        assert_eq!(
            (&did["from"], &did["to"]),
            (&json!("33100"), &json!("33111"))
        );
        let step = &bench.history().steps["snap.refresh#1"];
        assert_eq!(step.did.as_ref(), Some(did));
    }
    assert!(raced > 0, "no case hit the moment");
}

#[test]
fn a_member_refreshed_by_number_is_put_back_into_the_cohort() {
    for (snap, _, due) in SNAPS {
        let mut bench = only(snap);
        bench.fault(&format!("cohort-apart:{snap},micro03@2s"));
        bench.run().done();
        assert_eq!(bench.revisions(snap), [due; 3]);
        assert_eq!(cohorts(&mut bench, snap), ["+", "+", "+"]);
        let number = format!("--revision={due}");
        let asked = bench.world.log.iter().filter(|e| e.argv.contains(&number));
        let asked: Vec<&str> = asked.map(|e| e.member.as_str()).collect();
        assert_eq!(asked, ["micro03"]);
        assert_eq!(bench.world.violations(), []);
    }
}

#[test]
fn a_cohort_that_is_apart_is_reported_and_may_be_accepted() {
    let apart = |accept: Value| {
        let params = json!({"only": ["microcloud"], "accept": accept});
        let mut bench = Bench::shipped("update", &Scenario::of(3), &params);
        bench.fault("cohort-apart:microcloud,micro02");
        bench.world.advance(1000);
        bench
    };
    let held = apart(json!([])).run().held();
    insta::assert_snapshot!(held.failure.message, @"cohort: MicroCloud: the store has 1200 for micro02 and 1210 for micro01, micro03; try again later, or if accepted, all are taken to 1210, by number where the cohort doesn't offer it (to proceed anyway: --accept cohort)");
    let mut bench = apart(json!(["cohort"]));
    bench.run().done();
    assert_eq!(bench.revisions("microcloud"), [1210; 3]);
    assert_eq!(cohorts(&mut bench, "microcloud"), ["+", "+", "+"]);
}

#[test]
fn a_hanging_refresh_is_shown_with_task_time_and_who_waits() {
    let body = r#"
        return parallel(cluster.members, function(m)
            return snap.refresh { member = m, snap = "lxd", timeout = "6m" }
        end)"#;
    let mut bench = Bench::playing(body, 3);
    bench.fault("refresh-hangs:lxd,micro02");
    bench.fault("no-self-update:micro02");
    let held = bench.run().held();
    assert!(held.in_doubt, "{held:?}");
    let stall = &held.failure.detail["stall"];
    assert_eq!(
        (&stall["task"], &stall["services_down"], &stall["waiting"]),
        (
            &json!("copy-snap-data"),
            &json!(true),
            &json!(["micro01", "micro03"])
        )
    );
    let message = &held.failure.message;
    for part in [
        "Copy snap \"lxd\" data: no progress since ",
        "its services are down on micro02 in the meantime; micro01, micro03 wait for it",
        "snap change 1",
        "sudo snap abort 1",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let events = serde_json::to_string(&bench.events).unwrap();
    assert!(
        events.contains("no progress since"),
        "it is shown meanwhile"
    );
    bench.world.mend();
    bench.resume().done();
    assert_eq!(bench.revisions("lxd"), [33110; 3]);
}

#[test]
fn a_hang_that_is_aborted_is_undone_and_can_be_tried_again() {
    let body = r#"return snap.refresh { member = "micro02", snap = "microceph", timeout = "4m" }"#;
    let mut bench = Bench::playing(body, 3);
    bench.fault("refresh-hangs:microceph,micro02");
    assert!(bench.run().held().in_doubt);
    lockstep_tests::by_hand(
        &mut bench.world,
        "micro02",
        &["/usr/bin/snap", "abort", "1"],
    );
    bench.world.mend();
    bench.wait(Duration::from_secs(30));
    let held = bench.resume().held();
    assert!(
        held.failure.message.contains("was aborted by someone"),
        "{held:?}"
    );
    assert_eq!(bench.resume().done()["to"], json!("1501"));
}

#[test]
fn programs_that_people_run_are_found_before_the_wave() {
    let mut bench = only("lxd");
    bench.fault("running-app:lxd,micro02");
    bench.world.advance(1000);
    let held = bench.run().held();
    insta::assert_snapshot!(held.failure.message, @"clients: snapd doesn't refresh lxd while its programs run: micro02 runs lxc (pid 4242) (see: ps -fp 4242); end them there (to proceed anyway: --accept clients)");

    // One that is begun after the preflight.
    let mut bench = only("lxd");
    bench.fault("running-app:lxd,micro02@4s");
    let held = bench.run().held();
    assert_eq!(held.path.op(), "snap.wait", "{held:?}");
    assert_eq!(held.failure.detail["clients"][0]["pid"], json!(4242));
    assert_eq!(bench.revisions("lxd"), [33100; 3]);
    bench.world.mend();
    bench.resume().done();
    assert_eq!(bench.revisions("lxd"), [33110; 3]);
}

#[test]
fn a_refresh_waits_for_a_program_and_then_says_whose_it_is() {
    let body = r#"return snap.refresh { member = "micro02", snap = "microceph" }"#;
    let mut bench = Bench::playing(body, 3);
    bench.fault("running-app:microceph,micro02+1m");
    assert_eq!(bench.run().done()["to"], json!("1501"));

    let mut bench = Bench::playing(body, 3);
    bench.fault("running-app:microceph,micro02");
    let held = bench.run().held();
    assert_eq!(
        (
            held.failure.kind.word(),
            &held.failure.detail["clients"][0]["app"]
        ),
        ("conflict", &json!("ceph"))
    );
}

/// Asks who runs programs of snaps, where some of what the members answer is lost to a scope that goes meanwhile.
fn clients_while(fails: impl Fn(u32) -> bool + 'static) -> Finish {
    let registry = lockstep_modules::registry();
    let answers = Cell::new(0);
    let mutation: Mutation = Rc::new(move |output| match answers.replace(answers.get() + 1) {
        n if fails(n) => Output::exit(
            1,
            "",
            "/usr/bin/find: ‘snap.lxd.lxc-1.scope’: No such file or directory\n",
        ),
        _ => output,
    });
    asked(registry.op("snap.clients").unwrap(), 1, mutation)
}

#[test]
fn a_scope_that_goes_while_it_is_looked_at_is_looked_past() {
    // Between two looks is a question whether there are any.
    let done = clients_while(|n| n == 0 || n == 2);
    assert!(matches!(done, Finish::Done(_)), "{done:?}");
    let held = clients_while(|n| n % 2 == 0);
    assert!(matches!(held, Finish::Held(_)), "{held:?}");
}
