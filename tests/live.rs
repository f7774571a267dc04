//! The live view, looked at through a terminal emulator.

use indicatif::InMemoryTerm;
use lockstep::event::{Event, Reporter, Stamped};
use lockstep::report::{LiveReporter, Screen};
use regex::Regex;

use crate::desk::Desk;

/// The events of a run.
fn events(args: &[&str], code: i32) -> Vec<Stamped> {
    let out = Desk::new().run(&[args, &["--json"]].concat()).exits(code);
    let (events, _end) = out.trim_end().rsplit_once('\n').unwrap();
    let events = events
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    events.collect()
}

/// What a terminal of this size shows once `until` is true of an event; nothing where it never is.
fn frame(
    events: &[Stamped],
    (width, height): (u16, u16),
    until: impl Fn(&Event) -> bool,
) -> Option<String> {
    let term = InMemoryTerm::new(height, width);
    let screen = Screen::emulated(Box::new(term.clone()), width.into(), height.into());
    let mut live = LiveReporter::new(screen, false);
    let stamp = Regex::new(r"\d{8}T\d{6}Z").unwrap();
    for event in events {
        live.take(event);
        if until(&event.event) {
            return Some(
                stamp
                    .replace_all(&term.contents(), "20260401T120000Z")
                    .into_owned(),
            );
        }
    }
    None
}

/// The last lines, where what is going on stands.
fn foot(frame: &str) -> &str {
    frame.rfind("\n\n").map_or(frame, |at| &frame[at + 2..])
}

fn progress(of: &'static str, text: &'static str) -> impl Fn(&Event) -> bool {
    move |event| {
        matches!(event, Event::Progress { path, text: said, .. }
            if path.contains(of) && said.contains(text))
    }
}

#[test]
fn what_is_going_on_stands_below_what_is_over() {
    let events = events(&["update", "--cluster", "twin:3"], 0);
    let frames = [
        progress("MicroCeph/micro02/snap.refresh", "Download"),
        progress("MicroCeph/micro02/microceph.wait", "looks"),
        progress("LXD/micro03/snap.refresh", "Stop snap"),
        progress("MicroCloud/micro01/snap.refresh", "Start snap"),
    ]
    .map(|until| frame(&events, (100, 24), until).unwrap());
    insta::assert_snapshot!(frames.join("\n\n----\n\n"));
}

#[test]
fn fifty_members_and_a_small_terminal_show_what_fits() {
    let many = events(&["update", "--cluster", "twin:50", "--only", "lxd"], 0);
    let all_at_once = || progress("LXD/micro50/snap.refresh", "Stop snap");
    let frames = [(100, 24), (60, 8), (20, 4)]
        .map(|size| frame(&many, size, all_at_once()).unwrap())
        .map(|frame| foot(&frame).to_owned());
    insta::assert_snapshot!(frames.join("\n\n----\n\n"));
}

#[test]
fn a_hold_and_what_goes_on_beside_it_are_shown_together() {
    let args = [
        "rehearse",
        "update",
        "--only",
        "lxd",
        "--fault",
        "refresh-fails:lxd,micro02",
    ];
    let held = events(&args, 4);
    let frame = frame(&held, (110, 30), |event| {
        matches!(event, Event::StepHeld { .. })
    });
    insta::assert_snapshot!(foot(&frame.unwrap()));
    // In the end nothing is left below what was said.
    let end = self::frame(&held, (110, 30), |event| {
        matches!(event, Event::RunEnded { .. })
    });
    let end = end.unwrap();
    assert!(!end.contains("on twin of 3  "), "{end}");
    assert!(end.contains("held at"), "{end}");
}
