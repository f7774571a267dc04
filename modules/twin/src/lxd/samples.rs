//! The twin says what real LXD said.

use lockstep_modules::contract::cmd::{Cmd, Output};

use super::Instance;
use crate::transcript::printed;
use crate::{Scenario, World};

/// What was printed when a command was given for the `nth` time.
fn sample(command: &str, nth: usize) -> String {
    let printed = printed("lxd/evacuate", command, nth);
    format!("{}\n", printed.trim_end_matches('\n'))
}

fn world() -> World {
    let mut world = Scenario {
        instances: Some(vec![
            Instance::container("c1", "micro01"),
            Instance::container("p1", "micro01"),
            Instance::container("p2", "micro01").with("cluster.evacuate", "stop"),
        ]),
        ..Scenario::of(3)
    }
    .build();
    for (i, machine) in world.members.values_mut().enumerate() {
        machine.address = format!("10.77.0.{}", 11 + i);
    }
    world
}

/// Runs a command to its end, and gathers what LXD shows of its operation meanwhile.
fn watch(world: &mut World, line: &str) -> (Output, Vec<String>) {
    let argv = line.split(' ').map(str::to_owned);
    let id = world.spawn(
        "micro01",
        &Cmd::root(argv).timeout(std::time::Duration::from_secs(120)),
    );
    let mut shown = Vec::new();
    loop {
        if let Some(op) = world
            .lxd
            .operations
            .last()
            .filter(|op| !op.progress.is_empty())
        {
            let text = format!("{}: {}", op.what.description(), op.progress);
            if shown.last() != Some(&text) {
                shown.push(text);
            }
        }
        if let Some(output) = world.take(id) {
            return (output, shown);
        }
        world.advance(world.next_due().unwrap());
    }
}

#[test]
fn an_evacuation_goes_as_it_went() {
    let mut world = world();
    let evacuate = "/snap/bin/lxc cluster evacuate micro01 --force";
    let (output, shown) = watch(&mut world, evacuate);
    assert!(output.success(), "{output:?}");
    assert_eq!(shown.join("\n") + "\n", sample(&evacuate[10..], 0));
    let places = world.instances().iter().map(|i| {
        let state = if i.running { "RUNNING" } else { "STOPPED" };
        format!("{},{state},{}\n", i.name, i.location)
    });
    assert_eq!(places.collect::<String>(), sample("lxc list", 0));

    let (output, _) = watch(&mut world, evacuate);
    assert_eq!(output.stderr, sample(&evacuate[10..], 1));
    let query = "/snap/bin/lxc query /1.0/cluster/members/micro01";
    let (output, _) = watch(&mut world, query);
    assert_eq!(output.stdout, sample(&query[10..], 0) + "\n");
    let asking = "/snap/bin/lxc cluster evacuate micro02";
    let (output, _) = watch(&mut world, asking);
    assert_eq!(output.stdout + &output.stderr, sample(&asking[10..], 0));

    let restore = "/snap/bin/lxc cluster restore micro01 --force";
    let (output, shown) = watch(&mut world, restore);
    assert!(output.success(), "{output:?}");
    assert_eq!(shown.join("\n") + "\n", sample(&restore[10..], 0));
    let (output, _) = watch(&mut world, restore);
    assert_eq!(output.stderr, sample(&restore[10..], 1));

    let query = "/snap/bin/lxc query /1.0/operations?recursion=1";
    let (output, _) = watch(&mut world, query);
    assert_eq!(timeless(&output.stdout), timeless(&sample(&query[10..], 0)));
}

#[test]
fn a_member_that_is_cut_off_cannot_be_evacuated() {
    let mut world = world();
    world.set_link("micro03", false);
    world.advance(36_000);
    let began = world.now;
    let evacuate = "/snap/bin/lxc cluster evacuate micro03 --force";
    let (output, _) = watch(&mut world, evacuate);
    let command = format!("timeout 60 {}", &evacuate[10..]);
    let real = printed("lxd/evacuate-with-member-offline", &command, 0);
    // The client's own words in front of the server's are others since 5.21.
    let why = |text: &str| text.rsplit(": ").next().map(str::to_owned);
    assert_eq!(why(&output.stderr), why(&real));
    assert_eq!((world.now - began) / 1000, 10);
}

/// JSON text without what differs from one time to the next.
fn timeless(text: &str) -> String {
    let varies = |line: &&str| ["_at\":", "\"id\":"].iter().any(|key| line.contains(key));
    let lines: Vec<&str> = text
        .trim_end()
        .lines()
        .filter(|line| !varies(line))
        .collect();
    lines.join("\n")
}
