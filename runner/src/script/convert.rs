//! Values across the border between Lua and JSON.

use std::collections::BTreeMap;

use mlua::{Lua, Table, Value as LuaValue};
use serde_json::{Map, Number, Value};

/// How deep a value may nest.
const DEPTH: usize = 32;

/// How many parts it may have. A table that holds one table twice, and so on, is small in Lua only.
const PARTS: usize = 200_000;

/// A Lua value as JSON. An empty table becomes an empty object; whoever knows the schema makes a list of it.
///
/// # Errors
/// With the path of the first part that isn't plain data.
pub(super) fn to_json(value: &LuaValue) -> Result<Value, String> {
    json_at(value, "", 0, &mut 0)
}

fn json_at(value: &LuaValue, at: &str, depth: usize, parts: &mut usize) -> Result<Value, String> {
    let complain = |what: &str| {
        Err(if at.is_empty() {
            what.to_owned()
        } else {
            format!("{at}: {what}")
        })
    };
    *parts += 1;
    if *parts > PARTS {
        return complain("all in all the table has more than 200000 parts");
    }
    match value {
        LuaValue::Nil => Ok(Value::Null),
        LuaValue::Boolean(b) => Ok(Value::Bool(*b)),
        LuaValue::Integer(i) => Ok(Value::from(*i)),
        LuaValue::Number(n) => match Number::from_f64(*n) {
            Some(n) => Ok(Value::Number(n)),
            None => complain("infinity and NaN are no plain data"),
        },
        LuaValue::String(s) => match s.to_str() {
            Ok(text) => Ok(Value::String(text.to_owned())),
            Err(_) => complain("the text is not UTF-8"),
        },
        LuaValue::Table(_) if depth == DEPTH => {
            complain("the table is nested too deep, or contains itself")
        }
        LuaValue::Table(table) => table_at(table, at, depth, parts),
        other => complain(&format!("a {} is no plain data", other.type_name())),
    }
}

fn table_at(table: &Table, at: &str, depth: usize, parts: &mut usize) -> Result<Value, String> {
    let mut items: BTreeMap<i64, LuaValue> = BTreeMap::new();
    let mut fields: BTreeMap<String, LuaValue> = BTreeMap::new();
    for pair in table.pairs::<LuaValue, LuaValue>() {
        let (key, value) = pair.map_err(|e| e.to_string())?;
        match key {
            LuaValue::Integer(i) => drop(items.insert(i, value)),
            LuaValue::String(name) => drop(fields.insert(name.to_string_lossy(), value)),
            other => {
                return Err(format!(
                    "{at}: a {} as a key is no plain data",
                    other.type_name()
                ));
            }
        }
    }
    let join = |key: &str| {
        if at.is_empty() {
            key.to_owned()
        } else {
            format!("{at}.{key}")
        }
    };
    if items.is_empty() {
        let fields = fields.into_iter().map(|(key, value)| {
            let value = json_at(&value, &join(&key), depth + 1, parts)?;
            Ok((key, value))
        });
        return Ok(Value::Object(
            fields.collect::<Result<Map<_, _>, String>>()?,
        ));
    }
    if !fields.is_empty() {
        return Err(format!(
            "{at}: a table is either a list or has named fields, not both"
        ));
    }
    if items.keys().copied().ne(1..=items.len() as i64) {
        return Err(format!("{at}: the list has holes"));
    }
    let items = items
        .values()
        .enumerate()
        .map(|(i, v)| json_at(v, &format!("{at}[{}]", i + 1), depth + 1, parts));
    items.collect::<Result<Vec<_>, _>>().map(Value::Array)
}

/// JSON as Lua values. Objects whose schema names their fields are strict: reading any other field raises.
pub(super) struct ToLua<'a> {
    pub(super) lua: &'a Lua,
    /// Makes the metatable of a strict record from its field names.
    pub(super) strict: &'a mlua::Function,
    /// Makes the record of which nothing is known, where there can be one.
    pub(super) unknown: Option<&'a mlua::Function>,
}

/// The only field of a result that can't be known: it says which command would have to be run.
pub(crate) const UNKNOWN: &str = "$unknown";

impl ToLua<'_> {
    /// `value` as Lua, guided by `schema` (null for none).
    pub(super) fn value(&self, value: &Value, schema: &Value) -> mlua::Result<LuaValue> {
        Ok(match value {
            // Never a light userdata, which would be true in an `if`.
            Value::Null => LuaValue::Nil,
            Value::Bool(b) => LuaValue::Boolean(*b),
            Value::Number(n) => match n.as_i64() {
                Some(i) => LuaValue::Integer(i),
                None => LuaValue::Number(n.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(s) => LuaValue::String(self.lua.create_string(s)?),
            Value::Array(items) => {
                let each = branch(schema, "array").get("items").unwrap_or(&Value::Null);
                let table = self.lua.create_table()?;
                for item in items {
                    table.raw_push(self.value(item, each)?)?;
                }
                LuaValue::Table(table)
            }
            Value::Object(fields) => {
                if let (Some(Value::String(what)), Some(make)) = (fields.get(UNKNOWN), self.unknown)
                {
                    return make.call(what.as_str());
                }
                LuaValue::Table(self.record(fields, branch(schema, "object"))?)
            }
        })
    }

    fn record(&self, fields: &Map<String, Value>, schema: &Value) -> mlua::Result<Table> {
        let properties = schema.get("properties").and_then(Value::as_object);
        let others = schema.get("additionalProperties").unwrap_or(&Value::Null);
        let table = self.lua.create_table()?;
        for (key, value) in fields {
            let schema = properties.and_then(|p| p.get(key)).unwrap_or(others);
            table.raw_set(key.as_str(), self.value(value, schema)?)?;
        }
        if let Some(properties) = properties {
            let names = self.lua.create_table()?;
            for key in properties.keys() {
                names.raw_set(key.as_str(), true)?;
            }
            table.set_metatable(Some(self.strict.call(names)?))?;
        }
        Ok(table)
    }
}

/// The part of an optional value's schema that describes it when it is there.
fn branch<'a>(schema: &'a Value, kind: &str) -> &'a Value {
    let choices = ["anyOf", "oneOf"]
        .iter()
        .find_map(|key| schema.get(key)?.as_array());
    let is_kind =
        |choice: &&Value| lockstep_modules::contract::schema::types_of(choice).contains(&kind);
    choices
        .and_then(|choices| choices.iter().find(is_kind))
        .unwrap_or(schema)
}

/// Data without a schema as Lua values.
pub(super) fn plain(lua: &Lua, value: &Value) -> mlua::Result<LuaValue> {
    let strict = lua.create_function(|lua, _: Table| lua.create_table())?;
    let to_lua = ToLua {
        lua,
        strict: &strict,
        unknown: None,
    };
    to_lua.value(value, &Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(source: &str) -> Result<Value, String> {
        let lua = Lua::new();
        to_json(&lua.load(source).eval::<LuaValue>().unwrap())
    }

    #[test]
    fn plain_data_passes() {
        let value = json(r#"return { a = { 1, 2.5, "x" }, b = {}, c = true }"#).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"a": [1, 2.5, "x"], "b": {}, "c": true})
        );
    }

    #[test]
    fn anything_else_is_refused_with_its_path() {
        insta::assert_snapshot!(json("return { a = { b = print } }").unwrap_err(), @"a.b: a function is no plain data");
        insta::assert_snapshot!(json("return { a = { 1, 0/0 } }").unwrap_err(), @"a[2]: infinity and NaN are no plain data");
        insta::assert_snapshot!(json("return { a = { 1, nil, 3 } }").unwrap_err(), @"a: the list has holes");
        insta::assert_snapshot!(json("return { a = { 1, b = 2 } }").unwrap_err(), @"a: a table is either a list or has named fields, not both");
        insta::assert_snapshot!(json("return { a = { [true] = 1 } }").unwrap_err(), @"a: a boolean as a key is no plain data");
        insta::assert_snapshot!(json(r#"return { a = "\xff" }"#).unwrap_err(), @"a: the text is not UTF-8");
        let cycle = json("local t = {} t.t = t return t").unwrap_err();
        assert!(
            cycle.ends_with("the table is nested too deep, or contains itself"),
            "{cycle}"
        );
    }

    #[test]
    fn null_is_nil_and_not_true() {
        let lua = Lua::new();
        let strict = lua.load("return {}").into_function().unwrap();
        let to_lua = ToLua {
            lua: &lua,
            strict: &strict,
            unknown: None,
        };
        assert!(to_lua.value(&Value::Null, &Value::Null).unwrap().is_nil());
    }
}
