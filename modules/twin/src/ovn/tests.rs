//! The twin's OVN held against what real servers printed.

use lockstep_modules::products::raft::View;

use super::{DATABASES, Event, appctl};
use crate::scenario::Scenario;
use crate::transcript::printed;
use crate::world::{Due, Reply, World};

const SOCKET: &str = "/var/snap/microovn/common/run/ovn/ovnnb_db.ctl";

fn asked(world: &mut World, member: &str, words: &[&str]) -> (bool, String) {
    let args: Vec<&str> = ["--timeout=10", "-t", SOCKET]
        .iter()
        .chain(words)
        .copied()
        .collect();
    match appctl(world, member, &args) {
        Reply::Exit(output) => (
            output.success(),
            format!("{}{}", output.stdout, output.stderr),
        ),
        other => panic!("{words:?} didn't end: {other:?}"),
    }
}

fn status(world: &mut World, member: &str) -> String {
    asked(world, member, &["cluster/status", "OVN_Northbound"]).1
}

/// What a real server printed for a command in a file.
fn sample(file: &str, command: &str) -> String {
    let given = format!("ovn-appctl -t /var/run/ovn/ovnnb_db.ctl {command}");
    printed(&format!("ovn/{file}"), &given, 0)
}

/// The names of lines, in order, without what differs from server to server.
fn lines(text: &str) -> Vec<String> {
    let named = text
        .lines()
        .skip(1)
        .map(|line| line.split(':').next().unwrap_or_default());
    named
        .filter(|name| !name.starts_with("    "))
        .map(str::to_owned)
        .collect()
}

#[test]
fn leader_and_follower_print_the_lines_of_real_ones() {
    let mut world = Scenario::of(3).build();
    for (member, file) in [("micro01", "status"), ("micro02", "follower")] {
        let (twin, real) = (
            status(&mut world, member),
            sample(file, "cluster/status OVN_Northbound"),
        );
        assert_eq!(lines(&twin), lines(&real));
        View::parse(&twin).unwrap();
    }
}

#[test]
fn the_election_timer_is_changed_as_by_real_servers() {
    let mut world = Scenario::of(3).build();
    world.set_election_timer(4000);
    let real = |file: &str, ms: u64| {
        sample(
            file,
            &format!("cluster/change-election-timer OVN_Northbound {ms}"),
        )
    };
    let ask = |world: &mut World, member: &str, ms: &str| {
        let (_, text) = asked(
            world,
            member,
            &["cluster/change-election-timer", "OVN_Northbound", ms],
        );
        text.replace(SOCKET, "/var/run/ovn/ovnnb_db.ctl")
    };
    assert_eq!(ask(&mut world, "micro01", "16000"), real("status", 16000));
    assert_eq!(ask(&mut world, "micro02", "8000"), real("follower", 8000));
    assert_eq!(ask(&mut world, "micro01", "8000"), real("status", 4000));
    world.advance(1000);
    assert_eq!(world.election_timers(), [8000, 4000]);
}

#[test]
fn a_stopped_leader_is_replaced_after_the_election_timer() {
    let mut world = Scenario::of(3).build();
    super::stop(&mut world, "micro01");
    world.advance(10_000);
    let leaders = |world: &World| DATABASES.map(|database| world.ovn.raft(database).leader.clone());
    assert_eq!(leaders(&world), [None, Some("micro02".to_owned())]);
    assert!(status(&mut world, "micro02").contains("Leader: unknown"));
    world.advance(20_000);
    assert_eq!(
        leaders(&world),
        ["micro02", "micro02"].map(|name| Some(name.to_owned()))
    );
    assert_eq!(View::parse(&status(&mut world, "micro02")).unwrap().term, 2);
    world.schedule(0, Due::Ovn(Event::Joins("micro01".to_owned())));
    super::start(&mut world, "micro01");
    world.advance(30_000);
    assert_eq!(
        View::parse(&status(&mut world, "micro01")).unwrap().role,
        "follower"
    );
}
