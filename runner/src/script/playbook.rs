//! What a playbook says about itself: the table that its file returns.

use std::cell::RefCell;
use std::rc::Rc;

use lockstep_modules::contract::error::Kind;
use lockstep_modules::contract::near;
use lockstep_modules::contract::schema;
use mlua::{Function, Lua, MultiValue, Table, Value as LuaValue};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::convert::to_json;
use super::raised::read_failure;
use super::sandbox;
use super::shared::Shared;
use crate::bundle::LIBRARY;
use crate::failure::Failure;
use crate::secret::{Source, Unusable, placeholder};

/// The newest playbook API that this lockstep knows.
pub const API: i64 = 1;

/// What a playbook is for and what it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Playbook {
    /// What it does, for `--help` and listings.
    pub(crate) about: String,
    pub(crate) params: Vec<(String, Param)>,
    /// The sections that it goes through, in their order, where it names them: `stages = { "Drain", "Refresh" }`, or a
    /// function that tells them from the parameters, and is asked when the script starts.
    pub(crate) stages: Vec<String>,
    /// What it switches on is meant to stay on when it ends: `leaves_on = true`.
    pub(crate) leaves_on: bool,
}

/// A parameter of a playbook: `evacuate = { "boolean", default = false, about = "…" }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    pub(crate) kind: ParamKind,
    /// Its value unless given; null where there is none.
    pub(crate) default: Value,
    pub(crate) about: String,
    /// The only values allowed, if there are any.
    pub(crate) one_of: Vec<String>,
}

/// The values a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParamKind {
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A text.
    String,
    /// A list of texts; on the command line, separated by commas.
    List,
    /// A text that nobody gets to see: what is given is where it is found.
    Secret,
}

impl Playbook {
    /// The schema of the parameters, as a record.
    pub(crate) fn schema(&self) -> Value {
        let properties: Map<String, Value> = self
            .params
            .iter()
            .map(|(name, p)| (name.clone(), p.schema()))
            .collect();
        json!({"type": "object", "properties": properties, "additionalProperties": false})
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.params.iter().map(|(name, _)| name.clone()).collect()
    }

    /// The values of all parameters: what was given, and defaults for the rest.
    pub(crate) fn params(&self, given: &Map<String, Value>) -> Result<Value, Failure> {
        let names: Vec<&str> = self.params.iter().map(|(name, _)| name.as_str()).collect();
        if let Some(unknown) = given.keys().find(|key| !names.contains(&key.as_str())) {
            let hint = near::hint(unknown, &names);
            return Err(Failure::new(
                Kind::Args,
                format!("there is no parameter {unknown:?}{hint}"),
            ));
        }
        for (name, param) in &self.params {
            // No other message may hold what may be the secret itself.
            let given = given.get(name).filter(|given| !given.is_null());
            if let (ParamKind::Secret, Some(given)) = (param.kind, given) {
                let complain = |e| Failure::new(Kind::Args, format!("parameter {name}: {e}"));
                source(given).map_err(complain)?;
            }
        }
        let value = |name: &String, param: &Param| match given.get(name) {
            Some(Value::String(text)) => param.kind.read(text),
            Some(value) => value.clone(),
            None => param.default.clone(),
        };
        let all: Map<String, Value> = self
            .params
            .iter()
            .map(|(name, p)| (name.clone(), value(name, p)))
            .collect();
        schema::coerce(&self.schema(), Value::Object(all))
            .map_err(|e| Failure::new(Kind::Args, format!("parameter {e}")))
    }

    /// The names of those that are secrets.
    pub(crate) fn names_of_secrets(&self) -> impl Iterator<Item = String> {
        let secrets = self
            .params
            .iter()
            .filter(|(_, p)| p.kind == ParamKind::Secret);
        secrets.map(|(name, _)| name.clone())
    }

    /// Where the secrets among these parameters are found, by name.
    pub(crate) fn secrets(&self, params: &Value) -> Result<Vec<(String, Source)>, Failure> {
        let given = self.secrets_in(params);
        let found = given.map(|name| match source(&params[name]) {
            Ok(source) => Ok((name.to_owned(), source)),
            Err(e) => Err(Failure::new(Kind::Args, format!("parameter {name}: {e}"))),
        });
        found.collect()
    }

    /// These parameters as Lua has them, and plans: whatever a secret is and wherever it is found, its placeholder is the same.
    pub(crate) fn without_secrets(&self, params: &Value) -> Value {
        let mut without = params.clone();
        for name in self.secrets_in(params) {
            without[name] = Value::from(placeholder(name));
        }
        without
    }

    fn secrets_in<'a>(&'a self, params: &'a Value) -> impl Iterator<Item = &'a str> {
        let secrets = self
            .params
            .iter()
            .filter(|(_, param)| param.kind == ParamKind::Secret);
        let given = secrets.filter(|(name, _)| params.get(name).is_some_and(|v| !v.is_null()));
        given.map(|(name, _)| name.as_str())
    }
}

impl Param {
    fn schema(&self) -> Value {
        let text = if self.one_of.is_empty() {
            json!({"type": "string"})
        } else {
            json!({"enum": self.one_of})
        };
        let mut schema = match self.kind {
            ParamKind::Boolean => json!({"type": "boolean"}),
            ParamKind::Integer => json!({"type": "integer"}),
            ParamKind::String | ParamKind::Secret => text,
            ParamKind::List => json!({"type": "array", "items": text}),
        };
        schema["description"] = Value::from(self.about.as_str());
        schema
    }
}

impl ParamKind {
    /// A value from the command line. What can't be read stays a text, and is refused against the schema.
    fn read(self, text: &str) -> Value {
        match self {
            Self::Boolean => text.parse().map_or_else(|_| Value::from(text), Value::Bool),
            Self::Integer => text
                .parse::<i64>()
                .map_or_else(|_| Value::from(text), Value::from),
            Self::String | Self::Secret => Value::from(text),
            Self::List => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(Value::from)
                .collect(),
        }
    }
}

/// Where a secret is found.
fn source(given: &Value) -> Result<Source, Unusable> {
    given.as_str().ok_or(Unusable::NoSource)?.parse()
}

/// The functions of a playbook.
pub(super) struct Functions {
    pub(super) run: Function,
    /// Tells the stages from the parameters.
    pub(super) stages: Option<Function>,
}

/// What is wrong with the table that a playbook returns.
struct Wrong {
    what: String,
    /// Whether its line may hold a secret, which is then named and not shown.
    secret: bool,
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self {
            what,
            secret: false,
        }
    }
}

/// Loads the module `main`, and reads the table that it returns.
pub(super) fn load(
    lua: &Lua,
    prelude: &Table,
    shared: &Rc<RefCell<Shared>>,
    main: &str,
) -> Result<(Playbook, Functions), Failure> {
    let table = returned(lua, prelude, shared, main);
    let table = table.map_err(|failure| shared.borrow().with_source(failure))?;
    read(&table).map_err(|Wrong { what, secret }| {
        let shared = shared.borrow();
        let failure = Failure::script(what.as_str()).at(shared.place(main, &what));
        if secret {
            failure
        } else {
            shared.with_source(failure)
        }
    })
}

/// Runs the module `main`. Returns the table that it returns.
fn returned(
    lua: &Lua,
    prelude: &Table,
    shared: &Rc<RefCell<Shared>>,
    main: &str,
) -> Result<Table, Failure> {
    let values = run_file(lua, prelude, shared, main)?;
    if let Some(site) = shared.borrow().runaway.clone() {
        return Err(Failure::script("an endless loop at the top of the file").at(site.to_string()));
    }
    let (ok, value): (bool, LuaValue) = lua.unpack_multi(values)?;
    if !ok {
        return Err(shared.borrow().at_caller(main, read_failure(&value)));
    }
    let got = match value {
        LuaValue::Table(table) => return Ok(table),
        LuaValue::Nil => "nothing",
        other => other.type_name(),
    };
    let what = format!(
        "this file returns {got}: a playbook ends with a table, \"return {{ api = {API}, run = … }}\""
    );
    let place = shared.borrow().place(main, &what);
    Err(Failure::script(what).at(place))
}

impl Shared {
    /// What the library refuses was asked for by the playbook that called it. `return update:extend { … }` leaves no line of
    /// its own on the stack: then it is what this module returns.
    fn at_caller(&self, module: &str, failure: Failure) -> Failure {
        let library = self.loaded.get(LIBRARY).map(|source| &source.chunk);
        let of_library =
            |line: &&str| library.is_some_and(|chunk| line.starts_with(&format!("{chunk}:")));
        if !failure.site.as_deref().as_ref().is_some_and(of_library) {
            return failure;
        }
        let traceback = failure.traceback.as_deref().unwrap_or_default();
        let callers: Vec<&str> = traceback.lines().skip_while(of_library).collect();
        let caller = callers.first().and_then(|line| line.split(" in ").next());
        let site = caller.map_or_else(|| self.place(module, &failure.message), str::to_owned);
        let traceback = Some(callers.join("\n")).filter(|lines| !lines.is_empty());
        Failure {
            site: Some(site),
            traceback,
            ..failure
        }
    }

    /// Where something is wrong with the table that this module returns, as `file:line`.
    fn place(&self, module: &str, what: &str) -> String {
        match self.loaded.get(module) {
            Some(source) => format!("{}:{}", source.chunk, line_of(&source.text, what)),
            None => format!("{module}:1"),
        }
    }
}

/// The line of a playbook's file that something is wrong with: the parameter that is complained of, or what is returned.
fn line_of(text: &str, what: &str) -> usize {
    let name = what.strip_prefix("parameter ");
    let name = name.and_then(|rest| rest.split(':').next());
    let declares = |line: &str| {
        let rest = name.and_then(|name| line.trim_start().strip_prefix(name));
        rest.is_some_and(|rest| rest.trim_start().starts_with('='))
    };
    let declared = text.lines().position(declares);
    let returned = || {
        let lines: Vec<&str> = text.lines().collect();
        let last = |found: fn(&str) -> bool| lines.iter().rposition(|line| found(line));
        last(|line| line.starts_with("return")).or_else(|| last(|line| !line.trim().is_empty()))
    };
    declared.or_else(returned).map_or(1, |i| i + 1)
}

fn run_file(
    lua: &Lua,
    prelude: &Table,
    shared: &Rc<RefCell<Shared>>,
    main: &str,
) -> mlua::Result<MultiValue> {
    let thread = lua.create_thread(prelude.raw_get("strand")?)?;
    sandbox::watch(&thread, shared)?;
    thread.resume((prelude.raw_get::<Function>("load")?, main))
}

fn read(table: &Table) -> Result<(Playbook, Functions), Wrong> {
    let field = |name: &str| table.raw_get::<LuaValue>(name).map_err(|e| e.to_string());
    match field("api")? {
        LuaValue::Integer(api) if api > API => {
            return Err(format!(
                "this playbook is written for API {api}, and this lockstep knows {API}: update lockstep"
            ).into());
        }
        LuaValue::Integer(1..) => {}
        _ => {
            return Err(format!(
                "the playbook doesn't say which API it is written for: add \"api = {API}\""
            )
            .into());
        }
    }
    let LuaValue::Function(run) = field("run")? else {
        return Err("the playbook has no function \"run\"".to_owned().into());
    };
    let about = match field("about")? {
        LuaValue::String(text) => text.to_string_lossy(),
        _ => String::new(),
    };
    let params = match to_json(&field("params")?).map_err(|what| format!("params: {what}"))? {
        Value::Object(params) => {
            let named = |(name, spec): (&String, &Value)| match param(name, spec) {
                Ok(param) => Ok((name.clone(), param)),
                Err(what) => Err(Wrong {
                    what,
                    secret: spec.get("type").is_some_and(|kind| kind == "secret"),
                }),
            };
            params.iter().map(named).collect::<Result<_, _>>()?
        }
        Value::Null => Vec::new(),
        _ => {
            return Err("params: a table of parameters by name is expected"
                .to_owned()
                .into());
        }
    };
    let (stages, list) = match field("stages")? {
        LuaValue::Function(stages) => (Some(stages), Vec::new()),
        list => (None, names(&list)?),
    };
    let leaves_on = matches!(field("leaves_on")?, LuaValue::Boolean(true));
    Ok((
        Playbook {
            about,
            params,
            stages: list,
            leaves_on,
        },
        Functions { run, stages },
    ))
}

/// A list of stages.
pub(super) fn names(list: &LuaValue) -> Result<Vec<String>, String> {
    let list = to_json(list).map_err(|what| format!("stages: {what}"))?;
    // An empty table of Lua's may be either.
    if list.as_object().is_some_and(Map::is_empty) {
        return Ok(Vec::new());
    }
    let names = Option::<Vec<String>>::deserialize(list);
    Ok(names
        .map_err(|_| "stages: a list of names is expected".to_owned())?
        .unwrap_or_default())
}

fn param(name: &str, spec: &Value) -> Result<Param, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Spec {
        #[serde(rename = "type")]
        kind: ParamKind,
        #[serde(default)]
        default: Value,
        #[serde(default)]
        about: String,
        #[serde(default)]
        one_of: Vec<String>,
    }
    const KINDS: [&str; 5] = ["boolean", "integer", "string", "list", "secret"];
    let kind = spec.get("type").and_then(Value::as_str);
    if let Some(unknown) = kind.filter(|kind| !KINDS.contains(kind)) {
        let hint = near::hint(unknown, &KINDS);
        return Err(format!(
            "parameter {name}: there is no type {unknown:?}{hint}; there are {}",
            KINDS.join(", ")
        ));
    }
    let spec = Spec::deserialize(spec).map_err(|e| {
        format!(
            "parameter {name}: {e}; write for example {{ type = \"boolean\", default = false }}"
        )
    })?;
    let param = Param {
        kind: spec.kind,
        default: spec.default,
        about: spec.about,
        one_of: spec.one_of,
    };
    if param.kind == ParamKind::Secret && !param.one_of.is_empty() {
        return Err(format!(
            "parameter {name}: a secret can't be one of some words: leave out one_of"
        ));
    }
    if param.default.is_null() {
        return Ok(param);
    }
    if param.kind == ParamKind::Secret {
        source(&param.default).map_err(|e| format!("parameter {name}: its default: {e}"))?;
    }
    let default = schema::coerce(&param.schema(), param.default.clone());
    let default = default.map_err(|e| format!("parameter {name}: its default doesn't fit: {e}"))?;
    Ok(Param { default, ..param })
}
