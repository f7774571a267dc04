//! Build data for `lockstep --version`: what was built, by which compiler, and from which commit.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=LOCKSTEP_COMMIT");
    let rustc = env::var("RUSTC").unwrap_or_else(|_| "rustc".to_owned());
    let rustc = said(Command::new(rustc).arg("--version"));
    let rustc = rustc.unwrap_or_else(|| "unknown".to_owned());
    tell("RUSTC", rustc.strip_prefix("rustc ").unwrap_or(&rustc));
    tell("TARGET", &env::var("TARGET").unwrap_or_default());
    let profile = env::var("PROFILE").unwrap_or_default();
    tell("PROFILE", &profile);
    // A package's own word comes first: it is built from a tarball. In development nobody wants everything to be built
    // again at each commit, and what is built there is hardly ever what was committed.
    let commit = env::var("LOCKSTEP_COMMIT").ok();
    let commit = commit.or_else(|| (profile == "release").then(git).flatten());
    tell("COMMIT", commit.as_deref().unwrap_or("unknown"));
}

fn tell(name: &str, value: &str) {
    println!("cargo:rustc-env=LOCKSTEP_BUILD_{name}={value}");
}

/// The commit, and whether anything was changed since; none outside of a clone.
fn git() -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let git = |args: &[&str]| said(Command::new("git").arg("-C").arg(&root).args(args));
    // A tarball may have been unpacked in somebody else's clone.
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != root.canonicalize().ok()? {
        return None;
    }
    let log = git(&[
        "rev-parse",
        "--path-format=absolute",
        "--git-path",
        "logs/HEAD",
    ])?;
    println!("cargo:rerun-if-changed={log}");
    for folder in ["src", "../modules", "../playbooks"] {
        println!("cargo:rerun-if-changed={folder}");
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    let changed = if changed.is_empty() {
        ""
    } else {
        ", changed since"
    };
    Some(format!("{commit}{changed}"))
}

/// What a program printed, if it succeeded.
fn said(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
