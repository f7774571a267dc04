//! The Lua state that playbooks run in: what it holds, what it lacks, and the hook that ends endless loops.

use std::cell::RefCell;
use std::rc::Rc;

use lockstep_modules::contract::cx::LogLevel;
use lockstep_modules::contract::near;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::ops::preflight::tables;
use mlua::{
    FromLuaMulti, HookTriggers, IntoLuaMulti, Lua, LuaOptions, StdLib, Table, Thread, VmState,
};

use super::convert::plain;
use super::shared::{MEMORY, Shared, Site, StrandState};
use super::text;

/// How often the hook looks.
const EVERY: u32 = 100_000;

/// Frames that a traceback has at most: what recurses without an end would fill journals.
const DEEPEST: usize = 50;

/// The words of the language (Lua 5.4's manual, 3.1).
const KEYWORDS: [&str; 22] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
    "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// Whether a name means something in Lua, so that nothing else may have it.
pub(crate) fn is_of_lua(name: &str) -> bool {
    let known = Lua::new().globals().contains_key(name).unwrap_or(false);
    known || KEYWORDS.contains(&name) || REMOVED.iter().any(|(removed, _)| *removed == name)
}

/// What is missing from a playbook's world on purpose, and why.
const REMOVED: [(&str, &str); 13] = [
    ("collectgarbage", "results must not depend on the collector"),
    (
        "coroutine",
        "use parallel, each or rolling: lockstep has to know every strand",
    ),
    (
        "debug",
        "it sees through everything that makes a run repeatable",
    ),
    (
        "dofile",
        "use require, so that the file is captured with the run",
    ),
    (
        "io",
        "files are read and written by steps (exec), so that a resumed run finds the same",
    ),
    (
        "load",
        "code comes from files, which are captured with the run",
    ),
    (
        "loadfile",
        "use require, so that the file is captured with the run",
    ),
    (
        "loadstring",
        "code comes from files, which are captured with the run",
    ),
    ("module", "return a table from the file instead"),
    (
        "os",
        "the clock is a step (time.now), programs are steps (exec), settings are parameters",
    ),
    ("package", "use require"),
    (
        "rawset",
        "it would go around the checks on tables that belong to lockstep",
    ),
    ("unpack", "it is called table.unpack"),
];

/// A Lua state with the prelude in it. Returns both.
pub(super) fn build(
    shared: &Rc<RefCell<Shared>>,
    registry: &Registry,
    seed: u64,
) -> mlua::Result<(Lua, Table)> {
    let libs = StdLib::TABLE | StdLib::STRING | StdLib::MATH | StdLib::UTF8 | StdLib::COROUTINE;
    let lua = Lua::new_with(libs, LuaOptions::default())?;
    lua.set_memory_limit(MEMORY)?;
    let host = host(&lua, shared, registry)?;
    let globals = lua.globals();
    let math: Table = globals.get("math")?;
    math.get::<mlua::Function>("randomseed")?
        .call::<()>(seed.cast_signed())?;
    let own = |text: &'static str| lua.load(text).set_name("=prelude");
    let library = own(include_str!("library.lua")).into_function()?;
    let strands = own(include_str!("strands.lua")).into_function()?;
    let prelude: Table = own(include_str!("prelude.lua")).call((host, library, strands))?;
    Ok((lua, prelude))
}

/// Counts a thread's instructions and ends it when it has used up its budget. An error could be caught by the playbook's
/// `pcall` for ever; a yield can't. Only where Lua can't yield (a sort comparator) the hook falls back to errors.
pub(super) fn watch(thread: &Thread, shared: &Rc<RefCell<Shared>>) -> mlua::Result<()> {
    let shared = Rc::clone(shared);
    thread.set_hook(
        HookTriggers::new().every_nth_instruction(EVERY),
        move |lua, _| {
            let mut shared = shared.borrow_mut();
            shared.spend(u64::from(EVERY));
            if lua.used_memory() > MEMORY / 2 {
                shared.heavy = site(lua, 0);
            }
            if shared.left() > 0 {
                return Ok(VmState::Continue);
            }
            let first = shared.runaway.is_none();
            shared.runaway.get_or_insert_with(|| {
                site(lua, 0).unwrap_or(Site {
                    chunk: "?".to_owned(),
                    line: 0,
                })
            });
            if first {
                Ok(VmState::Yield)
            } else {
                Err(mlua::Error::runtime("an endless loop"))
            }
        },
    )
}

/// What the prelude asks of the machine: a table of functions.
struct Host<'a> {
    lua: &'a Lua,
    table: Table,
    shared: &'a Rc<RefCell<Shared>>,
}

impl Host<'_> {
    /// A function that works with what the strands share.
    fn set<A, R>(
        &self,
        name: &str,
        function: impl Fn(&Lua, &RefCell<Shared>, A) -> R + 'static,
    ) -> mlua::Result<()>
    where
        A: FromLuaMulti,
        R: IntoLuaMulti,
    {
        let shared = Rc::clone(self.shared);
        let function = move |lua: &Lua, args: A| Ok(function(lua, &shared, args));
        self.table.set(name, self.lua.create_function(function)?)
    }

    /// A function that does something to the strand that calls it.
    fn set_of_strand<A: FromLuaMulti + 'static>(
        &self,
        name: &str,
        function: fn(&mut StrandState, A),
    ) -> mlua::Result<()> {
        self.set(name, move |_, shared, args| {
            if let Some(strand) = shared.borrow_mut().strand() {
                function(strand, args);
            }
        })
    }
}

fn host(lua: &Lua, shared: &Rc<RefCell<Shared>>, registry: &Registry) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    let host = Host { lua, table, shared };
    host.set("site", |lua, shared, ()| calling(lua, shared))?;
    host.set("affords", |_, shared, steps: u64| {
        let mut shared = shared.borrow_mut();
        shared.spend(steps);
        shared.left() > 0
    })?;
    host.set("message", |_, shared, error: mlua::Value| {
        shared.borrow_mut().message(&error)
    })?;
    host.set("traceback", |lua, _, ()| traceback(lua))?;
    host.set("hint", |_, _, (word, table): (String, Table)| {
        hint(&word, &table)
    })?;
    host.set("loading", |_, shared, ()| shared.borrow().loading)?;
    host.set("source", |_, shared, name| source(shared, name))?;
    host.table.set("data", lua.create_function(data)?)?;
    text::add(lua, &host.table, shared)?;

    host.set("depth", |_, shared, ()| {
        shared.borrow_mut().strand().map_or(0, |s| s.scope.len())
    })?;
    host.set_of_strand("enter", |strand, label| strand.scope.push(label))?;
    host.set_of_strand("leave", |strand, depth| strand.scope.truncate(depth))?;
    host.set_of_strand("catch", |strand, by| {
        strand.catching = strand.catching.saturating_add_signed(by);
    })?;
    host.set_of_strand("clean", |strand, by| {
        strand.cleaning = strand.cleaning.saturating_add_signed(by);
    })?;
    host.set("cancelled", |_, shared, ()| {
        let mut shared = shared.borrow_mut();
        let cleaning = shared.strand().is_some_and(|strand| strand.cleaning > 0);
        shared.cancelled && !cleaning
    })?;
    for (name, level) in [("info", LogLevel::Info), ("warn", LogLevel::Warn)] {
        host.set(name, move |_, shared, message: String| {
            let mut shared = shared.borrow_mut();
            let scope = shared
                .strand()
                .map_or_else(String::new, |strand| strand.scope.join("/"));
            shared.logs.push((level, message, scope));
        })?;
    }

    let ops = lua.create_table()?;
    for module in registry.modules() {
        let names: Vec<&str> = module.ops.iter().map(|op| op.name.as_str()).collect();
        ops.set(module.name.as_str(), names)?;
    }
    host.table.set("ops", ops)?;
    host.table.set("removed", lua.create_table_from(REMOVED)?)?;
    Ok(host.table)
}

/// The playbook's line that calls the prelude; empty where there is none.
fn calling(lua: &Lua, shared: &RefCell<Shared>) -> String {
    // A tail call (`return snap.refresh { … }`) leaves no frame: then the function that the strand runs must do.
    let site = site(lua, 1).or_else(|| {
        let mut shared = shared.borrow_mut();
        shared.strand().and_then(|strand| strand.body.clone())
    });
    site.map_or_else(String::new, |site| site.to_string())
}

/// " (did you mean …?)", by the keys of a table.
fn hint(word: &str, table: &Table) -> String {
    let names = table.pairs::<String, mlua::Value>();
    let mut names: Vec<String> = names.filter_map(|pair| Some(pair.ok()?.0)).collect();
    names.sort_unstable();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    near::hint(word, &names)
}

/// The chunk's name and the text of a module; no name, and where it was looked for, where it isn't found.
fn source(shared: &RefCell<Shared>, name: String) -> (Option<String>, String) {
    let found = shared.borrow().sources.find(&name);
    match found {
        Ok(source) => {
            shared.borrow_mut().loaded.insert(name, source.clone());
            (Some(source.chunk), source.text)
        }
        Err(tried) => (None, tried),
    }
}

/// A table of data as Lua has it; or what is wrong with it, and where.
fn data(
    lua: &Lua,
    (name, chunk, text): (String, String, String),
) -> mlua::Result<(mlua::Value, Option<String>)> {
    let table = name.rsplit('.').next().unwrap_or_default();
    match tables::read(table, &text) {
        Ok(value) => Ok((plain(lua, &value)?, None)),
        Err((line, what)) => Ok((mlua::Value::Nil, Some(format!("{chunk}:{line}: {what}")))),
    }
}

/// Where a function of a playbook begins.
pub(super) fn beginning(function: &mlua::Function) -> Option<Site> {
    let info = function.info();
    let chunk = info.source?.strip_prefix('@')?.to_owned();
    Some(Site {
        chunk,
        line: info.line_defined?,
    })
}

/// The innermost line of a playbook from `level` of the stack on. Frames of C and of the prelude are not the author's.
pub(super) fn site(lua: &Lua, level: usize) -> Option<Site> {
    let (site, _) = frames(lua, level).flatten().next()?;
    Some(site)
}

/// The frames from `level` of the stack on; none for each that isn't the playbook's.
fn frames(lua: &Lua, level: usize) -> impl Iterator<Item = Option<(Site, Option<String>)>> {
    (level..).map_while(|level| lua.inspect_stack(level, frame))
}

/// The playbook's lines from the innermost on outwards, each with the function it is in.
fn traceback(lua: &Lua) -> String {
    let mut lines = Vec::new();
    let mut callers = frames(lua, 1).peekable();
    while let Some(frame) = callers.next() {
        let Some((site, name)) = frame else { continue };
        // A function has its name from whoever calls it. What the prelude or C calls it says nothing to an author.
        let known = matches!(callers.peek(), Some(Some(_)));
        let name = name.filter(|_| known);
        lines.push(name.map_or_else(|| site.to_string(), |name| format!("{site} in {name}")));
        if lines.len() == DEEPEST {
            break;
        }
    }
    lines.join("\n")
}

/// A frame with the name of its function; none where it isn't the playbook's.
fn frame(debug: &mlua::debug::Debug<'_>) -> Option<(Site, Option<String>)> {
    let chunk = debug.source().source?.strip_prefix('@')?.to_owned();
    let line = debug.current_line()?;
    let name = debug.names().name.map(std::borrow::Cow::into_owned);
    Some((Site { chunk, line }, name))
}
