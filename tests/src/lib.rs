//! The bench that tests stand on: a cluster, a journal and a playbook, whose controller can be killed and come back.

pub mod lab;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use lockstep::bundle::{Captured, Finder, Playbooks};
use lockstep::clock::Clock;
use lockstep::engine::{
    Answer, Decisions, Engine, EngineError, Finish, Resume, Start, Stop, Tools,
};
use lockstep::event::{Events, Kept, Stamped};
use lockstep::journal::{Crash, FORMAT, Head, History, MemoryJournal, Record};
use lockstep::script::{Script, Source, Sources};
use lockstep_modules::cluster::{Cluster, MemberConfig, SshConfig};
use lockstep_modules::op::Registry;
use lockstep_twin::{Scenario, Twin, World};
use serde_json::{Value, json};
use tokio::sync::watch;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// A simulated cluster with a run on it. The world and the journal outlive every process.
pub struct Bench {
    /// The cluster.
    pub world: World,
    /// The journal.
    pub journal: MemoryJournal,
    /// The events of the last process.
    pub events: Vec<Stamped>,
    /// What every question is answered with.
    pub answer: Answer,
    /// A failure is delivered instead of holding the run.
    pub deliver_failures: bool,
    registry: Registry,
    main: String,
    bundle: BTreeMap<String, Source>,
    params: Value,
}

/// How a process ended.
#[derive(Debug)]
pub enum Ended {
    /// In order.
    Finish(Finish),
    /// It was killed.
    Killed,
    /// It could not go on.
    Error(EngineError),
}

impl Ended {
    /// The playbook's result.
    ///
    /// # Panics
    /// Where it ended otherwise.
    pub fn done(self) -> Value {
        match self {
            Self::Finish(Finish::Done(value)) => value,
            other => panic!("the run was to be done, and it is {other:?}"),
        }
    }

    /// The only step it is held at, and its failure.
    ///
    /// # Panics
    /// Where it ended otherwise.
    pub fn held(self) -> lockstep::engine::Held {
        match self {
            Self::Finish(Finish::Held(mut held)) if held.len() == 1 => held.remove(0),
            other => panic!("the run was to be held at one step, and it is {other:?}"),
        }
    }

    /// Why it is suspended.
    ///
    /// # Panics
    /// Where it ended otherwise.
    pub fn suspended(self) -> String {
        match self {
            Self::Finish(Finish::Suspended(why)) => why,
            other => panic!("the run was to be suspended, and it is {other:?}"),
        }
    }
}

/// One text, whatever is asked for.
struct Text(String);

impl Sources for Text {
    fn find(&self, name: &str) -> Result<Source, String> {
        match name {
            "test" => Ok(Source {
                chunk: "test.lua".to_owned(),
                text: self.0.clone(),
            }),
            other => Finder::site(Path::new("nowhere/test.lua"), Playbooks::Shipped).find(other),
        }
    }
}

impl Bench {
    /// A shipped playbook on a cluster of this scenario.
    #[must_use]
    pub fn shipped(playbook: &str, scenario: &Scenario, params: &Value) -> Self {
        Self::new(
            playbook,
            Box::new(Finder::shipped(Playbooks::Shipped)),
            scenario,
            params,
        )
    }

    /// An update of a cluster of so many members.
    #[must_use]
    pub fn update(members: usize) -> Self {
        Self::shipped("update", &Scenario::of(members), &json!({}))
    }

    /// A playbook whose `run` has this body, on a cluster of so many members.
    #[must_use]
    pub fn playing(body: &str, members: usize) -> Self {
        let text = format!("return {{ api = 1, run = function(cluster, p)\n{body}\nend }}\n");
        Self::new(
            "test",
            Box::new(Text(text)),
            &Scenario::of(members),
            &json!({}),
        )
    }

    fn new(main: &str, sources: Box<dyn Sources>, scenario: &Scenario, params: &Value) -> Self {
        let registry = lockstep_modules::registry();
        let script = Script::load(main, sources, &registry, 1)
            .unwrap_or_else(|e| panic!("{main}: {e} ({:?})", e.site));
        let given = params.as_object().cloned().unwrap_or_default();
        let params = script
            .playbook()
            .params(&given)
            .unwrap_or_else(|e| panic!("{main}: {e}"));
        Self {
            world: scenario.build(),
            journal: MemoryJournal::default(),
            events: Vec::new(),
            answer: Answer::Nobody,
            deliver_failures: false,
            registry,
            main: main.to_owned(),
            bundle: script.loaded(),
            params,
        }
    }

    /// Replaces the body of a playbook made by [`Bench::playing`], as an operator would who mends it while it is held.
    pub fn edit(&mut self, body: &str) {
        let text = format!("return {{ api = 1, run = function(cluster, p)\n{body}\nend }}\n");
        self.bundle.insert(
            "test".to_owned(),
            Source {
                chunk: "test.lua".to_owned(),
                text,
            },
        );
    }

    fn cluster(&self) -> Cluster {
        let members = self.world.members.keys().map(MemberConfig::named).collect();
        Cluster {
            name: "bench".to_owned(),
            members,
            machines: Vec::new(),
            ssh: SshConfig::default(),
        }
    }

    fn head(&self) -> Head {
        Head {
            format: FORMAT,
            id: format!("{}-1", self.main),
            playbook: self.main.clone(),
            params: self.params.clone(),
            lockstep: "test".to_owned(),
            target: "bench".to_owned(),
            cluster: self.cluster(),
            seed: 1,
            bundle: BTreeMap::new(),
            who: "tester@bench".to_owned(),
        }
    }

    /// The same playbook on a copy of the cluster, with a journal of its own.
    #[must_use]
    pub fn fresh_copy(&self) -> Self {
        Self {
            world: self.world.clone(),
            journal: MemoryJournal::default(),
            events: Vec::new(),
            answer: self.answer,
            deliver_failures: self.deliver_failures,
            registry: self.registry.clone(),
            main: self.main.clone(),
            bundle: self.bundle.clone(),
            params: self.params.clone(),
        }
    }

    /// Runs the playbook from its beginning.
    pub fn run(&mut self) -> Ended {
        let start = Start::Fresh(Box::new(self.head()));
        let journal = self.journal.clone();
        self.process(journal, start)
    }

    /// Runs it until its journal crashes.
    pub fn run_until(&mut self, crash: Crash) -> Ended {
        let start = Start::Fresh(Box::new(self.head()));
        let journal = self.journal.crashing(crash);
        self.process(journal, start)
    }

    /// Goes on with the run.
    pub fn resume(&mut self) -> Ended {
        self.resume_with(Decisions::default(), false)
    }

    /// Goes on with the run, with decisions.
    ///
    /// # Panics
    /// Where the journal can't be read.
    pub fn resume_with(&mut self, decisions: Decisions, trust_cluster: bool) -> Ended {
        let (journal, records) = self
            .journal
            .reopen()
            .unwrap_or_else(|e| panic!("{e}\n{}", self.journal.text()));
        if records.is_empty() {
            // Killed before anything was written: nothing has begun.
            return self.run();
        }
        let history =
            History::of(records).unwrap_or_else(|e| panic!("{e}\n{}", self.journal.text()));
        let start = Start::Resumed(Box::new(Resume {
            history,
            decisions,
            trust_cluster,
            abort: false,
        }));
        self.process(journal, start)
    }

    /// Aborts the run.
    ///
    /// # Panics
    /// Where the journal can't be read.
    pub fn abort(&mut self) -> Ended {
        let (journal, start) = self.aborting();
        self.process(journal, start)
    }

    /// Aborts the run until its journal crashes.
    ///
    /// # Panics
    /// Where the journal can't be read.
    pub fn abort_until(&mut self, crash: Crash) -> Ended {
        let (_, start) = self.aborting();
        let journal = self.journal.crashing(crash);
        self.process(journal, start)
    }

    fn aborting(&self) -> (MemoryJournal, Start) {
        let (journal, records) = self
            .journal
            .reopen()
            .unwrap_or_else(|e| panic!("{e}\n{}", self.journal.text()));
        let history =
            History::of(records).unwrap_or_else(|e| panic!("{e}\n{}", self.journal.text()));
        let resume = Resume {
            history,
            decisions: Decisions::default(),
            trust_cluster: false,
            abort: true,
        };
        (journal, Start::Resumed(Box::new(resume)))
    }

    /// Goes on with the run until its journal crashes again.
    ///
    /// # Panics
    /// Where the journal can't be read.
    pub fn resume_until(&mut self, crash: Crash) -> Ended {
        let (_, records) = self
            .journal
            .reopen()
            .unwrap_or_else(|e| panic!("{e}\n{}", self.journal.text()));
        let history =
            History::of(records).unwrap_or_else(|e| panic!("{e}\n{}", self.journal.text()));
        let resume = Resume {
            history,
            decisions: Decisions::default(),
            trust_cluster: false,
            abort: false,
        };
        let journal = self.journal.crashing(crash);
        self.process(journal, Start::Resumed(Box::new(resume)))
    }

    /// Lets time pass while no controller is there.
    pub fn wait(&mut self, downtime: Duration) {
        let until = self.world.now + u64::try_from(downtime.as_millis()).unwrap_or(u64::MAX / 2);
        self.world.advance(until);
    }

    fn process(&mut self, journal: MemoryJournal, start: Start) -> Ended {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let runtime = runtime.unwrap_or_else(|e| panic!("{e}"));
        let ended = runtime.block_on(async {
            let mut script = Script::load(
                &self.main,
                Box::new(Captured(self.bundle.clone())),
                &self.registry,
                1,
            )
            .unwrap_or_else(|e| panic!("{e}"));
            let cluster = self.cluster();
            script
                .start(&cluster, &self.params)
                .unwrap_or_else(|e| panic!("{e}"));
            let twin = Twin::new(self.world.clone());
            let (world, time) = (twin.world(), twin.clone());
            let clock = Clock::at(self.world.timestamp(self.world.now));
            let kept = Kept::default();
            let (_sender, stop) = watch::channel(Stop::No);
            let tools = Tools {
                run: start.run(clock.now()),
                registry: self.registry.clone(),
                cluster,
                transport: Rc::new(twin),
                clock,
                events: Events::new(clock, vec![Box::new(kept.clone())]),
                asker: Rc::new(self.answer),
                stop,
                deliver_failures: self.deliver_failures,
                who: "tester@bench".to_owned(),
            };
            let result = Engine::new(script, Box::new(journal), tools)
                .run(start)
                .await;
            time.advance();
            self.world = world.borrow().clone();
            self.events = kept.0.borrow().clone();
            result
        });
        match ended {
            Ok(finish) => Ended::Finish(finish),
            Err(EngineError::Journal(_)) => Ended::Killed,
            Err(error) => Ended::Error(error),
        }
    }

    /// What the journal says.
    ///
    /// # Panics
    /// Where it can't be read.
    #[must_use]
    pub fn history(&self) -> History {
        let (_, records) = self.journal.reopen().unwrap_or_else(|e| panic!("{e}"));
        History::of(records).unwrap_or_else(|e| panic!("{e}"))
    }

    /// The records of the journal, without their times.
    ///
    /// # Panics
    /// Where it can't be read.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let (_, records) = self.journal.reopen().unwrap_or_else(|e| panic!("{e}"));
        records.into_iter().map(|(_, record)| record).collect()
    }

    /// Every refresh that was asked for, as `member snap`, in order.
    #[must_use]
    pub fn refreshes(&self) -> Vec<String> {
        let asked = self
            .world
            .log
            .iter()
            .filter(|e| e.argv.iter().any(|a| a == "--no-wait"));
        asked
            .map(|e| format!("{} {}", e.member, e.argv.last().map_or("", String::as_str)))
            .collect()
    }

    /// The revisions of a snap, member by member.
    #[must_use]
    pub fn revisions(&self, snap: &str) -> Vec<u32> {
        self.world
            .members
            .keys()
            .filter_map(|member| self.world.revision(member, snap))
            .collect()
    }

    /// Fails unless all members run the newest revision of everything, nothing is left switched on, and no rule was broken.
    ///
    /// # Panics
    /// With what is wrong.
    pub fn assert_updated(&self) {
        for (snap, revision) in [
            ("microceph", 1501),
            ("microovn", 701),
            ("lxd", 33110),
            ("microcloud", 1210),
        ] {
            assert!(
                self.revisions(snap).iter().all(|r| *r == revision),
                "{snap}: {:?}",
                self.revisions(snap)
            );
        }
        assert_eq!(self.world.violations(), [], "rules were broken");
        assert_eq!(
            self.world.left_on(),
            Vec::<String>::new(),
            "something was left switched on"
        );
    }
}
