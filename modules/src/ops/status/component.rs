//! One component across all members.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::halfway::{self, Halfway};
use super::health::{Health, Judged};
use super::member::MemberStatus;
use crate::contract::component::Component;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;
use crate::contract::text::joined;
use crate::ops::snap::{COHORT, Installed};
use crate::ops::{lxd, microceph, microovn};
use crate::products::microcluster::{MICROCEPH, MICROCLOUD, MICROOVN, Views};
use crate::products::snapd::Presence;

/// A component, across all members.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Component")]
pub struct ComponentStatus {
    /// The snap.
    #[schemars(with = "String")]
    pub name: Component,
    /// As people write it.
    pub title: String,
    /// The members that have it.
    pub(crate) members: Vec<Member>,
    /// Whom its own cluster lists, as the first member that answers has it; absent where none does.
    #[serde(default)]
    pub(crate) roster: Option<Vec<Member>>,
    /// Whether they all run the same revision, from the same channel, in the cohort.
    pub(crate) in_step: bool,
    /// The channels that are followed; one, unless they differ.
    pub(crate) channels: Vec<String>,
    /// What differs between members.
    pub skew: Vec<String>,
    /// Who is ahead of whom, where members have different revisions.
    #[serde(default)]
    pub halfway: Option<Halfway>,
    /// How it is.
    pub health: Health,
    /// What is wrong with it.
    pub problems: Vec<String>,
    /// What is worth knowing and not wrong: health codes that are no reason to stop, and flags that somebody has set.
    #[serde(default)]
    pub notes: Vec<String>,
}

pub(super) async fn read(
    cx: &Cx,
    component: Component,
    members: &[MemberStatus],
) -> ComponentStatus {
    let installed: Vec<(&Member, &Installed)> = members
        .iter()
        .filter_map(|m| Some((&m.name, m.snaps.get(component.snap())?)))
        .collect();
    let skew = skew(&installed);
    let mut halfway = Halfway::of(&installed);
    let seen = if installed.is_empty() {
        let all_seen = members.iter().all(|m| m.reachable && m.problem.is_none());
        let health = if all_seen {
            Health::Absent
        } else {
            Health::Unknown
        };
        Seen::judged(Ok((health, Vec::new())))
    } else {
        let presence = &presence(component, members);
        match component {
            Component::Microceph => microceph(cx, presence, halfway.as_mut()).await,
            Component::Microovn => microovn(cx, presence, halfway.as_mut()).await,
            Component::Lxd => lxd(cx, presence, halfway.as_mut()).await,
            Component::Microcloud => {
                let views = Views::take(cx, MICROCLOUD, presence).await;
                Seen {
                    roster: views.roster().ok(),
                    ..Seen::judged(halfway::database(&views, presence, halfway.as_mut()))
                }
            }
        }
    };
    let unknown = |error: OpError| (Health::Unknown, vec![error.located()]);
    let (health, problems) = seen.judged.unwrap_or_else(unknown);
    let channels: BTreeSet<String> = installed.iter().map(|(_, i)| i.channel.clone()).collect();
    ComponentStatus {
        name: component,
        title: component.title().to_owned(),
        members: installed
            .iter()
            .map(|(member, _)| (*member).clone())
            .collect(),
        roster: seen.roster,
        in_step: skew.is_empty(),
        channels: channels.into_iter().collect(),
        skew,
        halfway,
        health,
        problems,
        notes: seen.notes,
    }
}

/// Who has a snap, of those that were seen.
fn presence(component: Component, members: &[MemberStatus]) -> Presence {
    let seen = members.iter().filter(|m| m.problem.is_none());
    let (with, without) = seen.partition::<Vec<_>, _>(|m| m.snaps.contains_key(component.snap()));
    let names = |members: Vec<&MemberStatus>| {
        let names = members.into_iter().map(|m| m.name.clone());
        names.collect()
    };
    Presence {
        with: names(with),
        without: names(without),
    }
}

struct Seen {
    judged: Result<Judged, OpError>,
    /// Whom its own cluster lists.
    roster: Option<Vec<Member>>,
    notes: Vec<String>,
}

impl Seen {
    fn judged(judged: Result<Judged, OpError>) -> Self {
        Self {
            judged,
            roster: None,
            notes: Vec::new(),
        }
    }
}

async fn microceph(cx: &Cx, presence: &Presence, halfway: Option<&mut Halfway>) -> Seen {
    let members = cx.members();
    let health = microceph::health(cx, &members);
    let (health, views) = join(health, Views::take(cx, MICROCEPH, presence)).await;
    let mut notes = Vec::new();
    let judged = health.and_then(|health| {
        notes = health.notes;
        if !health.ok {
            return Ok((Health::Bad, health.problems));
        }
        halfway::database(&views, presence, halfway)
    });
    Seen {
        judged,
        roster: views.roster().ok(),
        notes,
    }
}

async fn microovn(cx: &Cx, presence: &Presence, halfway: Option<&mut Halfway>) -> Seen {
    let health = microovn::health(cx);
    let (health, views) = join(health, Views::take(cx, MICROOVN, presence)).await;
    let judged = health.and_then(|health| match health.ok {
        true => halfway::database(&views, presence, halfway),
        false => Ok((Health::Bad, health.problems)),
    });
    Seen {
        roster: views.roster().ok(),
        ..Seen::judged(judged)
    }
}

async fn lxd(cx: &Cx, presence: &Presence, halfway: Option<&mut Halfway>) -> Seen {
    let seen = match lxd::health(cx, presence).await {
        Ok(seen) => seen,
        Err(error) => return Seen::judged(Err(error)),
    };
    let roster = seen.members.iter().map(|m| m.name.clone()).collect();
    Seen {
        roster: Some(roster).filter(|_| !seen.members.is_empty()),
        ..Seen::judged(halfway::lxd(&seen, halfway))
    }
}

/// What differs between members that have a component.
fn skew(installed: &[(&Member, &Installed)]) -> Vec<String> {
    let mut skew = Vec::new();
    let by = |field: fn(&Installed) -> &str| {
        let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (member, installed) in installed {
            values
                .entry(field(installed))
                .or_default()
                .push(member.as_str());
        }
        values
    };
    for (what, values) in [
        ("revision", by(|i| i.revision.as_str())),
        ("channel", by(|i| &i.channel)),
    ] {
        if values.len() > 1 {
            let each = values
                .iter()
                .map(|(value, members)| format!("{value} on {}", members.join(", ")));
            skew.push(format!("{what} {}", joined(each, ", ")));
        }
    }
    let on = |odd: fn(&Installed) -> bool| {
        let members = installed.iter().filter(|(_, i)| odd(i));
        joined(members.map(|(member, _)| member), ", ")
    };
    let outside = on(|i| i.cohort != COHORT);
    if !outside.is_empty() {
        skew.push(format!("not in cohort {COHORT:?} on {outside}"));
    }
    let disabled = on(|i| !i.active);
    if !disabled.is_empty() {
        skew.push(format!("not active on {disabled}"));
    }
    skew
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installed(revision: &str, channel: &str, cohort: &str, active: bool) -> Installed {
        let own = |text: &str| text.to_owned();
        let version = own("1");
        Installed {
            revision: revision.into(),
            version,
            channel: own(channel),
            cohort: own(cohort),
            held: true,
            active,
        }
    }

    #[test]
    fn what_differs_between_members_is_named() {
        let base = installed("1", "2/stable", "+", true);
        let odd = installed("2", "2/edge", "", false);
        let [m1, m2, m3] = &["m1", "m2", "m3"].map(Member::from);
        assert!(skew(&[(m1, &base), (m2, &base)]).is_empty());
        let expected = [
            "revision 1 on m1, m2, 2 on m3",
            "channel 2/edge on m3, 2/stable on m1, m2",
            "not in cohort \"+\" on m3",
            "not active on m3",
        ];
        assert_eq!(skew(&[(m1, &base), (m2, &base), (m3, &odd)]), expected);
    }
}
