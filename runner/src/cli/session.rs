//! What all commands that run something share: the runtime, reporters, signals, and how an end is told.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, LocalBoxFuture, select};
use lockstep_modules::contract::cluster::Cluster;
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::op::{Effect, Op, Registry};
use lockstep_modules::contract::reach::Transport;
use lockstep_modules::ops::lock::Take;
use lockstep_modules::ops::preflight::Check;
use lockstep_modules::transport::wire;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::commands::preflight::checks_table;
use super::exit::{Exit, Fault};
use super::global::Global;
use super::print;
use super::shown::Shown;
use super::signals::until_interrupted;
use crate::clock::Clock;
use crate::engine::{Answer, Asker, Engine, EngineError, Finish, Held, Start, Stop, Tools};
use crate::event::{Event, Events, Reporter, Stamped};
use crate::failure::Failure;
use crate::journal::{Journal, Suspended};
use crate::plan::Approved;
use crate::report::excerpt::Ink;
use crate::report::failure::{Teller, head};
use crate::report::harmless::harmless;
use crate::report::hold;
use crate::report::{FileReporter, Screen};
use crate::script::{Script, Source};
use crate::secret::Secrets;

/// A runtime of one thread: the work is waiting. Against a simulated cluster its clock jumps over the waiting; paused, it
/// is moved by whoever plays a session at a speed.
pub(super) fn runtime(paused: bool) -> Result<Runtime, Fault> {
    Builder::new_current_thread()
        .enable_all()
        .start_paused(paused)
        .build()
        .map_err(|e| Fault::new(Exit::State, format!("no runtime can be made: {e}")))
}

/// The state folder.
pub(super) fn state(global: &Global) -> Result<PathBuf, Fault> {
    if let Some(folder) = &global.state {
        return Ok(folder.clone());
    }
    let folders = etcetera::choose_base_strategy().map_err(|e| {
        Fault::usage(format!("there is no home folder ({e})")).help("name a folder with --state")
    })?;
    let state = etcetera::BaseStrategy::state_dir(&folders);
    Ok(state
        .unwrap_or_else(|| etcetera::BaseStrategy::data_dir(&folders))
        .join("lockstep"))
}

/// Who types, as `user@host`.
pub(super) fn who() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok());
    let number = || {
        std::fs::metadata("/proc/self")
            .map_or_else(|_| "?".to_owned(), |me| format!("uid {}", me.uid()))
    };
    let user = named.unwrap_or_else(number);
    let host =
        std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "?".to_owned());
    format!("{user}@{}", host.trim())
}

/// Everything that a run needs beside its script, journal and cluster.
pub(super) struct Session<'a> {
    pub(super) registry: &'a Registry,
    pub(super) cluster: Cluster,
    pub(super) transport: Rc<dyn Transport>,
    /// The run's folder, where it has one.
    pub(super) folder: Option<PathBuf>,
    /// What is shown while it goes on.
    pub(super) shown: Shown,
    /// The cluster is simulated: its time jumps, so that no clock moves on the screen while nothing happens, and nobody
    /// could type a command on its members.
    pub(super) simulated: bool,
    /// What time it is.
    pub(super) clock: Clock,
    /// Every question is answered with yes.
    pub(super) yes: bool,
    pub(super) deliver_failures: bool,
    /// The plan that the run has to keep to.
    pub(super) approved: Option<Approved>,
    /// What ops are given and nobody gets to see.
    pub(super) secrets: Secrets,
    /// How many seconds pass in one of ours, in a paused runtime; none for its own clock.
    pub(super) speed: Option<f64>,
}

/// A finished session: how it ended, and what it takes to tell that.
pub(super) struct Played {
    pub(super) finish: Finish,
    /// Something on the cluster may have been changed.
    touched: bool,
    simulated: bool,
    cluster: Cluster,
    /// What was loaded.
    sources: BTreeMap<String, Source>,
}

impl Played {
    fn teller(&self) -> Teller<'_> {
        Teller {
            sources: &self.sources,
            cluster: (!self.simulated).then_some(&self.cluster),
            ink: Ink::stdout(),
        }
    }
}

/// Remembers whether something on the cluster may have been changed.
#[derive(Clone, Default)]
struct Touched(Rc<Cell<bool>>);

impl Reporter for Touched {
    fn take(&mut self, event: &Stamped) {
        self.0.set(self.0.get() || changed_something(&event.event));
    }
}

impl Session<'_> {
    /// Plays a script.
    pub(super) async fn play(
        self,
        script: Script,
        journal: Box<dyn Journal>,
        start: Start,
    ) -> Result<Played, EngineError> {
        let clock = self.clock;
        let (touched, sources) = (Touched::default(), script.loaded());
        let (simulated, known) = (self.simulated, self.cluster.clone());
        let screen = self.shown.screen();
        let mut reporters: Vec<Box<dyn Reporter>> = vec![Box::new(touched.clone())];
        if let Some(folder) = &self.folder {
            // A folder that takes a journal but no events is odd, and no reason not to run.
            reporters
                .extend(FileReporter::in_folder(folder).map(|r| Box::new(r) as Box<dyn Reporter>));
        }
        reporters.extend(self.shown.reporter(screen.as_ref()));
        let (sender, stop) = watch::channel(Stop::No);
        let asker: Rc<dyn Asker> = if self.yes {
            Rc::new(Answer::Yes)
        } else {
            Rc::new(Terminal(screen.clone()))
        };
        let (transport, names) = (Rc::clone(&self.transport), self.cluster.names());
        let who = who();
        // A simulated cluster goes with the folder, so that no other process is ever at the same one.
        let nonce = if simulated {
            "simulated".to_owned()
        } else {
            wire::random().map_err(EngineError::Random)?
        };
        let tools = Tools {
            run: start.run(clock.now(), &who, nonce),
            registry: self.registry.clone(),
            cluster: self.cluster,
            transport: self.transport,
            clock,
            events: Events::new(clock, reporters),
            asker,
            secrets: Rc::new(self.secrets),
            stop,
            deliver_failures: self.deliver_failures,
            approved: self.approved,
            who,
        };
        let run = async {
            // Connections cost most when they are made: make them all now, side by side, and let nobody wait for the slowest.
            let engine = Engine::new(script, journal, tools);
            let warm = pin!(transport.warm(&names));
            match select(warm, pin!(engine.run(start))).await {
                Either::Left((_, run)) => run.await,
                Either::Right((ended, _)) => ended,
            }
        };
        let finish = match (self.speed, screen) {
            (Some(speed), _) => until_interrupted(paced(run, speed), sender).await?,
            (None, Some(screen)) if !simulated => {
                until_interrupted(drawn(run, &screen, clock), sender).await?
            }
            (None, _) => until_interrupted(run, sender).await?,
        };
        Ok(Played {
            finish,
            touched: touched.0.get(),
            simulated,
            cluster: known,
            sources,
        })
    }
}

/// Runs `work` in a time that passes at this speed.
///
/// A paused clock jumps whenever everything waits, unless something blocks in the background: that holds it still, and it
/// is moved by hand.
async fn paced<T>(work: impl Future<Output = T>, speed: f64) -> T {
    const BEAT: Duration = Duration::from_millis(20);
    #[expect(
        clippy::disallowed_methods,
        reason = "real time has to pass, in a thread of its own"
    )]
    let sleep = || std::thread::sleep(BEAT);
    let pace = async {
        loop {
            let _ = tokio::task::spawn_blocking(sleep).await;
            tokio::time::advance(BEAT.mul_f64(speed)).await;
        }
    };
    match select(pin!(work), pin!(pace)).await {
        Either::Left((result, _)) => result,
        Either::Right(((), work)) => work.await,
    }
}

/// Runs `work`, and lets the clocks on the screen move on while nothing happens.
async fn drawn<T>(work: impl Future<Output = T>, screen: &Screen, clock: Clock) -> T {
    let ticking = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            screen.draw(clock.now());
        }
    };
    match select(pin!(work), pin!(ticking)).await {
        Either::Left((result, _)) => result,
        Either::Right(((), work)) => work.await,
    }
}

/// Asks on the terminal, if there is one at both ends.
struct Terminal(Option<Screen>);

impl Asker for Terminal {
    fn ask<'a>(&'a self, question: &'a str) -> LocalBoxFuture<'a, Answer> {
        Box::pin(async move {
            if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
                return Answer::Nobody;
            }
            if let Some(screen) = &self.0 {
                screen.pause();
            }
            let _ = write!(std::io::stderr(), "{} [y/N] ", harmless(question));
            let mut line = String::new();
            let read = BufReader::new(tokio::io::stdin())
                .read_line(&mut line)
                .await;
            if let Some(screen) = &self.0 {
                screen.go_on();
            }
            match read {
                Ok(0) | Err(_) => Answer::Nobody,
                Ok(_) if ["y", "yes"].contains(&line.trim().to_lowercase().as_str()) => Answer::Yes,
                Ok(_) => Answer::No,
            }
        })
    }
}

/// Tells how a run ended and what can be typed next; returns the exit code.
pub(super) fn tell(id: &str, outcome: &Played, json: bool) -> Exit {
    let word = outcome.finish.outcome();
    match &outcome.finish {
        Finish::Done(value) => {
            if json {
                print::json(&json!({"run": id, "outcome": word, "result": value}));
            } else {
                out!("{id}: {}", result(value));
            }
            Exit::Done
        }
        Finish::Failed(failure) => {
            if json {
                print::json(&json!({"run": id, "outcome": word, "failure": failure}));
            } else {
                let details = outcome.teller().details(failure);
                print::styled(&format!("{id}: failed: {}\n{details}", head(failure)));
            }
            // What was typed, or the playbook, can't be used, and that was noticed in time.
            if failure.kind == Kind::Args && !outcome.touched {
                Exit::Usage
            } else {
                Exit::Failed
            }
        }
        Finish::Aborted => {
            if json {
                print::json(&json!({"run": id, "outcome": word}));
            } else {
                out!("{id}: aborted; all settings it changed were restored");
            }
            Exit::Aborted
        }
        Finish::Held(held) => {
            let refused = !outcome.touched && held.iter().all(|h| h.failure.kind == Kind::Refused);
            if json {
                print::json(&json!({"run": id, "outcome": word, "steps": steps(held)}));
            } else {
                let teller = outcome.teller();
                let simulated = outcome.simulated;
                let width = hold::columns();
                print::styled(&hold::told(id, held, simulated, &teller, width));
            }
            if refused { Exit::Refused } else { Exit::Held }
        }
        Finish::Refused(held) => {
            if json {
                print::json(&json!({"run": id, "outcome": word, "steps": steps(held)}));
            } else {
                refusal(id, held.iter().map(|h| &h.failure));
            }
            Exit::Refused
        }
        Finish::Suspended(why) => {
            if json {
                print::json(&json!({"run": id, "outcome": word, "why": why.to_string()}));
            } else if let Suspended::Fenced(why) = why {
                out!("{id} pauses: {why}");
            } else {
                out!("{id} is paused: {why}\nContinue with: lockstep resume {id}");
            }
            Exit::Suspended
        }
    }
}

fn steps(held: &[Held]) -> Vec<Value> {
    let step = |h: &Held| json!({"path": h.path, "failure": h.failure, "in_doubt": h.in_doubt});
    held.iter().map(step).collect()
}

/// Tells why a run was refused: as the table of the checks that failed, where there is one.
pub(super) fn refusal<'a>(id: &str, failures: impl Iterator<Item = &'a Failure>) {
    out!("{id} was refused; nothing was changed:");
    for failure in failures {
        match failure.detail.get("checks").map(Vec::<Check>::deserialize) {
            Some(Ok(checks)) => out!("{}", checks_table(&checks).trim_fmt()),
            _ => out!("  {}", head(failure).replace('\n', "\n  ")),
        }
    }
    out!("Fix this, then run the command again.");
}

/// Whether an event shows that something on the cluster may have been changed.
fn changed_something(event: &Event) -> bool {
    match event {
        // A lock that is refused changed nothing; what is done behind one that is taken shows by itself.
        Event::StepDone { step, .. } | Event::StepStarted { step, .. } => {
            step.op != Take::NAME && step.effect != Effect::Read
        }
        Event::RunStarted { replayed, .. } => *replayed > 0,
        _ => false,
    }
}

/// So many members are named in the end; of more, only the number is.
const NAMED: usize = 6;

/// What a playbook returned, in words where it is what the shipped ones return.
fn result(value: &Value) -> String {
    let Some(changed) = value.get("changed").and_then(Value::as_object) else {
        return if value.is_null() {
            "done".to_owned()
        } else {
            format!("done: {value}")
        };
    };
    if changed.is_empty() {
        return "done: already up to date".to_owned();
    }
    let lines = changed.iter().map(|(component, members)| {
        let mut moves: Vec<(&str, Vec<&str>)> = Vec::new();
        for (member, what) in members.as_object().into_iter().flatten() {
            let what = what.as_str().unwrap_or_default();
            match moves.iter_mut().find(|(known, _)| *known == what) {
                Some((_, members)) => members.push(member),
                None => moves.push((what, vec![member])),
            }
        }
        let moves = moves.iter().map(|(what, members)| match members.len() {
            ..=NAMED => format!("{what} on {}", members.join(", ")),
            n => format!("{what} on {n} members"),
        });
        format!(
            "\n  {component:<11} {}",
            moves.collect::<Vec<_>>().join("; ")
        )
    });
    format!("done{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_change_on_many_members_is_told_once() {
        let of = |n: usize, what: &str| -> Value {
            (1..=n).map(|i| (format!("m{i}"), json!(what))).collect()
        };
        let mut lagging = of(3, "1 → 2");
        lagging["m2"] = json!("0 → 2");
        let told = result(&json!({"changed": {"lxd": of(50, "1 → 2"), "microceph": lagging}}));
        assert_eq!(
            told,
            "done\n  lxd         1 → 2 on 50 members\n  microceph   1 → 2 on m1, m3; 0 → 2 on m2"
        );
        assert_eq!(result(&json!({"changed": {}})), "done: already up to date");
    }
}
