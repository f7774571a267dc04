//! Health codes by class.
//!
//! The classes follow Ceph's own page of health checks (`doc/rados/operations/health-checks.rst`) and, for the codes about
//! keys, `doc/security/CVE-2025-30156.rst`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Codes that are raised, with their counts.
pub type Codes = BTreeMap<String, u64>;

/// A health check that is raised.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Check {
    pub(super) severity: String,
    pub(super) summary: Summary,
    #[serde(default)]
    pub(super) muted: bool,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Summary {
    pub(super) message: String,
    #[serde(default)]
    pub(super) count: u64,
}

/// What a raised check means for a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// It comes with a refreshed member and goes away again: wait for that.
    Passing,
    /// Under it nothing may be taken down.
    Blocking,
    /// It was there before, or comes with every upgrade: no reason to stop.
    Known,
    /// It wasn't there before, or not as often.
    New,
}

const PASSING: [&str; 12] = [
    "FS_DEGRADED",
    "MDS_INSUFFICIENT_STANDBY",
    "MDS_UP_LESS_THAN_MAX",
    "MGR_DOWN",
    "MON_DOWN",
    "OBJECT_MISPLACED",
    "OSD_DOWN",
    "OSD_HOST_DOWN",
    "PG_AVAILABILITY",
    "PG_DEGRADED",
    "SLOW_OPS",
    "TOO_FEW_OSDS",
];

const BLOCKING: [&str; 12] = [
    "MDS_ALL_DOWN",
    "MDS_DAMAGE",
    "MON_CLOCK_SKEW",
    "MON_DISK_CRIT",
    "OBJECT_UNFOUND",
    "OSD_BACKFILLFULL",
    "OSD_FULL",
    "OSD_NEARFULL",
    "OSD_SCRUB_ERRORS",
    "PG_BACKFILL_FULL",
    "PG_DAMAGED",
    "POOL_FULL",
];

/// Flags, which are judged by name; cues of an upgrade that is nearly over; scrubs, which are late while others restart.
const EXPECTED: [&str; 5] = [
    "DAEMON_OLD_VERSION",
    "OSD_FLAGS",
    "OSD_UPGRADE_FINISHED",
    "PG_NOT_DEEP_SCRUBBED",
    "PG_NOT_SCRUBBED",
];

/// Messages about kinds of keys, some of them errors, which point releases of 2026 raise after an upgrade: reported, and no
/// reason to stop.
const ABOUT_KEYS: &str = "AUTH_";

/// Flags that keep Ceph from doing what a gate waits for.
const HINDERING: [&str; 9] = [
    "full",
    "nobackfill",
    "nodown",
    "noin",
    "norebalance",
    "norecover",
    "noup",
    "pauserd",
    "pausewr",
];

/// Whether a flag keeps Ceph from doing what a gate waits for.
pub(super) fn hinders(flag: &str) -> bool {
    HINDERING.contains(&flag)
}

/// The class of a raised check. `since` are the codes that were raised before.
pub(super) fn class(code: &str, check: &Check, since: Option<&Codes>) -> Class {
    if code == "OSDMAP_FLAGS" {
        let flags = check
            .summary
            .message
            .split(" flag")
            .next()
            .unwrap_or_default();
        let bad = flags.split(',').any(|flag| hinders(flag.trim()));
        return if bad { Class::Blocking } else { Class::Known };
    }
    if PASSING.contains(&code) {
        return Class::Passing;
    }
    if EXPECTED.contains(&code) || code.starts_with(ABOUT_KEYS) {
        return Class::Known;
    }
    if BLOCKING.contains(&code) || check.severity == "HEALTH_ERR" {
        return Class::Blocking;
    }
    match since {
        Some(codes)
            if codes
                .get(code)
                .is_none_or(|count| check.summary.count > *count) =>
        {
            Class::New
        }
        _ => Class::Known,
    }
}
