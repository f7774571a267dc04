use super::codes::{Check, Severity, Summary};
use super::status::{Aside, PgState};
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
        let problems = sample(name).problems(None, Aside::default());
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

/// What speaks against continuing while one code is raised, beside the codes that were there before.
fn with_check(code: &str, severity: Severity, muted: bool, since: Option<&Codes>) -> Vec<String> {
    let mut status = sample("01-ok");
    let check = Check {
        severity,
        summary: Summary {
            message: "what Ceph says".to_owned(),
            count: 2,
        },
        muted,
    };
    status.health.checks.insert(code.to_owned(), check);
    status.problems(since, Aside::default())
}

#[test]
fn codes_are_judged_by_what_they_mean() {
    use Severity::{Err, Warn};
    let before = |count| {
        Codes::from([
            ("RECENT_CRASH".to_owned(), count),
            ("SOMETHING".to_owned(), count),
        ])
    };
    let fine = [
        ("OSDMAP_FLAGS", Warn, None),
        ("OSD_FLAGS", Warn, None),
        ("POOL_APP_NOT_ENABLED", Warn, None),
        // Errors that are not about data.
        ("MGR_MODULE_ERROR", Err, None),
        ("AUTH_BAD_CAPS", Err, None),
        ("AUTH_INSECURE_SERVICE_TICKETS", Err, Some(before(0))),
        ("RECENT_CRASH", Warn, Some(before(2))),
        ("SOMETHING", Warn, Some(before(2))),
    ];
    for (code, severity, since) in fine {
        let problems = with_check(code, severity, false, since.as_ref());
        assert!(problems.is_empty(), "{problems:?}");
    }
    assert!(with_check("OSD_FULL", Err, true, None).is_empty());
    let stops = [
        ("OSD_FULL", Err, None),
        ("MON_DOWN", Warn, None),
        ("SOMETHING", Err, None),
        ("SOMETHING", Warn, Some(before(1))),
        ("RECENT_CRASH", Warn, Some(before(1))),
        ("MGR_MODULE_ERROR", Err, Some(before(1))),
    ];
    let reported = stops.map(|(code, severity, since)| {
        with_check(code, severity, false, since.as_ref()).join("; ")
    });
    insta::assert_snapshot!(reported.join("\n"));
}

#[test]
fn codes_that_are_no_reason_to_stop_come_with_what_to_do() {
    let mut status = sample("01-ok");
    let raise = [
        (
            "AUTH_INSECURE_CLIENT_KEY_TYPE",
            Severity::Warn,
            "7 auth client entities with insecure key types",
        ),
        (
            "AUTH_INSECURE_SERVICE_KEY_TYPE",
            Severity::Err,
            "9 auth service entities with insecure key types",
        ),
        (
            "MGR_MODULE_ERROR",
            Severity::Err,
            "Module 'dashboard' has failed: No module named 'smb'",
        ),
        ("OSDMAP_FLAGS", Severity::Warn, "noout flag(s) set"),
        ("SOMETHING", Severity::Warn, "new in this release"),
    ];
    for (code, severity, message) in raise {
        let summary = Summary {
            message: message.to_owned(),
            count: 1,
        };
        let check = Check {
            severity,
            summary,
            muted: false,
        };
        status.health.checks.insert(code.to_owned(), check);
    }
    assert!(status.problems(None, Aside::default()).is_empty());
    insta::assert_snapshot!(notes(&status.raised()).join("\n"));
}

#[test]
fn health_ok_is_not_health() {
    let mut status = sample("01-ok");
    status.pgmap.pgs_by_state = vec![PgState {
        state_name: "unknown".to_owned(),
        count: status.pgmap.num_pgs,
    }];
    assert!(status.codes().is_empty());
    assert_eq!(status.problems(None, Aside::default()).len(), 1);
    status.pgmap.pgs_by_state.clear();
    assert_eq!(
        status.problems(None, Aside::default()),
        [format!(
            "the states of 0 of {} placement groups are known",
            status.pgmap.num_pgs
        )]
    );
}

#[test]
fn noout_is_found_for_the_host_and_for_all() {
    let dump: OsdDump = serde_json::from_str(
        r#"{"epoch":812,"flags_set":["sortbitwise"],"crush_node_flags":{"micro02":["noout"]},"require_osd_release":"squid","osds":[]}"#,
    )
    .unwrap();
    assert_eq!(dump.noout("micro02"), (true, false));
    assert_eq!(dump.noout("micro01"), (false, false));
    let dump: OsdDump = serde_json::from_str(
        r#"{"epoch":812,"flags_set":["noout"],"require_osd_release":"squid","osds":[]}"#,
    )
    .unwrap();
    assert_eq!(dump.noout("micro01"), (true, true));
}

#[test]
fn flags_are_grouped_by_whom_they_are_set_for() {
    let dump: OsdDump = serde_json::from_str(
        r#"{"epoch":812,"flags_set":["noout","norecover","sortbitwise"],"crush_node_flags":{"micro02":["noout","noup"]},"require_osd_release":"squid","osds":[]}"#,
    )
    .unwrap();
    let all = [dump.hindering_flags(), dump.noout_is_set()].concat();
    let expected = [
        "norecover is set for the whole cluster",
        "noup is set for micro02",
        "noout is set for the whole cluster",
        "noout is set for micro02",
    ];
    assert_eq!(all, expected);
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

#[test]
fn an_osd_may_have_no_placement_groups() {
    let groups: Groups = serde_json::from_str(r#"{"pg_ready":true}"#).unwrap();
    assert_eq!(groups.unreported_since(7), (0, 0));
    let groups: Groups = serde_json::from_str(
        r#"{"pg_ready":true,"pg_stats":[{"reported_epoch":6},{"reported_epoch":7}]}"#,
    )
    .unwrap();
    assert_eq!(groups.unreported_since(7), (1, 2));
}

#[test]
fn what_monitors_conclude_from_groups_yields_to_the_manager() {
    let late = r#"{"health":{"checks":{"PG_AVAILABILITY":{"severity":"HEALTH_WARN","summary":{"message":"Reduced data availability: 1 pg inactive","count":1}}}},
        "quorum_names":["a"],"monmap":{"num_mons":1},"osdmap":{"num_osds":1,"num_up_osds":1,"num_in_osds":1},
        "pgmap":{"pgs_by_state":[{"state_name":"active+clean","count":1}],"num_pgs":1},"mgrmap":{"available":true,"num_standbys":0}}"#;
    let problems = |stat: Option<&str>| {
        let mut status: Status = serde_json::from_str(late).unwrap();
        if let Some(state) = stat {
            let stat = format!(
                r#"{{"pg_summary":{{"num_pg_by_state":[{{"name":"{state}","num":1}}],"num_pgs":1}}}}"#
            );
            status.update(serde_json::from_str(&stat).unwrap());
        }
        status.problems(None, Aside::default())
    };
    let code = "PG_AVAILABILITY: Reduced data availability: 1 pg inactive";
    assert_eq!(problems(None), [code]);
    assert_eq!(problems(Some("active+clean")), [""; 0]);
    assert_eq!(
        problems(Some("peering")),
        ["1 placement group is peering", code]
    );
}
