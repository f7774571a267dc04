//! A secret, and what is clean of it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::lab::Ran;
use crate::root;

/// It has what has to be escaped in JSON, shells, URLs and base64.
pub const TOKEN: &str = r#"Zq7"vK9xQ\xW3rT/mT5kP+ bR8hS&nY2gD=pL6dF4"#;

/// The path of the playbook that is given a secret.
#[must_use]
pub fn playbook() -> String {
    root().join("tests/lua/secret.lua").display().to_string()
}

/// The letters of base64 that are the token's alone, after this many other bytes.
fn letters(before: usize) -> String {
    let text = format!("{}{TOKEN}", "-".repeat(before));
    let mut child = Command::new("base64")
        .args(["-w", "0"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let letters = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    letters[4..letters.len() - 4].to_owned()
}

/// Fails if a text holds the token or a part of it, in any form that the program knows.
///
/// # Panics
/// With where it is.
pub fn assert_clean(what: &str, text: &str) {
    let hex: String = TOKEN.bytes().map(|b| format!("{b:02x}")).collect();
    let parts = ["vK9xQ", "xW3rT", "mT5kP", "bR8hS", "nY2gD", "pL6dF4"];
    let parts = parts.map(str::to_owned).into_iter();
    for part in parts
        .chain((0..3).map(letters))
        .chain([hex[..12].to_owned()])
    {
        if let Some(at) = text.find(&part) {
            let from = (0..=at.saturating_sub(200))
                .rev()
                .find(|i| text.is_char_boundary(*i));
            panic!("{what}: …{}{part}", &text[from.unwrap_or(0)..at]);
        }
    }
}

/// Every file below a folder.
///
/// # Panics
/// Where it can't be read.
#[must_use]
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

/// Fails if anything that runs left behind holds the token. Returns how many files there are.
///
/// # Panics
/// With where it is.
pub fn assert_state_clean(state: &Path) -> usize {
    let files = files(state);
    for file in &files {
        let bytes = fs::read(file).unwrap();
        assert_clean(
            &file.display().to_string(),
            &String::from_utf8_lossy(&bytes),
        );
    }
    files.len()
}

/// Fails if a program printed the token, or what stands for it.
///
/// # Panics
/// With where it is.
pub fn assert_printed_clean(ran: &Ran) {
    assert_clean("standard output", &ran.stdout);
    assert_clean("standard error", &ran.stderr);
    for mark in ['\u{E000}', '\u{E001}'] {
        assert!(
            !ran.stdout.contains(mark) && !ran.stderr.contains(mark),
            "{ran:?}"
        );
    }
}
