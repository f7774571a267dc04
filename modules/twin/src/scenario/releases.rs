//! What the store has, unless a scenario says otherwise.

use crate::store::{Release, Store};

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

pub(super) fn first() -> Store {
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

/// The next tracks, for upgrades.
pub(super) fn next_tracks(store: &mut Store) {
    let text = str::to_owned;
    store.publish(
        "microceph",
        "tentacle/stable",
        Release {
            ceph: Some((text("20.2.4"), text("tentacle"))),
            ..release(1600, "20.2.4+snap5d0c7ae", 1)
        },
    );
    store.publish(
        "microovn",
        "26.03/stable",
        Release {
            ovn: Some((text("7.12.0"), text("21.5.0"))),
            ..release(800, "26.03.1+snapc8a1e40", 3)
        },
    );
    store.publish(
        "lxd",
        "6/stable",
        Release {
            extensions: 448,
            ..release(34000, "6.6-e1b2a4f", 78)
        },
    );
    store.publish("microcloud", "3/stable", release(1300, "3.0.1-71c5d0e", 3));
}

pub(super) fn second(store: &mut Store, bump: bool) {
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
