//! Members that answer with anything but what was asked for: no op panics, hangs or takes nothing for well.
//!
//! Each output may be cut, flipped, doubled, emptied or replaced. A few seeds are tried here, many in the nightly tests.

use std::cell::RefCell;
use std::rc::Rc;

use lockstep::engine::Finish;
use lockstep_modules::contract::cmd::{End, Output};
use lockstep_tests::answers::{Mutation, asked, fuzzed, is_gate};
use serde_json::Value;

/// An output as a member might give it that is broken, or means harm. Two of three are left as they are.
fn mutated(rng: &mut fastrand::Rng, mut output: Output) -> Output {
    let text = &mut output.stdout;
    let place =
        |rng: &mut fastrand::Rng, text: &str| text.floor_char_boundary(rng.usize(..=text.len()));
    match rng.u8(0..36) {
        0 => text.clear(),
        1 => text.truncate(place(rng, text)),
        2 => text.insert(place(rng, text), char::from(rng.u8(0..128))),
        3 => {
            let mut bytes = std::mem::take(text).into_bytes();
            if let Some(at) = rng.choice(0..bytes.len()) {
                bytes[at] ^= 1 << rng.u8(0..8);
            }
            *text = String::from_utf8_lossy(&bytes).into_owned();
        }
        4 => {
            *text = text
                .lines()
                .map(|line| format!("{line}\n{line}\n"))
                .collect()
        }
        5 => {
            *text = text
                .lines()
                .skip(1)
                .map(|line| format!("{line}\n"))
                .collect()
        }
        6 => {
            let other = *rng
                .choice(&["[]", "{}", "null", "\"\"", "0", "[[]]", "[null]", "[{}]"])
                .unwrap_or(&"");
            *text = other.to_owned();
        }
        7 => {
            let huge = *rng
                .choice(&[
                    "18446744073709551615",
                    "-1",
                    "1e308",
                    "99999999999999999999",
                ])
                .unwrap_or(&"");
            let digit = |c: char| c.is_ascii_digit();
            if let Some(at) = text.find(digit) {
                let end = text[at..]
                    .find(|c| !digit(c))
                    .map_or(text.len(), |length| at + length);
                text.replace_range(at..end, huge);
            }
        }
        8 => *text = "[".repeat(200_000),
        9 => output.end = End::Exit(rng.i32(0..256)),
        10 => output.truncated = true,
        11 => std::mem::swap(&mut output.stdout, &mut output.stderr),
        _ => {}
    }
    output
}

/// What a product says that has nothing: no list has a row, and no object a field.
fn emptied(mut output: Output) -> Output {
    match serde_json::from_str(&output.stdout) {
        Ok(Value::Array(_)) => "[]".clone_into(&mut output.stdout),
        Ok(Value::Object(_)) => "{}".clone_into(&mut output.stdout),
        _ => {}
    }
    output
}

fn seeds(seeds: std::ops::Range<u64>) {
    let mut failed = 0;
    for op in lockstep_modules::registry().ops() {
        for seed in seeds.clone() {
            let rng = RefCell::new(fastrand::Rng::with_seed(seed));
            let mutation: Mutation = Rc::new(move |output| mutated(&mut rng.borrow_mut(), output));
            let members = if seed % 2 == 0 { 1 } else { 3 };
            failed += usize::from(!matches!(asked(op, members, mutation), Finish::Done(_)));
        }
    }
    // Most of what is changed is noticed.
    assert!(failed > 20, "{failed}");
}

#[test]
fn no_op_panics_or_hangs_whatever_members_print() {
    seeds(0..6);
}

#[test]
#[ignore = "takes long: nightly"]
fn no_op_panics_or_hangs_whatever_is_printed_a_thousand_ways() {
    seeds(0..1_000);
}

#[test]
fn no_gate_opens_on_lists_without_a_row() {
    // What these ask isn't answered with lists.
    const WITHOUT: [&str; 4] = [
        "snap.wait",
        "backup.verify",
        "lxd.unharmed",
        "status.unharmed",
    ];
    let registry = lockstep_modules::registry();
    let gates = registry.ops();
    let gates = gates.filter(|op| is_gate(&op.name) && !WITHOUT.contains(&op.name.as_str()));
    for op in gates {
        for members in [1, 3] {
            let finish = asked(op, members, Rc::new(emptied));
            assert!(
                !matches!(finish, Finish::Done(_)),
                "{}: {finish:?}",
                op.name
            );
        }
    }
}

/// What `tests/fuzz` begins with, for each op of each module.
#[test]
fn the_fuzzers_begin_with_answers_that_are_survived() {
    let registry = lockstep_modules::registry();
    for module in registry.modules() {
        for op in 0..module.ops.len() {
            for (answer, text) in ["[{}]", "\u{0}é\n18446744073709551616\t-1"]
                .iter()
                .enumerate()
            {
                let bytes = [op, answer].map(|byte| u8::try_from(byte).unwrap());
                fuzzed(&module.name, &[&bytes, text.as_bytes()].concat());
            }
        }
    }
}
