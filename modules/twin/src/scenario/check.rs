//! Whether there can be such a cluster.

use std::collections::BTreeMap;

use lockstep_modules::contract::component::Component;
use lockstep_modules::contract::near::hint;

use super::{Published, Scenario};
use crate::world::World;

/// What can't be: the word to be looked for in the file, and a sentence.
type Wrong = (String, String);

impl Scenario {
    /// Whether there can be such a cluster.
    ///
    /// # Errors
    /// With the first thing that can't be: the word to be looked for in the file, and a sentence.
    pub fn check(&self) -> Result<(), Wrong> {
        self.check_members()?;
        self.check_clients()?;
        self.check_buckets()?;
        self.check_leaders()?;
        self.check_snaps()?;
        self.check_channels()?;
        self.check_revisions()?;
        let mut world = self.build();
        for fault in &self.faults {
            world
                .inject(fault.clone())
                .map_err(|e| (fault.trouble.name().to_owned(), e))?;
        }
        Ok(())
    }

    /// Whether something is on a member.
    fn on_member(&self, what: &str, name: &str) -> Result<(), Wrong> {
        if self.members.iter().any(|member| member == name) {
            return Ok(());
        }
        let known: Vec<&str> = self.members.iter().map(String::as_str).collect();
        let hint = hint(name, &known);
        let what = format!("{what} is on {name:?}, which is no member{hint}");
        Err((format!("{name:?}"), what))
    }

    /// Each name is that of one member, and everything is on one of them.
    fn check_members(&self) -> Result<(), Wrong> {
        for (i, name) in self.members.iter().enumerate() {
            if self.members[..i].contains(name) {
                let what = format!("there are two members called {name:?}");
                return Err((format!("{name:?}"), what));
            }
        }
        let monitors = self.storage.monitors.iter().map(|name| ("a monitor", name));
        let disks = self.storage.disks.iter().map(|name| ("an OSD", name));
        let central = &self.network.central;
        let central = central.iter().map(|name| ("an OVN database", name));
        for (what, name) in monitors.chain(disks).chain(central) {
            self.on_member(what, name)?;
        }
        for instance in self.instances.iter().flatten() {
            let what = format!("the instance {:?}", instance.name);
            self.on_member(&what, &instance.location)?;
        }
        let snaps = self.installed.keys().map(|name| ("a snap", name));
        let hosts = self.hosts.keys().map(|name| ("a host", name));
        snaps
            .chain(hosts)
            .try_for_each(|(what, name)| self.on_member(what, name))
    }

    /// Clients are programs on members.
    fn check_clients(&self) -> Result<(), Wrong> {
        for client in &self.clients {
            let wrong = |what: String| (format!("{client:?}"), what);
            let Some((name, program)) = client.split_once(' ') else {
                let what = format!("{client:?} is no client: write \"MEMBER PROGRAM\"");
                return Err(wrong(what));
            };
            self.on_member("a client", name)
                .map_err(|(_, what)| wrong(what))?;
            if World::app(program).is_none() {
                let what = format!("the client {program:?} is no program of a component's snap");
                return Err(wrong(what));
            }
        }
        Ok(())
    }

    /// Buckets are in pools.
    fn check_buckets(&self) -> Result<(), Wrong> {
        let pools = self.pools();
        let pools: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
        for bucket in &self.buckets {
            let pool = bucket.pool.as_str();
            if !pools.contains(&pool) {
                let what = format!(
                    "the bucket {:?} is in the pool {pool:?}, which isn't there{}",
                    bucket.name,
                    hint(pool, &pools)
                );
                return Err((format!("{pool:?}"), what));
            }
        }
        Ok(())
    }

    /// Who leads has what is led.
    fn check_leaders(&self) -> Result<(), Wrong> {
        let (monitors, central) = (self.monitors(), self.central());
        let (storage, network) = (&self.storage, &self.network);
        let leaders = [
            ("the active manager", &storage.manager, &monitors),
            (
                "the northbound leader",
                &network.northbound_leader,
                &central,
            ),
            (
                "the southbound leader",
                &network.southbound_leader,
                &central,
            ),
        ];
        for (what, name, all) in leaders {
            if let Some(name) = name
                && !all.contains(name)
            {
                let what = format!("{what} is {name:?}, where there is none");
                return Err((format!("{name:?}"), what));
            }
        }
        Ok(())
    }

    /// Snaps are those of components.
    fn check_snaps(&self) -> Result<(), Wrong> {
        let released = self.releases.iter().map(|r| &r.snap);
        let installed = self.installed.values().flat_map(BTreeMap::keys);
        let named = self.without.iter().chain(self.channels.keys());
        for snap in named.chain(released).chain(installed) {
            snap.parse::<Component>()
                .map_err(|what| (format!("{snap:?}"), what))?;
        }
        Ok(())
    }

    /// Revisions that members have are those of releases.
    fn check_revisions(&self) -> Result<(), Wrong> {
        let store = self.build_store();
        for (member, snaps) in &self.installed {
            for (snap, installed) in snaps {
                let revision = installed.revision;
                let there = |r: &Published| r.snap == *snap && r.revision == revision;
                if !self.releases.iter().any(there) && store.release(snap, revision).is_none() {
                    let what = format!(
                        "{member} has revision {revision} of {snap}, which is in no release"
                    );
                    return Err((revision.to_string(), what));
                }
            }
        }
        Ok(())
    }

    /// Every channel that members follow has something in the store.
    fn check_channels(&self) -> Result<(), Wrong> {
        let store = self.build_store();
        for (snap, channel) in &self.channels {
            let there = |r: &Published| r.snap == *snap && r.channel == *channel;
            if store.revision(snap, channel).is_none() && !self.releases.iter().any(there) {
                let channels = store.channels.get(snap).into_iter();
                let channels: Vec<&str> = channels
                    .flat_map(BTreeMap::keys)
                    .map(String::as_str)
                    .collect();
                let what = format!(
                    "{snap} follows {channel:?}, which has no release{}",
                    hint(channel, &channels)
                );
                return Err((format!("{channel:?}"), what));
            }
        }
        Ok(())
    }
}
