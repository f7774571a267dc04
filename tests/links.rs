//! Links that die in the middle of each kind of step, over real SSH, and come back.

use std::process::Stdio;

use lockstep_tests::lab::{Ran, SshLab, read, write};
use lockstep_twin::Scenario;

use crate::desk::{LOCKSTEP, SHIM};
use crate::ssh::wait_until;

/// Each member has a step of another kind when all links die: nobody closes a connection, nothing arrives any more.
#[test]
fn a_dead_link_is_noticed_and_each_kind_of_step_brought_to_a_known_end() {
    let lab = SshLab::up(&Scenario::of(4), LOCKSTEP, SHIM);
    lab.world().slow_down("microcloud", 300_000);
    let path = |name: &str| lab.path(name).display().to_string();
    let text = format!(
        r#"
        local function program(member, effect)
            local script = "echo " .. member .. " >> {begun}; until [ -e {go} ]; do sleep 0.05; done"
            local argv = {{ "/bin/sh", "-c", script }}
            return exec {{ member = member, argv = argv, effect = effect, root = true, timeout = "5m" }}
        end
        local steps = {{
            micro01 = function() program("micro01", "read") end,
            micro02 = function() program("micro02", "converge") end,
            micro03 = function() snap.refresh {{ member = "micro03", snap = "microcloud" }} end,
            micro04 = function() program("micro04", "once") end,
        }}
        return {{ api = 1, run = function(cluster)
            parallel(cluster.members, function(member) steps[member]() end)
        end }}
        "#,
        begun = path("begun"),
        go = path("go"),
    );
    write(&lab.path("site.lua"), &text);
    write(&lab.path("begun"), "");
    let begun = || read(&lab.path("begun")).lines().count();
    let child = lab
        .lockstep(&["run", &path("site.lua")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the programs don't begin", || begun() == 3);
    wait_until("no refresh arrives", || lab.refreshes().len() == 1);
    let members = ["micro01", "micro02", "micro03", "micro04"];
    members.iter().for_each(|member| lab.dead(member, true));
    let events = lab.path("state/runs/site-1/events.jsonl");
    let away = |member: &&str| {
        let told = format!(r#""member":"{member}","reason":"contact was lost: no answer"#);
        read(&events).contains(&told)
    };
    wait_until("it isn't noticed", || members.iter().all(&away));
    write(&lab.path("go"), "");
    members.iter().for_each(|member| lab.dead(member, false));
    let out = Ran::of(child.wait_with_output().unwrap()).exits(4);
    let held = "micro04: exec: contact was lost: ";
    assert!(
        out.contains(held) && out.contains("exec leaves no trace"),
        "{out}"
    );
    assert!(out.contains("determined afterwards"), "{out}");
    for (member, done) in [("micro01", true), ("micro02", true), ("micro04", false)] {
        let line = format!("{member}  exec ");
        let ended = out
            .lines()
            .any(|l| l.contains(&line) && l.contains(": exit 0"));
        assert_eq!(ended, done, "{member}: {out}");
    }
    assert_eq!(lab.refreshes(), ["micro03 microcloud"]);
    // What may be done twice was, and the other wasn't.
    let mut begun: Vec<String> = read(&lab.path("begun"))
        .lines()
        .map(str::to_owned)
        .collect();
    begun.sort();
    assert_eq!(
        begun,
        ["micro01", "micro01", "micro02", "micro02", "micro04"]
    );
}
