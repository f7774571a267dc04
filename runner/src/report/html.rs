//! A report of a run as one HTML file that needs nothing else: no script, no font, no network.

mod rollout;
mod steps;
mod timeline;
mod words;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use lockstep_modules::contract::cx::LogLevel;

use super::date;
use super::harmless::harmless;
use crate::account::{Account, State, Step, Turn, What, span};
pub(crate) use rollout::{View, may_replace, overview};
use words::{by_wave, capital, count, step_tone, text, time, took};

const STYLE: &str = include_str!("html/style.css");

/// Nothing may be fetched or run, whatever a member printed.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// What every page says that it was made by.
const GENERATOR: &str = "lockstep report";

/// Gates that are shown without a fold.
const FEW: usize = 40;

/// The report of a run. `suggestions` are what can be typed, where it waits for somebody.
pub(crate) fn page(account: &Account, suggestions: Option<&str>) -> String {
    let title = format!("{}: {}", account.run, account.state.word());
    let body = html! {
        (head(account))
        main {
            (troubles(account))
            (standing(account, suggestions))
            (changes(account))
            (timeline::section(account))
            (turns(account))
            (gates(account))
            (steps::section(account))
        }
        footer { "lockstep " (text(&account.lockstep)) ", times in UTC" }
    };
    document(&title, None, "", &body)
}

/// A page with this body. It is loaded again after so many seconds, and has these styles beside those of all pages.
fn document(title: &str, refresh: Option<u64>, styles: &str, body: &Markup) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content=(GENERATOR);
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                @if let Some(seconds) = refresh { meta http-equiv="refresh" content=(seconds); }
                link rel="icon" href="data:,";
                title { (text(title)) }
                style { (PreEscaped(STYLE)) (PreEscaped(styles)) }
            }
            body { (body) }
        }
    }
    .into_string()
}

fn stamp(at: Timestamp, shown: &str) -> Markup {
    html! { time datetime=(at.to_string()) { (shown) } }
}

/// The class that colours a state.
fn tone(state: State) -> &'static str {
    match state {
        State::Done => "good",
        State::Running | State::Suspended | State::Aborted => "open",
        State::Held | State::Failed | State::Refused | State::BrokenOff | State::NotBegun => "bad",
    }
}

fn head(account: &Account) -> Markup {
    html! {
        header {
            h1 {
                (text(&account.run)) " "
                span.state.(tone(account.state)) { (account.state.word()) }
            }
            p.lead {
                (text(&account.playbook)) " of " (text(&account.cluster)) ", "
                (count(account.members.len(), "member"))
            }
            dl.facts {
                @if let Some(began) = account.began {
                    div { dt { "Started" } dd { (stamp(began, &date(began))) } }
                }
                @if let Some(last) = account.last {
                    div {
                        dt { @if account.state.is_over() { "Ended" } @else { "Last event" } }
                        dd { (stamp(last, &date(last))) }
                    }
                }
                div { dt { "Ran" } dd { (span(account.ms())) (sessions(account)) } }
                @if !account.who.is_empty() { div { dt { "By" } dd { (text(&account.who)) } } }
                div { dt { "Steps" } dd { (account.steps_done) " of " (account.steps.len()) " requested" } }
                @for (name, value) in account.params.as_object().into_iter().flatten() {
                    div { dt { code { (text(name)) } } dd { (text(&plain(value))) } }
                }
            }
        }
    }
}

/// A value without the quotes of a text.
fn plain(value: &serde_json::Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn sessions(account: &Account) -> String {
    match account.sessions.len() {
        0 | 1 => String::new(),
        n => format!(" over {n} sessions"),
    }
}

fn troubles(account: &Account) -> Markup {
    html! {
        @if !account.troubles.is_empty() {
            section.notice.(if account.sound { "open" } else { "bad" }) aria-label="What could not be read" {
                @if !account.sound { h2 { "The journal can't be read" } }
                ul { @for trouble in &account.troubles { li { (text(trouble)) } } }
            }
        }
    }
}

fn standing(account: &Account, suggestions: Option<&str>) -> Markup {
    let held: Vec<&Step> = account
        .steps
        .iter()
        .filter(|step| step.is_held() && account.state == State::Held)
        .collect();
    html! {
        @if let (State::Failed | State::Refused | State::Suspended | State::BrokenOff, Some(why)) = (account.state, &account.why) {
            section.notice.(tone(account.state)) aria-label="Why it stopped there" {
                h2 { (capital(account.state.word())) }
                p { (text(why)) }
            }
        }
        @if !held.is_empty() {
            section.notice.bad aria-label="Held" {
                h2 { "Held at " @for (i, step) in held.iter().enumerate() {
                    @if i > 0 { ", " } code { (text(step.path.as_str())) }
                } }
                @match suggestions {
                    // The run's own words: reasons, evidence, and what can be typed.
                    Some(suggestions) => { pre { (harmless(suggestions)) } }
                    None => @for step in held {
                        @if let Some(failure) = &step.failure { p { (text(&failure.to_string())) } }
                        @if step.in_doubt { p { strong { "It is not known whether this was done." } } }
                    }
                }
            }
        }
    }
}

fn changes(account: &Account) -> Markup {
    let moves = account.moves();
    html! {
        section {
            h2 { "What changed" }
            @if moves.is_empty() {
                p { "No revision changed." }
            } @else {
                div.wide {
                    table {
                        thead { tr {
                            th scope="col" { "Component" } th.number scope="col" { "Before" } th scope="col" { "After" }
                            th scope="col" { "Version" } th scope="col" { "Members" } th.number scope="col" { "Window" }
                        } }
                        tbody { @for one in &moves { tr {
                            th scope="row" { (text(one.component)) }
                            td.number { (text(one.from)) }
                            td.after { span.muted aria-hidden="true" { "→ " } (text(one.to)) }
                            td { (text(one.version.unwrap_or_default())) }
                            td.text { (text(&one.among(&account.members))) }
                            td.number { (one.differed()) }
                        } } }
                    }
                }
                p.muted { "Window: for how long members had different revisions. The component may have taken no changes meanwhile." }
            }
        }
    }
}

fn turns(account: &Account) -> Markup {
    let worth = |turn: &&Turn| match &turn.what {
        What::Logged { level, .. } => *level == LogLevel::Warn,
        what => what.matters(),
    };
    let mut last_day = String::new();
    let mut day = |at: Timestamp| {
        let day = date(at)[..10].to_owned();
        let news = day != last_day;
        last_day.clone_from(&day);
        news.then_some(day)
    };
    html! {
        section {
            h2 { "What happened" }
            div.wide {
                table {
                    thead { tr { th scope="col" { "Time" } th scope="col" { "Step" } th scope="col" { "What" } } }
                    tbody { @for turn in account.turns.iter().filter(worth) {
                        @if let Some(day) = day(turn.at) { tr.day { th scope="rowgroup" colspan="3" { (day) } } }
                        tr class=(turn_tone(&turn.what)) {
                            td.number { (stamp(turn.at, &time(turn.at))) }
                            td { @if let Some(path) = turn.what.path() { code { (text(path.as_str())) } } }
                            td.text { (sentence(&turn.what)) }
                        }
                    } }
                }
            }
        }
    }
}

/// A sentence, of which the word that matters is seen first.
fn sentence(what: &What) -> Markup {
    let sentence = what.sentence();
    html! {
        @match sentence.split_once(": ") {
            Some((word, rest)) if !matches!(what, What::Logged { .. }) => { strong { (text(word)) } ": " (text(rest)) }
            _ => (text(&sentence))
        }
    }
}

fn turn_tone(what: &What) -> &'static str {
    match what {
        What::Held { .. } | What::Failed { .. } | What::Lost { .. } => "bad",
        What::Ended { state, .. } => tone(*state),
        What::Decided { .. } | What::Aborted { .. } => "decided",
        _ => "",
    }
}

fn gates(account: &Account) -> Markup {
    let gates: Vec<&Step> = account.gates().collect();
    html! {
        section {
            h2 { "Gates" }
            @if gates.is_empty() {
                p { "No gate was reached." }
            } @else if gates.len() <= FEW {
                (gates_table(account, &gates))
            } @else {
                @for (name, gates) in by_wave(account, gates) {
                    details {
                        summary { (text(name)) " " span.muted { (count(gates.len(), "gate")) } }
                        (gates_table(account, &gates))
                    }
                }
            }
        }
    }
}

fn gates_table(account: &Account, gates: &[&Step]) -> Markup {
    html! {
        div.wide {
            table {
                thead { tr {
                    th scope="col" { "Time" } th scope="col" { "Where" } th scope="col" { "Gate" }
                    th.number scope="col" { "Took" } th scope="col" { "Evidence" }
                } }
                tbody { @for gate in gates { tr.(step_tone(gate)) {
                    td.number { @if let Some(began) = gate.began() { (stamp(began, &time(began))) } }
                    td.name { (text(&place(account, gate))) }
                    td { (text(&gate.what())) }
                    td.number { (took(gate)) }
                    td.text { (text(&gate.outcome())) (waited(gate)) }
                } } }
            }
        }
    }
}

fn waited(gate: &Step) -> Markup {
    html! {
        @if !gate.last_progress.is_empty() && gate.last_progress != gate.summary {
            div.muted { "last progress while it waited: " (text(&gate.last_progress)) }
        }
    }
}

/// The wave and the member of a step.
fn place(account: &Account, step: &Step) -> String {
    let wave = account.wave_of(step).unwrap_or_default();
    match &step.member {
        Some(member) if wave.is_empty() => member.to_string(),
        Some(member) => format!("{wave}, {member}"),
        None => wave.to_owned(),
    }
}
