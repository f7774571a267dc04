//! Ways out of the sandbox of playbooks, and ways to make it stand still: each ends with a failure, soon.

use lockstep::bundle::{Finder, Playbooks};
use lockstep::engine::Finish;
use lockstep::script::{Source, Sources};
use lockstep::trial::{Ended, Piece, Trial};
use lockstep_twin::Scenario;

struct Text(String);

impl Sources for Text {
    fn find(&self, name: &str) -> Result<Source, String> {
        if name == "escape" {
            return Ok(Source {
                chunk: "escape.lua".to_owned(),
                text: self.0.clone(),
            });
        }
        let main = std::path::Path::new("nowhere/escape.lua");
        Finder::site(main, Playbooks::Shipped).find(name)
    }
}

/// What a playbook of this body ends with: its result as JSON, or why it failed.
fn ended(body: &str) -> Result<String, String> {
    let text = format!("return {{ api = 1, run = function(cluster, p)\n{body}\nend }}\n");
    let registry = lockstep_modules::registry();
    let piece = Piece::load(
        "escape",
        Box::new(Text(text)),
        &registry,
        &serde_json::Map::default(),
    );
    let mut trial = Trial::new(piece.map_err(|e| e.to_string())?, Scenario::of(1).build());
    match trial.run().map_err(|e| e.to_string())? {
        Ended::Finish(Finish::Done(value)) => Ok(value.to_string()),
        Ended::Finish(Finish::Failed(failure)) => Err(failure.to_string()),
        other => panic!("{body}: {other:?}"),
    }
}

/// What isn't there, or is refused.
const REFUSED: &[&str] = &[
    "return io.open('/etc/passwd')",
    "return os.execute('id')",
    "return os.getenv('HOME')",
    "return os.time()",
    "return os.clock()",
    "return require 'os'",
    "return require 'io'",
    "return require '../escape'",
    "return require '/etc/passwd'",
    "return require 'nowhere.else'",
    "return load('return 1')()",
    "return load(function() return nil end)",
    "return loadstring('return 1')()",
    "return loadfile('/etc/passwd')",
    "return dofile('/etc/passwd')",
    "return debug.getregistry()",
    "return debug.getinfo(1)",
    "return debug.sethook()",
    "return debug.getupvalue(print, 1)",
    "return package.loadlib('/lib/libc.so.6', '*')",
    "return package.loaded",
    "return string.dump(function() end)",
    "return ('').dump(function() end)",
    "return coroutine.create(function() end)",
    "return coroutine.wrap(function() end)()",
    "return coroutine.yield()",
    "return collectgarbage('stop')",
    "undeclared = 1",
    "_G.undeclared = 1",
    "return {} .. ''",
    "return snap.refresh",
    "snap.info = nil",
    "cluster.members[1] = 'other'; snap.info { member = 'other', snap = 'lxd' }",
];

/// What takes all there is, unless it is stopped.
const ENDLESS: &[&str] = &[
    "while true do end",
    "while true do pcall(function() while true do end end) end",
    "local function f() return f() end return f()",
    "local function f() return 1 + f() end return f()",
    "local t = setmetatable({}, {}) getmetatable(t).__index = function(s, k) return s[k] end return t.x",
    "table.sort({ 3, 2, 1 }, function() while true do end end)",
    "return (('x'):gsub('x', function() while true do end end))",
    "local x <close> = setmetatable({}, { __close = function() while true do end end })",
    "return ('x'):rep(1 << 40)",
    "return ('x'):rep(1 << 30)",
    "local t = {} for i = 1, 1 << 40 do t[i] = i end",
    "local s = 'x' while true do s = s .. s end",
    "local t = {} for i = 1, 1000 do t[i] = ('x'):rep(100000) end return table.concat(t)",
    "return table.unpack({}, 1, 1 << 24)",
    "return select('#', table.unpack({}, 1, 1 << 40))",
    "return string.format('%99999999d', 1)",
    "return table.concat({}, 'x', 1, 1 << 40)",
    "return table.move({}, 1, 1 << 40, 2)",
    "table.insert(setmetatable({}, { __len = function() return 1 << 40 end }), 1, 'x')",
    "table.remove(setmetatable({}, { __len = function() return 1 << 40 end }), 1)",
    "goto again ::again:: goto again",
];

#[test]
fn nothing_leads_out_of_the_sandbox() {
    for body in REFUSED {
        let ended = ended(body);
        assert!(ended.is_err(), "{body}: {ended:?}");
    }
}

#[test]
fn nothing_makes_a_playbook_stand_still_or_take_all_memory() {
    for body in ENDLESS {
        let ended = ended(body);
        assert!(ended.is_err(), "{body}: {:?}", ended.map(|text| text.len()));
    }
}

#[test]
fn what_is_left_says_nothing_of_the_machine() {
    let table = ended("return tostring({}) == tostring({})");
    assert!(
        table.is_err() || table.as_deref() == Ok("true"),
        "{table:?}"
    );
    let same = || {
        ended(
            "local t = {} for k in pairs({ a = 1, b = 2, c = 3, d = 4 }) do t[#t + 1] = k end return t",
        )
    };
    assert_eq!(same(), same());
    let random = || ended("return math.random(1 << 40)");
    assert_eq!(random(), random());
}
