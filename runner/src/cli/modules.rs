//! Where a site's module programs are, for the commands that take ops.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lockstep_modules::op::Registry;
use lockstep_modules::program::{Found, Program, ProgramError};

use super::exit::{Exit, Fault};
use super::params::Asked;
use super::session::runtime;
use crate::programs;

/// The folder that is looked for.
const FOLDER: &str = "modules";

/// Commands that look ops up. One program that can't be used is no reason to do without the others.
const LOOKERS: [&str; 3] = ["op", "doc", "types"];

/// The ops that a command line may name: those of lockstep itself, and those of the site's programs.
///
/// # Errors
/// Where a playbook is to be played and a program can't be used: that is told before anything is done.
pub(super) fn with_programs(registry: &Registry, argv: &[OsString]) -> Result<Registry, Fault> {
    let words: Vec<&str> = argv
        .iter()
        .skip(1)
        .filter_map(|word| word.to_str())
        .collect();
    let playbook = Asked::of(argv);
    let looks = words.iter().any(|word| LOOKERS.contains(word));
    let asks_for_help = words
        .iter()
        .any(|word| ["--help", "-h", "help"].contains(word));
    if playbook.is_none() && !looks {
        return Ok(registry.clone());
    }
    let Some(folder) = folder(&words, playbook.as_ref())? else {
        return Ok(registry.clone());
    };
    let found = find(&folder, registry)?;
    if playbook.is_some() && !asks_for_help {
        return strict(registry, found);
    }
    for unfit in &found.unfit {
        err!("warning: {unfit}");
    }
    Ok(registry.with(found.programs.into_iter().map(Program::module)))
}

/// The ops of lockstep itself, and those of a folder's programs, all of which must be usable.
pub(super) fn of_folder(registry: &Registry, folder: &Path) -> Result<Registry, Fault> {
    strict(registry, find(&absolute(folder), registry)?)
}

fn find(folder: &Path, registry: &Registry) -> Result<Found, Fault> {
    let found = runtime(false)?.block_on(programs::find(folder, registry));
    found.map_err(|e| {
        Fault::usage(format!(
            "the folder of modules {} can't be read: {e}",
            folder.display()
        ))
    })
}

fn strict(registry: &Registry, found: Found) -> Result<Registry, Fault> {
    if found.unfit.is_empty() {
        return Ok(registry.with(found.programs.into_iter().map(Program::module)));
    }
    let all: Vec<String> = found.unfit.iter().map(ProgramError::to_string).collect();
    Err(Fault::usage(all.join("\n")).help(
        "mend it, or take it out of the folder of modules: a playbook may call it in the middle of a run",
    ))
}

/// The folder with a site's programs: the one that is named, or that beside the playbook, or that beside the cluster file.
fn folder(words: &[&str], playbook: Option<&Asked>) -> Result<Option<PathBuf>, Fault> {
    let named = flag(words, "--modules").map(PathBuf::from).or_else(|| {
        std::env::var_os("LOCKSTEP_MODULES")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    });
    if let Some(named) = named {
        if !named.is_dir() {
            let text = format!("there is no folder of modules {}", named.display());
            return Err(Fault::usage(text).help("name one with --modules DIR"));
        }
        return Ok(Some(absolute(&named)));
    }
    let cluster = flag(words, "--cluster")
        .or_else(|| flag(words, "-c"))
        .map(str::to_owned);
    let cluster = cluster.or_else(|| std::env::var("LOCKSTEP_CLUSTER").ok());
    // A simulated cluster has no file; the site is where one would be taken from.
    let cluster = cluster.filter(|name| Path::new(name).is_file());
    let cluster = cluster.unwrap_or_else(|| super::target::DEFAULT.to_owned());
    let beside = |file: &str| Some(Path::new(file).parent()?.join(FOLDER));
    let playbook = playbook
        .map(|asked| asked.file.as_str())
        .filter(|file| Path::new(file).is_file());
    let cluster = Some(cluster.as_str()).filter(|file| Path::new(file).is_file());
    let folders = [playbook, cluster].into_iter().flatten().filter_map(beside);
    // `types DIR` writes what is known of that site.
    let mut rest = words.iter().skip_while(|word| **word != "types").skip(1);
    let site = rest.find(|word| Path::new(word).is_dir());
    let site = site.map(|site| Path::new(site).join(FOLDER));
    Ok(site
        .into_iter()
        .chain(folders)
        .map(|folder| absolute(&folder))
        .find(|folder| folder.is_dir()))
}

/// The value of a flag, as `--flag value` or `--flag=value`.
fn flag<'a>(words: &[&'a str], name: &str) -> Option<&'a str> {
    words
        .iter()
        .enumerate()
        .find_map(|(i, word)| match word.strip_prefix(name)? {
            "" => words.get(i + 1).copied(),
            rest => rest.strip_prefix('='),
        })
}

/// A program is started in its own folder, from where a relative path would lead elsewhere.
fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}

/// Why a run's programs can't be captured or taken up again.
impl From<programs::CaptureError> for Fault {
    fn from(error: programs::CaptureError) -> Self {
        let help = matches!(error, programs::CaptureError::Changed { .. })
            .then_some("lockstep resume RUN --modules DIR  goes on with the programs of a folder");
        let fault = Self::new(Exit::State, error);
        match help {
            Some(help) => fault.help(help),
            None => fault,
        }
    }
}
