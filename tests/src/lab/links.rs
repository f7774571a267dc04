//! The links of the lab's members: cut, and as the world has them.

use std::collections::BTreeSet;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{FIRST_PORT, Served, as_root, pause};

/// How often the links are looked at.
const BEAT: Duration = Duration::from_millis(5);

/// Keeps the world going, and the links of members, named with their outermost process, as the world has them, for as long as there is a lab.
pub(super) fn follow(world: &Arc<Mutex<Served>>, links: Vec<(String, u32)>) {
    let world = Arc::downgrade(world);
    std::thread::spawn(move || {
        let mut down = BTreeSet::new();
        while let Some(world) = world.upgrade() {
            let Ok(mut served) = world.lock() else { return };
            served.beat(BEAT);
            let answers = |name: &str| served.world.answers(name);
            let turned: Vec<_> = links
                .iter()
                .filter(|(name, _)| answers(name) == down.contains(name))
                .cloned()
                .collect();
            drop(served);
            drop(world);
            for (name, pid) in turned {
                if down.remove(&name) {
                    signal(&listeners(pid), "-CONT");
                } else {
                    // A listener that is stopped takes connections and says nothing, as one behind a dead link.
                    signal(&listeners(pid), "-STOP");
                    end_sessions(pid);
                    down.insert(name);
                }
            }
            pause(BEAT);
        }
    });
}

/// The processes of a member that wait for connections.
fn listeners(pid: u32) -> Vec<u32> {
    sshd(pid, "sshd: /usr/sbin/sshd")
}

/// The two ends of the link to the member with this port, this machine's first: a network of four addresses of those that are
/// for tests alone (RFC 2544).
pub(super) fn ends(port: u16) -> (Ipv4Addr, Ipv4Addr) {
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (u32::from(port) - FIRST_PORT) * 4;
    (Ipv4Addr::from(first + 1), Ipv4Addr::from(first + 2))
}

/// Pulls the plug of a member's link, or puts it back, in the network of its outermost process.
pub(super) fn plug(pid: u32, plugged: bool) {
    let turned = as_root(Path::new("nsenter"))
        .args(["--net", "--target", &pid.to_string()])
        .args(["ip", "link", "set", "eth0"])
        .arg(if plugged { "up" } else { "down" })
        .status();
    assert!(turned.is_ok_and(|turned| turned.success()), "{pid}");
}

/// Stops all of a member's servers, or lets them continue: programs that run there don't notice.
pub(super) fn freeze(pid: u32, frozen: bool) {
    signal(&sshd(pid, "sshd: "), if frozen { "-STOP" } else { "-CONT" });
}

/// Ends all connections of a member. They may have ended by themselves.
pub(super) fn end_sessions(pid: u32) {
    signal(&sshd(pid, "sshd: ubuntu"), "-KILL");
}

/// The processes below one whose title begins so.
fn sshd(pid: u32, title: &str) -> Vec<u32> {
    let mut found = descendants(pid);
    found.retain(|pid| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(title)
    });
    found
}

fn signal(pids: &[u32], which: &str) {
    for pid in pids {
        let _ = as_root(Path::new("kill"))
            .args([which, &pid.to_string()])
            .stderr(Stdio::null())
            .status();
    }
}

fn descendants(pid: u32) -> Vec<u32> {
    let children =
        fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children: Vec<u32> = children
        .split_whitespace()
        .filter_map(|pid| pid.parse().ok())
        .collect();
    children
        .iter()
        .flat_map(|child| std::iter::once(*child).chain(descendants(*child)))
        .collect()
}
