//! The page of a rollout: its rings as bars, what stopped and why, and a row for each cluster with a link to its own report.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use lockstep_modules::contract::standing::Standing;
use maud::{Markup, html};

use super::words::{capital, count, text};
use super::{GENERATOR, document, stamp};
use crate::account::span;
use crate::fleet::{ClusterProgress, Progress, RingProgress};
use crate::report::{date, harmless};

/// Rows of a table that isn't folded.
const FEW: usize = 100;

/// How a rollout is shown.
pub(crate) struct View<'a> {
    /// The rollout.
    pub(crate) progress: &'a Progress,
    /// The pages of its clusters, by their names: files beside the page.
    pub(crate) pages: &'a BTreeMap<String, String>,
    /// What can be typed, where it waits for somebody.
    pub(crate) suggestions: Option<&'a str>,
    /// The page is written again and again, and loaded again after so many seconds.
    pub(crate) refresh: Option<u64>,
    /// The time.
    pub(crate) now: Timestamp,
}

/// Whether nothing is at a path, or a page that was made here.
pub(crate) fn may_replace(path: &Path) -> bool {
    let made = format!("name=\"generator\" content=\"{GENERATOR}\"");
    match fs::read(path) {
        Ok(page) => String::from_utf8_lossy(&page).contains(&made),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// How a cluster is counted: those of a kind have one colour.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Done,
    Running,
    Held,
    Failed,
    Skipped,
    Waiting,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Done,
        Self::Running,
        Self::Held,
        Self::Failed,
        Self::Skipped,
        Self::Waiting,
    ];

    fn of(cluster: &ClusterProgress) -> Self {
        match cluster.state {
            // A run that broke off is taken up when the rollout comes to it.
            None | Some(Standing::DidNotBegin | Standing::BrokenOff) => Self::Waiting,
            Some(Standing::Done) => Self::Done,
            Some(Standing::Running) => Self::Running,
            Some(Standing::Held | Standing::Suspended) => Self::Held,
            Some(Standing::Refused | Standing::Failed | Standing::Aborted) => Self::Failed,
            Some(Standing::Skipped) => Self::Skipped,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Running => "running",
            Self::Held => "held",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Waiting => "waiting",
        }
    }
}

/// The class that colours where a rollout stands.
fn tone(state: Standing) -> &'static str {
    match state {
        Standing::Done | Standing::Skipped => "good",
        Standing::Running | Standing::Suspended | Standing::Aborted => "open",
        _ => "bad",
    }
}

/// The page of a rollout.
pub(crate) fn overview(view: &View<'_>) -> String {
    let progress = view.progress;
    let title = format!("{}: {}", progress.rollout, progress.state);
    let body = html! {
        (head(view))
        main {
            (standing(view))
            @for ring in &progress.rings { (section(ring, view.now)) }
            (stopped(view))
            (running(view))
            (clusters(view))
        }
        footer { "times in UTC" }
    };
    document(&title, view.refresh, include_str!("rollout.css"), &body)
}

fn head(view: &View<'_>) -> Markup {
    let progress = view.progress;
    let over = progress.is_over();
    let done = progress.clusters().filter(|c| Kind::of(c) == Kind::Done);
    html! {
        header {
            h1 {
                (text(&progress.rollout)) " "
                span.state.(tone(progress.state)) { (progress.state.word()) }
            }
            p.lead {
                (text(&progress.playbook)) " on " (text(&progress.fleet)) ", "
                (done.count()) " of " (count(progress.clusters().count(), "cluster")) " done"
            }
            dl.facts {
                div { dt { "Started" } dd { (stamp(progress.began, &date(progress.began))) } }
                @if over {
                    div { dt { "Ended" } dd { (stamp(progress.last, &date(progress.last))) } }
                    div { dt { "Took" } dd { (long(progress.last.duration_since(progress.began))) } }
                } @else {
                    div { dt { "So far" } dd { (long(view.now.duration_since(progress.began))) } }
                    div { dt { "Last event" } dd { (stamp(progress.last, &date(progress.last))) } }
                }
                @if let (Standing::Running, Some(left)) = (progress.state, progress.left(view.now)) {
                    div { dt { "Left" } dd { "about " (long(left)) } }
                }
                div { dt { "As of" } dd { (stamp(view.now, &date(view.now))) } }
            }
            @if view.refresh.is_some() {
                p.note { "While it is watched, this page is written again at least every minute. If its time is older, nobody writes it any more." }
            }
            @if progress.state == Standing::Running && progress.left(view.now).is_some() {
                p.note { "What is left assumes that clusters take as long as so far. Windows, questions, and clusters that stop come on top." }
            }
        }
    }
}

fn long(span_of: SignedDuration) -> String {
    span(
        i64::try_from(span_of.as_millis())
            .unwrap_or(i64::MAX)
            .max(0),
    )
}

/// Why the rollout doesn't run, and what can be typed.
fn standing(view: &View<'_>) -> Markup {
    let Progress { state, stopped, .. } = view.progress;
    html! {
        @if *state != Standing::Running && *state != Standing::Done {
            section.notice.(tone(*state)) aria-label="Why it stopped there" {
                @if let Some(until) = view.progress.waits_until {
                    h2 { "The rollout waits until " (date(until)) }
                    p { "Nothing runs until then. The timer continues it, if it is on; or " code { "lockstep fleet continue -r " (text(&view.progress.rollout)) } }
                } @else {
                    h2 { (capital(state.word())) }
                    @match (view.suggestions, stopped) {
                        (Some(suggestions), _) => pre { (harmless(suggestions)) },
                        (None, Some(why)) => p { (text(why)) },
                        (None, None) => {}
                    }
                }
            }
        }
    }
}

fn section(ring: &RingProgress, now: Timestamp) -> Markup {
    let counts = Kind::ALL.map(|kind| (kind, ring.count(|c| Kind::of(c) == kind)));
    let shown = || counts.iter().filter(|(_, count)| *count > 0);
    let said: Vec<String> = shown()
        .map(|(kind, n)| format!("{n} {}", kind.word()))
        .collect();
    let mut at = 0;
    let parts: Vec<(Kind, usize, usize)> = counts
        .iter()
        .map(|(kind, count)| {
            at += count;
            (*kind, at - count, *count)
        })
        .collect();
    html! {
        section {
            h2 { (text(&ring.ring)) " " span.muted { (count(ring.clusters.len(), "cluster")) } }
            svg.bar role="img" aria-label=(said.join(", ")) viewBox=(format!("0 0 {} 1", ring.clusters.len().max(1))) preserveAspectRatio="none" {
                @for (kind, at, count) in parts { @if count > 0 && kind != Kind::Waiting {
                    rect.(kind.word()) x=(at) y="0" width=(count) height="1" {}
                } }
            }
            ul.legend { @for (kind, count) in shown() {
                li { span.swatch.(kind.word()) {} (count) " " (kind.word()) }
            } }
            p.muted { (terms(ring, now)) }
        }
    }
}

/// What a ring goes by.
fn terms(ring: &RingProgress, now: Timestamp) -> String {
    let mut terms = vec![
        format!("{} at once", ring.limit),
        match ring.count(ClusterProgress::is_unwell) {
            0 => format!("budget {}", ring.budget),
            used => format!("{used} of a budget of {} used", ring.budget),
        },
    ];
    match (ring.soaks_until, ring.soak) {
        (Some(until), _) => terms.push(format!("soaks until {}", date(until))),
        (None, Some(soak)) => terms.push(format!("soaks for {soak}")),
        (None, None) => {}
    }
    if ring.approve {
        terms.push("asked before it starts".to_owned());
    }
    if ring.approve_plans {
        terms.push("plans have to be approved".to_owned());
    }
    if let Some(window) = ring.window(now) {
        terms.push(match window.opens > now {
            true => format!("next window opens {}", date(window.opens)),
            false => format!("window open until {}", date(window.closes)),
        });
    }
    terms.join(" · ")
}

/// The clusters that somebody has to see to.
fn stopped(view: &View<'_>) -> Markup {
    let stopped = view.progress.clusters().filter(|c| c.is_unwell());
    let stopped: Vec<&ClusterProgress> = stopped.collect();
    let why = |cluster: &ClusterProgress| cluster.job.as_ref().and_then(|job| job.why.clone());
    let rows = |clusters: &[&ClusterProgress]| {
        html! {
            div.wide { table {
                thead { tr { th scope="col" { "Cluster" } th scope="col" { "State" } th scope="col" { "Why" } } }
                tbody { @for cluster in clusters { tr {
                    (name(view, cluster))
                    td.bad { (cluster.state.map_or("", Standing::word)) }
                    td.text { (text(&why(cluster).unwrap_or_default())) }
                } } }
            } }
        }
    };
    html! {
        @if !stopped.is_empty() {
            section {
                h2 { "Stopped before their end" }
                (rows(&stopped[..stopped.len().min(FEW)]))
                @if stopped.len() > FEW {
                    details { summary { (count(stopped.len() - FEW, "more cluster")) } (rows(&stopped[FEW..])) }
                }
                @if !view.progress.is_over() {
                    p.note { "Continue a cluster's run with " code { "lockstep fleet resume CLUSTER -r " (text(&view.progress.rollout)) } }
                }
            }
        }
    }
}

fn running(view: &View<'_>) -> Markup {
    let is = |c: &&ClusterProgress| Kind::of(c) == Kind::Running;
    let mut running: Vec<&ClusterProgress> = view.progress.clusters().filter(is).collect();
    running.sort_by_key(|cluster| cluster.silent(view.now).is_none());
    html! {
        @if !running.is_empty() {
            section {
                h2 { "Running" }
                div.wide { table {
                    thead { tr { th scope="col" { "Cluster" } th.number scope="col" { "For" } th scope="col" { "Last word" } } }
                    tbody { @for cluster in running { tr {
                        (name(view, cluster))
                        td.number { @if let Some(began) = cluster.began { (long(view.now.duration_since(began))) } }
                        @match (cluster.silent(view.now), cluster.heard) {
                            (Some(silent), _) => { td.bad { "silent for " (long(silent)) } }
                            (None, Some(heard)) => { td { (date(heard)) } }
                            (None, None) => { td.muted { "not begun by its executor yet" } }
                        }
                    } } }
                } }
            }
        }
    }
}

/// Every cluster in a row, folded by rings.
fn clusters(view: &View<'_>) -> Markup {
    html! {
        section {
            h2 { "All clusters" }
            @for ring in &view.progress.rings {
                details {
                    summary { (text(&ring.ring)) " " span.muted { (count(ring.clusters.len(), "cluster")) } }
                    div.wide { table {
                        thead { tr { th scope="col" { "Cluster" } th scope="col" { "State" } th scope="col" { "Started" } th.number scope="col" { "Took" } } }
                        tbody { @for cluster in &ring.clusters { tr {
                            (name(view, cluster))
                            td { (cluster.state.map_or("waiting", Standing::word)) @if let Some(waits) = &cluster.waits { " for " (text(waits)) } }
                            td { @if let Some(began) = cluster.began { (date(began)) } }
                            td.number { @if let (Some(began), Some(ended)) = (cluster.began, cluster.ended) { (long(ended.duration_since(began))) } }
                        } } }
                    } }
                }
            }
        }
    }
}

/// A cluster's name, which leads to its own report where there is one.
fn name(view: &View<'_>, cluster: &ClusterProgress) -> Markup {
    html! {
        th scope="row" {
            @match view.pages.get(&cluster.cluster) {
                Some(page) => a href=(address(page)) { (text(&cluster.cluster)) },
                None => (text(&cluster.cluster)),
            }
        }
    }
}

/// A file's name as an address: whatever could mean something else there is escaped (RFC 3986).
fn address(file: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    file.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
