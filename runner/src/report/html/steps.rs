//! Every step with its commands and what they printed, folded.

use maud::{Markup, html};

use super::{by_wave, count, outcome, step_tone, text, time, took};
use crate::account::{Account, Command, Output, Step, span};
use crate::journal::By;

/// So many bytes of an output are shown.
const SHOWN: usize = 2048;

/// So many commands are shown in all, shared among the steps.
const COMMANDS: usize = 4000;

pub(super) fn section(account: &Account) -> Markup {
    let steps: Vec<&Step> = account.steps.iter().collect();
    let each = (COMMANDS / steps.len().max(1)).clamp(6, 60);
    html! {
        section.steps {
            h2 { "Steps" }
            @for (name, steps) in by_wave(account, steps) {
                details.wave {
                    summary {
                        strong { (text(name)) } " "
                        span.muted { (count(steps.len(), "step")) (wave(account, name)) }
                    }
                    @for step in steps { (one(account, step, each)) }
                }
            }
        }
    }
}

fn wave(account: &Account, name: &str) -> String {
    let wave = account.waves.iter().find(|wave| wave.name == name);
    wave.map_or_else(String::new, |wave| {
        let again = match wave.again {
            0 => String::new(),
            n => format!(", {n} tried again"),
        };
        format!(", {}, {}{again}", count(wave.members, "member"), span(wave.ms))
    })
}

fn one(account: &Account, step: &Step, each: usize) -> Markup {
    html! {
        details.step.(step_tone(step)) {
            summary {
                span.number { @if let Some(began) = step.began() { (time(began)) } }
                span { (text(step.member.as_deref().unwrap_or_default())) }
                span.what { (text(&step.what())) }
                span.text { (text(&outcome(step))) }
                span.number { (took(step)) }
            }
            div.body {
                (facts(step))
                (commands(account, step, each))
            }
        }
    }
}

fn facts(step: &Step) -> Markup {
    let pretty = |value: &serde_json::Value| serde_json::to_string_pretty(value).unwrap_or_default();
    html! {
        dl {
            dt { "Path" } dd { code { (text(&step.path)) } }
            @if !step.site.is_empty() { dt { "Asked for at" } dd { (text(&step.site)) } }
            @if !step.args.is_null() { dt { "Arguments" } dd { code { (text(&step.args.to_string())) } } }
            @if step.attempts.len() > 1 {
                dt { "Attempts" }
                dd { ol { @for attempt in &step.attempts {
                    li { (time(attempt.began)) ", " (attempt.state.word()) (attempt.ms().map(|ms| format!(" after {}", span(ms))).unwrap_or_default()) }
                } } }
            }
            @match step.by {
                Some(By::Probe) => { dt { "Known" } dd { "found out afterwards; its end had been missed" } }
                Some(By::Operator) => { dt { "Known" } dd { "said by the operator" } }
                Some(By::Run) | None => {}
            }
            @if step.in_doubt { dt { "In doubt" } dd { "it is not known whether this was done" } }
            @if !step.heard.is_empty() { dt { "Last heard" } dd { (text(&step.heard)) } }
            @if let Some(failure) = &step.failure {
                @for (name, value) in &failure.detail {
                    dt { (text(name)) } dd { pre { (text(value.as_str().unwrap_or(&pretty(value)))) } }
                }
            }
            @if let Some(result) = step.result.as_ref().filter(|result| !result.is_null()) {
                dt { "Result" } dd { (cut(&text(&pretty(result)), None)) }
            }
        }
    }
}

fn commands(account: &Account, step: &Step, each: usize) -> Markup {
    let all = &step.commands;
    let left_out = all.len().saturating_sub(each);
    let (first, last) = if left_out == 0 {
        (all.as_slice(), &all[..0])
    } else {
        (&all[..each / 2], &all[all.len() - (each - each / 2)..])
    };
    html! {
        @for command in first { (transcript(command)) }
        @if left_out > 0 {
            p.note {
                (count(left_out, "command")) " left out here: "
                code { "lockstep show " (text(&account.run)) " --steps" } " has them all"
            }
        }
        @for command in last { (transcript(command)) }
    }
}

fn transcript(command: &Command) -> Markup {
    let times = match command.times {
        1 => String::new(),
        n => format!(", {n} times with this outcome"),
    };
    let head = html! {
        span.member { (text(&command.member)) } " "
        code { "$ " (text(&command.command)) } " "
        span.muted { (text(&command.end)) ", " (command.ms) " ms" (times) }
    };
    html! {
        @if command.stdout.bytes + command.stderr.bytes == 0 {
            div.command.silent { (head) }
        } @else {
            details.command {
                summary { (head) }
                (output("standard output", &command.stdout))
                (output("standard error", &command.stderr))
            }
        }
    }
}

fn output(name: &str, output: &Output) -> Markup {
    html! {
        @if output.bytes > 0 {
            figure {
                figcaption.muted { (name) }
                (cut(&text(&output.text), Some(output)))
            }
        }
    }
}

/// A text as it is, or its beginning and where the whole of it is.
fn cut(text: &str, output: Option<&Output>) -> Markup {
    let whole = text.len() <= SHOWN;
    let shown = &text[..text.floor_char_boundary(SHOWN)];
    let file = output.and_then(|output| output.file.as_deref());
    let bytes = output.map_or(text.len() as u64, |output| output.bytes);
    html! {
        pre { (shown) }
        @if let Some(file) = file {
            p.note { "cut: all of its " (bytes) " bytes are in " code { (file) } " in the run's folder" }
        } @else if !whole {
            p.note { "cut: all of its " (bytes) " bytes are in the run's folder" }
        }
    }
}
