//! The checks themselves: what was seen, held against what is to be done.

use std::collections::{BTreeMap, BTreeSet};

use super::args::CheckArgs;
use super::facts::Facts;
use super::host::Host;
use super::verdict::{Check, Verdict};
use super::version::Version;
use crate::contract::component::Component;
use crate::contract::error::OpError;
use crate::contract::run::Run;
use crate::contract::schema::{Channel, Member};
use crate::contract::text::joined;
use crate::ops::lxd::Work;
use crate::ops::microovn::Outlook;
use crate::ops::snap::{self, Client};
use crate::ops::status::{ComponentStatus, MemberStatus, Status};
use crate::products::snapd::Released;

/// How far clocks may be apart, in milliseconds. Certificates and OVN's raft put up with more, Ceph's monitors with less:
/// they raise MON_CLOCK_SKEW themselves.
const SKEW: i64 = 2000;

/// A check that every preflight makes. Hazards and combinations come on top, by their own names.
pub struct CheckDef {
    /// Its name, by which it is accepted.
    pub name: &'static str,
    /// What it asks for: true where it passes.
    pub about: &'static str,
    /// Whether the operator may accept that it fails.
    pub may_accept: bool,
    look: fn(&Seen<'_>) -> Found,
}

/// A row is a check's name, whether it must pass or an operator may accept that it doesn't, what it asks for (true where it
/// passes), and what looks at it.
macro_rules! checks {
    ($($name:literal $may_accept:ident $about:literal => $look:expr;)+) => {
        &[$(CheckDef {
            name: $name,
            about: $about,
            may_accept: $may_accept,
            look: $look,
        }),+]
    };
}

const MAY: bool = true;
const MUST: bool = false;

/// All of them, in the order in which they are shown. A new check is a row here and what it looks at.
pub const CHECKS: &[CheckDef] = checks! {
    "reachable"        MUST "every member answers and allows root access" => |s| s.reachable();
    "lock"             MUST "no other run holds the cluster" => |s| s.lock();
    "members"          MUST "all components have the same members, and so does the cluster file" => |s| s.members();
    "names"            MAY  "every machine's hostname is its member's name" => |s| s.names();
    "busy"             MUST "no snapd change is in progress on any component" => |s| s.busy();
    "channels"         MUST "all members track the same channel of each component" => |s| s.channels();
    "drift"            MAY  "how far members differ, and which snaps are not held" => |s| s.drift();
    "microceph"        MUST "storage is healthy" => |s| s.component(Component::Microceph);
    "microovn"         MUST "the network's databases are healthy" => |s| s.component(Component::Microovn);
    "ovn-schemas"      MAY  "OVN's databases have the schemas that all members expect" => |s| s.schemas();
    "ovn-certificates" MAY  "none of the network's certificates has expired" => |s| s.certificates();
    "lxd"              MUST "LXD is online on every member, with the same version" => |s| s.component(Component::Lxd);
    "lxd-voters"       MAY  "LXD's database keeps its majority while a member is away" => |s| s.voters();
    "lxd-work"         MAY  "LXD is not doing anything that a refresh would interrupt" => |s| s.work();
    "microcloud"       MUST "MicroCloud is online on every member" => |s| s.component(Component::Microcloud);
    "target"           MUST "the store has what is requested" => |s| s.target();
    "cohort"           MAY  "the store has the same revision for all members" => |s| s.cohort();
    "clients"          MAY  "nobody is running programs of a snap that will be refreshed" => |s| s.clients();
    "path"             MUST "the products support the move" => |s| s.path();
    "latest-first"     MAY  "the newest revision of the old track is on all members" => |s| s.latest_first();
    "disk"             MAY  "there is disk space for the new revisions" => |s| s.disk();
    "clocks"           MAY  "the members' clocks agree" => |s| s.clocks();
};

pub(super) struct Seen<'a> {
    pub(super) run: &'a Run,
    pub(super) args: &'a CheckArgs,
    pub(super) status: &'a Status,
    pub(super) hosts: &'a [(Member, Result<Host, OpError>)],
    pub(super) released: &'a BTreeMap<String, Result<BTreeMap<String, Released>, String>>,
    pub(super) work: Option<&'a Result<Work, String>>,
    pub(super) network: Option<&'a Result<Outlook, String>>,
    /// The version that Ceph's daemons run, where that of MicroCeph's snap tells nothing.
    pub(super) ceph: Option<&'a Result<Version, String>>,
}

/// What speaks against a check, what keeps it from being known, and what else is worth knowing.
#[derive(Default)]
pub(super) struct Found {
    pub(super) against: Vec<String>,
    pub(super) unknown: Vec<String>,
    pub(super) notes: Vec<String>,
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
    pub(super) fn all(&self, facts: &Facts) -> Vec<Check> {
        let own = CHECKS.iter().map(|def| {
            let found = (def.look)(self);
            found.check(def.name, def.about, def.may_accept, None)
        });
        let together = self.args.together.iter().map(|row| {
            let link = Some(row.link.0.clone());
            self.together(row)
                .check(&row.name, &row.what, row.accept, link)
        });
        let hazards = self.args.hazards.iter().map(|hazard| {
            let link = Some(hazard.link.0.clone());
            self.hazard(hazard, facts)
                .check(&hazard.name, &hazard.what, hazard.accept, link)
        });
        own.chain(together).chain(hazards).collect()
    }

    /// The components that are to be refreshed and are there.
    pub(super) fn chosen(&self) -> impl Iterator<Item = &ComponentStatus> {
        let there = |c: &&ComponentStatus| !c.members.is_empty() && self.args.chosen(c.name);
        self.status.components.iter().filter(there)
    }

    /// The components that are to be moved, with the channel.
    pub(super) fn moved(&self) -> impl Iterator<Item = (&ComponentStatus, &Channel)> {
        self.chosen()
            .filter_map(|c| Some((c, self.args.channels.get(c.name.snap())?)))
    }

    /// What members' own answers came to; those that gave none are reported by "reachable".
    pub(super) fn answers(&self) -> impl Iterator<Item = (&Member, &Host)> {
        self.hosts
            .iter()
            .filter_map(|(member, host)| Some((member, host.as_ref().ok()?)))
    }

    fn reachable(&self) -> Found {
        let mut found = Found::default();
        for member in &self.status.members {
            found.against.extend(member.problem.iter().map(|p| {
                // It would hold up every schema change of the others.
                let name = &member.name;
                if member.silent {
                    return format!(
                        "{name}: {p}; bring it back, or remove it from the cluster (from MicroCloud 2 on with: sudo \
                         microcloud remove {name} --force)"
                    );
                }
                format!("{name}: {p}")
            }));
        }
        for (member, host) in self.hosts {
            let known = self
                .status
                .members
                .iter()
                .any(|m| m.name == *member && m.problem.is_some());
            if let (Err(error), false) = (host, known) {
                found.against.push(format!("{member}: {error}"));
            }
        }
        found
    }

    fn lock(&self) -> Found {
        let mut against: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        let mut found = Found::default();
        for lock in self.status.members.iter().filter_map(|m| m.lock.as_ref()) {
            match lock.refusal(self.run) {
                Some(why) if lock.problem.is_some() => {
                    found.unknown.push(format!("{}: {why}", lock.member));
                }
                Some(why) => against.entry(why).or_default().push(lock.member.as_str()),
                None => {}
            }
        }
        let sentence =
            |(why, members): (String, Vec<&str>)| format!("{}: {why}", members.join(", "));
        found.against = against.into_iter().map(sentence).collect();
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
            match &component.roster {
                None if component.members.is_empty() => {}
                // Its other lists and the snaps tell who belongs to the cluster.
                None if component.halfway.is_some() => found.notes.push(format!(
                    "{title} can't list its members until all have the same release"
                )),
                None if component.problems.is_empty() => {
                    found
                        .unknown
                        .push(format!("{title}: no member lists its members"));
                }
                None => {
                    let problems = component.problems.iter();
                    found
                        .unknown
                        .extend(problems.map(|why| format!("{title}: {why}")));
                }
                Some(roster) => {
                    for name in roster.iter().filter(|name| !listed.contains(name.as_str())) {
                        found.against.push(format!(
                            "{title} lists {name}, which is not in the cluster file; regenerate it with lockstep init"
                        ));
                    }
                    for name in roster.iter().filter(|name| listed.contains(name.as_str())) {
                        if !component.members.contains(name) && self.seen(name) {
                            found.against.push(format!(
                                "{name} is a member of {title} but doesn't have the snap"
                            ));
                        }
                    }
                    for name in component
                        .members
                        .iter()
                        .filter(|name| !roster.contains(*name))
                    {
                        found.against.push(format!("{name} has the snap of {title} but is not a member; let it join, or remove the snap"));
                    }
                }
            }
        }
        found
    }

    /// All four products take the name of the host when a member joins, and a machine may be renamed later: that is for the
    /// operator to know. One that is called like another member was not seen as this one, and is reported by "reachable".
    fn names(&self) -> Found {
        let mut found = Found::default();
        for (member, host) in self.answers() {
            if host.name != *member && self.seen(member) {
                found.against.push(format!(
                    "the machine at {member}'s address has hostname {}; fix the address in the cluster file, unless the member was renamed after it joined",
                    host.name
                ));
            }
        }
        found
    }

    fn seen(&self, member: &Member) -> bool {
        self.status
            .members
            .iter()
            .any(|m| m.name == *member && m.problem.is_none())
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
            .filter(|c| !self.args.channels.contains_key(c.name.snap()))
        {
            if component.channels.len() > 1 {
                let ahead = component.halfway.as_ref().map(|halfway| &halfway.ahead);
                let follows = |m: &MemberStatus| {
                    let newest = ahead.is_none_or(|ahead| ahead.contains(&m.name));
                    let snap = m.snaps.get(component.name.snap()).filter(|_| newest)?;
                    Some(snap.channel.clone())
                };
                // Back to an older track there is no way.
                let to: BTreeSet<String> = self.status.members.iter().filter_map(follows).collect();
                let ways = to
                    .iter()
                    .map(|channel| format!("lockstep upgrade --{} {channel}", component.name));
                found.against.push(format!(
                    "{}: members track {}; align them with: {}",
                    component.title,
                    component.channels.join(" and "),
                    ways.collect::<Vec<_>>().join(", or: ")
                ));
            }
        }
        found
    }

    /// Members may differ in one component at a time: one that differs already is brought along before another is moved to a
    /// release that it may not know.
    fn drift(&self) -> Found {
        let mut found = Found::default();
        let chosen: Vec<Component> = self.chosen().map(|c| c.name).collect();
        let all = self.status.components.iter();
        let left_out = all.filter(|c| c.halfway.is_some() && !chosen.contains(&c.name));
        for component in left_out.filter(|_| !self.args.channels.is_empty()) {
            found.against.push(format!(
                "{} is only partly updated ({}) and not part of this upgrade; finish it first with: lockstep update",
                component.title,
                component.skew.join("; "),
            ));
        }
        for component in self.chosen() {
            let skew = component
                .skew
                .iter()
                .map(|skew| format!("{}: {skew}", component.title));
            found.notes.extend(skew);
            let snap = component.name.snap();
            let loose = self.status.members.iter();
            let loose = loose.filter(|m| m.snaps.get(snap).is_some_and(|s| !s.held));
            let loose = joined(loose.map(|m| &m.name), ", ");
            if !loose.is_empty() {
                let note = format!("{} is not held on {loose}", component.title);
                found.notes.push(note);
            }
        }
        found
    }

    /// Programs that people run keep snapd from refreshing their snap.
    fn clients(&self) -> Found {
        let mut found = Found::default();
        let mut running: BTreeMap<&str, Vec<Client>> = BTreeMap::new();
        for (member, host) in self.answers() {
            match &host.clients {
                Err(why) => found.unknown.push(format!("{member}: {why}")),
                Ok(clients) => {
                    for client in clients {
                        if let Some(component) =
                            self.chosen().find(|c| c.name.snap() == client.snap)
                        {
                            running
                                .entry(&component.title)
                                .or_default()
                                .push(client.clone());
                        }
                    }
                }
            }
        }
        let against = running.values().map(|clients| snap::against(clients));
        found.against = against.collect();
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
}
