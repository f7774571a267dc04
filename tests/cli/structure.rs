//! How files depend on each other: what a reader has to know before a file, and what not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use lockstep_tests::root;
use regex::Regex;

/// A file by the path of its module: `["ops", "snap", "refresh"]`; of none, the crate's root.
type File = Vec<String>;

/// What each file imports.
type Graph = BTreeMap<File, BTreeSet<File>>;

const CRATES: [&str; 3] = ["modules/src", "modules/twin/src", "runner/src"];

/// The sources of a crate without tests, comments and texts.
fn sources(krate: &Path) -> BTreeMap<File, String> {
    fn read(folder: &Path, at: &File, found: &mut BTreeMap<File, String>) {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
            let file: File = at.iter().cloned().chain([stem.clone()]).collect();
            if path.is_dir() {
                read(&path, &file, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") && stem != "main" {
                let file = if stem == "lib" { File::new() } else { file };
                found.insert(file, fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    read(krate, &File::new(), &mut found);
    let tests = Regex::new(r"#\[cfg\(test\)\]\s*mod (\w+);").unwrap();
    let tests: BTreeSet<File> = found
        .iter()
        .flat_map(|(file, text)| {
            let named = tests.captures_iter(text);
            named.map(|name| [file.as_slice(), &[name[1].to_owned()]].concat())
        })
        .collect();
    let noise = r##"(?s)'\\?"'|r#".*?"#|"(?:[^"\\]|\\.)*"|//[^\n]*"##;
    let noise = Regex::new(noise).unwrap();
    found.retain(|file, _| !tests.iter().any(|test| file.starts_with(test)));
    for text in found.values_mut() {
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        *text = noise.replace_all(code, " ").into_owned();
    }
    found
}

/// A path in the source: `["crate", "ops", "snap", "Update"]`.
type Words = Vec<String>;

/// A name that a file gets from elsewhere.
struct Import {
    name: String,
    path: Words,
    /// It is given on, to whoever looks for it here.
    is_public: bool,
}

/// A file's imports, and the paths that it names beside.
struct Code {
    imports: Vec<Import>,
    paths: Vec<Words>,
}

/// The paths of `a::{b, c::d as e}`, each with the name that it goes by.
fn imported(tree: &str) -> Vec<(String, Words)> {
    let Some((before, inner)) = tree.split_once('{') else {
        let (path, name) = tree.split_once(" as ").unwrap_or((tree, ""));
        let mut path: Words = path
            .split("::")
            .map(|word| word.trim().to_owned())
            .collect();
        path.retain(|word| word != "self");
        let name = Some(name.trim()).filter(|name| !name.is_empty());
        let name = name.or(path.last().map(String::as_str)).unwrap_or_default();
        return vec![(name.to_owned(), path)];
    };
    let inner = inner.trim_end().strip_suffix('}').unwrap();
    let mut depth = 0;
    let parts = inner.split(|c| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    parts
        .filter(|part| !part.trim().is_empty())
        .flat_map(|part| imported(&format!("{}{}", before.trim(), part.trim())))
        .collect()
}

fn code(text: &str) -> Code {
    let using = Regex::new(r"(pub(?:\([^)]*\))?\s+)?\buse\s+([^;]+);").unwrap();
    let path = Regex::new(r"\b[A-Za-z_]\w*(?:\s*::\s*[A-Za-z_]\w*)+").unwrap();
    let imports = using.captures_iter(text).flat_map(|found| {
        let is_public = found.get(1).is_some();
        let import = move |(name, path)| Import {
            name,
            path,
            is_public,
        };
        imported(&found[2]).into_iter().map(import)
    });
    let rest = using.replace_all(text, " ");
    let paths = path.find_iter(&rest).map(|found| {
        let words = found.as_str().split("::");
        words.map(|word| word.trim().to_owned()).collect()
    });
    Code {
        imports: imports.collect(),
        paths: paths.collect(),
    }
}

/// The file in which a path that `from` names ends, through whatever gives it on; none outside of the crate.
fn found(all: &BTreeMap<File, Code>, from: &File, path: &[String]) -> Option<File> {
    let import = |at: &File, word: &String| {
        let mut imports = all[at].imports.iter();
        let import = imports.find(|import| import.name == *word && import.path[0] != *word)?;
        Some(import.path.clone())
    };
    let (first, mut rest) = path.split_first()?;
    let mut at = from.clone();
    match first.as_str() {
        "crate" => at = File::new(),
        "super" => at = from[..from.len().checked_sub(1)?].to_vec(),
        _ if import(from, first).is_some() => rest = path,
        _ if all.contains_key(&[from.as_slice(), std::slice::from_ref(first)].concat()) => {
            rest = path
        }
        _ => return None,
    }
    while let Some((word, further)) = rest.split_first() {
        let below = [at.as_slice(), std::slice::from_ref(word)].concat();
        if word == "super" {
            at.pop();
        } else if all.contains_key(&below) {
            at = below;
        } else if let Some(import) = import(&at, word) {
            return found(all, &at, &[import, further.to_vec()].concat());
        } else {
            break;
        }
        rest = further;
    }
    Some(at)
}

/// What each file of a crate imports. That a file gives on what those below it have is no import.
fn graph(krate: &Path) -> Graph {
    let texts = sources(krate).into_iter();
    let all: BTreeMap<File, Code> = texts.map(|(file, text)| (file, code(&text))).collect();
    let of = |(file, code): (&File, &Code)| {
        let given_on = |import: &Import, to: &File| import.is_public && to.starts_with(file);
        let imports = code.imports.iter().filter_map(|import| {
            let to = found(&all, file, &import.path)?;
            (!given_on(import, &to)).then_some(to)
        });
        let named = code.paths.iter().filter_map(|path| found(&all, file, path));
        let to = imports.chain(named).filter(|to| to != file).collect();
        (file.clone(), to)
    };
    all.iter().map(of).collect()
}

/// What can be come to from a file.
fn reached(graph: &Graph, file: &File) -> BTreeSet<File> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&File> = graph[file].iter().collect();
    while let Some(file) = next.pop() {
        if seen.insert(file.clone()) {
            next.extend(&graph[file]);
        }
    }
    seen
}

/// The files that come to each other, as `ops/status ops/status/component`.
fn circles(graph: &Graph) -> BTreeSet<String> {
    let reached: BTreeMap<&File, BTreeSet<File>> = graph
        .keys()
        .map(|file| (file, reached(graph, file)))
        .collect();
    let circle = |file: &File| {
        let together = reached[file]
            .iter()
            .filter(|other| reached[*other].contains(file));
        let names: Vec<String> = together.map(|file| file.join("/")).collect();
        names.join(" ")
    };
    let all = graph.keys().filter(|file| reached[*file].contains(*file));
    all.map(circle).collect()
}

#[test]
fn no_files_import_each_other_in_a_circle() {
    for krate in CRATES {
        let found = circles(&graph(&root().join(krate)));
        assert!(found.is_empty(), "{krate} has circles: {found:#?}");
    }
}

#[test]
fn the_wings_of_modules_import_downwards() {
    let graph = graph(&root().join("modules/src"));
    let rules: [(&[&str], &[&[&str]]); 3] = [
        (
            &["contract"],
            &[&["products"], &["ops"], &["transport"], &["program"]],
        ),
        (&["products"], &[&["ops"]]),
        (
            &["ops", "snap"],
            &[
                &["ops", "microceph"],
                &["ops", "microovn"],
                &["products", "ceph"],
                &["products", "raft"],
            ],
        ),
    ];
    let below = |file: &File, wing: &[&str]| {
        file.iter().zip(wing).filter(|(a, b)| a == b).count() == wing.len()
    };
    for (from, never) in rules {
        for (file, imports) in graph.iter().filter(|(file, _)| below(file, from)) {
            let wrong = imports
                .iter()
                .find(|to| never.iter().any(|wing| below(to, wing)));
            assert_eq!(wrong, None, "{}", file.join("/"));
        }
    }
}
