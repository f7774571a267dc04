//! A plan: what a playbook does on a simulated cluster that is like the real one.
//!
//! The same playbook goes through the same modules, so a plan is what a run would be, except for what nobody can know
//! before: what programs do that the simulated cluster doesn't know. There the plan ends, and says so.

mod file;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lockstep_modules::contract::cx::LogLevel;
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::op::{Effect, Op};
use lockstep_modules::contract::schema::Member;
use lockstep_modules::ops::lxd::Evacuate;
use lockstep_twin::{Instance, Scenario, Strangers, World};
use regex::Regex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bundle::digest;
pub(crate) use crate::engine::Approved;
use crate::engine::{Answer, Decisions, Finish, Planned};
use crate::event::{Event, Heard, Stamped};
use crate::failure::Failure;
use crate::foreseen::{self, Foreseen};
use crate::journal::Record;
use crate::programs;
use crate::script::UNKNOWN;
use crate::trial::{Ended, Piece, Trial};
use lockstep_modules::contract::path::{StepPath, or_empty};

pub(crate) use file::{KEPT, PlanError};

/// The version of the file.
pub(crate) const FORMAT: u32 = 1;

/// The digits of a plan's digest that are shown, and the fewest that an approval may have.
pub(crate) const DIGITS: usize = 8;

/// What a run will do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    pub(crate) format: u32,
    /// The lockstep that made it.
    pub(crate) lockstep: String,
    pub(crate) cluster: String,
    pub(crate) members: Vec<Member>,
    pub(crate) playbook: String,
    /// The SHA-256 of each of its sources.
    pub(crate) sources: BTreeMap<String, String>,
    pub(crate) params: Value,
    /// The steps, in the order in which they begin.
    pub steps: Vec<Step>,
    /// What the playbook says on the way: where, and what.
    #[serde(rename = "said")]
    pub(crate) messages: Vec<(String, String)>,
    /// Instances that are moved, stopped or restarted, with what happens to them.
    pub(crate) instances: Vec<String>,
    /// Settings that are changed on the way; with what they are in the end, where that isn't what they were.
    pub(crate) settings: Vec<Setting>,
    /// For how long members will have different revisions of a snap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Foreseen>,
    /// How the plan ends.
    pub end: End,
}

/// A step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Its path.
    pub path: StepPath,
    /// Its op.
    pub op: String,
    /// Its arguments.
    pub args: Value,
    /// Those of its arguments that hold what an earlier step found: on the day they are what is found then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) found: Vec<String>,
    pub(crate) effect: Effect,
    pub(crate) site: String,
    pub(crate) member: Option<Member>,
    pub(crate) headline: String,
    pub(crate) summary: String,
    /// Milliseconds from the beginning, estimated.
    pub(crate) begins: u64,
    /// Milliseconds that it takes, estimated.
    pub(crate) takes: u64,
}

/// A setting that is changed on the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setting {
    pub(crate) name: String,
    /// Whether it is in the end what it was in the beginning.
    #[serde(rename = "given_back")]
    pub(crate) restored: bool,
}

/// How a plan ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum End {
    /// With the playbook.
    Done,
    /// The run would be held, or fail.
    Stops {
        /// At this step, if at one.
        #[serde(with = "or_empty")]
        step: Option<StepPath>,
        /// Why.
        why: String,
        /// The line of the playbook.
        site: String,
        /// A check says no, before anything is changed.
        refused: bool,
    },
    /// From here on it depends on what can't be known.
    Open {
        /// The line that asks.
        site: String,
        /// What it depends on.
        why: String,
    },
}

/// How often a plan continues after a command that it can't know.
const STRANGERS: usize = 500;

/// Plays a piece on a cluster like `scenario`.
///
/// # Errors
/// Where the playbook can't be loaded.
pub fn make(piece: &Piece, cluster: &str, scenario: &Scenario) -> Result<Plan, Failure> {
    let mut world = scenario.build();
    world.strangers = Strangers::Unknown;
    world.unlogged = true;
    world.machines = piece.machines.iter().map(|m| m.name.to_string()).collect();
    let before = (world.settings(), world.instances().to_vec());
    let mut trial = Trial::new(piece.clone(), world);
    trial.answer = Answer::Yes;
    trial.heard = Heard::Steps;
    let mut events = Vec::new();
    let mut ended = trial.run()?;
    events.append(&mut trial.events);
    // Nobody can know what a stranger does; the playbook gets a result that can't be looked at, and continues.
    for _ in 0..STRANGERS {
        let Ended::Finish(Finish::Held(held)) = &ended else {
            break;
        };
        let strangers = held.iter().filter(|h| h.failure.kind == Kind::Unknown);
        let paths: BTreeSet<&StepPath> = strangers.map(|h| &h.path).collect();
        if paths.len() < held.len() {
            break;
        }
        let decisions = Decisions {
            assume_done: answers(&trial, &paths),
            ..Decisions::default()
        };
        ended = trial.resume(decisions, true, None)?;
        events.append(&mut trial.events);
    }
    let records = trial.records().unwrap_or_default();
    let end = match ended {
        Ended::Finish(Finish::Done(_)) => End::Done,
        Ended::Finish(Finish::Failed(failure)) if failure.kind == Kind::Unknown => End::Open {
            site: failure.site.clone().unwrap_or_default(),
            why: failure.message,
        },
        Ended::Finish(Finish::Failed(failure)) => stops(&failure, false),
        Ended::Finish(Finish::Held(held)) => {
            let touched = trial
                .world
                .log
                .iter()
                .any(|e| e.root && changes(&records, &e.step));
            held.first().map_or(End::Done, |h| {
                stops(&h.failure, !touched && h.failure.kind == Kind::Refused)
            })
        }
        Ended::Finish(Finish::Refused(held)) => {
            held.first().map_or(End::Done, |h| stops(&h.failure, true))
        }
        Ended::Endless => stops(
            &Failure::script("the playbook does not end: stopped after 7 days, or too many steps"),
            false,
        ),
        Ended::Error(error) => stops(&Failure::script(error.to_string()), false),
        Ended::Finish(Finish::Suspended(why)) => stops(&Failure::script(why.to_string()), false),
        Ended::Finish(Finish::Aborted) | Ended::Killed => {
            stops(&Failure::script("the run was ended"), false)
        }
    };
    let (settings_before, instances_before) = before;
    let settings = trial.world.switched().map(|name| Setting {
        restored: settings_before.get(name) == trial.world.settings().get(name),
        name: name.to_owned(),
    });
    let settings = settings.collect();
    Ok(Plan {
        format: FORMAT,
        lockstep: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: cluster.to_owned(),
        members: scenario.members.iter().map(|m| m.as_str().into()).collect(),
        playbook: piece.main.clone(),
        sources: sources(piece),
        params: piece.params.clone(),
        steps: steps(&records, trial.world.epoch, &events),
        messages: messages(&events),
        windows: foreseen::simulated(&events),
        instances: touched(&records, &trial.world, &instances_before),
        settings,
        end,
    })
}

/// The SHA-256 of every Lua module and every module program that a piece is played with.
fn sources(piece: &Piece) -> BTreeMap<String, String> {
    let modules = piece.bundle.iter();
    let modules = modules.map(|(name, source)| (name.clone(), digest(&source.text)));
    modules.chain(programs::digests(&piece.registry)).collect()
}

/// That nobody knows what strangers do.
fn answers(trial: &Trial, paths: &BTreeSet<&StepPath>) -> BTreeMap<StepPath, Value> {
    let records = trial.records().unwrap_or_default();
    let answer = |record: &Record| match record {
        Record::Intent { path, args, .. } if paths.contains(path) => {
            let command = args.get("argv").unwrap_or(args);
            Some((path.clone(), json!({UNKNOWN: command.to_string()})))
        }
        _ => None,
    };
    records.iter().filter_map(answer).collect()
}

fn stops(failure: &Failure, refused: bool) -> End {
    End::Stops {
        step: failure.step.clone(),
        why: failure.to_string(),
        site: failure.site.clone().unwrap_or_default(),
        refused,
    }
}

fn changes(records: &[Record], step: &str) -> bool {
    records.iter().any(|r| matches!(r, Record::Intent { path, effect, .. } if *path == *step && *effect != Effect::Read))
}

fn steps(records: &[Record], epoch: Timestamp, events: &[Stamped]) -> Vec<Step> {
    let millis = |at: Timestamp| u64::try_from(at.duration_since(epoch).as_millis()).unwrap_or(0);
    let (mut began, mut done) = (BTreeMap::new(), BTreeMap::new());
    for stamped in events {
        match &stamped.event {
            Event::StepStarted { step, .. } => {
                let (member, headline) = (step.member.clone(), step.headline.clone());
                let begins = (millis(stamped.at), member, headline);
                began.entry(step.path.clone()).or_insert(begins);
            }
            Event::StepDone { step, summary, .. } => {
                done.insert(step.path.clone(), (millis(stamped.at), summary.clone()));
            }
            _ => {}
        }
    }
    let open: BTreeSet<StepPath> = records
        .iter()
        .filter_map(|record| match record {
            Record::Done { path, value, .. } if value.get(UNKNOWN).is_some() => Some(path.clone()),
            _ => None,
        })
        .collect();
    let (mut results, mut steps) = (BTreeSet::new(), Vec::new());
    for record in records {
        let (path, op, args, effect, site) = match record {
            Record::Done { value, .. } => {
                collect(value, &mut results);
                continue;
            }
            Record::Intent {
                path,
                op,
                args,
                effect,
                site,
            } => (path, op, args, effect, site),
            _ => continue,
        };
        let Some((begins, member, headline)) = began.get(path).cloned() else {
            continue;
        };
        let (ends, mut summary) = done.get(path).cloned().unwrap_or((begins, String::new()));
        if open.contains(path) {
            "its outcome isn't known before it runs".clone_into(&mut summary);
        }
        steps.push(Step {
            path: path.clone(),
            op: op.clone(),
            found: found(args, &results),
            args: args.clone(),
            effect: *effect,
            site: site.clone(),
            member,
            headline,
            summary,
            begins,
            takes: ends.saturating_sub(begins),
        });
    }
    steps
}

/// The arguments that are records or lists out of earlier results. Words and numbers are alike by chance, so they don't count.
fn found(args: &Value, results: &BTreeSet<String>) -> Vec<String> {
    let args = args.as_object().into_iter().flatten();
    let from_results = args.filter(|(_, value)| results.contains(&value.to_string()));
    from_results.map(|(name, _)| name.clone()).collect()
}

/// The records and lists that a result has anywhere in it, as JSON.
fn collect(result: &Value, into: &mut BTreeSet<String>) {
    let parts: Vec<&Value> = match result {
        Value::Object(fields) => fields.values().collect(),
        Value::Array(items) => items.iter().collect(),
        _ => return,
    };
    if parts.is_empty() {
        return;
    }
    into.insert(result.to_string());
    for part in parts {
        collect(part, into);
    }
}

fn messages(events: &[Stamped]) -> Vec<(String, String)> {
    let mut messages = Vec::new();
    for stamped in events {
        if let Event::Log {
            scope,
            message,
            level,
        } = &stamped.event
            && *level != LogLevel::Debug
        {
            let line = (scope.clone(), message.clone());
            if !messages.contains(&line) {
                messages.push(line);
            }
        }
    }
    messages
}

fn touched(records: &[Record], world: &World, before: &[Instance]) -> Vec<String> {
    let mut touched = Vec::new();
    for record in records {
        let Record::Done { path, value, .. } = record else {
            continue;
        };
        for (key, what) in [("moved", "is moved away:"), ("stopped", "is stopped:")] {
            let list = value
                .get(key)
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            touched.extend(
                list.filter(|_| path.op() == Evacuate::NAME)
                    .filter_map(Value::as_str)
                    .map(|name| format!("{what} {name}")),
            );
        }
    }
    for was in before.iter().filter(|i| i.running) {
        let now = world
            .instances()
            .iter()
            .find(|i| i.name == was.name && i.project == was.project);
        match now {
            None => touched.push(format!("is gone: {}", was.name)),
            Some(now) if !now.running => touched.push(format!("is left stopped: {}", was.name)),
            Some(now) if now.started != was.started => {
                touched.push(format!("is restarted: {}", was.name))
            }
            Some(_) => {}
        }
    }
    touched
}

impl Plan {
    /// The digest of what is the same in two plans that differ only in names, and in when they were made: what is changed, in which
    /// order, with which arguments, and to what. What is merely read or found on the way differs from cluster to cluster.
    pub(crate) fn shape(&self) -> String {
        let changes = self.steps.iter().filter(|step| step.effect != Effect::Read);
        let mut text: String = changes
            .map(|step| {
                let args = step.args.as_object().into_iter().flatten();
                let given = args.filter(|(name, _)| !step.found.contains(name));
                let given: Value = given.map(|(k, v)| (k.clone(), v.clone())).collect();
                format!("{} {} {given} {}\n", step.path, step.op, step.summary)
            })
            .collect();
        // Of two names one may be the beginning of the other.
        let mut members: Vec<(usize, &Member)> = self.members.iter().enumerate().collect();
        members.sort_by_key(|(_, member)| Reverse(member.as_str().len()));
        for (i, member) in members {
            text = text.replace(member.as_str(), &format!("member {}", i + 1));
        }
        // A backup is named after the time at which it is made.
        let time = Regex::new(r"\d{8}T\d{6}Z");
        let timeless = time.map(|time| time.replace_all(&text, "").into_owned());
        digest(timeless.unwrap_or(text))
    }

    /// What a run that keeps to this plan may do.
    pub(crate) fn approved(&self) -> Approved {
        let step = |s: &Step| {
            let (op, args, found) = (s.op.clone(), s.args.clone(), s.found.clone());
            (s.path.clone(), Planned { op, args, found })
        };
        Approved(self.steps.iter().map(step).collect())
    }

    /// Why a run of this playbook on this cluster can't be the planned one.
    pub(crate) fn misfit(
        &self,
        cluster: &str,
        members: &[Member],
        piece: &Piece,
    ) -> Option<String> {
        let changed = |planned: &BTreeMap<String, String>| {
            let mut now = sources(piece).into_iter();
            let changed = now.find(|(name, sum)| planned.get(name) != Some(sum));
            changed.map(|(name, _)| name)
        };
        if self.format != FORMAT {
            return Some(format!(
                "it is of format {}, and this lockstep knows {FORMAT}",
                self.format
            ));
        }
        if self.cluster != cluster || self.members != members {
            return Some(format!(
                "it is for the cluster {} ({})",
                self.cluster,
                self.members.join(", ")
            ));
        }
        if self.playbook != piece.main {
            return Some(format!("it is for the playbook {}", self.playbook));
        }
        if let Some(name) = changed(&self.sources) {
            return Some(format!("{name} was changed since"));
        }
        let apart = differing(&self.params, &piece.params);
        (!apart.is_empty())
            .then(|| format!("it was made with other parameters: {}", apart.join(", ")))
    }
}

/// Which parameters differ, and how.
fn differing(planned: &Value, given: &Value) -> Vec<String> {
    let value = |of: &Value, name: &String| of.get(name).cloned().unwrap_or_default();
    let names: BTreeSet<&String> = [planned, given]
        .iter()
        .filter_map(|params| params.as_object())
        .flat_map(serde_json::Map::keys)
        .collect();
    let differs = |name: &&String| value(planned, name) != value(given, name);
    let text = |value: Value| match value {
        Value::Null => "none".to_owned(),
        value => value.to_string(),
    };
    let both = |name: &String| {
        let (planned, given) = (value(planned, name), value(given, name));
        format!(
            "{name} is {} in the plan and {} here",
            text(planned),
            text(given)
        )
    };
    names.into_iter().filter(differs).map(both).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{Call, Options};

    fn objection(planned: Planned, args: Value) -> Option<String> {
        let path = StepPath::from("MicroCeph/microceph.finish#1");
        let op = planned.op.clone();
        let approved = Approved(BTreeMap::from([(path.clone(), planned)]));
        approved.objection(&Call {
            path,
            op,
            args,
            effect: Effect::Converge,
            options: Options::default(),
            caught: false,
            cleaning: false,
            site: String::new(),
            traceback: None,
        })
    }

    #[test]
    fn what_an_earlier_step_found_is_no_part_of_a_plan() {
        let planned = json!({"samples": 2, "since": {"versions": {"19.2.0 squid": 12}}});
        let results = [planned["since"].clone(), json!({"samples": 2})];
        let mut known = BTreeSet::new();
        results
            .iter()
            .for_each(|result| collect(result, &mut known));
        let found = found(&planned, &known);
        assert_eq!(found, ["since"]);
        let step = Planned {
            op: "microceph.finish".to_owned(),
            args: planned,
            found,
        };
        let on_the_day = json!({"samples": 2, "since": {"versions": {"18.2.7 reef": 12}}});
        assert_eq!(objection(step.clone(), on_the_day), None);
        assert_eq!(
            objection(step, json!({"samples": 1, "since": {}})).unwrap(),
            r#"the plan has other arguments here: {"samples":2}"#
        );
    }
}
