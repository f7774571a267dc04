//! From a scenario to a world.

use lockstep_modules::contract::component::Component;

use super::{Network, Published, Scenario, Snap, releases};
use crate::ceph::Ceph;
use crate::dialects::numbers;
use crate::lxd::{self, Instance, Node, Pool, StoragePool};
use crate::machine::Machine;
use crate::microcluster::{self, Micro};
use crate::ovn::Ovn;
use crate::snapd::{Installed, Snapd};
use crate::store::{Release, Store};
use crate::world::World;

impl Scenario {
    /// The world. Faults are not in it: see [`World::inject`].
    #[must_use]
    pub fn build(&self) -> World {
        let mut world = World::new(self.epoch, self.seed);
        world.store = self.build_store();
        for (i, name) in self.members.iter().enumerate() {
            let machine = Machine {
                address: format!("10.0.{}.{}", i / 200, 11 + i % 200),
                link: true,
                power: true,
                frozen: false,
                turned: 0,
                boot_id: format!("b007b007-0000-4000-8000-{:012}", i + 1),
                curl: true,
                snapd: Snapd {
                    snaps: self.snaps(&world.store, name),
                    ..Snapd::default()
                },
            };
            world.members.insert(name.clone(), machine);
        }
        world.hosts = self.hosts.clone();
        for client in &self.clients {
            let (member, program) = client.split_once(' ').unwrap_or((client, ""));
            world.run_client(member, program);
        }
        self.form_clusters(&mut world);
        if self.releases.is_empty() && self.updates {
            for snap in Component::ALL.map(Component::snap) {
                releases::second(&mut world.store, snap, self.channel(snap), self.schema_bump);
            }
        }
        for release in self.releases.iter().filter(|r| self.is_new(r)) {
            let schema = self.schema_bump;
            world.store.publish(
                &release.snap,
                &release.channel,
                contents(release, &world.store, schema),
            );
        }
        world
    }

    /// Whether no member has the revision.
    fn is_new(&self, release: &Published) -> bool {
        let has = |snap: Option<&Snap>| snap.is_some_and(|s| s.revision == release.revision);
        !self
            .installed
            .values()
            .any(|snaps| has(snaps.get(&release.snap)))
    }

    /// The channel that all members follow, unless one of them has its own.
    fn channel<'a>(&'a self, snap: &str) -> &'a str {
        let own = self.channels.get(snap).map(String::as_str);
        own.unwrap_or_else(|| self.microcloud.channel(snap))
    }

    /// What the store had when the members were installed.
    pub(super) fn build_store(&self) -> Store {
        let mut store = releases::first();
        for release in self.releases.iter().filter(|r| !self.is_new(r)) {
            store.publish(
                &release.snap,
                &release.channel,
                contents(release, &store, false),
            );
        }
        store
    }

    fn snaps(&self, store: &Store, member: &str) -> std::collections::BTreeMap<String, Installed> {
        let snap = |snap: &str| {
            let own = self.installed.get(member).and_then(|snaps| snaps.get(snap));
            if self.without.iter().any(|name| name == snap)
                || (own.is_none() && self.installed.contains_key(member))
            {
                return None;
            }
            let tracking = own
                .and_then(|own| own.channel.clone())
                .unwrap_or_else(|| self.channel(snap).to_owned());
            let offered = store.revision(snap, &tracking);
            let revision = own.map(|own| own.revision).or(offered).unwrap_or_default();
            let version = store.release(snap, revision).map(|r| r.version.clone());
            let installed = Installed {
                revision,
                version: version.unwrap_or_default(),
                tracking,
                cohort: own
                    .and_then(|own| own.cohort.clone())
                    .unwrap_or_else(|| "+".to_owned()),
                held: own.and_then(|own| own.held).unwrap_or(true),
                active: true,
            };
            Some((snap.to_owned(), installed))
        };
        let all = Component::ALL.map(Component::snap);
        all.into_iter().filter_map(snap).collect()
    }

    /// The members that have a snap.
    fn with(&self, world: &World, snap: &str) -> Vec<String> {
        let has = |name: &&String| world.revision(name, snap).is_some();
        self.members.iter().filter(has).cloned().collect()
    }

    fn form_clusters(&self, world: &mut World) {
        for (snap, port) in [
            ("microceph", 7443),
            ("microovn", 6443),
            ("microcloud", 9443),
        ] {
            let members = self.with(world, snap);
            if !members.is_empty() {
                let mut micro = Micro::ready(port, &members);
                for (name, row) in &mut micro.rows {
                    row.schema = world.release(name, snap).map_or(1, |r| r.schema);
                }
                world.micro.insert(snap.to_owned(), micro);
                microcluster::found(world, snap, &self.restarted(snap));
            }
        }
        self.form_storage(world);
        self.form_network(world);
        self.form_lxd(world);
        lxd::found(world, &self.restarted("lxd"));
    }

    /// Members whose daemon of a snap was started again after others had got ahead.
    fn restarted(&self, snap: &str) -> Vec<String> {
        let has = |snaps: &std::collections::BTreeMap<String, Snap>| {
            snaps.get(snap).is_some_and(|own| own.restarted)
        };
        let members = self.installed.iter().filter(|(_, snaps)| has(snaps));
        members.map(|(name, _)| name.clone()).collect()
    }

    fn form_storage(&self, world: &mut World) {
        let members = self.with(world, "microceph");
        let versions = |name: &String| {
            let release = world.release(name, "microceph")?;
            Some((name.clone(), release.ceph.clone()?))
        };
        let versions: std::collections::BTreeMap<_, _> =
            members.iter().filter_map(versions).collect();
        if versions.is_empty() {
            return;
        }
        let disks = &self.storage.disks;
        let disks = if disks.is_empty() { &members } else { disks };
        world.ceph = Ceph::placed(&self.monitors(), disks, &versions);
        world.ceph.modules = self.manager_modules.iter().cloned().collect();
        for raised in &self.health {
            world.raise(raised);
        }
        if let Some(pgs) = self.storage.pgs {
            world.ceph.pgs = pgs;
        }
        if let Some(manager) = &self.storage.manager {
            world.activate_mgr(manager);
        }
        for flag in &self.storage.flags {
            let (flag, host) = flag
                .split_once(' ')
                .map_or((flag.as_str(), None), |(f, h)| (f, Some(h)));
            world.operator_sets_flag(flag, host);
        }
    }

    fn form_network(&self, world: &mut World) {
        let members = self.with(world, "microovn");
        let Some(schemas) = members
            .first()
            .and_then(|m| world.release(m, "microovn")?.ovn.clone())
        else {
            return;
        };
        world.ovn = Ovn::placed(&self.central(), (&schemas.0, &schemas.1));
        let Network {
            northbound_leader,
            southbound_leader,
            election_timer,
            ..
        } = &self.network;
        if let Some(leader) = northbound_leader {
            world.ovn.northbound.leader = Some(leader.clone());
        }
        if let Some(leader) = southbound_leader {
            world.ovn.southbound.leader = Some(leader.clone());
        }
        if let Some(millis) = election_timer {
            world.set_election_timer(*millis);
        }
    }

    fn form_lxd(&self, world: &mut World) {
        let members = self.with(world, "lxd");
        let node = |name: &String| {
            let release = world.release(name, "lxd");
            let version = release.map_or((73, 402), |r| (r.schema, r.extensions));
            (name.clone(), Node::new(version))
        };
        world.lxd.nodes = members.iter().map(node).collect();
        world.lxd.config = self.lxd.clone();
        let pool = |pool: StoragePool| {
            let (driver, size) = (pool.driver, 100 << 30);
            (pool.name, Pool { driver, size })
        };
        world.lxd.pools = self.pools().into_iter().map(pool).collect();
        world.lxd.buckets = self.buckets.clone();
        world.lxd.instances = self.instances.clone().unwrap_or_else(|| {
            let each = (1..).zip(&members);
            each.map(|(i, name)| Instance::container(&format!("c{i}"), name))
                .collect()
        });
    }
}

/// What is in a revision, as far as it isn't said: what the one before it has, in its channel or else by its number; and a
/// step on where it is newer.
fn contents(release: &Published, store: &Store, newer: bool) -> Release {
    let version = numbers(&release.version);
    let all = || store.releases.get(&release.snap).into_iter().flatten();
    let older = all().filter(|r| numbers(&r.version) <= version);
    let before = store
        .current(&release.snap, &release.channel)
        .or_else(|| older.max_by_key(|r| numbers(&r.version)))
        .or_else(|| all().next());
    let step = u32::from(newer);
    let built = before.map_or("", |b| &b.built);
    Release {
        revision: release.revision,
        version: release.version.clone(),
        schema: release
            .schema
            .unwrap_or_else(|| before.map_or(1, |b| b.schema + step)),
        extensions: before.map_or(0, |b| b.extensions + step),
        ovn: before.and_then(|b| b.ovn.clone()).map(|(north, south)| {
            if newer {
                (releases::newer(&north), releases::newer(&south))
            } else {
                (north, south)
            }
        }),
        ceph: (release.snap == "microceph").then(|| releases::ceph_of(&release.version)),
        size: release.size.unwrap_or(100_000_000),
        built: release.built.clone().unwrap_or_else(|| built.to_owned()),
    }
}
