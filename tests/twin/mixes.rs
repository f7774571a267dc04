//! Clusters that were found half-way: whatever mix of revisions stands on members, by hand, by snapd, by a run that was
//! broken off or by a member that was away, an update brings all members to one, or is refused with the command that does.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use lockstep::config::read_scenario;
use lockstep::engine::Finish;
use lockstep::event::Event;
use lockstep_tests::{Bench, Ended, by_hand, root};
use lockstep_twin::{Scenario, World};
use serde_json::{Value, json};

const SNAPS: [&str; 4] = ["microceph", "microovn", "lxd", "microcloud"];
const MEMBERS: [&str; 3] = ["micro01", "micro02", "micro03"];

/// How a component was left on three members.
#[derive(Clone, Copy, Debug)]
struct Mix {
    /// Which members somebody has refreshed.
    refreshed: [bool; 3],
    /// On which members its daemon was started again since.
    restarted: [bool; 3],
    /// The new revision has a newer schema.
    bump: bool,
}

impl Mix {
    fn number(n: u16) -> Self {
        let bits = |from: u16| std::array::from_fn(|i| n >> (from + i as u16) & 1 == 1);
        Self {
            refreshed: bits(0),
            restarted: bits(3),
            bump: n >> 6 & 1 == 1,
        }
    }

    /// Every one.
    fn all() -> impl Iterator<Item = Self> {
        (0..1 << 7).map(Self::number)
    }

    /// Leaves a cluster so.
    fn leave(self, world: &mut World, snap: &str) {
        let installed = world.revision(MEMBERS[0], snap).unwrap();
        let mut release = world.store.release(snap, installed).unwrap().clone();
        release.revision += 1;
        if self.bump {
            release.schema += 1;
            release.extensions += 1;
        }
        let channels = &world.store.channels[snap];
        let follows = channels
            .iter()
            .find(|(_, revision)| **revision == installed);
        let channel = follows.unwrap().0.clone();
        world.store.publish(snap, &channel, release);
        let chosen = |of: [bool; 3]| MEMBERS.into_iter().zip(of).filter(|(_, is)| *is);
        for (member, _) in chosen(self.refreshed) {
            by_hand(
                world,
                member,
                &["/usr/bin/snap", "refresh", "--no-wait", "--cohort=+", snap],
            );
            world.advance(world.now + 120_000);
        }
        for (member, _) in chosen(self.restarted) {
            let crash = format!("crash:{snap},{member}").parse().unwrap();
            world.inject(crash).unwrap();
        }
    }
}

/// An update of a cluster that was left so, with few looks, since it is the order that is tried here.
fn update(mixes: &[(&str, Mix)]) -> Bench {
    let scenario = Scenario {
        updates: false,
        ..Scenario::of(3)
    };
    let only: Vec<&str> = mixes.iter().map(|(snap, _)| *snap).collect();
    let params = json!({"only": only, "backup": false, "looks": 1});
    let mut bench = Bench::shipped("update", &scenario, &params);
    for member in MEMBERS {
        bench.world.no_self_update(member);
    }
    for (snap, mix) in mixes {
        mix.leave(&mut bench.world, snap);
    }
    bench.wait(Duration::from_secs(120));
    bench
}

/// What a refusal says to type: the playbook and its parameters.
fn printed(text: &str) -> Option<Value> {
    let (_, rest) = text.split_once("lockstep update")?;
    let words = rest.split([';', ',', '.', ')', '\n']).next()?;
    let mut params = serde_json::Map::new();
    let mut words = words.split_whitespace();
    while let Some(word) = words.next() {
        let name = word.strip_prefix("--")?;
        params.insert(name.replace('-', "_"), json!([words.next()?]));
    }
    Some(Value::Object(params))
}

/// How it came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    AtOnce,
    ByThePrintedCommand,
}

/// Plays an update to its end, typing what a refusal says.
fn cured(mut bench: Bench) -> Result<Way, String> {
    let mut way = Way::AtOnce;
    // What somebody did before broke rules, too.
    let before = bench.world.violations().len();
    loop {
        let messages = match bench.run() {
            Ended::Finish(Finish::Done(_)) => break,
            Ended::Finish(Finish::Failed(failure)) => failure.message,
            Ended::Finish(Finish::Held(held)) => {
                let reported = held
                    .iter()
                    .map(lockstep_tests::reported)
                    .collect::<Vec<_>>();
                if held
                    .iter()
                    .any(|h| !h.path.as_str().starts_with("preflight."))
                {
                    return Err(reported.join("; "));
                }
                reported.join("; ")
            }
            other => return Err(format!("{other:?}")),
        };
        let params = printed(&messages).filter(|_| way == Way::AtOnce);
        let params = params.ok_or_else(|| format!("refused without a way: {messages}"))?;
        way = Way::ByThePrintedCommand;
        let world = bench.world.clone();
        bench = Bench::shipped("update", &Scenario::of(3), &params);
        bench.world = world;
    }
    for snap in SNAPS {
        let revisions = bench.revisions(snap);
        if revisions.iter().any(|r| *r != revisions[0]) {
            return Err(format!("{snap} is left at {revisions:?}"));
        }
    }
    match bench.world.violations().get(before) {
        Some(violation) => Err(format!("{violation:?}")),
        None => Ok(way),
    }
}

/// Tries all of them and tells how they went.
fn try_all(named: &str, mixes: impl Iterator<Item = Vec<(&'static str, Mix)>>) {
    let (mut ways, mut stuck) = (BTreeMap::new(), Vec::new());
    for mix in mixes {
        match cured(update(&mix)) {
            Ok(way) => *ways.entry(way).or_insert(0) += 1,
            Err(why) => stuck.push(format!("{mix:?}: {why}")),
        }
    }
    assert!(
        stuck.is_empty(),
        "{named}: {ways:?}, {} stuck:\n{}",
        stuck.len(),
        stuck[..stuck.len().min(8)].join("\n")
    );
}

#[test]
fn every_mix_of_microceph_is_brought_to_one_release() {
    try_all("MicroCeph", Mix::all().map(|mix| vec![("microceph", mix)]));
}

#[test]
fn every_mix_of_microovn_is_brought_to_one_release() {
    try_all("MicroOVN", Mix::all().map(|mix| vec![("microovn", mix)]));
}

#[test]
fn every_mix_of_lxd_is_brought_to_one_release() {
    try_all("LXD", Mix::all().map(|mix| vec![("lxd", mix)]));
}

#[test]
fn every_mix_of_microcloud_is_brought_to_one_release() {
    try_all(
        "MicroCloud",
        Mix::all().map(|mix| vec![("microcloud", mix)]),
    );
}

#[test]
fn mixes_of_all_components_at_once_are_brought_to_one_release() {
    // Every odd number is coprime to the count of mixes: each component goes through all of them in an order of its own.
    let mix = |n: u16, step: u16| Mix::number(n.wrapping_mul(step) & 0x7f);
    let sample = (1..=24).map(|n| {
        SNAPS
            .into_iter()
            .zip([37, 53, 71, 91])
            .map(|(snap, step)| (snap, mix(n, step)))
            .collect()
    });
    try_all("all components", sample);
}

/// A cluster as it is in a file, some time after what is to go wrong there has gone wrong.
fn scenario(name: &str) -> Bench {
    let path = root().join("tests/scenarios").join(name);
    let scenario = read_scenario(Path::new(&path)).unwrap();
    let mut bench = Bench::shipped("update", &scenario, &json!({}));
    for fault in &scenario.faults {
        bench.world.inject(fault.clone()).unwrap();
    }
    bench.world.advance(90_000);
    bench
}

#[test]
fn clusters_that_people_were_left_with_are_cured_by_an_update() {
    let folder = std::fs::read_dir(root().join("tests/scenarios")).unwrap();
    let mut names: Vec<String> = folder
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    for name in names {
        let mut bench = scenario(&name);
        let ended = bench.run();
        assert!(
            matches!(ended, Ended::Finish(Finish::Done(_))),
            "{name}: {ended:?}"
        );
        for snap in SNAPS {
            let revisions = bench.revisions(snap);
            assert!(
                revisions.iter().all(|r| *r == revisions[0]),
                "{name}: {snap} {revisions:?}"
            );
        }
        assert_eq!(bench.world.violations(), [], "{name}");
    }
}

#[test]
fn healing_is_off_in_a_wave_of_an_lxd_that_waits() {
    let mut bench = scenario("healing-two-ahead.toml");
    bench.run().done();
    let steps = bench.history().steps;
    assert!(steps.contains_key("lxd.healing#1"));
    let config = bench.world.lxd_config();
    assert_eq!(config["cluster.healing_threshold"], "60");
}

/// The lines that a run has logged.
fn messages(bench: &Bench) -> Vec<String> {
    let logged = bench.events.iter().filter_map(|e| match &e.event {
        Event::Log { message, .. } => Some(message.clone()),
        _ => None,
    });
    logged.collect()
}

#[test]
fn an_lxd_that_serves_nowhere_is_refreshed_with_a_warning() {
    for name in ["lxd-two-ahead-crashed", "healing-one-ahead"] {
        let mut bench = scenario(&format!("{name}.toml"));
        bench.run().done();
        let reported = messages(&bench);
        let warned = |line: &&String| line.starts_with("LXD's healing can't be switched off");
        assert_eq!(
            reported.iter().filter(warned).count(),
            1,
            "{name}: {reported:#?}"
        );
    }
}

#[test]
fn healing_that_stays_off_is_reported_with_what_to_type() {
    let mut bench = Bench::update(3);
    bench.world.set_healing_threshold(60);
    for member in MEMBERS {
        bench.world.no_self_update(member);
    }
    bench.fault("refresh-fails:lxd,micro02");
    bench.run().held();
    bench.fault("crash:lxd,micro02");
    bench.wait(Duration::from_secs(60));
    let held = bench.abort().held();
    assert_eq!(held.path, "finally/lxd.healing#1");
    insta::assert_snapshot!(held.failure.message);
}

#[test]
fn snaps_that_are_not_held_are_held_without_a_refresh_too() {
    let scenario = Scenario {
        updates: false,
        ..Scenario::of(3)
    };
    let mut bench = Bench::shipped("update", &scenario, &json!({}));
    by_hand(
        &mut bench.world,
        "micro02",
        &["/usr/bin/snap", "refresh", "--unhold", "microovn"],
    );
    assert!(!bench.world.held("micro02", "microovn"));
    bench.run().done();
    assert!(bench.world.held("micro02", "microovn"));
    assert_eq!(bench.refreshes(), Vec::<String>::new());
}

#[test]
fn an_operator_knows_before_a_wave_what_will_stand_still() {
    let mut bench = Bench::update(3);
    bench.run().done();
    let reported = messages(&bench);
    let waves: Vec<String> = reported
        .into_iter()
        .filter(|line| line.contains("Don't reboot"))
        .collect();
    insta::assert_snapshot!(waves.join("\n"));
}

#[test]
fn who_is_behind_and_who_waits_for_whom_is_reported() {
    let mut reported = Vec::new();
    for name in [
        "microceph-left-behind",
        "lxd-left-behind-crashed",
        "lxd-two-ahead-quiet",
    ] {
        let mut bench = Bench::playing("return status.read {}", 3);
        bench.world = scenario(&format!("{name}.toml")).world.clone();
        let status = bench.run().done();
        let component = |c: &Value| {
            let of =
                json!({"health": c["health"], "halfway": c["halfway"], "problems": c["problems"]});
            format!("{name} {}: {of:#}", c["title"].as_str().unwrap())
        };
        let all = status["components"].as_array().unwrap().iter();
        reported.extend(all.filter(|c| !c["halfway"].is_null()).map(component));
    }
    insta::assert_snapshot!(reported.join("\n"));
}
