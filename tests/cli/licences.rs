//! The package says whose everything is that lockstep is made of.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use lockstep_tests::licences::{copyright, parts, taken};
use regex::Regex;

#[test]
fn of_a_licence_expression_the_first_that_is_allowed_is_taken() {
    let allowed = ["Apache-2.0", "MIT", "Unicode-3.0"].map(str::to_owned);
    for (expression, expected) in [
        ("MIT", &["MIT"][..]),
        ("MIT OR Apache-2.0", &["Apache-2.0"]),
        ("MIT/Apache-2.0", &["Apache-2.0"]),
        (
            "(MIT OR Apache-2.0) AND Unicode-3.0",
            &["Apache-2.0", "Unicode-3.0"],
        ),
    ] {
        let taken = taken(expression, &allowed).unwrap();
        assert_eq!(taken.iter().collect::<Vec<_>>(), expected, "{expression}");
    }
    for expression in [
        "",
        "GPL-3.0-only",
        "MIT AND GPL-3.0-only",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert_eq!(taken(expression, &allowed), None, "{expression}");
    }
}

#[test]
fn the_copyright_file_names_every_crate_with_its_licence() {
    let text = copyright();
    let given: BTreeSet<&str> = field(&text, "License").collect();
    for licence in &given {
        for one in licence.split(" and ") {
            assert!(
                text.contains(&format!("\nLicense: {one}\n ")),
                "{one} has no text"
            );
        }
    }
    for needed in [
        "Lua.org, PUC-Rio",
        "vendor/full_moon/*",
        "https://mozilla.org/MPL/2.0/",
    ] {
        assert!(text.contains(needed), "{needed}");
    }
}

fn field<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines()
        .filter_map(move |line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// What is compiled of C in the program is Lua.
#[test]
fn the_notice_of_lua_is_that_of_the_lua_that_is_built_in() {
    let source = parts()
        .into_iter()
        .find(|part| part.name == "lua-src")
        .unwrap();
    let built = fs::read_dir(Path::new(&source.folder)).unwrap().flatten();
    let built = built
        .map(|entry| entry.path())
        .find(|path| path.to_string_lossy().contains("lua-5.4"));
    let header = fs::read_to_string(built.unwrap().join("lua.h")).unwrap();
    let years = Regex::new(r"Copyright \(C\) ([0-9-]+) Lua\.org").unwrap();
    let years = &years.captures(&header).unwrap()[1];
    assert!(
        copyright().contains(&format!("{years} Lua.org, PUC-Rio")),
        "{years}"
    );
}
