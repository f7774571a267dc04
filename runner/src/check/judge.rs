//! What a run must be, however it is disturbed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lockstep_modules::contract::cmd::End;
use lockstep_modules::contract::component::Component;
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::op::{Effect, Op};
use lockstep_modules::contract::schema::Span;
use lockstep_modules::ops::exec::Exec;
use lockstep_twin::{Scenario, Strangers, World};

use super::case::{BEFORE, Case};
use super::finding::Finding;
use crate::engine::{Decisions, Finish, Held};
use crate::event::Heard;
use crate::failure::Failure;
use crate::journal::Record;
use crate::trial::{Ended, Piece, Trial};

/// How a cluster was left.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Left {
    settings: BTreeMap<String, String>,
    revisions: BTreeMap<String, BTreeMap<String, u32>>,
}

/// Knows how a playbook runs on a cluster when nothing disturbs it, and judges by that.
pub struct Judge {
    scenario: Scenario,
    /// How many appends its journal takes.
    pub appends: usize,
    /// How long it takes, in milliseconds.
    pub(crate) takes: u64,
    before: BTreeMap<String, String>,
    left: Left,
}

/// How often a held run is resumed after everything that was wrong is fixed.
const RESUMES: usize = 6;

/// How long the operator takes to come.
const OPERATOR: Duration = Duration::from_secs(900);

impl Left {
    fn of(world: &World) -> Self {
        let snaps = |member: &String| {
            let revision = |c: Component| Some((c.to_string(), world.revision(member, c.snap())?));
            Component::ALL.into_iter().filter_map(revision).collect()
        };
        Self {
            settings: world.settings(),
            revisions: world
                .members
                .keys()
                .map(|m| (m.clone(), snaps(m)))
                .collect(),
        }
    }
}

impl Judge {
    /// Plays the piece undisturbed.
    ///
    /// # Errors
    /// With what is wrong with it even then.
    pub fn new(piece: &Piece, scenario: &Scenario) -> Result<Self, Vec<Finding>> {
        let mut judge = Self {
            scenario: scenario.clone(),
            appends: 0,
            takes: 0,
            before: scenario.build().settings(),
            left: Left::of(&scenario.build()),
        };
        let case = Case {
            seed: scenario.seed,
            ..Case::default()
        };
        let mut trial = judge.trial(piece, &case)?;
        trial.heard = Heard::Everything;
        let ended = judge.run_out(&mut trial, &case);
        judge.appends = trial.journal.appends();
        judge.takes = trial.world.now;
        let mut findings = judge.broken(&trial, &case);
        findings.extend(ended.err());
        judge.left = Left::of(&trial.world);
        // The same again must be the same to the byte, or a killed run can't be resumed.
        let mut again = judge.trial(piece, &case)?;
        again.heard = Heard::Everything;
        drop(judge.run_out(&mut again, &case));
        if again.journal.text() != trial.journal.text() || again.events != trial.events {
            findings.push(Finding::new(
                "deterministic",
                "two runs of the same playbook on the same cluster differ",
                &case,
            ));
        }
        if findings.is_empty() {
            Ok(judge)
        } else {
            Err(findings)
        }
    }

    fn trial(&self, piece: &Piece, case: &Case) -> Result<Trial, Vec<Finding>> {
        let scenario = Scenario {
            seed: case.seed,
            ..self.scenario.clone()
        };
        let mut world = scenario.build();
        // What a site calls beside the cluster is taken to work.
        world.strangers = Strangers::Succeed;
        world.machines = piece.machines.iter().map(|m| m.name.to_string()).collect();
        for fault in case.before.iter().chain(&case.faults) {
            world
                .inject(fault.clone())
                .map_err(|e| vec![Finding::new("fault", &e, case)])?;
        }
        let mut trial = Trial::new(piece.clone(), world);
        trial.heard = Heard::Nothing;
        trial.answer = crate::engine::Answer::Yes;
        if !case.before.is_empty() {
            trial.wait(BEFORE);
        }
        Ok(trial)
    }

    /// Plays a case, and says what was wrong.
    pub(crate) fn play(&self, piece: &Piece, case: &Case) -> Vec<Finding> {
        match self.played(piece, case) {
            Ok((_, findings)) | Err(findings) => findings,
        }
    }

    /// Plays a case, and says what came of it and what was wrong with that.
    ///
    /// # Errors
    /// With what is wrong with the case itself.
    pub fn played(
        &self,
        piece: &Piece,
        case: &Case,
    ) -> Result<(Trial, Vec<Finding>), Vec<Finding>> {
        let mut trial = self.trial(piece, case)?;
        let ended = self.run_out(&mut trial, case);
        let mut findings = self.broken(&trial, case);
        match ended {
            Err(finding) => findings.push(finding),
            // Faults may change what there is to do; kills never do.
            Ok(true) if !case.shakes_cluster() && findings.is_empty() => {
                let left = Left::of(&trial.world);
                if left != self.left {
                    let what = format!(
                        "killed and resumed, the run left the cluster in a different state: {left:?} instead of {:?}",
                        self.left
                    );
                    findings.push(Finding::new("same-end", &what, case));
                }
            }
            Ok(_) => {}
        }
        Ok((trial, findings))
    }

    /// Plays a run to its end, as an operator would who fixes what is broken and resumes. Says whether it was done.
    fn run_out(&self, trial: &mut Trial, case: &Case) -> Result<bool, Finding> {
        let mut kills = case.kills.iter();
        let mut first = true;
        let mut resumes = 0;
        let mut decisions = Decisions::default();
        loop {
            let kill = kills.next();
            let crash = kill.map(|kill| kill.crash);
            let ended = match crash {
                _ if !first => trial.resume(std::mem::take(&mut decisions), resumes > 2, crash),
                Some(crash) => trial.run_until(crash),
                None => trial.run(),
            };
            first = false;
            let ended = ended.map_err(|failure| Finding::of_failure("loads", &failure, case))?;
            let held = match ended {
                Ended::Finish(Finish::Done(_)) => return Ok(true),
                // What is left on is seen in the world, with the line that switched it on.
                Ended::Finish(Finish::Failed(failure)) if failure.only_leaves_on() => {
                    return Ok(true);
                }
                Ended::Finish(Finish::Failed(failure)) if !case.shakes_cluster() => {
                    return Err(Finding::of_failure("comes-to-an-end", &failure, case));
                }
                Ended::Finish(Finish::Failed(_) | Finish::Aborted) => return Ok(false),
                Ended::Endless => return Err(endless(trial, case)),
                Ended::Error(error) => {
                    return Err(Finding::new("comes-to-an-end", &error.to_string(), case));
                }
                Ended::Killed => {
                    if let Some(kill) = kill {
                        if kill.sessions_end {
                            trial.world.end_sessions();
                        }
                        trial.wait(kill.downtime);
                    }
                    continue;
                }
                // One that was refused is begun again.
                Ended::Finish(Finish::Held(held) | Finish::Refused(held)) => held,
                Ended::Finish(Finish::Suspended(_)) => Vec::new(),
            };
            if resumes == RESUMES || case.size() == 0 {
                let verdict = held.iter().all(|h| is_verdict(h.failure.kind));
                if verdict && case.shakes_cluster() {
                    return Ok(false);
                }
                return Err(stuck(&held, case));
            }
            trial.world.mend();
            trial.wait(OPERATOR);
            // What is still in doubt when everything is well again is for the operator to decide.
            if resumes > 1 {
                decisions.retry = held
                    .iter()
                    .filter(|h| h.in_doubt)
                    .map(|h| h.path.clone())
                    .collect();
            }
            resumes += 1;
        }
    }

    /// The rules that were broken: the world's, and those about the end.
    fn broken(&self, trial: &Trial, case: &Case) -> Vec<Finding> {
        let Ok(records) = trial.records() else {
            return vec![Finding::new("journal", "the journal can't be read", case)];
        };
        let mut steps = BTreeMap::new();
        let mut decided = BTreeSet::new();
        let mut done = false;
        for record in &records {
            match record {
                Record::Intent {
                    path,
                    site,
                    effect,
                    op,
                    ..
                } => {
                    steps.insert(path.as_str(), (site.as_str(), *effect, op.as_str()));
                }
                Record::Decide { path, .. } => {
                    decided.insert(path.as_str());
                }
                Record::End { result } => {
                    done = result
                        .as_ref()
                        .map_or_else(Failure::only_leaves_on, |_| true);
                }
                _ => {}
            }
        }
        // What was there from the beginning is of no step.
        let step = |path: &str| (!path.is_empty()).then(|| path.into());
        let site = |step: &str| steps.get(step).map_or("", |(site, ..)| site);
        let history = |until: u64| -> Vec<String> {
            let log = trial.world.log.iter();
            let changes = log.filter(|e| e.at <= until && e.changed);
            let line = |e: &lockstep_twin::Entry| {
                format!(
                    "{:>9}  {}  {}",
                    Span(Duration::from_secs(e.at / 1000)),
                    e.member,
                    e.argv.join(" ")
                )
            };
            changes.map(line).collect()
        };
        let mut findings: Vec<Finding> = Vec::new();
        for violation in trial.world.violations() {
            let finding = Finding::new(&violation.rule, &violation.what, case)
                .by(step(&violation.step), site(&violation.step))
                .after(history(violation.at));
            findings.push(finding);
        }
        for (path, (line, effect, op)) in &steps {
            let again = trial
                .world
                .log
                .iter()
                .filter(|e| e.step == *path && e.end == Some(End::Exit(0)))
                .count();
            if *effect == Effect::Once && *op == Exec::NAME && again > 1 && !decided.contains(path)
            {
                let what = format!("{path} was done {again} times");
                findings.push(
                    Finding::new("once", &what, case)
                        .by(step(path), line)
                        .after(history(u64::MAX)),
                );
            }
        }
        if done {
            let (before, after) = (&self.before, trial.world.settings());
            let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let (rule, what) = match (before.get(name), after.get(name)) {
                    (was, is) if was == is => continue,
                    (None, Some(_)) => ("nothing-left-on", format!("{name} is left on")),
                    (Some(was), is) => {
                        let is = is.map_or("gone", String::as_str);
                        (
                            "operators-settings-kept",
                            format!("{name} was {was} before the run, and is {is} after it"),
                        )
                    }
                    (None, None) => continue,
                };
                let by = trial.world.switched_by(name).unwrap_or_default();
                findings.push(
                    Finding::new(rule, &what, case)
                        .by(step(by), site(by))
                        .after(history(u64::MAX)),
                );
            }
        }
        findings
    }

    /// A random case for this cluster.
    #[must_use]
    pub fn random(&self, series: u64, number: usize) -> Case {
        Case::random(
            series,
            number,
            &self.scenario.build(),
            self.appends,
            self.takes,
        )
    }

    pub(crate) fn members(&self) -> usize {
        self.scenario.members.len()
    }
}

/// Whether a failure says what was seen, rather than that it couldn't be seen or didn't come about. What a fault has done
/// (instances that a power loss has restarted, for example) stays done when the fault is gone: the run holds, and should.
fn is_verdict(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Timeout | Kind::Unreachable | Kind::Script | Kind::Args
    )
}

fn stuck(held: &[Held], case: &Case) -> Finding {
    let wrong = if case.size() == 0 {
        "on a healthy cluster"
    } else {
        "although nothing is wrong anymore"
    };
    match held.first() {
        Some(h) => Finding::of_failure("comes-to-an-end", &h.failure, case).also(wrong),
        None => Finding::new("comes-to-an-end", &format!("the run pauses {wrong}"), case),
    }
}

fn endless(trial: &Trial, case: &Case) -> Finding {
    let last = trial.records().ok().and_then(|records| {
        records.into_iter().rev().find_map(|r| match r {
            Record::Intent { path, site, .. } => Some((path, site)),
            _ => None,
        })
    });
    let (path, site) = last.unzip();
    let days = crate::trial::ENDLESS.as_secs() / 86400;
    Finding::new(
        "comes-to-an-end",
        &format!("the run does not end: stopped after {days} days, or too many steps"),
        case,
    )
    .by(path, site.as_deref().unwrap_or_default())
}
