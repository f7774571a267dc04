//! What must never happen, watched at every change and not only at the end.

use serde::{Deserialize, Serialize};

use crate::world::World;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// When, in milliseconds.
    pub at: u64,
    /// Which rule.
    pub rule: String,
    /// How.
    pub what: String,
}

/// The watch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rules {
    violations: Vec<Violation>,
}

impl Rules {
    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }
}

/// The order of the waves.
const ORDER: [&str; 4] = ["microceph", "microovn", "lxd", "microcloud"];

impl World {
    /// A rule was broken.
    pub(crate) fn violated(&mut self, rule: &str, what: String) {
        self.rules.violations.push(Violation {
            at: self.now,
            rule: rule.to_owned(),
            what,
        });
    }

    /// The services of a snap are about to stop on a member.
    pub(crate) fn rules_on_stop(&mut self, member: &str, snap: &str) {
        if self.undoing(member, snap) {
            return;
        }
        if matches!(snap, "microceph" | "microovn") {
            let away: Vec<String> = self
                .members
                .keys()
                .filter(|other| *other != member && self.is_away(other, snap))
                .cloned()
                .collect();
            if !away.is_empty() {
                self.violated(
                    "one-member-at-a-time",
                    format!(
                        "{snap} stops on {member} while it is down on {}",
                        away.join(", ")
                    ),
                );
            }
        }
        if let Some(at) = ORDER.iter().position(|s| *s == snap) {
            for before in &ORDER[..at] {
                let mut revisions: Vec<u32> = self
                    .members
                    .keys()
                    .filter_map(|m| self.revision(m, before))
                    .collect();
                revisions.sort_unstable();
                revisions.dedup();
                if revisions.len() > 1 {
                    self.violated(
                        "one-component-at-a-time",
                        format!("{snap} is refreshed on {member} while {before} differs"),
                    );
                }
            }
        }
    }

    /// The service stops because a refresh is undone: snapd does that, and nobody else.
    fn undoing(&self, member: &str, snap: &str) -> bool {
        let change = self
            .members
            .get(member)
            .and_then(|m| m.snapd.changes.iter().rev().find(|c| c.snap == snap));
        change.is_some_and(|c| matches!(c.status(), "Undo" | "Undoing" | "Undone" | "Error"))
    }

    /// Whether a member's part of the storage or network isn't back.
    fn is_away(&self, member: &str, snap: &str) -> bool {
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
