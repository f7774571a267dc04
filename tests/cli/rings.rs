//! A site's own version of the rollout's playbook: hooks around rings and clusters, and what they may ask.

use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{read, write};
use serde_json::json;

use crate::fleet::{FAULT, desk, fleet, states};

/// A fleet of a canary and two others whose rollout has these hooks.
fn hooked(rest: &str, hooks: &str) -> Desk {
    let text = fleet(&["paris", "rome"], rest, &[]).replacen(
        "\n[[rollout.rings]]",
        "\n[[machines]]\nname = \"pager\"\n\n[rollout]\nhooks = \"hooks.lua\"\n\n[[rollout.rings]]",
        1,
    );
    let desk = desk(&text);
    write(
        &desk.path("hooks.lua"),
        &format!(
            "local rollout = require \"playbooks.rollout\"\nreturn rollout:extend {{\n{hooks}\n}}\n"
        ),
    );
    desk
}

#[test]
fn a_site_has_hooks_around_rings_and_clusters() {
    let desk = hooked(
        "",
        r#"
    before_ring = function(e) log.info("before " .. e.ring .. " of " .. #e.clusters) end,
    before_cluster = function(e) log.info("before " .. e.cluster .. " of tier " .. e.labels.tier) end,
    after_cluster = function(e) log.info("after " .. e.cluster .. ": " .. e.outcome) end,
    after_ring = function(e)
        log.info("after " .. e.ring .. ": " .. table.concat(e.done, ", "))
        exec { member = "pager", argv = { "/usr/bin/page", e.ring }, effect = "once", plan = { code = 0 } }
    end,"#,
    );
    let out = desk.run(&["fleet", "rollout", "update"]).exits(0);
    let mut last = 0;
    for line in [
        "before canary of 1",
        "before berlin of tier 1",
        "after berlin: done",
        "after canary: berlin",
        "before rest of 2",
        "before paris of tier 2",
        "after paris: done",
        "before rome of tier 2",
        "after rest: paris, rome",
    ] {
        let at = out.find(line).unwrap_or_else(|| panic!("{line}\n{out}"));
        assert!(at > last, "{line}\n{out}");
        last = at;
    }
    assert_eq!(out.matches(": exit 0 (").count(), 2, "{out}");
}

#[test]
fn a_ring_begins_only_when_its_hook_is_done() {
    let desk = hooked(
        "",
        r#"
    before_ring = function(e)
        exec { member = "pager", argv = { "/bin/quiet", e.ring }, effect = "read",
            plan = { code = e.ring == "rest" and 1 or 0 } }
    end,"#,
    );
    let out = desk.run(&["fleet", "rollout", "update"]);
    assert_eq!(out.code, Some(4), "{out:?}");
    assert_eq!(
        states(&desk),
        json!({"berlin": "done", "paris": null, "rome": null})
    );
    let held = "rest/before_ring/exec#1";
    assert!(
        out.stderr.contains(held) || out.stdout.contains(held),
        "{out:?}"
    );
    let done = format!("{held}={}", json!({"code": 0, "stdout": "", "stderr": ""}));
    let _ = desk
        .run(&["resume", "rollout-1", "--assume-done", &done])
        .exits(0);
    assert_eq!(
        states(&desk),
        json!({"berlin": "done", "paris": "done", "rome": "done"})
    );
}

#[test]
fn a_cluster_that_its_hook_bars_counts_as_not_done() {
    let desk = hooked(
        "budget = 1",
        r#"
    before_cluster = function(e)
        if e.cluster == "paris" then error("alerts fire") end
    end,"#,
    );
    let out = desk.run(&["fleet", "rollout", "update"]);
    assert_eq!(out.code, Some(4), "{out:?}");
    assert_eq!(
        states(&desk),
        json!({"berlin": "done", "paris": "refused", "rome": "done"})
    );
    let held = desk.json(&["fleet", "held", "--json"]);
    let why = held[0]["why"].as_str().unwrap();
    assert!(
        why.starts_with("before_cluster: ") && why.contains("alerts fire"),
        "{held}"
    );
    // The operator decides, and it is run all the same.
    let _ = desk.run(&["fleet", "resume", "paris"]).exits(0);
    let _ = desk.run(&["fleet", "continue"]).exits(0);
    assert_eq!(states(&desk)["paris"], "done");
}

#[test]
fn a_cluster_that_was_seen_to_has_its_hook_afterwards() {
    let desk = hooked(
        "budget = 1",
        r#"
    after_cluster = function(e)
        log.info("after " .. e.cluster .. ": " .. e.outcome)
        error("the chat is down")
    end,"#,
    );
    let faulty = read(&desk.path("fleet.toml"));
    let faulty = faulty.replacen("faults = []", &format!("faults = [{FAULT:?}]"), 1);
    write(&desk.path("fleet.toml"), &faulty);
    let held = desk.run(&["fleet", "rollout", "update"]).exits(4);
    assert!(!held.contains("after berlin"), "{held}");
    let _ = desk.run(&["fleet", "resume", "berlin", "--mend"]).exits(0);
    // What fails in it is reported and changes nothing.
    let out = desk.run(&["fleet", "continue"]).exits(0);
    for cluster in ["berlin", "paris", "rome"] {
        let told = format!("after {cluster}: done");
        assert_eq!(out.matches(&told).count(), 1, "{told}\n{out}");
    }
    assert_eq!(out.matches("the chat is down").count(), 3, "{out}");
}

#[test]
fn a_machine_is_not_asked_as_a_cluster() {
    let desk = hooked(
        "",
        "before_ring = function() cluster.skip { member = \"pager\", why = \"x\" } end,",
    );
    let out = desk.run(&["fleet", "rollout", "update"]).exits(4);
    assert!(
        out.contains("pager is a machine beside the clusters"),
        "{out}"
    );
}

#[test]
fn hooks_may_look_plan_stage_and_skip() {
    let desk = hooked(
        "stage = true",
        r#"
    before_ring = function(e)
        if e.ring == "canary" then return end
        local plan = cluster.plan { member = "paris" }
        local look = cluster.look { member = "rome" }
        assert(plan.whole and plan.changes > 10 and #plan.digest == 64)
        assert(#look.wrong == 0 and #look.components.lxd == 1)
        cluster.skip { member = "rome", why = "it is new enough" }
    end,"#,
    );
    let out = desk.run(&["fleet", "rollout", "update"]).exits(0);
    let journal = read(&desk.path("state/runs/rollout-1/journal.jsonl"));
    assert!(journal.contains("rest/paris/cluster.stage#1"), "{out}");
    assert_eq!(
        states(&desk),
        json!({"berlin": "done", "paris": "done", "rome": "skipped"})
    );
    let audit = desk.run(&["fleet", "audit"]).exits(0);
    assert!(audit.contains("it is new enough"), "{audit}");
}

#[test]
fn what_was_staged_or_planned_has_not_had_its_turn() {
    let desk = hooked(
        "",
        r#"
    before_ring = function(e)
        if e.ring == "rest" then
            cluster.stage { member = "rome" }
            error("not tonight")
        end
    end,"#,
    );
    let out = desk.run(&["fleet", "rollout", "update"]);
    assert_eq!(out.code, Some(1), "{out:?}");
    let out = desk.run(&["fleet", "resume", "rome"]).exits(0);
    assert!(out.contains("its turn in rollout-1 has not come"), "{out}");
    assert!(!desk.path("state/runs/rollout-1.rome").exists());
}

#[test]
fn what_a_rollout_cannot_have_is_named_before_it_begins() {
    let refused = |desk: &Desk, what: &str| {
        let out = desk.run(&["fleet", "rollout", "update", "--dry-run"]);
        assert!(
            out.code == Some(2) && out.stderr.contains(what),
            "{what}: {out:?}"
        );
        assert!(!desk.path("state/runs").exists());
    };
    let desk = hooked("", "before_rings = function() end,");
    refused(&desk, "there is no hook \"before_rings\"");
    refused(&desk, "hooks.lua:2");
    let hooks = read(&desk.path("hooks.lua"));
    write(
        &desk.path("hooks.lua"),
        &hooks.replace("before_rings", "before_ring"),
    );
    let fleet = read(&desk.path("fleet.toml"));
    write(
        &desk.path("fleet.toml"),
        &fleet.replace("\"pager\"", "\"rome\""),
    );
    refused(&desk, "\"rome\" is a machine and a cluster");
    write(
        &desk.path("hooks.lua"),
        "return require \"playbooks.update\"",
    );
    write(&desk.path("fleet.toml"), &fleet);
    refused(&desk, "hooks.lua does not extend the playbook of rollouts");
    write(
        &desk.path("fleet.toml"),
        &fleet.replace("hooks.lua", "hook.lua"),
    );
    refused(&desk, "hook.lua");
    // It is the playbook of a fleet, and of nothing else.
    write(
        &desk.path("alone.lua"),
        "return require \"playbooks.rollout\"",
    );
    let out = desk.run(&["run", "alone.lua", "--cluster", "twin:1"]);
    let what = "try it with: lockstep fleet rollout PLAYBOOK --dry-run";
    assert!(out.code != Some(0) && out.stderr.contains(what), "{out:?}");
}
