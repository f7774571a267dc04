//! The Lua state that playbooks run in: what it holds, what it lacks, and the hook that ends endless loops.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use lockstep_modules::contract::cx::LogLevel;
use lockstep_modules::contract::near;
use lockstep_modules::contract::op::Registry;
use lockstep_modules::ops::preflight::tables;
use mlua::{
    FromLuaMulti, HookTriggers, IntoLuaMulti, Lua, LuaOptions, StdLib, Table, Thread, VmState,
};

use super::convert::plain;
use super::text;
use crate::failure::Failure;
use crate::source::{Source, Sources};

/// What a strand may do between two steps: Lua's instructions, and the steps of matching patterns, which Lua's hook can't
/// see. Either takes about a second.
pub(super) const BUDGET: u64 = 50_000_000;

/// How often the hook looks.
const EVERY: u32 = 100_000;

/// Memory for a playbook and all its values.
pub(super) const MEMORY: usize = 64 * 1024 * 1024;

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

/// A line of a playbook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    pub(super) chunk: String,
    pub(super) line: usize,
}

/// What Rust knows of a strand that Lua asks it for.
pub(super) struct StrandState {
    pub(super) scope: Vec<String>,
    pub(super) catching: u32,
    /// How deep it is in what `finally` does last: that is carried out even when the run is aborted.
    pub(super) cleaning: u32,
    /// Where the function that it runs begins.
    pub(super) body: Option<Site>,
}

/// What the machine and its Lua callbacks share.
pub(super) struct Shared {
    sources: Box<dyn Sources>,
    pub(super) loaded: BTreeMap<String, Source>,
    pub(super) loading: bool,
    pub(super) strands: Vec<StrandState>,
    current: usize,
    pub(super) logs: Vec<(LogLevel, String, String)>,
    /// What a strand may do between two steps.
    pub(super) budget: u64,
    spent: u64,
    /// Where the strand that runs was last seen with much memory in use.
    heavy: Option<Site>,
    /// The run is being aborted: no step is asked for any more, but those that clean up.
    pub(super) cancelled: bool,
    pub(super) runaway: Option<Site>,
}

impl Shared {
    pub(super) fn new(sources: Box<dyn Sources>) -> Self {
        Self {
            sources,
            loaded: BTreeMap::new(),
            loading: true,
            strands: Vec::new(),
            current: 0,
            logs: Vec::new(),
            budget: BUDGET,
            spent: 0,
            heavy: None,
            cancelled: false,
            runaway: None,
        }
    }

    /// `id` runs next, with a full budget.
    pub(super) fn enter_strand(&mut self, id: usize) {
        self.current = id;
        self.spent = 0;
        self.heavy = None;
    }

    /// What is left of the budget of the strand that runs.
    pub(super) fn left(&self) -> u64 {
        self.budget.saturating_sub(self.spent)
    }

    pub(super) fn spend(&mut self, steps: u64) {
        self.spent = self.spent.saturating_add(steps);
    }

    /// A failure, with the source that its line is in.
    pub(super) fn with_source(&self, failure: Failure) -> Failure {
        let chunk = failure
            .site
            .as_deref()
            .and_then(|site| site.rsplit_once(':'));
        let source = chunk.and_then(|(chunk, _)| self.loaded.values().find(|s| s.chunk == chunk));
        Failure {
            source: source.cloned().map(Box::new),
            ..failure
        }
    }

    /// What an error says that isn't the playbook's own. Where memory is used up there is no frame left to tell the line
    /// from: it is where that was seen to come, or where the function begins that the strand runs.
    fn message(&mut self, error: &mlua::Value) -> String {
        let mut error = error.as_error();
        while let Some(mlua::Error::CallbackError { cause, .. }) = error {
            error = Some(cause);
        }
        match error {
            Some(mlua::Error::RuntimeError(message)) => message.clone(),
            Some(error) if !matches!(error, mlua::Error::MemoryError(_)) => error.to_string(),
            _ => {
                let begins = self.strand().and_then(|strand| strand.body.clone());
                let site = self.heavy.clone().or(begins);
                site.map_or_else(String::new, |site| format!("{site}: ")) + &too_much_memory()
            }
        }
    }

    fn strand(&mut self) -> Option<&mut StrandState> {
        self.strands.get_mut(self.current)
    }
}

/// The message for a playbook that has no memory left.
pub(super) fn too_much_memory() -> String {
    let limit = MEMORY / (1024 * 1024);
    format!("the playbook uses more memory than it is given ({limit} MiB)")
}

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
    let prelude: Table = own(include_str!("prelude.lua")).call((host, library))?;
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
