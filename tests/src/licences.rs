//! What lockstep is made of: its crates, where they come from, and under which licences they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::process::Command;

use regex::Regex;
use serde_json::Value;

use crate::lab::Ran;
use crate::root;

/// A crate that the program is made of.
pub struct Part {
    /// Its name.
    pub name: String,
    /// None for our own.
    pub source: Option<String>,
    /// The licence expression.
    pub licence: String,
    /// Who is named as its author.
    pub authors: Vec<String>,
    /// Its sources.
    pub folder: String,
    /// It is a compiler's helper: nothing of it is in the program.
    pub helper: bool,
}

/// What cargo says, without asking anybody.
fn cargo(args: &[&str]) -> String {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.args(args).args(["--locked", "--offline"]);
    Ran::of(cargo.current_dir(root()).output().unwrap()).exits(0)
}

/// The crates that the program is built from, and those that build it.
pub fn parts() -> Vec<Part> {
    const PLATFORM: &str = "x86_64-unknown-linux-gnu";
    // Metadata has the features of all of the workspace at once; the tree has those of the program.
    let tree = ["tree", "--package", "lockstep", "--edges", "normal,build"];
    let form = ["--prefix", "none", "--format", "{p}", "--target", PLATFORM];
    let tree = cargo(&[&tree[..], &form].concat());
    let named = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap_or_default())
    };
    let there: BTreeSet<(String, String)> = tree.lines().map(named).collect();
    let reported = cargo(&[
        "metadata",
        "--format-version",
        "1",
        "--filter-platform",
        PLATFORM,
    ]);
    let reported: Value = serde_json::from_str(&reported).unwrap();
    let part = |package: &Value| {
        let (name, version) = (text(&package["name"]), text(&package["version"]));
        let manifest = text(&package["manifest_path"]);
        let targets = package["targets"].as_array().unwrap();
        there
            .contains(&(name.clone(), format!("v{version}")))
            .then(|| Part {
                name,
                source: package["source"].as_str().map(str::to_owned),
                licence: text(&package["license"]),
                authors: serde_json::from_value(package["authors"].clone()).unwrap(),
                folder: manifest.trim_end_matches("/Cargo.toml").to_owned(),
                helper: targets.iter().any(|t| t["kind"][0] == "proc-macro"),
            })
    };
    let packages = reported["packages"].as_array().unwrap();
    let mut parts: Vec<Part> = packages.iter().filter_map(part).collect();
    assert_eq!(parts.len(), there.len());
    parts.sort_by(|a, b| a.name.cmp(&b.name));
    parts
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The licences that cargo-deny allows.
fn allowed() -> Vec<String> {
    let text = fs::read_to_string(root().join("deny.toml")).unwrap();
    let lists: toml::Table = toml::from_str(&text).unwrap();
    let allowed = lists["licenses"]["allow"].as_array().unwrap().iter();
    allowed.map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// What is taken of a licence expression: of alternatives the one that is first among those that we allow, and all that
/// holds at once.
pub fn taken(expression: &str, allowed: &[String]) -> Option<BTreeSet<String>> {
    let expression = expression.replace('/', " OR ");
    let mut taken = BTreeSet::new();
    // None of the crates has an alternative that isn't in brackets beside what holds at once.
    for part in expression.split(" AND ") {
        let part = part.trim_matches(['(', ')']);
        let offered: Vec<&str> = part.split(" OR ").map(str::trim).collect();
        let best = allowed.iter().find(|id| offered.contains(&id.as_str()));
        taken.insert(best?.clone());
    }
    Some(taken)
}

/// Whose a crate is: by the notices in its licences, or else by who is named as its author.
fn holders(part: &Part) -> BTreeSet<String> {
    let mut holders = BTreeSet::new();
    let notice = Regex::new(r"^\s*Copyright\s*(?:\(c\)|\(C\)|©)?\s*(\S.*\S)\s*$").unwrap();
    for entry in fs::read_dir(&part.folder).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if ["LICENSE", "LICENCE", "COPYING"]
            .iter()
            .any(|known| name.starts_with(known))
        {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let found = text.lines().filter_map(|line| notice.captures(line));
            holders.extend(
                found.map(|found| found[1].replace("[yyyy] [name of copyright owner]", "")),
            );
        }
    }
    holders.retain(|holder| !holder.is_empty() && !holder.contains("owner"));
    if holders.is_empty() {
        holders.extend(part.authors.iter().cloned());
    }
    if holders.is_empty() {
        holders.insert(format!("the authors of {}", part.name));
    }
    holders
}

/// The copyright file of the package, in Debian's form: our own head, a paragraph for each licence and holder, and texts.
pub fn copyright() -> String {
    let allowed = allowed();
    let mut out = fs::read_to_string(root().join("tests/licences/head")).unwrap();
    let mut paragraphs: BTreeMap<(String, BTreeSet<String>), BTreeSet<String>> = BTreeMap::new();
    let in_it = parts()
        .into_iter()
        .filter(|part| part.source.is_some() && !part.helper);
    for part in in_it {
        let licences: Vec<String> = taken(&part.licence, &allowed)
            .unwrap()
            .into_iter()
            .collect();
        // Apache's asks for no notice of who holds it.
        let holders = match licences.as_slice() {
            [one] if one == "Apache-2.0" => BTreeSet::from(["the authors of each".to_owned()]),
            _ => holders(&part),
        };
        let key = (licences.join(" and "), holders);
        paragraphs.entry(key).or_default().insert(part.name);
    }
    for ((licence, holders), names) in paragraphs {
        let files: Vec<String> = names
            .iter()
            .map(|name| format!("vendor/{name}/*"))
            .collect();
        let holders: Vec<String> = holders.into_iter().collect();
        let (files, holders) = (files.join("\n       "), holders.join("\n           "));
        let _ = write!(
            out,
            "\nFiles: {files}\nCopyright: {holders}\nLicense: {licence}\n"
        );
    }
    let mut texts: Vec<_> = fs::read_dir(root().join("tests/licences"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name != "head"))
        .collect();
    texts.sort();
    for path in texts {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(path).unwrap();
        let _ = write!(out, "\nLicense: {name}\n");
        for line in text.trim_end().lines() {
            let line = if line.is_empty() { "." } else { line };
            let _ = writeln!(out, " {line}");
        }
    }
    out
}
