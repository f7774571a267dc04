//! Health checks that are raised on purpose, and how they are muted (`mon/HealthMonitor.cc`).

use super::state::{Check, Mute, Raised};
use crate::world::{Reply, World};

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
