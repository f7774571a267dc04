//! The fleet's file: which clusters there are, and how a rollout takes them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use lockstep_modules::contract::cluster::MemberConfig;
use lockstep_modules::contract::near;
use lockstep_modules::contract::schema::Span;
use lockstep_modules::ops::time::Hours;
use lockstep_twin::Fault;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::executor::{ExecutorConfig, program_in};
use super::select::{Labels, Selector};
use crate::clock;
use crate::config::{ConfigError, Notify, as_reached, check_machines, explain};
use crate::secret::anchored;

/// A fleet's file, read and checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Fleet {
    /// What people call it.
    pub name: String,
    /// The clusters, in the file's order.
    pub clusters: Vec<FleetCluster>,
    /// Windows by name.
    pub(super) windows: BTreeMap<String, Hours>,
    /// Executors by name.
    pub(super) executors: BTreeMap<String, ExecutorConfig>,
    /// Rings, in order.
    pub(super) rings: Vec<RingFile>,
    /// The site's version of the rollout's playbook: a file that extends it.
    pub hooks: Option<PathBuf>,
    /// Machines beside the clusters, on which hooks may run programs.
    pub machines: Vec<MemberConfig>,
    /// Who gets to know what rollouts and the runs of clusters come to.
    pub notify: Notify,
}

/// A cluster of a fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct FleetCluster {
    /// Its name in the fleet.
    pub name: String,
    /// Its cluster file, or a simulated cluster, as `--cluster` takes it. A file is an absolute path.
    pub cluster: String,
    /// What it is selected by.
    pub labels: Labels,
    /// The window in which its run may begin, by name; none for any time.
    pub window: Option<String>,
    /// What begins its run.
    pub executor: String,
    /// Parameters, by playbook.
    pub params: Params,
    /// Every question of its run is answered with yes.
    pub yes: bool,
    /// What goes wrong on a simulated cluster.
    pub faults: Vec<Fault>,
}

/// Parameters by playbook.
type Params = BTreeMap<String, Map<String, Value>>;

/// The executor of clusters that name none, and that is there without being declared.
const DEFAULT: &str = "default";

/// How long a program that lists clusters may take, in seconds.
const PATIENCE: &str = "60";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    include: Vec<PathBuf>,
    #[serde(default)]
    program: Vec<String>,
    #[serde(default)]
    windows: BTreeMap<String, Hours>,
    #[serde(default)]
    executor: BTreeMap<String, ExecutorConfig>,
    #[serde(default)]
    params: Params,
    #[serde(default)]
    overrides: Vec<Override>,
    #[serde(default)]
    clusters: Vec<ClusterFile>,
    #[serde(default)]
    rollout: RolloutFile,
    #[serde(default)]
    machines: Vec<MemberConfig>,
    #[serde(default)]
    notify: Notify,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Override {
    select: String,
    #[serde(default)]
    params: Params,
    window: Option<String>,
    executor: Option<String>,
    #[serde(default)]
    yes: bool,
}

/// A file that is included, and what a program prints, is a list of these.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClusterFile {
    name: String,
    file: String,
    #[serde(default)]
    labels: Labels,
    window: Option<String>,
    executor: Option<String>,
    #[serde(default)]
    params: Params,
    #[serde(default)]
    yes: bool,
    #[serde(default)]
    faults: Vec<Fault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Included {
    clusters: Vec<ClusterFile>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RolloutFile {
    hooks: Option<PathBuf>,
    #[serde(default)]
    rings: Vec<RingFile>,
}

/// A ring, as it is written.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RingFile {
    pub(super) name: String,
    #[serde(default)]
    pub(super) select: String,
    /// Of those that fit.
    pub(super) share: Option<Amount>,
    #[serde(default = "one")]
    pub(super) limit: u32,
    #[serde(default)]
    pub(super) budget: Amount,
    pub(super) soak: Option<Span>,
    #[serde(default)]
    pub(super) approve: bool,
    #[serde(default)]
    pub(super) approve_plans: bool,
    #[serde(default)]
    pub(super) stage: bool,
}

fn one() -> u32 {
    1
}

/// A number of clusters, or a percentage of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub(super) enum Amount {
    Count(u32),
    Percent(u32),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Count(u32),
    Text(String),
}

impl Default for Amount {
    fn default() -> Self {
        Self::Count(0)
    }
}

impl TryFrom<Written> for Amount {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let text = match written {
            Written::Count(count) => return Ok(Self::Count(count)),
            Written::Text(text) => text,
        };
        let percent = text
            .strip_suffix('%')
            .and_then(|number| number.trim().parse().ok());
        match percent {
            Some(percent @ 0..=100) => Ok(Self::Percent(percent)),
            _ => Err(format!(
                "{text:?} is neither a number nor a percentage: write for example 3 or \"10%\""
            )),
        }
    }
}

impl Amount {
    /// How many of this many.
    pub(super) fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) => all * percent as usize / 100,
        }
    }
}

/// What is wrong with a fleet.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// The file, or one that it includes, can't be read or isn't what it should be.
    #[error(transparent)]
    File(#[from] ConfigError),
    /// The program that lists clusters doesn't.
    #[error("{program}, which lists the clusters of the fleet, {why}")]
    Program {
        /// The program.
        program: String,
        /// What it did instead.
        why: String,
    },
    /// Its clusters and rings don't fit each other.
    #[error("{0}")]
    Rings(String),
}

/// A mistake: the text to be found in the file, and what is wrong there.
type Mistake = (String, String);

impl Fleet {
    /// Reads a fleet's file, what it includes, and what its program prints.
    ///
    /// # Errors
    /// With line and column, and a near match for what isn't known.
    pub fn read(path: &Path) -> Result<Self, FleetError> {
        let text = text_of(path)?;
        let file: File = parsed(path, &text)?;
        let folder = folder_of(path);
        let mistake = |(needle, what): Mistake| {
            FleetError::from(ConfigError::invalid(
                path,
                &text,
                text.rfind(&needle).unwrap_or(0),
                what,
            ))
        };
        check(&file).map_err(mistake)?;
        let mut machines = file.machines;
        check_machines(machines.iter()).map_err(mistake)?;
        for machine in &mut machines {
            as_reached(machine, &folder);
        }
        let (mut executors, mut notify) = (file.executor, file.notify);
        notify.anchor(&folder);
        for (name, executor) in &mut executors {
            executor.anchor(&folder);
            if let Some(wrong) = executor.wrong() {
                let what = format!("the executor {name:?} {wrong}");
                return Err(mistake((format!("executor.{name}"), what)));
            }
        }
        executors.entry(DEFAULT.to_owned()).or_default();
        let mut fleet = Self {
            name: file.name,
            clusters: Vec::new(),
            windows: file.windows,
            executors,
            rings: file.rollout.rings,
            hooks: file.rollout.hooks.map(|hooks| anchored(&hooks, &folder)),
            machines,
            notify,
        };
        fleet.add(file.clusters, &folder).map_err(mistake)?;
        for included in &file.include {
            fleet.include(&anchored(included, &folder))?;
        }
        if let Some((program, args)) = file.program.split_first() {
            let clusters = listed(program, args, &folder)?;
            let wrong =
                |(_, why): Mistake| printed(program, format!("printed what can't be: {why}"));
            fleet.add(clusters, &folder).map_err(wrong)?;
        }
        if fleet.clusters.is_empty() {
            return Err(mistake((
                "name".to_owned(),
                "the fleet has no clusters".to_owned(),
            )));
        }
        let is_cluster = |machine: &&MemberConfig| {
            fleet
                .clusters
                .iter()
                .any(|c| c.name == machine.name.as_str())
        };
        if let Some(machine) = fleet.machines.iter().find(is_cluster) {
            let what = format!("{:?} is a machine and a cluster", machine.name);
            return Err(mistake((format!("{:?}", machine.name), what)));
        }
        fleet
            .adapt(&file.params, &file.overrides)
            .map_err(mistake)?;
        Ok(fleet)
    }

    /// The cluster of this name.
    ///
    /// # Errors
    /// With a near match.
    pub fn cluster(&self, name: &str) -> Result<&FleetCluster, FleetError> {
        let known: Vec<&str> = self
            .clusters
            .iter()
            .map(|cluster| cluster.name.as_str())
            .collect();
        self.clusters
            .iter()
            .find(|cluster| cluster.name == name)
            .ok_or_else(|| {
                let hint = near::hint(name, &known);
                FleetError::Rings(format!(
                    "there is no cluster {name:?} in the fleet {}{hint}",
                    self.name
                ))
            })
    }

    /// Takes in a file, or all TOML files of a folder.
    fn include(&mut self, path: &Path) -> Result<(), FleetError> {
        if path.is_dir() {
            let unreadable = |error| ConfigError::unreadable(path, error);
            let entries = std::fs::read_dir(path).map_err(unreadable)?;
            let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            files.retain(|file| file.extension().is_some_and(|ending| ending == "toml"));
            files.sort();
            return files.iter().try_for_each(|file| self.include(file));
        }
        let text = text_of(path)?;
        let included: Included = parsed(path, &text)?;
        self.add(included.clusters, &folder_of(path))
            .map_err(|(needle, what)| {
                ConfigError::invalid(path, &text, text.rfind(&needle).unwrap_or(0), what).into()
            })
    }

    /// Takes in clusters whose files are named from `folder`.
    fn add(&mut self, clusters: Vec<ClusterFile>, folder: &Path) -> Result<(), Mistake> {
        let mut seen: BTreeSet<String> = self
            .clusters
            .iter()
            .map(|cluster| cluster.name.clone())
            .collect();
        for cluster in clusters {
            let quoted = format!("{:?}", cluster.name);
            let odd = |c: char| c.is_whitespace() || c.is_control() || "/#+".contains(c);
            if cluster.name.is_empty()
                || cluster.name.starts_with('.')
                || cluster.name.contains(odd)
            {
                let what =
                    format!("{quoted} can't be the name of a cluster: no '/', '#', '+' or spaces");
                return Err((quoted, what));
            }
            if !seen.insert(cluster.name.clone()) {
                let what = format!("there are two clusters called {quoted}");
                return Err((quoted, what));
            }
            known("window", cluster.window.as_ref(), &self.windows)?;
            known("executor", cluster.executor.as_ref(), &self.executors)?;
            let simulated = cluster.file == "twin" || cluster.file.starts_with("twin:");
            if !simulated && !cluster.faults.is_empty() {
                let what = format!("{quoted} is a real cluster: only simulated ones have faults");
                return Err((quoted, what));
            }
            let file = match simulated {
                true => cluster.file,
                false => anchored(Path::new(&cluster.file), folder)
                    .display()
                    .to_string(),
            };
            self.clusters.push(FleetCluster {
                name: cluster.name,
                cluster: file,
                labels: cluster.labels,
                window: cluster.window,
                executor: cluster.executor.unwrap_or_else(|| DEFAULT.to_owned()),
                params: cluster.params,
                yes: cluster.yes,
                faults: cluster.faults,
            });
        }
        Ok(())
    }

    /// Gives the clusters what the file says for all of them, then by their labels; what a cluster says itself wins.
    fn adapt(&mut self, params: &Params, overrides: &[Override]) -> Result<(), Mistake> {
        let mut selected = Vec::new();
        for change in overrides {
            let quoted = format!("{:?}", change.select);
            let wrong = |what| (quoted.clone(), what);
            let selector = Selector::parse(&change.select).map_err(wrong)?;
            let all = self
                .clusters
                .iter()
                .map(|cluster| (cluster.name.as_str(), &cluster.labels));
            if let Some(what) = selector.complaint(&all) {
                return Err((quoted, what));
            }
            known("window", change.window.as_ref(), &self.windows)?;
            known("executor", change.executor.as_ref(), &self.executors)?;
            selected.push((selector, change));
        }
        for cluster in &mut self.clusters {
            let mut all = params.clone();
            let (mut window, mut executor) = (None, None);
            for (_, change) in selected
                .iter()
                .filter(|(s, _)| s.selects(&cluster.name, &cluster.labels))
            {
                merge(&mut all, &change.params);
                window = change.window.clone().or(window);
                executor = change.executor.clone().or(executor);
                cluster.yes |= change.yes;
            }
            merge(&mut all, &cluster.params);
            cluster.params = all;
            cluster.window = cluster.window.take().or(window);
            if let (DEFAULT, Some(executor)) = (cluster.executor.as_str(), executor) {
                cluster.executor = executor;
            }
        }
        Ok(())
    }
}

/// What the types can't say of the file as it is written.
fn check(file: &File) -> Result<(), Mistake> {
    file.notify.check()?;
    for (name, hours) in &file.windows {
        hours.check(clock::now()).map_err(|why| {
            (
                format!("windows.{name}"),
                format!("the window {name:?}: {why}"),
            )
        })?;
    }
    let mut seen = BTreeSet::new();
    for ring in &file.rollout.rings {
        let quoted = format!("{:?}", ring.name);
        let wrong = |what: String| Err((quoted.clone(), format!("the ring {quoted} {what}")));
        if ring.name.is_empty()
            || ring
                .name
                .contains(|c: char| c.is_control() || "/#".contains(c))
        {
            return wrong("needs a name without '/' and '#'".to_owned());
        }
        if !seen.insert(&ring.name) {
            return wrong("stands there twice".to_owned());
        }
        if ring.limit == 0 {
            return wrong("has a limit of 0: it would never start anything".to_owned());
        }
        if matches!(ring.share, Some(Amount::Count(0) | Amount::Percent(0))) {
            return wrong("has a share of nothing".to_owned());
        }
        if let Err(why) = Selector::parse(&ring.select) {
            return wrong(format!("selects nobody: {why}"));
        }
    }
    Ok(())
}

/// Refuses the name of something that isn't declared.
fn known<T>(what: &str, name: Option<&String>, all: &BTreeMap<String, T>) -> Result<(), Mistake> {
    let Some(name) = name.filter(|name| !all.contains_key(*name)) else {
        return Ok(());
    };
    let names: Vec<&str> = all.keys().map(String::as_str).collect();
    let hint = near::hint(name, &names);
    Err((
        format!("{name:?}"),
        format!("there is no {what} {name:?}{hint}"),
    ))
}

fn merge(all: &mut Params, more: &Params) {
    for (playbook, params) in more {
        let known = all.entry(playbook.clone()).or_default();
        known.extend(params.clone());
    }
}

/// The clusters that a program prints, as a JSON list.
fn listed(program: &str, args: &[String], folder: &Path) -> Result<Vec<ClusterFile>, FleetError> {
    let path = program_in(folder, program);
    let output = Command::new("timeout")
        .arg(PATIENCE)
        .arg(&path)
        .args(args)
        .current_dir(folder)
        .output();
    let output = output.map_err(|error| printed(program, format!("can't be started: {error}")))?;
    match output.status.code() {
        Some(0) => serde_json::from_slice(&output.stdout).map_err(|error| {
            printed(
                program,
                format!("printed something else than a JSON list of clusters: {error}"),
            )
        }),
        Some(124) => Err(printed(program, format!("did not end within {PATIENCE} s"))),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.trim().lines().next_back().unwrap_or("it said nothing");
            Err(printed(
                program,
                format!("failed ({}): {last}", output.status),
            ))
        }
    }
}

fn printed(program: &str, why: String) -> FleetError {
    FleetError::Program {
        program: program.to_owned(),
        why,
    }
}

fn text_of(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, error))
}

fn parsed<T: serde::de::DeserializeOwned>(path: &Path, text: &str) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ConfigError::invalid(path, text, at, explain(error.message()))
    })
}

/// The folder in which a file's relative paths begin.
fn folder_of(path: &Path) -> PathBuf {
    let folder = path.parent().unwrap_or(Path::new(""));
    std::path::absolute(folder.join(".")).unwrap_or_else(|_| folder.to_owned())
}
