//! The run as a chart: a row for each member, a band for each wave, a bar for each attempt at a step.

use lockstep_modules::contract::schema::Member;
use std::fmt::Write as _;

use jiff::Timestamp;
use maud::{Markup, html};

use super::words::{count, text, time};
use crate::account::{Account, Attempt, Progress, Step, span};
use crate::report::date;

/// The chart's width in its own units. It is shown as wide as the page.
const WIDTH: f64 = 1040.0;
/// Above the rows: two lines of wave names.
const TOP: f64 = 40.0;
/// Below the rows: the axis.
const BOTTOM: f64 = 30.0;
/// A letter of the labels, roughly.
const LETTER: f64 = 6.6;
/// No session and no bar is narrower than this.
const LEAST: (f64, f64) = (10.0, 1.5);

/// Where things are.
struct Scale {
    left: f64,
    row: f64,
    rows: Vec<String>,
    /// Of each session: where it begins and how wide it is.
    sessions: Vec<(f64, f64)>,
}

impl Scale {
    fn of(account: &Account) -> Self {
        let mut rows: Vec<String> = account.members.iter().map(Member::to_string).collect();
        let elsewhere = |step: &&Step| row_of(step, &account.members).is_none();
        if account.steps.iter().any(|step| elsewhere(&step)) {
            rows.insert(0, String::new());
        }
        let longest = rows.iter().map(|row| row.chars().count()).max();
        let left = (longest.unwrap_or(0).clamp(7, 24) as f64).mul_add(LETTER, 12.0);
        let count = account.sessions.len().max(1) as f64;
        let plot = WIDTH - left - 12.0;
        let gap = if count > 1.0 {
            (plot / 4.0 / (count - 1.0)).min(26.0)
        } else {
            0.0
        };
        let room = gap.mul_add(1.0 - count, plot);
        let least = LEAST.0.min(room / count / 2.0);
        let share = least.mul_add(-count, room);
        let all = account.ms().max(1) as f64;
        let mut x = left;
        let mut sessions = Vec::new();
        for session in &account.sessions {
            let width = share.mul_add(session.ms() as f64 / all, least);
            sessions.push((x, width));
            x += width + gap;
        }
        let row = match rows.len() {
            0..=12 => 24.0,
            13..=30 => 18.0,
            _ => 13.0,
        };
        Self {
            left,
            row,
            rows,
            sessions,
        }
    }

    fn bottom(&self) -> f64 {
        self.row.mul_add(self.rows.len() as f64, TOP)
    }

    fn x(&self, account: &Account, session: usize, at: Timestamp) -> f64 {
        let (Some((x, width)), Some(times)) =
            (self.sessions.get(session), account.sessions.get(session))
        else {
            return self.left;
        };
        let passed = at.duration_since(times.began).as_millis() as f64;
        let share = passed / times.ms().max(1) as f64;
        width.mul_add(share.clamp(0.0, 1.0), *x)
    }

    /// From where to where an attempt goes.
    fn reach(&self, account: &Account, attempt: &Attempt) -> (f64, f64) {
        let from = self.x(account, attempt.session, attempt.began);
        let end = attempt.ended.or_else(|| {
            let session = account.sessions.get(attempt.session);
            session.map(|session| session.last)
        });
        let to = self.x(account, attempt.session, end.unwrap_or(attempt.began));
        (from, to)
    }

    fn y(&self, step: &Step, members: &[Member]) -> f64 {
        let aside = self.rows.len() - members.len();
        let row = row_of(step, members).map_or(0, |row| row + aside);
        self.row.mul_add(row as f64, TOP)
    }
}

fn row_of(step: &Step, members: &[Member]) -> Option<usize> {
    let member = step.member.as_ref()?;
    members.iter().position(|m| m == member)
}

pub(super) fn section(account: &Account) -> Markup {
    html! {
        section {
            h2 { "Timeline" }
            @if account.sessions.is_empty() {
                p { "Nothing is known of when it happened." }
            } @else {
                div.wide.chart tabindex="0" role="group" aria-label="Timeline, scrolls sideways where it is wider than the page" {
                    (chart(account))
                }
                ul.legend aria-hidden="true" {
                    li { span.swatch.change {} "changes something" }
                    li { span.swatch.gate {} "gate" }
                    li { span.swatch.look {} "looks" }
                    li { span.swatch.stuck {} "held or failed" }
                    @if account.sessions.len() > 1 { li { span.swatch.pause {} "paused, not to scale" } }
                }
                (waves(account))
            }
        }
    }
}

fn chart(account: &Account) -> Markup {
    let scale = Scale::of(account);
    let height = scale.bottom() + BOTTOM;
    html! {
        svg.(if scale.row < 14.0 { "tight" } else { "roomy" }) viewBox={ "0 0 " (WIDTH) " " (num(height)) } role="img" aria-labelledby="timeline-title timeline-about" {
            title id="timeline-title" { "Timeline of " (text(&account.run)) }
            desc id="timeline-about" { (about(account)) }
            defs {
                pattern id="pause" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    line.pause-line x1="0" y1="0" x2="0" y2="6" {}
                }
                pattern id="stuck" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect.stuck-ground width="5" height="5" {}
                    line.stuck-line x1="0" y1="0" x2="0" y2="5" {}
                }
            }
            (bands(account, &scale))
            (rows(&scale))
            (pauses(account, &scale))
            (bars(account, &scale))
            (axis(account, &scale))
        }
    }
}

/// What the chart shows, in words.
fn about(account: &Account) -> String {
    let mut about = format!(
        "{}, ran {}",
        count(account.members.len(), "member"),
        span(account.ms())
    );
    for wave in &account.waves {
        let _ = write!(about, "; {}: {}", text(&wave.name), span(wave.ms));
    }
    about + ". The steps are listed below."
}

/// A coordinate, as short as it can be.
fn num(x: f64) -> String {
    let text = format!("{x:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn bands(account: &Account, scale: &Scale) -> Markup {
    // From where to where a wave goes in each session; its name stands where it is first.
    let bands: Vec<_> = account
        .waves
        .iter()
        .map(|wave| (wave, reaches(account, scale, &wave.name)))
        .collect();
    let begins = bands.iter().filter_map(|(wave, spans)| {
        let (from, _) = spans.first()?;
        Some((*from, wave.name.as_str()))
    });
    let names = places(begins.collect());
    html! {
        @for (i, (wave, spans)) in bands.iter().enumerate() {
            @for (from, to) in spans {
                rect.band.(if i % 2 == 0 { "even" } else { "odd" }) x=(num(*from)) y=(num(TOP)) width=(num((to - from).max(LEAST.1)))
                    height=(num(scale.bottom() - TOP)) {
                    title { (text(&wave.name)) ": " (span(wave.ms)) }
                }
            }
        }
        @for Place { x, from, y, name } in names {
            line.mark x1=(num(x)) x2=(num(x)) y1=(num(y - 9.0)) y2=(num(TOP)) {}
            text.wave x=(num(from)) y=(num(y)) { (text(name)) }
        }
    }
}

/// From where to where the steps of a wave go, in each session in which it has any.
fn reaches(account: &Account, scale: &Scale, wave: &str) -> Vec<(f64, f64)> {
    let mut spans: Vec<Option<(f64, f64)>> = vec![None; account.sessions.len()];
    let steps = account.steps.iter();
    let steps = steps.filter(|step| account.wave_of(step) == Some(wave));
    for attempt in steps.flat_map(|step| &step.attempts) {
        let (from, to) = scale.reach(account, attempt);
        if let Some(known) = spans.get_mut(attempt.session) {
            let (a, b) = known.unwrap_or((from, to));
            *known = Some((a.min(from), b.max(to)));
        }
    }
    spans.into_iter().flatten().collect()
}

/// Where the name of a wave stands.
struct Place<'a> {
    /// Where the wave begins.
    x: f64,
    /// Where its name begins.
    from: f64,
    y: f64,
    name: &'a str,
}

/// Where names stand above the rows: on the lower line, or above one that comes soon after; right of where the wave begins, or
/// else left of it. One that has room nowhere is left out; its band tells it.
fn places(mut begins: Vec<(f64, &str)>) -> Vec<Place<'_>> {
    begins.sort_by(|a, b| b.0.total_cmp(&a.0));
    let [lower, upper] = [TOP - 6.0, TOP - 22.0];
    // Up to where each line is free. The mark of a name above crosses the lower one.
    let (mut below, mut above) = (WIDTH, WIDTH);
    let mut places = Vec::new();
    for (x, name) in begins {
        let width = (name.chars().count() as f64).mul_add(LETTER + 0.8, 8.0);
        let (left, right) = ((x - width, x), (x, x + width));
        let tried = [(right, lower), (right, upper), (left, upper), (left, lower)];
        let fits =
            |((_, end), y): &((f64, f64), f64)| end <= if *y == lower { &below } else { &above };
        let Some(((first, _), y)) = tried.into_iter().find(fits) else {
            continue;
        };
        if y == lower {
            below = first;
        } else {
            (below, above) = (below.min(x), first);
        }
        let from = first + 4.0;
        places.push(Place { x, from, y, name });
    }
    places
}

fn rows(scale: &Scale) -> Markup {
    html! {
        @for (i, name) in scale.rows.iter().enumerate() {
            @let y = scale.row.mul_add(i as f64, TOP);
            line.row x1=(num(scale.left)) x2=(num(WIDTH - 12.0)) y1=(num(y)) y2=(num(y)) {}
            text.member x=(num(scale.left - 8.0)) y=(num(y + scale.row / 2.0)) {
                @if name.is_empty() { "cluster" } @else { (text(name)) }
            }
        }
    }
}

fn pauses(account: &Account, scale: &Scale) -> Markup {
    let both = scale.sessions.windows(2).zip(account.sessions.windows(2));
    html! {
        @for (xs, times) in both {
            @let from = xs[0].0 + xs[0].1;
            rect.pause x=(num(from)) y=(num(TOP)) width=(num(xs[1].0 - from)) height=(num(scale.bottom() - TOP)) {
                title { "paused from " (date(times[0].last)) " to " (date(times[1].began)) }
            }
        }
    }
}

fn bars(account: &Account, scale: &Scale) -> Markup {
    html! {
        @for step in &account.steps {
            @let y = scale.y(step, &account.members);
            @for attempt in &step.attempts {
                @let (from, to) = scale.reach(account, attempt);
                @let (kind, inset) = kind(step, attempt, scale.row);
                rect.(kind) x=(num(from)) y=(num(y + inset)) width=(num((to - from).max(LEAST.1)))
                    height=(num(inset.mul_add(-2.0, scale.row))) {
                    title { (about_bar(step, attempt)) }
                }
            }
        }
    }
}

/// The class of an attempt's bar, and how far it stays from its row's edges.
fn kind(step: &Step, attempt: &Attempt, row: f64) -> (&'static str, f64) {
    let inset = (row / 6.0).round();
    match attempt.state {
        Progress::Held | Progress::Failed => ("stuck", inset - 1.0),
        _ if step.is_gate() => ("gate", inset),
        _ if step.changes() => ("change", inset),
        _ => ("look", (row / 3.0).round()),
    }
}

fn about_bar(step: &Step, attempt: &Attempt) -> String {
    let member = step
        .member
        .as_deref()
        .map_or_else(String::new, |member| format!("{member}: "));
    let took = attempt
        .ms()
        .map_or_else(String::new, |ms| format!(", {}", span(ms)));
    let how = match attempt.state {
        Progress::Done => step.outcome(),
        state => state.word().to_owned(),
    };
    text(&format!(
        "{member}{}\n{}{took}\n{how}",
        step.what(),
        time(attempt.began)
    ))
}

/// Marks along the time under way: what was paused isn't counted.
fn axis(account: &Account, scale: &Scale) -> Markup {
    const STEPS: [i64; 14] = [
        5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 86400,
    ];
    let all = account.ms();
    let step = STEPS.iter().find(|step| all / (*step * 1000) <= 10);
    let step = step.map_or(all / 8 + 1, |step| step * 1000);
    let mut marks = Vec::new();
    let mut before = 0;
    for (i, session) in account.sessions.iter().enumerate() {
        let (x, width) = scale.sessions[i];
        let mut at = (before + step - 1) / step * step;
        while at <= before + session.ms() {
            let share = (at - before) as f64 / session.ms().max(1) as f64;
            marks.push((width.mul_add(share, x), at));
            at += step;
        }
        before += session.ms();
    }
    marks.dedup_by_key(|(_, at)| *at);
    let y = scale.bottom();
    html! {
        line.axis x1=(num(scale.left)) x2=(num(WIDTH - 12.0)) y1=(num(y)) y2=(num(y)) {}
        @for (x, at) in marks {
            line.axis x1=(num(x)) x2=(num(x)) y1=(num(y)) y2=(num(y + 4.0)) {}
            text.mark x=(num(x)) y=(num(y + 16.0)) { (clock(at)) }
        }
    }
}

/// `12:05`, or `3:02:00` where there are hours.
fn clock(ms: i64) -> String {
    let s = ms / 1000;
    if s >= 3600 {
        format!("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
    } else {
        format!("{}:{:02}", s / 60, s % 60)
    }
}

fn waves(account: &Account) -> Markup {
    html! {
        @if !account.waves.is_empty() {
            div.wide {
                table.slim {
                    thead { tr {
                        th scope="col" { "Wave" } th.number scope="col" { "Began" } th.number scope="col" { "Took" }
                        th.number scope="col" { "Members" } th.number scope="col" { "Steps" } th.number scope="col" { "Tried again" }
                    } }
                    tbody { @for wave in &account.waves { tr {
                        th scope="row" { (text(&wave.name)) }
                        td.number { (wave.began.map(time).unwrap_or_default()) }
                        td.number { (span(wave.ms)) }
                        td.number { (wave.members) }
                        td.number { (wave.steps) }
                        td.number { (wave.again) }
                    } } }
                }
            }
        }
    }
}
