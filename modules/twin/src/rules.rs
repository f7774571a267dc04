//! What must never happen, watched at every change and not only at the end.
//!
//! | rule | what it says |
//! |---|---|
//! | `one-member-at-a-time` | the storage or network services of two members aren't taken down at once |
//! | `one-component-at-a-time` | a component isn't started while one before it differs between members |
//! | `lxd-together` | LXD is refreshed on all members at once: those that are ahead are blocked until the others follow |
//! | `never-this-command` | commands that stop every instance of a member, or tear its network down, aren't used |
//! | `nothing-left-on` | what a run switched on is off again when it says that it is done |
//! | `operators-settings-kept` | what the operator had set is as it was when a run says that it is done |
//! | `quorum-kept` | Ceph's monitors and OVN's databases keep their majority where they are three or more |
//! | `gate-open` | a member's services aren't taken down while storage or network aren't whole elsewhere |
//! | `no-evacuation-during-skew` | instances aren't moved while members run different versions of LXD |
//! | `one-member-evacuated` | one member is evacuated at a time |
//! | `instances-left-alone` | instances run on, unless their member is evacuated |
//! | `once` | a step that must not be done twice isn't done twice |
//!
//! The twin's parts report the breaking of theirs.

pub(crate) mod state;

use std::collections::{BTreeMap, BTreeSet};

use lockstep_modules::contract::cmd::Cmd;
use lockstep_modules::contract::component::Component;
pub(crate) use state::Look;
pub(crate) use state::Violation;

use crate::files::Node;
use crate::machine::Machine;
use crate::ovn::Database;
use crate::world::{Due, World};

/// What is switched on in a cluster. It is looked at around every command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    flags: BTreeSet<String>,
    host_flags: BTreeMap<String, BTreeSet<String>>,
    timers: [(Database, u64); 2],
    lxd: BTreeMap<String, String>,
    evacuated: BTreeSet<String>,
    locks: BTreeMap<String, Node>,
}

impl Settings {
    fn by_name(&self) -> BTreeMap<String, String> {
        let set = |name: String| (name, "set".to_owned());
        let flags = self.flags.iter().map(|flag| set(format!("Ceph's {flag}")));
        let of_host = |(host, flags): (&String, &BTreeSet<String>)| -> Vec<_> {
            let flags = flags.iter();
            flags
                .map(|flag| set(format!("Ceph's {flag} for {host}")))
                .collect()
        };
        let timer = |(database, timer): &(Database, u64)| {
            let name = format!("the election timer of OVN's {database:?} database");
            (name, format!("{timer} ms"))
        };
        let evacuated = |member: &String| (member.clone(), "evacuated".to_owned());
        let lock = |(member, node): (&String, &Node)| {
            let says = match node {
                Node::File(text) | Node::Link(text) => text.clone(),
                Node::Folder => "a folder".to_owned(),
            };
            (format!("the lock on {member}"), says)
        };
        flags
            .chain(self.host_flags.iter().flat_map(of_host))
            .chain(self.timers.iter().map(timer))
            .chain(self.lxd.clone())
            .chain(self.evacuated.iter().map(evacuated))
            .chain(self.locks.iter().map(lock))
            .collect()
    }
}

/// Where a run's lock is on a member.
const LOCK: &str = "/var/lib/lockstep/lock";

/// How long the members that are ahead of the others may be left alone, in milliseconds.
const TOGETHER: u64 = 30_000;

/// How long a store may take until a refresh that was asked for begins, in milliseconds.
const ASKED: u64 = 600_000;

/// How long it may take until a fault shows everywhere, in milliseconds.
const NOTICED: u64 = 60_000;

impl World {
    /// The rules that were broken so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.rules.violations
    }

    /// A rule is broken by what happens now.
    pub(crate) fn violated(&mut self, rule: &str, what: impl Into<String>) {
        self.rules.violations.push(Violation {
            at: self.now,
            rule: rule.to_owned(),
            what: what.into(),
            step: self.cause.clone(),
        });
    }

    /// What is switched on in the cluster, by name. A run restores what it changed.
    #[must_use]
    pub fn settings(&self) -> BTreeMap<String, String> {
        self.settings_with(self.members.keys()).by_name()
    }

    /// Those of the settings that a command on `member` may change: no other member's lock.
    pub(crate) fn settings_from(&self, member: &str) -> Settings {
        self.settings_with(self.members.get_key_value(member).map(|(name, _)| name))
    }

    fn settings_with<'a>(&self, locked: impl IntoIterator<Item = &'a String>) -> Settings {
        let lock = |member: &String| Some((member.clone(), self.file(member, LOCK)?.clone()));
        let nodes = self.lxd.nodes.iter();
        Settings {
            flags: self.ceph.flags.clone(),
            host_flags: self.ceph.host_flags.clone(),
            timers: self.ovn.timers(),
            lxd: self.lxd.config.clone(),
            evacuated: nodes
                .filter(|(_, node)| node.evacuated)
                .map(|(name, _)| name.clone())
                .collect(),
            locks: locked.into_iter().filter_map(lock).collect(),
        }
    }

    /// The settings that were changed.
    pub fn switched(&self) -> impl Iterator<Item = &str> {
        self.rules.switched.keys().map(String::as_str)
    }

    /// The step that changed a setting last.
    #[must_use]
    pub fn switched_by(&self, setting: &str) -> Option<&str> {
        self.rules.switched.get(setting).map(String::as_str)
    }

    /// A command on `member` has had its look at the world: whose settings are these now?
    pub(crate) fn rules_on_settings(&mut self, member: &str, before: &Settings) {
        let after = self.settings_from(member);
        if *before == after {
            return;
        }
        self.touch();
        let (before, after) = (before.by_name(), after.by_name());
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        for name in names
            .into_iter()
            .filter(|n| before.get(*n) != after.get(*n))
        {
            self.rules.switched.insert(name.clone(), self.cause.clone());
        }
    }

    pub(crate) fn rules_on_command(&mut self, member: &str, cmd: &Cmd) {
        let words: Vec<&str> = cmd.argv.iter().map(String::as_str).collect();
        let [program, verb, names @ ..] = words.as_slice() else {
            return;
        };
        let held = |word: &&str| word.starts_with("--hold");
        if *verb == "refresh" && names.last() == Some(&"lxd") && !names.iter().any(held) {
            self.rules.lxd_asked.insert(member.to_owned(), self.now);
        }
        let dangerous = ["lxd", "lxd.daemon", "microovn.switch"];
        if program.ends_with("/snap")
            && ["revert", "restart", "stop", "disable", "remove"].contains(verb)
            && let Some(name) = names.iter().find(|name| dangerous.contains(name))
        {
            let harm = if name.starts_with("lxd") {
                "stops every instance of the member"
            } else {
                "tears the member's network down"
            };
            self.violated(
                "never-this-command",
                format!("snap {verb} {name} on {member} {harm}"),
            );
        }
    }

    /// The services of a snap are about to stop on a member.
    pub(crate) fn rules_on_stop(&mut self, member: &str, snap: &str) {
        if self.blameless(member, snap) {
            return;
        }
        if matches!(snap, "microceph" | "microovn") {
            let stopped = self.rules.stopped.entry(snap.to_owned()).or_default();
            let others: Vec<String> = stopped.iter().filter(|m| *m != member).cloned().collect();
            stopped.insert(member.to_owned());
            if !others.is_empty() {
                let what = format!(
                    "{snap} stops on {member} while it is down on {}",
                    others.join(", ")
                );
                self.violated("one-member-at-a-time", what);
            }
        }
        let component = Component::of_snap(snap);
        let earlier = |before: &Component| Some(*before) < component;
        for before in Component::ALL.into_iter().filter(earlier) {
            let revisions: BTreeSet<u32> = self
                .members
                .keys()
                .filter_map(|m| self.revision(m, before.snap()))
                .collect();
            if revisions.len() > 1 {
                let what = format!("{snap} is refreshed on {member} while {before} differs");
                self.violated("one-component-at-a-time", what);
            }
        }
        let same = |m: &String| self.revision(m, "lxd") == self.revision(member, "lxd");
        if snap == "lxd" && self.members.len() > 1 && self.members.keys().all(same) {
            let look = Look::LxdTogether {
                since: self.now,
                step: self.cause.clone(),
            };
            self.schedule(TOGETHER, Due::Rule(look));
        }
    }

    /// Something has happened: who is back?
    pub(crate) fn rules_on_return(&mut self) {
        if self.rules.stopped.values().all(BTreeSet::is_empty) {
            return;
        }
        let mut stopped = std::mem::take(&mut self.rules.stopped);
        for (snap, members) in &mut stopped {
            members.retain(|member| self.is_away(member, snap));
        }
        self.rules.stopped = stopped;
    }

    /// Whether nobody is to be blamed for a snap's services stopping on a member now: snapd does it of its own accord (an
    /// undo, for example), or something went wrong so shortly before the refresh was asked for, or after it, that nobody
    /// could have known.
    pub(crate) fn blameless(&self, member: &str, snap: &str) -> bool {
        if self.cause.is_empty() || self.undoing(member, snap) {
            return true;
        }
        let changes = self.members.get(member).map(|m| m.snapd.changes.iter());
        let asked = changes
            .and_then(|mut all| all.rfind(|c| c.snap == snap && !c.ready()))
            .map_or(self.now, |c| c.spawned);
        let shaken = self.faults.shaken();
        shaken.is_some_and(|at| at + NOTICED >= asked)
    }

    /// The service stops because a refresh is undone: snapd does that, and nobody else.
    fn undoing(&self, member: &str, snap: &str) -> bool {
        let change = self
            .members
            .get(member)
            .and_then(|m| m.snapd.changes.iter().rev().find(|c| c.snap == snap));
        change.is_some_and(|c| matches!(c.status(), "Undo" | "Undoing" | "Undone" | "Error"))
    }

    /// Whether a snap is being changed on a member, or its part of the storage or network isn't back.
    fn is_away(&self, member: &str, snap: &str) -> bool {
        let machine = self.members.get(member);
        if machine.is_some_and(|m| m.snapd.under_way(snap).is_some()) {
            return true;
        }
        if snap == "microceph" {
            let mon = self.ceph.mons.get(member).is_some_and(|mon| !mon.in_quorum);
            return mon
                || self
                    .ceph
                    .osds
                    .values()
                    .any(|osd| osd.host == member && !osd.up);
        }
        let rafts = [&self.ovn.northbound, &self.ovn.southbound];
        rafts.iter().any(|raft| {
            raft.servers
                .get(member)
                .is_some_and(|server| !server.joined)
        })
    }
}

/// Looks at a rule whose time has come.
pub(crate) fn look(world: &mut World, look: Look) {
    let Look::LxdTogether { since, step } = look;
    let asked = |member: &str| {
        let at = world.rules.lxd_asked.get(member);
        at.is_some_and(|at| at + ASKED >= since)
    };
    // A controller that is gone, or a member that can't be reached, is no fault of the playbook's.
    let attended = world.last_command > since + TOGETHER / 2;
    let steady = |m: &Machine| m.answers() && m.turned < since.max(1);
    let alone: Vec<String> = world
        .members
        .iter()
        .filter(|(name, m)| {
            (steady(m) || m.turned == 0) && m.snapd.snaps.contains_key("lxd") && !asked(name)
        })
        .map(|(name, _)| name.clone())
        .collect();
    if attended && !alone.is_empty() {
        world.cause = step;
        let what = format!(
            "LXD was refreshed, and after {} s {} had not been asked to follow",
            TOGETHER / 1000,
            alone.join(", ")
        );
        world.violated("lxd-together", what);
    }
}
