//! Everything that may go wrong with an update or an upgrade, as a table: the run is held, or refused, with a message that an
//! operator can act on; and when the cause is gone it comes to a good end that shows nothing of it. Each row is played on the
//! twin and over SSH, and both must say the same.

pub mod stage;

use std::collections::BTreeMap;
use std::time::Duration;

use lockstep_twin::{Instance, Scenario, World};

use self::stage::{Outcome, Piece, Stage};

/// Something that goes wrong.
pub struct Trouble {
    /// What it is, and the name of its test.
    pub name: &'static str,
    /// The cluster.
    pub scenario: fn() -> Scenario,
    /// What is run on it.
    pub piece: Piece,
    /// Makes it go wrong.
    pub cause: fn(&mut World),
    /// What the operator does about it.
    pub fix: fn(&mut World),
}

const ALL: &[(&str, &str)] = &[("looks", "1")];
const STORAGE: &[(&str, &str)] = &[("only", "microceph"), ("looks", "1")];
const NETWORK: &[(&str, &str)] = &[("only", "microovn"), ("looks", "1")];
const LXD: &[(&str, &str)] = &[("only", "lxd")];
const MICROCLOUD: &[(&str, &str)] = &[("only", "microcloud")];
const AWAY: &[(&str, &str)] = &[("only", "microceph"), ("looks", "1"), ("evacuate", "true")];

const fn update(params: &'static [(&'static str, &'static str)]) -> Piece {
    Piece {
        playbook: "update",
        params,
    }
}

fn three() -> Scenario {
    Scenario::of(3)
}

/// Two containers a member.
fn crowded() -> Scenario {
    let names = Scenario::of(3).names();
    let two = |(i, name): (usize, &String)| {
        let named = |kind: &str| Instance::container(&format!("{kind}{}", i + 1), name);
        [named("a"), named("b")]
    };
    Scenario {
        instances: Some(names.iter().enumerate().flat_map(two).collect()),
        ..Scenario::of(3)
    }
}

fn fault(world: &mut World, text: &str) {
    let fault = text.parse().unwrap();
    world.inject(fault).unwrap();
}

/// LXD of the line that shows a member as evacuated while it fails halfway.
fn lxd_is_newer(world: &mut World) {
    for release in world.store.releases.get_mut("lxd").into_iter().flatten() {
        "6.9".clone_into(&mut release.version);
    }
}

/// All of them, each with its test in `troubles!`.
pub const TROUBLES: &[Trouble] = &[
    Trouble {
        name: "a_member_is_offline_before_the_start",
        scenario: three,
        piece: update(ALL),
        cause: |w| fault(w, "cut:micro02"),
        fix: World::mend,
    },
    Trouble {
        name: "a_member_is_lost_in_mid_wave",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| fault(w, "power-off:micro02@microceph/micro02"),
        fix: World::mend,
    },
    Trouble {
        name: "a_refresh_fails_and_snapd_undoes_it",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| fault(w, "refresh-fails:microceph,micro03"),
        fix: World::mend,
    },
    Trouble {
        name: "an_osd_does_not_return",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| w.lose_osd(1),
        fix: World::mend_ceph,
    },
    Trouble {
        name: "placement_groups_do_not_get_clean",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| w.never_clean_after("micro02"),
        fix: World::mend_ceph,
    },
    Trouble {
        name: "the_monitors_lose_their_quorum",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| {
            w.lose_mon("micro02");
            fault(w, "mon-lost:micro03@microceph/micro02");
        },
        fix: |w| {
            w.mend();
            w.mend_ceph();
        },
    },
    Trouble {
        name: "the_conversion_of_ovn_databases_stalls",
        scenario: three,
        piece: update(NETWORK),
        cause: World::stall_conversion,
        fix: World::mend_ovn,
    },
    Trouble {
        name: "lxd_fails_to_refresh_and_all_others_wait_for_it",
        scenario: three,
        piece: update(LXD),
        cause: |w| {
            fault(w, "refresh-fails:lxd,micro02");
            fault(w, "no-self-update:micro02");
        },
        fix: World::mend,
    },
    Trouble {
        name: "lxd_does_not_return_on_a_member",
        scenario: three,
        piece: update(LXD),
        cause: |w| fault(w, "no-return:lxd,micro03"),
        fix: World::mend,
    },
    Trouble {
        name: "microcloud_does_not_return_on_a_member",
        scenario: three,
        piece: update(MICROCLOUD),
        cause: |w| fault(w, "no-return:microcloud,micro02"),
        fix: World::mend,
    },
    Trouble {
        name: "an_evacuation_fails_and_the_member_is_shown_as_online",
        scenario: crowded,
        piece: update(AWAY),
        cause: |w| fault(w, "cannot-migrate:b2"),
        fix: World::mend,
    },
    Trouble {
        name: "an_evacuation_fails_and_the_member_is_shown_as_evacuated",
        scenario: crowded,
        piece: update(AWAY),
        cause: |w| {
            lxd_is_newer(w);
            fault(w, "cannot-migrate:b2");
        },
        fix: World::mend,
    },
    Trouble {
        name: "an_evacuation_leaves_an_instance_behind",
        scenario: crowded,
        piece: update(AWAY),
        cause: |w| fault(w, "left-behind:b2"),
        fix: World::mend,
    },
    Trouble {
        name: "the_store_has_another_revision_for_one_member",
        scenario: three,
        piece: update(ALL),
        cause: |w| fault(w, "other-revision:microceph,micro03"),
        fix: World::mend,
    },
    Trouble {
        name: "the_store_gets_another_revision_in_mid_wave",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| fault(w, "other-revision:microceph,micro03@microceph/micro02"),
        fix: World::mend,
    },
    Trouble {
        name: "a_hold_where_noout_is_set_by_the_operator",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| {
            w.operator_sets_flag("noout", None);
            fault(w, "refresh-fails:microceph,micro02");
        },
        fix: World::mend,
    },
    Trouble {
        name: "a_hold_where_instances_are_healed_after_300_seconds",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| {
            w.set_healing_threshold(300);
            fault(w, "refresh-fails:microceph,micro02");
        },
        fix: World::mend,
    },
];

/// Where every instance is, and whether it runs.
fn places(world: &World) -> BTreeMap<String, (String, bool)> {
    let all = world.instances().iter();
    all.map(|i| (i.name.clone(), (i.location.clone(), i.running)))
        .collect()
}

/// The revisions that a playbook brings.
fn brought(piece: Piece) -> [(&'static str, u32); 4] {
    let revisions = match piece.playbook {
        "update" => [1501, 701, 33110, 1210],
        _ => [1600, 800, 34000, 1300],
    };
    let snaps = ["microceph", "microovn", "lxd", "microcloud"];
    std::array::from_fn(|i| (snaps[i], revisions[i]))
}

/// How a cluster was before.
struct Before {
    settings: BTreeMap<String, String>,
    homes: BTreeMap<String, (String, bool)>,
}

impl Before {
    fn of(stage: &mut dyn Stage) -> Self {
        let world = stage.world();
        Self {
            settings: world.settings(),
            homes: places(&world),
        }
    }

    /// Fails unless the cluster has what `piece` brings, and is otherwise as it was.
    fn assert_only_newer(&self, stage: &mut dyn Stage, piece: Piece, name: &str) {
        let world = stage.world();
        assert_eq!(world.violations(), [], "{name}");
        assert_eq!(
            world.settings(),
            self.settings,
            "{name}: left on, or not given back"
        );
        assert_eq!(places(&world), self.homes, "{name}: where instances are");
        let only = piece.params.iter().find(|(name, _)| *name == "only");
        for (snap, revision) in brought(piece) {
            for member in world.members.keys() {
                if only.is_none_or(|(_, chosen)| *chosen == snap) {
                    let has = world.revision(member, snap);
                    assert_eq!(has, Some(revision), "{name}: {snap} on {member}");
                }
            }
        }
    }
}

/// Plays a trouble to its hold, fixes it and sees that the end is good. Returns where it was held, and why, without what
/// differs from one playing to the next.
///
/// # Panics
/// Where it isn't held, or leaves anything.
pub fn endure(trouble: &Trouble, stage: &mut dyn Stage) -> String {
    let name = trouble.name;
    (trouble.cause)(&mut stage.world());
    let before = Before::of(stage);
    // By now it shows everywhere.
    stage.wait(Duration::from_secs(60));
    let held = match stage.run() {
        Outcome::Held(held) => held,
        other => panic!("{name}: it was to be held, and it is {other:?}"),
    };
    assert_eq!(stage.world().violations(), [], "{name}: while it was held");
    (trouble.fix)(&mut stage.world());
    stage.wait(Duration::from_secs(90));
    let ended = stage.resume();
    assert_eq!(ended, Outcome::Done, "{name}: after it was mended");
    before.assert_only_newer(stage, trouble.piece, name);
    plain(&held)
}

/// What was reported, without what differs from one playing to the next: times, and ssh's own words.
fn plain(held: &[(String, String)]) -> String {
    let lines = held
        .iter()
        .map(|(step, why)| format!("{step}: {}", constant(why)));
    lines.collect::<Vec<_>>().join("\n")
}

fn constant(text: &str) -> String {
    let text = without(text, "no answer: ", &[';', '\n']);
    without(&text, "for 20s (", &[')'])
}

/// What follows on `lead`, up to one of these, is left out.
fn without(text: &str, lead: &str, ends: &[char]) -> String {
    let mut parts = text.split(lead);
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| {
        let end = part.find(ends).unwrap_or(part.len());
        format!("{lead}…{}", &part[end..])
    });
    first + &rest.collect::<String>()
}

const UPGRADE: [(&str, &str); 6] = [
    ("looks", "1"),
    (
        "accept",
        "microcloud-3-in-production,microcloud-microceph,microcloud-microovn,ceph-new-keys,ceph-tentacle-preview",
    ),
    ("microceph", "tentacle/stable"),
    ("microovn", "26.03/stable"),
    ("lxd", "6/stable"),
    ("microcloud", "3/stable"),
];

/// An update or an upgrade without trouble.
pub struct Journey {
    /// The name of its test.
    pub name: &'static str,
    members: usize,
    playbook: &'static str,
    evacuate: bool,
}

const fn journey(
    name: &'static str,
    members: usize,
    playbook: &'static str,
    evacuate: bool,
) -> Journey {
    Journey {
        name,
        members,
        playbook,
        evacuate,
    }
}

/// An update and an upgrade of one, three and five members, with and without evacuation, each with its test in `journeys!`.
pub const JOURNEYS: &[Journey] = &[
    journey("an_update_of_five_members", 5, "update", false),
    journey(
        "an_update_of_five_members_that_are_evacuated",
        5,
        "update",
        true,
    ),
    journey("an_upgrade_of_five_members", 5, "upgrade", false),
    journey(
        "an_upgrade_of_five_members_that_are_evacuated",
        5,
        "upgrade",
        true,
    ),
    journey("an_update_of_three_members", 3, "update", false),
    journey(
        "an_update_of_three_members_that_are_evacuated",
        3,
        "update",
        true,
    ),
    journey("an_upgrade_of_three_members", 3, "upgrade", false),
    journey(
        "an_upgrade_of_three_members_that_are_evacuated",
        3,
        "upgrade",
        true,
    ),
    journey("an_update_of_one_member", 1, "update", false),
    journey(
        "an_update_of_one_member_that_is_evacuated",
        1,
        "update",
        true,
    ),
    journey("an_upgrade_of_one_member", 1, "upgrade", false),
    journey(
        "an_upgrade_of_one_member_that_is_evacuated",
        1,
        "upgrade",
        true,
    ),
];

impl Journey {
    fn piece(&self) -> Piece {
        let mut params = vec![("looks", "1")];
        if self.playbook == "upgrade" {
            params.extend(&UPGRADE[1..]);
        }
        if self.evacuate {
            params.push(("evacuate", "true"));
        }
        if self.members == 1 {
            // There is nowhere to go, and nobody to do without.
            params.extend([("downtime", "true"), ("evacuate_anyway", "true")]);
        }
        Piece {
            playbook: self.playbook,
            params: params.leak(),
        }
    }
}

/// Goes to the end, and sees that it is good.
///
/// # Panics
/// Where it isn't.
pub fn travel(journey: &Journey, on: fn(&Scenario, Piece) -> Box<dyn Stage>) {
    let (name, piece) = (journey.name, journey.piece());
    let scenario = Scenario {
        updates: journey.playbook == "update",
        ..Scenario::of(journey.members)
    };
    let mut stage = on(&scenario, piece);
    let before = Before::of(&mut *stage);
    assert_eq!(stage.run(), Outcome::Done, "{name}");
    before.assert_only_newer(&mut *stage, piece, name);
}

/// A run is held in mid-wave, and another controller begins one.
///
/// # Panics
/// Where it isn't refused until the first has ended.
pub fn two_controllers(on: fn(&Scenario, Piece) -> Box<dyn Stage>) {
    let piece = update(STORAGE);
    let mut stage = on(&three(), piece);
    let before = Before::of(&mut *stage);
    fault(&mut stage.world(), "refresh-fails:microceph,micro03");
    assert!(matches!(stage.run(), Outcome::Held(_)));
    let Outcome::Held(held) = stage.second() else {
        panic!("the second controller isn't refused");
    };
    let reported = plain(&held);
    for part in [
        "preflight.require#1: lock: micro01, micro02, micro03: the cluster belongs to the run update-1 of ",
        "lockstep abort update-1",
    ] {
        assert!(reported.contains(part), "{reported}");
    }
    stage.world().mend();
    assert_eq!(stage.resume(), Outcome::Done);
    before.assert_only_newer(&mut *stage, piece, "the first controller's");
    assert_eq!(stage.second(), Outcome::Done, "there is nothing left to do");
    before.assert_only_newer(&mut *stage, piece, "the second controller's");
}

/// A test for each row of a table: what plays it, the table, and the names of its rows.
#[macro_export]
macro_rules! rows {
    ($play:path, $table:expr, $($name:ident)+) => {
        $(#[test]
        fn $name() {
            let row = $table.iter().find(|row| row.name == stringify!($name));
            $play(row.unwrap());
        })+

        #[test]
        fn every_row_has_its_test() {
            let rows: Vec<&str> = $table.iter().map(|row| row.name).collect();
            assert_eq!(rows, [$(stringify!($name)),+]);
        }
    };
}

/// A test for each of `TROUBLES`.
#[macro_export]
macro_rules! troubles {
    ($play:path) => {
        $crate::rows! {
            $play, $crate::holds::TROUBLES,
            a_member_is_offline_before_the_start
            a_member_is_lost_in_mid_wave
            a_refresh_fails_and_snapd_undoes_it
            an_osd_does_not_return
            placement_groups_do_not_get_clean
            the_monitors_lose_their_quorum
            the_conversion_of_ovn_databases_stalls
            lxd_fails_to_refresh_and_all_others_wait_for_it
            lxd_does_not_return_on_a_member
            microcloud_does_not_return_on_a_member
            an_evacuation_fails_and_the_member_is_shown_as_online
            an_evacuation_fails_and_the_member_is_shown_as_evacuated
            an_evacuation_leaves_an_instance_behind
            the_store_has_another_revision_for_one_member
            the_store_gets_another_revision_in_mid_wave
            a_hold_where_noout_is_set_by_the_operator
            a_hold_where_instances_are_healed_after_300_seconds
        }
    };
}

/// A test for each of `JOURNEYS`.
#[macro_export]
macro_rules! journeys {
    ($play:path) => {
        $crate::rows! {
            $play, $crate::holds::JOURNEYS,
            an_update_of_five_members
            an_update_of_five_members_that_are_evacuated
            an_upgrade_of_five_members
            an_upgrade_of_five_members_that_are_evacuated
            an_update_of_three_members
            an_update_of_three_members_that_are_evacuated
            an_upgrade_of_three_members
            an_upgrade_of_three_members_that_are_evacuated
            an_update_of_one_member
            an_update_of_one_member_that_is_evacuated
            an_upgrade_of_one_member
            an_upgrade_of_one_member_that_is_evacuated
        }
    };
}
