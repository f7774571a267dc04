//! Which cluster the command line names.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use lockstep_modules::contract::cluster::{Cluster, MemberConfig};
use lockstep_modules::contract::cmd::quote;
use lockstep_twin::Scenario;

use super::exit::Fault;
use super::fleets;
use super::global::{CLUSTER, Global};
use super::mistakes::near_file;
use crate::config::Config;
use crate::journal::{ClusterRef, Head};
use crate::secret::anchored;
use crate::target::{Made, Target};
use crate::trust;

/// The cluster file that is taken when none is named.
pub(super) const DEFAULT: &str = "cluster.toml";

/// The cluster that the command line names.
pub(super) fn named(global: &Global) -> Result<Target, Fault> {
    if let Some(named) = &global.cluster {
        return of(named, global);
    }
    if !Path::new(DEFAULT).exists() {
        return Err(Fault::usage("which cluster? There is no cluster.toml here").help(
            "lockstep init USER@MEMBER        writes one\nlockstep … --cluster FILE        names one\nlockstep … --cluster twin:3      simulates one",
        ));
    }
    trusted()?;
    of(DEFAULT, global)
}

/// The cluster file with which a run that there is continues, where one is named. What the environment names for all commands is left
/// out where it is another cluster's.
pub(super) fn again(head: &Head, global: &Global) -> Result<Option<Config>, Fault> {
    let Some(cluster) = &global.cluster else {
        return Ok(None);
    };
    let (run, of) = (&head.id, &head.cluster.name);
    let wrong = match head.target {
        ClusterRef::File(_) => {
            let config = named(global)?.config;
            if config.cluster.name == *of {
                return Ok(Some(config));
            }
            let other = config.cluster.name;
            format!("{run} is a run on {of}, and this is the cluster file of {other}")
        }
        ClusterRef::Twin(_) => {
            format!("{run} is a run on a simulated cluster, which has no cluster file")
        }
        ClusterRef::Fleet(_) => format!("{run} is a rollout, which has no cluster file"),
    };
    match std::env::var(CLUSTER) {
        Ok(everywhere) if everywhere == *cluster => Ok(None),
        _ => Err(Fault::usage(wrong)),
    }
}

/// The cluster of this name: simulated, or of a file.
pub(super) fn of(name: &str, global: &Global) -> Result<Target, Fault> {
    if let Some(scenario) = twin(name)? {
        let name = name.strip_prefix("twin").unwrap_or_default().to_owned();
        return Ok(Target::simulated(name, scenario));
    }
    if !Path::new(name).exists() {
        if let Some(file) = fleets::member(name)? {
            return of(&file, global);
        }
        let near = near_file(Path::new(name), &["twin:1", "twin:3", "twin:5"]);
        return Err(Fault::usage(format!(
            "there is no cluster file {name:?}{near}"
        )));
    }
    let mut config = Config::read(Path::new(name))?;
    with_ssh_config(&mut config.cluster, global);
    let file = PathBuf::from(name);
    Ok(Target {
        name: ClusterRef::File(std::fs::canonicalize(&file).unwrap_or(file)),
        config,
        twin: None,
    })
}

/// Whether the cluster file that is found without being named may be used: its options of ssh name programs.
fn trusted() -> Result<(), Fault> {
    let file = Path::new(DEFAULT);
    trust::found(file).map_err(|distrust| Fault::distrusted(&distrust, "--cluster", file))
}

/// The machines beside the cluster of the cluster file, if there is one: what is tried out may name them. One that may not
/// be used is reported, and left out.
pub(super) fn machines(global: &Global) -> Result<Vec<MemberConfig>, Fault> {
    let named = match global.cluster.as_deref() {
        Some(named) if twin(named)?.is_none() => named,
        _ if !Path::new(DEFAULT).exists() => return Ok(Vec::new()),
        _ => {
            if let Err(fault) = trusted() {
                fault.warn();
                return Ok(Vec::new());
            }
            DEFAULT
        }
    };
    if !Path::new(named).exists()
        && let Some(file) = fleets::member(named)?
    {
        let cluster = Some(file);
        return machines(&Global {
            cluster,
            ..global.clone()
        });
    }
    Ok(Config::read(Path::new(named))?.cluster.machines)
}

/// The command line's ssh_config wins over the file's.
pub(super) fn with_ssh_config(cluster: &mut Cluster, global: &Global) {
    if let Some(config) = &global.ssh_config {
        // A run may be resumed from another folder.
        let config = anchored(Path::new(config), Path::new(""));
        cluster.ssh.config = Some(config.display().to_string());
    }
}

/// `twin`, `twin:N` or `twin:N@SET`.
pub(super) fn twin(name: &str) -> Result<Option<Scenario>, Fault> {
    let made = made(name)?;
    Ok(made.map(|made| Scenario {
        epoch: Timestamp::now(),
        ..made.scenario()
    }))
}

/// What a simulated cluster of this name is made of.
pub(super) fn made(name: &str) -> Result<Option<Made>, Fault> {
    let Some(rest) = name.strip_prefix("twin") else {
        return Ok(None);
    };
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok(Some(Made::default())),
        Some(made) => made
            .parse()
            .map(Some)
            .map_err(|why| Fault::usage(format!("{name:?}: {why}"))),
        // A file that happens to begin so.
        None => Ok(None),
    }
}

/// The simulated cluster that `--cluster` names, for commands that know no other. Where it names a file, a default one is
/// played, and that is said.
pub(super) fn simulated(global: &Global) -> Result<Made, Fault> {
    let Some(named) = global.cluster.as_deref() else {
        return Ok(Made::default());
    };
    if let Some(made) = made(named)? {
        return Ok(made);
    }
    let made = Made::default();
    let what = format!("{named} isn't played: this is a simulated cluster of {made} members");
    let like = quote(named);
    Fault::usage(what)
        .help(format!(
            "to model one on it: lockstep rehearse PLAYBOOK --like {like}"
        ))
        .warn();
    Ok(made)
}
