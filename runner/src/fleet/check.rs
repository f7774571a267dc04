//! The rollout's playbook under disturbance: simulated fleets whose clusters are held, fail and lose their processes, with a
//! controller that is killed, and the rules that no rollout may break.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::schema::{Member, Span};
use lockstep_modules::contract::standing::Standing;
use lockstep_modules::ops::time::Hours;
use lockstep_twin::{Course, Happened, Mishap, Moment, Scenario, SimulatedFleet};
use serde_json::{Map, json};

use super::executor::ExecutorConfig;
use super::rings::{Entry, Ring, Rollout};
use crate::bundle::Finder;
use crate::engine::{Answer, Decisions, Finish};
use crate::failure::Failure;
use crate::journal::{Crash, Suspended};
use crate::script::Script;
use crate::trial::{Ended, Piece, Trial};

/// What is to be tried.
#[derive(Clone, Copy, Debug)]
pub struct FleetCheck {
    /// How many clusters a fleet has.
    pub clusters: usize,
    /// How many random fleets.
    pub tries: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Only this random fleet.
    pub only: Option<usize>,
    /// Whether the controller is killed at every append.
    pub kills: bool,
}

/// What was tried, and what was found.
#[derive(Debug, Default)]
pub struct FleetReport {
    /// Cases in which the controller was killed at one append.
    pub kills: usize,
    /// Random cases.
    pub tries: usize,
    /// What went wrong, by the number of the try; the first ones.
    pub findings: Vec<(String, String)>,
}

/// How often a rollout may stop and be continued before it is taken to have no end.
const SITTINGS: usize = 200;

/// What is wrong with a rollout that goes on and on.
const ENDLESS: &str = "it doesn't come to an end";

/// Findings that are reported; the first one is what is worth mending.
const MOST: usize = 10;

/// A fleet, and what disturbs its rollout.
struct Case {
    name: String,
    rollout: Rollout,
    courses: Vec<(Member, Course)>,
    answer: Answer,
    /// A process ends where nothing is left but to wait.
    no_wait: bool,
    /// At which append the controller is killed, in which process.
    kills: BTreeMap<usize, Crash>,
    /// For how long it is away then.
    away: Duration,
    /// The operator takes every such cluster out instead of bringing its run to its end.
    skips: usize,
}

/// How a rollout came to its end.
struct Played {
    /// How many appends that took, process by process.
    appends: Vec<usize>,
    /// How often it was killed.
    killed: usize,
}

const UNHARMED: &str = "it was to be killed, and wasn't";

impl FleetCheck {
    /// Tries everything, on all processors.
    ///
    /// # Errors
    /// Where the playbook can't be loaded.
    pub fn run(
        &self,
        registry: &Registry,
        finder: &(dyn Fn() -> Finder + Sync),
    ) -> Result<FleetReport, Failure> {
        let registry = super::registry(registry);
        let script = Script::load(super::PLAYBOOK, Box::new(finder()), &registry, 1)?;
        let bundle = script.loaded();
        let piece = |rollout: &Rollout| Piece {
            registry: registry.clone(),
            main: super::PLAYBOOK.to_owned(),
            bundle: bundle.clone(),
            params: json!(rollout),
            machines: Vec::new(),
        };
        let mut cases: Vec<Case> = Vec::new();
        let undisturbed = [false, true].map(|no_wait| Case {
            no_wait,
            ..Case::regular(self.clusters)
        });
        for case in undisturbed
            .iter()
            .filter(|_| self.kills && self.only.is_none())
        {
            let Ok(played) = case.play(piece(&case.rollout)) else {
                continue;
            };
            for (process, appends) in played.appends.into_iter().enumerate() {
                cases.extend((1..=appends).flat_map(|n| case.killed(self.clusters, process, n)));
            }
        }
        let kills = cases.len();
        let numbers = self.only.map_or(0..self.tries, |n| n..n + 1);
        let tries = numbers.len();
        cases.extend(numbers.map(|number| Case::random(self.seed, number, self.clusters)));
        cases.extend(undisturbed);
        let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..processors {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(case) = cases.get(at) else { break };
                        let what = match case.play(piece(&case.rollout)) {
                            // A kill that never happens shows nothing.
                            Ok(played) if at < kills && played.killed == 0 => UNHARMED.to_owned(),
                            Ok(_) => continue,
                            Err(what) => what,
                        };
                        if let Ok(mut found) = found.lock() {
                            found.insert(case.name.clone(), what);
                        }
                    }
                });
            }
        });
        let findings = found.into_inner().unwrap_or_default();
        Ok(FleetReport {
            kills,
            tries,
            findings: findings.into_iter().take(MOST).collect(),
        })
    }
}

impl Case {
    /// Three rings, of which the second has a window and a soak; in each one a cluster is held.
    fn regular(clusters: usize) -> Self {
        let mut rollout = rollout_of(clusters, |i| i * 3 / clusters.max(1));
        for (i, ring) in rollout.rings.iter_mut().enumerate() {
            ring.limit = u32::try_from(i).unwrap_or(0) + 1;
            ring.approve = i > 0;
            ring.soak = (i < 2).then(|| Span::secs(7200));
            for entry in &mut ring.clusters {
                entry.window = (i == 1).then(night);
            }
        }
        let courses = rollout.clusters().enumerate().map(|(i, entry)| {
            let stops = if i % 4 == 1 {
                Standing::Held
            } else {
                Standing::Done
            };
            (
                Member::from(entry.name.as_str()),
                Course {
                    takes: Duration::from_secs(600 + 60 * i as u64),
                    stops,
                    mishaps: [].into(),
                    ill: 0,
                },
            )
        });
        let courses = courses.collect();
        Self {
            name: "undisturbed".to_owned(),
            rollout,
            courses,
            answer: Answer::Yes,
            no_wait: false,
            kills: BTreeMap::new(),
            away: Duration::ZERO,
            skips: 0,
        }
    }

    /// This regular one, killed in a process at an append in every place. Where processes end that only wait, it is away until
    /// a window has shut; else for no time.
    fn killed(&self, clusters: usize, process: usize, append: usize) -> impl Iterator<Item = Self> {
        let no_wait = self.no_wait;
        let places = [
            Crash::Before(append),
            Crash::Torn(append),
            Crash::After(append),
        ];
        let hours = if no_wait { 7 } else { 0 };
        places.into_iter().map(move |crash| Self {
            name: format!(
                "process {} killed at {crash:?}, away for {hours} h",
                process + 1
            ),
            kills: [(process, crash)].into(),
            away: Duration::from_secs(hours * 3600),
            no_wait,
            ..Self::regular(clusters)
        })
    }

    /// Everything by lot.
    fn random(seed: u64, number: usize, clusters: usize) -> Self {
        let mut lot =
            fastrand::Rng::with_seed(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let rings = lot.usize(1..=3);
        let places: Vec<usize> = {
            let mut places: Vec<usize> = (0..clusters).map(|_| lot.usize(0..rings)).collect();
            places.sort_unstable();
            places
        };
        let mut rollout = rollout_of(clusters, |i| places[i]);
        // In fleets that work at night most of them wait for one, and what begins late in it may not fit.
        let nights = if lot.bool() { 1 } else { 3 };
        for ring in &mut rollout.rings {
            ring.limit = lot.u32(1..=4);
            ring.budget = lot.u32(0..=2);
            ring.approve = lot.u8(0..4) == 0;
            ring.stage = lot.bool();
            ring.soak = (lot.u8(0..3) == 0).then(|| Span::secs(lot.u64(1..100_000)));
            for entry in &mut ring.clusters {
                entry.window = (lot.u8(0..4) < nights).then(night);
            }
        }
        let courses = rollout.clusters().map(|entry| {
            let stops = [
                Standing::Held,
                Standing::Failed,
                Standing::Refused,
                Standing::Aborted,
                Standing::Suspended,
            ];
            let stops = stops
                .get(lot.usize(0..16))
                .copied()
                .unwrap_or(Standing::Done);
            let count = lot.usize(0..3);
            let mishaps: VecDeque<Mishap> = (0..count).filter_map(|_| mishap(&mut lot)).collect();
            (
                Member::from(entry.name.as_str()),
                Course {
                    takes: Duration::from_secs(lot.u64(1..10_000)),
                    stops,
                    mishaps,
                    ill: u32::from(lot.u8(0..10) == 0),
                },
            )
        });
        let courses = courses.collect();
        let kills = (0..lot.usize(0..4)).map(|process| {
            let at = lot.usize(1..40);
            let places = [Crash::Before(at), Crash::Torn(at), Crash::After(at)];
            (process, places[lot.usize(0..3)])
        });
        let kills = kills.collect();
        Self {
            name: format!("try {number}"),
            rollout,
            courses,
            answer: if lot.bool() {
                Answer::Yes
            } else {
                Answer::Nobody
            },
            kills,
            away: Duration::from_secs(lot.u64(0..20_000)),
            skips: lot.usize(0..3),
            no_wait: lot.bool(),
        }
    }

    /// Plays it to its end, with an operator who sees to whatever stops.
    fn play(&self, piece: Piece) -> Result<Played, String> {
        let fleet = SimulatedFleet::new(self.courses.iter().cloned());
        let names = self
            .rollout
            .clusters()
            .map(|entry| entry.name.clone())
            .collect();
        let world = Scenario {
            members: names,
            without: ["microceph", "microovn", "lxd", "microcloud"]
                .map(str::to_owned)
                .to_vec(),
            instances: Some(Vec::new()),
            updates: false,
            ..Scenario::default()
        };
        let mut trial = Trial::new(piece, world.build());
        let way = fleet.clone();
        trial.way = Rc::new(move |twin| way.way(twin));
        trial.answer = self.answer;
        trial.no_wait = self.no_wait;
        let (mut appends, mut killed) = (Vec::new(), 0);
        for process in 0..SITTINGS {
            let ended = match (process, self.kills.get(&process)) {
                (0, None) => trial.run(),
                (0, Some(crash)) => trial.run_until(*crash),
                (_, crash) => trial.resume(Decisions::default(), false, crash.copied()),
            };
            appends.push(trial.journal.appends());
            match ended.map_err(|failure| failure.to_string())? {
                Ended::Finish(Finish::Done(_)) => {
                    judge(self, &fleet.log())?;
                    return Ok(Played { appends, killed });
                }
                Ended::Killed => {
                    killed += 1;
                    trial.wait(self.away);
                }
                Ended::Finish(Finish::Suspended(Suspended::Waiting(until))) => {
                    let now = trial.world.timestamp(trial.world.now);
                    trial.wait(until.duration_since(now).unsigned_abs());
                }
                Ended::Finish(Finish::Held(_) | Finish::Refused(_)) => {
                    self.see_to(&fleet, &trial);
                    trial.answer = Answer::Yes;
                }
                Ended::Endless => return Err(ENDLESS.to_owned()),
                other => return Err(format!("it ended as {other:?}")),
            }
        }
        Err(ENDLESS.to_owned())
    }

    /// Whether the controller hears at once how the run of this cluster stopped.
    fn sees_the_end_of(&self, cluster: &Member) -> bool {
        let lost = |course: &Course| course.mishaps.contains(&Mishap::AnswerLost);
        let mut courses = self.courses.iter();
        self.kills.is_empty() && !courses.any(|(name, course)| name == cluster && lost(course))
    }

    /// What the operator does about a rollout that holds.
    fn see_to(&self, fleet: &SimulatedFleet, trial: &Trial) {
        let now = trial.world.timestamp(trial.world.now);
        for (i, cluster) in fleet.unwell().iter().enumerate() {
            let state = if i < self.skips {
                Standing::Skipped
            } else {
                Standing::Done
            };
            fleet.settle(cluster, state, now);
        }
    }
}

/// What an executor does wrong, if anything.
fn mishap(lot: &mut fastrand::Rng) -> Option<Mishap> {
    let all = [Mishap::Refuses, Mishap::Dies, Mishap::AnswerLost];
    all.get(lot.usize(0..12)).copied()
}

/// A window that is open at night.
fn night() -> Hours {
    Hours {
        days: Vec::new(),
        hours: "22:00-04:30".to_owned(),
        zone: "Europe/Berlin".to_owned(),
        not_on: Vec::new(),
        room: None,
    }
}

/// A rollout over so many clusters, each in the ring with this number.
fn rollout_of(clusters: usize, ring_of: impl Fn(usize) -> usize) -> Rollout {
    let mut rings: BTreeMap<usize, Ring> = BTreeMap::new();
    for i in 0..clusters {
        let number = ring_of(i);
        let ring = rings.entry(number).or_insert_with(|| Ring {
            name: format!("ring {}", number + 1),
            limit: 1,
            budget: 0,
            soak: None,
            approve: false,
            stage: false,
            clusters: Vec::new(),
        });
        ring.clusters.push(Entry {
            labels: BTreeMap::new(),
            name: format!("store-{:03}", i + 1),
            cluster: "twin:3".to_owned(),
            executor: "default".to_owned(),
            window: None,
            params: Map::new(),
            yes: false,
            approve_plan: false,
            faults: Vec::new(),
        });
    }
    Rollout {
        fleet: "stores".to_owned(),
        playbook: "update".to_owned(),
        fingerprint: String::new(),
        rings: rings.into_values().collect(),
        executors: [("default".to_owned(), ExecutorConfig::default())].into(),
        playbooks: None,
        modules: None,
        ssh_config: None,
    }
}

/// What is known of a fleet at a moment of its rollout.
#[derive(Default)]
struct Known<'a> {
    begun: BTreeMap<&'a Member, Timestamp>,
    running: BTreeSet<&'a Member>,
    /// How clusters stand whose runs have stopped, by themselves or by the operator's hand.
    stopped: BTreeMap<&'a Member, Standing>,
    /// How and when the runs of those stopped that did so by themselves.
    ended: BTreeMap<&'a Member, (Standing, Timestamp)>,
    /// Those that were looked at after that, and were well.
    verified: BTreeSet<&'a Member>,
}

impl Known<'_> {
    /// How long a run of a ring has taken that the controller knew to be done before this moment.
    fn longest(&self, case: &Case, ring: &Ring, at: Timestamp) -> Option<Span> {
        let names = ring.clusters.iter().map(member);
        let took = names
            .filter(|name| case.sees_the_end_of(name))
            .filter_map(|name| {
                let (state, ended) = self.ended.get(&name)?;
                let took = ended.duration_since(*self.begun.get(&name)?);
                (*state == Standing::Done && *ended < at).then_some(took)
            });
        Some(Span::secs(took.max()?.unsigned_abs().as_secs()))
    }
}

/// Whether what happened to a fleet is what its rings allow.
fn judge(case: &Case, log: &[Moment]) -> Result<(), String> {
    let rollout = &case.rollout;
    let mut moments: Vec<&Moment> = log.iter().collect();
    moments.sort_by_key(|moment| (moment.at, moment.what == Happened::Began));
    let mut known = Known::default();
    for moment in moments {
        let cluster = &moment.cluster;
        match moment.what {
            Happened::Began => {
                if known.begun.insert(cluster, moment.at).is_some() {
                    return Err(format!("the run of {cluster} was begun twice"));
                }
                may_begin(case, moment, &known)?;
                known.running.insert(cluster);
            }
            Happened::Stopped(state) => {
                known.running.remove(cluster);
                known.stopped.insert(cluster, state);
                known.ended.insert(cluster, (state, moment.at));
            }
            Happened::Settled(state) => drop(known.stopped.insert(cluster, state)),
            Happened::Verified(true) => drop(known.verified.insert(cluster)),
            Happened::Verified(false) | Happened::TakenUp => {}
        }
    }
    match rollout
        .clusters()
        .find(|entry| !known.stopped.contains_key(&member(entry)))
    {
        Some(entry) => Err(format!(
            "the rollout is done, and {} was never begun",
            entry.name
        )),
        None => Ok(()),
    }
}

fn member(entry: &Entry) -> Member {
    Member::from(entry.name.as_str())
}

/// Whether a cluster's run may begin at this moment.
fn may_begin(case: &Case, moment: &Moment, known: &Known<'_>) -> Result<(), String> {
    let cluster = moment.cluster.as_str();
    let broken = |rule: String| Err(format!("{cluster} was begun at {}: {rule}", moment.at));
    for ring in &case.rollout.rings {
        let Some(entry) = ring.clusters.iter().find(|entry| entry.name == cluster) else {
            match has_ended(ring, moment.at, known) {
                Ok(()) => continue,
                Err(rule) => return broken(rule),
            }
        };
        let count = |is: &dyn Fn(&Member) -> bool| {
            ring.clusters
                .iter()
                .filter(|entry| is(&member(entry)))
                .count()
        };
        let running = count(&|name| known.running.contains(name));
        if running >= ring.limit as usize {
            return broken(format!(
                "{running} were running, and the limit is {}",
                ring.limit
            ));
        }
        let unwell = count(&|name| {
            known
                .stopped
                .get(name)
                .is_some_and(|state| !state.is_well())
        });
        // What stopped while nobody listened counts once it is heard of; those that were running then are all that there can be.
        let sees_all = ring
            .clusters
            .iter()
            .all(|entry| case.sees_the_end_of(&member(entry)));
        let most = if sees_all {
            ring.budget
        } else {
            ring.budget + ring.limit - 1
        };
        if unwell > most as usize {
            return broken(format!(
                "{unwell} were not done, and the budget is {}",
                ring.budget
            ));
        }
        let Some(window) = &entry.window else {
            return Ok(());
        };
        if !window.is_open(moment.at)? {
            return broken("its window was shut".to_owned());
        }
        let took = known.longest(case, ring, moment.at);
        let room = Hours {
            room: took,
            ..window.clone()
        };
        return match room.is_open(moment.at)? {
            true => Ok(()),
            false => broken("others took longer than its window was still open".to_owned()),
        };
    }
    broken("it is in no ring".to_owned())
}

/// Whether the next ring may begin after this one.
fn has_ended(ring: &Ring, at: Timestamp, known: &Known<'_>) -> Result<(), String> {
    for entry in &ring.clusters {
        let name = member(entry);
        if !known.stopped.contains_key(&name) {
            return Err(format!("{name} of {} has not stopped", ring.name));
        }
        let (Some(soak), Some((state, ended))) = (ring.soak, known.ended.get(&name)) else {
            continue;
        };
        if at.duration_since(*ended).unsigned_abs() < soak.0 {
            return Err(format!(
                "{name} of {} stopped at {ended}, and the soak is {soak}",
                ring.name
            ));
        }
        if *state == Standing::Done && !known.verified.contains(&name) {
            return Err(format!(
                "{name} of {} was not looked at after its soak",
                ring.name
            ));
        }
    }
    Ok(())
}
