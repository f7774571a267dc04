use super::codes::{Check, Summary};
use super::status::PgState;
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

fn with_check(code: &str, severity: &str, message: &str, muted: bool) -> Vec<String> {
    let mut status = sample("01-ok");
    let check = Check {
        severity: severity.to_owned(),
        summary: Summary {
            message: message.to_owned(),
            count: 1,
        },
        muted,
    };
    status.health.checks.insert(code.to_owned(), check);
    status.problems(None, Aside::default())
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
        r#"{"flags_set":["sortbitwise"],"crush_node_flags":{"micro02":["noout"]},"require_osd_release":"squid","osds":[]}"#,
    )
    .unwrap();
    assert_eq!(dump.noout("micro02"), (true, false));
    assert_eq!(dump.noout("micro01"), (false, false));
    let dump: OsdDump =
        serde_json::from_str(r#"{"flags_set":["noout"],"require_osd_release":"squid","osds":[]}"#)
            .unwrap();
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
