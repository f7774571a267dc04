//! What differs between the versions of the products that lockstep meets, and how it is met: one table, which the book shows.
//!
//! Nothing decides by it. Ops ask the product that runs: an API extension, the error of a flag that isn't known, a summary
//! that isn't there. A version number says less, since a fix is carried into several series.

/// Something that some versions of a product do otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// The product.
    pub product: &'static str,
    /// The versions in which it is so.
    pub versions: &'static str,
    /// What is otherwise there.
    pub what: &'static str,
    /// How it is noticed, and what is done then.
    pub met: &'static str,
    /// Upstream's file that says so.
    pub source: &'static str,
    /// The test that shows it: the file that it is in, and its name.
    pub test: (&'static str, &'static str),
}

/// All of them, by product.
pub const DIFFERENCES: &[Difference] = &[
    Difference {
        product: "MicroCeph",
        versions: "quincy, reef, squid before November 2025",
        what: "`cluster list` takes no `-f json`",
        met: "the flag isn't known: the table is read by its columns, and one that is drawn otherwise is refused with its line",
        source: "microceph: `microceph/cmd/microceph/cluster_list.go` (quincy, reef; ffe97e7)",
        test: (
            "modules/src/products/microcluster/table.rs",
            "the_list_of_reef_is_read_by_its_columns",
        ),
    },
    Difference {
        product: "MicroOVN",
        versions: "22.03",
        what: "`status` has no summary of the databases: their schemas are converted when a server starts, by nobody's leave",
        met: "a text that ends with the members, at least one, has nothing to convert",
        source: "microovn: `microovn/cmd/microovn/status.go` (branch-22.03)",
        test: (
            "modules/src/ops/microovn/wait.rs",
            "releases_that_know_no_schemas_have_nothing_to_convert",
        ),
    },
    Difference {
        product: "MicroOVN",
        versions: "22.03, 24.03, 25.03",
        what: "nothing shows when certificates expire; 26.03 shows it for the member that is asked",
        met: "the files are listed and read by `openssl`, on each member",
        source: "microovn: `microovn/cmd/microovn/certificates_list.go` (all branches; 8d0bf03)",
        test: (
            "modules/src/ops/microovn/certificates.rs",
            "every_track_lists_its_certificates",
        ),
    },
    Difference {
        product: "LXD",
        versions: "before 5.21.4 and 6.4",
        what: "`waitready` has no `--network` and `--storage`",
        met: "the flags aren't known: the daemon alone is waited for, and `lxd.wait` names the members",
        source: "lxd: `lxd/main_waitready.go`",
        test: (
            "modules/src/contract/cmd.rs",
            "an_unknown_flag_is_distinguished_from_other_failures",
        ),
    },
    Difference {
        product: "LXD",
        versions: "before 5.21.3 and 6.3",
        what: "`sql` prints no JSON",
        met: "the flag isn't known: members that hold others are known by their states alone",
        source: "lxd: `lxd/main_sql.go`",
        test: (
            "modules/src/contract/cmd.rs",
            "an_unknown_flag_is_distinguished_from_other_failures",
        ),
    },
    Difference {
        product: "LXD",
        versions: "before 5.21.4 and 6.4",
        what: "a restore ignores `\"mode\": \"skip\"`, and moves everything home",
        met: "without the extension `clustering_restore_skip_mode` what an evacuation left behind is moved one by one",
        source: "lxd: `lxd/api_cluster.go`, `shared/version/api.go`",
        test: (
            "tests/twin/evacuate.rs",
            "what_was_left_behind_is_moved_one_by_one",
        ),
    },
    Difference {
        product: "MicroCloud",
        versions: "1",
        what: "there is no `status`",
        met: "404, or a command that isn't known: the gates of the services have asked each of them",
        source: "microcloud: `api/status.go` (v2-edge; v1-edge has none)",
        test: (
            "tests/twin/evidence.rs",
            "members_without_curl_are_passed_over",
        ),
    },
    Difference {
        product: "snapd",
        versions: "before 2.64",
        what: "there is no `snap debug api`",
        met: "curl is used where a member has it, in every version",
        source: "snapd: `cmd/snap/cmd_debug_api.go`",
        test: (
            "tests/twin/preflight.rs",
            "a_healthy_cluster_passes_every_check",
        ),
    },
];
