//! The checks themselves: what was seen, held against what is to be done.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::host::{Host, Released};
use super::{CHECKS, Check, CheckArgs, Hazard, Verdict, Version};
use crate::cx::{Cx, Run};
use crate::error::OpError;
use crate::lxd;
use crate::microcluster::{self, MICROCEPH, MICROCLOUD, MICROOVN};
use crate::schema::{self, Channel, Member};
use crate::status::{COMPONENTS, Component, Health, Status};

/// Room beside what is downloaded, in bytes: a snap is there twice while it is refreshed, and its data is copied.
const ROOM: u64 = 1 << 30;

/// How far clocks may be apart, in milliseconds. Certificates and OVN's raft put up with more, Ceph's monitors with less:
/// they raise MON_CLOCK_SKEW themselves.
const SKEW: i64 = 2000;

/// Whom each component's own cluster lists, by snap; or why that can't be told.
pub(super) type Rosters = BTreeMap<&'static str, Result<BTreeSet<String>, String>>;

/// Asks every component that is there for its members.
pub(super) async fn rosters(cx: &Cx, status: &Status) -> Rosters {
    let there = status.components.iter().filter(|c| !c.members.is_empty());
    let asked = there.filter_map(|c| {
        let snap = COMPONENTS.iter().find(|(snap, _)| *snap == c.name)?.0;
        let members: Vec<Member> = c.members.iter().map(|m| Member(m.clone())).collect();
        Some(async move {
            (
                snap,
                roster(cx, snap, &members).await.map_err(|e| e.message),
            )
        })
    });
    join_all(asked).await.into_iter().collect()
}

async fn roster(cx: &Cx, snap: &str, members: &[Member]) -> Result<BTreeSet<String>, OpError> {
    let app = match snap {
        "microceph" => MICROCEPH,
        "microovn" => MICROOVN,
        "microcloud" => MICROCLOUD,
        _ => {
            let members = lxd::members(cx).await?;
            return Ok(members.into_iter().map(|m| m.name).collect());
        }
    };
    let mut last = OpError::refused("there is no member to ask");
    for member in members {
        match microcluster::list(cx, app, member).await {
            Ok(rows) => return Ok(rows.into_iter().map(|row| row.name).collect()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// What was seen.
pub(super) struct Seen<'a> {
    pub(super) run: &'a Run,
    pub(super) args: &'a CheckArgs,
    pub(super) status: &'a Status,
    pub(super) hosts: &'a [(Member, Result<Host, OpError>)],
    pub(super) released: &'a BTreeMap<String, Result<BTreeMap<String, Released>, String>>,
    pub(super) rosters: &'a Rosters,
}

/// What speaks against a check, what keeps it from being told, and what else is worth knowing.
#[derive(Default)]
struct Found {
    against: Vec<String>,
    unknown: Vec<String>,
    notes: Vec<String>,
}

impl Found {
    fn check(self, name: &str, about: &str, may_accept: bool, link: Option<String>) -> Check {
        let verdict = match (self.against.is_empty(), self.unknown.is_empty()) {
            (false, _) => Verdict::Fail,
            (true, false) => Verdict::Unknown,
            (true, true) => Verdict::Pass,
        };
        let evidence = match verdict {
            Verdict::Pass => self.notes,
            _ => [self.against, self.unknown].concat(),
        };
        Check {
            name: name.to_owned(),
            about: about.to_owned(),
            verdict,
            evidence,
            may_accept,
            link,
        }
    }
}

impl Seen<'_> {
    /// Makes all checks.
    pub(super) fn all(&self) -> Vec<Check> {
        let own = CHECKS.iter().map(|(name, about, may_accept)| {
            let found = match *name {
                "reachable" => self.reachable(),
                "lock" => self.lock(),
                "members" => self.members(),
                "busy" => self.busy(),
                "channels" => self.channels(),
                "drift" => self.drift(),
                "target" => self.target(),
                "path" => self.path(),
                "latest-first" => self.latest_first(),
                "disk" => self.disk(),
                "clocks" => self.clocks(),
                component => self.health(component),
            };
            found.check(name, about, *may_accept, None)
        });
        let hazards = self.args.hazards.iter().map(|hazard| {
            let link = Some(hazard.link.0.clone());
            self.hazard(hazard)
                .check(&hazard.name, &hazard.what, hazard.accept, link)
        });
        own.chain(hazards).collect()
    }

    /// The components that are to be refreshed and are there.
    fn chosen(&self) -> impl Iterator<Item = &Component> {
        let there = |c: &&Component| !c.members.is_empty() && self.args.chosen(&c.name);
        self.status.components.iter().filter(there)
    }

    /// The components that are to be moved, with the channel.
    fn moved(&self) -> impl Iterator<Item = (&Component, &Channel)> {
        self.chosen()
            .filter_map(|c| Some((c, self.args.channels.get(&c.name)?)))
    }

    /// What members' own answers came to; those that gave none are told of by "reachable".
    fn answers(&self) -> impl Iterator<Item = (&str, &Host)> {
        self.hosts
            .iter()
            .filter_map(|(member, host)| Some((member.as_str(), host.as_ref().ok()?)))
    }

    fn reachable(&self) -> Found {
        let mut found = Found::default();
        for member in &self.status.members {
            found.against.extend(
                member
                    .problem
                    .iter()
                    .map(|p| format!("{}: {p}", member.name)),
            );
        }
        for (member, host) in self.hosts {
            let known = self
                .status
                .members
                .iter()
                .any(|m| m.name == member.0 && m.problem.is_some());
            if let (Err(error), false) = (host, known) {
                found.against.push(format!("{member}: {error}"));
            }
        }
        found
    }

    fn lock(&self) -> Found {
        let mut found = Found::default();
        for lock in self.status.members.iter().filter_map(|m| m.lock.as_ref()) {
            let told = lock
                .refusal(self.run)
                .map(|why| format!("{}: {why}", lock.member));
            if lock.problem.is_some() {
                found.unknown.extend(told);
            } else {
                found.against.extend(told);
            }
        }
        found
    }

    fn members(&self) -> Found {
        let mut found = Found::default();
        let listed: BTreeSet<&str> = self
            .status
            .members
            .iter()
            .map(|m| m.name.as_str())
            .collect();
        for component in &self.status.components {
            let title = &component.title;
            match self.rosters.get(component.name.as_str()) {
                None => {}
                Some(Err(why)) => found.unknown.push(format!("{title}: {why}")),
                Some(Ok(roster)) => {
                    for name in roster.iter().filter(|name| !listed.contains(name.as_str())) {
                        found.against.push(format!(
                            "{title} has a member {name}, which the cluster file doesn't: lockstep init writes it anew"
                        ));
                    }
                    for name in roster.iter().filter(|name| listed.contains(name.as_str())) {
                        if !component.members.contains(name) && self.seen(name) {
                            found.against.push(format!(
                                "{name} is a member of {title} and doesn't have the snap"
                            ));
                        }
                    }
                    for name in component
                        .members
                        .iter()
                        .filter(|name| !roster.contains(*name))
                    {
                        found.against.push(format!("{name} has the snap of {title} and is no member of it: let it join, or remove the snap"));
                    }
                }
            }
        }
        found
    }

    fn seen(&self, name: &str) -> bool {
        self.status
            .members
            .iter()
            .any(|m| m.name == name && m.problem.is_none())
    }

    fn busy(&self) -> Found {
        let mut found = Found::default();
        for member in &self.status.members {
            found.against.extend(
                member
                    .changes
                    .iter()
                    .map(|c| format!("{}: {c}", member.name)),
            );
        }
        found
    }

    fn channels(&self) -> Found {
        let mut found = Found::default();
        for component in self
            .chosen()
            .filter(|c| !self.args.channels.contains_key(&c.name))
        {
            if component.channels.len() > 1 {
                found.against.push(format!(
                    "{}: members follow {}: move them with upgrade -p {}=CHANNEL",
                    component.title,
                    component.channels.join(" and "),
                    component.name
                ));
            }
        }
        found
    }

    fn drift(&self) -> Found {
        let mut found = Found::default();
        for component in self.chosen() {
            let skew = component
                .skew
                .iter()
                .map(|skew| format!("{}: {skew}", component.title));
            found.notes.extend(skew);
            let loose: Vec<&str> = self
                .status
                .members
                .iter()
                .filter(|m| m.snaps.get(&component.name).is_some_and(|s| !s.held))
                .map(|m| m.name.as_str())
                .collect();
            if !loose.is_empty() {
                found.notes.push(format!(
                    "{} is not held on {}",
                    component.title,
                    loose.join(", ")
                ));
            }
        }
        found
    }

    fn health(&self, name: &str) -> Found {
        let mut found = Found::default();
        for component in self.status.components.iter().filter(|c| c.name == name) {
            match component.health {
                Health::Ok => {}
                Health::Absent => found.notes.push("not installed".to_owned()),
                // An interrupted wave: the next one ends it.
                Health::Waiting => found.notes.extend(component.problems.iter().cloned()),
                Health::Bad => found.against.extend(component.problems.iter().cloned()),
                Health::Unknown if component.problems.is_empty() => {
                    found.unknown.push("no member tells".to_owned());
                }
                Health::Unknown => found.unknown.extend(component.problems.iter().cloned()),
            }
        }
        found
    }

    fn target(&self) -> Found {
        let mut found = Found::default();
        for (component, channel) in self.moved() {
            match self.released.get(&component.name) {
                Some(Ok(channels)) if offered(channels, channel).is_some() => {}
                Some(Ok(channels)) => {
                    let names: Vec<&str> = channels.keys().map(String::as_str).collect();
                    let hint = schema::hint(channel.as_str(), &names);
                    let names = names.join(", ");
                    found.against.push(format!(
                        "{} has no channel {channel}{hint}; it has {names}",
                        component.title
                    ));
                }
                Some(Err(why)) => found.unknown.push(format!("{}: {why}", component.title)),
                None => found
                    .unknown
                    .push(format!("{}: the store wasn't asked", component.title)),
            }
        }
        for (member, host) in self.answers() {
            if let Err(why) = &host.offers {
                found.unknown.push(format!("{member}: {why}"));
            }
        }
        for component in self
            .chosen()
            .filter(|c| !self.args.channels.contains_key(&c.name))
        {
            let mut revisions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
            for (member, host) in self.answers() {
                let installed = self.status.members.iter().find(|m| m.name == member);
                let installed = installed.and_then(|m| m.snaps.get(&component.name));
                let (Some(installed), Ok(offers)) = (installed, &host.offers) else {
                    continue;
                };
                // Outside of the cohort the store may offer something else; the refresh brings it in.
                if installed.cohort.is_empty() {
                    continue;
                }
                let next = offers
                    .get(&component.name)
                    .map_or(&installed.revision, |o| &o.revision);
                revisions.entry(next).or_default().push(member);
            }
            if revisions.len() > 1 {
                let each = revisions
                    .iter()
                    .map(|(r, members)| format!("{r} for {}", members.join(", ")));
                found.against.push(format!(
                    "{}: the store has {}: try again later, or ask its publisher",
                    component.title,
                    each.collect::<Vec<_>>().join(" and ")
                ));
            }
        }
        found
    }

    fn path(&self) -> Found {
        let mut found = Found::default();
        for (component, channel) in self.moved() {
            for from in component.channels.iter().map(|c| track(c)) {
                let to = track(channel.as_str());
                let rows = self
                    .args
                    .paths
                    .iter()
                    .filter(|p| p.component.snap() == component.name);
                let row = rows.clone().find(|p| p.from == from);
                match row {
                    _ if from == to => {}
                    Some(row) if row.to.iter().any(|t| t == to) => {}
                    Some(row) => found.against.push(format!(
                        "{} goes from {from} to {} and not to {to}, see {}",
                        component.title,
                        row.to.join(" or "),
                        row.link.0
                    )),
                    None => found.against.push(format!(
                        "no way is known for {} from {from} to {to}: there is no row for {from} in data/compatibility.toml",
                        component.title
                    )),
                }
            }
            let Some(next) = self.next_version(&component.name, channel) else {
                continue;
            };
            for (member, running) in self.running(&component.name) {
                if next.is_below(&running) {
                    found.against.push(format!(
                        "{}: {member} runs {running}, and {channel} has {next}: there is no way back",
                        component.title
                    ));
                }
            }
        }
        found
    }

    fn latest_first(&self) -> Found {
        let mut found = Found::default();
        for (component, channel) in self.moved() {
            let to = track(channel.as_str());
            let asked = |from: &str| {
                let mut rows = self.args.paths.iter();
                rows.any(|p| {
                    p.component.snap() == component.name && p.from == from && p.latest_first
                })
            };
            if !component
                .channels
                .iter()
                .map(|c| track(c))
                .any(|from| from != to && asked(from))
            {
                continue;
            }
            for (member, host) in self.answers() {
                match &host.offers {
                    Err(why) => found.unknown.push(format!("{member}: {why}")),
                    Ok(offers) => found.against.extend(offers.get(&component.name).map(|offer| {
                        format!(
                            "{member} lacks {} {} of its present channel: lockstep update -p only={} takes it first",
                            component.title, offer.version, component.name
                        )
                    })),
                }
            }
        }
        found
    }

    fn disk(&self) -> Found {
        let mut found = Found::default();
        for (member, host) in self.answers() {
            let sizes = self.chosen().map(|component| {
                let channel = self.args.channels.get(&component.name);
                let released = self
                    .released
                    .get(&component.name)
                    .and_then(|r| r.as_ref().ok());
                match (channel, released, &host.offers) {
                    (Some(channel), Some(channels), _) => {
                        offered(channels, channel).map_or(0, |r| r.size)
                    }
                    (None, _, Ok(offers)) => {
                        offers.get(&component.name).map_or(0, |o| o.download_size)
                    }
                    _ => 0,
                }
            });
            let needed = ROOM + 2 * sizes.sum::<u64>();
            match &host.free {
                Ok(free) if *free < needed => found.against.push(format!(
                    "{member}: {} MiB are free in /var/lib/snapd, and {} are wanted",
                    free >> 20,
                    needed >> 20
                )),
                Ok(_) => {}
                Err(why) => found.unknown.push(format!("{member}: {why}")),
            }
        }
        found
    }

    fn clocks(&self) -> Found {
        let mut found = Found::default();
        let mut clocks = Vec::new();
        for (member, host) in self.answers() {
            match &host.clock {
                Ok((ahead, error)) => clocks.push((member, *ahead, *error)),
                Err(why) => found.unknown.push(format!("{member}: {why}")),
            }
        }
        let first = clocks.iter().min_by_key(|(_, ahead, _)| *ahead);
        let last = clocks.iter().max_by_key(|(_, ahead, _)| *ahead);
        if let (Some((slow, low, a)), Some((fast, high, b))) = (first, last) {
            let apart = high - low;
            if apart - a - b > SKEW {
                let seconds = apart / 1000;
                found.against.push(format!(
                    "{fast} is {seconds} s ahead of {slow}: see timedatectl there"
                ));
            }
        }
        found
    }

    fn hazard(&self, hazard: &Hazard) -> Found {
        let mut found = Found::default();
        let snap = hazard.component.snap();
        let Some((component, channel)) = self.moved().find(|(c, _)| c.name == snap) else {
            return found;
        };
        let from_another = component.channels.iter().any(|c| track(c) != hazard.to);
        if track(channel.as_str()) != hazard.to || !from_another {
            return found;
        }
        let mut what = vec![hazard.what.clone()];
        if let Some(from) = &hazard.running {
            let affected = self
                .running(snap)
                .into_iter()
                .filter(|(_, v)| !v.is_below(from));
            let affected: Vec<String> = affected.map(|(m, v)| format!("{m} runs {v}")).collect();
            if affected.is_empty() {
                return found;
            }
            what.push(affected.join(", "));
        }
        if let Some(below) = &hazard.below {
            match self.next_version(snap, channel) {
                None => {
                    found.unknown.push(format!(
                        "{}: the version that {channel} has isn't known",
                        hazard.what
                    ));
                    return found;
                }
                Some(next) if next.is_below(below) => what.push(format!("{channel} has {next}")),
                Some(_) => return found,
            }
        }
        for (named, wanted, have) in [
            (
                "snapd",
                &hazard.snapd,
                (|h| h.snapd.as_ref()) as fn(&Host) -> Option<&Version>,
            ),
            ("the kernel", &hazard.kernel, |h| h.kernel.as_ref()),
        ] {
            let Some(wanted) = wanted else { continue };
            let mut low = Vec::new();
            for (member, host) in self.answers() {
                match have(host) {
                    None => found
                        .unknown
                        .push(format!("{member}: the version of {named} isn't known")),
                    Some(version) if version.is_below(wanted) => {
                        low.push(format!("{member} has {version}"))
                    }
                    Some(_) => {}
                }
            }
            if low.is_empty() {
                return found;
            }
            what.push(format!("{named}: {}", low.join(", ")));
        }
        found.against.push(what.join("; "));
        found
    }

    /// The versions that members run of a snap.
    fn running(&self, snap: &str) -> Vec<(&str, Version)> {
        let version =
            |m: &'_ crate::status::MemberStatus| Version::parse(&m.snaps.get(snap)?.version);
        let members = self.status.members.iter();
        members
            .filter_map(|m| Some((m.name.as_str(), version(m)?)))
            .collect()
    }

    /// The version that a channel would bring.
    fn next_version(&self, snap: &str, channel: &Channel) -> Option<Version> {
        let channels = self.released.get(snap)?.as_ref().ok()?;
        Version::parse(&offered(channels, channel)?.version)
    }
}

/// What a channel has. One that nothing was released to follows the next safer one of its track.
fn offered<'a>(
    channels: &'a BTreeMap<String, Released>,
    channel: &Channel,
) -> Option<&'a Released> {
    let (track, risk) = channel.as_str().rsplit_once('/')?;
    let risks = ["stable", "candidate", "beta", "edge"];
    let up_to = risks.iter().position(|r| *r == risk)?;
    risks[..=up_to]
        .iter()
        .rev()
        .find_map(|risk| channels.get(&format!("{track}/{risk}")))
}

/// The track of a channel.
fn track(channel: &str) -> &str {
    channel.split_once('/').map_or(channel, |(track, _)| track)
}
