//! Which track leads to which, and in how many runs.

use std::collections::{BTreeMap, BTreeSet};

use super::checks::{Found, Seen};
use super::moves::track;
use super::tables::rows::{self, Path};
use super::version::Version;
use crate::contract::component::Component;
use crate::ops::status::ComponentStatus;

/// A component on its way from one track to another.
struct Move<'a> {
    component: &'a ComponentStatus,
    from: String,
    to: &'a str,
}

impl Seen<'_> {
    pub(super) fn path(&self) -> Found {
        let mut found = Found::default();
        let mut moves = Vec::new();
        for (component, channel) in self.moved() {
            let title = &component.title;
            let mut from = BTreeSet::new();
            for step in self.steps(component) {
                let member = step.member;
                match self.from(component, track(step.channel), &step.runs) {
                    Ok(track) => {
                        from.insert(track);
                    }
                    Err(why) => found.unknown.push(format!("{title} on {member}: {why}")),
                }
                match (&step.runs, &step.gets) {
                    (Ok(runs), Some(Ok(gets))) if gets.is_below(runs) => found.against.push(format!(
                        "{title}: {member} runs {runs}, and {channel} has {gets}: there is no way back"
                    )),
                    (_, None) | (Ok(_), Some(Ok(_))) => {}
                    (Err(why), _) | (_, Some(Err(why))) => {
                        let whether = "whether that is a way back isn't known";
                        found.unknown.push(format!("{title} on {member}: {why}; {whether}"));
                    }
                }
            }
            let to = track(channel.as_str());
            moves.extend(from.into_iter().map(|from| Move {
                component,
                from,
                to,
            }));
        }
        if let Some(set) = self.target_set() {
            found
                .notes
                .push(format!("set {}: {}", set.name, set.label()));
        }
        let by_set = self.by_set(&moves);
        for Move {
            component,
            from,
            to,
        } in &moves
        {
            let title = &component.title;
            match self.way(component, from, to).as_deref() {
                Some([]) => {}
                Some([_]) => found.notes.push(format!("{title}: {from} → {to}")),
                Some(way) => {
                    let by = way[..way.len() - 1].join(" and ");
                    let what = format!("{title} goes from {from} to {to} only by way of {by}");
                    found.against.push(if by_set.is_some() {
                        what
                    } else {
                        format!("{what}: {}", self.one_by_one(component, way))
                    });
                }
                None => found.against.push(self.nowhere(component, from, to)),
            }
        }
        found.against.extend(by_set);
        found
    }

    /// The row of a component's track.
    pub(super) fn row(&self, component: &ComponentStatus, from: &str) -> Option<&Path> {
        let mut rows = self.args.paths.iter();
        rows.find(|p| p.component == component.name && p.from == from)
    }

    /// The track that counts: the one that is followed or, where that one rolls on, the one of the version that runs.
    fn from(
        &self,
        component: &ComponentStatus,
        followed: &str,
        runs: &Result<Version, String>,
    ) -> Result<String, String> {
        if !self
            .row(component, followed)
            .is_some_and(|row| row.by_version)
        {
            return Ok(followed.to_owned());
        }
        let version = runs.as_ref().map_err(Clone::clone)?;
        let tracks = self.tracks(component);
        let mut tracks = tracks.iter();
        let track = tracks.find(|(_, begins)| version.begins_with(begins));
        track.map(|(name, _)| (*name).to_owned()).ok_or_else(|| {
            format!("it follows {followed} and runs {version}, and which track that belongs to isn't known")
        })
    }

    /// The tracks of a component that the tables know, with what their versions begin with.
    fn tracks(&self, component: &ComponentStatus) -> BTreeMap<&str, Version> {
        let rows = self
            .args
            .paths
            .iter()
            .filter(|p| p.component == component.name);
        let names = rows.flat_map(|p| p.to.iter().chain([&p.from]));
        let mut tracks: BTreeMap<&str, Version> = names
            .filter_map(|name| Some((name.as_str(), Version::parse(name)?)))
            .collect();
        let named = self
            .args
            .tracks
            .iter()
            .filter(|t| t.component == component.name);
        tracks.extend(named.map(|t| (t.name.as_str(), t.version.clone())));
        tracks
    }

    /// The tracks to be gone through, one run each, the shortest way.
    fn way(&self, component: &ComponentStatus, from: &str, to: &str) -> Option<Vec<String>> {
        let mut ways: Vec<Vec<String>> = vec![Vec::new()];
        let mut seen = BTreeSet::from([from.to_owned()]);
        while !ways.is_empty() {
            let arrived = |way: &&Vec<String>| way.last().map_or(from, String::as_str) == to;
            if let Some(way) = ways.iter().find(arrived) {
                return Some(way.clone());
            }
            let mut longer = Vec::new();
            for way in &ways {
                let row = self.row(component, way.last().map_or(from, String::as_str));
                for next in row.into_iter().flat_map(|row| &row.to) {
                    if seen.insert(next.clone()) {
                        longer.push(way.iter().chain([next]).cloned().collect());
                    }
                }
            }
            ways = longer;
        }
        None
    }

    /// Why a component can't be moved at all, and what is possible instead.
    fn nowhere(&self, component: &ComponentStatus, from: &str, to: &str) -> String {
        let title = &component.title;
        match self.row(component, from) {
            Some(Path {
                why: Some(why),
                link,
                ..
            }) => {
                format!(
                    "{title} can't be moved from {from} to {to}: {why}, see {}",
                    link.0
                )
            }
            Some(row) => format!(
                "{title} goes from {from} to {} and not to {to}, see {}",
                row.to.join(" or "),
                row.link.0
            ),
            None => format!(
                "no way is known for {title} from {from} to {to}: there is no row for {from} in data/compatibility.toml"
            ),
        }
    }

    /// The commands that take one component there, where no set leads all of them.
    fn one_by_one(&self, component: &ComponentStatus, way: &[String]) -> String {
        let name = component.name;
        let channel = self
            .args
            .channels
            .get(name.snap())
            .map_or("", |c| c.as_str());
        let risk = channel.split_once('/').map_or("stable", |(_, risk)| risk);
        let commands = way
            .iter()
            .map(|track| format!("lockstep upgrade --{name} {track}/{risk}"));
        in_runs(&commands.collect::<Vec<_>>())
    }

    /// The set that all components are to be moved to, if it is one.
    fn target_set(&self) -> Option<&rows::Set> {
        let is_target = |set: &&rows::Set| {
            let mut all = Component::ALL.iter();
            all.all(|c| self.args.channels.get(c.snap()) == Some(set.channel(*c)))
        };
        self.args.sets.iter().find(is_target)
    }

    /// The commands, where one run is too few and a set stands between here and there for all that is moved.
    fn by_set(&self, moves: &[Move<'_>]) -> Option<String> {
        let runs = |m: &Move<'_>, from: &str, to: &str| {
            self.way(m.component, from, to).map(|way| way.len())
        };
        if moves
            .iter()
            .all(|m| runs(m, &m.from, m.to).is_none_or(|n| n < 2))
        {
            return None;
        }
        let target = self.target_set()?;
        let between = self.args.sets.iter().find(|set| {
            moves.iter().all(|m| {
                let by = track(set.channel(m.component.name).as_str());
                let single = |n: Option<usize>| n.is_some_and(|n| n < 2);
                single(runs(m, &m.from, by)) && single(runs(m, by, m.to))
            })
        })?;
        let left = Component::ALL.into_iter().filter(|c| !self.args.chosen(*c));
        let skip: String = left.map(|c| format!(" --skip {c}")).collect();
        let command = |set: &rows::Set| format!("lockstep upgrade --to {}{skip}", set.name);
        Some(in_runs(&[command(between), command(target)]))
    }
}

fn in_runs(commands: &[String]) -> String {
    format!(
        "it takes {} runs: {}",
        commands.len(),
        commands.join(", then: ")
    )
}
