//! Everything that may go wrong with an update or an upgrade, as a table: the run is held, or refused, with a message that an
//! operator can act on; and when the cause is gone it comes to a good end that shows nothing of it. Each row is played on the
//! twin and over SSH, and both must say the same.

mod stage;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use lockstep_twin::{Instance, Scenario, World};
use stage::{Outcome, Piece, Stage};

/// Something that goes wrong.
struct Trouble {
    name: &'static str,
    scenario: fn() -> Scenario,
    piece: Piece,
    /// Makes it go wrong.
    cause: fn(&mut World),
    /// What the operator does about it.
    mend: fn(&mut World),
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

const TROUBLES: &[Trouble] = &[
    Trouble {
        name: "a member is offline before the start",
        scenario: three,
        piece: update(ALL),
        cause: |w| fault(w, "cut:micro02"),
        mend: World::mend,
    },
    Trouble {
        name: "a member is lost in mid-wave",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| fault(w, "power-off:micro02@microceph/micro02"),
        mend: World::mend,
    },
    Trouble {
        name: "a refresh fails and snapd undoes it",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| fault(w, "refresh-fails:microceph,micro03"),
        mend: World::mend,
    },
    Trouble {
        name: "an OSD doesn't return",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| w.lose_osd(1),
        mend: World::mend_ceph,
    },
    Trouble {
        name: "placement groups don't get clean",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| w.never_clean_after("micro02"),
        mend: World::mend_ceph,
    },
    Trouble {
        name: "the monitors lose their quorum",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| {
            w.lose_mon("micro02");
            fault(w, "mon-lost:micro03@microceph/micro02");
        },
        mend: |w| {
            w.mend();
            w.mend_ceph();
        },
    },
    Trouble {
        name: "the conversion of OVN's databases stalls",
        scenario: three,
        piece: update(NETWORK),
        cause: World::stall_conversion,
        mend: World::mend_ovn,
    },
    Trouble {
        name: "one member's LXD fails to refresh and all others wait for it",
        scenario: three,
        piece: update(LXD),
        cause: |w| {
            fault(w, "refresh-fails:lxd,micro02");
            fault(w, "no-self-update:micro02");
        },
        mend: World::mend,
    },
    Trouble {
        name: "LXD doesn't return on a member",
        scenario: three,
        piece: update(LXD),
        cause: |w| fault(w, "no-return:lxd,micro03"),
        mend: World::mend,
    },
    Trouble {
        name: "MicroCloud's daemon doesn't return on a member",
        scenario: three,
        piece: update(MICROCLOUD),
        cause: |w| fault(w, "no-return:microcloud,micro02"),
        mend: World::mend,
    },
    Trouble {
        name: "an evacuation fails halfway, and the member is shown as online",
        scenario: crowded,
        piece: update(AWAY),
        cause: |w| fault(w, "cannot-migrate:b2"),
        mend: World::mend,
    },
    Trouble {
        name: "an evacuation fails halfway, and the member is shown as evacuated",
        scenario: crowded,
        piece: update(AWAY),
        cause: |w| {
            lxd_is_newer(w);
            fault(w, "cannot-migrate:b2");
        },
        mend: World::mend,
    },
    Trouble {
        name: "an evacuation succeeds and leaves an instance behind",
        scenario: crowded,
        piece: update(AWAY),
        cause: |w| fault(w, "left-behind:b2"),
        mend: World::mend,
    },
    Trouble {
        name: "the store has another revision for one member",
        scenario: three,
        piece: update(ALL),
        cause: |w| fault(w, "other-revision:microceph,micro03"),
        mend: World::mend,
    },
    Trouble {
        name: "the store gets another revision for one member in mid-wave",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| fault(w, "other-revision:microceph,micro03@microceph/micro02"),
        mend: World::mend,
    },
    Trouble {
        name: "a hold where the operator's noout is set",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| {
            w.operator_sets_flag("noout", None);
            fault(w, "refresh-fails:microceph,micro02");
        },
        mend: World::mend,
    },
    Trouble {
        name: "a hold where instances are healed after 300 s",
        scenario: three,
        piece: update(STORAGE),
        cause: |w| {
            w.set_healing_threshold(300);
            fault(w, "refresh-fails:microceph,micro02");
        },
        mend: World::mend,
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

/// Plays a trouble to its hold, mends it and sees that the end is good. Returns where it was held, and why.
fn endure(trouble: &Trouble, stage: &mut dyn Stage) -> Vec<(String, String)> {
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
    (trouble.mend)(&mut stage.world());
    stage.wait(Duration::from_secs(90));
    let ended = stage.resume();
    assert_eq!(ended, Outcome::Done, "{name}: after it was mended");
    before.assert_only_newer(stage, trouble.piece, name);
    held
}

/// What was told, without what differs from one playing to the next: times, and ssh's own words.
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

#[test]
fn on_the_twin_each_trouble_holds_and_is_over_when_it_is_mended() {
    let told = TROUBLES.iter().map(|trouble| {
        let mut stage = stage::twin(&(trouble.scenario)(), trouble.piece);
        let held = endure(trouble, &mut *stage);
        format!("{}\n{}\n", trouble.name, plain(&held))
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
}

/// Plays all of them, some labs side by side: most of the time is waiting.
fn side_by_side<T: Sync>(all: &[T], play: impl Fn(&T) + Sync) {
    const LABS: usize = 4;
    let left = Mutex::new(all.iter());
    std::thread::scope(|scope| {
        for _ in 0..LABS {
            scope.spawn(|| {
                while let Some(next) = { left.lock().unwrap().next() } {
                    play(next);
                }
            });
        }
    });
}

#[test]
fn over_ssh_each_trouble_is_as_on_the_twin() {
    side_by_side(TROUBLES, |trouble| {
        let scenario = (trouble.scenario)();
        let mut twin = stage::twin(&scenario, trouble.piece);
        let expected = plain(&endure(trouble, &mut *twin));
        let mut lab = stage::over_ssh(&scenario, trouble.piece);
        let held = plain(&endure(trouble, &mut *lab));
        assert_eq!(held, expected, "{}", trouble.name);
    });
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

/// An update and an upgrade of one, three and five members, with and without evacuation.
fn journeys() -> Vec<(usize, Piece)> {
    let mut all = Vec::new();
    for members in [5, 3, 1] {
        for playbook in ["update", "upgrade"] {
            for evacuate in [false, true] {
                let mut params = vec![("looks", "1")];
                if playbook == "upgrade" {
                    params.extend(&UPGRADE[1..]);
                }
                if evacuate {
                    params.push(("evacuate", "true"));
                }
                if members == 1 {
                    // There is nowhere to go, and nobody to do without.
                    params.extend([("downtime", "true"), ("evacuate_anyway", "true")]);
                }
                all.push((
                    members,
                    Piece {
                        playbook,
                        params: params.leak(),
                    },
                ));
            }
        }
    }
    all
}

fn travel(members: usize, piece: Piece, on: fn(&Scenario, Piece) -> Box<dyn Stage>) {
    let scenario = Scenario {
        updates: piece.playbook == "update",
        ..Scenario::of(members)
    };
    let mut stage = on(&scenario, piece);
    let before = Before::of(&mut *stage);
    let name = format!("{} of {members}, {:?}", piece.playbook, piece.params);
    assert_eq!(stage.run(), Outcome::Done, "{name}");
    before.assert_only_newer(&mut *stage, piece, &name);
}

#[test]
fn on_the_twin_every_journey_comes_to_a_good_end() {
    for (members, piece) in journeys() {
        travel(members, piece, stage::twin);
    }
}

#[test]
fn over_ssh_every_journey_comes_to_a_good_end() {
    side_by_side(&journeys(), |(members, piece)| {
        travel(*members, *piece, stage::over_ssh)
    });
}

/// A run is held in mid-wave, and another controller begins one.
fn two_controllers(on: fn(&Scenario, Piece) -> Box<dyn Stage>) {
    let piece = update(STORAGE);
    let mut stage = on(&three(), piece);
    let before = Before::of(&mut *stage);
    fault(&mut stage.world(), "refresh-fails:microceph,micro03");
    assert!(matches!(stage.run(), Outcome::Held(_)));
    let Outcome::Held(held) = stage.second() else {
        panic!("the second controller isn't refused");
    };
    let told = plain(&held);
    for part in [
        "preflight.require#1: lock: micro01, micro02, micro03: the cluster belongs to the run update-1 of ",
        "lockstep abort update-1",
    ] {
        assert!(told.contains(part), "{told}");
    }
    stage.world().mend();
    assert_eq!(stage.resume(), Outcome::Done);
    before.assert_only_newer(&mut *stage, piece, "the first controller's");
    assert_eq!(stage.second(), Outcome::Done, "there is nothing left to do");
    before.assert_only_newer(&mut *stage, piece, "the second controller's");
}

#[test]
fn a_second_controller_is_refused_until_the_first_has_ended() {
    two_controllers(stage::twin);
    two_controllers(stage::over_ssh);
}
