//! The types that arguments are made of, and the one place where a value is held against a schema.

use crate::contract::near::hint;
use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Name of a member, as the cluster file has it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(with = "String", extend("x-lockstep" = "Member"))]
pub struct Member(Arc<str>);

impl Member {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A member is text wherever text is asked for; that a text is a member has to be declared.
impl Deref for Member {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// As the name itself would be.
impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Member {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl From<&str> for Member {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl From<String> for Member {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

/// So that a map of members can be asked for a name.
impl Borrow<str> for Member {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Member {
    fn eq(&self, name: &str) -> bool {
        *self.0 == *name
    }
}

impl PartialEq<&str> for Member {
    fn eq(&self, name: &&str) -> bool {
        *self.0 == **name
    }
}

impl PartialEq<Member> for str {
    fn eq(&self, member: &Member) -> bool {
        *self == *member.0
    }
}

impl PartialEq<String> for Member {
    fn eq(&self, name: &String) -> bool {
        *self.0 == **name
    }
}

impl PartialEq<Member> for String {
    fn eq(&self, member: &Member) -> bool {
        **self == *member.0
    }
}

/// A snap channel: track and risk, with an optional branch, for example `squid/stable`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(extend("x-lockstep" = "Channel"))]
pub struct Channel(String);

impl Channel {
    /// Reads `track/risk[/branch]`. A bare risk or track is refused: snapd would complete it from what is tracked now,
    /// which may differ from member to member (`snap/channel/channel.go`).
    ///
    /// # Errors
    /// With a sentence that shows what a channel looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let risk = parts.get(1).copied().unwrap_or_default();
        let fine = (2..=3).contains(&parts.len())
            && parts
                .iter()
                .all(|part| !part.is_empty() && !part.contains(char::is_whitespace))
            && ["stable", "candidate", "beta", "edge"].contains(&risk);
        if fine {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is not a channel: write track and risk, for example \"squid/stable\""
            ))
        }
    }

    /// The channel as snapd writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Channel {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// A length of time, for example `90s`, `15m` or `1h30m`; at most a year, so that it can be added to any time there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String", extend("x-lockstep" = "Span"))]
pub struct Span(pub Duration);

/// The longest length of time.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Span {
    /// Reads a length of time with its unit.
    ///
    /// # Errors
    /// With a sentence that shows what one looks like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let complain = || {
            format!(
                "{text:?} is not a length of time: write for example \"90s\", \"15m\" or \"1h30m\""
            )
        };
        let span: jiff::SignedDuration = text.parse().map_err(|_| complain())?;
        let span = Duration::try_from(span).map_err(|_| complain())?;
        if span > LONGEST {
            let days = LONGEST.as_secs() / (24 * 60 * 60);
            return Err(format!(
                "{text:?} is too long a time: {days} days are the most that anything may take"
            ));
        }
        Ok(Self(span))
    }

    /// Seconds.
    #[must_use]
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (secs, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let mut wrote = false;
        for (amount, unit) in [
            (secs / 3600, "h"),
            (secs / 60 % 60, "m"),
            (secs % 60, "s"),
            (millis.into(), "ms"),
        ] {
            if amount > 0 {
                write!(f, "{amount}{unit}")?;
                wrote = true;
            }
        }
        if wrote { Ok(()) } else { f.write_str("0s") }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(from)?).map_err(serde::de::Error::custom)
    }
}

/// The JSON schema of `T`, without references, so that readers need not follow any.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| {
        s.inline_subschemas = true;
        s.meta_schema = None;
    });
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// What is wrong with a value, and where in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", if at.is_empty() { String::new() } else { format!("{at}: ") })]
pub struct Misfit {
    /// Path of the offending value, for example `argv[2]`; empty for the whole.
    pub at: String,
    /// What is wrong with it.
    pub what: String,
}

/// Fits `value` to `schema`: an empty table where a list is due becomes one, `2.0` becomes `2` where an integer is due,
/// and nulls of optional fields are dropped. Lua, the command line and TOML all pass through here.
///
/// # Errors
/// With the path of the first value that doesn't fit, and a near match for unknown names.
pub fn coerce(schema: &Value, value: Value) -> Result<Value, Misfit> {
    fit(schema, value, "")
}

fn fit(schema: &Value, value: Value, at: &str) -> Result<Value, Misfit> {
    let wrong = |what: String| {
        Err(Misfit {
            at: at.to_owned(),
            what,
        })
    };
    if let Some(words) = words(schema) {
        return match &value {
            Value::String(word) if words.contains(&word.as_str()) => Ok(value),
            Value::String(word) => wrong(format!(
                "{word:?} is not one of {}{}",
                list(&words),
                hint(word, &words)
            )),
            other => wrong(format!(
                "expected one of {}, got {}",
                list(&words),
                kind_of(other)
            )),
        };
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(Value::Array(choices)) = schema.get(key) {
            let mut first = None;
            for choice in choices {
                match fit(choice, value.clone(), at) {
                    Ok(fitted) => return Ok(fitted),
                    Err(misfit)
                        if choice.get("type") != Some(&Value::String("null".to_owned())) =>
                    {
                        first.get_or_insert(misfit);
                    }
                    Err(_) => {}
                }
            }
            return first.map_or_else(|| wrong("nothing fits here".to_owned()), Err);
        }
    }
    let types = types_of(schema);
    if types.is_empty() {
        return Ok(value);
    }
    let expects = |name: &str| types.contains(&name);
    match value {
        Value::Object(map) if expects("object") => fit_object(schema, map, at),
        Value::Object(map) if expects("array") && map.is_empty() => Ok(Value::Array(Vec::new())),
        Value::Array(items) if expects("array") => {
            let each = schema.get("items").unwrap_or(&Value::Null);
            let items = items
                .into_iter()
                .enumerate()
                .map(|(i, item)| fit(each, item, &format!("{at}[{}]", i + 1)));
            Ok(Value::Array(items.collect::<Result<_, _>>()?))
        }
        Value::Number(n) if expects("integer") => match whole(&n) {
            Some(n)
                if schema
                    .get("minimum")
                    .and_then(Value::as_i64)
                    .is_none_or(|min| n >= min) =>
            {
                Ok(n.into())
            }
            Some(n) => wrong(format!("{n} is too small")),
            None => wrong(format!("expected a whole number, got {n}")),
        },
        Value::Number(_) if expects("number") => Ok(value),
        Value::String(_) if expects("string") => Ok(value),
        Value::Bool(_) if expects("boolean") => Ok(value),
        Value::Null if expects("null") => Ok(value),
        other => wrong(format!(
            "expected {}, got {}",
            expected(schema, &types),
            kind_of(&other)
        )),
    }
}

fn fit_object(schema: &Value, map: Map<String, Value>, at: &str) -> Result<Value, Misfit> {
    let inside = |key: &str| {
        if at.is_empty() {
            key.to_owned()
        } else {
            format!("{at}.{key}")
        }
    };
    let no_properties = Map::new();
    let properties = schema
        .get("properties")
        .and_then(Value::as_object)
        .unwrap_or(&no_properties);
    let others = schema.get("additionalProperties");
    let mut fitted = Map::new();
    for (key, value) in map {
        let rule = match (properties.get(&key), others) {
            (None, Some(Value::Bool(false))) => {
                let names: Vec<&str> = properties.keys().map(String::as_str).collect();
                return Err(Misfit {
                    at: at.to_owned(),
                    what: format!("unknown argument {key:?}{}", hint(&key, &names)),
                });
            }
            (Some(rule), _) | (None, Some(rule)) => rule,
            (None, None) => &Value::Null,
        };
        let required = required(schema).any(|name| name == key);
        if value.is_null() && !required {
            continue;
        }
        fitted.insert(key.clone(), fit(rule, value, &inside(&key))?);
    }
    match required(schema).find(|name| !fitted.contains_key(*name)) {
        Some(name) => Err(Misfit {
            at: at.to_owned(),
            what: format!("missing argument {name:?}"),
        }),
        None => Ok(Value::Object(fitted)),
    }
}

/// The names that an object's schema requires.
pub fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

/// The words of a schema that allows only some strings, whether written as `enum` or as a `oneOf` of constants.
#[must_use]
pub fn words(schema: &Value) -> Option<Vec<&str>> {
    if let Some(Value::Array(words)) = schema.get("enum") {
        return words.iter().map(Value::as_str).collect();
    }
    let Some(Value::Array(choices)) = schema.get("oneOf") else {
        return None;
    };
    let mut all = Vec::new();
    for choice in choices {
        match (choice.get("const"), choice.get("enum")) {
            (Some(Value::String(word)), _) => all.push(word.as_str()),
            (None, Some(Value::Array(words))) => all.extend(words.iter().filter_map(Value::as_str)),
            _ => return None,
        }
    }
    Some(all)
}

/// A value that fits a schema, with no more than it requires: what stands in for one that isn't known.
#[must_use]
pub fn sample(schema: &Value) -> Value {
    match schema.get("x-lockstep").and_then(Value::as_str) {
        Some("Channel") => return "latest/stable".into(),
        Some("Span") => return "1s".into(),
        _ => {}
    }
    if let Some(word) = words(schema).and_then(|words| words.first().copied()) {
        return word.into();
    }
    if let Some(example) = schema.pointer("/examples/0") {
        return example.clone();
    }
    let choices = ["anyOf", "oneOf"]
        .iter()
        .find_map(|key| schema.get(key)?.as_array());
    if let Some(choice) = choices.and_then(|choices| choices.first()) {
        return sample(choice);
    }
    match types_of(schema).first().copied() {
        Some("object") => {
            let property = |name: &str| (name.to_owned(), sample(&schema["properties"][name]));
            Value::Object(required(schema).map(property).collect())
        }
        Some("array") => Value::Array(Vec::new()),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| 0.into()),
        Some("boolean") => Value::Bool(false),
        Some("string") if schema["format"] == "date-time" => "2026-01-31T02:00:00Z".into(),
        Some("string") => "words".into(),
        _ => Value::Null,
    }
}

/// The JSON types that a schema names.
#[must_use]
pub fn types_of(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn expected(schema: &Value, types: &[&str]) -> String {
    match schema.get("x-lockstep").and_then(Value::as_str) {
        Some("Span") => "a length of time such as \"15m\"".to_owned(),
        Some("Channel") => "a channel such as \"squid/stable\"".to_owned(),
        Some("Member") => "the name of a member".to_owned(),
        _ => types
            .iter()
            .filter(|t| **t != "null")
            .map(|t| article(t))
            .collect::<Vec<_>>()
            .join(" or "),
    }
}

fn article(kind: &str) -> String {
    match kind {
        "object" => "a table".to_owned(),
        "array" => "a list".to_owned(),
        "integer" => "a whole number".to_owned(),
        other => format!("a {other}"),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(map) if map.is_empty() => "an empty table",
        Value::Object(_) => "a table",
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the float was just found to be whole and in range"
)]
fn whole(n: &serde_json::Number) -> Option<i64> {
    let exact = |f: f64| f.fract() == 0.0 && f.abs() < 9e15;
    n.as_i64()
        .or_else(|| n.as_f64().filter(|f| exact(*f)).map(|f| f as i64))
}

fn list(words: &[&str]) -> String {
    words
        .iter()
        .map(|w| format!("{w:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Args {
        member: Member,
        channel: Option<Channel>,
        #[serde(default)]
        argv: Vec<String>,
        #[serde(default)]
        count: u32,
        mode: Option<Mode>,
    }

    #[derive(Debug, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        /// With a doc comment, which makes schemars write a `oneOf`.
        Slow,
        /// So that both stand in it, in this order.
        Fast,
    }

    fn misfit(value: Value) -> String {
        coerce(&schema_of::<Args>(), value).unwrap_err().to_string()
    }

    #[test]
    fn lua_values_are_fitted() {
        let value =
            json!({"member": "m", "argv": {}, "count": 2.0, "channel": null, "mode": "slow"});
        let fitted = coerce(&schema_of::<Args>(), value).unwrap();
        assert_eq!(
            fitted,
            json!({"member": "m", "argv": [], "count": 2, "mode": "slow"})
        );
        serde_json::from_value::<Args>(fitted).unwrap();
    }

    #[test]
    fn misfits_name_the_place_and_a_near_match() {
        insta::assert_snapshot!(misfit(json!({"member": "m", "chanel": "x"})), @r#"unknown argument "chanel" (did you mean "channel"?)"#);
        insta::assert_snapshot!(misfit(json!({})), @r#"missing argument "member""#);
        insta::assert_snapshot!(misfit(json!({"member": 1})), @"member: expected the name of a member, got a number");
        insta::assert_snapshot!(misfit(json!({"member": "m", "argv": ["a", 2]})), @"argv[2]: expected a string, got a number");
        insta::assert_snapshot!(misfit(json!({"member": "m", "count": 1.5})), @"count: expected a whole number, got 1.5");
        insta::assert_snapshot!(misfit(json!({"member": "m", "count": -1})), @"count: -1 is too small");
        insta::assert_snapshot!(misfit(json!({"member": "m", "mode": "fats"})), @r#"mode: "fats" is not one of "slow", "fast" (did you mean "fast"?)"#);
    }

    #[test]
    fn spans_read_and_write() {
        for (text, secs) in [("90s", 90), ("15m", 900), ("1h30m", 5400)] {
            assert_eq!(Span::parse(text).unwrap(), Span::secs(secs));
        }
        assert_eq!(Span::secs(5400).to_string(), "1h30m");
        assert_eq!(Span(Duration::from_millis(1500)).to_string(), "1s500ms");
        for bad in ["15", "-3s", "soon", ""] {
            assert!(Span::parse(bad).unwrap_err().contains("15m"), "{bad}");
        }
        assert_eq!(Span::parse("8784h"), Ok(Span(LONGEST)));
        for long in ["8784h1s", "2562047788015215h", "99999999999999999999h"] {
            let complaint = Span::parse(long).unwrap_err();
            assert!(complaint.contains(long), "{complaint}");
        }
    }

    #[test]
    fn channels_need_track_and_risk() {
        for good in ["squid/stable", "latest/edge", "5.21/stable/hotfix"] {
            assert_eq!(Channel::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "stable",
            "squid",
            "squid/stabel",
            "/stable",
            "a b/stable",
            "a/stable/b/c",
        ] {
            assert!(Channel::parse(bad).is_err(), "{bad}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_span_survives_a_round_trip(millis in 0_u64..1_000_000_000) {
            let span = Span(Duration::from_millis(millis));
            proptest::prop_assert_eq!(Span::parse(&span.to_string()), Ok(span));
        }
    }
}
