//! Every step with its commands and what they printed, folded.

use maud::{Markup, html};

use super::words::{by_wave, count, step_tone, text, time, took};
use crate::account::{Account, Command, Output, Step, span};
use crate::journal::By;
use crate::report::harmless;

/// Commands that are shown in all, shared among the steps.
const COMMANDS: usize = 4000;

/// This many bytes of outputs are shown in all, shared among the commands.
const BYTES: usize = 2 << 20;

/// How much of a step is shown, so that the file stays of a size that can be sent.
#[derive(Clone, Copy)]
struct Share {
    /// Commands of a step.
    commands: usize,
    /// Bytes of an output.
    bytes: usize,
}

impl Share {
    fn of(steps: &[&Step]) -> Self {
        let commands = (COMMANDS / steps.len().max(1)).clamp(6, 60);
        let all = steps.iter().map(|step| step.commands.len().min(commands));
        let bytes = BYTES / all.sum::<usize>().max(1);
        Self {
            commands,
            bytes: bytes.clamp(400, 2048),
        }
    }
}

pub(super) fn section(account: &Account) -> Markup {
    let steps: Vec<&Step> = account.steps.iter().collect();
    let share = Share::of(&steps);
    html! {
        section.steps {
            h2 { "Steps" }
            @for (name, steps) in by_wave(account, steps) {
                details.wave {
                    summary {
                        strong { (text(name)) } " "
                        span.muted { (count(steps.len(), "step")) (wave(account, name)) }
                    }
                    @for step in steps { (one(account, step, share)) }
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
        format!(
            ", {}, {}{again}",
            count(wave.members, "member"),
            span(wave.ms)
        )
    })
}

fn one(account: &Account, step: &Step, share: Share) -> Markup {
    html! {
        details.step.(step_tone(step)) {
            summary {
                span.number { @if let Some(began) = step.began() { (time(began)) } }
                span { (text(step.member.as_deref().unwrap_or_default())) }
                span.what { (text(&step.what())) }
                span.text { (text(&step.outcome())) }
                span.number { (took(step)) }
            }
            div.body {
                (facts(step, share))
                (commands(account, step, share))
            }
        }
    }
}

fn facts(step: &Step, share: Share) -> Markup {
    let pretty =
        |value: &serde_json::Value| serde_json::to_string_pretty(value).unwrap_or_default();
    html! {
        dl {
            dt { "Path" } dd { code { (text(step.path.as_str())) } }
            @if !step.site.is_empty() { dt { "Requested at" } dd { (text(&step.site)) } }
            @if !step.args.is_null() { dt { "Arguments" } dd { (cut(&step.args.to_string(), None, share)) } }
            @if step.attempts.len() > 1 {
                dt { "Attempts" }
                dd { ol { @for attempt in &step.attempts {
                    li { (time(attempt.began)) ", " (attempt.state.word()) (attempt.ms().map(|ms| format!(" after {}", span(ms))).unwrap_or_default()) }
                } } }
            }
            @match step.by {
                Some(By::Probe) => { dt { "Known" } dd { "determined afterwards; its end was missed" } }
                Some(By::Operator) => { dt { "Known" } dd { "reported by the operator" } }
                Some(By::Run) | None => {}
            }
            @if step.in_doubt { dt { "In doubt" } dd { "it is not known whether this was done" } }
            @if !step.last_progress.is_empty() { dt { "Last event" } dd { (text(&step.last_progress)) } }
            @if let Some(failure) = &step.failure {
                @for (name, value) in &failure.detail {
                    dt { (text(name)) } dd { (cut(value.as_str().unwrap_or(&pretty(value)), None, share)) }
                }
            }
            @if let Some(result) = step.result.as_ref().filter(|result| !result.is_null()) {
                dt { "Result" } dd { (cut(&pretty(result), None, share)) }
            }
        }
    }
}

fn commands(account: &Account, step: &Step, share: Share) -> Markup {
    let each = share.commands;
    let all = &step.commands;
    let left_out = all.len().saturating_sub(each);
    let (first, last) = if left_out == 0 {
        (all.as_slice(), &all[..0])
    } else {
        (&all[..each / 2], &all[all.len() - (each - each / 2)..])
    };
    html! {
        @for command in first { (transcript(command, share)) }
        @if left_out > 0 {
            p.note {
                (count(left_out, "command")) " left out here: "
                code { "lockstep show " (text(&account.run)) " --steps" } " has them all"
            }
        }
        @for command in last { (transcript(command, share)) }
    }
}

fn transcript(command: &Command, share: Share) -> Markup {
    let times = match command.times {
        1 => String::new(),
        n => format!(", {n} times with this outcome"),
    };
    let head = html! {
        span.member { (text(&command.member)) } " "
        code { "$ " (text(&command.command)) } " "
        span.muted { (text(&command.end.to_string())) ", " (command.ms) " ms" (times) }
    };
    html! {
        @if command.stdout.bytes + command.stderr.bytes == 0 {
            div.command.silent { (head) }
        } @else {
            details.command {
                summary { (head) }
                (output("standard output", &command.stdout, share))
                (output("standard error", &command.stderr, share))
            }
        }
    }
}

fn output(name: &str, output: &Output, share: Share) -> Markup {
    html! {
        @if output.bytes > 0 {
            figure {
                figcaption.muted { (name) }
                (cut(&output.text, Some(output), share))
            }
        }
    }
}

/// A text as it is, or its beginning and where the whole of it is.
fn cut(text: &str, output: Option<&Output>, share: Share) -> Markup {
    let whole = text.len() <= share.bytes;
    let shown = &text[..text.floor_char_boundary(share.bytes)];
    let file = output.and_then(|output| output.file.as_deref());
    let bytes = output.map_or(text.len() as u64, |output| output.bytes);
    html! {
        pre { (harmless(shown)) }
        @if let Some(file) = file {
            p.note { "cut: all of its " (bytes) " bytes are in " code { (file) } " in the run's folder" }
        } @else if !whole {
            p.note { "cut: it has " (bytes) " bytes, which " code { "lockstep show --steps" } " shows" }
        }
    }
}
