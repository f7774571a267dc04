//! Checks of where the components would go: what the store has, what has to be there first, and room.

use crate::contract::near;
use std::collections::BTreeMap;

use super::checks::{Found, Seen};
use crate::contract::schema::Channel;
use crate::contract::text::joined;
use crate::products::snapd::{Released, Revision};

/// Room beside what is downloaded, in bytes: a snap is there twice while it is refreshed, and its data is copied.
const ROOM: u64 = 1 << 30;

impl Seen<'_> {
    pub(super) fn target(&self) -> Found {
        let mut found = Found::default();
        for (component, channel) in self.moved() {
            match self.released.get(component.name.snap()) {
                Some(Ok(channels)) if offered(channels, channel).is_some() => {}
                Some(Ok(channels)) => {
                    let names: Vec<&str> = channels.keys().map(String::as_str).collect();
                    let hint = near::hint(channel.as_str(), &names);
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
        found
    }

    /// Whether all members get the same revision. Where they don't, the newest is what all are to have.
    pub(super) fn cohort(&self) -> Found {
        let mut found = Found::default();
        for component in self
            .chosen()
            .filter(|c| !self.args.channels.contains_key(c.name.snap()))
        {
            let mut revisions: BTreeMap<&Revision, Vec<&str>> = BTreeMap::new();
            for (member, host) in self.answers() {
                let installed = self.status.members.iter().find(|m| m.name == *member);
                let installed = installed.and_then(|m| m.snaps.get(component.name.snap()));
                let (Some(installed), Ok(offers)) = (installed, &host.offers) else {
                    continue;
                };
                // Outside of the cohort the store may offer something else; the refresh brings it in. Of a snap that is in
                // mid-refresh snapd tells what it had.
                if installed.cohort.is_empty() || !installed.active {
                    continue;
                }
                let next = offers
                    .get(component.name.snap())
                    .map_or(&installed.revision, |o| &o.revision);
                revisions.entry(next).or_default().push(member.as_str());
            }
            let newest = revisions.keys().max_by_key(|r| r.number());
            if let Some(newest) = newest.filter(|_| revisions.len() > 1) {
                let each = revisions
                    .iter()
                    .map(|(r, members)| format!("{r} for {}", members.join(", ")));
                found.against.push(format!(
                    "{}: the store has {}; try again later, or if accepted, all are taken to {newest}, by number where the cohort doesn't offer it",
                    component.title,
                    joined(each, " and ")
                ));
            }
        }
        found
    }

    pub(super) fn latest_first(&self) -> Found {
        let mut found = Found::default();
        for (component, channel) in self.moved() {
            let to = track(channel.as_str());
            let asked = |from: &str| {
                let row = self.row(component, from);
                from != to && row.is_some_and(|row| row.latest_first)
            };
            if !component.channels.iter().any(|from| asked(track(from))) {
                continue;
            }
            for (member, host) in self.answers() {
                match &host.offers {
                    Err(why) => found.unknown.push(format!("{member}: {why}")),
                    Ok(offers) => found.against.extend(offers.get(component.name.snap()).map(|offer| {
                        format!(
                            "{member} lacks {} {} of its current channel; take it first with: lockstep update --only {}",
                            component.title, offer.version, component.name
                        )
                    })),
                }
            }
        }
        found
    }

    pub(super) fn disk(&self) -> Found {
        let mut found = Found::default();
        for (member, host) in self.answers() {
            let sizes = self.chosen().map(|component| {
                let channel = self.args.channels.get(component.name.snap());
                let released = self
                    .released
                    .get(component.name.snap())
                    .and_then(|r| r.as_ref().ok());
                match (channel, released, &host.offers) {
                    (Some(channel), Some(channels), _) => {
                        offered(channels, channel).map_or(0, |r| r.size)
                    }
                    (None, _, Ok(offers)) => offers
                        .get(component.name.snap())
                        .map_or(0, |o| o.download_size),
                    _ => 0,
                }
            });
            let download = sizes.fold(0, u64::saturating_add);
            let needed = ROOM.saturating_add(download.saturating_mul(2));
            match &host.free {
                Ok(free) if *free < needed => found.against.push(format!(
                    "{member}: {} MiB are free in /var/lib/snapd, but {} are needed",
                    free >> 20,
                    needed >> 20
                )),
                Ok(_) => {}
                Err(why) => found.unknown.push(format!("{member}: {why}")),
            }
        }
        found
    }

    /// What a channel of a snap has.
    pub(super) fn offer(&self, snap: &str, channel: &Channel) -> Option<&Released> {
        offered(self.released.get(snap)?.as_ref().ok()?, channel)
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

pub(super) fn track(channel: &str) -> &str {
    channel.split_once('/').map_or(channel, |(track, _)| track)
}
