//! `check`: a playbook is played on simulated clusters again and again, disturbed in every way that can be thought of, and
//! what goes wrong is reported with the rule, the line and the shortest history that shows it.

mod calls;
mod case;
mod finding;
mod judge;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use lockstep_twin::Scenario;

pub use case::{Case, Kill};
pub use finding::Finding;
pub use judge::Judge;

use crate::trial::Piece;

/// What is to be tried.
#[derive(Clone, Debug)]
pub struct Check {
    /// The clusters to play on.
    pub scenarios: Vec<Scenario>,
    /// How many random cases, on each cluster in turn.
    pub tries: usize,
    /// Seed of the random cases.
    pub seed: u64,
    /// Only this random case.
    pub only: Option<usize>,
    /// Whether the controller is killed at every append.
    pub kills: bool,
}

/// What was tried, and what was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Cases in which the controller was killed at one append.
    pub(crate) kills: usize,
    /// Random cases.
    pub tries: usize,
    /// What went wrong: one for each rule and line, by the simplest case that shows it.
    pub findings: Vec<Finding>,
}

struct Job<'a> {
    judge: &'a Judge,
    number: Option<usize>,
    case: Case,
}

impl Check {
    /// Tries everything. `progress` is called with how many cases are done, and of how many.
    #[must_use]
    pub fn run(&self, piece: &Piece, progress: &(dyn Fn(usize, usize) + Sync)) -> Report {
        let mut report = Report::default();
        let modules = piece.bundle.values().filter(|m| m.chunk.ends_with(".lua"));
        report.findings = modules
            .flat_map(|m| calls::wrong(m, &piece.registry))
            .collect();
        if !report.findings.is_empty() {
            return report;
        }
        let mut judges = Vec::new();
        for scenario in &self.scenarios {
            match Judge::new(piece, scenario) {
                Ok(judge) => judges.push(judge),
                // A playbook that goes wrong undisturbed is fixed before it is worth disturbing.
                Err(findings) => report.findings.extend(simplest(findings)),
            }
        }
        if !report.findings.is_empty() {
            return report;
        }
        let mut jobs = Vec::new();
        if self.kills && self.only.is_none() {
            for judge in &judges {
                let kill = |case| Job {
                    judge,
                    number: None,
                    case,
                };
                jobs.extend(Case::every_kill(judge.appends).map(kill));
            }
        }
        report.kills = jobs.len();
        let numbers = self.only.map_or(0..self.tries, |n| n..n + 1);
        report.tries = numbers.len();
        for number in numbers {
            let judge = &judges[number % judges.len().max(1)];
            let case = judge.random(self.seed, number);
            jobs.push(Job {
                judge,
                number: Some(number),
                case,
            });
        }
        let found = side_by_side(piece, &jobs, progress);
        let shortest = simplest(found).into_iter().map(|finding| {
            let judge = judges
                .iter()
                .find(|judge| judge.members() == finding.members);
            judge.map_or(finding.clone(), |judge| shrunk(piece, judge, finding))
        });
        report.findings = shortest.collect();
        report
    }
}

/// Plays all cases on all processors. The result doesn't depend on how they are dealt out.
fn side_by_side(
    piece: &Piece,
    jobs: &[Job<'_>],
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Vec<Finding> {
    let (next, found) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..processors {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(job) = jobs.get(at) else { break };
                    progress(at, jobs.len());
                    let findings = judged(piece, job);
                    if !findings.is_empty()
                        && let Ok(mut found) = found.lock()
                    {
                        found.insert(at, findings);
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_default();
    found.into_values().flatten().collect()
}

fn judged(piece: &Piece, job: &Job<'_>) -> Vec<Finding> {
    let mut findings = simplest(job.judge.play(piece, &job.case));
    for finding in &mut findings {
        (finding.number, finding.members) = (job.number, job.judge.members());
    }
    findings
}

/// The same finding by a case that can't be made simpler.
fn shrunk(piece: &Piece, judge: &Judge, mut finding: Finding) -> Finding {
    loop {
        let simpler = finding.case.simpler().into_iter().find_map(|case| {
            let findings = judge.play(piece, &case);
            findings.into_iter().find(|f| f.key() == finding.key())
        });
        match simpler {
            Some(simpler) => {
                let (number, members) = (finding.number, finding.members);
                finding = Finding {
                    number,
                    members,
                    ..simpler
                };
            }
            None => return finding,
        }
    }
}

/// One finding a rule and line, the one with the least disturbance.
fn simplest(findings: Vec<Finding>) -> Vec<Finding> {
    let mut best: BTreeMap<(String, String), Finding> = BTreeMap::new();
    for finding in findings {
        let weight = |f: &Finding| (f.case.size(), f.history.len());
        match best.get(&finding.key()) {
            Some(known) if weight(known) <= weight(&finding) => {}
            _ => drop(best.insert(finding.key(), finding)),
        }
    }
    best.into_values().collect()
}
