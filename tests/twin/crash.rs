//! The controller is killed at its journal's appends and comes back: nothing of that may show in the end.
//!
//! A kill comes before an append, in the middle of it, or after it; what comes after the effect and before its result is
//! known is what comes before the append of the result. What ran on members continues or ends with its session, and the
//! controller is away for no time or for ten minutes. Of all that a sample is tried here. Everything, and many more pairs
//! of kills:
//!
//! ```sh
//! tests/run --release --test twin crash:: -- --ignored --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};
use std::time::Instant;

use lockstep::bundle::{Finder, Playbooks};
use lockstep::check::{Case, Judge};
use lockstep::engine::Finish;
use lockstep::event::Event;
use lockstep::journal::{Crash, MemoryJournal, Record};
use lockstep::trial::{Ended, Piece, Trial};
use lockstep_modules::contract::cmd::End;
use lockstep_modules::contract::op::Effect;
use lockstep_modules::contract::path::StepPath;
use lockstep_tests::Bench;
use lockstep_twin::Scenario;
use regex::Regex;
use serde_json::{Value, json};

use crate::evacuate::mixed;

/// A playbook on a cluster, and how it goes undisturbed.
struct Stage {
    name: String,
    piece: Piece,
    judge: Judge,
    plain: Course,
}

/// A value as JSON in which a time is just a time: who was away for ten minutes does things later.
fn timeless(value: &Value) -> String {
    static TIME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"\d{4}-?\d\d-?\d\dT[\d:.]+Z").unwrap());
    TIME.replace_all(&value.to_string(), "TIME").into_owned()
}

/// What must not depend on whether the controller was killed.
#[derive(Debug, PartialEq)]
struct Course {
    /// The playbook's result, as JSON without times.
    result: String,
    /// Every step that was asked for; of those that change something, also with what.
    steps: BTreeMap<StepPath, (String, String)>,
    /// What was asked of snapd and LXD that must not be asked for twice, and whether it is known to have succeeded.
    asked: BTreeMap<String, (usize, usize)>,
    /// Where every instance is, and whether it runs.
    instances: BTreeMap<String, (String, bool)>,
    /// The journal's lines before the first resume.
    journal: Vec<String>,
    /// Why somebody would have had to come.
    paused: Vec<String>,
}

impl Course {
    fn of(trial: &Trial) -> Result<Self, String> {
        let mut result = None;
        let (mut steps, mut paused) = (BTreeMap::new(), Vec::new());
        for record in trial.records().map_err(|e| e.to_string())? {
            match record {
                Record::Intent {
                    path,
                    op,
                    args,
                    effect,
                    ..
                } => {
                    let args = Some(args).filter(|_| effect != Effect::Read);
                    steps.insert(path, (op, timeless(&args.unwrap_or_default())));
                }
                Record::Hold { path, failure, .. } => paused.push(format!("{path}: {failure}")),
                Record::Suspend { why } => paused.push(why.to_string()),
                Record::End { result: Ok(value) } => result = Some(timeless(&value)),
                Record::End { result: Err(e) } => return Err(format!("the run failed: {e}")),
                _ => {}
            }
        }
        let mut asked: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for entry in &trial.world.log {
            if ["--no-wait", "POST"]
                .iter()
                .any(|w| entry.argv.iter().any(|a| a == w))
            {
                let command = format!("{}: {}", entry.member, entry.argv.join(" "));
                let (times, succeeded) = asked.entry(command).or_default();
                *times += 1;
                *succeeded += usize::from(entry.end == Some(End::Exit(0)));
            }
        }
        let text = trial.journal.text();
        let first = text
            .lines()
            .take_while(|l| !l.contains(r#""record":{"sitting":{"number":2,"#));
        let instance =
            |i: &lockstep_twin::Instance| (i.name.clone(), (i.location.clone(), i.running));
        Ok(Self {
            result: result.ok_or("the run has no end")?,
            steps,
            asked,
            instances: trial.world.instances().iter().map(instance).collect(),
            journal: first.map(str::to_owned).collect(),
            paused,
        })
    }

    /// How this course differs from an undisturbed one in a way that it must not.
    fn differs(&self, plain: &Self, case: &Case, resumed: bool) -> Option<String> {
        if !self.paused.is_empty() {
            return Some(format!("somebody had to come: {:?}", self.paused));
        }
        if self.result != plain.result {
            return Some(format!(
                "the result is {}, not {}",
                self.result, plain.result
            ));
        }
        if self.steps != plain.steps {
            let other = |a: &Self, b: &Self| -> Vec<String> {
                let differ = a
                    .steps
                    .iter()
                    .filter(|(path, step)| b.steps.get(*path) != Some(step));
                differ
                    .map(|(path, step)| format!("{path} {step:?}"))
                    .collect()
            };
            return Some(format!(
                "steps differ: {:?}, not {:?}",
                other(self, plain),
                other(plain, self)
            ));
        }
        if self.instances != plain.instances {
            return Some(format!(
                "instances: {:?}, not {:?}",
                self.instances, plain.instances
            ));
        }
        if resumed && !plain.journal.starts_with(&self.journal) {
            return Some(
                "what was written before the kill isn't what is written without it".to_owned(),
            );
        }
        // A command that ended with its session may have to be given again; one that continued may not.
        let ended = case.kills.iter().any(|kill| kill.sessions_end);
        let twice = self.asked.iter().find(|(command, (times, succeeded))| {
            let once = plain.asked.get(*command).map_or(0, |(times, _)| *times);
            *succeeded > once || (!ended && *times != once)
        });
        if let Some((command, (times, _))) = twice {
            return Some(format!("asked for {times} times: {command}"));
        }
        let missing = plain
            .asked
            .keys()
            .find(|command| !self.asked.contains_key(*command));
        missing.map(|command| format!("never asked for: {command}"))
    }
}

/// Plays a finished journal back: that gives the same result, and nothing is asked of any member.
fn replayed(piece: &Piece, finished: &Trial, result: &str) -> Option<String> {
    let text = finished.journal.text();
    let whole = text.trim_end();
    // The end is cut off, as if the process had died just before it was written.
    let without_end = &whole[..whole.rfind('\n')? + 1];
    let mut world = finished.world.clone();
    world.log.clear();
    let mut trial = Trial::new(piece.clone(), world);
    trial.journal = MemoryJournal::with(without_end);
    match trial.resume(lockstep::engine::Decisions::default(), false, None) {
        Ok(Ended::Finish(Finish::Done(again))) if timeless(&again) == result => {}
        other => {
            return Some(format!(
                "played back, the finished journal ends with {other:?}"
            ));
        }
    }
    let commands = trial.world.log.len();
    (commands > 0).then(|| format!("played back, the finished journal issues {commands} commands"))
}

impl Stage {
    fn new(playbook: &str, members: usize, evacuate: bool) -> Self {
        let upgrade = playbook == "upgrade";
        let scenario = Scenario {
            updates: true,
            lxd: BTreeMap::from([("cluster.healing_threshold".into(), "300".into())]),
            ..if evacuate {
                mixed(members)
            } else {
                Scenario::of(members)
            }
        };
        let mut params = json!({
            "downtime": members < 3,
            "evacuate": evacuate,
            "evacuate_anyway": evacuate && members < 2,
        });
        if upgrade {
            params["to"] = json!("3");
            params["accept"] = json!(["microcloud-3-in-production"]);
        }
        let finder = Box::new(Finder::shipped(Playbooks::Shipped));
        let given = params.as_object().cloned().unwrap_or_default();
        let piece = Piece::load(playbook, finder, &lockstep_modules::registry(), &given);
        let piece = piece.unwrap_or_else(|e| panic!("{playbook}: {e}"));
        let judge = Judge::new(&piece, &scenario).unwrap_or_else(|e| panic!("{e:#?}"));
        let undisturbed = Case {
            seed: scenario.seed,
            ..Case::default()
        };
        let (trial, findings) = judge
            .played(&piece, &undisturbed)
            .unwrap_or_else(|e| panic!("{e:#?}"));
        assert!(findings.is_empty(), "{findings:#?}");
        let plain = Course::of(&trial).unwrap_or_else(|e| panic!("{e}"));
        let moving = if evacuate { ", evacuating" } else { "" };
        Self {
            name: format!("{playbook} of {members}{moving}"),
            piece,
            judge,
            plain,
        }
    }

    /// Plays a case. Says what is wrong with it.
    fn survives(&self, case: &Case) -> Result<(), String> {
        let (trial, findings) = self
            .judge
            .played(&self.piece, case)
            .map_err(|e| format!("{e:#?}"))?;
        if let Some(finding) = findings.first() {
            return Err(format!("{finding:#?}"));
        }
        let course = Course::of(&trial)?;
        let records = trial.records().map_err(|e| e.to_string())?;
        let resumes = records
            .iter()
            .filter(|r| matches!(r, Record::Resume { .. }));
        // Of a process that was killed before it had written anything nothing is resumed: the run begins later, and what it
        // sees then isn't what the undisturbed one saw.
        let resumed = resumes.count() == case.kills.len();
        let wrong = course
            .differs(&self.plain, case, resumed)
            .or_else(|| replayed(&self.piece, &trial, &self.plain.result));
        wrong.map_or(Ok(()), Err)
    }

    /// Plays every `stride`th of the cases on all processors, and tells how many and how long that took.
    #[expect(
        clippy::disallowed_methods,
        reason = "what is shown is how long the tests take, and not the runs in them"
    )]
    fn survives_all(&self, cases: impl Iterator<Item = Case>, stride: usize) {
        let began = Instant::now();
        let cases: Vec<Case> = cases.step_by(stride).collect();
        let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| {
            for _ in 0..processors {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(why) = self.survives(case) {
                            let kills: Vec<String> =
                                case.kills.iter().map(ToString::to_string).collect();
                            wrong
                                .lock()
                                .unwrap()
                                .push(format!("{}: {why}", kills.join("; then ")));
                        }
                    }
                });
            }
        });
        let took = began.elapsed();
        let _ = writeln!(
            std::io::stdout(),
            "{}: {} placements of kills in {took:.1?}",
            self.name,
            cases.len()
        );
        let wrong = wrong.into_inner().unwrap();
        let first = wrong
            .iter()
            .take(5)
            .cloned()
            .collect::<Vec<_>>()
            .join("\n\n");
        assert!(
            wrong.is_empty(),
            "{}: {} of {} cases went wrong:\n{first}",
            self.name,
            wrong.len(),
            cases.len()
        );
        assert!(
            cases.len() > 20,
            "{}: only {} cases",
            self.name,
            cases.len()
        );
    }

    /// Pairs of kills: a run that was resumed is killed again.
    fn pairs(&self) -> impl Iterator<Item = Case> {
        let appends = self.judge.appends;
        Case::every_kill(appends).flat_map(move |first| {
            Case::every_kill(appends).map(move |second| Case {
                kills: [first.kills.clone(), second.kills].concat(),
                ..first.clone()
            })
        })
    }
}

/// Kills in every way at every append, or at every `stride`th of these.
fn killed(playbook: &str, members: usize, evacuate: bool, stride: usize) {
    let stage = Stage::new(playbook, members, evacuate);
    stage.survives_all(Case::every_kill(stage.judge.appends), stride);
}

#[test]
fn any_killed_run_leaves_no_trace() {
    // Strides without a divisor in common with the twelve ways to kill at one append, so that all of them come up.
    for playbook in ["update", "upgrade"] {
        for (members, stride) in [(1, 11), (3, 19), (5, 73)] {
            for evacuate in [false, true] {
                killed(playbook, members, evacuate, stride);
            }
        }
    }
}

#[test]
fn a_resumed_run_can_be_killed_again() {
    let stage = Stage::new("update", 3, false);
    stage.survives_all(stage.pairs(), 35_999);
}

/// A night plays one in this many of the cases, and the next night others: after as many nights all of them were played. It has
/// no divisor in common with the twelve ways to kill at one append.
const NIGHTS: usize = 7;

/// Which night it is: any number, such as the day's in its year.
fn night() -> usize {
    let night = std::env::var("NIGHT").unwrap_or_default();
    night.parse::<usize>().unwrap_or(0)
}

#[test]
#[ignore = "takes long: nightly"]
fn any_run_killed_in_any_way_leaves_no_trace() {
    for playbook in ["update", "upgrade"] {
        for members in [1, 3, 5] {
            for evacuate in [false, true] {
                let stage = Stage::new(playbook, members, evacuate);
                let cases = Case::every_kill(stage.judge.appends);
                stage.survives_all(cases.skip(night() % NIGHTS), NIGHTS);
            }
        }
    }
}

#[test]
#[ignore = "takes long: nightly"]
fn runs_can_be_killed_again_anywhere() {
    // Of these there are millions.
    const STRIDE: usize = 4_999;
    for evacuate in [false, true] {
        let stage = Stage::new("update", 3, evacuate);
        stage.survives_all(stage.pairs().skip(night() % STRIDE), STRIDE);
    }
}

#[test]
fn a_result_and_what_follows_are_written_before_either_is_seen() {
    let playbook = r#"
        snap.hold { member = "micro01", snap = "lxd" }
        log.info("held")
        snap.unhold { member = "micro01", snap = "lxd" }
    "#;
    for n in 1.. {
        let mut bench = Bench::playing(playbook, 1);
        let ended = bench.run_until(Crash::Before(n));
        let recorded = bench
            .records()
            .into_iter()
            .filter_map(|record| match record {
                Record::Start { path, .. } => Some(("start", path)),
                Record::Done { path, .. } => Some(("done", path)),
                _ => None,
            });
        let recorded: BTreeSet<_> = recorded.collect();
        let held = recorded.contains(&("done", "snap.hold#1".into()));
        let shown = bench
            .events
            .iter()
            .filter_map(|stamped| match &stamped.event {
                Event::StepStarted { step, .. } => Some(("start", step.path.clone())),
                Event::StepDone { step, .. } => Some(("done", step.path.clone())),
                Event::Log { message, .. } if message == "held" => {
                    assert!(held, "killed before append {n}: {message}");
                    None
                }
                _ => None,
            });
        assert_eq!(
            shown.collect::<BTreeSet<_>>(),
            recorded,
            "killed before append {n}"
        );
        // A result and what the playbook does on it are one group.
        assert_eq!(held, recorded.contains(&("start", "snap.unhold#1".into())));
        if !matches!(ended, lockstep_tests::Ended::Killed) {
            assert_eq!(recorded.len(), 4);
            break;
        }
    }
}
