//! What a site changes in a shipped playbook: values, hooks and waves, and what is reported where that can't be.

use std::fmt::Write;

use lockstep::bundle::{Finder, Playbooks};
use lockstep::check::Check;
use lockstep::trial::Piece;
use lockstep_tests::desk::Desk;
use lockstep_tests::lab::write;
use lockstep_twin::Scenario;
use serde_json::{Map, Value};

/// A playbook that extends a shipped one.
fn extension(playbook: &str, changes: &str) -> String {
    format!(
        "local shipped = require \"playbooks.{playbook}\"\n\nreturn shipped:extend {{\n{changes}\n}}\n"
    )
}

/// A wave of a site's own: all members at once, and a line that tells of it.
const OWN: &str = "return function(wave)
	wave:point_of_no_return()
	wave:parallel(wave.members, function(member)
		wave:refresh(member)
	end)
	microcloud.wait {}
	wave:note \"MicroCloud went our way\"
end
";

fn desk() -> Desk {
    let desk = Desk::new();
    std::fs::create_dir_all(desk.path("site/lib")).unwrap();
    write(&desk.path("site/lib/microcloud.lua"), OWN);
    for playbook in ["update", "upgrade"] {
        let changes = "\twaves = { microcloud = require \"lib.microcloud\" },";
        write(
            &desk.path(&format!("site/{playbook}.lua")),
            &extension(playbook, changes),
        );
    }
    desk
}

/// The paths of the steps of MicroCloud's wave, in what a plan is as JSON.
fn of_microcloud(plan: &Value) -> Vec<&str> {
    let steps = plan["steps"].as_array().unwrap();
    let paths = steps.iter().map(|step| step["path"].as_str().unwrap());
    paths
        .filter_map(|p| p.strip_prefix("MicroCloud/"))
        .collect()
}

#[test]
fn a_wave_of_a_site_replaces_the_shipped_one_everywhere() {
    let desk = desk();
    for (playbook, channel) in [("update", None), ("upgrade", Some("--microcloud=3/stable"))] {
        let file = format!("site/{playbook}.lua");
        let only = ["--skip=microceph,microovn,lxd", "--backup=false"];
        let params: Vec<&str> = match channel {
            Some(channel) => vec![channel, "--accept=microcloud-3-in-production", only[1]],
            None => only.to_vec(),
        };
        let play = |more: &[&str]| {
            let line = [&[more[0], &file], &params[..], &more[1..]].concat();
            desk.run(&line).exits(0)
        };
        let plan = play(&["plan", "--cluster", "twin:3", "--json"]);
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let mut wanted = vec![
            "micro01/snap.hold#1",
            "micro02/snap.hold#1",
            "micro03/snap.hold#1",
            "snap.wait#1",
            "micro01/snap.refresh#1",
            "micro02/snap.refresh#1",
            "micro03/snap.refresh#1",
            "microcloud.wait#1",
        ];
        if channel.is_some() {
            wanted.insert(4, "confirm#1");
        }
        assert_eq!(of_microcloud(&plan), wanted, "{playbook}");
        let out = play(&["rehearse", "--members", "3"]);
        assert!(out.contains("MicroCloud went our way"), "{out}");
    }
    // What a run was begun with is kept with it, the wave too.
    let journal = std::fs::read_to_string(desk.path("state/runs/update-1/journal.jsonl")).unwrap();
    let head = journal.lines().next().unwrap();
    assert!(head.contains("\"lib.microcloud\""), "{head}");

    let file = desk.path("site/update.lua");
    let finder = Box::new(Finder::site(&file, Playbooks::Shipped));
    let registry = lockstep_modules::registry();
    let main = file.display().to_string();
    let piece = Piece::load(&main, finder, &registry, &Map::new()).unwrap();
    let check = Check {
        scenarios: vec![Scenario::of(3)],
        tries: 2,
        seed: 1,
        only: None,
        kills: false,
    };
    assert_eq!(check.run(&piece, &|_, _| {}).findings, []);
}

#[test]
fn what_cannot_be_extended_so_is_reported_with_its_line() {
    let cases = [
        (
            "a wave of no component",
            "update",
            "\twaves = { lxc = function() end },",
        ),
        (
            "a wave that is none",
            "upgrade",
            "\twaves = { lxd = { run = print } },",
        ),
        (
            "waves where there are none",
            "preflight",
            "\twaves = { lxd = function() end },",
        ),
        (
            "a hook that isn't there",
            "update",
            "\tbefore_waves = function() end,",
        ),
        ("a hook that is none", "update", "\tbefore_wave = \"echo\","),
        (
            "a hook where there are none",
            "preflight",
            "\tbefore_wave = function() end,",
        ),
        (
            "a parameter that isn't there",
            "update",
            "\tparams = { evacuat = true },",
        ),
    ];
    let desk = Desk::new();
    let mut all = String::new();
    for (mistake, playbook, changes) in cases {
        let ran = desk.play(&extension(playbook, changes));
        assert_eq!(ran.code, Some(2), "{mistake}: {ran:?}");
        let _ = writeln!(all, "=== {mistake}\n{}", ran.stderr);
    }
    // Where the stack has the line it is that one.
    let late = "local update = require \"playbooks.update\"\nlocal own = update:extend { waves = { lxc = print } }\n\nreturn own\n";
    let _ = writeln!(all, "=== not the last line\n{}", desk.play(late).stderr);
    let apart = "local flow = require \"flow\"\nlocal M = flow.playbook { api = 1 }\nfunction M.run() end\n\nreturn M:extend {}\n";
    let _ = writeln!(all, "=== a run of its own\n{}", desk.play(apart).stderr);
    insta::assert_snapshot!(all);
}

#[test]
fn two_extensions_of_one_playbook_know_nothing_of_each_other() {
    let desk = Desk::new();
    let play = |which: &str| {
        let text = r#"
            local update = require "playbooks.update"
            local params = { skip = { "microceph", "microovn", "lxd" }, backup = false }
            local one = update:extend {
                params = params,
                before_wave = function() log.info "the hook of one" end,
                waves = { microcloud = function() log.info "the wave of one" end },
            }
            local two = update:extend { after_wave = function() log.info "the hook of two" end }
            -- What is extended once more keeps what it was.
            local three = one:extend { after_wave = function() log.info "the hook of three" end }
            assert(update.params.backup.default == true and two.params.backup.default == true)
            assert(three.params.backup.default == false)
            return WHICH
        "#;
        let out = desk.play(&text.replace("WHICH", which));
        let reported = [
            "the hook of one",
            "the wave of one",
            "the hook of two",
            "the hook of three",
            "snap.refresh",
        ];
        let reported = reported
            .into_iter()
            .filter(|what| out.stdout.contains(what));
        reported.collect::<Vec<_>>()
    };
    assert_eq!(
        play("two:extend { params = params }"),
        ["the hook of two", "snap.refresh"]
    );
    assert_eq!(play("one"), ["the hook of one", "the wave of one"]);
    let three = ["the hook of one", "the wave of one", "the hook of three"];
    assert_eq!(play("three"), three);
    assert_eq!(play("update:extend { params = params }"), ["snap.refresh"]);
}
