//! The stream as others read it: its JSON Schema, and the page of the book, both made from the types.

use std::fmt::Write as _;

use jiff::Timestamp;
use lockstep_modules::contract::cmd::End;
use lockstep_modules::contract::cx::LogLevel;
use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::op::Effect;
use lockstep_modules::contract::schema::{Member, required, types_of};
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

use super::{Change, CommandEnd, Event, Interruption, Outcome, Stamped, StepInfo, VERSION};
use crate::failure::Failure;
use crate::journal::By;
use lockstep_modules::contract::path::StepPath;

const HEAD: &str = "\
<!-- Made from `runner/src/event.rs`: edit that, and run cargo generate. -->

# The event stream

Everything that happens in a run is an event: a JSON object in a line. `lockstep update --json` prints them as they occur,
`lockstep watch RUN --json` prints those of a run started elsewhere, and they are kept in `events.jsonl` in the
run's folder. [events.schema.json](events.schema.json) is the JSON Schema of a line.
";

const RULES: &str = "
A reader has to be tolerant:

- Every event has `v`, `at` and `event`. A line with another `v` means something else by the same words: skip it.
- There may be events and fields that this page doesn't know. Skip them; they don't change `v`.
- The last line of the file may have no end: it is being written, or was when the controller died.
- A resumed run continues in the same file with another `run-started`. On a simulated cluster time may go backward there.
- In the file, an output longer than 16 KiB reads `out/NAME (N bytes)`: it is a file of that name in the run's folder.
- `--json` of a run ends with one more line, without `v`: how the run ended.

Events are for watching. Nothing is decided by them, and a run whose events are lost can still be resumed: it relies
on its journal alone.
";

/// The JSON Schema of a line of the stream.
#[must_use]
pub fn schema() -> Value {
    let schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Stamped>();
    let mut schema = Value::from(schema);
    schema["title"] = json!("An event of a lockstep run");
    schema["properties"]["v"]["const"] = json!(VERSION);
    schema
}

/// The page of the book about the stream, with an example of each event.
#[must_use]
pub fn page() -> String {
    let schema = schema();
    let mut page = HEAD.to_owned();
    let _ = writeln!(page, "\nThis is version {VERSION} of the stream.");
    page.push_str(RULES);
    page.push_str("\n## Every event\n\n");
    page.push_str(&table(&schema));
    let examples = examples();
    for variant in array(&schema, "oneOf") {
        let name = variant.pointer("/properties/event/const");
        let name = name.and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(page, "\n## {name}\n\n{}\n", doc(variant));
        page.push_str(&table(variant));
        let of_this_kind = |event: &&Stamped| json!(event)["event"] == name;
        for event in examples.iter().filter(of_this_kind) {
            let line = serde_json::to_string(event).unwrap_or_default();
            let _ = writeln!(page, "\n```json\n{line}\n```");
        }
    }
    let definitions = schema.get("$defs").and_then(Value::as_object);
    for (name, definition) in definitions.into_iter().flatten() {
        let _ = writeln!(page, "\n## {name}\n\n{}\n", doc(definition));
        page.push_str(&table(definition));
        for word in array(definition, "oneOf") {
            let value = word
                .get("const")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let _ = writeln!(page, "- `{value}`: {}", doc(word));
        }
    }
    page
}

fn array<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    schema
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn doc(schema: &Value) -> String {
    let doc = schema.get("description").and_then(Value::as_str);
    doc.unwrap_or_default().replace('\n', " ")
}

/// The fields of an object; nothing where there are none.
fn table(schema: &Value) -> String {
    let Some(fields) = schema.get("properties").and_then(Value::as_object) else {
        return String::new();
    };
    let mut text = "| Field | Type | |\n|---|---|---|\n".to_owned();
    for (name, field) in fields
        .iter()
        .filter(|(_, field)| field.get("const").is_none_or(|c| !c.is_string()))
    {
        let optional = if required(schema).any(|known| known == name) {
            ""
        } else {
            "?"
        };
        let _ = writeln!(
            text,
            "| `{name}`{optional} | {} | {} |",
            kind(field),
            doc(field)
        );
    }
    text
}

/// A type in a word.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
        let name = name.rsplit('/').next().unwrap_or_default();
        return format!("[{name}](#{})", name.to_lowercase());
    }
    let choices: Vec<String> = array(schema, "anyOf").map(kind).collect();
    if !choices.is_empty() {
        return choices.join(" or ");
    }
    let types = types_of(schema);
    if types.first() == Some(&"array") {
        let items = schema.get("items").map_or_else(|| "any".to_owned(), kind);
        return format!("list of {items}");
    }
    if types.is_empty() {
        return "any".to_owned();
    }
    types.join(" or ")
}

/// An event of each kind, as it could have been.
fn examples() -> Vec<Stamped> {
    let events = [beginnings(), meanwhile(), ends(), of_the_run()].concat();
    let began = 1_796_425_200;
    let stamped = (began..).zip(events).map(|(at, event)| Stamped {
        v: VERSION,
        at: Timestamp::from_second(at).unwrap_or_default(),
        event,
    });
    stamped.collect()
}

fn path() -> StepPath {
    "LXD/micro02/snap.refresh#1".into()
}

fn wait() -> StepPath {
    "MicroCeph/micro02/microceph.wait#1".into()
}

fn member() -> Member {
    "micro02".into()
}

fn step() -> StepInfo {
    StepInfo {
        path: path(),
        op: "snap.refresh".to_owned(),
        member: Some(member()),
        headline: "lxd".to_owned(),
        effect: Effect::Once,
    }
}

fn failure() -> Failure {
    Failure {
        op: Some("snap.refresh".to_owned()),
        step: Some(path()),
        member: Some(member()),
        site: Some("playbooks/waves/wave.lua:64".to_owned()),
        ..Failure::new(Kind::Command, "snapd undid the refresh")
    }
}

/// How runs and steps begin.
fn beginnings() -> Vec<Event> {
    vec![
        Event::RunStarted {
            run: "update-14".to_owned(),
            playbook: "update".to_owned(),
            cluster: "lab".to_owned(),
            members: vec!["micro01".into(), member()],
            stages: vec![
                "Backup".to_owned(),
                "MicroCeph".to_owned(),
                "LXD".to_owned(),
            ],
            replayed: 0,
        },
        Event::StepStarted {
            step: step(),
            attempt: 1,
            timeout: 1800,
        },
        Event::StepProbed { step: step() },
    ]
}

/// What comes of a step while it runs.
fn meanwhile() -> Vec<Event> {
    vec![
        Event::Progress {
            path: path(),
            done: 12,
            total: Some(22),
            text: "Stop snap \"lxd\" services".to_owned(),
        },
        Event::Printed {
            path: "drain/exec#1".into(),
            member: member(),
            line: "3 of 7 backends are drained".to_owned(),
        },
        Event::Command {
            path: wait(),
            member: member(),
            command: "sudo /snap/bin/microceph.ceph health --format json".to_owned(),
            end: CommandEnd::Ended(End::Exit(0)),
            ms: 640,
            stdout: "{\"status\":\"HEALTH_OK\",\"checks\":{}}\n"
                .to_owned()
                .into(),
            stderr: String::new().into(),
        },
        Event::Mended {
            path: wait(),
            member: member(),
            reason: "the idle connection had broken".to_owned(),
        },
        Event::Away {
            path: path(),
            member: member(),
            reason: "contact was lost".to_owned(),
        },
    ]
}

/// How attempts at a step end.
fn ends() -> Vec<Event> {
    vec![
        Event::StepDone {
            step: step(),
            summary: "33100 → 33110 (5.21.4-8a3cf61)".to_owned(),
            change: Some(Change {
                component: "lxd".to_owned(),
                member: member(),
                from: "33100".to_owned(),
                to: "33110".to_owned(),
                version: Some("5.21.4-8a3cf61".to_owned()),
            }),
            by: By::Run,
            ms: 9800,
        },
        Event::StepRetried {
            path: path(),
            failure: failure(),
            attempt: 2,
            wait: 30,
        },
        Event::StepFailed {
            path: path(),
            failure: failure(),
        },
        Event::StepHeld {
            path: path(),
            failure: failure(),
            in_doubt: false,
        },
    ]
}

/// What is of no step.
fn of_the_run() -> Vec<Event> {
    vec![
        Event::Log {
            level: LogLevel::Info,
            scope: "LXD".to_owned(),
            message: "micro01 goes first".to_owned(),
        },
        Event::Interrupted {
            level: Interruption::Drain,
        },
        Event::RunEnded {
            outcome: Outcome::Held,
            detail: json!([path()]),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_an_example() {
        let schema = schema();
        let mut names: Vec<&str> = array(&schema, "oneOf")
            .filter_map(|variant| variant.pointer("/properties/event/const")?.as_str())
            .collect();
        let mut shown: Vec<String> = examples()
            .iter()
            .filter_map(|event| Some(json!(event)["event"].as_str()?.to_owned()))
            .collect();
        names.sort_unstable();
        shown.sort_unstable();
        assert!(names.len() > 10, "{names:?}");
        assert_eq!(names, shown);
    }
}
