//! Whether there can be such a cluster.

use std::collections::BTreeMap;

use lockstep_modules::contract::component::Component;
use lockstep_modules::contract::near::hint;

use super::{Published, Scenario};
use crate::programs::app;

impl Scenario {
    /// Whether there can be such a cluster.
    ///
    /// # Errors
    /// With the first thing that can't be: the word to be looked for in the file, and a sentence.
    pub fn check(&self) -> Result<(), (String, String)> {
        let known: Vec<&str> = self.members.iter().map(String::as_str).collect();
        let member = |what: &str, name: &str| {
            if known.contains(&name) {
                return Ok(());
            }
            let what = format!(
                "{what} is on {name:?}, which is no member{}",
                hint(name, &known)
            );
            Err((format!("{name:?}"), what))
        };
        for (i, name) in known.iter().enumerate() {
            if known[..i].contains(name) {
                return Err((
                    format!("{name:?}"),
                    format!("there are two members called {name:?}"),
                ));
            }
        }
        for name in &self.storage.monitors {
            member("a monitor", name)?;
        }
        for name in &self.storage.disks {
            member("an OSD", name)?;
        }
        for name in &self.network.central {
            member("an OVN database", name)?;
        }
        for instance in self.instances.iter().flatten() {
            member(
                &format!("the instance {:?}", instance.name),
                &instance.location,
            )?;
        }
        for name in self.installed.keys() {
            member("a snap", name)?;
        }
        for name in self.hosts.keys() {
            member("a host", name)?;
        }
        for client in &self.clients {
            let Some((name, program)) = client.split_once(' ') else {
                let what = format!("{client:?} is no client: write \"MEMBER PROGRAM\"");
                return Err((format!("{client:?}"), what));
            };
            member("a client", name).map_err(|(_, what)| (format!("{client:?}"), what))?;
            if app(program).is_none() {
                let what = format!("the client {program:?} is no program of a component's snap");
                return Err((format!("{client:?}"), what));
            }
        }
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
        let among = |what: &str, name: &Option<String>, all: &[String]| match name {
            Some(name) if !all.contains(name) => {
                let what = format!("{what} is {name:?}, where there is none");
                Err((format!("{name:?}"), what))
            }
            _ => Ok(()),
        };
        among(
            "the active manager",
            &self.storage.manager,
            &self.monitors(),
        )?;
        among(
            "the northbound leader",
            &self.network.northbound_leader,
            &self.central(),
        )?;
        among(
            "the southbound leader",
            &self.network.southbound_leader,
            &self.central(),
        )?;
        let named = self
            .without
            .iter()
            .chain(self.channels.keys())
            .chain(self.releases.iter().map(|r| &r.snap));
        let named = named.chain(self.installed.values().flat_map(BTreeMap::keys));
        for snap in named {
            snap.parse::<Component>()
                .map_err(|what| (format!("{snap:?}"), what))?;
        }
        self.check_channels()?;
        let store = self.build_store();
        for (member, snaps) in &self.installed {
            for (snap, installed) in snaps {
                let there = |r: &Published| r.snap == *snap && r.revision == installed.revision;
                if !self.releases.iter().any(there)
                    && store.release(snap, installed.revision).is_none()
                {
                    let what = format!(
                        "{member} has revision {} of {snap}, which is in no release",
                        installed.revision
                    );
                    return Err((installed.revision.to_string(), what));
                }
            }
        }
        let mut world = self.build();
        for fault in &self.faults {
            world
                .inject(fault.clone())
                .map_err(|e| (fault.trouble.name().to_owned(), e))?;
        }
        Ok(())
    }

    /// Every channel that members follow has something in the store.
    fn check_channels(&self) -> Result<(), (String, String)> {
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
