//! What a program says of itself, held against what lockstep can use.

use crate::contract::near;
use serde_json::{Map, Value, json};

use super::protocol::PROTOCOL;
use crate::contract::op::{Described, DescribedOp};
use crate::contract::schema::{self, Channel, Span};
use crate::contract::text::joined;

/// Keywords of JSON Schema that are kept to. Any other is refused: a rule that nobody checks is worse than none.
const KEYWORDS: [&str; 11] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "minimum",
    "properties",
    "required",
    "title",
    "type",
];

/// Types of JSON that a schema may name.
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// What the `format` of a string may be, and the type that it is in playbooks.
const FORMATS: [(&str, &str); 3] = [
    ("channel", "Channel"),
    ("member", "Member"),
    ("span", "Span"),
];

/// Names that every step takes beside its op's arguments.
const OPTIONS: [&str; 2] = ["retry", "timeout"];

/// A description whose schemas are as those of native ops.
/// An error says what can't be used, and where it stands.
pub(super) fn checked(name: &str, mut described: Described) -> Result<Described, String> {
    if described.protocol != PROTOCOL {
        return Err(format!(
            "it speaks protocol {}, and this lockstep speaks {PROTOCOL}",
            described.protocol
        ));
    }
    if steers(&json!(described)) {
        return Err("what it says has control characters in it".to_owned());
    }
    if described.ops.is_empty() {
        return Err("it has no ops".to_owned());
    }
    for (verb, op) in &mut described.ops {
        if !is_name(verb) {
            return Err(format!(
                "an op can't be called {verb:?}: lower-case letters, digits and _"
            ));
        }
        check(op).map_err(|what| format!("{name}.{verb}: {what}"))?;
    }
    Ok(described)
}

/// Whether there is text in a value that would steer a terminal.
fn steers(value: &Value) -> bool {
    let text = |text: &str| text.chars().any(|c| c.is_control() && c != '\n');
    match value {
        Value::String(own) => text(own),
        Value::Array(items) => items.iter().any(steers),
        Value::Object(fields) => fields
            .iter()
            .any(|(name, field)| text(name) || steers(field)),
        _ => false,
    }
}

/// Whether a word can be the name of a module or an op.
pub(super) fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn check(op: &mut DescribedOp) -> Result<(), String> {
    if op.doc.trim().is_empty() {
        return Err("doc: it is empty".to_owned());
    }
    for (what, record) in [("args", &mut op.args), ("result", &mut op.result)] {
        if record.is_null() {
            *record = json!({"type": "object"});
        }
        if schema::types_of(record) != ["object"] {
            return Err(format!(
                "{what}: it must be an object: {{\"type\": \"object\", \"properties\": …}}"
            ));
        }
        closed(record, what)?;
        // A record has the fields that it says, so that a slip of the pen is reported.
        if let Some(record) = record.as_object_mut() {
            record.entry("properties").or_insert_with(|| json!({}));
            record.insert("additionalProperties".to_owned(), Value::Bool(false));
        }
    }
    let properties = op.args["properties"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    if let Some(option) = OPTIONS.iter().find(|name| properties.contains_key(**name)) {
        return Err(format!("args: every step takes {option:?} already"));
    }
    if let Some(member) = properties.get("member")
        && member.get("x-lockstep") != Some(&json!("Member"))
    {
        return Err("args.member: its format must be \"member\"".to_owned());
    }
    for (what, template, record) in [
        ("headline", &op.headline, &op.args),
        ("summary", &op.summary, &op.result),
    ] {
        let names: Vec<&str> = properties_of(record)
            .map(|(name, _)| name.as_str())
            .collect();
        for name in template.iter().flat_map(|text| placeholders(text)) {
            if !names.contains(&name) {
                return Err(format!(
                    "{what}: there is no {name:?}{}",
                    near::hint(name, &names)
                ));
            }
        }
    }
    Ok(())
}

/// Holds a schema against what lockstep keeps to, with everything in it.
fn closed(schema: &mut Value, at: &str) -> Result<(), String> {
    let Some(rules) = schema.as_object_mut() else {
        return Err(format!("{at}: a schema is an object"));
    };
    if let Some(unknown) = rules.keys().find(|key| !KEYWORDS.contains(&key.as_str())) {
        return Err(format!(
            "{at}: lockstep doesn't keep to {unknown:?}{}; it keeps to {}",
            near::hint(unknown, &KEYWORDS),
            KEYWORDS.join(", ")
        ));
    }
    let types = types(rules).map_err(|what| format!("{at}: {what}"))?;
    let needs = |key: &str, of: &str| {
        if rules.contains_key(key) && !types.iter().any(|name| name == of) {
            return Err(format!("{at}: {key:?} belongs to the type {of:?}"));
        }
        Ok(())
    };
    for (key, of) in [
        ("properties", "object"),
        ("required", "object"),
        ("additionalProperties", "object"),
        ("items", "array"),
        ("minimum", "integer"),
        ("enum", "string"),
        ("format", "string"),
    ] {
        needs(key, of)?;
    }
    if let Some(words) = rules.get("enum") {
        let words = words.as_array().filter(|words| !words.is_empty());
        if !words.is_some_and(|words| words.iter().all(Value::is_string)) || types.len() > 1 {
            return Err(format!("{at}: \"enum\" is a list of strings"));
        }
    }
    if let Some(minimum) = rules.get("minimum").filter(|minimum| !minimum.is_i64()) {
        return Err(format!(
            "{at}: \"minimum\" is a whole number, and not {minimum}"
        ));
    }
    if let Some(format) = rules.remove("format") {
        let known = FORMATS.iter().find(|(name, _)| format == *name);
        let Some((_, kind)) = known else {
            let names = FORMATS.map(|(name, _)| name).join(", ");
            return Err(format!("{at}: the format {format} is none of {names}"));
        };
        rules.insert("x-lockstep".to_owned(), json!(kind));
    }
    if let Some(each) = rules.get_mut("items") {
        closed(each, &format!("{at}[]"))?;
    }
    if let Some(others) = rules
        .get_mut("additionalProperties")
        .filter(|o| !o.is_boolean())
    {
        closed(others, &format!("{at}.*"))?;
    }
    if let Some(properties) = rules.get_mut("properties") {
        let Some(properties) = properties.as_object_mut() else {
            return Err(format!("{at}: \"properties\" is an object"));
        };
        for (name, property) in properties {
            closed(property, &format!("{at}.{name}"))?;
        }
    }
    let names: Vec<String> = properties_of(schema)
        .map(|(name, _)| name.clone())
        .collect();
    if let Some(required) = schema.get("required") {
        let all = required
            .as_array()
            .ok_or_else(|| format!("{at}: \"required\" is a list of names"))?;
        for name in all {
            if !name
                .as_str()
                .is_some_and(|name| names.iter().any(|known| known == name))
            {
                return Err(format!(
                    "{at}: {name} is required, and not among the properties"
                ));
            }
        }
    }
    if let Some(default) = schema.get("default") {
        fit(schema, default.clone()).map_err(|what| format!("{at}: its default: {what}"))?;
    }
    Ok(())
}

/// The types that a schema names: one, or one and null.
fn types(rules: &Map<String, Value>) -> Result<Vec<String>, String> {
    let names: Vec<&str> = match rules.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => {
            return Err(format!(
                "it has no \"type\", which is one of {}",
                TYPES.join(", ")
            ));
        }
    };
    let some: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| *name != "null")
        .collect();
    match some.as_slice() {
        [name] if TYPES.contains(name) => Ok(names.into_iter().map(str::to_owned).collect()),
        [name] => Err(format!(
            "the type {name:?} is none of {}{}",
            TYPES.join(", "),
            near::hint(name, &TYPES)
        )),
        _ => Err("\"type\" is one type, or a list of one type and \"null\"".to_owned()),
    }
}

pub(super) fn properties_of(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

/// Fits a value to a schema, with what the formats say.
pub(super) fn fit(schema: &Value, value: Value) -> Result<Value, String> {
    let fitted = schema::coerce(schema, value).map_err(|misfit| misfit.to_string())?;
    formats(schema, &fitted, "")?;
    Ok(fitted)
}

fn formats(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let within = |what: String| {
        if at.is_empty() {
            what
        } else {
            format!("{at}: {what}")
        }
    };
    match (schema.get("x-lockstep").and_then(Value::as_str), value) {
        (Some("Channel"), Value::String(text)) => Channel::parse(text).map(drop).map_err(within),
        (Some("Span"), Value::String(text)) => Span::parse(text).map(drop).map_err(within),
        (_, Value::Array(items)) => {
            let each = schema.get("items").unwrap_or(&Value::Null);
            let mut items = items.iter().enumerate();
            items.try_for_each(|(i, item)| formats(each, item, &format!("{at}[{}]", i + 1)))
        }
        (_, Value::Object(fields)) => fields.iter().try_for_each(|(name, field)| {
            let rule = schema.pointer(&format!("/properties/{name}"));
            let rule = rule
                .or_else(|| schema.get("additionalProperties"))
                .unwrap_or(&Value::Null);
            let inside = if at.is_empty() {
                name.clone()
            } else {
                format!("{at}.{name}")
            };
            formats(rule, field, &inside)
        }),
        _ => Ok(()),
    }
}

/// Arguments with the defaults of those that aren't given.
pub(super) fn filled(schema: &Value, mut args: Value) -> Value {
    if let Some(args) = args.as_object_mut() {
        for (name, property) in properties_of(schema) {
            if let Some(default) = property.get("default") {
                args.entry(name).or_insert_with(|| default.clone());
            }
        }
    }
    args
}

/// A template with values in the places of names; without one, all plain values, as `alone` writes each.
pub(super) fn written(
    template: Option<&str>,
    schema: &Value,
    values: &Value,
    alone: impl Fn(&str, &str) -> String,
) -> String {
    let plain = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    match template {
        Some(template) => placeholders(template).fold(template.to_owned(), |text, name| {
            text.replace(&format!("{{{name}}}"), &plain(&values[name]))
        }),
        None => {
            let shown = properties_of(schema).filter_map(|(name, _)| {
                let value = values
                    .get(name)
                    .filter(|v| v.is_string() || v.is_number() || v.is_boolean())?;
                (name != "member").then(|| alone(name, &plain(value)))
            });
            joined(shown, ", ")
        }
    }
}

/// The names in braces.
fn placeholders(template: &str) -> impl Iterator<Item = &str> {
    template
        .split('{')
        .skip(1)
        .filter_map(|rest| Some(rest.split_once('}')?.0))
}
