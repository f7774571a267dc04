//! Where a trouble is played: on the twin, or on real members that the twin stands behind.

use std::ops::DerefMut;
use std::time::Duration;

use lockstep::engine::Finish;
use lockstep_twin::{Scenario, World};
use serde_json::{Map, Value};

use crate::lab::{Ran, SshLab, pause};
use crate::{Bench, Ended};

/// How a process of a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The run is done.
    Done,
    /// It is held or was refused at these steps, each with its message.
    Held(Vec<(String, String)>),
    /// It ended, paused or failed otherwise.
    Other(String),
}

/// A cluster with a run on it.
pub trait Stage {
    /// The world, as it is now.
    fn world(&mut self) -> Box<dyn DerefMut<Target = World> + '_>;
    /// Begins the run.
    fn run(&mut self) -> Outcome;
    /// Continues it; one that was refused is begun again.
    fn resume(&mut self) -> Outcome;
    /// The same run is begun by another controller; once it is begun, continued there.
    fn second(&mut self) -> Outcome;
    /// Lets time of the world pass.
    fn wait(&mut self, span: Duration);
}

/// A playbook with parameters as they are typed.
#[derive(Clone, Copy)]
pub struct Piece {
    /// The playbook.
    pub playbook: &'static str,
    /// Its parameters.
    pub params: &'static [(&'static str, &'static str)],
}

/// On the twin.
struct OnTwin {
    first: Bench,
    second: Option<Bench>,
}

/// The twin.
#[must_use]
pub fn twin(scenario: &Scenario, piece: Piece) -> Box<dyn Stage> {
    let typed = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::from(*value));
    // As over SSH, where there is nothing to be copied.
    let backup = [("backup".to_owned(), Value::from("false"))];
    let params: Map<String, Value> = piece.params.iter().map(typed).chain(backup).collect();
    let params = Value::Object(params);
    Box::new(OnTwin {
        first: Bench::shipped(piece.playbook, scenario, &params),
        second: None,
    })
}

impl Stage for OnTwin {
    fn world(&mut self) -> Box<dyn DerefMut<Target = World> + '_> {
        Box::new(&mut self.first.world)
    }

    fn run(&mut self) -> Outcome {
        self.first.run().into()
    }

    fn resume(&mut self) -> Outcome {
        self.first.resume().into()
    }

    fn second(&mut self) -> Outcome {
        let begun = self.second.is_some();
        let copy = self.first.fresh_copy();
        let second = self.second.get_or_insert(copy);
        second.world = self.first.world.clone();
        let ended = if begun { second.resume() } else { second.run() };
        self.first.world = second.world.clone();
        ended.into()
    }

    fn wait(&mut self, span: Duration) {
        self.first.wait(span);
    }
}

impl From<Ended> for Outcome {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Finish(Finish::Done(_)) => Self::Done,
            Ended::Finish(Finish::Held(held) | Finish::Refused(held)) => {
                let reported = held
                    .into_iter()
                    .map(|h| (h.path.to_string(), h.failure.message));
                Self::Held(reported.collect())
            }
            other => Self::Other(format!("{other:?}")),
        }
    }
}

/// lockstep over SSH.
struct OverSsh {
    lab: SshLab,
    piece: Piece,
}

/// Members over SSH.
#[must_use]
pub fn over_ssh(scenario: &Scenario, piece: Piece) -> Box<dyn Stage> {
    let lab = SshLab::hurried(scenario);
    Box::new(OverSsh { lab, piece })
}

impl OverSsh {
    /// Begins the run on the controller with this state folder.
    fn begin(&self, state: &str) -> Outcome {
        let params = self.piece.params.iter();
        let params: Vec<String> = params
            .map(|(name, value)| match *name {
                // What is typed replaces what the cluster's file accepts: these members' clocks aren't lockstep's.
                "accept" => format!("accept=clocks,{value}"),
                _ => format!("{name}={value}"),
            })
            .collect();
        let mut args = vec![self.piece.playbook, "--json"];
        args.extend(params.iter().flat_map(|param| ["-p", param]));
        self.lab.run_in(state, &args).into()
    }

    /// Continues the last run; where that was refused, the same command begins another one.
    fn continued(&self, state: &str) -> Outcome {
        let listed = self.lab.run_in(state, &["runs", "--json"]);
        let runs: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
        let last = runs.last().unwrap();
        if last["state"] == "refused" {
            return self.begin(state);
        }
        let run = last["run"].as_str().unwrap();
        self.lab.run_in(state, &["resume", run, "--json"]).into()
    }
}

impl Stage for OverSsh {
    fn world(&mut self) -> Box<dyn DerefMut<Target = World> + '_> {
        Box::new(self.lab.world())
    }

    fn run(&mut self) -> Outcome {
        self.begin("state")
    }

    fn resume(&mut self) -> Outcome {
        self.continued("state")
    }

    fn second(&mut self) -> Outcome {
        if self.lab.path("elsewhere").exists() {
            self.continued("elsewhere")
        } else {
            self.begin("elsewhere")
        }
    }

    fn wait(&mut self, span: Duration) {
        let until = self.lab.world().now + u64::try_from(span.as_millis()).unwrap();
        while self.lab.world().now < until {
            pause(Duration::from_millis(20));
        }
    }
}

impl From<Ran> for Outcome {
    fn from(ran: Ran) -> Self {
        let last = ran.stdout.lines().last().unwrap_or_default();
        let last: Value = serde_json::from_str(last).unwrap_or_default();
        match last["outcome"].as_str() {
            Some("done") => Self::Done,
            Some("held" | "refused") => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let steps = last["steps"].as_array().into_iter().flatten();
                let reported = steps.map(|s| (text(&s["path"]), text(&s["failure"]["message"])));
                Self::Held(reported.collect())
            }
            _ => Self::Other(format!("{:?}: {last}\n{}", ran.code, ran.stderr)),
        }
    }
}
