//! What a site author is given: the beginning of a playbook, an editor's help, and a list of what can be run.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use lockstep::bundle::{Finder, Playbooks};
use lockstep::check::Check;
use lockstep::generate;
use lockstep::trial::Piece;
use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{read, write};
use lockstep_tests::root;
use lockstep_twin::Scenario;
use serde_json::{Value, json};

#[test]
fn new_playbooks_break_no_rule_and_please_luacheck() {
    let desk = Desk::new();
    let _ = desk.run(&["new", "site/drain.lua"]).exits(0);
    for name in ["update", "upgrade"] {
        let file = format!("site/{name}.lua");
        let _ = desk.run(&["new", &file, "--extends", name]).exits(0);
        let wanted =
            format!("local {name} = require \"playbooks.{name}\"\n\nreturn {name}:extend {{");
        assert!(read(&desk.path(&file)).contains(&wanted));
    }
    let _ = desk.run(&["types", "site"]).exits(0);
    let luacheck = Command::new("luacheck")
        .arg(".")
        .current_dir(desk.path("site"))
        .output();
    let luacheck = luacheck
        .unwrap_or_else(|e| panic!("luacheck can't be started ({e}); tests/run installs it"));
    assert!(
        luacheck.status.success(),
        "{}",
        String::from_utf8_lossy(&luacheck.stdout)
    );

    let registry = lockstep_modules::registry();
    for (name, params) in [
        ("drain", json!({})),
        ("update", json!({})),
        (
            "upgrade",
            json!({"to": "3", "accept": ["microcloud-3-in-production"]}),
        ),
    ] {
        let file = desk.path(&format!("site/{name}.lua"));
        let finder = Finder::site(&file, Playbooks::Shipped);
        let main = file.display().to_string();
        let params = params.as_object().cloned().unwrap();
        let piece = Piece::load(&main, Box::new(finder), &registry, &params)
            .unwrap_or_else(|e| panic!("{e}"));
        let check = Check {
            scenarios: vec![Scenario::of(if name == "drain" { 1 } else { 3 })],
            tries: 3,
            seed: 1,
            only: None,
            kills: name == "drain",
        };
        let report = check.run(&piece, &|_, _| {});
        assert_eq!(report.findings, [], "{name}");
    }
}

#[test]
fn a_new_playbook_says_what_to_do_next_and_overwrites_nothing() {
    let desk = Desk::new();
    insta::assert_snapshot!(desk.run(&["new", "site/drain.lua"]).exits(0));
    let steps = desk
        .run(&["run", "site/drain.lua", "--cluster", "twin:2"])
        .exits(0);
    assert!(steps.contains("micro02 has it in its log"), "{steps}");
    write(&desk.path("site/drain.lua"), "mine");
    let again = desk.run(&["new", "site/drain.lua"]);
    assert_eq!(again.code, Some(2));
    assert_eq!(
        again.stderr,
        "error: site/drain.lua exists, and was not changed\n"
    );
    assert_eq!(read(&desk.path("site/drain.lua")), "mine");
    let bare = desk.run(&["new", "drain"]);
    assert_eq!(bare.code, Some(2));
    assert!(
        bare.stderr
            .ends_with("must end with .lua\nlockstep new drain.lua\n"),
        "{}",
        bare.stderr
    );
    let blocked = desk.run(&["new", "site/drain.lua/x.lua"]);
    assert_eq!(blocked.code, Some(7), "{blocked:?}");
}

#[test]
fn the_types_of_an_editor_are_those_of_the_registry() {
    let desk = Desk::new();
    let out = desk.run(&["types", "site"]).exits(0);
    let committed: BTreeMap<String, String> = generate::stubs(&lockstep_modules::registry())
        .into_iter()
        .collect();
    for (name, text) in &committed {
        assert_eq!(read(&desk.path(&format!("site/types/{name}"))), *text);
        assert!(
            out.contains(&format!("written  site/types/{name}\n")),
            "{out}"
        );
    }
    let flow = read(&root().join("playbooks/types/flow.lua"));
    assert_eq!(read(&desk.path("site/types/lockstep.lua")), flow);
    for (module, file) in [
        ("flow", "flow.lua"),
        ("playbooks.update", "update.lua"),
        ("playbooks.waves", "waves.lua"),
        ("playbooks.waves.lxd", "waves/lxd.lua"),
    ] {
        let stub = format!("site/types/{}.lua", module.replace('.', "/"));
        assert_eq!(
            read(&desk.path(&stub)),
            read(&root().join("playbooks").join(file))
        );
    }
    assert!(desk.path("site/types/playbooks/data/hazards.lua").exists());
    let settings: Value = serde_json::from_str(&read(&desk.path("site/.luarc.json"))).unwrap();
    assert_eq!(settings["workspace"]["library"], json!(["types"]));
    assert!(read(&desk.path("site/.luacheckrc")).contains("\"snap\""));

    // Typed again, nothing changes; what is out of date, or gone, is put right.
    let again = desk.run(&["types", "site"]).exits(0);
    assert!(
        !again.contains("written") && again.contains("files are unchanged"),
        "{again}"
    );
    fs::remove_file(desk.path("site/types/snap.lua")).unwrap();
    let out = desk.run(&["types", "site", "--json"]).exits(0);
    let out: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(out["written"], json!(["types/snap.lua"]));
}

#[test]
fn types_of_an_older_lockstep_are_updated_and_others_left() {
    let desk = Desk::new();
    let _ = desk.run(&["types", "."]).exits(0);
    // As if an older lockstep had written these two.
    let record = desk.path("types/lockstep.json");
    let mut written: BTreeMap<String, String> = serde_json::from_str(&read(&record)).unwrap();
    for name in ["types/snap.lua", "types/gone.lua"] {
        write(&desk.path(name), "-- older\n");
        written.insert(name.to_owned(), lockstep::bundle::digest("-- older\n"));
    }
    write(&record, &serde_json::to_string(&written).unwrap());
    let out = desk.run(&["types", "."]).exits(0);
    assert!(
        out.contains("written  ./types/snap.lua\nremoved  ./types/gone.lua\n"),
        "{out}"
    );
    assert!(!desk.path("types/gone.lua").exists());

    write(&desk.path(".luarc.json"), "{}");
    let out = desk.run(&["types", "."]).exits(0);
    assert!(out.contains("kept     ./.luarc.json: "), "{out}");
    assert_eq!(read(&desk.path(".luarc.json")), "{}");

    write(&desk.path("types/snap.lua"), "-- mine\n");
    fs::remove_file(desk.path("types/lxd.lua")).unwrap();
    let ran = desk.run(&["types", "."]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr.contains("changed since: types/snap.lua\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(read(&desk.path("types/snap.lua")), "-- mine\n");
    assert!(
        !desk.path("types/lxd.lua").exists(),
        "nothing is written at all"
    );
}

#[test]
fn what_can_be_run_is_listed_with_what_cannot_and_why() {
    let desk = Desk::new();
    let _ = desk.run(&["new", "site/drain.lua"]).exits(0);
    write(
        &desk.path("bad.lua"),
        "return { api = 1, run = function( end\n",
    );
    write(&desk.path("site/lb.lua"), "return { drain = print }\n");
    insta::assert_snapshot!(desk.run(&["playbooks"]).exits(0));
    let list = desk.json(&["playbooks", "--json", "site"]);
    let names: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["playbook"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "update",
            "upgrade",
            "stage",
            "preflight",
            "site/drain.lua",
            "site/lb.lua"
        ]
    );
    assert_eq!(list[4]["params"]["message"]["default"], "lockstep was here");
    let none = desk.run(&["playbooks", "nosuch"]);
    assert_eq!(none.code, Some(2));
    assert!(
        none.stderr.contains("nosuch can't be read"),
        "{}",
        none.stderr
    );
}

#[test]
fn programs_of_a_site_are_in_its_types() {
    let desk = Desk::new();
    let lb = root().join("playbooks/site/modules/lb.py");
    fs::create_dir_all(desk.path("site/modules")).unwrap();
    fs::copy(&lb, desk.path("site/modules/lb.py")).unwrap();
    let _ = desk.run(&["types", "site"]).exits(0);
    let stub = read(&desk.path("site/types/lb.lua"));
    assert!(stub.contains("function lb.drain("), "{stub}");
    assert!(read(&desk.path("site/.luacheckrc")).contains("\"lb\""));
}
