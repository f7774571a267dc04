//! What is reported of a module program's description.

use serde_json::{Value, json};

use super::describe::{checked, filled, fit};
use crate::contract::op::Described;

/// What is reported of a description with this op.
fn reported(op: &Value) -> String {
    let described = json!({"protocol": 1, "about": "For tests.", "ops": {"drain": op}});
    match serde_json::from_value::<Described>(described) {
        Ok(described) => checked("lb", described)
            .err()
            .unwrap_or_else(|| "it can be used".to_owned()),
        Err(e) => e.to_string(),
    }
}

/// What is reported of an op whose one argument has this schema.
fn argument(schema: &Value) -> String {
    reported(&json!({
        "doc": "Drains.",
        "effect": "once",
        "args": {"type": "object", "properties": {"backend": schema}},
    }))
}

#[test]
fn what_is_unusable_in_a_description_is_shown_with_its_place() {
    let no_ops = json!({"protocol": 1, "about": "", "ops": {}});
    let no_ops = checked("lb", serde_json::from_value(no_ops).unwrap()).unwrap_err();
    let newer = json!({"protocol": 2, "about": "", "ops": {}});
    let newer = checked("lb", serde_json::from_value(newer).unwrap()).unwrap_err();
    let op = |args: Value, result: Value| {
        reported(&json!({"doc": "Drains.", "effect": "once", "args": args, "result": result}))
    };
    let cases = [
        no_ops,
        newer,
        reported(&json!({"effect": "once"})),
        reported(&json!({"doc": "Drains.", "effect": "twice"})),
        reported(&json!({"doc": "Drains.", "effect": "once", "efect": 1})),
        reported(&json!({"doc": " ", "effect": "once"})),
        reported(&json!({"doc": "\u{1b}[31mred", "effect": "once"})),
        reported(&json!({"doc": "Drains.", "effect": "once", "timeout": "soon"})),
        reported(
            &json!({"doc": "Drains.", "effect": "once", "headline": "{backnd}", "args":
            {"type": "object", "properties": {"backend": {"type": "string"}}}}),
        ),
        op(json!({"type": "string"}), Value::Null),
        op(json!({"type": "object", "required": ["x"]}), Value::Null),
        op(
            json!({"type": "object", "properties": {"timeout": {"type": "string"}}}),
            Value::Null,
        ),
        op(
            json!({"type": "object", "properties": {"member": {"type": "string"}}}),
            Value::Null,
        ),
        op(
            Value::Null,
            json!({"type": "object", "properties": {"a": {"type": "array", "items": {}}}}),
        ),
        argument(&json!({"type": "string", "maxLength": 3})),
        argument(&json!({"type": "string", "patern": "x"})),
        argument(&json!({"anyOf": [{"type": "string"}]})),
        argument(&json!({"$ref": "#/x"})),
        argument(&json!({})),
        argument(&json!({"type": "sting"})),
        argument(&json!({"type": ["string", "integer"]})),
        argument(&json!({"type": "string", "minimum": 1})),
        argument(&json!({"type": "integer", "minimum": 0.5})),
        argument(&json!({"type": "string", "format": "date"})),
        argument(&json!({"type": "string", "enum": [1, 2]})),
        argument(&json!({"type": "integer", "default": "three"})),
        argument(&json!({"type": "string", "format": "span", "default": "soon"})),
        argument(&json!("string")),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn formats_are_kept_to_and_defaults_filled_in() {
    let op = json!({"doc": "Drains.", "effect": "once", "args": {"type": "object", "required": ["channel"], "properties": {
        "channel": {"type": "string", "format": "channel"},
        "spans": {"type": "array", "items": {"type": "string", "format": "span"}},
        "weight": {"type": ["integer", "null"], "minimum": 0},
        "deep": {"type": "object", "additionalProperties": {"type": "string", "format": "span"}},
        "how": {"type": "string", "enum": ["slow", "fast"], "default": "slow"},
    }}});
    let described = json!({"protocol": 1, "about": "For tests.", "ops": {"drain": op}});
    let described = checked("lb", serde_json::from_value(described).unwrap()).unwrap();
    let args = &described.ops["drain"].args;
    let fine = json!({"channel": "1/stable", "spans": ["1s"], "weight": 2.0, "deep": {"a": "2m"}});
    let fitted = fit(args, fine).unwrap();
    assert_eq!(fitted["weight"], json!(2));
    assert_eq!(filled(args, fitted)["how"], "slow");
    let wrong = |value: Value| fit(args, value).unwrap_err();
    let cases = [
        wrong(json!({"channel": "stable"})),
        wrong(json!({"channel": "1/stable", "spans": ["1s", "x"]})),
        wrong(json!({"channel": "1/stable", "deep": {"a": "x"}})),
        wrong(json!({"channel": "1/stable", "weight": -1})),
        wrong(json!({"channel": "1/stable", "chanel": "x"})),
        wrong(json!({"channel": "1/stable", "how": "fats"})),
    ];
    insta::assert_snapshot!(cases.join("\n"), @r#"
channel: "stable" is not a channel: write track and risk, for example "squid/stable"
spans[2]: "x" is not a length of time: write for example "90s", "15m" or "1h30m"
deep.a: "x" is not a length of time: write for example "90s", "15m" or "1h30m"
weight: -1 is too small
unknown argument "chanel" (did you mean "channel"?)
how: "fats" is not one of "slow", "fast" (did you mean "fast"?)
"#);
}
