//! Which cluster a command is about, and how it is reached.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::str::FromStr;

use jiff::Timestamp;
use lockstep_modules::contract::cluster::{Cluster, MemberConfig, SshConfig};
use lockstep_modules::contract::reach::Transport;
use lockstep_modules::transport::ssh::Ssh;
use lockstep_twin::{Scenario, Set, Strangers, Twin, World};

use super::exit::{Exit, Fault};
use super::global::Global;
use super::mistakes::near_file;
use crate::config::Config;
use crate::journal::ClusterRef;
use crate::private;
use crate::secret::anchored;
use crate::trust;

/// The cluster file that is taken when none is named.
pub(super) const DEFAULT: &str = "cluster.toml";

/// A cluster, and what its file says beside.
pub(super) struct Target {
    /// As it was named.
    pub(super) name: ClusterRef,
    pub(super) config: Config,
    /// The simulated cluster, if it is one.
    pub(super) twin: Option<Scenario>,
}

impl Target {
    /// A simulated cluster: `name` is what follows "twin".
    pub(super) fn simulated(name: String, scenario: Scenario) -> Self {
        let config = Config {
            cluster: simulated(&scenario),
            channels: Default::default(),
            params: Default::default(),
            folder: PathBuf::new(),
        };
        Self {
            name: ClusterRef::Twin(name),
            config,
            twin: Some(scenario),
        }
    }

    /// The cluster that the command line names.
    pub(super) fn of(global: &Global) -> Result<Self, Fault> {
        let name = global.cluster.clone().unwrap_or_else(|| DEFAULT.to_owned());
        if let Some(scenario) = twin(&name)? {
            let name = name.strip_prefix("twin").unwrap_or_default().to_owned();
            return Ok(Self::simulated(name, scenario));
        }
        if global.cluster.is_none() {
            if !Path::new(DEFAULT).exists() {
                return Err(Fault::usage("which cluster? There is no cluster.toml here").help(
                    "lockstep init USER@MEMBER        writes one\nlockstep … --cluster FILE        names one\nlockstep … --cluster twin:3      simulates one",
                ));
            }
            trusted()?;
        }
        if !Path::new(&name).exists() {
            let near = near_file(Path::new(&name), &["twin:1", "twin:3", "twin:5"]);
            return Err(Fault::usage(format!(
                "there is no cluster file {name:?}{near}"
            )));
        }
        let mut config = Config::read(Path::new(&name))?;
        with_ssh_config(&mut config.cluster, global);
        let file = PathBuf::from(name);
        Ok(Self {
            name: ClusterRef::File(std::fs::canonicalize(&file).unwrap_or(file)),
            config,
            twin: None,
        })
    }
}

/// Whether the cluster file that is found without being named may be used: its options of ssh name programs.
fn trusted() -> Result<(), Fault> {
    let file = Path::new(DEFAULT);
    trust::found(file).map_err(|distrust| Fault::distrusted(&distrust, "--cluster", file))
}

/// The machines beside the cluster of the cluster file, if there is one: what is tried out may name them. One that may not
/// be used is told, and left out.
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
    Ok(Config::read(Path::new(named))?.cluster.machines)
}

/// A scenario's world, with its faults and the machines beside it. What a site calls there is taken to work.
pub(super) fn world(scenario: &Scenario, machines: &[MemberConfig]) -> Result<World, Fault> {
    let mut world = scenario.build();
    world.strangers = Strangers::Succeed;
    world.machines = machines.iter().map(|m| m.name.to_string()).collect();
    for fault in &scenario.faults {
        world.inject(fault.clone()).map_err(Fault::usage)?;
    }
    Ok(world)
}

/// The command line's ssh_config wins over the file's.
pub(super) fn with_ssh_config(cluster: &mut Cluster, global: &Global) {
    if let Some(config) = &global.ssh_config {
        // A run may be resumed from another folder.
        let config = anchored(Path::new(config), Path::new(""));
        cluster.ssh.config = Some(config.display().to_string());
    }
}

/// A simulated cluster as it is typed, `N[@SET]`: how many members, and which MicroCloud it was installed as.
#[derive(Clone, Copy)]
pub(crate) struct Made {
    members: usize,
    set: Set,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            members: 3,
            set: Set::default(),
        }
    }
}

impl FromStr for Made {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (members, set) = match text.split_once('@') {
            Some((members, set)) => (members, set.parse()?),
            None => (text, Set::default()),
        };
        match members.parse() {
            Ok(members @ 1..=50) => Ok(Self { members, set }),
            _ => Err("a simulated cluster has 1 to 50 members, for example twin:4".to_owned()),
        }
    }
}

impl std::fmt::Display for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.members)?;
        match self.set {
            Set::Two => Ok(()),
            set => write!(f, "@{}", set.name()),
        }
    }
}

impl Made {
    pub(super) fn scenario(&self) -> Scenario {
        Scenario {
            microcloud: self.set,
            ..Scenario::of(self.members)
        }
    }
}

/// `twin`, `twin:N` or `twin:N@SET`.
pub(super) fn twin(name: &str) -> Result<Option<Scenario>, Fault> {
    let Some(rest) = name.strip_prefix("twin") else {
        return Ok(None);
    };
    let made = match rest.strip_prefix(':') {
        None if rest.is_empty() => Made::default(),
        Some(made) => made
            .parse()
            .map_err(|why| Fault::usage(format!("{name:?}: {why}")))?,
        // A file that happens to begin so.
        None => return Ok(None),
    };
    Ok(Some(Scenario {
        epoch: Timestamp::now(),
        ..made.scenario()
    }))
}

fn simulated(scenario: &Scenario) -> Cluster {
    let members = scenario
        .names()
        .into_iter()
        .map(MemberConfig::named)
        .collect();
    let of = match scenario.microcloud {
        Set::Two => String::new(),
        set => format!(" on MicroCloud {}", set.name()),
    };
    Cluster {
        name: format!("twin of {}{of}", scenario.members.len()),
        members,
        machines: Vec::new(),
        ssh: SshConfig::default(),
    }
}

/// The way to the members of a real cluster.
pub(super) fn ssh(cluster: &Cluster) -> Result<Rc<dyn Transport>, Fault> {
    let ssh = Ssh::new(cluster).map_err(|e| {
        Fault::new(
            Exit::State,
            format!("no folder for control sockets can be made: {e}"),
        )
    })?;
    Ok(Rc::new(ssh))
}

/// The way to the members of a simulated cluster, which is written down in `file` now and whenever a command has ended: it must
/// outlive this process as a real one would.
pub(super) fn simulation(world: World, file: Option<PathBuf>) -> Twin {
    match file {
        None => Twin::new(world),
        Some(file) => {
            let write = move |world: &World| {
                let text = serde_json::to_string(world).unwrap_or_default();
                let fresh = file.with_extension("new");
                // A simulation that can't be written can't be resumed; its journal will say what went wrong with the disk.
                let _ = private::write(&fresh, &text).and_then(|_| std::fs::rename(&fresh, &file));
            };
            write(&world);
            Twin::watched(world, write)
        }
    }
}

/// A simulated cluster as an earlier process left it.
pub(super) fn read_world(file: &Path) -> Result<World, Fault> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        Fault::new(
            Exit::State,
            format!(
                "the simulated cluster {} can't be read: {e}",
                file.display()
            ),
        )
    })?;
    serde_json::from_str(&text).map_err(|e| {
        Fault::new(
            Exit::State,
            format!("the simulated cluster {} is damaged: {e}", file.display()),
        )
    })
}
