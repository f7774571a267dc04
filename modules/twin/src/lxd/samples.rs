//! The twin says what real LXD said.

use lockstep_modules::cmd::{Cmd, Output};

use super::Instance;
use crate::{Scenario, World};

const SAMPLE: &str = include_str!("../../samples/lxd/evacuate.txt");

/// What stands in the sample under the `nth` time that a command was given.
fn sample(command: &str, nth: usize) -> String {
    let mut found = SAMPLE.split("\n$ ").filter_map(|part| {
        let (head, printed) = part.split_once('\n')?;
        (head == command).then_some(printed)
    });
    let printed = found
        .nth(nth)
        .unwrap_or_else(|| panic!("no sample of {command}"));
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
