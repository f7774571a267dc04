//! What patterns do, against what they do in Lua itself.

use lockstep_modules::contract::op::Registry;
use mlua::Function;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::super::{Source, Sources, sandbox};
use super::*;

/// One file.
struct File(&'static str);

impl Sources for File {
    fn find(&self, name: &str) -> Result<Source, String> {
        Ok(Source {
            chunk: name.to_owned(),
            text: self.0.to_owned(),
        })
    }
}

/// The function that a file returns, once for playbooks and once in Lua itself.
struct Both {
    /// What keeps the functions alive.
    _states: [Lua; 2],
    shared: Rc<RefCell<Shared>>,
    functions: [Function; 2],
}

impl Both {
    fn of(file: &'static str) -> Self {
        let shared = Rc::new(RefCell::new(Shared::new(Box::new(File(file)))));
        let (ours, prelude) = sandbox::build(&shared, &Registry::new([]), 7).unwrap();
        let load: Function = prelude.get("load").unwrap();
        let theirs = Lua::new();
        let function = theirs.load(file).set_name("@file").eval().unwrap();
        Self {
            functions: [load.call("file").unwrap(), function],
            _states: [ours, theirs],
            shared,
        }
    }

    /// What both say, ours first.
    fn say(&self, args: &(impl IntoLuaMulti + Clone)) -> [String; 2] {
        self.shared.borrow_mut().enter_strand(0);
        let printed = |function: &Function| {
            let printed: LuaString = function.call(args.clone()).unwrap();
            printed.to_string_lossy()
        };
        self.functions.each_ref().map(printed)
    }

    /// What both say alike.
    fn agree(file: &'static str) -> String {
        let [ours, theirs] = Self::of(file).say(&());
        assert_eq!(ours, theirs);
        ours
    }
}

/// Goes through all that is done with patterns. The methods of texts are what playbooks have.
const ALL: &str = r##"
return function(s, p, by, n)
    local function told(...)
        local words = table.pack(...)
        for i = 1, words.n do
            words[i] = math.type(words[i]) == "integer" and words[i] .. "" or ("%q"):format(words[i])
        end
        return table.concat(words, " ", 1, words.n)
    end
    local function try(what, f)
        return what .. ": " .. told(pcall(f)) .. "\n"
    end
    local function every(...)
        local all = {}
        for a, b, c in s:gmatch(...) do
            all[#all + 1] = told(a, b, c)
            -- It would go on for ever where a text is empty, if it did not know where it was.
            if #all > 100 then break end
        end
        return table.concat(all, ", ")
    end
    return table.concat {
        try("find", function() return s:find(p) end),
        try("find from", function() return s:find(p, n) end),
        try("find plainly", function() return s:find(p, n, true) end),
        try("match", function() return s:match(p) end),
        try("match from", function() return s:match(p, n) end),
        try("gmatch", function() return every(p) end),
        try("gmatch from", function() return every(p, n) end),
        try("gsub", function() local text, n = s:gsub(p, by) return text, n end),
        try("gsub so many", function() local text, n = s:gsub(p, by, n) return text, n end),
        try("gsub by table", function() local text, n = s:gsub(p, { a = "1", ["]"] = 2.5, [1] = "p", b = false }) return text, n end),
        try("gsub by function", function()
            local text, n = s:gsub(p, function(...) return (...) ~= "a" and select("#", ...) or nil end)
            return text, n
        end),
    }
end
"##;

/// Pieces that patterns are made of, and some that make them wrong.
fn piece() -> impl Strategy<Value = String> {
    let single = prop_oneof![
        4 => prop::sample::select(vec!["a", "b", ".", "%a", "%D", "%s", "%w", "%S", "%.", "%z", "]", "\u{0}"]),
        2 => prop::sample::select(vec!["[ab]", "[^a]", "[a-c=]", "[%a%]]", "[]]", "[^]-]", "[a-]", "[%d-z]", "[^%s]"]),
    ];
    let repeated = (
        single,
        prop::sample::select(vec!["", "", "*", "+", "-", "?"]),
    );
    prop_oneof![
        6 => repeated.prop_map(|(single, times)| format!("{single}{times}")),
        3 => prop::sample::select(vec!["(", ")", "()", "(a", ")", "%1", "%2"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "^", "$", "%b()", "%bab", "%b", "%f[%w]", "%f[^a]", "%f", "%", "[", "[^", "[%", "%0", "(", "-", "*",
        ])
        .prop_map(str::to_owned),
    ]
}

#[test]
fn patterns_do_what_they_do_in_lua() {
    let both = Both::of(ALL);
    let case = (
        "[ab(]{0,12}|[abc=\\]. \\x00-]{0,10}",
        prop::collection::vec(piece(), 0..6).prop_map(|pieces| pieces.concat()),
        "[x%012a]{0,4}|%[0-9%x]",
        -12_i64..14,
    );
    let config = ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let agree = |case| {
        let [ours, theirs] = both.say(&case);
        prop_assert_eq!(ours, theirs);
        Ok(())
    };
    TestRunner::new(config).run(&case, agree).unwrap();
}

#[test]
fn examples_of_the_manual_do_what_it_says() {
    insta::assert_snapshot!(Both::agree(
        r#"
        return function()
        local told = {}
        local function tell(...) told[#told + 1] = table.concat({ ... }, " ") end
        tell(("hello world"):gsub("(%w+)", "%1 %1"))
        tell(("hello world"):gsub("%w+", "%0 %0", 1))
        tell(("hello world from Lua"):gsub("(%w+)%s*(%w+)", "%2 %1"))
        tell(("home = $HOME"):gsub("%$(%w+)", function(name) return "/" .. name end))
        tell(("$name-$version.tar.gz"):gsub("%$(%w+)", { name = "lua", version = 5.5 }))
        for word in ("hello world from Lua"):gmatch("%a+") do tell(word) end
        for k, v in ("from=world, to=Lua"):gmatch("(%w+)=(%w+)") do tell(k, v) end
        tell(("flaaap"):match("()aa()"))
        tell(("THE (quick) fox"):find("%((%a+)%)"))
        tell(("THE (quick) fox"):gsub("%f[%a]%a+%f[%A]", "w"))
        tell(("f(a(b)c)d"):match("%b()"))
        tell(("x = 'it''s'"):match("(['\"])(.-)%1"))
        tell(("key\t= some value "):match("^(%w+)%s*=%s*(.-)%s*$"))
        tell(("a.b"):find(".", 1, true))
        tell(("a.b"):find("%."))
        tell(tostring(("abc"):find("", 10)), ("abc"):find("", 4))
        tell(("abc"):gsub("", "-"))
        tell(("abc"):gsub("^%w", "x"))
        tell(string.gsub(1212, 1, 0.5))
        return table.concat(told, "\n")
        end
        "#
    ));
}

#[test]
fn what_is_wrong_is_reported_in_the_words_of_lua() {
    insta::assert_snapshot!(Both::agree(
        r#"
        return function()
        local told = {}
        local function try(f)
            told[#told + 1] = select(2, pcall(f))
        end
        local s = "abc"
        try(function() return s:find() end)
        try(function() return s:find(nil) end)
        try(function() s:match({}) end)
        try(function() s:match(setmetatable({}, { __name = "thing" })) end)
        try(function() s:match("a", "b") end)
        try(function() s:match("a", 1.5) end)
        try(function() s.match() end)
        try(function() s.match({}, "a") end)
        try(function() s.gmatch("a") end)
        try(function() s:gsub("a") end)
        try(function() s:gsub("a", true) end)
        try(function() s:gsub("a", "b", {}) end)
        try(function() s:gsub("a", "%2") end)
        try(function() s:gsub("a", "%x") end)
        try(function() s:gsub("a", function() return {} end) end)
        try(function() s:gsub("a", { a = true }) end)
        try(function() s:gsub("a", function() error("mine") end) end)
        try(function() s:gsub("a", function() error({}, 0) end) end)
        try(function() for _ in s:gmatch("(") do end end)
        try(function() s:match(("(a"):rep(40)) end)
        try(function() (("a"):rep(300)):match(("a?"):rep(300)) end)
        try(function() local find = s.find find(s, "%") end)
        for i, e in ipairs(told) do told[i] = type(e) == "table" and "a table" or e end
        return table.concat(told, "\n")
        end
        "#
    ));
}
