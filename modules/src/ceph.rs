//! What Ceph says of itself, and what of it matters.
//!
//! Never the top-level word: HEALTH_OK was seen with all placement groups unknown and seconds after a host lost power,
//! and a flag that we set ourselves makes a HEALTH_WARN. Codes are judged by class, beside hard facts: quorum, OSDs,
//! states of placement groups, a manager.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use crate::cmd::Cmd;

/// Without quorum commands block, perhaps for ever, and `--connect-timeout` doesn't cover all of it.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A `ceph` command with JSON output.
#[must_use]
pub fn command(args: &[&str]) -> Cmd {
    let head = ["/snap/bin/microceph.ceph", "--connect-timeout", "15"];
    Cmd::root(head.iter().chain(args).chain(&["-f", "json"]).copied()).timeout(TIMEOUT)
}

/// `ceph -s -f json`, as far as it matters. Parsed leniently: releases add fields.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    health: Health,
    quorum_names: Vec<String>,
    monmap: MonMap,
    osdmap: OsdMap,
    pgmap: PgMap,
    mgrmap: MgrMap,
}

#[derive(Clone, Debug, Deserialize)]
struct Health {
    #[serde(default)]
    checks: BTreeMap<String, Check>,
}

/// A health check that is raised.
#[derive(Clone, Debug, Deserialize)]
struct Check {
    severity: String,
    summary: Summary,
    #[serde(default)]
    muted: bool,
}

#[derive(Clone, Debug, Deserialize)]
struct Summary {
    message: String,
}

#[derive(Clone, Debug, Deserialize)]
struct MonMap {
    num_mons: usize,
}

#[derive(Clone, Debug, Deserialize)]
struct OsdMap {
    num_osds: u64,
    num_up_osds: u64,
    num_in_osds: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct PgMap {
    #[serde(default)]
    pgs_by_state: Vec<PgState>,
    num_pgs: u64,
    #[serde(default)]
    num_pools: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct PgState {
    state_name: String,
    count: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct MgrMap {
    available: bool,
    #[serde(default)]
    num_standbys: u64,
}

/// Codes that come with a refreshed member and go away again: wait for that.
const TRANSIENT: [&str; 12] = [
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

/// Codes under which nothing may be taken down.
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

/// Errors about kinds of keys, which point releases of 2026 raise after an upgrade: reported, and no reason to stop.
const ABOUT_KEYS: &str = "AUTH_";

/// Flags that keep Ceph from doing what a gate waits for.
const BAD_FLAGS: [&str; 9] = [
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

/// States of a placement group that don't hinder anything.
const FINE: [&str; 6] = [
    "active",
    "clean",
    "scrubbing",
    "deep",
    "snaptrim",
    "snaptrim_wait",
];

/// Figures of a cluster's storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Monitors in quorum, by name.
    pub quorum: Vec<String>,
    /// Monitors in all.
    pub mons: usize,
    /// OSDs in all, up, and in.
    pub osds: (u64, u64, u64),
    /// Placement groups in all.
    pub pgs: u64,
    /// Manager daemons that stand by.
    pub standby_mgrs: u64,
}

impl Status {
    /// The figures.
    #[must_use]
    pub fn figures(&self) -> Figures {
        Figures {
            quorum: self.quorum_names.clone(),
            mons: self.monmap.num_mons,
            osds: (
                self.osdmap.num_osds,
                self.osdmap.num_up_osds,
                self.osdmap.num_in_osds,
            ),
            pgs: self.pgmap.num_pgs,
            standby_mgrs: self.mgrmap.num_standbys,
        }
    }

    /// The names of the codes that are raised, muted ones left out.
    #[must_use]
    pub fn codes(&self) -> Vec<String> {
        self.health
            .checks
            .iter()
            .filter(|(_, check)| !check.muted)
            .map(|(code, _)| code.clone())
            .collect()
    }

    /// Everything that speaks against taking a member down, or against going on after one came back.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut add = |problem: String| problems.push(problem);
        let (quorum, mons) = (self.quorum_names.len(), self.monmap.num_mons);
        if quorum != mons {
            add(format!(
                "{quorum} of {mons} monitors are in quorum ({})",
                self.quorum_names.join(", ")
            ));
        }
        if !self.mgrmap.available {
            add(
                "no manager is active, so what Ceph says of placement groups may be old".to_owned(),
            );
        }
        let OsdMap {
            num_osds,
            num_up_osds,
            num_in_osds,
        } = self.osdmap;
        if num_up_osds != num_osds || num_in_osds != num_osds {
            add(format!(
                "of {num_osds} OSDs {num_up_osds} are up and {num_in_osds} in"
            ));
        }
        let counted: u64 = self
            .pgmap
            .pgs_by_state
            .iter()
            .map(|state| state.count)
            .sum();
        if counted != self.pgmap.num_pgs || (self.pgmap.num_pgs == 0 && self.pgmap.num_pools > 0) {
            add(format!(
                "the states of {counted} of {} placement groups are known",
                self.pgmap.num_pgs
            ));
        }
        for state in &self.pgmap.pgs_by_state {
            let clean = state.state_name.split('+').any(|word| word == "clean");
            if !clean || !state.state_name.split('+').all(|word| FINE.contains(&word)) {
                add(format!(
                    "{} placement groups are {}",
                    state.count, state.state_name
                ));
            }
        }
        for (code, check) in &self.health.checks {
            if !check.muted && counts(code, check) {
                add(format!("{code}: {}", check.summary.message));
            }
        }
        problems
    }
}

/// Whether a raised check speaks against going on.
fn counts(code: &str, check: &Check) -> bool {
    if code == "OSDMAP_FLAGS" {
        let flags = check
            .summary
            .message
            .split(" flag")
            .next()
            .unwrap_or_default();
        return flags
            .split(',')
            .any(|flag| BAD_FLAGS.contains(&flag.trim()));
    }
    let known = TRANSIENT.contains(&code) || BLOCKING.contains(&code);
    known || (check.severity == "HEALTH_ERR" && !code.starts_with(ABOUT_KEYS))
}

/// `ceph osd dump -f json`, as far as it matters.
#[derive(Clone, Debug, Deserialize)]
pub struct OsdDump {
    /// Flags of the whole cluster.
    #[serde(default)]
    flags_set: Vec<String>,
    /// Flags of hosts and other buckets, by name.
    #[serde(default)]
    crush_node_flags: BTreeMap<String, Vec<String>>,
}

impl OsdDump {
    /// Whether `noout` holds for this host, and whether it does because of the whole cluster.
    #[must_use]
    pub fn noout(&self, host: &str) -> (bool, bool) {
        let has = |flags: &[String]| flags.iter().any(|flag| flag == "noout");
        let global = has(&self.flags_set);
        (
            global
                || self
                    .crush_node_flags
                    .get(host)
                    .is_some_and(|flags| has(flags)),
            global,
        )
    }
}

/// `ceph osd tree -f json`.
#[derive(Clone, Debug, Deserialize)]
pub struct OsdTree {
    nodes: Vec<TreeNode>,
}

#[derive(Clone, Debug, Deserialize)]
struct TreeNode {
    id: i64,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    children: Vec<i64>,
    #[serde(default)]
    status: String,
}

impl OsdTree {
    /// The OSDs of a host: ids, and which of them are down.
    #[must_use]
    pub fn of_host(&self, host: &str) -> (Vec<i64>, Vec<i64>) {
        let host = self
            .nodes
            .iter()
            .find(|node| node.kind == "host" && node.name == host);
        let ids = host.map_or_else(Vec::new, |host| host.children.clone());
        let is_up = |id: &i64| {
            self.nodes
                .iter()
                .any(|node| node.id == *id && node.status == "up")
        };
        let down = ids.iter().copied().filter(|id| !is_up(id)).collect();
        (ids, down)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Ceph 18.2 printed in each situation, as captured from three real hosts.
    fn sample(name: &str) -> Status {
        let path = format!(
            "{}/tests/transcripts/ceph/{name}-status.json",
            env!("CARGO_MANIFEST_DIR")
        );
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn real_situations_are_judged() {
        let names = [
            "01-ok",
            "02-noout",
            "03-osd2-stopped-noout",
            "04-mon3-stopped",
            "05-back-noout",
            "06-host3-cut-5s",
            "07-host3-cut-27s",
            "08-link-back",
            "13-no-mgr-2s",
            "13-no-mgr-6s",
            "14-no-mgr-50s",
        ];
        let judged = names.map(|name| {
            let problems = sample(name).problems();
            let problems: String = problems.iter().map(|p| format!("\n    {p}")).collect();
            format!(
                "{name}{}",
                if problems.is_empty() {
                    "\n    fine".to_owned()
                } else {
                    problems
                }
            )
        });
        insta::assert_snapshot!(judged.join("\n"));
    }

    fn with_check(code: &str, severity: &str, message: &str, muted: bool) -> Vec<String> {
        let mut status = sample("01-ok");
        let check = Check {
            severity: severity.to_owned(),
            summary: Summary {
                message: message.to_owned(),
            },
            muted,
        };
        status.health.checks.insert(code.to_owned(), check);
        status.problems()
    }

    #[test]
    fn codes_are_judged_by_class() {
        assert!(with_check("OSDMAP_FLAGS", "HEALTH_WARN", "noout flag(s) set", false).is_empty());
        assert_eq!(
            with_check(
                "OSDMAP_FLAGS",
                "HEALTH_WARN",
                "noout,norecover flag(s) set",
                false
            )
            .len(),
            1
        );
        assert!(
            with_check(
                "OSD_FLAGS",
                "HEALTH_WARN",
                "1 OSDs or CRUSH {nodes, device-classes} have flags",
                false
            )
            .is_empty()
        );
        assert_eq!(
            with_check("OSD_FULL", "HEALTH_ERR", "1 full osd(s)", false).len(),
            1
        );
        assert!(with_check("OSD_FULL", "HEALTH_ERR", "1 full osd(s)", true).is_empty());
        assert!(with_check("POOL_APP_NOT_ENABLED", "HEALTH_WARN", "x", false).is_empty());
        assert!(with_check("AUTH_INSECURE_SERVICE_TICKETS", "HEALTH_ERR", "x", false).is_empty());
        assert_eq!(
            with_check("SOMETHING_NEW", "HEALTH_ERR", "x", false),
            ["SOMETHING_NEW: x"]
        );
    }

    #[test]
    fn health_ok_isn_t_health() {
        let mut status = sample("01-ok");
        status.pgmap.pgs_by_state = vec![PgState {
            state_name: "unknown".to_owned(),
            count: status.pgmap.num_pgs,
        }];
        assert!(status.codes().is_empty());
        assert_eq!(status.problems().len(), 1);
        status.pgmap.pgs_by_state.clear();
        assert_eq!(
            status.problems(),
            [format!(
                "the states of 0 of {} placement groups are known",
                status.pgmap.num_pgs
            )]
        );
    }

    #[test]
    fn noout_is_found_for_the_host_and_for_all() {
        let dump: OsdDump = serde_json::from_str(
            r#"{"flags_set":["sortbitwise"],"crush_node_flags":{"micro02":["noout"]}}"#,
        )
        .unwrap();
        assert_eq!(dump.noout("micro02"), (true, false));
        assert_eq!(dump.noout("micro01"), (false, false));
        let dump: OsdDump = serde_json::from_str(r#"{"flags_set":["noout"]}"#).unwrap();
        assert_eq!(dump.noout("micro01"), (true, true));
    }

    #[test]
    fn the_osds_of_a_host_are_found() {
        let tree: OsdTree = serde_json::from_str(
            r#"{"nodes":[{"id":-1,"name":"default","type":"root","children":[-3]},{"id":-3,"name":"m1","type":"host","children":[0,1]},
                {"id":0,"name":"osd.0","type":"osd","status":"up"},{"id":1,"name":"osd.1","type":"osd","status":"down"}],"stray":[]}"#,
        )
        .unwrap();
        assert_eq!(tree.of_host("m1"), (vec![0, 1], vec![1]));
        assert_eq!(tree.of_host("m9"), (vec![], vec![]));
    }
}
