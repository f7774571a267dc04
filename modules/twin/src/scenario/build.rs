//! From a scenario to a world.

use super::{CHANNELS, Network, Published, Scenario, Snap, releases};
use crate::ceph::Ceph;
use crate::lxd::{Instance, Node, Pool};
use crate::machine::Machine;
use crate::microcluster::Micro;
use crate::ovn::Ovn;
use crate::snapd::{Installed, Snapd};
use crate::store::{Release, Store};
use crate::world::World;

/// Names of Ceph's releases, by their number.
const CEPH: [(&str, &str); 5] = [
    ("17", "quincy"),
    ("18", "reef"),
    ("19", "squid"),
    ("20", "tentacle"),
    ("21", "umbrella"),
];

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
        self.form_clusters(&mut world);
        if self.releases.is_empty() && self.updates {
            releases::second(&mut world.store, self.schema_bump);
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

    /// What the store had when the members were installed.
    pub(super) fn build_store(&self) -> Store {
        let mut store = releases::first();
        releases::next_tracks(&mut store);
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
        let snap = |(snap, channel): (&str, &str)| {
            let own = self.installed.get(member).and_then(|snaps| snaps.get(snap));
            if self.without.iter().any(|name| name == snap)
                || (own.is_none() && self.installed.contains_key(member))
            {
                return None;
            }
            let tracking = own
                .and_then(|own| own.channel.clone())
                .unwrap_or_else(|| channel.to_owned());
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
        CHANNELS.into_iter().filter_map(snap).collect()
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
            }
        }
        self.form_storage(world);
        self.form_network(world);
        self.form_lxd(world);
    }

    fn form_storage(&self, world: &mut World) {
        let members = self.with(world, "microceph");
        let Some(version) = members
            .first()
            .and_then(|m| world.release(m, "microceph")?.ceph.clone())
        else {
            return;
        };
        let disks = &self.storage.disks;
        let disks = if disks.is_empty() { &members } else { disks };
        world.ceph = Ceph::placed(&self.monitors(), disks, &version);
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
        world.lxd.pools = ["ceph", "zfs"]
            .map(|driver| {
                let name = if driver == "ceph" { "remote" } else { "local" };
                let (driver, size) = (driver.to_owned(), 100 << 30);
                (name.to_owned(), Pool { driver, size })
            })
            .into();
        world.lxd.instances = self.instances.clone().unwrap_or_else(|| {
            let each = (1..).zip(&members);
            each.map(|(i, name)| Instance::container(&format!("c{i}"), name))
                .collect()
        });
    }
}

/// What is in a revision, as far as it isn't said: what the one before had, a step on where it is newer.
fn contents(release: &Published, store: &Store, newer: bool) -> Release {
    let before = store
        .releases
        .get(&release.snap)
        .and_then(|all| all.first());
    let step = u32::from(newer);
    let number = release.version.split(['+', '-']).next().unwrap_or_default();
    let major = number.split('.').next().unwrap_or_default();
    let name = CEPH
        .iter()
        .find(|(n, _)| *n == major)
        .map_or("squid", |(_, name)| name);
    Release {
        revision: release.revision,
        version: release.version.clone(),
        schema: release
            .schema
            .unwrap_or_else(|| before.map_or(1, |b| b.schema + step)),
        extensions: before.map_or(0, |b| b.extensions + step),
        ovn: before.and_then(|b| b.ovn.clone()).map(|(north, south)| {
            if newer {
                (format!("{north}1"), format!("{south}1"))
            } else {
                (north, south)
            }
        }),
        ceph: (release.snap == "microceph").then(|| (number.to_owned(), name.to_owned())),
        size: release.size.unwrap_or(100_000_000),
    }
}
