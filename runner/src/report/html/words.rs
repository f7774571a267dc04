//! The words and groups that all sections of the page are written with.

use jiff::Timestamp;

use crate::account::{Account, Progress, Step, span};
use crate::report::harmless;

/// What somebody says in a sentence isn't longer, in bytes.
const LONGEST: usize = 4096;

/// What members, playbooks and people say, made visible and of bounded length; it is escaped where it is put in.
pub(super) fn text(text: &str) -> String {
    let shown = harmless(&text[..text.floor_char_boundary(LONGEST)]).into_owned();
    match text.len() {
        0..=LONGEST => shown,
        bytes => format!("{shown}… (cut: {bytes} bytes in all)"),
    }
}

/// A time of day.
pub(super) fn time(at: Timestamp) -> String {
    at.strftime("%H:%M:%S").to_string()
}

/// `1 member`, `4 members`.
pub(super) fn count(n: usize, what: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{n} {what}{s}")
}

/// A word at the beginning of a heading.
pub(super) fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

/// Steps by their waves, in the order in which those began.
pub(super) fn by_wave<'a>(
    account: &'a Account,
    steps: Vec<&'a Step>,
) -> Vec<(&'a str, Vec<&'a Step>)> {
    let mut waves: Vec<(&str, Vec<&Step>)> = Vec::new();
    let mut before = "Before the waves";
    for step in steps {
        let name = account.wave_of(step).unwrap_or(before);
        if account.wave_of(step).is_some() {
            before = "Outside the waves";
        }
        match waves.iter_mut().find(|(known, _)| *known == name) {
            Some((_, steps)) => steps.push(step),
            None => waves.push((name, vec![step])),
        }
    }
    waves
}

pub(super) fn took(step: &Step) -> String {
    step.ms().map(span).unwrap_or_default()
}

pub(super) fn step_tone(step: &Step) -> &'static str {
    match step.state {
        Progress::Held | Progress::Failed => "bad",
        Progress::UnderWay | Progress::Asked => "open",
        Progress::Done => "",
    }
}
