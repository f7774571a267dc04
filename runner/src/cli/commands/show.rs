//! `show`: a run on one screen, or step by step.

use std::collections::BTreeMap;

use clap::Args;
use jiff::Timestamp;
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::contract::schema::Member;
use lockstep_modules::contract::schema::required;
use serde_json::{Value, json};

use crate::account::{Account, Command, Output, Progress, State, Step, load, span};
use crate::cli::app::App;
use crate::cli::exit::{Exit, Fault};
use crate::cli::front::refusal;
use crate::cli::print;
use crate::cli::table::table;
use crate::engine::Held;
use crate::notify;
use crate::report::excerpt::Ink;
use crate::report::failure::Teller;
use crate::report::{harmless, hold};
use crate::source::Source;

/// Things that happened that fit a screen.
const TURNS: usize = 10;

/// Names of members that fit a line.
const NAMES: usize = 8;

/// Which run is shown, and how much of it.
#[derive(Args)]
pub(crate) struct ShowArgs {
    /// The run, for example update-14
    run: String,
    /// Show every step, with its commands and what they printed
    #[arg(long)]
    steps: bool,
}

/// Shows one run. What can't be read is reported, and what can be is shown all the same.
pub(crate) fn show(app: &App<'_>, args: &ShowArgs) -> Result<Exit, Fault> {
    let account = load(&app.runs()?, &args.run)?;
    let untold = notify::untold(&app.runs()?.place_of(&args.run));
    if app.global.json {
        let mut data = data(&account, args.steps);
        data["undelivered"] = json!(untold);
        print::json(&data);
        return Ok(soundness(&account));
    }
    unread(&account);
    if account.state == State::NotBegun {
        out!("nothing was changed: run the command again");
        return Ok(Exit::State);
    }
    head(&account);
    if args.steps {
        steps(&account);
    } else {
        summary(&account);
    }
    stands(app, &account);
    for untold in &untold {
        let said = match account.state {
            State::Running => untold.sentence(),
            _ => untold.suggestion(&account.run),
        };
        out!("{}", harmless(&said));
    }
    Ok(soundness(&account))
}

/// How a command ends that shows a run.
pub(crate) fn soundness(account: &Account) -> Exit {
    if account.sound {
        Exit::Done
    } else {
        Exit::State
    }
}

/// The account as data; without commands, unless every step is asked for.
fn data(account: &Account, steps: bool) -> Value {
    let mut data = json!(account);
    let all = data.get_mut("steps").and_then(Value::as_array_mut);
    for step in all.into_iter().flatten().filter(|_| !steps) {
        step.as_object_mut().map(|step| step.remove("commands"));
    }
    data
}

/// What could not be read. It belongs to no output, and is an error where the journal can't be believed.
pub(crate) fn unread(account: &Account) {
    for (i, trouble) in account.troubles.iter().enumerate() {
        let what = if i == 0 && !account.sound {
            "error"
        } else {
            "note"
        };
        err!("{what}: {}: {}", account.run, harmless(trouble));
    }
}

fn head(account: &Account) {
    let of = |what: &str| harmless(what).into_owned();
    out!(
        "{}: {}, {} of {} ({})",
        of(&account.run),
        account.state.word(),
        of(&account.playbook),
        of(&account.cluster),
        of(&names(&account.members))
    );
    if let (Some(began), Some(last)) = (account.began, account.last) {
        let last = if account.state.is_over() {
            format!("ended {}", date(last))
        } else {
            format!("last event {}", date(last))
        };
        let sittings = match account.sessions.len() {
            0 | 1 => String::new(),
            n => format!(" over {n} sessions"),
        };
        let who = match account.who.as_str() {
            "" => String::new(),
            who => format!(" by {}", of(who)),
        };
        out!(
            "started {}{who}, {last}, ran {}{sittings}",
            date(began),
            span(account.ms())
        );
    }
    let params = account.params.as_object().into_iter().flatten();
    let params: Vec<String> = params
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    if !params.is_empty() {
        out!("{}", of(&params.join(" ")));
    }
}

fn names(members: &[Member]) -> String {
    match members.len() {
        0..=NAMES => members.join(", "),
        n => format!("{} and {} more", members[..NAMES].join(", "), n - NAMES),
    }
}

/// What changed, as a table.
pub(crate) fn changes(account: &Account) {
    let moves = account.moves();
    if !moves.is_empty() {
        let mut table = table(["CHANGED", "BEFORE", "NOW", "VERSION", "MEMBERS", "WINDOW"]);
        for one in &moves {
            table.add_row([
                one.component,
                one.from,
                one.to,
                one.version.unwrap_or_default(),
                &one.among(&account.members),
                &one.differed(),
            ]);
        }
        out!("\n{}", harmless(&table.trim_fmt()));
    }
}

fn summary(account: &Account) {
    changes(account);
    if !account.waves.is_empty() {
        let mut table = table(["WAVE", "BEGAN", "TOOK", "MEMBERS", "STEPS", "AGAIN"]);
        for wave in &account.waves {
            table.add_row([
                wave.name.clone(),
                wave.began.map(time).unwrap_or_default(),
                span(wave.ms),
                wave.members.to_string(),
                wave.steps.to_string(),
                match wave.again {
                    0 => String::new(),
                    n => n.to_string(),
                },
            ]);
        }
        out!("\n{}", harmless(&table.trim_fmt()));
    }
    let turns: Vec<_> = account
        .turns
        .iter()
        .filter(|turn| turn.what.matters())
        .collect();
    let before = turns.len().saturating_sub(TURNS);
    out!("");
    if before > 0 {
        out!("{before} earlier events:");
    }
    for turn in &turns[before..] {
        let path = turn
            .what
            .path()
            .map_or_else(String::new, |path| format!("{path}  "));
        out!(
            "{}  {}",
            time(turn.at),
            harmless(&format!("{path}{}", turn.what.sentence()))
        );
    }
}

fn steps(account: &Account) {
    let mut wave = None;
    for step in &account.steps {
        let of = account.wave_of(step);
        if of != wave {
            out!("\n{}", harmless(of.unwrap_or("Outside the waves")));
            wave = of;
        } else if wave.is_none() && step.path == account.steps[0].path {
            out!("");
        }
        one(step);
    }
}

fn one(step: &Step) {
    let began = step.began().map_or_else(|| " ".repeat(8), time);
    let member = step
        .member
        .as_ref()
        .map_or_else(String::new, |m| format!("{m}  "));
    let took = step
        .ms()
        .map_or_else(String::new, |ms| format!(" ({})", span(ms)));
    let line = format!("{member}{}: {}{took}", step.what(), step.outcome());
    out!("  {began}  {}", harmless(&line));
    let mut about = step.path.to_string();
    if !step.site.is_empty() {
        about.push_str(&format!(", requested at {}", step.site));
    }
    if step.attempts.len() > 1 {
        about.push_str(&format!(", {} attempts", step.attempts.len()));
    }
    out!("            {}", harmless(&about));
    if !step.args.is_null() {
        out!("            {}", harmless(&step.args.to_string()));
    }
    for command in &step.commands {
        transcript(command);
    }
    if !matches!(step.state, Progress::Done) && !step.last_progress.is_empty() {
        out!(
            "            last progress: {}",
            harmless(&step.last_progress)
        );
    }
}

fn transcript(command: &Command) {
    let times = match command.times {
        1 => String::new(),
        n => format!(", {n} times"),
    };
    let line = format!(
        "{} $ {}  [{}, {} ms{times}]",
        command.member, command.command, command.end, command.ms
    );
    out!("            {}", harmless(&line));
    output("|", &command.stdout);
    output("!", &command.stderr);
}

fn output(mark: &str, output: &Output) {
    let text = harmless(&output.text);
    for line in text.lines() {
        out!("              {mark} {line}");
    }
    if let Some(file) = &output.file {
        let bytes = output.bytes;
        out!("              {mark} … all {bytes} bytes are in {file} in the run's folder");
    }
}

/// Where the run stands, and what can be typed next.
pub(crate) fn stands(app: &App<'_>, account: &Account) {
    let run = &account.run;
    let why = account
        .why
        .as_deref()
        .map_or_else(String::new, |why| format!(": {why}"));
    let next = format!("\nContinue with: lockstep resume {run}");
    out!("");
    if let Some(suggestions) = suggestions(app, account, hold::columns()) {
        return out!("{}", harmless(suggestions.trim_end()));
    }
    match account.state {
        State::Refused => {
            let held = account.steps.iter().filter(|step| step.is_held());
            refusal(run, held.filter_map(|step| step.failure.as_ref()));
        }
        State::Running => out!("{run} is running; follow it with: lockstep watch {run}"),
        state if !account.sound && !state.is_over() => {
            let cant =
                "can't be resumed from this journal; look at the cluster with: lockstep status";
            out!("{run}: {}{}; it {cant}", state.word(), harmless(&why));
        }
        State::Suspended | State::BrokenOff => {
            out!("{run}: {}{}{next}", account.state.word(), harmless(&why));
        }
        _ => out!("{run}: {}{}", account.state.word(), harmless(&why)),
    }
}

/// What can be typed about a run that is held, as the run itself shows it.
pub(crate) fn suggestions(app: &App<'_>, account: &Account, width: usize) -> Option<String> {
    // From a journal that can't be believed nothing can be resumed.
    if account.state != State::Held || !account.sound {
        return None;
    }
    let held: Vec<Held> = account
        .held
        .iter()
        .filter_map(|path| held(app.registry, account.step(path)?))
        .collect();
    let simulated = account.target.is_simulated();
    let sources = sources(app, &account.run).unwrap_or_default();
    let teller = Teller {
        verbose: app.global.verbose,
        ..Teller::of(&sources, Ink::Plain)
    };
    (!held.is_empty()).then(|| hold::message(&account.run, &held, simulated, &teller, width))
}

/// The sources that a run captured; none where they can't be read.
fn sources(app: &App<'_>, run: &str) -> Option<BTreeMap<String, Source>> {
    let runs = app.runs().ok()?;
    let history = runs.history(run).ok()?;
    Some(runs.captured(&history.head).ok()?.0)
}

fn held(registry: &Registry, step: &Step) -> Option<Held> {
    let needs = |op: &str| {
        let op = registry.op(op).ok()?;
        Some(required(&op.out).next().is_some())
    };
    Some(Held {
        path: step.path.clone(),
        failure: step.failure.clone()?,
        in_doubt: step.in_doubt,
        needs_result: needs(&step.op).unwrap_or(true),
    })
}

/// Whether it is held because somebody or something refused it before anything was changed. A lock that is refused changed
/// nothing.
fn refused(account: &Account) -> bool {
    let refused = |step: &Step| {
        let no = |failure: &crate::failure::Failure| failure.kind == Kind::Refused;
        step.failure.as_ref().is_some_and(no)
    };
    let touched =
        |step: &Step| step.changes() && step.op != "lock.take" && !step.attempts.is_empty();
    let mut held = account.steps.iter().filter(|step| step.is_held());
    held.all(refused) && !account.steps.iter().any(touched)
}

/// How a command that followed the run ends: as the run's own did.
pub(crate) fn exit(account: &Account) -> Exit {
    if !account.sound {
        return Exit::State;
    }
    match account.state {
        State::Running | State::Done => Exit::Done,
        State::Failed => Exit::Failed,
        State::Aborted => Exit::Aborted,
        State::Refused => Exit::Refused,
        State::Held if refused(account) => Exit::Refused,
        State::Held => Exit::Held,
        State::Suspended | State::BrokenOff => Exit::Suspended,
        State::NotBegun => Exit::State,
    }
}

fn date(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn time(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}
