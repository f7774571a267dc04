//! Which versions members would get, and what is known to go wrong with that.

use std::collections::BTreeMap;

use super::checks::{Found, Seen};
use super::facts::Facts;
use super::host::Host;
use super::moves::track;
use super::tables::rows::{self, Hazard, Range, Together};
use super::version::Version;
use crate::contract::component::Component;
use crate::contract::schema::Member;
use crate::contract::text::joined;
use crate::ops::status::ComponentStatus;
use crate::products::snapd::Revision;

enum Met {
    /// It is, as this shows, where that isn't known without it.
    Yes(Option<String>),
    No,
    Unknown(String),
}

impl Met {
    fn yes(evidence: String) -> Self {
        Self::Yes(Some(evidence))
    }

    fn of(met: bool) -> Self {
        if met { Self::Yes(None) } else { Self::No }
    }

    /// All of them: one that isn't met decides, whatever isn't known of the others.
    fn all(conditions: Vec<Self>) -> Self {
        let (mut evidence, mut unknown) = (Vec::new(), Vec::new());
        for condition in conditions {
            match condition {
                Self::No => return Self::No,
                Self::Yes(text) => evidence.extend(text),
                Self::Unknown(why) => unknown.push(why),
            }
        }
        if unknown.is_empty() {
            Self::Yes((!evidence.is_empty()).then(|| evidence.join(", ")))
        } else {
            Self::Unknown(unknown.join(", "))
        }
    }
}

/// What was found of which members: those of which it is the same are named together.
#[derive(Default)]
struct Reasons<'a>(BTreeMap<String, Vec<&'a str>>);

impl<'a> Reasons<'a> {
    fn add(&mut self, what: String, member: &'a Member) {
        self.0.entry(what).or_default().push(member.as_str());
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Reasons<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let each = self.0.iter().map(|(what, members)| {
            let who = members.join(", ");
            if what.is_empty() {
                who
            } else {
                format!("{who}: {what}")
            }
        });
        f.write_str(&joined(each, "; "))
    }
}

/// What a member runs of a snap, and what it would get.
pub(super) struct Step<'a> {
    pub(super) member: &'a Member,
    pub(super) channel: &'a str,
    pub(super) runs: Result<Version, String>,
    /// Nothing where it stays as it is, or the store can't tell, which another check tells.
    pub(super) gets: Option<Result<Version, String>>,
}

impl Step<'_> {
    fn afterwards(&self) -> &Result<Version, String> {
        self.gets.as_ref().unwrap_or(&self.runs)
    }

    /// What it runs now, or, `late`, afterwards.
    fn version(&self, late: bool) -> &Result<Version, String> {
        if late { self.afterwards() } else { &self.runs }
    }
}

impl Seen<'_> {
    /// What each member that has a component runs, and would get.
    pub(super) fn steps<'s>(&'s self, component: &'s ComponentStatus) -> Vec<Step<'s>> {
        let component = component.name;
        let snap = component.snap();
        let chosen = self.args.chosen(component);
        let channel = self.args.channels.get(snap).filter(|_| chosen);
        let having = self
            .status
            .members
            .iter()
            .filter_map(|m| Some((m, m.snaps.get(snap)?)));
        let step = |(member, installed): (
            &'s crate::ops::status::MemberStatus,
            &'s crate::ops::snap::Installed,
        )| {
            let gets = match channel {
                // That a channel has nothing is reported by "target".
                Some(channel) => self.offer(snap, channel).and_then(|offer| {
                    let there = offer.revision == installed.revision
                        && offer.revision != Revision::default();
                    (!there).then(|| self.brings(component, channel.as_str(), &offer.version))
                }),
                None if chosen => self
                    .answers()
                    .find(|(name, _)| **name == member.name)
                    .and_then(|(_, host)| host.offers.as_ref().ok()?.get(snap))
                    .map(|offer| self.brings(component, &installed.channel, &offer.version)),
                None => None,
            };
            Step {
                member: &member.name,
                channel: &installed.channel,
                runs: self.runs(component, &installed.version),
                gets,
            }
        };
        having.map(step).collect()
    }

    /// The version that a member runs. Where the snap's own tells nothing, Ceph's daemons do.
    fn runs(&self, component: Component, text: &str) -> Result<Version, String> {
        if let Some(version) = Version::parse(text) {
            return Ok(version);
        }
        let why = format!("it runs {text:?}, which has no version");
        match self.ceph {
            Some(Ok(version)) if component == Component::Microceph => Ok(version.clone()),
            Some(Err(more)) if component == Component::Microceph => Err(format!("{why} ({more})")),
            _ => Err(why),
        }
    }

    /// The version that a revision brings. Where its own tells nothing, its track may have a version.
    fn brings(&self, component: Component, channel: &str, text: &str) -> Result<Version, String> {
        let mut tracks = self.args.tracks.iter();
        let named = |t: &&rows::Track| t.component == component && t.name == track(channel);
        Version::parse(text)
            .or_else(|| Some(tracks.find(named)?.version.clone()))
            .ok_or_else(|| format!("{channel} has {text:?}, which has no version"))
    }

    fn component_of(&self, component: Component) -> Option<&ComponentStatus> {
        let mut all = self.status.components.iter();
        all.find(|c| c.name == component && !c.members.is_empty())
    }

    /// The members that a hazard would come over, as far as versions and machines tell, and what shows it.
    fn affected(&self, hazard: &Hazard) -> Vec<(&Member, Met)> {
        let Some(component) = self.component_of(hazard.component) else {
            return Vec::new();
        };
        let moved_to = self
            .args
            .channels
            .get(component.name.snap())
            .map(|c| track(c.as_str()));
        let steps = self.steps(component).into_iter();
        let judged = steps.map(|step| {
            let versions = crossing(hazard, &step, moved_to);
            let host = self.answers().find(|(name, _)| *name == step.member);
            let machine = machine(hazard, host.map(|(_, host)| host));
            (step.member, Met::all(vec![versions, machine]))
        });
        judged.collect()
    }

    /// The hazards that versions and machines don't rule out: on what else they depend is asked for.
    pub(super) fn possible(&self) -> Vec<&Hazard> {
        let all = self.args.hazards.iter();
        all.filter(|h| {
            self.affected(h)
                .iter()
                .any(|(_, met)| !matches!(met, Met::No))
        })
        .collect()
    }

    pub(super) fn hazard(&self, hazard: &Hazard, facts: &Facts) -> Found {
        let mut found = Found::default();
        let (mut met, mut unknown) = (Reasons::default(), Reasons::default());
        for (member, judged) in self.affected(hazard) {
            match judged {
                Met::Yes(evidence) => met.add(evidence.unwrap_or_default(), member),
                Met::Unknown(why) => unknown.add(why, member),
                Met::No => {}
            }
        }
        if met.is_empty() && unknown.is_empty() {
            return found;
        }
        let surroundings = Met::all(self.surroundings(hazard, facts));
        let mut parts = vec![hazard.what.clone()];
        match surroundings {
            Met::No => {}
            Met::Yes(evidence) if !met.is_empty() => {
                parts.push(met.to_string());
                parts.extend(evidence);
                let known = hazard.known.filter(|k| *k != rows::Known::Documented);
                parts.extend(known.map(|k| k.word().to_owned()));
                found.against.push(parts.join("; "));
            }
            surroundings => {
                parts.extend((!unknown.is_empty()).then(|| unknown.to_string()));
                if let Met::Unknown(why) = surroundings {
                    parts.push(why);
                }
                found.unknown.push(parts.join("; "));
            }
        }
        found
    }

    /// What a hazard depends on beside the members that get another version.
    fn surroundings(&self, hazard: &Hazard, facts: &Facts) -> Vec<Met> {
        let mut conditions = Vec::new();
        if let Some(range) = &hazard.with {
            conditions.push(self.has_afterwards(range));
        }
        if !hazard.pools.is_empty() {
            conditions.push(some(&facts.pools, "storage pools", |pools| {
                let fitting = pools.iter().filter(|p| hazard.pools.contains(&p.driver));
                fitting
                    .map(|p| format!("the pool {} is {}", p.name, p.driver))
                    .collect()
            }));
        }
        if hazard.buckets {
            conditions.push(some(&facts.buckets, "storage buckets", |buckets| {
                buckets
                    .iter()
                    .map(|b| format!("the bucket {} is in the pool {}", b.name, b.pool))
                    .collect()
            }));
        }
        if hazard.tpm {
            conditions.push(some(&facts.tpm, "instances with a TPM", |instances| {
                instances.iter().map(|i| format!("{i} has a TPM")).collect()
            }));
        }
        if !hazard.modules.is_empty() {
            conditions.push(some(
                &facts.modules,
                "modules of Ceph's manager",
                |modules| {
                    let on = hazard.modules.iter().filter(|m| modules.contains(*m));
                    on.map(|m| format!("the module {m} is switched on"))
                        .collect()
                },
            ));
        }
        if !hazard.codes.is_empty() {
            conditions.push(some(&facts.codes, "Ceph's health", |codes| {
                let raised = hazard.codes.iter().filter(|c| codes.contains(*c));
                raised.map(|c| format!("{c} is raised")).collect()
            }));
        }
        conditions
    }

    /// Whether some member has a version of a range afterwards.
    fn has_afterwards(&self, range: &Range) -> Met {
        let Some(component) = self.component_of(range.component) else {
            return Met::No;
        };
        let mut unknown = None;
        for step in self.steps(component) {
            match step.afterwards() {
                Ok(version) if range.has(version) => {
                    return Met::yes(format!("{} is {version}", component.title));
                }
                Ok(_) => {}
                Err(why) => {
                    unknown = Some(format!("{} on {}: {why}", component.title, step.member))
                }
            }
        }
        unknown.map_or(Met::No, Met::Unknown)
    }

    /// Whether versions go together, afterwards. What didn't go together before is reported, and no reason to stop: staying as it
    /// is wouldn't help.
    pub(super) fn together(&self, row: &Together) -> Found {
        let mut found = Found::default();
        let (Some(of), Some(with)) = (
            self.component_of(row.of.component),
            self.component_of(row.with.component),
        ) else {
            return found;
        };
        let (steps, others) = (self.steps(of), self.steps(with));
        let moves = steps.iter().chain(&others).any(|s| s.gets.is_some());
        let is_of = |s: &Step<'_>, late| s.version(late).as_ref().is_ok_and(|v| row.of.has(v));
        let odd = |s: &Step<'_>, late| s.version(late).as_ref().is_ok_and(|v| !row.with.has(v));
        let apart = |late| {
            let one = steps.iter().find(|s| is_of(s, late))?;
            Some((one, others.iter().find(|s| odd(s, late))?))
        };
        let version = |step: &Step<'_>| match step.afterwards() {
            Ok(version) => version.to_string(),
            Err(why) => why.clone(),
        };
        match (apart(true), apart(false)) {
            (Some((one, other)), before) => {
                let what = format!(
                    "{}; {} {} and {} {}: it takes {}",
                    row.what,
                    of.title,
                    version(one),
                    with.title,
                    version(other),
                    row.with
                );
                if before.is_some() {
                    found.notes.push(format!("as before: {what}"));
                } else {
                    found.against.push(what);
                }
            }
            (None, _) if moves => {
                let possible = steps
                    .iter()
                    .any(|s| s.afterwards().is_err() || is_of(s, true));
                let mut unknown = Reasons::default();
                let all = steps.iter().map(|s| (of, s));
                for (component, step) in all.chain(others.iter().map(|s| (with, s))) {
                    if let Err(why) = step.afterwards() {
                        unknown.add(format!("{}: {why}", component.title), step.member);
                    }
                }
                if possible && !unknown.is_empty() {
                    found.unknown.push(format!("{}; {unknown}", row.what));
                }
            }
            (None, _) => {}
        }
        found
    }
}

/// What was asked for and fits; what wasn't asked for, or has no answer, isn't known.
fn some<T>(
    asked: &Option<Result<T, String>>,
    what: &str,
    fitting: impl Fn(&T) -> Vec<String>,
) -> Met {
    match asked {
        Some(Ok(answer)) => match fitting(answer) {
            list if list.is_empty() => Met::No,
            list => Met::yes(list.join(", ")),
        },
        Some(Err(why)) => Met::Unknown(format!("{what}: {why}")),
        None => Met::Unknown(format!("{what}: nobody was asked")),
    }
}

/// Whether a step crosses into the versions that a hazard is about.
fn crossing(hazard: &Hazard, step: &Step<'_>, moved_to: Option<&str>) -> Met {
    let Some(gets) = &step.gets else {
        return Met::No;
    };
    let to = hazard.to.as_deref();
    let track = to.map(|to| Met::of(moved_to == Some(to) && track(step.channel) != to));
    let compare = |version: &Result<Version, String>,
                   with: &Option<Version>,
                   met: fn(&Version, &Version) -> bool| {
        let with = with.as_ref()?;
        Some(match version {
            Ok(version) => Met::of(met(version, with)),
            Err(why) => Met::Unknown(why.clone()),
        })
    };
    let conditions = [
        track,
        compare(&step.runs, &hazard.since, Version::is_below),
        compare(gets, &hazard.since, |v, since| !v.is_below(since)),
        compare(&step.runs, &hazard.running, |v, running| {
            !v.is_below(running)
        }),
        compare(gets, &hazard.below, Version::is_below),
    ];
    match Met::all(conditions.into_iter().flatten().collect()) {
        Met::Yes(_) => match (&step.runs, gets) {
            (Ok(runs), Ok(gets)) => Met::yes(format!("{runs} → {gets}")),
            _ => Met::Yes(None),
        },
        other => other,
    }
}

/// Whether a machine is older than a hazard asks for.
fn machine(hazard: &Hazard, host: Option<&Host>) -> Met {
    let older = |what: &str, wanted: &Option<Version>, have: Result<Version, String>| {
        let wanted = wanted.as_ref()?;
        Some(match have {
            Ok(version) if version.is_below(wanted) => Met::yes(format!("{what} {version}")),
            Ok(_) => Met::No,
            Err(why) => Met::Unknown(why),
        })
    };
    let version = |what: &str, of: fn(&Host) -> Option<&Version>| {
        let version = host.and_then(of).cloned();
        version.ok_or_else(|| format!("the version of {what} isn't known"))
    };
    let os = host.map_or_else(
        || Err("the release of its system isn't known".to_owned()),
        |h| h.os.ubuntu(),
    );
    let conditions = [
        older("Ubuntu", &hazard.os, os),
        older(
            "snapd",
            &hazard.snapd,
            version("snapd", |h| h.snapd.as_ref()),
        ),
        older(
            "kernel",
            &hazard.kernel,
            version("the kernel", |h| h.kernel.as_ref()),
        ),
    ];
    Met::all(conditions.into_iter().flatten().collect())
}
