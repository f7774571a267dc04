//! A run from where its journal ends.

use std::collections::BTreeMap;
use std::path::Path;

use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::op::Registry;

use super::{Session, SessionError};
use crate::bundle::Main;
use crate::clock::Clock;
use crate::config::Notify;
use crate::engine::{Decisions, Resume, Start};
use crate::fleet;
use crate::journal::{ClusterRef, Head, History, Journal};
use crate::notify;
use crate::plan::{self, Plan};
use crate::programs;
use crate::runs::{RunFolder, Runs};
use crate::script::{Script, Source};
use crate::secret::Secrets;
use crate::target::{Way, read_world};

/// A run that isn't over, taken up by this process: no other one has it.
pub struct TakenUp {
    folder: RunFolder,
    journal: Box<dyn Journal>,
    history: History,
}

/// How a run that was taken up continues.
pub struct Choices {
    /// Who resumes it, as `user@host`.
    pub who: String,
    /// Its members, where they are reached in another way than it began with.
    pub cluster: Option<Cluster>,
    /// Who gets to know what it comes to, where those are others than it began with.
    pub notify: Option<Notify>,
    /// What ops are given and nobody gets to see.
    pub secrets: Secrets,
    /// What the operator decided about steps that wait.
    pub decisions: Decisions,
    /// Continue although something else changed the cluster.
    pub trust_cluster: bool,
    /// Abort it.
    pub abort: bool,
    /// Stop following its plan.
    pub without_plan: bool,
    /// Clear the faults of a simulated cluster.
    pub mend: bool,
}

impl TakenUp {
    /// Takes a run up.
    ///
    /// # Errors
    /// Where another process has it, it is over, or its journal can't be read.
    pub fn of(runs: &Runs, id: &str) -> Result<Self, SessionError> {
        let folder = runs.take_up(id)?;
        let (journal, history) = folder.open_journal()?;
        if history.refused() {
            return Err(SessionError::Refused(id.to_owned()));
        }
        if history.end.is_some() {
            return Err(SessionError::Ended(id.to_owned()));
        }
        Ok(Self {
            folder,
            journal,
            history,
        })
    }

    /// What is known of it.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What it began with.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.history.head
    }

    pub(crate) fn is_simulated(&self) -> bool {
        self.head().target.is_simulated()
    }

    /// The ops that it continues with: lockstep's own (or, with `named`, those that a front end made of them and of other
    /// programs), and the programs that the run captured.
    ///
    /// # Errors
    /// Where a program isn't what was captured, or an op that was called is missing.
    pub fn registry(
        &self,
        native: &Registry,
        named: Option<Registry>,
    ) -> Result<Registry, SessionError> {
        let registry = match (named, &self.head().programs) {
            (Some(named), _) => named,
            (None, Some(captured)) => native.with(programs::captured(&self.folder.path, captured)?),
            (None, None) => native.clone(),
        };
        let registry = match &self.head().target {
            ClusterRef::Fleet(_) => fleet::registry(&registry),
            _ => registry,
        };
        let mut called = self.history.steps.values();
        match called.find(|step| registry.op(&step.op).is_err()) {
            None => Ok(registry),
            Some(step) => Err(SessionError::NoSuchOp {
                run: self.head().id.clone(),
                op: step.op.clone(),
            }),
        }
    }

    /// The playbook that it continues with: the one that it captured, or another.
    ///
    /// # Errors
    /// With the line, for anything wrong with it.
    pub fn script(&self, registry: &Registry, named: Option<Main>) -> Result<Script, SessionError> {
        let head = self.head();
        Ok(match named {
            Some(main) => Script::load(&main.main, Box::new(main.finder), registry, head.seed)?,
            None => {
                let captured = Box::new(self.folder.captured(head)?);
                Script::load(&head.playbook, captured, registry, head.seed)?
            }
        })
    }

    /// The sources that it captured; none where they can't be read.
    #[must_use]
    pub fn captured(&self) -> BTreeMap<String, Source> {
        let captured = self.folder.captured(self.head());
        captured.map(|captured| captured.0).unwrap_or_default()
    }

    /// Puts the session together that continues the run. To be called within a runtime.
    ///
    /// # Errors
    /// Where the script doesn't start, or the cluster isn't the run's or can't be worked with.
    pub fn resume(
        self,
        registry: Registry,
        mut script: Script,
        choices: Choices,
    ) -> Result<Session, SessionError> {
        let Self {
            folder,
            journal,
            history,
        } = self;
        let head = &history.head;
        let simulated = head.target.is_simulated();
        if choices.mend && !simulated {
            return Err(SessionError::Real);
        }
        let file = folder.file(plan::KEPT);
        let approved = if file.exists() && !choices.without_plan {
            Some(Plan::read(&file)?.approved())
        } else {
            None
        };
        let cluster = choices.cluster.unwrap_or_else(|| head.cluster.clone());
        if cluster.names() != head.cluster.names() {
            return Err(SessionError::OtherMembers(head.cluster.names().join(", ")));
        }
        script.start(&head.cluster, &head.params)?;
        if let Some(notify) = &choices.notify {
            notify::keep(&folder.path, notify)?;
        }
        let way = match &head.target {
            ClusterRef::Twin(_) => simulation(&folder.file("twin.json"), choices.mend)?,
            ClusterRef::Fleet(_) => {
                let notify = notify::settings(&folder.path);
                Way::jobs(&folder.runs(), &folder.id, &head.params, &notify, &cluster)?
            }
            ClusterRef::File(_) => Way::ssh(&cluster)?,
        };
        // A simulated cluster stood still in the meantime.
        let clock = match &way {
            Way::Members(_) => Clock::system(),
            Way::Twin(twin) => {
                let world = twin.world();
                let world = world.borrow();
                Clock::at(world.timestamp(world.now))
            }
        };
        let resume = Resume {
            history,
            decisions: choices.decisions,
            trust_cluster: choices.trust_cluster,
            abort: choices.abort,
        };
        Ok(Session {
            id: folder.id.clone(),
            registry,
            cluster,
            way,
            folder: Some(folder),
            script,
            journal,
            start: Start::Resumed(Box::new(resume)),
            clock,
            approved,
            secrets: choices.secrets,
            who: choices.who,
        })
    }
}

/// The simulated cluster that an earlier process left in a run's folder.
fn simulation(file: &Path, mend: bool) -> Result<Way, SessionError> {
    let mut world = read_world(file)?;
    if mend {
        world.mend();
    }
    Ok(Way::twin(world, Some(file.to_owned())))
}
