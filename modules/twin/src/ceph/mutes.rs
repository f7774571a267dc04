//! Health checks that are raised on purpose, and how they are muted (`mon/HealthMonitor.cc`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::health::{Check, Checks};
use super::severity::Severity;
use crate::world::{Reply, World};

/// A health check that Ceph has raised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raised {
    /// Its code, for example `MGR_MODULE_ERROR`.
    pub code: String,
    /// `HEALTH_WARN` or `HEALTH_ERR`.
    pub severity: Severity,
    /// Its summary.
    #[serde(default = "some_trouble")]
    pub message: String,
    /// How often it is counted.
    #[serde(default = "once")]
    pub count: usize,
    /// Whether the operator has muted it.
    #[serde(default)]
    pub muted: bool,
}

fn some_trouble() -> String {
    "something is not as it should be".to_owned()
}

fn once() -> usize {
    1
}

/// A mute: it ends by itself when the check is over or counts more, unless it is sticky.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mute {
    sticky: bool,
    summary: String,
    count: usize,
}

/// The mutes that are in force, of those that were set.
pub(super) fn in_force<'a>(world: &'a World, checks: &Checks) -> BTreeMap<&'a String, &'a Mute> {
    let holds = |(code, mute): &(&String, &Mute)| {
        mute.sticky || checks.get(*code).is_some_and(|c| c.count <= mute.count)
    };
    world.ceph.mutes.iter().filter(holds).collect()
}

/// As `ceph health detail` has them.
pub(super) fn json(mutes: &BTreeMap<&String, &Mute>) -> Value {
    let mute = |(code, mute): (&&String, &&Mute)| json!({"code": code, "sticky": mute.sticky, "summary": mute.summary, "count": mute.count});
    mutes.iter().map(mute).collect()
}

/// `ceph health mute CODE [TTL] [--sticky]`; how long it is to last is not looked at.
pub(super) fn mute(world: &mut World, code: &str, sticky: bool) -> Reply {
    let checks = super::health::checks(world);
    let Some(check) = checks
        .get(code)
        .cloned()
        .or_else(|| sticky.then(Check::default))
    else {
        return Reply::fail(
            2,
            format!("Error ENOENT: health alert {code} is not currently raised\n"),
        );
    };
    world.touch();
    let mute = Mute {
        sticky,
        summary: check.message,
        count: check.count,
    };
    world.ceph.mutes.insert(code.to_owned(), mute);
    Reply::out("")
}

/// `ceph health unmute [CODE]`
pub(super) fn unmute(world: &mut World, code: Option<&str>) -> Reply {
    world.touch();
    match code {
        Some(code) => drop(world.ceph.mutes.remove(code)),
        None => world.ceph.mutes.clear(),
    }
    Reply::out("")
}

impl World {
    /// A health check is raised, and stays until Ceph is mended.
    pub(crate) fn raise(&mut self, raised: &Raised) {
        let mut check = Check::new(raised.severity, &raised.message);
        check.count = raised.count;
        self.ceph.faults.raised.insert(raised.code.clone(), check);
        if raised.muted {
            mute(self, &raised.code, false);
        }
    }

    /// A health check that was raised is over.
    pub(crate) fn lower_check(&mut self, code: &str) {
        self.ceph.faults.raised.remove(code);
    }
}
