//! Where a site's module programs are, for the commands that take ops.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use lockstep_modules::contract::op::Registry;
use lockstep_modules::program::{Found, Program, ProgramError};

use super::exit::Fault;
use super::front::runtime;
use super::global::CLUSTER;
use super::params::Asked;
use super::typed::Typed;
use crate::programs;
use crate::trust::{self, Distrust};

/// The folder that is looked for.
const FOLDER: &str = "modules";

/// What a command line needs of a site's programs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Need {
    /// They are looked up. One that can't be used is no reason to do without the others.
    Looked,
    /// A playbook may call any of them in the middle of a run.
    Played,
}

impl Need {
    /// Help and what is lockstep's own need none: programs are code, and aren't started for nothing.
    fn of(typed: &Typed, playbook: Option<&Asked>, registry: &Registry) -> Option<Self> {
        let own = |name: &str| {
            registry.op(name).is_ok() || registry.modules().iter().any(|m| m.name == name)
        };
        let help = typed.asks_for_help();
        match (typed.command.as_deref()?, playbook) {
            ("op", _) => (!own(&typed.what()?)).then_some(Self::Looked),
            ("doc", _) if help || typed.what().is_some_and(|name| own(&name)) => None,
            ("doc", _) => Some(Self::Looked),
            ("types", _) => (!help).then_some(Self::Looked),
            (_, Some(asked)) if asked.is_shipped() => None,
            // Its flags are its help, and can be shown without its ops, unless it reads one while it is loaded.
            (_, Some(asked)) if help => (!asked.loads(registry)).then_some(Self::Looked),
            (_, Some(_)) => Some(Self::Played),
            _ => None,
        }
    }
}

/// The ops that a command line may name: those of lockstep itself, and those of the site's programs.
///
/// # Errors
/// Where a playbook is to be played and a program can't be used: that is reported before anything is done.
pub(super) fn with_programs(registry: &Registry, argv: &[OsString]) -> Result<Registry, Fault> {
    let typed = Typed::of(argv);
    let playbook = Asked::of(&typed);
    let Some(need) = Need::of(&typed, playbook.as_ref(), registry) else {
        return Ok(registry.clone());
    };
    let folder = match folder(&typed, playbook.as_ref())? {
        None => return Ok(registry.clone()),
        Some(Folder::Named(folder)) => folder,
        Some(Folder::Beside(folder)) => match trusted(&folder) {
            Ok(()) => folder,
            Err(distrust) if need == Need::Played => {
                return Err(Fault::distrusted(&distrust, "--modules", &folder));
            }
            Err(distrust) => {
                Fault::distrusted(&distrust, "--modules", &folder).warn();
                return Ok(registry.clone());
            }
        },
    };
    let found = find(&folder, registry)?;
    if need == Need::Played {
        return strict(registry, found);
    }
    for unfit in &found.unfit {
        err!("warning: {unfit}");
    }
    Ok(registry.with(found.programs.into_iter().map(Program::module)))
}

/// Whether a folder that was found may be used, with all that its programs may share.
fn trusted(folder: &Path) -> Result<(), Distrust> {
    trust::found(folder)?;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => trusted(&entry.path())?,
            _ => trust::found(&entry.path())?,
        }
    }
    Ok(())
}

/// The ops that a playbook's file may name on a cluster: those of lockstep itself, and those of the programs beside the one or the
/// other, unless a folder is named.
pub(super) fn of_site(
    registry: &Registry,
    named: Option<&Path>,
    files: &[&Path],
) -> Result<Registry, Fault> {
    if let Some(named) = named {
        return of_folder(registry, named);
    }
    let folders = files
        .iter()
        .filter(|file| file.is_file())
        .filter_map(|file| Some(file.parent()?.join(FOLDER)));
    let Some(folder) = folders
        .map(|folder| absolute(&folder))
        .find(|folder| folder.is_dir())
    else {
        return Ok(registry.clone());
    };
    trusted(&folder).map_err(|distrust| Fault::distrusted(&distrust, "--modules", &folder))?;
    of_folder(registry, &folder)
}

/// The ops of lockstep itself, and those of a folder's programs, all of which must be usable.
pub(super) fn of_folder(registry: &Registry, folder: &Path) -> Result<Registry, Fault> {
    strict(registry, find(&absolute(folder), registry)?)
}

fn find(folder: &Path, registry: &Registry) -> Result<Found, Fault> {
    let found = runtime()?.block_on(programs::find(folder, registry));
    found.map_err(|e| {
        Fault::usage(format!(
            "the modules folder {} can't be read: {e}",
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
        "fix it, or remove it from the modules folder: a playbook may call it in the middle of a run",
    ))
}

/// A folder with a site's programs.
enum Folder {
    /// Somebody named it, and so wants it.
    Named(PathBuf),
    /// It lies beside something else.
    Beside(PathBuf),
}

/// The folder with a site's programs: the one that is named, or that beside the playbook, or that beside the cluster file.
fn folder(typed: &Typed, playbook: Option<&Asked>) -> Result<Option<Folder>, Fault> {
    let named = typed.flag("--modules").map(PathBuf::from).or_else(|| {
        std::env::var_os("LOCKSTEP_MODULES")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    });
    if let Some(named) = named {
        if !named.is_dir() {
            let text = format!("there is no modules folder {}", named.display());
            return Err(Fault::usage(text).help("name one with --modules DIR"));
        }
        return Ok(Some(Folder::Named(absolute(&named))));
    }
    let cluster = typed.flag("--cluster").or_else(|| typed.flag("-c"));
    let cluster = cluster.map(str::to_owned);
    let cluster = cluster.or_else(|| std::env::var(CLUSTER).ok());
    // A simulated cluster has no file; the site is where one would be taken from.
    let cluster = cluster.filter(|name| Path::new(name).is_file());
    let cluster = cluster.unwrap_or_else(|| super::target::DEFAULT.to_owned());
    let cluster = Some(Path::new(&cluster)).filter(|file| file.is_file());
    let beside = |file: &Path| Some(file.parent()?.join(FOLDER));
    let files = [playbook.and_then(Asked::site), cluster];
    let folders = files.into_iter().flatten().filter_map(beside);
    // `types DIR` writes what is known of that site.
    let site = typed
        .what()
        .filter(|_| typed.command.as_deref() == Some("types"));
    let site = site.map(|site| Path::new(&site).join(FOLDER));
    Ok(site
        .into_iter()
        .chain(folders)
        .map(|folder| absolute(&folder))
        .find(|folder| folder.is_dir())
        .map(Folder::Beside))
}

/// A program is started in its own folder, from where a relative path would lead elsewhere.
fn absolute(folder: &Path) -> PathBuf {
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}
