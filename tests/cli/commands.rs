//! The command line as a whole: its help, its examples, its topics and its version.

use lockstep_tests::desk::{self, Desk};
use std::ffi::OsString;
use std::process::Command;

/// The commands that `lockstep --help` lists, with the lines about them.
fn listed(desk: &Desk) -> Vec<(String, String)> {
    let help = desk.run(&["--help"]).exits(0);
    let groups = help.split("\nOptions:").next().unwrap();
    let lines = groups.lines().filter(|line| line.starts_with("  "));
    let named = lines.map(|line| {
        let (name, about) = line.trim_start().split_once(' ').unwrap();
        (name.to_owned(), about.trim_start().to_owned())
    });
    named.collect()
}

/// What a shell makes of lockstep's part of a line.
fn words(line: &str) -> Vec<OsString> {
    let line = line.split("$(").last().unwrap().split(')').next().unwrap();
    let line = line.split(" | ").next().unwrap();
    let script = format!("printf '%s\\n' {line}");
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(OsString::from).collect()
}

/// The examples in the help of a command.
fn examples(help: &str) -> Vec<&str> {
    let (_, after) = help.split_once("\nExamples:\n").unwrap_or_default();
    let lines = after.lines().take_while(|line| line.starts_with("  "));
    lines
        .map(|line| line.trim().split("  ").next().unwrap())
        .collect()
}

#[test]
fn every_command_stands_in_one_group_and_on_one_line() {
    let desk = Desk::new();
    let listed = listed(&desk);
    let command = lockstep::cli::command(&lockstep_modules::registry(), &[]).unwrap();
    for command in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        let lines = listed.iter().filter(|(name, _)| name == command.get_name());
        assert_eq!(
            lines.count(),
            1,
            "{} in cli/examples.rs",
            command.get_name()
        );
    }
    for (name, about) in &listed {
        assert!(
            !about.is_empty() && about.chars().count() <= 65,
            "{name}: {about}"
        );
    }
}

#[test]
fn every_command_has_examples_and_each_can_be_typed() {
    let desk = Desk::new();
    let registry = lockstep_modules::registry();
    let commands = listed(&desk).into_iter().map(|(name, _)| Some(name));
    for name in commands.chain([None]) {
        let args = name.iter().map(String::as_str).chain(["--help"]);
        let help = desk.run(&args.collect::<Vec<_>>()).exits(0);
        let examples = examples(&help);
        assert!((1..=4).contains(&examples.len()), "{name:?}: {examples:?}");
        for line in examples {
            let argv = words(line);
            let command = lockstep::cli::command(&registry, &argv).unwrap();
            // `--help` is no mistake either.
            if let Err(error) = command.try_get_matches_from(&argv) {
                assert_eq!(error.exit_code(), 0, "{line}\n{error}");
            }
            let named = name.as_ref().is_none_or(|name| argv[1] == name.as_str());
            assert!(named, "{line}");
        }
    }
}

#[test]
fn help_has_topics_and_each_has_a_name_of_its_own() {
    let desk = Desk::new();
    let codes = desk.run(&["help", "exit-codes"]).exits(0);
    insta::assert_snapshot!(codes);
    assert_eq!(desk.run(&["exit-codes"]).exits(0), codes);
    insta::assert_snapshot!(
        "the_environment",
        desk.run(&["help", "environment"]).exits(0)
    );
    insta::assert_snapshot!("the_files", desk.run(&["help", "files"]).exits(0));
}

#[test]
fn the_version_is_one_line_or_says_how_it_was_built() {
    let desk = Desk::new();
    let version = concat!("lockstep ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(desk.run(&["-V"]).exits(0), version);
    let long = desk.run(&["--version"]).exits(0);
    let rest = long.strip_prefix(version).unwrap();
    let (names, values): (Vec<&str>, Vec<&str>) = rest
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .unzip();
    let known = [
        "commit",
        "target",
        "rustc",
        "playbooks",
        "journal",
        "events",
    ];
    assert_eq!(names, known);
    assert!(
        values.iter().all(|value| !value.trim().is_empty()),
        "{long}"
    );
    assert_eq!(values[3].trim(), format!("API {}", lockstep::script::API));
}

#[test]
fn a_missing_command_is_reported_with_help_on_standard_error() {
    // With a variable that gives an option its value, and without.
    for args in [&["--json"][..], &["op"], &[], &["op", "--json"]] {
        let mut command = Command::new(desk::lockstep());
        command.args(args).env_remove("LOCKSTEP_CLUSTER");
        if args.contains(&"--json") {
            command.env("LOCKSTEP_STATE", "state");
        } else {
            command.env_remove("LOCKSTEP_STATE");
        }
        let ran = lockstep_tests::lab::Ran::of(command.output().unwrap());
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(ran.stderr.contains("Usage: lockstep"), "{ran:?}");
    }
}

#[test]
fn manual_pages_are_written_without_a_complaint_of_groff() {
    let desk = Desk::new();
    let out = desk.run(&["man", "man1"]).exits(0);
    let mut pages: Vec<String> = std::fs::read_dir(desk.path("man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    let mut wanted: Vec<String> = listed(&desk)
        .into_iter()
        .map(|(name, _)| format!("lockstep-{name}.1"))
        .chain(["lockstep.1".to_owned()])
        .collect();
    wanted.sort();
    assert_eq!(pages, wanted);
    assert!(out.starts_with(&format!("{} pages", pages.len())), "{out}");
    for page in &pages {
        let groff = Command::new("groff")
            .args(["-k", "-man", "-Tutf8", "-ww", "-P-cbou"])
            .arg(desk.path("man1").join(page))
            .output();
        let groff =
            groff.unwrap_or_else(|e| panic!("groff can't be started ({e}); tests/run installs it"));
        assert_eq!(String::from_utf8_lossy(&groff.stderr), "", "{page}");
        let text = String::from_utf8_lossy(&groff.stdout).into_owned();
        for section in ["NAME", "SYNOPSIS", "EXAMPLES", "EXIT STATUS", "SEE ALSO"] {
            assert!(
                text.contains(&format!("\n{section}\n")),
                "{page}: {section}\n{text}"
            );
        }
        if page == "lockstep-abort.1" {
            insta::assert_snapshot!("the_page_of_abort", text);
        }
    }
    assert!(desk.run(&["man"]).exits(0).contains(".TH LOCKSTEP 1"));
}
