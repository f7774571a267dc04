//! The command line as the front end of a run: the runtime, what shows it, who answers, and how its end is shown.

use std::future::Future;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::future::{Either, LocalBoxFuture, select};
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::ops::preflight::Check;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::exit::{Exit, Fault};
use super::global::Global;
use super::print;
use super::shown::Shown;
use super::signals::until_interrupted;
use super::table::checks_table;
use crate::clock::{self, Clock};
use crate::engine::{Answer, Asker, EngineError, Finish, Held, Stop};
use crate::failure::Failure;
use crate::journal::Suspended;
use crate::report::Screen;
use crate::report::excerpt::Ink;
use crate::report::failure::{Teller, head};
use crate::report::harmless::harmless;
use crate::report::hold;
use crate::runs::{Runs, host};
use crate::session::{self, Played, Session};
use crate::store::Store;

/// A runtime of one thread: the work is waiting.
pub(super) fn runtime() -> Result<Runtime, Fault> {
    made(Builder::new_current_thread().enable_all().build())
}

/// A runtime for ops on a cluster. Against a simulated one its clock jumps over the waiting; at a `speed` it is moved by whoever
/// plays the session.
pub(super) fn runtime_at(
    simulated: bool,
    registry: &Registry,
    speed: Option<f64>,
) -> Result<Runtime, Fault> {
    if simulated {
        return made(clock::simulated(registry));
    }
    let mut runtime = Builder::new_current_thread();
    made(runtime.enable_all().start_paused(speed.is_some()).build())
}

fn made(runtime: std::io::Result<Runtime>) -> Result<Runtime, Fault> {
    runtime.map_err(|e| Fault::new(Exit::State, format!("no runtime can be made: {e}")))
}

/// The runs of the state folder, or of the store, that is named.
pub(super) fn runs(global: &Global) -> Result<Runs, Fault> {
    match (global.store(), &global.state) {
        (Some(url), _) => Ok(Runs::in_store(Store::at(url)?, &state()?)?),
        (None, Some(folder)) => Ok(Runs::in_state(folder)),
        (None, None) => Ok(Runs::in_state(&state()?)),
    }
}

/// The state folder that nobody has to name.
fn state() -> Result<PathBuf, Fault> {
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
    format!("{user}@{}", host())
}

/// What becomes of a run that has nothing to do but wait for a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Waits {
    /// It is waited for.
    #[default]
    Here,
    /// The process ends, and another one continues the run when it is time.
    Elsewhere,
    /// The run pauses until somebody continues it, and begins nothing before.
    Paused,
}

/// How a run is shown, and who answers, while it is played on the command line.
pub(super) struct Front {
    pub(super) shown: Shown,
    /// Every question is answered with yes.
    pub(super) yes: bool,
    /// A failure is delivered to the playbook instead of holding the run.
    pub(super) deliver_failures: bool,
    pub(super) waits: Waits,
    /// How many seconds pass in one of ours, in a paused runtime; none for its own clock.
    pub(super) speed: Option<f64>,
}

impl Front {
    /// For a look or a single op: nobody is asked, and a failure is a result.
    pub(super) fn of_op(shown: Shown) -> Self {
        Self {
            shown,
            yes: false,
            deliver_failures: true,
            waits: Waits::Here,
            speed: None,
        }
    }

    /// Plays a session on this terminal.
    pub(super) async fn play(self, session: Session) -> Result<Played, EngineError> {
        let screen = self.shown.screen();
        let (sender, stop) = watch::channel(Stop::No);
        if self.waits == Waits::Paused {
            sender.send_replace(Stop::Drain);
        }
        let asker: Rc<dyn Asker> = if self.yes {
            Rc::new(Answer::Yes)
        } else {
            Rc::new(Terminal(screen.clone()))
        };
        let (clock, simulated) = (session.clock(), session.is_simulated());
        let run = session.play(session::Front {
            reporters: self.shown.reporter(screen.as_ref()).into_iter().collect(),
            asker,
            stop,
            deliver_failures: self.deliver_failures,
            no_wait: self.waits == Waits::Elsewhere,
        });
        match (self.speed, screen) {
            (Some(speed), _) => until_interrupted(paced(run, speed), sender).await,
            (None, Some(screen)) if !simulated => {
                until_interrupted(drawn(run, &screen, clock), sender).await
            }
            (None, _) => until_interrupted(run, sender).await,
        }
    }
}

/// What a failure is shown with.
fn teller(played: &Played, verbose: bool) -> Teller<'_> {
    Teller {
        sources: &played.sources,
        // Nobody could type a command on a simulated cluster's members.
        cluster: (!played.simulated).then_some(&played.cluster),
        ink: Ink::stdout(),
        verbose,
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
            if !self.waits() {
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
                screen.draw_again();
            }
            match read {
                Ok(0) | Err(_) => Answer::Nobody,
                Ok(_) if ["y", "yes"].contains(&line.trim().to_lowercase().as_str()) => Answer::Yes,
                Ok(_) => Answer::No,
            }
        })
    }

    fn waits(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }
}

/// Tells how a run ended and what can be typed next; returns the exit code.
pub(super) fn tell(outcome: &Played, global: &Global) -> Exit {
    if global.json {
        print::json(&as_json(outcome));
    } else {
        in_words(outcome, global.verbose);
    }
    undelivered(outcome);
    let all_refused = |held: &[Held]| held.iter().all(|h| h.failure.kind == Kind::Refused);
    match &outcome.finish {
        Finish::Done(_) => Exit::Done,
        // What was typed, or the playbook, can't be used, and that was noticed in time.
        Finish::Failed(failure) if failure.kind == Kind::Args && !outcome.touched => Exit::Usage,
        Finish::Failed(_) => Exit::Failed,
        Finish::Aborted => Exit::Aborted,
        Finish::Held(held) if !outcome.touched && all_refused(held) => Exit::Refused,
        Finish::Held(_) => Exit::Held,
        Finish::Refused(_) => Exit::Refused,
        Finish::Suspended(_) => Exit::Suspended,
    }
}

/// Tells what receivers don't know of a run that no process has any more.
pub(super) fn undelivered(outcome: &Played) {
    for untold in &outcome.untold {
        err!("note: {}", harmless(&untold.suggestion(&outcome.id)));
    }
}

fn as_json(outcome: &Played) -> Value {
    let (field, detail) = match &outcome.finish {
        Finish::Done(value) => ("result", value.clone()),
        Finish::Failed(failure) => ("failure", json!(failure)),
        Finish::Held(held) | Finish::Refused(held) => ("steps", steps(held)),
        Finish::Suspended(Suspended::Waiting(until)) => ("until", json!(until)),
        Finish::Suspended(why) => ("why", json!(why.to_string())),
        Finish::Aborted => return json!({"run": outcome.id, "outcome": outcome.finish.outcome()}),
    };
    json!({"run": outcome.id, "outcome": outcome.finish.outcome(), field: detail})
}

fn in_words(outcome: &Played, verbose: bool) {
    let id = outcome.id.as_str();
    match &outcome.finish {
        Finish::Done(value) => out!("{id}: {}", result(value)),
        Finish::Failed(failure) => {
            let details = teller(outcome, verbose).details(failure);
            print::styled(&format!("{id}: failed: {}\n{details}", head(failure)));
        }
        Finish::Aborted => out!("{id}: aborted; all settings it changed were restored"),
        Finish::Held(held) => {
            let (teller, width) = (teller(outcome, verbose), hold::columns());
            print::styled(&hold::message(id, held, outcome.simulated, &teller, width));
        }
        Finish::Refused(held) => refusal(id, held.iter().map(|h| &h.failure)),
        Finish::Suspended(Suspended::Fenced(why)) => out!("{id} pauses: {why}"),
        Finish::Suspended(why @ Suspended::Waiting(_)) => out!(
            "{id} {why}; nothing runs until then\nContinue it then with: lockstep fleet continue -r {id}"
        ),
        Finish::Suspended(why) => {
            out!("{id} is paused: {why}\nContinue with: lockstep resume {id}");
        }
    }
}

fn steps(held: &[Held]) -> Value {
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

/// Members that are named in the end; of more, only the number is.
const NAMED: usize = 6;

/// What a rollout came to, in words.
fn rolled_out(clusters: u64, value: &Value) -> String {
    let names = |field: &str, what: &str| {
        let names = value.get(field).and_then(Value::as_array);
        let names: Vec<&str> = names
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        match names.as_slice() {
            [] => String::new(),
            few if few.len() <= NAMED => format!("; {what}: {}", few.join(", ")),
            many => format!("; {what}: {}", many.len()),
        }
    };
    let counted = if clusters == 1 {
        "1 cluster"
    } else {
        &format!("{clusters} clusters")
    };
    format!(
        "done: {counted}{}{}",
        names("skipped", "skipped"),
        names("left", "left behind")
    )
}

/// What a playbook returned, in words where it is what the shipped ones return.
fn result(value: &Value) -> String {
    if let Some(clusters) = value.get("clusters").and_then(Value::as_u64) {
        return rolled_out(clusters, value);
    }
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
    fn the_same_change_on_many_members_is_shown_once() {
        let of = |n: usize, what: &str| -> Value {
            (1..=n).map(|i| (format!("m{i}"), json!(what))).collect()
        };
        let mut lagging = of(3, "1 → 2");
        lagging["m2"] = json!("0 → 2");
        let shown = result(&json!({"changed": {"lxd": of(50, "1 → 2"), "microceph": lagging}}));
        assert_eq!(
            shown,
            "done\n  lxd         1 → 2 on 50 members\n  microceph   1 → 2 on m1, m3; 0 → 2 on m2"
        );
        assert_eq!(result(&json!({"changed": {}})), "done: already up to date");
    }
}
