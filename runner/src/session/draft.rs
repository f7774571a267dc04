//! A run from its beginning.

use std::collections::BTreeMap;
use std::path::Path;

use lockstep_modules::contract::op::Registry;
use serde_json::{Map, Value, json};

use super::{Session, SessionError};
use crate::bundle::{Main, digest};
use crate::clock::Clock;
use crate::engine::Start;
use crate::failure::Failure;
use crate::fleet::{self, Labels, Rollout};
use crate::journal::{ClusterRef, FORMAT, Head, Journal, MemoryJournal};
use crate::notify;
use crate::plan::Plan;
use crate::programs;
use crate::runs::Runs;
use crate::script::{Playbook, Script};
use crate::secret::Secrets;
use crate::target::{Target, Way};
use crate::trial::Piece;

/// The seed of everything that is drawn by lot in a run.
const SEED: u64 = 1;

/// A run that can begin: its playbook is loaded, and its parameters are checked. Nothing was written.
pub struct Draft {
    registry: Registry,
    script: Script,
    main: String,
    name: String,
    /// The run's name, where it is known before; a number after the playbook's otherwise.
    id: Option<String>,
    /// Its cluster's labels, where that is one of a fleet.
    labels: Labels,
    params: Value,
    target: Target,
}

/// With what a drafted run begins.
pub struct Begin<'a> {
    /// Who begins it, as `user@host`.
    pub who: String,
    /// Where its folder is made; none for one that leaves nothing to be resumed.
    pub runs: Option<&'a Runs>,
    /// The way to the members, where there is one already.
    pub way: Option<Way>,
    /// What ops are given and nobody gets to see.
    pub secrets: Secrets,
    /// The plan that it has to keep to.
    pub plan: Option<Plan>,
}

impl Draft {
    /// A playbook on a cluster. `typed` are the parameters that somebody typed; the cluster file may have more.
    ///
    /// # Errors
    /// With the line, for anything wrong with the playbook; for parameters that don't fit it.
    pub fn new(
        registry: &Registry,
        main: Main,
        target: &Target,
        typed: &[(String, Value)],
    ) -> Result<Self, Failure> {
        let Main {
            main, name, finder, ..
        } = main;
        let script = Script::load(&main, Box::new(finder), registry, SEED)?;
        Self::with(registry, script, (main, name), target, typed)
    }

    /// As [`Draft::new`], without those of the typed parameters that the playbook doesn't take.
    ///
    /// # Errors
    /// As there.
    pub fn fitting(
        registry: &Registry,
        main: Main,
        target: &Target,
        mut typed: Vec<(String, Value)>,
    ) -> Result<Self, Failure> {
        let Main {
            main, name, finder, ..
        } = main;
        let script = Script::load(&main, Box::new(finder), registry, SEED)?;
        let takes = script.playbook().names();
        typed.retain(|(name, _)| takes.contains(name));
        Self::with(registry, script, (main, name), target, &typed)
    }

    fn with(
        registry: &Registry,
        script: Script,
        (main, name): (String, String),
        target: &Target,
        typed: &[(String, Value)],
    ) -> Result<Self, Failure> {
        let playbook = script.playbook();
        let params = playbook.params(&given(target, &playbook.names(), &name, typed))?;
        let params = anchored(playbook, params, target, &name, typed)?;
        Self::started(registry, script, main, name, target, params)
    }

    /// A rollout of a fleet. `main` is the rollout's playbook, or a site's version of it.
    ///
    /// # Errors
    /// With the line, for anything wrong with its playbook.
    pub fn rollout(
        registry: &Registry,
        main: Main,
        target: &Target,
        rollout: &Rollout,
    ) -> Result<Self, Failure> {
        let registry = fleet::registry(registry);
        let script = Script::load(&main.main, Box::new(main.finder), &registry, SEED)?;
        if main.site && !script.loaded().contains_key(fleet::BASE) {
            let what = format!("{} does not extend the playbook of rollouts", main.main);
            return Err(Failure::script(what));
        }
        let name = fleet::PLAYBOOK.to_owned();
        Self::started(&registry, script, main.main, name, target, json!(rollout))
    }

    /// A script with parameters that are as they should be.
    pub(super) fn started(
        registry: &Registry,
        mut script: Script,
        main: String,
        name: String,
        target: &Target,
        params: Value,
    ) -> Result<Self, Failure> {
        script.start(&target.config.cluster, &params)?;
        Ok(Self {
            registry: registry.clone(),
            script,
            main,
            name,
            id: None,
            labels: Labels::new(),
            params,
            target: target.clone(),
        })
    }

    /// Gives the run a name, so that it is begun once, and the labels of its cluster.
    #[must_use]
    pub fn named(mut self, id: &str, labels: &Labels) -> Self {
        self.id = Some(id.to_owned());
        self.labels.clone_from(labels);
        self
    }

    /// The playbook.
    #[must_use]
    pub fn playbook(&self) -> &Playbook {
        self.script.playbook()
    }

    /// Its parameters: secrets by where they are found.
    #[must_use]
    pub fn params(&self) -> &Value {
        &self.params
    }

    /// What is the same as long as everything that it loads is: the SHA-256 of its Lua modules.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let modules = self.script.loaded();
        let each = modules
            .iter()
            .map(|(name, source)| format!("{name}\0{}\0", source.text));
        digest(each.collect::<String>())
    }

    /// Why this can't be what was planned.
    pub(crate) fn misfit(&self, plan: &Plan) -> Option<String> {
        let piece = Piece {
            registry: self.registry.clone(),
            main: self.main.clone(),
            bundle: self.script.loaded(),
            params: self.playbook().without_secrets(&self.params),
            machines: Vec::new(),
        };
        let cluster = &self.target.config.cluster;
        plan.misfit(&cluster.name, &cluster.names(), &piece)
    }

    /// Makes the run's folder, with all that it takes to resume it. To be called within a runtime.
    ///
    /// # Errors
    /// Where something can't be written, or the cluster can't be worked with.
    pub fn begin(self, begin: Begin<'_>) -> Result<Session, SessionError> {
        let mut folder = match (begin.runs, &self.id) {
            (Some(runs), Some(name)) => Some(runs.create_named(name, &self.labels)?),
            (Some(runs), None) => Some(runs.create(&self.name)?),
            (None, _) => None,
        };
        let simulated = self.target.is_simulated();
        let notify = self.target.config.notify.on(simulated);
        let (mut registry, mut programs, mut bundle) = (self.registry, None, BTreeMap::new());
        let mut journal: Box<dyn Journal> = Box::new(MemoryJournal::default());
        if let Some(folder) = &mut folder {
            folder.lasting = !simulated;
            (registry, programs) =
                programs::capture(&folder.path, &registry, |path| folder.sync(path))?;
            bundle = folder.capture(&self.script.loaded())?;
            if let Some(plan) = &begin.plan {
                plan.keep(folder)?;
            }
            if !notify.is_empty() {
                notify::keep(&folder.path, &notify)?;
            }
            journal = folder.create_journal()?;
        }
        let id = folder.as_ref().map_or(self.name, |f| f.id.clone());
        let cluster = self.target.config.cluster.clone();
        let way = match begin.way {
            Some(way) => way,
            None => match (&self.target.name, begin.runs) {
                (ClusterRef::Fleet(_), Some(runs)) => {
                    Way::jobs(runs, &id, &self.params, &notify, &cluster)?
                }
                _ => {
                    let file = folder.as_ref().map(|f| f.file("twin.json"));
                    self.target.way(file)?
                }
            },
        };
        let head = Head {
            format: FORMAT,
            id: id.clone(),
            playbook: self.main,
            params: self.params,
            lockstep: env!("CARGO_PKG_VERSION").to_owned(),
            target: self.target.name,
            cluster: cluster.clone(),
            seed: SEED,
            bundle,
            programs,
            who: begin.who.clone(),
        };
        Ok(Session {
            id,
            registry,
            cluster,
            way,
            folder,
            script: self.script,
            journal,
            start: Start::Fresh(Box::new(head)),
            clock: Clock::system(),
            approved: begin.plan.map(|plan| plan.approved()),
            secrets: begin.secrets,
            who: begin.who,
        })
    }
}

/// The parameters that are given: those typed, then the cluster file's. Channels in the file are parameters of every
/// playbook that takes them.
pub(crate) fn given(
    target: &Target,
    takes: &[String],
    name: &str,
    typed: &[(String, Value)],
) -> Map<String, Value> {
    let channels = target
        .config
        .channels
        .iter()
        .filter(|(name, _)| takes.contains(name));
    let mut given: Map<String, Value> = channels
        .map(|(name, c)| (name.clone(), Value::from(c.as_str())))
        .collect();
    given.extend(target.config.params.get(name).cloned().unwrap_or_default());
    given.extend(typed.iter().cloned());
    given
}

/// Parameters as a run keeps them: what is found in a file is found from any folder. A path that the cluster file gives
/// begins in the folder of that.
fn anchored(
    playbook: &Playbook,
    mut params: Value,
    target: &Target,
    name: &str,
    typed: &[(String, Value)],
) -> Result<Value, Failure> {
    let of_file = target.config.params.get(name);
    for (name, source) in playbook.secrets(&params)? {
        let typed = typed.iter().any(|(typed, _)| *typed == name);
        let folder = match of_file.filter(|given| !typed && given.contains_key(&name)) {
            Some(_) => &target.config.folder,
            None => Path::new(""),
        };
        params[name] = Value::from(source.anchored(folder).to_string());
    }
    Ok(params)
}
