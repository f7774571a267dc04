//! A trial: a playbook on a simulated cluster, with a journal in memory, whose controller can be killed and come back.
//!
//! Plans, rehearsals in a library's way, `check` and the project's own tests all play through here. The world and the
//! journal outlive every process; time is virtual; the same trial gives the same events to the byte.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use lockstep_modules::contract::cluster::{Cluster, MemberConfig, SshConfig};
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::reach::Transport;
use lockstep_twin::{Twin, World};
use serde_json::{Map, Value};
use tokio::sync::watch;

use crate::bundle::Captured;
use crate::clock::{self, Clock};
use crate::engine::{Answer, Decisions, Engine, EngineError, Finish, Resume, Start, Stop, Tools};
use crate::event::{Events, Heard, Kept, Stamped};
use crate::failure::Failure;
use crate::journal::{
    ClusterRef, Crash, FORMAT, Head, History, Journal, JournalError, MemoryJournal, Record,
};
use crate::script::Script;
use crate::secret::Secrets;
use crate::source::{Source, Sources};

/// A playbook that never ends is stopped after this much virtual time.
pub(crate) const ENDLESS: Duration = Duration::from_secs(7 * 24 * 3600);

/// A playbook with its parameters, ready to be played any number of times, on any thread.
#[derive(Clone)]
pub struct Piece {
    pub(crate) registry: Registry,
    pub(crate) main: String,
    /// Every source that it loads.
    pub bundle: BTreeMap<String, Source>,
    /// Its parameters, checked.
    pub params: Value,
    /// Beside the members, machines that its steps may name.
    pub(crate) machines: Vec<MemberConfig>,
}

/// A simulated cluster with a run on it.
pub struct Trial {
    /// The cluster.
    pub world: World,
    /// The journal.
    pub journal: MemoryJournal,
    /// The events of the last process.
    pub events: Vec<Stamped>,
    /// Which of them there are.
    pub heard: Heard,
    /// What every question is answered with.
    pub answer: Answer,
    /// A failure is delivered instead of holding the run.
    pub deliver_failures: bool,
    /// Where nothing is left but to wait for a time, a process ends until then.
    pub no_wait: bool,
    /// What plays it. Another one with the same journal is another process that took the run up.
    pub controller: String,
    /// The way of a process to the cluster.
    pub way: Rc<dyn Fn(Twin) -> Rc<dyn Transport>>,
    /// What is played.
    pub piece: Piece,
}

/// Who plays trials.
const WHO: &str = "nobody@twin";

/// How a process ended.
#[derive(Debug)]
pub enum Ended {
    /// In order.
    Finish(Finish),
    /// It was killed.
    Killed,
    /// It would never have ended.
    Endless,
    /// It could not continue.
    Error(EngineError),
}

impl Piece {
    /// Loads a playbook. `given` are parameters as somebody typed them.
    ///
    /// # Errors
    /// With the line, for anything wrong with it or with the parameters.
    pub fn load(
        main: &str,
        sources: Box<dyn Sources>,
        registry: &Registry,
        given: &Map<String, Value>,
    ) -> Result<Self, Failure> {
        let script = Script::load(main, sources, registry, 1)?;
        Ok(Self {
            registry: registry.clone(),
            main: main.to_owned(),
            bundle: script.loaded(),
            params: checked(&script, given)?,
            machines: Vec::new(),
        })
    }

    /// The names of the playbook's parameters.
    pub(crate) fn takes(&self) -> Result<Vec<String>, Failure> {
        Ok(self.script()?.playbook().names())
    }

    /// Gives it other parameters.
    pub(crate) fn give(&mut self, given: &Map<String, Value>) -> Result<(), Failure> {
        self.params = checked(&self.script()?, given)?;
        Ok(())
    }

    fn script(&self) -> Result<Script, Failure> {
        let sources = Box::new(Captured(self.bundle.clone()));
        Script::load(&self.main, sources, &self.registry, 1)
    }
}

/// Parameters as a trial takes them. Nothing secret is needed there.
fn checked(script: &Script, given: &Map<String, Value>) -> Result<Value, Failure> {
    let playbook = script.playbook();
    Ok(playbook.without_secrets(&playbook.params(given)?))
}

impl Trial {
    /// A piece on a cluster.
    #[must_use]
    pub fn new(piece: Piece, world: World) -> Self {
        Self {
            world,
            journal: MemoryJournal::default(),
            events: Vec::new(),
            heard: Heard::Everything,
            answer: Answer::Nobody,
            deliver_failures: false,
            no_wait: false,
            controller: "first".to_owned(),
            way: Rc::new(|twin| Rc::new(twin)),
            piece,
        }
    }

    /// The cluster, as a run sees it.
    pub(crate) fn cluster(&self) -> Cluster {
        let names = self.world.members.keys();
        Cluster {
            name: "twin".to_owned(),
            members: names
                .map(|name| MemberConfig::named(name.as_str()))
                .collect(),
            machines: self.piece.machines.clone(),
            ssh: SshConfig::default(),
        }
    }

    fn head(&self) -> Head {
        Head {
            format: FORMAT,
            id: format!("{}-1", self.piece.main),
            playbook: self.piece.main.clone(),
            params: self.piece.params.clone(),
            lockstep: env!("CARGO_PKG_VERSION").to_owned(),
            target: ClusterRef::Twin(String::new()),
            cluster: self.cluster(),
            seed: 1,
            bundle: BTreeMap::new(),
            programs: None,
            who: WHO.to_owned(),
        }
    }

    /// Runs the playbook from its beginning.
    ///
    /// # Errors
    /// Where the playbook can't be loaded.
    pub fn run(&mut self) -> Result<Ended, Failure> {
        let journal = self.journal.clone();
        self.run_on(Box::new(journal))
    }

    /// Runs it with another journal.
    ///
    /// # Errors
    /// As [`Trial::run`].
    pub fn run_on(&mut self, journal: Box<dyn Journal>) -> Result<Ended, Failure> {
        let start = Start::Fresh(Box::new(self.head()));
        self.process(journal, start)
    }

    /// Runs it until its journal crashes.
    ///
    /// # Errors
    /// As [`Trial::run`].
    pub fn run_until(&mut self, crash: Crash) -> Result<Ended, Failure> {
        let journal = self.journal.crashing(crash);
        self.run_on(Box::new(journal))
    }

    /// Continues the run, with decisions, until it ends, or until its journal crashes if a crash is given.
    ///
    /// # Errors
    /// As [`Trial::run`], and where the journal can't be read.
    pub fn resume(
        &mut self,
        decisions: Decisions,
        trust_cluster: bool,
        crash: Option<Crash>,
    ) -> Result<Ended, Failure> {
        self.continued(decisions, trust_cluster, false, crash)
    }

    /// Aborts the run; until its journal crashes, if a crash is given.
    ///
    /// # Errors
    /// As [`Trial::resume`].
    pub fn abort(&mut self, crash: Option<Crash>) -> Result<Ended, Failure> {
        self.continued(Decisions::default(), false, true, crash)
    }

    fn begin(&mut self, crash: Option<Crash>) -> Result<Ended, Failure> {
        match crash {
            Some(crash) => self.run_until(crash),
            None => self.run(),
        }
    }

    fn continued(
        &mut self,
        decisions: Decisions,
        trust_cluster: bool,
        abort: bool,
        crash: Option<Crash>,
    ) -> Result<Ended, Failure> {
        let (journal, records) = self.journal.reopen().map_err(|e| unreadable(&e))?;
        let history = match History::of(records) {
            // Killed before anything was written: nothing has begun.
            Err(JournalError::Empty) => return self.begin(crash),
            history => history.map_err(|e| unreadable(&e))?,
        };
        if history.refused() {
            // It is over; the operator types the same command again.
            self.journal = MemoryJournal::default();
            return self.begin(crash);
        }
        let journal = match crash {
            Some(crash) => self.journal.crashing(crash),
            None => journal,
        };
        let resume = Resume {
            history,
            decisions,
            trust_cluster,
            abort,
        };
        self.process(Box::new(journal), Start::Resumed(Box::new(resume)))
    }

    /// Lets time pass while no controller is there.
    pub fn wait(&mut self, downtime: Duration) {
        let until = self.world.now + u64::try_from(downtime.as_millis()).unwrap_or(u64::MAX / 2);
        self.world.advance(until);
    }

    fn process(&mut self, journal: Box<dyn Journal>, start: Start) -> Result<Ended, Failure> {
        let runtime = clock::simulated(&self.piece.registry)
            .map_err(|e| Failure::script(format!("no runtime can be made: {e}")))?;
        runtime.block_on(self.play(journal, start))
    }

    async fn play(&mut self, journal: Box<dyn Journal>, start: Start) -> Result<Ended, Failure> {
        let piece = &self.piece;
        let sources = Box::new(Captured(piece.bundle.clone()));
        let mut script = Script::load(&piece.main, sources, &piece.registry, 1)?;
        let cluster = self.cluster();
        script.start(&cluster, &piece.params)?;
        let secrets = Secrets::simulated(script.playbook().names_of_secrets());
        let clock = Clock::at(self.world.timestamp(self.world.now));
        // The world goes where commands can reach it, and comes back with what they did.
        let twin = Twin::new(std::mem::take(&mut self.world));
        let (world, time) = (twin.world(), twin.clone());
        let kept = Kept::default();
        let (_sender, stop) = watch::channel(Stop::No);
        let tools = Tools {
            run: start.run(clock.now(), WHO, self.controller.clone()),
            registry: piece.registry.clone(),
            cluster,
            transport: (self.way)(twin),
            clock,
            events: Events::new(clock, vec![Box::new(kept.clone())]).heard(self.heard),
            asker: Rc::new(self.answer),
            secrets: Rc::new(secrets),
            stop,
            deliver_failures: self.deliver_failures,
            no_wait: self.no_wait,
            approved: None,
            who: WHO.to_owned(),
        };
        let run = Engine::new(script, journal, tools).run(start);
        let result = tokio::time::timeout(ENDLESS, run).await;
        time.advance();
        self.world = std::mem::take(&mut *world.borrow_mut());
        self.events = std::mem::take(&mut *kept.0.borrow_mut());
        Ok(match result {
            Err(_) => Ended::Endless,
            Ok(Ok(finish)) => Ended::Finish(finish),
            Ok(Err(EngineError::Journal(_))) if self.journal.is_endless() => Ended::Endless,
            Ok(Err(EngineError::Journal(_))) => Ended::Killed,
            Ok(Err(error)) => Ended::Error(error),
        })
    }

    /// What the journal says.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn history(&self) -> Result<History, JournalError> {
        History::of(self.journal.reopen()?.1)
    }

    /// The records of the journal, without their times.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn records(&self) -> Result<Vec<Record>, JournalError> {
        let (_, records) = self.journal.reopen()?;
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }
}

fn unreadable(error: &JournalError) -> Failure {
    Failure::script(error.to_string())
}
