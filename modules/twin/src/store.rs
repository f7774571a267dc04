//! The snap store: which revision each channel has, and what is in a revision.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Store {
    /// Revisions, by snap.
    pub releases: BTreeMap<String, Vec<Release>>,
    /// The revision of each channel, by snap and channel.
    pub channels: BTreeMap<String, BTreeMap<String, u32>>,
    /// How long the store takes to answer, in milliseconds.
    pub(crate) delay: u64,
    /// The HTTP status that it answers every question with instead, if something is wrong with it.
    pub status: Option<u16>,
    /// Members that are offered another revision than the channel's, as in a progressive release: by member and snap.
    #[serde(default)]
    offers: BTreeMap<String, BTreeMap<String, u32>>,
}

/// One revision of a snap: what matters of its contents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its number.
    pub revision: u32,
    /// Its version, as the publisher writes it.
    pub version: String,
    /// Schema of the database that the members keep together: microcluster's external schema, or LXD's.
    pub schema: u32,
    /// LXD's API extensions, of which only the count matters.
    #[serde(default)]
    pub extensions: u32,
    /// The schemas of OVN's databases that it expects, northbound and southbound.
    #[serde(default)]
    pub ovn: Option<(String, String)>,
    /// The release of Ceph in it, as in `19.2.3 squid`.
    #[serde(default)]
    pub ceph: Option<(String, String)>,
    /// Size in bytes.
    pub size: u64,
    /// When it was built, as `2025-11`, of MicroCeph: its version is Ceph's, and tells nothing of its own commands.
    #[serde(default)]
    pub built: String,
}

/// How long snapd goes on asking a store that answers with a server's error, and one that doesn't answer in time, in
/// milliseconds (seen with snapd 2.68; `store/store.go` gives it 38 s and another try).
const RETRIES: u64 = 33_000;
const TIMED_OUT: u64 = 40_000;

/// How long snapd waits for an answer, in milliseconds (`httputil`).
const PATIENCE: u64 = 10_000;

/// Where snapd asks.
const URL: &str = "https://api.snapcraft.io/v2/snaps/refresh";

impl Store {
    /// How long it takes until snapd has an answer or gives up, in milliseconds, on a member whose link is up or not.
    pub(crate) fn takes(&self, linked: bool) -> u64 {
        match self.status {
            _ if !linked => RETRIES,
            Some(500..) => self.delay + RETRIES,
            _ if self.delay >= PATIENCE => TIMED_OUT,
            _ => self.delay,
        }
    }

    /// Why snapd gets no answer, as it says it (snapd 2.68).
    pub(crate) fn trouble(&self, linked: bool) -> Option<String> {
        match self.status {
            _ if !linked => Some(format!(
                "Post \"{URL}\": dial tcp 185.125.188.54:443: connect: no route to host"
            )),
            Some(429) => Some("too many requests".to_owned()),
            Some(status) => Some(format!(
                "cannot query the store for updates: got unexpected HTTP status code {status} via POST to \"{URL}\""
            )),
            None if self.delay >= PATIENCE => Some(format!(
                "Post \"{URL}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            )),
            None => None,
        }
    }

    /// The revision that a channel has.
    #[must_use]
    pub fn revision(&self, snap: &str, channel: &str) -> Option<u32> {
        self.channels.get(snap)?.get(channel).copied()
    }

    /// What a channel has.
    pub(crate) fn current(&self, snap: &str, channel: &str) -> Option<&Release> {
        self.release(snap, self.revision(snap, channel)?)
    }

    /// The revision that a member is offered of a channel.
    pub(crate) fn offered(&self, member: &str, snap: &str, channel: &str) -> Option<u32> {
        let regular = self.revision(snap, channel)?;
        let own = self.offers.get(member).and_then(|offers| offers.get(snap));
        Some(own.copied().unwrap_or(regular))
    }

    /// A member is offered this revision of a snap, whatever the channel has.
    pub(crate) fn offer(&mut self, member: &str, snap: &str, revision: u32) {
        let offers = self.offers.entry(member.to_owned()).or_default();
        offers.insert(snap.to_owned(), revision);
    }

    pub(crate) fn forget_offer(&mut self, member: &str, snap: &str) {
        if let Some(offers) = self.offers.get_mut(member) {
            offers.remove(snap);
        }
    }

    #[must_use]
    pub fn release(&self, snap: &str, revision: u32) -> Option<&Release> {
        self.releases
            .get(snap)?
            .iter()
            .find(|r| r.revision == revision)
    }

    /// The publisher releases what each channel of a snap has once more, under the next number that is free.
    pub(crate) fn release_again(&mut self, snap: &str) {
        let channels = self.channels.get_mut(snap);
        let (Some(channels), Some(releases)) = (channels, self.releases.get_mut(snap)) else {
            return;
        };
        let heads: BTreeSet<u32> = channels.values().copied().collect();
        for head in heads {
            let Some(release) = releases.iter().find(|r| r.revision == head).cloned() else {
                continue;
            };
            let taken: BTreeSet<u32> = releases.iter().map(|r| r.revision).collect();
            let free = (head + 1..).find(|number| !taken.contains(number));
            let revision = free.unwrap_or(head);
            for (_, of) in channels.iter_mut().filter(|(_, of)| **of == head) {
                *of = revision;
            }
            releases.push(Release {
                revision,
                ..release
            });
        }
    }

    pub fn publish(&mut self, snap: &str, channel: &str, release: Release) {
        self.channels
            .entry(snap.to_owned())
            .or_default()
            .insert(channel.to_owned(), release.revision);
        self.releases
            .entry(snap.to_owned())
            .or_default()
            .push(release);
    }
}
