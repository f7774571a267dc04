//! Worlds to begin with.

use jiff::Timestamp;

use crate::ceph::Ceph;
use crate::lxd::{Instance, Node, Pool};
use crate::machine::Machine;
use crate::microcluster::Micro;
use crate::ovn::Ovn;
use crate::snapd::{Installed, Snapd};
use crate::store::{Release, Store};
use crate::world::World;

/// What a made-up cluster is like.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// How many members.
    pub members: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// What the calendar shows at the beginning.
    pub epoch: Timestamp,
    /// New revisions are in the channels.
    pub updates: bool,
    /// The new MicroOVN and MicroCloud have newer schemas in their databases, so that refreshed members wait for the others.
    pub schema_bump: bool,
    /// The instances; without them, a container a member.
    pub instances: Option<Vec<Instance>>,
}

/// The components with the channels that a new cluster follows.
const CHANNELS: [(&str, &str); 4] = [
    ("microceph", "squid/stable"),
    ("microovn", "24.03/stable"),
    ("lxd", "5.21/stable"),
    ("microcloud", "2/stable"),
];

/// Noon of a day in spring: an ordinary working day for a plan to play on.
const EPOCH: i64 = 1_775_044_800;

impl Default for Scenario {
    fn default() -> Self {
        let epoch = Timestamp::from_second(EPOCH).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            members: 3,
            seed: 1,
            epoch,
            updates: true,
            schema_bump: true,
            instances: None,
        }
    }
}

impl Scenario {
    /// A cluster of so many members with updates waiting, and all else as it comes.
    #[must_use]
    pub fn of(members: usize) -> Self {
        Self {
            members,
            ..Self::default()
        }
    }

    /// The names of the members.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        (1..=self.members).map(|n| format!("micro{n:02}")).collect()
    }

    /// The world.
    #[must_use]
    pub fn build(&self) -> World {
        let mut world = World::new(self.epoch, self.seed);
        world.store = first_releases();
        for (i, name) in self.names().into_iter().enumerate() {
            let snaps = CHANNELS.map(|(snap, channel)| {
                let revision = world.store.revision(snap, channel).unwrap_or_default();
                let version = world
                    .store
                    .release(snap, revision)
                    .map_or_else(String::new, |r| r.version.clone());
                let (tracking, cohort) = (channel.to_owned(), "+".to_owned());
                (
                    snap.to_owned(),
                    Installed {
                        revision,
                        version,
                        tracking,
                        cohort,
                        held: true,
                        active: true,
                    },
                )
            });
            let machine = Machine {
                address: format!("10.0.0.{}", 11 + i),
                link: true,
                power: true,
                frozen: false,
                turned: 0,
                boot_id: format!("b007b007-0000-4000-8000-{:012}", i + 1),
                curl: true,
                snapd: Snapd {
                    snaps: snaps.into(),
                    ..Snapd::default()
                },
            };
            world.members.insert(name, machine);
        }
        self.form_clusters(&mut world);
        if self.updates {
            second_releases(&mut world.store, self.schema_bump);
        }
        world
    }

    fn form_clusters(&self, world: &mut World) {
        let names = self.names();
        for (snap, port) in [
            ("microceph", 7443),
            ("microovn", 6443),
            ("microcloud", 9443),
        ] {
            world
                .micro
                .insert(snap.to_owned(), Micro::ready(port, &names));
        }
        let central = &names[..names.len().min(3)];
        let squid = ("19.2.0".to_owned(), "squid".to_owned());
        world.ceph = Ceph::placed(central, &names, &squid);
        world.ovn = Ovn::placed(central, ("7.3.0", "20.33.0"));
        world.lxd.nodes = names
            .iter()
            .map(|name| (name.clone(), Node::new((73, 402))))
            .collect();
        world.lxd.pools = ["ceph", "zfs"]
            .map(|driver| {
                let name = if driver == "ceph" { "remote" } else { "local" };
                let (driver, size) = (driver.to_owned(), 100 << 30);
                (name.to_owned(), Pool { driver, size })
            })
            .into();
        world.lxd.instances = self.instances.clone().unwrap_or_else(|| {
            let each = (1..).zip(&names);
            each.map(|(i, name)| Instance::container(&format!("c{i}"), name))
                .collect()
        });
    }
}

fn release(revision: u32, version: &str, schema: u32) -> Release {
    Release {
        revision,
        version: version.to_owned(),
        schema,
        extensions: 0,
        ovn: None,
        ceph: None,
        size: 100_000_000,
    }
}

fn first_releases() -> Store {
    let mut store = Store::default();
    let text = str::to_owned;
    store.publish(
        "microceph",
        "squid/stable",
        Release {
            ceph: Some((text("19.2.0"), text("squid"))),
            ..release(1500, "19.2.0+snap3ac2a9b", 1)
        },
    );
    store.publish(
        "microovn",
        "24.03/stable",
        Release {
            ovn: Some((text("7.3.0"), text("20.33.0"))),
            ..release(700, "24.03.2+snapa2c59c1", 1)
        },
    );
    store.publish(
        "lxd",
        "5.21/stable",
        Release {
            extensions: 402,
            ..release(33100, "5.21.3-c5ae129", 73)
        },
    );
    store.publish("microcloud", "2/stable", release(1200, "2.1.0-3e8b183", 1));
    store
}

fn second_releases(store: &mut Store, bump: bool) {
    let text = str::to_owned;
    let schema = if bump { 2 } else { 1 };
    let ovn = if bump {
        ("7.3.1", "20.33.1")
    } else {
        ("7.3.0", "20.33.0")
    };
    store.publish(
        "microceph",
        "squid/stable",
        Release {
            ceph: Some((text("19.2.3"), text("squid"))),
            ..release(1501, "19.2.3+snap9fe2d1b", 1)
        },
    );
    store.publish(
        "microovn",
        "24.03/stable",
        Release {
            ovn: Some((text(ovn.0), text(ovn.1))),
            ..release(701, "24.03.6+snapb7d1f02", schema)
        },
    );
    store.publish(
        "lxd",
        "5.21/stable",
        Release {
            extensions: 433,
            ..release(33110, "5.21.4-8a3cf61", 73)
        },
    );
    store.publish(
        "microcloud",
        "2/stable",
        release(1210, "2.1.1-9fd50fa", schema),
    );
}
