//! What each release of a product has: flags, API extensions, what its summaries tell. One table, from the products' own
//! sources; the twin's programs ask it and nothing else.

#[cfg(test)]
mod samples;

/// Which releases: from the first version on, and before the second if there is one.
type Span = (&'static str, &'static str);

/// A trait with the product that has it, in which releases, and who says so.
pub struct Row {
    pub(crate) what: Trait,
    pub(crate) product: &'static str,
    /// In which releases.
    pub(crate) spans: &'static [(&'static str, &'static str)],
    /// Upstream's file, with tag, branch or commit.
    pub source: &'static str,
}

/// A row is a trait, the product that has it, in which releases, and who says so.
macro_rules! traits {
    ($($(#[doc = $doc:literal])+ $what:ident: $product:literal $spans:expr; $source:literal)+) => {
        /// Something that some releases have and others haven't.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Trait {$(
            $(#[doc = $doc])+
            $what,
        )+}

        /// MicroCeph's versions are Ceph's: its own commands go by the month in which it was built. The branches quincy and reef
        /// had their last commits in 2023-12 and 2024-11.
        pub const TABLE: &[Row] = &[$(Row {
            what: Trait::$what,
            product: $product,
            spans: &$spans,
            source: $source,
        }),+];
    };
}

traits! {
    /// `microceph cluster list` takes `-f json`.
    CephListFormat: "microceph" [("2025.11", "")];
        "microceph ffe97e7 (squid, 2025-11-04): microceph/cmd/microceph/cluster_list.go"
    /// `microceph waitready`.
    CephWaitready: "microceph" [("2026.3", "")];
        "microceph 941640f (squid, 2026-03-18): microceph/cmd/microceph/waitready.go"
    /// `microovn status` has a summary of the databases, and members answer what schema they expect.
    OvnSchemas: "microovn" [("24.3", "")];
        "microovn branch-22.03 and branch-24.03: microovn/cmd/microovn/status.go"
    /// `microovn waitready`.
    OvnWaitready: "microovn" [("24.3", "")];
        "microovn branch-24.03: microovn/cmd/microovn/waitready.go"
    /// Certificates are told with their dates: `microovn certificates list` has all, `microovn status` the expired ones.
    OvnDates: "microovn" [("26.3", "")];
        "microovn branch-26.03: microovn/cmd/microovn/status.go, certificates_list.go"
    /// `GET /1.0/cluster/members/NAME/state`.
    LxdMemberState: "lxd" [("5.13", "")];
        "lxd 5.13: shared/version/api.go (cluster_member_state)"
    /// `lxd sql` takes `--format`.
    LxdSqlFormat: "lxd" [("5.21.3", "6"), ("6.3", "")];
        "lxd 5.21.3, 6.3: lxd/main_sql.go"
    /// A daemon that is behind waits for the others, as one that is ahead does, and both count as blocked. Before, it
    /// exited and was started again, and one that was ahead counted as online.
    LxdAligns: "lxd" [("5.21.4", "6"), ("6.4", "")];
        "lxd 5.21.4, 6.4: lxd/db/cluster/open.go, lxd/db/node.go"
    /// `lxd waitready` takes `--network` and `--storage`.
    LxdWaitParts: "lxd" [("5.21.4", "6"), ("6.4", "")];
        "lxd 5.21.4, 6.4: lxd/main_waitready.go"
    /// A restore takes `"mode": "skip"`. Before, it ignored any mode.
    LxdRestoreSkip: "lxd" [("5.21.4", "6"), ("6.4", "")];
        "lxd 5.21.4, 6.4: lxd/api_cluster.go (restoreClusterMember)"
    /// Voters are called `database-voter`, and the leader isn't called a voter beside.
    LxdVoterRole: "lxd" [("6.7", "")];
        "lxd 6.7: lxd/db/node.go"
    /// An evacuation looks at disks that are in no pool. Before, it crashed over them.
    LxdDisksWithoutPool: "lxd" [("6.8", "")];
        "lxd 6.8: lxd/instance/drivers/driver_common.go (CanMigrate)"
    /// An evacuation takes `force`, `lxc` asks by `--yes`, and an evacuated member has no part in the database.
    LxdEvacuationForce: "lxd" [("6.9", "")];
        "lxd 6.9: shared/version/api.go (clustering_evacuation_force), lxc/cluster.go"
    /// `GET /1.0/status`.
    CloudStatus: "microcloud" [("2.1", "")];
        "microcloud 2.1.0: api/status.go; v1-edge has none"
    /// `snap debug api`.
    SnapDebugApi: "snapd" [("2.64", "")];
        "snapd 2.64: cmd/snap/cmd_debug_api.go"
}

/// LXD's API extensions that tell releases apart, of hundreds (lxd 6.9, `shared/version/api.go`).
pub(crate) const EXTENSIONS: &[(&str, &[Span])] = &[
    ("clustering_evacuation", &[("4.18", "")]),
    ("clustering_evacuation_live", &[("4.23", "")]),
    ("clustering_evacuation_mode", &[("5.1", "")]),
    ("cluster_member_state", &[("5.13", "")]),
    ("cluster_healing", &[("5.19", "")]),
    (
        "clustering_restore_skip_mode",
        &[("5.21.4", "6"), ("6.4", "")],
    ),
    ("instance_placement_groups", &[("6.6", "")]),
    ("clustering_evacuation_force", &[("6.9", "")]),
];

/// The snapd that a release's `snapcraft.yaml` assumes, where it matters: LXD 6.8 and 6.9 (tags), MicroOVN's branches 24.03
/// and 26.03.
const ASSUMED: &[(&str, &str, &str)] = &[
    ("lxd", "6.9", "2.75"),
    ("lxd", "6.8", "2.64"),
    ("lxd", "5.0", "2.39"),
    ("microovn", "26.3", "2.73"),
    ("microovn", "22.3", "2.59"),
];

/// The snapd that a release wants at least.
pub(crate) fn assumed_snapd(snap: &str, version: &str) -> Option<&'static str> {
    let version = numbers(version);
    let has = |(name, from, _): &&(&str, &str, &str)| *name == snap && version >= numbers(from);
    ASSUMED.iter().find(has).map(|(.., snapd)| *snapd)
}

/// The numbers of a version: `5.21.3-c5ae129` is 5, 21, 3.
pub(crate) fn numbers(version: &str) -> Vec<u32> {
    let number = version.split(['+', '-', '~']).next().unwrap_or_default();
    number.split('.').map_while(|n| n.parse().ok()).collect()
}

/// Whether a version lies in one of these spans.
fn within(version: &[u32], spans: &[Span]) -> bool {
    spans.iter().any(|(from, before)| {
        version >= numbers(from).as_slice()
            && (before.is_empty() || version < numbers(before).as_slice())
    })
}

/// LXD's API extensions at a version.
pub(crate) fn extensions(version: &str) -> Vec<&'static str> {
    let version = numbers(version);
    let has = |(_, spans): &&(&str, &[Span])| within(&version, spans);
    EXTENSIONS
        .iter()
        .filter(has)
        .map(|(name, _)| *name)
        .collect()
}

impl Trait {
    fn row(self) -> Option<&'static Row> {
        TABLE.iter().find(|row| row.what == self)
    }

    /// The snap whose releases have it or not, or `snapd`.
    pub(crate) fn product(self) -> Option<&'static str> {
        Some(self.row()?.product)
    }

    pub(crate) fn is_in(self, version: &str) -> bool {
        self.row()
            .is_some_and(|row| within(&numbers(version), row.spans))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_fall_into_the_spans_of_their_series() {
        let spans = &[("5.21.4", "6"), ("6.4", "")];
        for (version, is) in [
            ("5.0.3-ffb17cf", false),
            ("5.21.3-c5ae129", false),
            ("5.21.4-8a3cf61", true),
            ("5.21.7", true),
            ("6.1", false),
            ("6.3-abc", false),
            ("6.4", true),
            ("6.9-ab8fad2", true),
            ("", false),
            ("git-abc", false),
        ] {
            assert_eq!(within(&numbers(version), spans), is, "{version}");
        }
    }

    #[test]
    fn every_trait_stands_in_the_table_once_with_its_source() {
        for (i, row) in TABLE.iter().enumerate() {
            assert!(row.source.starts_with(row.product), "{}", row.source);
            assert!(!TABLE[..i].iter().any(|other| other.what == row.what));
        }
    }
}
