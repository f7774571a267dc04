//! An update beside what an operator types, over SSH, on simulated products that take their real time.

use std::process::Command;

use lockstep_tests::lab::SshLab;
use lockstep_twin::Scenario;

use crate::figures::{Figure, seconds};

const ROUNDS: usize = 3;

/// One member after the other, and on when storage is clean, or the databases have a leader. LXD's all at once.
const LINES: &str = r#"
on() { m=$1; shift; ssh -n -F "$config" "$m" sudo "$@"; }
clean() { on micro01 /snap/bin/microceph.ceph -s -f json | grep -q '"num_up_osds": *3' &&
	on micro01 /snap/bin/microceph.ceph health | grep -q HEALTH_OK; }
leader() { on "$1" /snap/bin/microovn.ovn-appctl -t /var/snap/microovn/common/run/ovn/ovnsb_db.ctl cluster/status OVN_Southbound |
	grep -q '^Leader: [0-9a-s]'; }
for m in $members; do on "$m" snap refresh microceph --cohort=+; until clean; do sleep 1; done; done
for m in $members; do on "$m" snap refresh microovn --cohort=+; until leader "$m"; do sleep 0.5; done; done
for m in $members; do on "$m" snap refresh lxd --cohort=+ & done; wait
for m in $members; do on "$m" /snap/bin/lxd waitready --timeout 120; done
for m in $members; do on "$m" snap refresh microcloud --cohort=+; on "$m" /snap/bin/microcloud cluster list; done
"#;

pub(crate) fn figures() -> Vec<Figure> {
    let scenario = Scenario::of(3);
    let members = scenario.names().join(" ");
    let (mut own, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let lab = SshLab::up(&scenario);
        let typed = seconds(
            Command::new("sh")
                .args(["-c", LINES])
                .env("config", lab.path("ssh_config"))
                .env("members", &members),
        );
        assert_eq!(lab.refreshes().len(), 12, "{:?}", lab.refreshes());
        plain.push(typed);
        let lab = SshLab::up(&scenario);
        own.push(seconds(&mut lab.lockstep(&["update", "--yes"])));
        assert_eq!(lab.refreshes().len(), 12, "{:?}", lab.refreshes());
    }
    vec![Figure::alone("an update of 3 members", "s", own).beside("by hand", plain)]
}
