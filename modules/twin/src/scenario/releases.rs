//! What the store has, unless a scenario says otherwise.

use lockstep_modules::contract::near::hint;
use serde::{Deserialize, Serialize};

use crate::dialects;
use crate::store::{Release, Store};

/// The MicroCloud that a cluster was installed as: which tracks its members follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Set {
    /// MicroCloud 1 on its own track, with the LTS tracks of its time.
    One,
    /// MicroCloud 1 as its guide had it installed: without a channel, which is `latest/stable` (microcloud v1-edge,
    /// `doc/how-to/install.rst`).
    OneLatest,
    /// MicroCloud 2 (microcloud, `doc/how-to/update_upgrade.md`).
    #[default]
    Two,
    /// MicroCloud 3 (microcloud, `doc/how-to/install.md`).
    Three,
}

impl Set {
    /// All of them, the oldest first.
    pub const ALL: [Self; 4] = [Self::One, Self::OneLatest, Self::Two, Self::Three];

    /// As it is written in `twin:3@1` and in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::One => "1",
            Self::OneLatest => "1-latest",
            Self::Two => "2",
            Self::Three => "3",
        }
    }

    pub(super) fn channel(self, snap: &str) -> &'static str {
        match (self, snap) {
            (Self::OneLatest, _) => "latest/stable",
            (Self::One, "microceph") => "reef/stable",
            (Self::One, "microovn") => "22.03/stable",
            (Self::One, "lxd") => "5.0/stable",
            (Self::One, _) => "1/stable",
            (_, "microceph") => "squid/stable",
            (_, "microovn") => "24.03/stable",
            (Self::Two, "lxd") => "5.21/stable",
            (Self::Three, "lxd") => "6/stable",
            (Self::Two, _) => "2/stable",
            (Self::Three, _) => "3/stable",
        }
    }
}

impl TryFrom<String> for Set {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl std::str::FromStr for Set {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = Self::ALL.map(Self::name);
        Self::ALL
            .into_iter()
            .find(|set| set.name() == text)
            .ok_or_else(|| {
                format!(
                    "there is no MicroCloud {text:?}{}; there are {}",
                    hint(text, &names),
                    names.join(", ")
                )
            })
    }
}

impl From<Set> for String {
    fn from(set: Set) -> Self {
        set.name().to_owned()
    }
}

/// A revision in a channel.
struct Row {
    snap: &'static str,
    channel: &'static str,
    revision: u32,
    version: &'static str,
    schema: u32,
    /// Of LXD.
    extensions: u32,
    /// Of MicroCeph.
    built: &'static str,
}

const fn row(
    snap: &'static str,
    channel: &'static str,
    revision: u32,
    version: &'static str,
    schema: u32,
) -> Row {
    Row {
        snap,
        channel,
        revision,
        version,
        schema,
        extensions: 0,
        built: "",
    }
}

const fn ceph(
    channel: &'static str,
    revision: u32,
    version: &'static str,
    built: &'static str,
) -> Row {
    Row {
        built,
        ..row("microceph", channel, revision, version, 1)
    }
}

const fn lxd(
    channel: &'static str,
    revision: u32,
    version: &'static str,
    (schema, extensions): (u32, u32),
) -> Row {
    Row {
        extensions,
        ..row("lxd", channel, revision, version, schema)
    }
}

/// What clusters are installed from. Of a channel that is here twice the later one is what it has; the earlier one is
/// for members that have been left behind. LXD's schemas and counts of API extensions are those of its tags.
const FIRST: &[Row] = &[
    ceph("quincy/stable", 1000, "17.2.7+snapfba8b5fd2b", "2023-12"),
    ceph("reef/stable", 1300, "18.2.4+snapc9f2b08c92", "2024-11"),
    ceph("latest/stable", 1290, "18.2.4+snapc9f2b08c92", "2024-11"),
    ceph("squid/stable", 1450, "19.2.0+snap2a7e1c0", "2025-06"),
    ceph("squid/stable", 1500, "19.2.0+snap3ac2a9b", "2025-12"),
    ceph("tentacle/stable", 1600, "20.2.4+snap5d0c7ae", "2026-07"),
    row("microovn", "22.03/stable", 600, "22.03.3+snapa29a1ed7a0", 1),
    row(
        "microovn",
        "latest/stable",
        610,
        "22.03.3+snapa29a1ed7a0",
        1,
    ),
    row("microovn", "24.03/stable", 700, "24.03.2+snapa2c59c1", 1),
    row("microovn", "25.03/stable", 750, "25.03.1+snap9e04b6d", 2),
    row("microovn", "26.03/stable", 800, "26.03.1+snapc8a1e40", 3),
    lxd("5.0/stable", 27049, "5.0.3-ffb17cf", (60, 336)),
    lxd("latest/stable", 28373, "5.21.1-d46c406", (73, 382)),
    lxd("5.21/stable", 33100, "5.21.3-c5ae129", (73, 402)),
    lxd("6/stable", 34000, "6.6-e1b2a4f", (78, 448)),
    row("microcloud", "1/stable", 900, "1.1-04a1c49", 1),
    row("microcloud", "latest/stable", 910, "1.1-04a1c49", 1),
    row("microcloud", "2/stable", 1200, "2.1.0-3e8b183", 1),
    row("microcloud", "3/stable", 1300, "3.0.1-71c5d0e", 3),
];

/// What came since into the channels that members follow.
const SECOND: &[Row] = &[
    ceph("quincy/stable", 1001, "17.2.8+snap5c1f0a7e31", "2023-12"),
    ceph("reef/stable", 1301, "18.2.7+snap0f6a51d3c8", "2024-11"),
    ceph("latest/stable", 1291, "18.2.7+snap0f6a51d3c8", "2024-11"),
    ceph("squid/stable", 1501, "19.2.3+snap9fe2d1b", "2026-01"),
    ceph("tentacle/stable", 1601, "20.2.5+snap1b7790c", "2026-08"),
    row("microovn", "22.03/stable", 601, "22.03.8+snap6b12c0f9e4", 2),
    row(
        "microovn",
        "latest/stable",
        611,
        "22.03.8+snap6b12c0f9e4",
        2,
    ),
    row("microovn", "24.03/stable", 701, "24.03.6+snapb7d1f02", 2),
    row("microovn", "25.03/stable", 751, "25.03.3+snap41d7a90", 3),
    row("microovn", "26.03/stable", 801, "26.03.2+snap7c30e5b", 4),
    lxd("5.0/stable", 31333, "5.0.4-497fe1e", (60, 340)),
    lxd("latest/stable", 29469, "5.21.2-22a3e5b", (73, 387)),
    lxd("5.21/stable", 33110, "5.21.4-8a3cf61", (73, 433)),
    lxd("6/stable", 34100, "6.9-ab8fad2", (87, 475)),
    row("microcloud", "1/stable", 901, "1.1.2-5a1f7b6", 2),
    row("microcloud", "latest/stable", 911, "1.1.2-5a1f7b6", 2),
    row("microcloud", "2/stable", 1210, "2.1.1-9fd50fa", 2),
    row("microcloud", "3/stable", 1310, "3.1-0b64f2a", 4),
];

/// What OVN's databases are like in each of its releases, northbound and southbound; 25.03 and 26.03 as seen on real ones.
const OVN: [(&str, (&str, &str)); 4] = [
    ("22.03", ("6.1.0", "20.21.0")),
    ("24.03", ("7.3.0", "20.33.0")),
    ("25.03", ("7.11.0", "20.41.0")),
    ("26.03", ("7.18.0", "21.8.0")),
];

/// Names of Ceph's releases, by their number.
const CEPH: [(&str, &str); 5] = [
    ("17", "quincy"),
    ("18", "reef"),
    ("19", "squid"),
    ("20", "tentacle"),
    ("21", "umbrella"),
];

/// The release of Ceph that is in a MicroCeph: its number and its name.
pub(super) fn ceph_of(version: &str) -> (String, String) {
    let number = version.split(['+', '-']).next().unwrap_or_default();
    let major = number.split('.').next().unwrap_or_default();
    let known = CEPH.iter().find(|(n, _)| *n == major);
    let name = known.map_or("squid", |(_, name)| name);
    (number.to_owned(), name.to_owned())
}

impl Row {
    fn release(&self) -> Release {
        let ovn = OVN.iter().find(|(v, _)| self.version.starts_with(v));
        let ovn = ovn.filter(|_| self.snap == "microovn");
        Release {
            revision: self.revision,
            version: self.version.to_owned(),
            schema: self.schema,
            extensions: self.extensions,
            ovn: ovn.map(|(_, (north, south))| ((*north).to_owned(), (*south).to_owned())),
            ceph: (self.snap == "microceph").then(|| ceph_of(self.version)),
            size: 100_000_000,
            built: self.built.to_owned(),
        }
    }
}

/// The store in which clusters are installed.
pub(super) fn first() -> Store {
    let mut store = Store::default();
    for row in FIRST {
        store.publish(row.snap, row.channel, row.release());
    }
    store
}

/// What came since into a channel. With `bump`, the new MicroOVN and MicroCloud have newer schemas in their databases.
pub(super) fn second(store: &mut Store, snap: &str, channel: &str, bump: bool) {
    let Some(row) = SECOND
        .iter()
        .find(|r| (r.snap, r.channel) == (snap, channel))
    else {
        return;
    };
    let mut release = row.release();
    if snap != "lxd" {
        if bump {
            release.ovn = release
                .ovn
                .map(|(north, south)| (newer(&north), newer(&south)));
        } else if let Some(before) = store.current(snap, channel) {
            release.schema = before.schema;
        }
    }
    store.publish(snap, channel, release);
}

/// The schema after this one: `7.3.1` after `7.3.0`.
pub(super) fn newer(schema: &str) -> String {
    let numbers = dialects::numbers(schema);
    let last = numbers.last().map_or(1, |last| last + 1);
    let all = numbers.iter().rev().skip(1).rev().chain([&last]);
    let all: Vec<String> = all.map(u32::to_string).collect();
    all.join(".")
}

#[cfg(test)]
mod tests {
    use lockstep_modules::contract::component::Component;

    use super::*;

    #[test]
    fn every_set_has_a_release_and_its_successor_in_every_channel() {
        let store = first();
        for set in Set::ALL {
            for snap in Component::ALL.map(Component::snap) {
                let channel = set.channel(snap);
                let before = store.revision(snap, channel).unwrap();
                let mut later = store.clone();
                second(&mut later, snap, channel, true);
                assert!(later.revision(snap, channel).unwrap() > before, "{snap}");
            }
        }
    }

    #[test]
    fn a_set_is_named_as_it_is_typed_and_a_near_miss_is_told() {
        for set in Set::ALL {
            assert_eq!(set.name().parse(), Ok(set));
        }
        let error = "1-lates".parse::<Set>().unwrap_err();
        assert!(error.contains("1-latest"), "{error}");
    }
}
