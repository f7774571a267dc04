//! What follows from the registry: the reference, type stubs for editors, globals for luacheck, and the JSON schema.
//!
//! Everything here is made from the one declaration of each op. The files are committed, and a test keeps them true.

use std::fmt::Write;

use lockstep_modules::contract::op::{OpDef, Registry};
use lockstep_modules::contract::schema::{required, types_of, words};
use lockstep_modules::products::ceph::{Class, codes};
use lockstep_modules::products::versions::DIFFERENCES;
use serde_json::{Map, Value, json};

use crate::bundle::{self, Playbooks};

/// What playbooks see beside modules: the functions that they are written with.
pub(crate) const FLOW: [&str; 9] = [
    "confirm", "each", "finally", "log", "parallel", "rolling", "section", "try", "window",
];

/// The folder of the stubs, in a site's and among the shipped playbooks.
pub(crate) const TYPES: &str = "types";

/// The reference page of all ops, as Markdown.
#[must_use]
pub fn reference(registry: &Registry) -> String {
    let mut page = "# Ops\n\n<!-- Generated from the declarations of the ops. Edit those. -->\n\nEvery op is a function in playbooks (`snap.refresh { member = \"micro1\", snap = \"lxd\" }`) and a command in the shell\n(`lockstep op snap.refresh --member micro1 --snap lxd`). Besides its own arguments, every call takes `timeout` (\"15m\") and\n`retry` (`{ times = 3, every = \"10s\" }`). The effect says what happens to a step whose end was missed: a *read* or\n*converge* is run again; for a *once* the op's probe checks the cluster, or lockstep asks the operator.\n".to_owned();
    for module in registry.modules() {
        let _ = write!(page, "\n## {}\n\n{}\n", module.name, module.about);
        for op in &module.ops {
            let _ = write!(page, "\n{}", reference_of(op));
        }
    }
    page
}

/// The book's page of what differs between versions.
#[must_use]
pub fn versions() -> String {
    let mut page = "# Versions\n\n<!-- Generated from modules/src/products/versions.rs. Edit that. -->\n\nWhat older versions of the products do differently from the newest, how lockstep handles it, and the test that shows it. Ops ask\nthe product that runs, not its version: what isn't known there, or can't be parsed, is never taken as healthy.\n\n| product | versions | what differs | how it is met | upstream | test |\n|---|---|---|---|---|---|\n".to_owned();
    for row in DIFFERENCES {
        let (file, test) = row.test;
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} | `{test}` in {file} |",
            row.product, row.versions, row.what, row.met, row.source
        );
    }
    page
}

/// What the book says of Ceph's health, before its tables.
const HEALTH: &str = "\
# Ceph's health codes

<!-- Generated from modules/src/products/ceph/codes/table.rs. Edit that. -->

`HEALTH_ERR` isn't always about data, and `HEALTH_OK` isn't always health: so lockstep doesn't go by these words. It looks at
quorum, OSDs and placement groups themselves, and at what each code that is raised means for a refresh. A code that somebody
muted is left alone. What is raised but is no reason to stop is reported by `status`, by the preflight, and at the end of a run.

A code that isn't in these tables is judged by its severity and reported as unknown: an error stops, a warning doesn't unless
it is new.

## After an upgrade: errors about keys

From Ceph 19.2.6 and 20.2.4 on the cluster says `HEALTH_ERR` with codes like `AUTH_INSECURE_SERVICE_KEY_TYPE`, beginning with
the first refreshed monitor that leads (CVE-2025-30156). Nothing broke: these keys were of that kind before, and the release is
the first to report it. lockstep carries on and reports it at the end. Don't rotate keys because of it until every member, and every
client (LXD's snap, and whatever else mounts or maps from this cluster), can read the new kind; clients that can't are locked
out. Until then the codes can be muted: `sudo microceph.ceph health mute CODE 4w --sticky`. What to do, and in which order, is in
[Ceph's documentation](https://docs.ceph.com/en/latest/rados/operations/health-checks/).
";

/// The book's page of Ceph's health codes.
#[must_use]
pub fn health() -> String {
    const CLASSES: [(Class, &str, &str); 4] = [
        (
            Class::Data,
            "They stop",
            "About data: while it is raised nothing is taken down.",
        ),
        (
            Class::Passing,
            "They are waited for",
            "It comes with a refreshed member and goes away again. Nothing is started while it is raised, and a gate waits for it to clear.",
        ),
        (
            Class::Standing,
            "They stop only if they are new",
            "Not about data. Raised before the wave, it is no reason to stop, and an update may clear it. Raised during the wave, or more often than before, it holds the gate, which shows the command that mutes it.",
        ),
        (
            Class::Expected,
            "They are only reported",
            "It comes with an upgrade, or is about something that is judged separately.",
        ),
    ];
    let mut page = HEALTH.to_owned();
    for (class, title, about) in CLASSES {
        let _ = write!(
            page,
            "\n## {title}\n\n{about}\n\n| code | it says |\n|---|---|\n"
        );
        for (_, code, says) in codes().filter(|(of, ..)| *of == class) {
            let _ = writeln!(page, "| `{code}` | {says} |");
        }
    }
    page
}

/// The part of the reference that is about one op.
pub(crate) fn reference_of(op: &OpDef) -> String {
    let mut text = format!("### {}\n\n{}\n\n", op.name, *op.doc);
    let _ = writeln!(
        text,
        "Effect: {}. Time-out: {}.\n",
        op.effect.word(),
        op.timeout
    );
    let arguments = fields(&op.args);
    if arguments.is_empty() {
        text.push_str("No arguments.\n");
    } else {
        text.push_str("| argument | type | |\n|---|---|---|\n");
        text.push_str(&arguments.iter().map(Field::row).collect::<String>());
    }
    let results = fields(&op.out);
    if results.is_empty() {
        text.push_str("\nNo result.\n");
    } else {
        text.push_str("\n| result | type | |\n|---|---|---|\n");
        text.push_str(&results.iter().map(Field::row).collect::<String>());
    }
    text
}

/// A field of an argument or result record.
struct Field<'a> {
    name: &'a str,
    schema: &'a Value,
    required: bool,
}

impl Field<'_> {
    fn row(&self) -> String {
        let name = if self.required {
            format!("**{}**", self.name)
        } else {
            self.name.to_owned()
        };
        let doc = doc(self.schema).replace('\n', " ");
        let default = self.schema.get("default").filter(|d| !d.is_null());
        let default = default.map_or_else(String::new, |d| format!(" Default: `{d}`."));
        format!(
            "| {name} | {} | {doc}{default} |\n",
            lua_type(self.schema).replace('|', "\\|")
        )
    }
}

/// What a schema says of itself.
pub(crate) fn doc(schema: &Value) -> &str {
    let doc = schema.get("description").and_then(Value::as_str);
    doc.unwrap_or_default()
}

/// The schemas of a record's fields, by name.
pub(crate) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten()
}

/// The fields of a record, the required ones first.
fn fields(schema: &Value) -> Vec<Field<'_>> {
    let is_required = |name: &str| required(schema).any(|r| r == name);
    let mut fields: Vec<Field<'_>> = properties(schema)
        .map(|(name, schema)| Field {
            name,
            schema,
            required: is_required(name),
        })
        .collect();
    fields.sort_by_key(|field| !field.required);
    fields
}

/// A schema as a LuaCATS type.
fn lua_type(schema: &Value) -> String {
    if let Some(words) = words(schema) {
        return words
            .iter()
            .map(|w| format!("\"{w}\""))
            .collect::<Vec<_>>()
            .join("|");
    }
    if let Some(name) = schema.get("x-lockstep").and_then(Value::as_str) {
        return format!("lockstep.{name}");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(key).and_then(Value::as_array) {
            let some = choices.iter().filter(|c| !types_of(c).contains(&"null"));
            return some.map(lua_type).collect::<Vec<_>>().join("|");
        }
    }
    match types_of(schema).first().copied() {
        Some("integer") => "integer".to_owned(),
        Some("number") => "number".to_owned(),
        Some("string") => "string".to_owned(),
        Some("boolean") => "boolean".to_owned(),
        Some("array") => {
            let item = lua_type(schema.get("items").unwrap_or(&Value::Null));
            if item.contains('|') {
                format!("({item})[]")
            } else {
                format!("{item}[]")
            }
        }
        Some("object") => object_type(schema),
        _ => "any".to_owned(),
    }
}

fn object_type(schema: &Value) -> String {
    if schema.get("properties").is_none() {
        let value = schema.get("additionalProperties").filter(|v| v.is_object());
        return value.map_or_else(
            || "table".to_owned(),
            |v| format!("table<string, {}>", lua_type(v)),
        );
    }
    let fields = fields(schema).into_iter().map(|f| {
        format!(
            "{}{}: {}",
            f.name,
            if f.required { "" } else { "?" },
            lua_type(f.schema)
        )
    });
    format!("{{ {} }}", fields.collect::<Vec<_>>().join(", "))
}

/// The type stub of a module, for editors that know LuaCATS: its file name and text.
#[must_use]
pub fn stubs(registry: &Registry) -> Vec<(String, String)> {
    let stub = |module: &lockstep_modules::contract::op::Module| {
        let mut text = format!("---@meta\n-- Generated. {}\n\n", module.about);
        if module.ops.iter().any(|op| op.name != module.name) {
            let _ = writeln!(text, "{} = {{}}\n", module.name);
        }
        text.push_str(
            &module
                .ops
                .iter()
                .map(op_stub)
                .collect::<Vec<_>>()
                .join("\n"),
        );
        (format!("{}.lua", module.name), text)
    };
    // A question is asked by a flow function, `confirm "…"`, whose stub is written by hand.
    registry
        .modules()
        .iter()
        .filter(|module| module.name != "confirm")
        .map(stub)
        .collect()
}

fn op_stub(op: &OpDef) -> String {
    let mut text = class(&format!("{}.Args", op.name), &op.args, true);
    text.push('\n');
    text.push_str(&class(&format!("{}.Result", op.name), &op.out, false));
    text.push('\n');
    text.push_str(
        &op.doc
            .lines()
            .map(|line| format!("--- {line}").trim_end().to_owned() + "\n")
            .collect::<String>(),
    );
    let _ = writeln!(
        text,
        "---@param args {}.Args\n---@return {}.Result\nfunction {}(args) end",
        op.name, op.name, op.name
    );
    text
}

fn class(name: &str, schema: &Value, options: bool) -> String {
    let mut text = format!("---@class (exact) {name}\n");
    for field in fields(schema) {
        let doc = doc(field.schema).replace('\n', " ");
        let optional = if field.required { "" } else { "?" };
        let _ = writeln!(
            text,
            "---@field {}{optional} {} {doc}",
            field.name,
            lua_type(field.schema)
        );
    }
    if options {
        text.push_str("---@field timeout? lockstep.Span How long the step may take.\n");
        text.push_str("---@field retry? { times: integer, every?: lockstep.Span } How often it is tried again when it fails.\n");
    }
    text
}

/// Globals of playbooks that aren't Lua's own, for `.luacheckrc`.
#[must_use]
pub fn luacheckrc(registry: &Registry) -> String {
    let mut names: Vec<&str> = registry
        .modules()
        .iter()
        .map(|m| m.name.as_str())
        .chain(FLOW)
        .collect();
    names.sort_unstable();
    names.dedup();
    let gone = [
        "collectgarbage",
        "coroutine",
        "debug",
        "dofile",
        "io",
        "load",
        "loadfile",
        "os",
        "package",
        "rawset",
        "warn",
    ];
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|n| format!("\t\"{n}\",\n"))
            .collect::<String>()
    };
    format!(
        "-- Generated from the registry: what playbooks see, and what of Lua they don't.\nstd = \"lua54\"\nread_globals = {{\n{}}}\nnot_globals = {{\n{}}}\nexclude_files = {{ \"types/**\" }}\nmax_line_length = 130\n",
        list(&names),
        list(&gone),
    )
}

/// What an editor needs in a site's folder to complete and check its playbooks: files by their paths there.
///
/// The stubs of the ops and of what else playbooks see, the shipped playbooks where `require` finds them, and the settings
/// of LuaLS, EmmyLua and luacheck that name all this.
pub(crate) fn editor(
    registry: &Registry,
    playbooks: &Playbooks,
) -> Result<Vec<(String, String)>, String> {
    let settings = json!({
        "runtime": {
            "version": "Lua 5.4",
            "path": ["?.lua"],
            "builtin": {"coroutine": "disable", "debug": "disable", "io": "disable", "os": "disable", "package": "disable"},
        },
        "workspace": {"library": [TYPES]},
    });
    let mut files = vec![
        (".luarc.json".to_owned(), format!("{settings:#}\n")),
        (".luacheckrc".to_owned(), luacheckrc(registry)),
    ];
    let mut add = |name: String, text: String| files.push((format!("{TYPES}/{name}"), text));
    for (name, text) in stubs(registry) {
        add(name, text);
    }
    for (name, text) in bundle::shipped_in("types") {
        // The library that is required as "flow" has that name; the stub says what is there without it.
        let name = if name == "flow.lua" {
            "lockstep.lua"
        } else {
            name
        };
        if !registry
            .modules()
            .iter()
            .any(|m| name == format!("{}.lua", m.name))
        {
            add(name.to_owned(), text.to_owned());
        }
    }
    for (name, text) in bundle::shipped_in("types/data") {
        add(format!("playbooks/data/{name}"), text.to_owned());
    }
    for (name, text) in playbooks.modules()? {
        let folder = if name == "flow.lua" { "" } else { "playbooks/" };
        add(format!("{folder}{name}"), text);
    }
    Ok(files)
}

/// The schemas of all ops, as one JSON document.
pub(crate) fn schema(registry: &Registry) -> Value {
    let op = |op: &OpDef| {
        let value =
            json!({"effect": op.effect, "timeout": op.timeout, "args": *op.args, "out": *op.out});
        (op.name.clone(), value)
    };
    Value::Object(registry.ops().map(op).collect::<Map<_, _>>())
}
