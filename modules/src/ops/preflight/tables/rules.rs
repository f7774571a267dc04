//! What a table has to be beside well-formed: rows that contradict themselves or each other are reported with their line.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use toml::Spanned;

use super::rows::{Hazard, Path, Range, Set, Together, Track};
use crate::contract::component::Component;
use crate::ops::preflight::checks::CHECKS;
use crate::ops::preflight::version::Version;

/// `compatibility.toml`
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Compatibility {
    #[serde(default)]
    set: Vec<Spanned<Set>>,
    #[serde(default)]
    path: Vec<Spanned<Path>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    track: Vec<Spanned<Track>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    together: Vec<Spanned<Together>>,
}

/// `hazards.toml`
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hazards {
    #[serde(default)]
    hazard: Vec<Spanned<Hazard>>,
}

pub(super) trait Table: DeserializeOwned + Serialize {
    /// What each row is called by, where that must be its own, with where it stands.
    fn names(&self) -> Vec<(usize, String)>;

    /// What is wrong with single rows, and where they stand.
    fn wrong(&self) -> Option<(usize, String)>;
}

pub(super) fn read<T: Table>(text: &str) -> Result<Value, (usize, String)> {
    let line = |at: usize| line(text, at);
    let table: T = toml::from_str(text).map_err(|e| {
        let at = e.span().map_or(0, |range| range.start);
        (line(at), e.message().to_owned())
    })?;
    if let Some((at, what)) = table.wrong() {
        return Err((line(at), what));
    }
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    for (at, name) in table.names() {
        if let Some(first) = known.insert(name.clone(), at) {
            let first = line(first);
            return Err((
                line(at),
                format!("{name} has a row already, in line {first}"),
            ));
        }
    }
    serde_json::to_value(table).map_err(|e| (1, e.to_string()))
}

/// The line, from 1, that a place in a text is in.
fn line(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    before.iter().filter(|b| **b == b'\n').count() + 1
}

fn rows<T>(
    rows: &[Spanned<T>],
    of: impl Fn(&T) -> String,
) -> impl Iterator<Item = (usize, String)> {
    rows.iter()
        .map(move |row| (row.span().start, of(row.get_ref())))
}

/// The first row of which something is wrong.
fn first<T>(rows: &[Spanned<T>], wrong: impl Fn(&T) -> Option<String>) -> Option<(usize, String)> {
    let wrong = |row: &Spanned<T>| Some((row.span().start, wrong(row.get_ref())?));
    rows.iter().find_map(wrong)
}

impl Table for Compatibility {
    fn names(&self) -> Vec<(usize, String)> {
        let of = |c: Component, track: &str| format!("the track {track} of {}", c.snap());
        rows(&self.set, |s| format!("the set {}", s.name))
            .chain(rows(&self.path, |p| {
                format!("the way from {}", of(p.component, &p.from))
            }))
            .chain(rows(&self.track, |t| of(t.component, &t.name)))
            .chain(rows(&self.together, |t| format!("the check {}", t.name)))
            .collect()
    }

    fn wrong(&self) -> Option<(usize, String)> {
        let path = |p: &Path| {
            if p.to.contains(&p.from) {
                return Some(format!("{} leads to itself", p.from));
            }
            (p.to.is_empty() && !p.by_version && p.why.is_none()).then(|| {
                "a way that leads nowhere says why: write why = \"…\", or to = [\"…\"], or by_version = true"
                    .to_owned()
            })
        };
        let together = |t: &Together| {
            if t.of.component == t.with.component {
                return Some(
                    "a component goes together with another one, not with itself".to_owned(),
                );
            }
            taken(&t.name)
                .or_else(|| impossible(&t.of))
                .or_else(|| impossible(&t.with))
        };
        first(&self.path, path).or_else(|| first(&self.together, together))
    }
}

impl Table for Hazards {
    fn names(&self) -> Vec<(usize, String)> {
        rows(&self.hazard, |h| format!("the check {}", h.name)).collect()
    }

    fn wrong(&self) -> Option<(usize, String)> {
        first(&self.hazard, |hazard| {
            let own = Range {
                component: hazard.component,
                since: hazard.since.clone(),
                below: hazard.below.clone(),
            };
            if hazard.to.is_none() && hazard.since.is_none() {
                return Some(
                    "a hazard says what it comes with: a track (to = \"…\") or a version (since = \"…\")"
                        .to_owned(),
                );
            }
            taken(&hazard.name)
                .or_else(|| impossible(&own))
                .or_else(|| hazard.with.as_ref().and_then(impossible))
        })
    }
}

/// A name that one of the other checks has.
fn taken(name: &str) -> Option<String> {
    let own = CHECKS.iter().any(|check| check.name == name);
    own.then(|| format!("{name:?} is the name of a check that every preflight has"))
}

/// A range that no version is in.
fn impossible(range: &Range) -> Option<String> {
    let (since, below): (&Version, &Version) = (range.since.as_ref()?, range.below.as_ref()?);
    (!since.is_below(below))
        .then(|| format!("no version is {since} or newer and older than {below}"))
}
