//! The house: what a reader may rely on in every file.

use std::fs;
use std::process::Command;

use lockstep_tests::generated::below;
use lockstep_tests::root;
use regex::Regex;

#[test]
fn no_file_is_much_longer_than_600_lines() {
    for path in below(&root(), &[".rs", ".lua"]) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 650, "{} has {lines} lines", path.display());
    }
}

#[test]
fn names_say_what_is_in_a_file() {
    for path in below(&root(), &[".rs", ".lua"]) {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(
            !["utils", "util", "helpers", "misc", "common"].contains(&stem.as_str()),
            "{}",
            path.display()
        );
    }
}

#[test]
fn names_of_tests_are_short_and_without_contractions() {
    let test = r"#\[(?:tokio::)?test\b.*\]\n(?:\s*#.*\n)*\s*(?:async )?fn (\w+)";
    let test = Regex::new(test).unwrap();
    for path in below(&root(), &[".rs"]) {
        let text = fs::read_to_string(&path).unwrap();
        for name in test.captures_iter(&text) {
            let name = &name[1];
            let words: Vec<&str> = name.split('_').collect();
            let contracted = ["d", "ll", "re", "s", "t", "ve"];
            assert!(
                name.len() <= 60 && !words.iter().any(|word| contracted.contains(word)),
                "{}: {name}",
                path.display()
            );
        }
    }
}

#[test]
fn luacheck_has_nothing_to_say() {
    let output = Command::new("luacheck")
        .args(["--config", ".luacheckrc", "."])
        .current_dir(root().join("playbooks"))
        .output();
    let output =
        output.unwrap_or_else(|e| panic!("luacheck can't be started ({e}); tests/run installs it"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn shellcheck_has_nothing_to_say() {
    let shells: [&[u8]; 2] = [b"#!/bin/sh\n", b"#!/bin/bash\n"];
    let mut scripts = below(&root(), &[""]);
    scripts.retain(|path| {
        let text = fs::read(path).unwrap_or_default();
        shells.iter().any(|shell| text.starts_with(shell))
    });
    assert!(scripts.len() >= 6, "{scripts:?}");
    let output = Command::new("shellcheck")
        .arg("--severity=warning")
        .args(scripts)
        .current_dir(root())
        .output();
    let output = output
        .unwrap_or_else(|e| panic!("shellcheck can't be started ({e}); tests/run installs it"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
fn every_global_of_playbooks_has_a_type() {
    let prelude = fs::read_to_string(root().join("runner/src/script/prelude.lua")).unwrap();
    let stubs = fs::read_to_string(root().join("playbooks/types/flow.lua")).unwrap();
    for name in [
        "confirm", "each", "finally", "parallel", "rolling", "section", "try", "window",
    ] {
        assert!(
            prelude.contains(name) && stubs.contains(&format!("function {name}(")),
            "{name}"
        );
    }
}

#[test]
fn every_difference_between_versions_has_a_test_that_exists() {
    for row in lockstep_modules::products::versions::DIFFERENCES {
        let (file, test) = row.test;
        let source = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(
            source.contains(&format!("fn {test}() {{")),
            "{}: {file} has no test {test}",
            row.what
        );
    }
}

#[test]
fn every_test_that_shows_a_promise_exists() {
    let text = fs::read_to_string(root().join("tests/PROMISES.md")).unwrap();
    let named = text.split('`').filter_map(|word| word.split_once("::"));
    let mut count = 0;
    for (module, test) in named {
        let file = |target: &str| root().join(format!("tests/{target}/{module}.rs"));
        let sources =
            ["twin", "cli", "lab"].map(|t| fs::read_to_string(file(t)).unwrap_or_default());
        let source = sources.concat();
        // A table is named as a whole: each of its rows is a test.
        let forms = [
            format!("#[test]\nfn {test}() {{"),
            format!("\nmod {test} {{"),
        ];
        assert!(
            forms.iter().any(|form| source.contains(form)),
            "tests/PROMISES.md names {module}::{test}, and there is no such test"
        );
        count += 1;
    }
    assert!(count > 80, "{count}");
    let empty: Vec<&str> = text
        .lines()
        .filter(|line| {
            line.starts_with("| ") && !line.contains("::") && *line != "| promise | tests |"
        })
        .collect();
    assert_eq!(empty, Vec::<&str>::new(), "promises that no test shows");
}
