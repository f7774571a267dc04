//! Laws that every op keeps, whichever module it is of: a new op is held to them without a test of its own.

use lockstep::bundle::{Finder, Playbooks};
use lockstep::engine::{Answer, Finish};
use lockstep::journal::Record;
use lockstep::plan;
use lockstep::trial::Piece;
use lockstep_modules::contract::op::{Effect, OpDef};
use lockstep_modules::contract::schema::sample;
use lockstep_tests::answers::{called, ops_of_members};
use lockstep_tests::{Bench, Ended};
use lockstep_twin::{Scenario, World};
use serde_json::{Value, json};

/// Plays a playbook on three members to its end, and returns its result and the world that it leaves.
fn played(body: &str, args: &Value) -> (Value, World) {
    let mut bench = Bench::playing(body, 3).given(args.clone());
    bench.answer = Answer::Yes;
    match bench.run() {
        Ended::Finish(Finish::Done(value)) => (value, bench.world.clone()),
        other => panic!("{body}: {other:?}"),
    }
}

/// What is the same in two worlds once the same time has passed in both, without what comes from being asked.
fn assert_same(mut one: World, mut other: World, why: &str) {
    let end = one.now.max(other.now);
    let [one, other] = [&mut one, &mut other].map(|world| {
        world.advance(end);
        let mut all = serde_json::to_value(&*world).unwrap();
        for passing in ["now", "log", "spawned"] {
            all.as_object_mut().unwrap().remove(passing);
        }
        all
    });
    assert_eq!(one, other, "{why}");
}

fn ops(effect: Effect) -> Vec<OpDef> {
    let mut ops = ops_of_members();
    ops.retain(|op| op.effect == effect);
    assert!(!ops.is_empty());
    ops
}

#[test]
fn arguments_made_from_a_schema_come_back_the_same() {
    for op in lockstep_modules::registry().ops() {
        let args = sample(&op.args);
        let fitted = op
            .fit(args.clone())
            .unwrap_or_else(|e| panic!("{} {args}: {e}", op.name));
        assert_eq!(op.fit(fitted.clone()).unwrap(), fitted, "{}", op.name);
    }
}

#[test]
fn reads_change_nothing() {
    for op in ops(Effect::Read) {
        let (before, call, args) = called(&op);
        let (_, left_alone) = played(before, &args);
        let (_, read) = played(&format!("{before}\nreturn {call}"), &args);
        assert_same(read, left_alone, &op.name);
    }
}

#[test]
fn what_converged_changes_nothing_the_second_time() {
    for op in ops(Effect::Converge) {
        let (before, call, args) = called(&op);
        let (_, once) = played(&format!("{before}\n{call}"), &args);
        let (again, twice) = played(&format!("{before}\n{call}\nreturn {call}"), &args);
        if let Some(changed) = again.get("changed") {
            assert_eq!(changed, &json!(false), "{}", op.name);
        }
        assert_same(once, twice, &op.name);
    }
}

#[test]
fn a_run_does_what_its_plan_says() {
    for playbook in ["update", "upgrade"] {
        for members in [1, 3, 5] {
            for evacuate in [false, true] {
                let scenario = Scenario {
                    updates: true,
                    ..Scenario::of(members)
                };
                let mut params = json!({
                    "downtime": members < 3,
                    "evacuate": evacuate,
                    "evacuate_anyway": evacuate && members < 2,
                });
                if playbook == "upgrade" {
                    params["to"] = json!("3");
                    params["accept"] = json!(["microcloud-3-in-production"]);
                }
                let finder = Box::new(Finder::shipped(Playbooks::Shipped));
                let given = params.as_object().unwrap();
                let piece =
                    Piece::load(playbook, finder, &lockstep_modules::registry(), given).unwrap();
                let plan = plan::make(&piece, "twin", &scenario).unwrap();
                assert_eq!(plan.end, plan::End::Done, "{playbook} of {members}");
                let mut bench = Bench::shipped(playbook, &scenario, &params);
                bench.answer = Answer::Yes;
                bench.run().done();
                let planned = plan.steps.into_iter().map(|s| (s.path, s.op, s.args));
                let asked = bench
                    .records()
                    .into_iter()
                    .filter_map(|record| match record {
                        Record::Intent { path, op, args, .. } => Some((path, op, args)),
                        _ => None,
                    });
                assert!(
                    planned.eq(asked),
                    "{playbook} of {members}, evacuate = {evacuate}"
                );
            }
        }
    }
}
