//! The live view, looked at through a terminal emulator.

use std::io::Read;
use std::process::Stdio;

use console::{measure_text_width, strip_ansi_codes};
use indicatif::InMemoryTerm;
use lockstep::event::{Event, Outcome, Reporter, Stamped, StepInfo, VERSION};
use lockstep::failure::Failure;
use lockstep::report::excerpt::Ink;
use lockstep::report::{Board, LineReporter, LiveReporter, NowReporter, Screen, Signs};
use lockstep_modules::contract::cx::LogLevel;
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::path::StepPath;
use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::write;
use regex::Regex;

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
    let size = (width.into(), height.into());
    let screen = Screen::emulated(&term, size, Ink::Plain);
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

/// The last lines, where what is in progress stands.
fn foot(frame: &str) -> &str {
    frame.rfind("\n\n").map_or(frame, |at| &frame[at + 2..])
}

fn progress(of: &'static str, text: &'static str) -> impl Fn(&Event) -> bool {
    move |event| {
        matches!(event, Event::Progress { path, text: logged, .. }
            if path.as_str().contains(of) && logged.contains(text))
    }
}

#[test]
fn what_is_in_progress_stands_below_what_is_over() {
    let events = events(&["update", "--cluster", "twin:3", "--stage=false"], 0);
    let frames = [
        progress("MicroCeph/micro02/snap.refresh", "Download"),
        progress("MicroCeph/micro02/microceph.wait", "placement groups"),
        progress("LXD/micro03/snap.refresh", "Download"),
        progress("MicroCloud/micro01/snap.refresh", ""),
    ]
    .map(|until| frame(&events, (100, 24), until).unwrap());
    insta::assert_snapshot!(frames.join("\n\n----\n\n"));
}

#[test]
fn an_evacuation_shows_how_many_instances_are_away() {
    let args = [
        "rehearse",
        "update",
        "--only",
        "microovn",
        "--backup=false",
        "--evacuate",
    ];
    let events = events(&args, 0);
    let shares = events.iter().filter_map(|e| match &e.event {
        Event::Progress {
            path,
            done,
            total: Some(total),
            text,
        } if path.op() == "lxd.evacuate" => Some(format!("{done} of {total}: {text}")),
        _ => None,
    });
    let mut shares: Vec<String> = shares.collect();
    shares.dedup();
    assert!(!shares.is_empty());
    insta::assert_snapshot!(shares.join("\n"));
}

#[test]
fn fifty_members_and_a_small_terminal_show_what_fits() {
    let many = events(
        &[
            "update",
            "--cluster",
            "twin:50",
            "--only",
            "lxd",
            "--stage=false",
        ],
        0,
    );
    let all_at_once = || progress("LXD/micro50/snap.refresh", "Download");
    let frames = [(120, 12), (80, 10), (60, 8), (30, 6), (20, 4), (12, 2)]
        .map(|size| frame(&many, size, all_at_once()).unwrap())
        .map(|frame| foot(&frame).to_owned());
    insta::assert_snapshot!(frames.join("\n\n----\n\n"));
}

#[test]
fn a_hold_and_what_runs_beside_it_are_shown_together() {
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
    // In the end nothing is left below what was reported.
    let end = self::frame(&held, (110, 30), |event| {
        matches!(event, Event::RunEnded { .. })
    });
    let end = end.unwrap();
    assert!(!end.contains("on twin of 3  "), "{end}");
    assert!(end.contains("held at"), "{end}");
}

/// What is in progress once `until` is true of an event.
fn board(events: &[Stamped], until: impl Fn(&Event) -> bool) -> (Board, jiff::Timestamp) {
    let mut board = Board::default();
    for event in events {
        board.take(event);
        if until(&event.event) {
            return (board, event.at);
        }
    }
    panic!("it never came to that");
}

#[test]
fn colours_are_few_and_can_be_left_out() {
    let events = events(
        &[
            "update",
            "--cluster",
            "twin:3",
            "--only",
            "microovn,lxd",
            "--stage=false",
        ],
        0,
    );
    let mut shown = Vec::new();
    for width in [80, 120] {
        let (board, at) = board(&events, progress("LXD/micro03/snap.refresh", "Download"));
        let coloured = board.lines(at, (width, 24), Signs::UNICODE, Ink::Colour);
        let plain = board.lines(at, (width, 24), Signs::UNICODE, Ink::Plain);
        let stripped: Vec<_> = coloured.iter().map(|l| strip_ansi_codes(l)).collect();
        assert_eq!(stripped, plain);
        shown.push(coloured.join("\n").replace('\x1b', "␛"));
    }
    insta::assert_snapshot!(shown.join("\n\n----\n\n"));
}

#[test]
fn every_size_of_a_terminal_is_kept_to() {
    let args = [
        "rehearse",
        "update",
        "--members",
        "12",
        "--only",
        "lxd",
        "--stage=false",
        "--fault",
        "refresh-fails:lxd,micro02",
    ];
    let held = events(&args, 4);
    let cases = [
        board(&held, progress("LXD/micro05/snap.refresh", "Download")),
        board(&held, |event| matches!(event, Event::StepHeld { .. })),
    ];
    for (board, at) in cases {
        for (width, height) in (1..130).flat_map(|w| (1..30).map(move |h| (w, h))) {
            for ink in [Ink::Plain, Ink::Colour] {
                let lines = board.lines(at, (width, height), Signs::UNICODE, ink);
                assert!(
                    !lines.is_empty() && lines.len() < height.max(2),
                    "{width}x{height}: {lines:#?}"
                );
                let widest = lines.iter().map(|l| measure_text_width(l)).max();
                assert!(widest <= Some(width), "{width}x{height}: {lines:#?}");
            }
        }
    }
}

#[test]
fn the_stages_are_those_that_the_parameters_leave() {
    let of = |args: &[&str]| match &events(args, 0)[0].event {
        Event::RunStarted { stages, .. } => stages.clone(),
        other => panic!("{other:?}"),
    };
    let update = ["update", "--cluster", "twin:3"];
    assert_eq!(
        of(&update),
        [
            "Record",
            "Backup",
            "Downloads",
            "MicroCeph",
            "MicroOVN",
            "LXD",
            "MicroCloud"
        ]
    );
    let only = ["--only", "lxd,microcloud", "--backup=false"];
    let only = [&update[..], &only].concat();
    assert_eq!(of(&only), ["Record", "Downloads", "LXD", "MicroCloud"]);
    let upgrade = [
        "upgrade",
        "--cluster",
        "twin:3",
        "--microovn",
        "24.03/stable",
    ];
    assert_eq!(of(&upgrade), ["Record", "Backup", "Downloads", "MicroOVN"]);
}

/// The beginning of a run that runs a program on each of two members, of which one talks while the other is silent.
fn talking() -> Vec<Stamped> {
    let text = |text: &str| text.to_owned();
    let path = |member: &str| StepPath::from(format!("Tables/{member}/exec#1"));
    let starts = |member: &str| Event::StepStarted {
        step: StepInfo {
            path: path(member),
            op: text("exec"),
            member: Some(member.into()),
            headline: text("/usr/local/bin/migrate --all"),
            effect: lockstep_modules::contract::op::Effect::Once,
        },
        attempt: 1,
        timeout: 900,
    };
    let says = |line: &str| Event::Printed {
        path: path("micro01"),
        member: "micro01".into(),
        line: text(line),
    };
    let events = [
        (
            0,
            Event::RunStarted {
                run: text("site-1"),
                playbook: text("site.lua"),
                cluster: text("lab"),
                members: vec!["micro01".into(), "micro02".into()],
                stages: vec![text("Tables")],
                replayed: 0,
            },
        ),
        (1, starts("micro01")),
        (1, starts("micro02")),
        (3, says("moving table 1 of 40")),
        (5, says("moving table 2 of 40")),
        (14, says("moving table 3 of 40")),
        (
            16,
            Event::Progress {
                path: path("micro01"),
                done: 1,
                total: Some(4),
                text: text("Tables"),
            },
        ),
        (90, says("moving table 3 of 40")),
        (
            92,
            Event::Command {
                path: path("micro01"),
                member: "micro01".into(),
                command: text("/usr/local/bin/migrate --all"),
                end: text("exit 0").into(),
                ms: 91_000,
                stdout: String::new().into(),
                stderr: String::new().into(),
            },
        ),
    ];
    let began: jiff::Timestamp = "2026-04-01T12:00:00Z".parse().unwrap();
    let stamped = events.map(|(second, event)| Stamped {
        v: VERSION,
        at: began + jiff::SignedDuration::from_secs(second),
        event,
    });
    stamped.into()
}

#[test]
fn the_last_line_of_a_long_command_is_shown_until_it_is_over() {
    let events = talking();
    let shown = [(110, 12), (50, 12)].map(|size| {
        let at = |second: i64| {
            let due = events[0].at + jiff::SignedDuration::from_secs(second);
            let until = events.iter().position(|e| e.at == due).unwrap();
            frame(&events[..=until], size, |event| {
                *event == events[until].event
            })
            .unwrap()
        };
        [5, 16, 90, 92].map(at).join("\n--\n")
    });
    insta::assert_snapshot!(shown.join("\n\n----\n\n"));
}

#[test]
fn of_a_look_there_is_nothing_to_see_unless_it_takes_longer() {
    let term = InMemoryTerm::new(12, 110);
    let screen = Screen::emulated(&term, (110, 12), Ink::Plain);
    let mut now = NowReporter::new(screen.clone());
    let mut at = jiff::Timestamp::UNIX_EPOCH;
    for event in &talking()[..5] {
        now.take(event);
        at = event.at;
        assert_eq!(term.contents(), "");
    }
    screen.draw(at);
    insta::assert_snapshot!(term.contents());
    let event = Event::RunEnded {
        outcome: Outcome::Done,
        detail: serde_json::Value::Null,
    };
    now.take(&Stamped {
        v: VERSION,
        at,
        event,
    });
    assert_eq!(term.contents(), "");
}

/// The program continues only when its line was seen.
#[test]
fn an_op_alone_is_seen_on_a_terminal_and_leaves_its_result() {
    let desk = Desk::new();
    write(
        &desk.path("cluster.toml"),
        "name = \"here\"\n\n[[members]]\nname = \"here\"\nlocal = true\n",
    );
    let lockstep = lockstep();
    let typed = format!(
        "stty rows 24 cols 200; {lockstep} --state state op exec -m here --effect read -- /bin/sh -c 'echo halfway; until [ -e \"$0\" ]; do sleep 0.05; done; echo done' {}",
        desk.path("seen").display()
    );
    let mut child = std::process::Command::new("script")
        .args(["-qec", &typed, "/dev/null"])
        .current_dir(desk.path(""))
        .env("TERM", "xterm")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut out, mut logged) = (child.stdout.take().unwrap(), Vec::new());
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&logged).contains("│ halfway") {
        let n = out.read(&mut buffer).unwrap();
        assert!(n > 0, "{}", String::from_utf8_lossy(&logged));
        logged.extend_from_slice(&buffer[..n]);
    }
    write(&desk.path("seen"), "");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(rest.ends_with("halfway\r\ndone\r\n"), "{rest:?}");
}

#[test]
fn without_a_terminal_a_long_command_has_a_line_at_times() {
    let logged = [false, true].map(|verbose| {
        let mut lines = LineReporter::new(Vec::new(), verbose);
        talking().iter().for_each(|event| lines.take(event));
        lines.printed()
    });
    insta::assert_snapshot!(logged.join("\n----\n\n"));
}

/// Events in which everything that a member or a playbook can name is meant to do harm.
fn hostile() -> Vec<Stamped> {
    let evil = format!(
        "\x1b[2J\x1b]0;owned\x07\x1b[31m{}\r\n\u{9b}8m\u{202e}end",
        "x".repeat(10 * 1024 * 1024)
    );
    let path = StepPath::from("\x1b[1mWave/micro01/exec#1");
    let step = StepInfo {
        path: path.clone(),
        op: "exec".to_owned(),
        member: Some("micro01".into()),
        headline: evil.clone(),
        effect: lockstep_modules::contract::op::Effect::Once,
    };
    let failure = Failure::new(Kind::Command, evil.as_str());
    let events = [
        Event::RunStarted {
            run: "site-1".to_owned(),
            playbook: evil.clone(),
            cluster: evil.clone(),
            members: vec!["micro01".into()],
            stages: vec![evil.clone()],
            replayed: 0,
        },
        Event::StepStarted {
            step: step.clone(),
            attempt: 1,
            timeout: 60,
        },
        Event::Progress {
            path: path.clone(),
            done: 1,
            total: Some(2),
            text: evil.clone(),
        },
        Event::Printed {
            path: path.clone(),
            member: "micro01".into(),
            line: evil.clone(),
        },
        Event::Command {
            path: path.clone(),
            member: "micro01".into(),
            command: evil.clone(),
            end: evil.clone().into(),
            ms: 1,
            stdout: evil.clone().into(),
            stderr: evil.clone().into(),
        },
        Event::Away {
            path: path.clone(),
            member: "micro01".into(),
            reason: evil.clone(),
        },
        Event::Log {
            level: LogLevel::Warn,
            scope: evil.clone(),
            message: evil.clone(),
        },
        Event::StepRetried {
            path: path.clone(),
            failure: failure.clone(),
            attempt: 2,
            wait: 3,
        },
        Event::StepDone {
            step,
            summary: evil,
            change: None,
            by: lockstep::journal::By::Run,
            ms: 2000,
        },
        Event::StepHeld {
            path,
            failure,
            in_doubt: false,
        },
    ];
    let at = "2026-04-01T12:00:00Z".parse().unwrap();
    let stamped = events.map(|event| Stamped {
        v: VERSION,
        at,
        event,
    });
    stamped.into()
}

#[test]
fn what_a_member_prints_does_nothing_to_the_terminal() {
    let harmless = |text: &str| {
        let wrong = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(
            !text.contains(wrong),
            "{:?}",
            text.find(wrong).map(|at| &text[at..at + 9])
        );
        assert!(text.len() < 64 * 1024, "{}", text.len());
    };
    let mut lines = LineReporter::new(Vec::new(), true);
    let mut board = Board::default();
    let term = InMemoryTerm::new(24, 100);
    let screen = Screen::emulated(&term, (100, 24), Ink::Plain);
    let mut live = LiveReporter::new(screen, true);
    for event in hostile() {
        lines.take(&event);
        let logged = lines.printed();
        harmless(&logged);
        board.take(&event);
        let shown = board.lines(event.at, (100, 24), Signs::UNICODE, Ink::Plain);
        assert!(shown.iter().all(|line| measure_text_width(line) <= 100));
        harmless(&shown.join("\n"));
        live.take(&event);
        harmless(&term.contents());
    }
    assert!(
        term.contents().contains("␛[2J␛]0;owned␇"),
        "{}",
        term.contents()
    );
}
