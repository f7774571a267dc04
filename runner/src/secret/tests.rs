use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use lockstep_modules::contract::cmd::Cmd;
use lockstep_modules::contract::cx::LogLevel;
use proptest::prelude::*;
use serde_json::json;

use super::source::{LONGEST, SHORTEST};
use super::*;

fn secrets(values: &[&str]) -> Secrets {
    let values = values.iter().enumerate().map(|(i, value)| {
        let value = (*value).to_owned();
        let opened = Opened {
            value,
            warning: None,
        };
        (format!("s{i}"), opened)
    });
    Secrets::of(values).unwrap()
}

/// A value in all forms in which programs may print it, each between other text.
fn forms(value: &str) -> Vec<String> {
    let json = json!(value).to_string();
    let ascii: String = json
        .encode_utf16()
        .map(|unit| match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
            _ => format!("\\u{unit:04x}"),
        })
        .collect();
    let html = json
        .replace('<', "\\u003c")
        .replace('>', "\\u003E")
        .replace('&', "\\u0026");
    let percent = |upper: bool| -> String {
        let byte = |b: u8| match b {
            b'-' | b'_' | b'.' => char::from(b).to_string(),
            b if b.is_ascii_alphanumeric() => char::from(b).to_string(),
            b if upper => format!("%{b:02X}"),
            b => format!("%{b:02x}"),
        };
        value.bytes().map(byte).collect()
    };
    let hex: String = value.bytes().map(|b| format!("{b:02X}")).collect();
    let mut forms = vec![
        value.to_owned(),
        json.clone(),
        json!(json).to_string(),
        json!(json!(json).to_string()).to_string(),
        json.replace('/', "\\/"),
        ascii,
        html,
        percent(true),
        percent(false),
        percent(true).replace("%20", "+"),
        percent(true).replace('%', "%25"),
        Cmd::user(["/bin/x", value]).display(),
        format!("{value:?}"),
        hex,
    ];
    for around in ["", "u", "us", "use"] {
        let whole = format!("{around}{value}{around}");
        forms.push(STANDARD.encode(&whole));
        forms.push(URL_SAFE.encode(&whole));
        let long = STANDARD.encode(format!("{value}{whole}"));
        let lines: Vec<&str> = long
            .as_bytes()
            .chunks(10)
            .map(|c| std::str::from_utf8(c).unwrap())
            .collect();
        forms.push(lines.join("\n"));
        forms.push(json!(lines.join("\r\n")).to_string());
    }
    forms
}

/// Letters and digits of the longest piece of a form that is still there.
fn left_of(form: &str, text: &str) -> usize {
    let starts = form.char_indices().map(|(at, _)| at);
    let longest = |from: usize| {
        let rest = &form[from..];
        let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = ends.take_while(|end| text.contains(&rest[..*end])).last();
        let piece = &rest[..end.unwrap_or(0)];
        piece.chars().filter(|c| c.is_alphanumeric()).count()
    };
    starts.map(longest).max().unwrap_or(0)
}

#[test]
fn a_secret_is_found_in_every_form() {
    for value in [
        "hunter2-hunter2",
        "pa ss'w\"or\\d/+=",
        "Käse & <Brot> 🧀 %41",
        "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA7b\n+/abcdefgh==\n-----END KEY-----",
        "\\\\host\\share\\",
        "tab\tand\rreturn",
    ] {
        let secrets = secrets(&[value]);
        for form in forms(value) {
            let text = format!("before {form} after");
            let shown = secrets.show_text(&text);
            let left = left_of(&form, &shown);
            // What stands around it in the form may stay.
            assert!(left < 8, "{left} of {form} are left in {shown}");
            assert!(
                shown.starts_with("before ") && shown.ends_with(" after"),
                "{shown}"
            );
            let out = secrets.take_out_of(text);
            assert!(left_of(&form, &out) < 8, "{out}");
        }
    }
}

#[test]
fn a_value_as_it_is_becomes_its_placeholder_and_goes_back() {
    let secrets = secrets(&["correct horse", "correct horse battery"]);
    let value =
        json!({"a": ["x correct horse battery y", 7], "correct horse": "Y29ycmVjdCBob3JzZQ=="});
    let out = secrets.take_out(value);
    let (first, second) = (placeholder("s0"), placeholder("s1"));
    assert_eq!(
        out,
        json!({"a": [format!("x {second} y"), 7], first.clone(): "***"})
    );
    let back = secrets.put_in(json!([format!("x {second} y")])).unwrap();
    assert_eq!(back, json!(["x correct horse battery y"]));
    assert_eq!(shown(&format!("a{first}b{second}")), "a***b***");
}

#[test]
fn what_a_member_makes_look_like_a_placeholder_is_none() {
    let secrets = secrets(&["correct horse"]);
    let forged = format!("give me {}", placeholder("s0"));
    let out = secrets.take_out(json!({"stdout": forged}));
    let passed_on = secrets.put_in(out).unwrap();
    assert!(
        !passed_on.to_string().contains("correct horse"),
        "{passed_on}"
    );
}

#[test]
fn a_placeholder_that_was_cut_or_changed_is_refused() {
    let whole = placeholder("s0");
    let half: String = whole.chars().take(9).collect();
    let broken = [
        whole.to_uppercase(),
        half.clone(),
        format!("{half}{whole}"),
        placeholder("s7"),
    ];
    for secrets in [
        secrets(&["correct horse"]),
        Secrets::simulated(["s0".to_owned()]),
    ] {
        for text in &broken {
            let error = secrets
                .put_in(json!({"argv": ["/bin/x", text]}))
                .unwrap_err();
            assert_eq!(error.kind, Kind::Args, "{text}");
        }
    }
    assert_eq!(shown(&half), "secret:s");
}

#[test]
fn a_simulated_run_keeps_placeholders_and_shows_stars() {
    let secrets = Secrets::simulated(["s0".to_owned()]);
    let args = json!({"argv": ["/bin/x", placeholder("s0")]});
    assert_eq!(secrets.put_in(args.clone()).unwrap(), args);
    assert_eq!(secrets.take_out(args.clone()), args);
    assert_eq!(secrets.show(args), Some(json!({"argv": ["/bin/x", "***"]})));
}

#[test]
fn what_a_cut_output_has_of_a_secret_is_taken_out() {
    let secrets = secrets(&["0123456789abcdef"]);
    let text = format!("9abcdef {} 0123456", "-".repeat(400));
    assert_eq!(
        secrets.show_text(&text),
        format!("*** {} ***", "-".repeat(400))
    );
}

#[test]
fn of_a_running_program_no_part_of_a_secret_is_shown() {
    let value = "0123456789abcdef".repeat(12);
    let long = secrets(&[&value]);
    let whole = STANDARD.encode(&value);
    let lines = |count: usize| -> String {
        let lines = whole.as_bytes().chunks(76).take(count);
        let lines = lines.map(|line| format!("{}\n", String::from_utf8_lossy(line)));
        lines.collect()
    };
    for count in 1..=4 {
        let reported = long.last_line(&format!("in base64:\n{}", lines(count)));
        assert!(
            reported.is_none_or(|line| left_of(&whole, &line) < 8),
            "{count}"
        );
    }
    assert_eq!(long.last_line("step 2 of 3\n\n").unwrap(), "step 2 of 3");
    assert_eq!(long.last_line(&format!("is {value}\n")).unwrap(), "is ***");
    assert_eq!(long.last_line("10 %\r 20 %\r").unwrap(), "20 %");
    assert_eq!(long.last_line("\n}\n"), None);
    // Where there is no secret, long words are words.
    let word = "x".repeat(100);
    assert_eq!(Secrets::default().last_line(&word), Some(word));
}

#[test]
fn our_words_that_are_a_secret_leave_an_event_readable() {
    let secrets = secrets(&["command", "converge"]);
    let event = crate::event::Event::Log {
        level: LogLevel::Info,
        scope: String::new(),
        message: "the command will converge".to_owned(),
    };
    let shown = secrets.show(event).unwrap();
    let crate::event::Event::Log { message, .. } = shown else {
        panic!("{shown:?}");
    };
    assert_eq!(message, "the *** will ***");
    let failure = OpError::command("no").with("kind", "a command");
    let shown = secrets.show(failure).unwrap();
    assert_eq!((shown.kind, shown.message.as_str()), (Kind::Command, "no"));
}

#[test]
fn nothing_prints_a_value() {
    let secrets = secrets(&["correct horse"]);
    assert_eq!(format!("{secrets:?}"), "{\"s0\"}");
}

fn refused(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, text).unwrap();
    let error = Source::File(path.clone()).open("token").unwrap_err();
    error.to_string().replace(path.to_str().unwrap(), "TOKEN")
}

#[test]
fn what_cannot_be_a_secret_is_refused_without_being_shown() {
    insta::assert_snapshot!(refused("\n"), @"the file TOKEN is empty");
    insta::assert_snapshot!(refused("abc  \n"), @"the file TOKEN holds fewer than 6 characters: text this short appears everywhere by chance, and can't be kept out of what is written down");
    insta::assert_snapshot!(refused("abc\0defghi"), @"the file TOKEN holds no text: it has a NUL in it");
    insta::assert_snapshot!(refused(&"x".repeat(LONGEST + 1)), @"the file TOKEN holds more than 8192 bytes: that is no secret but a file");
    insta::assert_snapshot!(refused("abcdef\u{E000}"), @"the file TOKEN holds no text: it has a character that lockstep marks secrets with");
    let missing = Source::File("/nonexistent/token".into()).open("token");
    insta::assert_snapshot!(missing.unwrap_err(), @"the file /nonexistent/token isn't there");
    let unset = Source::Env("LOCKSTEP_TEST_UNSET".to_owned()).open("token");
    insta::assert_snapshot!(unset.unwrap_err(), @"the environment has no variable LOCKSTEP_TEST_UNSET");
    let folder = Source::File("/".into()).open("token");
    insta::assert_snapshot!(folder.unwrap_err(), @"the file / can't be read: Is a directory (os error 21)");
    for text in [
        "hunter2",
        "hunter2:hunter2",
        "env:",
        "env:hunter=2",
        "file:",
        "ASK",
        "",
    ] {
        let error = text.parse::<Source>().unwrap_err().to_string();
        assert!(!error.contains("hunter"), "{error}");
    }
}

#[test]
fn a_file_may_end_with_a_newline_and_should_be_private() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, "correct horse\r\n").unwrap();
    for (mode, warned) in [(0o600, false), (0o640, true)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let opened = Source::File(path.clone()).open("token").unwrap();
        assert_eq!(opened.value, "correct horse");
        assert_eq!(opened.warning.is_some(), warned, "{mode:o}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_value_survives_in_any_form(value in "[a-zA-Z0-9 '\"\\\\/+=%&<>é🧀\n\t_-]{6,40}", around in "[a-z \n]{0,30}") {
        prop_assume!(value.trim().chars().count() >= SHORTEST);
        let secrets = secrets(&[&value]);
        let longest = value.lines().map(str::trim).map(str::len).max().unwrap_or(0);
        for form in forms(&value) {
            let shown = secrets.show_text(&format!("{around}{form}{around}"));
            prop_assert!(!shown.contains(&form), "{form:?} in {shown:?}");
            if !value.contains('\n') {
                let left = left_of(&form, &shown);
                prop_assert!(left < 9, "{left} of {form:?} are left in {shown:?}");
            }
            if longest >= SHORTEST {
                prop_assert!(shown.contains("***"), "{form:?} in {shown:?}");
            }
        }
    }

    #[test]
    fn other_text_is_left_as_it_is(value in "[A-Z0-9]{12,40}", text in "[a-z {}:,\n]{0,600}") {
        let secrets = secrets(&[&value]);
        prop_assert_eq!(secrets.show_text(&text), text.clone());
        prop_assert_eq!(secrets.take_out_of(text.clone()), text);
    }
}
