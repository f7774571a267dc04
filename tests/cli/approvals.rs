//! Plans that are approved: a cluster begins with one of them, or not at all.

use serde_json::Value;

use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{read, write};

use crate::executors::scheduled;
use crate::fleet::{alone, desk, fleet, states};

/// The digest of a cluster's plan.
fn plan_of(desk: &Desk, cluster: &str) -> String {
    let plans = desk.json(&["fleet", "plan", "update", "--json"]);
    let plans = plans["plans"].as_array().unwrap();
    let has = |plan: &&Value| {
        plan["clusters"]
            .as_array()
            .unwrap()
            .contains(&cluster.into())
    };
    let plan = plans.iter().find(has).unwrap();
    plan["plan"].as_str().unwrap().to_owned()
}

#[test]
fn a_cluster_begins_only_with_a_plan_that_was_approved() {
    let text = fleet(&["paris"], "approve_plans = true", &[]);
    let text = text.replace(
        "[[rollout.rings]]\nname = \"canary\"",
        "[params.update]\nonly = [\"lxd\", \"microcloud\"]\n\n[[rollout.rings]]\nname = \"canary\"",
    );
    let desk = desk(&text);
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let refused = || {
        assert_eq!(states(&desk)["berlin"], "done");
        assert_eq!(states(&desk)["paris"], "refused");
        assert!(!desk.path("state/runs/rollout-1.paris").exists());
    };
    refused();
    let plan = plan_of(&desk, "paris");
    let held = desk.json(&["fleet", "held", "--json"]);
    let why = format!("its plan {} is not approved", &plan[..8]);
    assert_eq!(held[0]["why"], why);
    // Another plan's approval is none for it.
    let _ = desk.run(&["fleet", "approve", "0123456789ab"]).exits(0);
    let again = desk.run(&["fleet", "resume", "paris"]);
    assert_eq!(again.code, Some(3), "{again:?}");
    let approve = format!("lockstep fleet approve {} -r rollout-1", &plan[..8]);
    assert!(again.stderr.contains(&approve), "{again:?}");
    let see = "lockstep plan update -p only=lxd,microcloud --cluster twin:1";
    assert!(again.stderr.contains(see), "{again:?}");
    refused();
    for odd in ["xyz", "0123", "A1B2C3D4E5"] {
        let ran = desk.run(&["fleet", "approve", odd]);
        assert!(
            ran.code == Some(2) && ran.stderr.contains("no plan's digest"),
            "{ran:?}"
        );
    }
    let _ = desk.run(&["fleet", "approve", &plan[..8]]).exits(0);
    let _ = desk.run(&["fleet", "resume", "paris"]).exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
    // The run keeps to its plan.
    assert!(desk.path("state/runs/rollout-1.paris/plan.json").exists());
    assert!(!desk.path("state/runs/rollout-1.berlin/plan.json").exists());
    let audit = desk.run(&["fleet", "audit"]).exits(0);
    assert!(
        audit.contains("approved") && audit.contains(&plan[..8]),
        "{audit}"
    );
}

#[test]
fn what_was_approved_before_begins_at_its_turn() {
    let text = fleet(&["paris"], "approve = true\napprove_plans = true", &[]);
    let desk = desk(&text);
    let list = desk
        .run(&["fleet", "rollout", "update", "--dry-run"])
        .exits(0);
    assert!(list.contains("asked, plans"), "{list}");
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(4);
    let plan = plan_of(&desk, "paris");
    let _ = desk.run(&["fleet", "approve", &plan]).exits(0);
    let _ = desk.run(&["fleet", "continue", "--yes"]).exits(0);
    assert_eq!(states(&desk)["paris"], "done");
    // Where no ring asks for it, there is nothing to approve.
    let desk = self::desk(&fleet(&["paris"], "", &[]));
    let _ = desk.run(&["fleet", "rollout", "update"]).exits(0);
    let ran = desk.run(&["fleet", "approve", &plan]);
    assert!(
        ran.code == Some(2) && ran.stderr.contains("has approve_plans"),
        "{ran:?}"
    );
}

#[test]
fn a_plan_with_other_arguments_is_another_plan() {
    let text = alone(&[]).replace("twin:3", "twin:1");
    let script = "\n[params.ops]\nscript = \"echo safe\"\n\n[[overrides]]\nselect = \"name=paris\"\nparams.ops.script = \"reboot\"\n";
    let paris = "\n[[clusters]]\nname = \"paris\"\nfile = \"twin:1\"\n";
    let desk = desk(&(text + paris + script));
    write(
        &desk.path("ops.lua"),
        "return { api = 1, params = { script = { type = 'string' } }, run = function(cluster, p)\n\
           exec { member = cluster.members[1], argv = { '/bin/true' }, stdin = p.script, root = true, effect = 'converge' }\nend }",
    );
    let plans = desk.json(&["fleet", "plan", "ops.lua", "--json"]);
    assert_eq!(plans["plans"].as_array().unwrap().len(), 2, "{plans}");
    // How it is looked at is how it was made.
    let shown = desk
        .run(&["fleet", "plan", "ops.lua", "-l", "name=paris"])
        .exits(0);
    let see = "lockstep plan ops.lua -p script=reboot --cluster twin:1";
    assert!(shown.contains(see), "{shown}");
    let paris = [
        "plan",
        "ops.lua",
        "-p",
        "script=reboot",
        "--cluster",
        "stores/paris",
    ];
    let _ = desk.run(&paris).exits(0);
}

#[test]
fn a_refusal_reaches_the_rollout_from_wherever_the_job_ran() {
    let desk = scheduled(&fleet(&["paris"], "approve_plans = true", &[]));
    let _ = desk
        .run(&["fleet", "rollout", "update", "--quiet"])
        .exits(4);
    let submitted = || {
        let submitted = read(&desk.path("scheduler/submitted"));
        submitted.matches("rollout-1.paris").count()
    };
    assert_eq!(submitted(), 1);
    let plan = plan_of(&desk, "paris");
    let held = desk.json(&["fleet", "held", "--json"]);
    assert_eq!(
        held[0]["why"],
        format!("its plan {} is not approved", &plan[..8])
    );
    assert_eq!(states(&desk)["paris"], "refused");
    let _ = desk.run(&["fleet", "approve", &plan]).exits(0);
    let _ = desk.run(&["fleet", "resume", "paris"]).exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
}
