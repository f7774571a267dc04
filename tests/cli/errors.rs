//! What people are shown when something is wrong: the mistakes of a playbook's author, failures on members, holds.

use std::fmt::Write;

use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{Ran, write};
use regex::Regex;

/// What was printed, without the line that says what is run.
fn reported(ran: &Ran) -> String {
    let printed = |line: &&str| !line.contains(" of twin of ");
    let lines = ran.stdout.lines().chain(ran.stderr.lines()).filter(printed);
    lines.fold(String::new(), |all, line| all + line + "\n")
}

/// A playbook whose `run` has these lines, after two of its own.
fn body(text: &str) -> String {
    format!("local M = {{ api = 1 }}\nfunction M.run(cluster, p)\n{text}\nend\nreturn M\n")
}

/// Plays each playbook, and puts down what is reported of it.
fn table(cases: &[(&str, String)]) -> String {
    let mut all = String::new();
    for (mistake, text) in cases {
        let desk = Desk::new();
        write(
            &desk.path("lib.lua"),
            "snap.list { member = \"micro01\" }\nreturn {}\n",
        );
        write(
            &desk.path("empty.lua"),
            "local M = {}\nfunction M.drain() end\n",
        );
        let ran = desk.play(text);
        assert!(matches!(ran.code, Some(1..=4)), "{mistake}: {ran:?}");
        let _ = writeln!(all, "=== {mistake}\n{}", reported(&ran));
    }
    all
}

#[test]
fn mistakes_in_a_playbook() {
    let cases = [
        ("a misspelt op", body("\tsnap.refesh { member = \"micro01\" }")),
        (
            "a misspelt argument",
            body("\tsnap.refresh {\n\t\tmember = \"micro01\",\n\t\tsnpa = \"lxd\",\n\t}"),
        ),
        (
            "an argument of the wrong type",
            body("\texec { member = \"micro01\", argv = \"/bin/true\" }"),
        ),
        (
            "a member that isn't there",
            body("\tsnap.info { member = \"micro09\", snap = \"lxd\" }"),
        ),
        (
            "a misspelt field of a result",
            body("\tlocal r = snap.info { member = \"micro01\", snap = \"lxd\" }\n\tlog.info(r.revison)"),
        ),
        ("a misspelt field of the cluster", body("\tlog.info(cluster.membrs[1])")),
        ("a misspelt global", body("\tparalel(cluster.members, function() end)")),
        ("a global that is assigned", body("\tfound = 3")),
        (
            "a field of nothing",
            body("\tlocal drain = { members = nil }\n\tlog.info(drain.membrs.first)"),
        ),
        (
            "a step at the top of a required file",
            format!("local lib = require \"lib\"\n{}", body("\tlib.x()")),
        ),
        (
            "a required file that returns nothing",
            format!("local empty = require \"empty\"\n{}", body("\tempty.drain()")),
        ),
        ("a module that isn't there", "require \"nolib\"\nreturn {}\n".to_owned()),
        ("the clock", body("\tlocal now = os.time()")),
        ("a coroutine of its own", body("\tlocal co = coroutine.create(function() end)")),
        ("pairs over nothing", body("\tlocal r = {}\n\tfor k, v in pairs(r.instances) do\n\t\tlog.info(k)\n\tend")),
        ("ipairs over nothing", body("\tlocal r = {}\n\tfor _, v in ipairs(r.instances) do\n\t\tlog.info(v)\n\tend")),
        ("an endless loop", body("\tlocal i = 0\n\twhile true do\n\t\ti = i + 1\n\tend")),
        ("an endless loop at the top of the file", "local x = 1\nwhile true do end\n".to_owned()),
        (
            "waiting in a sort comparator",
            body("\ttable.sort({ \"b\", \"a\" }, function(a, b)\n\t\treturn snap.info { member = \"micro01\", snap = \"lxd\" }.revision < b\n\tend)"),
        ),
        (
            "one label twice",
            body("\tparallel({ \"a\", \"a\" }, function() end)"),
        ),
        ("no return", "local M = { api = 1 }\nfunction M.run() end\n".to_owned()),
        ("no api", "local M = {}\nfunction M.run() end\nreturn M\n".to_owned()),
        ("a newer api", "return { api = 99, run = print }\n".to_owned()),
        ("no run", "return { api = 1 }\n".to_owned()),
        (
            "a parameter of an unknown type",
            "return {\n\tapi = 1,\n\tparams = {\n\t\twait = { type = \"int\", default = 3 },\n\t},\n\trun = function() end,\n}\n".to_owned(),
        ),
        ("a comma too few", body("\tlocal x = { 1, 2 3 }")),
        ("an end too few", "return { api = 1, run = function()\n".to_owned()),
        (
            "a mistake deep down",
            "local function drain(member)\n\tlog.info(\"draining \" .. member.nme)\nend\nlocal function visit(m)\n\tdrain(m)\n\treturn 1\nend\n".to_owned()
                + &body("\tsection(\"LB\", function()\n\t\teach(cluster.members, function(m)\n\t\t\tvisit({ name = m })\n\t\tend)\n\tend)"),
        ),
        (
            "a recursion without an end",
            body("\tlocal function f(n)\n\t\treturn 1 + f(n + 1)\n\tend\n\tf(1)"),
        ),
        (
            "stages that take a step",
            "return {\n\tapi = 1,\n\tstages = function(p)\n\t\tsnap.list { member = \"micro01\" }\n\tend,\n\trun = function() end,\n}\n".to_owned(),
        ),
        (
            "stages that go wrong",
            "return {\n\tapi = 1,\n\tstages = function(p)\n\t\treturn { p.membrs }\n\tend,\n\trun = function() end,\n}\n".to_owned(),
        ),
        (
            "an error of the playbook's own",
            body("\terror(\"the load balancer has no backend for \" .. cluster.members[1])"),
        ),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn failures_of_steps_hold_with_the_reason_and_the_options() {
    let cases = [
        (
            "a step",
            body(
                "\tlocal function look(m)\n\t\tlocal r = snap.info { member = m, snap = \"nosuch\" }\n\t\treturn r\n\tend\n\tsection(\"Look\", function()\n\t\tlook(\"micro01\")\n\tend)",
            ),
        ),
        (
            "steps of several strands",
            body(
                "\tparallel(cluster.members, function(m)\n\t\tsnap.info { member = m, snap = \"nosuch\" }\n\tend)",
            ),
        ),
    ];
    insta::assert_snapshot!(table(&cases));
}

#[test]
fn strands_that_failed_are_listed() {
    let desk = Desk::new();
    let text = body(
        "\tparallel(cluster.members, function(m)\n\t\tsnap.info { member = m, snap = \"nosuch\" }\n\tend)",
    );
    write(&desk.path("site.lua"), &text);
    let args = [
        "run",
        "site.lua",
        "--cluster",
        "twin:3",
        "--on-failure",
        "deliver",
    ];
    let ran = desk.run(&args);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    insta::assert_snapshot!(reported(&ran));
}

#[test]
fn another_past_is_shown_with_both_lines() {
    let desk = Desk::new();
    let held = body(
        "\tsnap.hold { member = \"micro01\", snap = \"lxd\" }\n\tsnap.info { member = \"micro01\", snap = \"nosuch\" }",
    );
    let _ = desk.play(&held).exits(4);
    write(
        &desk.path("other.lua"),
        &held
            .replace("\"lxd\" }\n", "\"microovn\" }\n")
            .replace("\tsnap.hold", "\n\tsnap.hold"),
    );
    // What was captured is shown, and not what lies on disk by now.
    write(&desk.path("site.lua"), "return nil\n");
    let ran = desk.run(&["resume", "site-1", "--playbook", "other.lua"]);
    assert_eq!(ran.code, Some(8), "{ran:?}");
    insta::assert_snapshot!(reported(&ran));
}

#[test]
fn findings_and_open_plans_show_the_line() {
    let desk = Desk::new();
    let never = body(
        "\tif p == nil then\n\t\tsnap.refresh { member = \"micro01\", snpa = \"lxd\" }\n\tend",
    );
    write(&desk.path("site.lua"), &never);
    let check = desk.run(&["check", "site.lua"]);
    assert_eq!(check.code, Some(11), "{check:?}");
    let open = body(
        "\tlocal r = exec { member = \"micro01\", argv = { \"/usr/local/bin/drain\" }, effect = \"converge\" }\n\tif r.code == 0 then\n\t\tlog.info(\"drained\")\n\tend",
    );
    write(&desk.path("site.lua"), &open);
    let plan = desk.run(&["plan", "site.lua", "--cluster", "twin:2"]);
    assert_eq!(plan.code, Some(0), "{plan:?}");
    insta::assert_snapshot!(format!("{}\n----\n{}", reported(&check), reported(&plan)));
}

#[test]
fn a_rehearsal_that_is_held_tells_the_command_and_what_to_type() {
    let desk = Desk::new();
    let args = "rehearse update --only lxd --backup=false --fault refresh-fails:lxd,micro02";
    let ran = desk.run(&args.split(' ').collect::<Vec<_>>());
    assert_eq!(ran.code, Some(4), "{ran:?}");
    let at = ran.stdout.find("update-1 is held").unwrap();
    insta::assert_snapshot!(&ran.stdout[at..]);
}

/// Whoever runs a shipped playbook hasn't written it.
#[test]
fn lua_is_shown_to_its_authors_and_with_verbose() {
    let fault = ["--fault", "refresh-fails:lxd,micro02"];
    let shipped = ["rehearse", "update", "--only", "lxd", "--backup=false"];
    let held = |args: &[&str], run: &str| {
        let desk = Desk::new();
        let text = "snap.refresh { member = \"micro02\", snap = \"lxd\" }";
        write(&desk.path("site.lua"), &body(text));
        let ran = desk.run(&[args, &fault].concat());
        assert_eq!(ran.code, Some(4), "{ran:?}");
        let verbose = args.iter().filter(|arg| **arg == "--verbose").copied();
        let show: Vec<&str> = ["show", run].into_iter().chain(verbose).collect();
        [ran.stdout, desk.run(&show).exits(0)]
    };
    let count = |shown: [String; 2], text: &str| shown.map(|shown| shown.matches(text).count());
    let lua = "snap.refresh {";
    assert_eq!(count(held(&shipped, "update-1"), ".lua"), [0, 0]);
    let verbose = [&shipped, &["--verbose"][..]].concat();
    assert_eq!(count(held(&verbose, "update-1"), lua), [1, 1]);
    assert_eq!(
        count(held(&["rehearse", "site.lua"], "site-1"), lua),
        [1, 1]
    );
}

#[test]
fn what_a_program_says_is_shown_and_does_nothing() {
    let desk = Desk::new();
    write(
        &desk.path("here.toml"),
        "name = \"here\"\n[[members]]\nname = \"micro01\"\nlocal = true\n",
    );
    let printed = |script: &str| {
        let step = "\texec { member = \"micro01\", effect = \"once\", argv = { \"/bin/sh\", \"drain.sh\" } }";
        let folder = desk.path("drain.sh").display().to_string();
        write(&desk.path("drain.sh"), script);
        write(
            &desk.path("site.lua"),
            &body(&step.replace("drain.sh", &folder)),
        );
        let out = desk
            .run(&["run", "site.lua", "--cluster", "here.toml"])
            .exits(4);
        let escapes = |c: char| c.is_control() && c != '\n';
        assert!(
            !out.contains(escapes) && out.len() < 64 * 1024,
            "{}",
            out.len()
        );
        let took = Regex::new(r"after \d+\.\d s").unwrap();
        let out = out.replace(&folder, "/srv/drain.sh");
        took.replace_all(&out, "after 0.1 s").into_owned()
    };
    let noisy = printed(
        "printf 'draining\\n\\033[31mred\\033[0m\\r\\n\\033]0;owned\\007no backend\\n' >&2\nexit 3\n",
    );
    let long = printed("head -c 10000000 /dev/zero | tr '\\000' y\nexit 4\n");
    assert!(
        long.contains("ended      exit 4") && long.contains("yyy"),
        "{long}"
    );
    // How long it took is in the lines before.
    let at = noisy.find("site-1 is held").unwrap();
    insta::assert_snapshot!(&noisy[at..]);
}
