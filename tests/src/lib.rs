//! The bench that tests stand on: a cluster, a journal and a playbook, whose controller can be killed and come back.

pub mod answers;
pub mod desk;
pub mod generated;
pub mod hazards;
pub mod holds;
pub mod lab;
pub mod licences;
pub mod postgres;
pub mod receiver;
pub mod secrets;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lockstep::bundle::{Finder, Playbooks};
use lockstep::engine::{Decisions, EngineError, Finish, Held};
use lockstep::failure::Failure;
use lockstep::journal::{Crash, History, Record};
use lockstep::script::{Source, Sources};
use lockstep::trial::{self, Piece, Trial};
use lockstep_modules::contract::cmd::Cmd;
use lockstep_twin::{Scenario, World};
use serde_json::{Value, json};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// A trial whose playbook, cluster and process must be in order, with what tests ask of it.
pub struct Bench {
    trial: Trial,
    /// What was switched on before the run.
    pub settings: BTreeMap<String, String>,
}

impl Deref for Bench {
    type Target = Trial;

    fn deref(&self) -> &Trial {
        &self.trial
    }
}

impl DerefMut for Bench {
    fn deref_mut(&mut self) -> &mut Trial {
        &mut self.trial
    }
}

/// How a process ended.
#[derive(Debug)]
pub enum Ended {
    /// In order.
    Finish(Finish),
    /// It was killed.
    Killed,
    /// It could not continue.
    Error(EngineError),
}

/// The paths of a plan's steps.
///
/// # Panics
/// Where it has none.
#[must_use]
pub fn planned(plan: &Value) -> Vec<String> {
    let steps = plan["steps"].as_array().unwrap_or_else(|| panic!("{plan}"));
    steps
        .iter()
        .map(|s| {
            s["path"]
                .as_str()
                .unwrap_or_else(|| panic!("{plan}"))
                .to_owned()
        })
        .collect()
}

/// Fails unless all members have what these channels of MicroCeph, MicroOVN, LXD and MicroCloud have.
///
/// # Panics
/// With who has something else.
pub fn assert_follows(world: &World, channels: [&str; 4]) {
    for (snap, channel) in ["microceph", "microovn", "lxd", "microcloud"]
        .iter()
        .zip(channels)
    {
        let has = world.store.revision(snap, channel);
        for member in world.members.keys() {
            assert_eq!(world.revision(member, snap), has, "{snap} on {member}");
        }
    }
}

/// Where a run is held, and why, in a line.
#[must_use]
pub fn reported(held: &Held) -> String {
    format!("{}: {}", held.path, held.failure.message)
}

/// Someone types a command on a member, as root.
pub fn by_hand(world: &mut World, member: &str, words: &[&str]) {
    world.spawn(member, &Cmd::root(words.iter().copied()));
    world.advance(world.now + 2000);
}

/// Fails if anything is switched on, or set otherwise than in a new cluster.
///
/// # Panics
/// With what is.
pub fn assert_nothing_left_on(bench: &Bench) {
    let fresh = Scenario::of(bench.world.members.len()).build();
    assert_eq!(bench.world.settings(), fresh.settings());
}

/// Runs something that goes wrong, and continues once that is fixed. Returns where it was held.
///
/// # Panics
/// Where it isn't held, breaks a rule meanwhile, or leaves anything on.
pub fn held_by(
    bench: &mut Bench,
    fault: impl FnOnce(&mut World),
    fix: impl FnOnce(&mut World),
) -> String {
    fault(&mut bench.world);
    let held = bench.run().held();
    assert_eq!(bench.world.violations(), [], "while it was wrong");
    fix(&mut bench.world);
    bench.wait(Duration::from_secs(60));
    bench.resume().done();
    assert_eq!(bench.world.violations(), []);
    assert_nothing_left_on(bench);
    reported(&held)
}

/// Asserts that a snap has this revision wherever it is installed, and that no rule was broken.
///
/// # Panics
/// Where it isn't so.
pub fn assert_refreshed(bench: &Bench, snap: &str, revision: u32) {
    // A member may have none of the component.
    let revisions = bench.revisions(snap);
    let all = revisions.iter().all(|r| *r == revision);
    assert!(!revisions.is_empty() && all, "{revisions:?}");
    assert_eq!(bench.world.violations(), []);
}

impl From<Result<trial::Ended, Failure>> for Ended {
    fn from(ended: Result<trial::Ended, Failure>) -> Self {
        match ended {
            Ok(trial::Ended::Finish(finish)) => Self::Finish(finish),
            Ok(trial::Ended::Killed) => Self::Killed,
            Ok(trial::Ended::Error(error)) => Self::Error(error),
            Ok(trial::Ended::Endless) => panic!("the run would never have ended"),
            Err(failure) => panic!("{failure}"),
        }
    }
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

    /// The only step it is held or was refused at, and its failure.
    ///
    /// # Panics
    /// Where it ended otherwise.
    pub fn held(self) -> lockstep::engine::Held {
        match self {
            Self::Finish(Finish::Held(mut held) | Finish::Refused(mut held)) if held.len() == 1 => {
                held.remove(0)
            }
            other => panic!("the run was to be held at one step, and it is {other:?}"),
        }
    }

    /// Why it is suspended.
    ///
    /// # Panics
    /// Where it ended otherwise.
    pub fn suspended(self) -> String {
        match self {
            Self::Finish(Finish::Suspended(why)) => why.to_string(),
            other => panic!("the run was to be suspended, and it is {other:?}"),
        }
    }
}

/// A playbook whose `run` has this body.
fn text_of(body: &str) -> String {
    format!("return {{ api = 1, leaves_on = true, run = function(cluster, p)\n{body}\nend }}\n")
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

    /// An update of a cluster of this many members.
    #[must_use]
    pub fn update(members: usize) -> Self {
        // With fewer than three members storage and network stop, and nobody is there to be asked.
        Self::shipped(
            "update",
            &Scenario::of(members),
            &json!({ "downtime": members < 3 }),
        )
    }

    /// A playbook whose `run` has this body, and that may leave on what it switches on, on a cluster of this many members.
    #[must_use]
    pub fn playing(body: &str, members: usize) -> Self {
        Self::whole(text_of(body), members)
    }

    /// The same playbook, with these parameters: it declares none of them.
    #[must_use]
    pub fn given(mut self, params: Value) -> Self {
        self.piece.params = params;
        self
    }

    /// A playbook of this text, on a cluster of this many members.
    #[must_use]
    pub fn whole(text: String, members: usize) -> Self {
        Self::new(
            "test",
            Box::new(Text(text)),
            &Scenario::of(members),
            &json!({}),
        )
    }

    fn new(main: &str, sources: Box<dyn Sources>, scenario: &Scenario, params: &Value) -> Self {
        let given = params.as_object().cloned().unwrap_or_default();
        let piece = Piece::load(main, sources, &lockstep_modules::registry(), &given)
            .unwrap_or_else(|e| panic!("{main}: {e} ({:?})", e.site));
        let world = scenario.build();
        Self {
            settings: world.settings(),
            trial: Trial::new(piece, world),
        }
    }

    /// Replaces the body of a playbook made by [`Bench::playing`], as an operator would who fixes it while it is held.
    pub fn edit(&mut self, body: &str) {
        let text = text_of(body);
        let chunk = "test.lua".to_owned();
        self.piece
            .bundle
            .insert("test".to_owned(), Source { chunk, text });
    }

    /// The same playbook on a copy of the cluster, with a journal of its own.
    #[must_use]
    pub fn fresh_copy(&self) -> Self {
        let mut trial = Trial::new(self.piece.clone(), self.world.clone());
        (trial.answer, trial.deliver_failures) = (self.answer, self.deliver_failures);
        Self {
            trial,
            settings: self.settings.clone(),
        }
    }

    /// Runs the playbook from its beginning.
    pub fn run(&mut self) -> Ended {
        self.trial.run().into()
    }

    /// Runs it until its journal crashes.
    pub fn run_until(&mut self, crash: Crash) -> Ended {
        self.trial.run_until(crash).into()
    }

    /// Continues the run; one that was refused is begun again.
    pub fn resume(&mut self) -> Ended {
        self.resume_with(Decisions::default(), false)
    }

    /// Continues the run, with decisions.
    ///
    /// # Panics
    /// Where the journal can't be read.
    pub fn resume_with(&mut self, decisions: Decisions, trust_cluster: bool) -> Ended {
        let ended = self.trial.resume(decisions, trust_cluster, None);
        ended.into()
    }

    /// Continues the run, with decisions, until its journal crashes again.
    ///
    /// # Panics
    /// Where the journal can't be read.
    pub fn resume_until(&mut self, decisions: Decisions, crash: Crash) -> Ended {
        self.trial.resume(decisions, false, Some(crash)).into()
    }

    /// Aborts the run.
    pub fn abort(&mut self) -> Ended {
        self.trial.abort(None).into()
    }

    /// Aborts the run until its journal crashes.
    pub fn abort_until(&mut self, crash: Crash) -> Ended {
        self.trial.abort(Some(crash)).into()
    }

    /// Lets a fault come, as `lockstep rehearse --fault` names it.
    ///
    /// # Panics
    /// Where there is no such fault.
    pub fn fault(&mut self, text: &str) {
        let fault = text.parse().unwrap_or_else(|e| panic!("{e}"));
        self.world.inject(fault).unwrap_or_else(|e| panic!("{e}"));
    }

    /// What the journal says.
    ///
    /// # Panics
    /// Where it can't be read.
    #[must_use]
    pub fn history(&self) -> History {
        self.trial.history().unwrap_or_else(|e| panic!("{e}"))
    }

    /// The records of the journal, without their times.
    ///
    /// # Panics
    /// Where it can't be read.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.trial.records().unwrap_or_else(|e| panic!("{e}"))
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
            self.world.settings(),
            self.settings,
            "something was left switched on, or not given back"
        );
    }
}
