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

/// Plays a trouble to its hold, mends it and sees that the end is good. Returns where it was held, and why.
fn endure(trouble: &Trouble, stage: &mut dyn Stage) -> Vec<(String, String)> {
    let name = trouble.name;
    (trouble.cause)(&mut **stage.world());
    let (settings, homes) = {
        let world = stage.world();
        (world.settings(), places(&world))
    };
    let held = match stage.run() {
        Outcome::Held(held) => held,
        other => panic!("{name}: it was to be held, and it is {other:?}"),
    };
    assert_eq!(stage.world().violations(), [], "{name}: while it was held");
    (trouble.mend)(&mut **stage.world());
    stage.wait(Duration::from_secs(90));
    let ended = stage.resume();
    assert_eq!(ended, Outcome::Done, "{name}: after it was mended");
    let world = stage.world();
    assert_eq!(world.violations(), [], "{name}");
    assert_eq!(world.settings(), settings, "{name}: something was left on, or not given back");
    assert_eq!(places(&world), homes, "{name}: instances aren't where they were");
    let only = trouble.piece.params.iter().find(|(name, _)| *name == "only");
    for (snap, revision) in [
        ("microceph", 1501),
        ("microovn", 701),
        ("lxd", 33110),
        ("microcloud", 1210),
    ] {
        for member in world.members.keys() {
            if only.is_none_or(|(_, chosen)| *chosen == snap) {
                assert_eq!(world.revision(member, snap), Some(revision), "{name}: {snap} on {member}");
            }
        }
    }
    held
}

/// What was told, without what differs from one playing to the next: times, and ssh's own words.
fn plain(held: &[(String, String)]) -> String {
    let lines = held.iter().map(|(step, why)| format!("{step}: {}", constant(why)));
    lines.collect::<Vec<_>>().join("\n")
}

fn constant(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some((before, after)) = rest.split_once("no answer: ") {
        plain.push_str(before);
        plain.push_str("no answer");
        let end = after.find([';', '\n']).unwrap_or(after.len());
        rest = &after[end..];
    }
    plain.push_str(rest);
    let time = |word: &str| if word.contains("2026-04-01T") { "(TIME)" } else { word }.to_owned();
    plain.split(' ').map(time).collect::<Vec<_>>().join(" ")
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

/// So many labs side by side: most of the time is waiting.
const LABS: usize = 5;

#[test]
fn over_ssh_each_trouble_is_told_as_on_the_twin_and_ends_as_well() {
    let chosen = std::env::var("HOLDS").unwrap_or_default();
    let left: Vec<&Trouble> = TROUBLES.iter().filter(|t| t.name.contains(&chosen)).collect();
    let left = Mutex::new(left);
    std::thread::scope(|scope| {
        for _ in 0..LABS {
            scope.spawn(|| {
                loop {
                    let Some(trouble) = left.lock().unwrap().pop() else {
                        return;
                    };
                    let scenario = (trouble.scenario)();
                    let mut twin = stage::twin(&scenario, trouble.piece);
                    let expected = plain(&endure(trouble, &mut *twin));
                    let mut lab = stage::over_ssh(&scenario, trouble.piece);
                    let held = plain(&endure(trouble, &mut *lab));
                    assert_eq!(held, expected, "{}", trouble.name);
                }
            });
        }
    });
}
