//! What the pages say is so: their transcripts are played, their commands exist, their links lead somewhere.
//!
//! A block of `console` in a page is a transcript. `TRYCMD=overwrite` writes what is printed now into the page; look at it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::root;
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use regex::Regex;

/// The pages of the book.
fn book() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("docs")).unwrap().flatten();
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    pages.retain(|path| path.extension().is_some_and(|e| e == "md"));
    pages.sort();
    pages
}

/// Everything that is written for people to read.
fn pages() -> Vec<PathBuf> {
    let others = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "RELEASING.md",
        "SECURITY.md",
        "STYLE.md",
        "modules/README.md",
    ];
    let mut pages: Vec<PathBuf> = others.iter().map(|name| root().join(name)).collect();
    pages.extend(book());
    pages
}

/// As it is named in messages.
fn name(page: &Path) -> String {
    page.strip_prefix(root()).unwrap().display().to_string()
}

/// What a page has, as far as it is asked about here.
#[derive(Default)]
struct Page {
    links: Vec<String>,
    /// Its headings, as links name them.
    anchors: Vec<String>,
    /// Lines of code blocks that aren't transcripts.
    code: Vec<String>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (mut page, mut heading, mut code) = (Self::default(), None, false);
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    page.anchors.extend(heading.take().map(|h| anchor(&h)))
                }
                Event::Start(Tag::CodeBlock(kind)) => {
                    code =
                        !matches!(kind, CodeBlockKind::Fenced(language) if &*language == "console");
                }
                Event::End(TagEnd::CodeBlock) => code = false,
                Event::Text(text) if code => page.code.extend(text.lines().map(str::to_owned)),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page
    }
}

/// What a heading is called in a link.
fn anchor(heading: &str) -> String {
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_link_leads_somewhere() {
    let mut count = 0;
    let mut lost = Vec::new();
    for path in pages() {
        for link in Page::read(&path).links {
            if link.contains("://") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            let leads = target.exists()
                && (heading.is_empty() || Page::read(&target).anchors.iter().any(|a| a == heading));
            if !leads {
                lost.push(format!("{}: {link}", name(&path)));
            }
            count += 1;
        }
    }
    assert_eq!(lost, Vec::<String>::new());
    assert!(count > 40, "{count}");
}

#[test]
fn every_page_is_in_the_table_of_contents() {
    // One for readers of the repository, and one for mdBook.
    for contents in ["README.md", "SUMMARY.md"] {
        let links = Page::read(&root().join("docs").join(contents)).links;
        for page in book() {
            let file = page.file_name().unwrap().to_str().unwrap();
            let listed = ["README.md", "SUMMARY.md"].contains(&file)
                || links.iter().any(|link| link == file);
            assert!(listed, "{contents}: {file}");
        }
    }
}

/// The command that a line names: `op snap.info` or `resume`, and its flags.
fn command(line: &str) -> Option<(Vec<&str>, Vec<&str>)> {
    let line = line.split(" #").next().unwrap_or_default();
    let mut words = line.trim().strip_prefix("lockstep ")?.split_whitespace();
    let first = words
        .next()
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))?;
    let rest: Vec<&str> = words.collect();
    let mut command = vec![first];
    // An op has flags of its own, and so has a playbook.
    if ["op", "run", "plan", "rehearse", "check", "fleet"].contains(&first) {
        command.extend(rest.first().filter(|word| !word.starts_with('-')));
    }
    let flags = rest.iter().filter(|word| word.starts_with("--"));
    let flags = flags.map(|flag| flag.split('=').next().unwrap_or_default());
    Some((command, flags.collect()))
}

#[test]
fn every_command_that_a_page_shows_exists() {
    let desk = Desk::new();
    // The site that pages speak of.
    let site = Command::new("cp")
        .arg("-R")
        .arg(root().join("playbooks/site"))
        .arg(desk.path("site"))
        .status();
    assert!(site.unwrap().success());
    let mut helps: BTreeMap<String, String> = BTreeMap::new();
    let mut count = 0;
    for path in pages() {
        for line in Page::read(&path).code {
            let Some((words, flags)) = command(&line) else {
                continue;
            };
            let help = helps.entry(words.join(" ")).or_insert_with(|| {
                let ran = desk.run(&[&words[..], &["--help"]].concat());
                assert_eq!(ran.code, Some(0), "{}: {line}\n{}", name(&path), ran.stderr);
                ran.stdout
            });
            // A playbook that only the page has takes what the page says.
            let own = |word: &&str| word.ends_with(".lua") && !desk.path(word).exists();
            if words.iter().any(own) {
                continue;
            }
            for flag in flags {
                assert!(
                    help.contains(flag),
                    "{}: {line}: there is no {flag}",
                    name(&path)
                );
            }
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

/// The files that a page shows: blocks of code that begin with a comment of nothing but the file's name.
fn files(page: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(page).unwrap();
    let block =
        Regex::new(r"(?ms)^```(?:toml|lua)\n((?:#|--) ([\w-]+\.(?:toml|lua))\n.*?)^```$").unwrap();
    let shown = block.captures_iter(&text);
    shown
        .map(|shown| (shown[2].to_owned(), shown[1].to_owned()))
        .collect()
}

#[test]
fn every_transcript_is_what_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let cases = trycmd::TestCases::new();
    cases.register_bin("lockstep", PathBuf::from(lockstep()));
    let mut played = Vec::new();
    for page in [root().join("README.md")].into_iter().chain(book()) {
        let text = fs::read_to_string(&page).unwrap();
        let commands = text.lines().filter_map(|line| line.strip_prefix("$ "));
        let foreign: Vec<&str> = commands
            .filter(|line| !line.starts_with("lockstep "))
            .collect();
        // What isn't known is passed over, and would be shown without ever being tried.
        assert_eq!(foreign, Vec::<&str>::new(), "{}", name(&page));
        if text.contains("\n```console\n") {
            played.push(page);
        }
    }
    for (i, page) in played.iter().enumerate() {
        // Each page is read at a desk of its own: a folder to work in, and no runs yet.
        let copy = folder.path().join(format!("{i}.md"));
        fs::copy(page, &copy).unwrap();
        for desk in ["in", "out"] {
            fs::create_dir(copy.with_extension(desk)).unwrap();
        }
        for (name, text) in files(page) {
            fs::write(copy.with_extension("in").join(name), text).unwrap();
        }
        cases.case(&copy);
    }
    cases.env("LOCKSTEP_STATE", "state");
    cases.run();
    if std::env::var_os("TRYCMD").is_some_and(|mode| mode == "overwrite") {
        for (i, page) in played.iter().enumerate() {
            fs::copy(folder.path().join(format!("{i}.md")), page).unwrap();
        }
    }
    assert!(played.len() >= 5, "{played:?}");
}
