//! The machine by itself: what it asks for, in which order, and what it refuses.

use lockstep_modules::contract::cluster::{MemberConfig, SshConfig};
use lockstep_modules::contract::cx::Cx;
use lockstep_modules::contract::error::OpError;
use lockstep_modules::contract::op::{Effect, Module, Op};
use lockstep_modules::contract::schema::Member;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod rollout;
mod window;

use super::*;

/// Do something.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DoArgs {
    member: Option<Member>,
    n: Option<i64>,
    #[serde(default)]
    list: Vec<String>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct DoOut {
    changed: bool,
    note: Option<String>,
}

struct Do;

impl Op for Do {
    const NAME: &'static str = "demo.act";
    const EFFECT: Effect = Effect::Once;
    type Args = DoArgs;
    type Out = DoOut;

    fn summary(_: &DoOut) -> String {
        String::new()
    }

    async fn run(_: &Cx, _: DoArgs) -> Result<DoOut, OpError> {
        Err(OpError::refused("never run here"))
    }
}

struct Texts(BTreeMap<String, String>);

impl Sources for Texts {
    fn find(&self, name: &str) -> Result<Source, String> {
        let text = self
            .0
            .get(name)
            .ok_or_else(|| format!("there is no module {name:?}"))?;
        Ok(Source {
            chunk: format!("{name}.lua"),
            text: text.clone(),
        })
    }
}

fn load_files(files: &[(&str, &str)]) -> Result<Script, Failure> {
    let texts = files
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect();
    let registry = Registry::new([Module::new("demo", "For tests.").op::<Do>()]);
    Script::load("main", Box::new(Texts(texts)), &registry, 7)
}

fn load(body: &str) -> Result<Script, Failure> {
    let text =
        format!("local M = {{ api = 1 }}\nfunction M.run(cluster, p)\n{body}\nend\nreturn M\n");
    load_files(&[("main", &text)])
}

/// Plays a script to its end. `answer` says how a step ends; the trace has a line for everything that was asked for.
fn play(
    script: Script,
    answer: impl FnMut(&Call) -> Result<Value, Failure>,
) -> (Vec<String>, Result<Value, Failure>) {
    play_with(script, &json!({}), answer)
}

/// The same, with parameters.
fn play_with(
    mut script: Script,
    params: &Value,
    mut answer: impl FnMut(&Call) -> Result<Value, Failure>,
) -> (Vec<String>, Result<Value, Failure>) {
    let members = ["m1", "m2", "m3"].map(MemberConfig::named).to_vec();
    let cluster = Cluster {
        name: "lab".to_owned(),
        members,
        machines: Vec::new(),
        ssh: SshConfig::default(),
    };
    script.start(&cluster, params).unwrap();
    let mut trace = Vec::new();
    let mut open = VecDeque::new();
    loop {
        match script.poll() {
            Err(failure) => return (trace, Err(failure)),
            Ok(demands) => {
                for demand in demands {
                    match demand {
                        Demand::Step(call) => {
                            let caught = if call.caught { " caught" } else { "" };
                            trace.push(format!("{} {}{caught}", call.path, canonical(&call.args)));
                            open.push_back(call);
                        }
                        Demand::Log {
                            level,
                            message,
                            scope,
                        } => {
                            let level = format!("{level:?}").to_lowercase();
                            trace.push(format!("{level} [{scope}] {message}"));
                        }
                    }
                }
            }
        }
        if let Some(outcome) = script.outcome() {
            return (trace, outcome.clone());
        }
        let call = open
            .pop_front()
            .expect("a script that hasn't ended waits for a step");
        script.complete(&call.path, &answer(&call)).unwrap();
    }
}

use crate::call::canonical;

fn yes(_: &Call) -> Result<Value, Failure> {
    Ok(json!({"changed": true}))
}

fn trace(body: &str) -> String {
    let (trace, outcome) = play(load(body).unwrap(), yes);
    format!("{}\n{}", trace.join("\n"), shown(&outcome))
}

fn shown(outcome: &Result<Value, Failure>) -> String {
    match outcome {
        Ok(value) => format!("ended with {}", canonical(value)),
        Err(failure) => complaint(failure),
    }
}

fn complaint(failure: &Failure) -> String {
    format!(
        "{}: {failure} at {}",
        failure.kind.word(),
        failure.site.as_deref().unwrap_or("?")
    )
}

/// The error of a playbook with this body.
fn wrong_within(budget: u64, body: &str) -> String {
    match load(body) {
        Err(failure) => complaint(&failure),
        Ok(script) => {
            script.shared.borrow_mut().budget = budget;
            shown(&play(script, yes).1)
        }
    }
}

#[test]
fn paths_are_made_of_labels_and_counts() {
    insta::assert_snapshot!(trace(
        r#"
        section("A", function()
            each(cluster.members, function(m) demo.act { member = m } demo.act { member = m } end)
        end)
        demo.act {}
        section("A", function() each({ "m1" }, function(m) demo.act { n = 2.0 } end) end)
        "#
    ));
}

#[test]
fn strands_run_first_in_first_out() {
    insta::assert_snapshot!(trace(
        r#"
        local r = parallel(cluster.members, function(m)
            demo.act { member = m, n = 1 }
            demo.act { member = m, n = 2 }
            return m .. "!"
        end, { limit = 2 })
        return r
        "#
    ));
}

#[test]
fn rolling_goes_in_order_in_batches_with_a_gate_between() {
    insta::assert_snapshot!(trace(
        r#"
        rolling(cluster.members, function(m) demo.act { member = m } end, {
            batch = 2,
            between = function(part) demo.act { list = part } end,
        })
        "#
    ));
}

fn m2_fails(call: &Call) -> Result<Value, Failure> {
    if call.args["member"] == "m2" {
        let error = OpError::command("it broke").with("code", 1);
        return Err(Failure::of_step(error, call, Some("m2".into())));
    }
    yes(call)
}

#[test]
fn a_delivered_failure_stops_a_rolling_and_names_the_member() {
    let script =
        load(r#"rolling(cluster.members, function(m) demo.act { member = m } end)"#).unwrap();
    let (trace, outcome) = play(script, m2_fails);
    assert_eq!(trace.len(), 2);
    let failure = outcome.unwrap_err();
    assert_eq!(failure.message, "1 of 3 failed: m2: it broke");
    assert_eq!(failure.failures[0].detail["code"], 1);
    assert_eq!(failure.failures[0].step, Some("m2/demo.act#1".into()));
}

#[test]
fn a_rolling_that_puts_up_with_failures_takes_them_as_data() {
    let script = load(
        r#"rolling(cluster.members, function(m) demo.act { member = m } end, { max_failed = 1 })"#,
    );
    let (trace, outcome) = play(script.unwrap(), m2_fails);
    insta::assert_snapshot!(format!("{}\n{}", trace.join("\n"), shown(&outcome)));
}

#[test]
fn failures_are_data_inside_try_and_pcall_and_in_their_forks() {
    let body = r#"
        local r = try(demo.act, { member = "m2" })
        print(r.ok, r.error.kind, r.error.message, r.error.detail.code, tostring(r.error))
        local ok, e = pcall(parallel, cluster.members, function(m) demo.act { member = m } end)
        print(ok, e.kind, e.failures[1].label)
        demo.act {}
    "#;
    let (trace, outcome) = play(load(body).unwrap(), m2_fails);
    insta::assert_snapshot!(format!("{}\n{}", trace.join("\n"), shown(&outcome)));
}

#[test]
fn finally_cleans_up_and_passes_the_error_on() {
    let body = r#"
        finally(function() section("work", function() demo.act { member = "m2" } end) end,
            function(ok) demo.act { n = ok and 1 or 0 } end)
    "#;
    let (trace, outcome) = play(load(body).unwrap(), m2_fails);
    insta::assert_snapshot!(format!("{}\n{}", trace.join("\n"), shown(&outcome)));
}

/// Every playbook with its complaint below it.
fn table(bodies: &[&str]) -> String {
    table_within(BUDGET, bodies)
}

fn table_within(budget: u64, bodies: &[&str]) -> String {
    bodies
        .iter()
        .map(|body| format!("{body}\n    {}\n", wrong_within(budget, body)))
        .collect()
}

#[test]
fn mistakes_are_named_with_their_line() {
    insta::assert_snapshot!(table(&[
        "demo.act { membr = 1 }",
        "demo.akt {}",
        "dmo.act {}",
        "demo.act('m1')",
        "demo.act { timeout = 15 }",
        "demo.act { n = print }",
        "local r = demo.act {}\nif r.chnged then end",
        "count = 1",
        "os.time()",
        "coroutine.wrap(print)",
        "snap = 1",
        "demo.act = nil",
        "string.format('%p', {})",
        "for k in pairs({ [{}] = 1 }) do end",
        "setmetatable({}, { __gc = print })",
        "table.sort({ 1, 2, 3 }, function() demo.act {} return true end)",
        "string.format('%d', 'x')",
        "table.move({}, 1, 'x', 1)",
        "each({ 'a', 'a' }, print)",
        "section('a/b', print)",
        "parallel({ 'a' }, print, { limt = 1 })",
        "rolling({ 'a' }, print, { max_failed = -1 })",
        "require 'late'",
        "local x = nil + 1",
        "error('my own words')",
        "error { code = 3 }",
        "return { f = print }",
    ]));
}

#[test]
fn endless_loops_end() {
    insta::assert_snapshot!(table(&[
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "table.sort({ 3, 2, 1 }, function() while true do end end)",
    ]));

    let top = load_files(&[("main", "while true do end")])
        .map(drop)
        .unwrap_err();
    insta::assert_snapshot!("at_the_top", complaint(&top));
}

#[test]
fn too_much_memory_is_a_failure_that_names_limit_and_line() {
    insta::assert_snapshot!(table(&[
        "\nlocal text = ('x'):rep(1 << 30)",
        "\nreturn ('x'):rep(1 << 62)",
        "\nlocal text = ('x'):rep(1 << 20):gsub('x', ('x'):rep(1 << 10))",
        "local t, x = {}, ('x'):rep(1024)\nwhile true do t[#t + 1] = x .. #t end",
        "local t = {}\nwhile true do t[#t + 1] = ('x'):rep(1 << 20) .. #t end",
        "local t = {}\npcall(function() while true do t[#t + 1] = ('x'):rep(1 << 20) .. #t end end)\nt = nil error('all the same')",
    ]));
}

#[test]
fn what_c_would_do_for_ever_ends() {
    let equals = "local s = ('='):rep(30000)\n";
    // Less than there is, since a machine that tests is in no hurry.
    insta::assert_snapshot!(table_within(
        1_000_000,
        &[
            &format!("{equals}local a, b, c = s:match('(.-)=(.-)=(.-)=(.-);')"),
            &format!("{equals}return s:match('(.-)=(.-)=(.-)=(.-);')"),
            &format!("{equals}return s:find('^(.-)%s*=%s*(.-)%s*;%s*(.-)%s*$')"),
            &format!("{equals}for a in s:gmatch('(.-)=(.-)=(.-)=(.-);') do end"),
            &format!("{equals}local n = s:gsub('(.-)=(.-)=(.-)=(.-);', '')"),
            &format!("{equals}local n = s:gsub('(.-)=(.-)=(.-)=(.-);', print)"),
            &format!(
                "{equals}local r = try(s.match, s, '(.-)=(.-)=(.-)=(.-);') return r.error.message"
            ),
            &format!("{equals}while true do local n = s:find('.-.-;', 29000) end"),
            &format!("{equals}while true do pcall(s.match, s, '(.-)=(.-)=(.-)=(.-);') end"),
            "local n = (('a'):rep(2e6) .. 'b'):rep(4):find(('a'):rep(1e6) .. 'c', 1, true) return n == nil",
            "return #('').rep('', 1 << 53)",
            "return #('').rep('', 1 << 53, '')",
            "table.move({}, 1, 1 << 53, 2)",
            "while true do table.move({}, 1, 1 << 20, 2) end",
            "local t = table.move({ 1, 2, 3 }, 2, 3, 1) return t",
            "local t = {} for i = 1, 28 do t = { t, t } end demo.act { list = t }",
        ]
    ));
}

#[test]
fn matching_continues_after_the_next_step() {
    let script = load(
        r#"
        local s = ("="):rep(30000)
        for _ = 1, 3 do
            print(pcall(s.match, s, "(.-)=(.-)=(.-)=(.-);"))
            demo.act {}
            print(("a=b"):match("(%w)=(%w)"))
        end
        "#,
    )
    .unwrap();
    script.shared.borrow_mut().budget = 1_000_000;
    let (trace, outcome) = play(script, yes);
    outcome.unwrap();
    let printed = trace.iter().filter(|line| line.ends_with("a\tb"));
    assert_eq!(printed.count(), 3, "{trace:?}");
}

#[test]
fn nobody_changes_what_texts_can_do() {
    insta::assert_snapshot!(table(&[
        "getmetatable('').__index = { upper = print }",
        "return getmetatable('')",
        "setmetatable('', {})",
        "string.upper = print",
        "return ('x'):upper()",
    ]));
}

#[test]
fn long_messages_are_cut() {
    for body in [
        "error(('x'):rep(20 << 20))",
        "error { message = ('x'):rep(20 << 20) }",
        "local function long() error(('x'):rep(1 << 20)) end
         local e = try(long).error e.failures = { try(long).error } error(e)",
    ] {
        let failure = play(load(body).unwrap(), yes).1.unwrap_err();
        assert_eq!(failure.kind, Kind::Script);
        let written = serde_json::to_string(&failure).unwrap();
        assert!(written.len() < 50_000, "{body}: {}", written.len());
        assert!(written.contains(" more bytes)"), "{body}");
    }
    let (logs, _) = play(load("print(('é'):rep(5 << 20))").unwrap(), yes);
    assert!(logs[0].len() < 20_000 && logs[0].ends_with(" more bytes)"));
}

#[test]
fn files_are_checked_when_they_are_loaded() {
    let cases: &[&[(&str, &str)]] = &[
        &[("main", "local x = = 1")],
        &[("main", "demo.act {}")],
        &[("main", "require 'lib'"), ("lib", "\ndemo.act {}")],
        &[("main", "require 'lib'")],
        &[("main", "require 'main'")],
        &[("main", "return 1")],
        &[("main", "return {}")],
        &[("main", "return { api = 2, run = print }")],
        &[("main", "return { api = 1 }")],
        &[(
            "main",
            "return { api = 1, run = print, params = { a = 'boolean' } }",
        )],
        &[(
            "main",
            "return { api = 1, run = print, params = { a = { type = 'bool' } } }",
        )],
        &[(
            "main",
            "return { api = 1, run = print, params = { a = { type = 'integer', default = 'x' } } }",
        )],
        &[("main", "\x1bLua")],
    ];
    let complaints = cases.iter().map(|files| {
        let sources: Vec<String> = files
            .iter()
            .map(|(name, text)| format!("{name}: {text:?}"))
            .collect();
        format!(
            "{}\n    {}\n",
            sources.join(", "),
            complaint(&load_files(files).map(drop).unwrap_err())
        )
    });
    insta::assert_snapshot!(complaints.collect::<String>());
}

#[test]
fn parameters_are_checked_and_filled_in() {
    let text = r#"return { api = 1, run = print, params = {
        evacuate = { type = "boolean", default = false },
        only = { type = "list", one_of = { "lxd", "microceph" } },
        soak = { type = "integer", default = 3 },
    } }"#;
    let script = load_files(&[("main", text)]).unwrap();
    let params = |given: Value| script.playbook().params(given.as_object().unwrap());
    let filled = params(json!({"evacuate": "true", "only": "lxd, microceph"})).unwrap();
    assert_eq!(
        filled,
        json!({"evacuate": true, "only": ["lxd", "microceph"], "soak": 3})
    );
    let cases = [
        json!({"evacuat": true}),
        json!({"evacuate": "maybe"}),
        json!({"only": ["lxx"]}),
        json!({"soak": "three"}),
    ];
    let complaints =
        cases.map(|given| format!("{given}\n    {}\n", params(given.clone()).unwrap_err()));
    insta::assert_snapshot!(complaints.concat());
}

#[test]
fn order_does_not_depend_on_hash_seeds() {
    let body = r#"
        local t = { 10, 20 }
        for _, k in ipairs { "pear", "fig", "apple", "kiwi", "plum", "lime", "date" } do t[k] = k end
        local seen = {}
        for k, v in pairs(t) do seen[#seen + 1] = tostring(k) end
        local k = next(t)
        while k do seen[#seen + 1] = tostring(k) k = next(t, k) end
        print(table.concat(seen, " "), tostring(t), math.random(1000))
    "#;
    let once = trace(body);
    assert!(
        once.contains(
            "1 2 apple date fig kiwi lime pear plum 1 2 apple date fig kiwi lime pear plum\ttable\t"
        ),
        "{once}"
    );
    assert_eq!(once, trace(body));
}

#[test]
fn optional_fields_of_results_are_nil_and_others_are_mistakes() {
    let out = trace(
        "local r = demo.act {} print(r.changed, r.note) for k, v in pairs(r) do print(k, v) end",
    );
    assert!(out.contains("true\tnil"), "{out}");
    assert!(out.contains("info [] changed\ttrue"), "{out}");
}

#[test]
fn a_script_failure_carries_frames_of_the_playbook() {
    let failure = play(
        load("local function f() error('x') end\nsection('s', function() f() end)").unwrap(),
        yes,
    )
    .1;
    let failure = failure.unwrap_err();
    assert_eq!(failure.site.as_deref(), Some("main.lua:3"));
    assert_eq!(
        failure.traceback.as_deref(),
        Some("main.lua:3 in f\nmain.lua:4\nmain.lua:4")
    );
}

#[test]
fn yields_cross_everything_a_person_writes() {
    let body = r#"
        local mt = {
            __index = function(_, k) return demo.act { n = 1 }.changed end,
            __add = function() demo.act { n = 2 } return 3 end,
            __close = function() demo.act { n = 4 } end,
        }
        local t = setmetatable({}, mt)
        print(t.x, t + 1)
        print(("ab"):gsub("%w", function(c) demo.act { n = 20 } return c .. c end))
        for i in function(_, i) i = (i or 0) + 1 demo.act { n = 10 + i } if i < 3 then return i end end do end
        do local c <close> = t end
    "#;
    insta::assert_snapshot!(trace(body));
}
