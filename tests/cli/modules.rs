//! Module programs: what they can do, and what is reported where they don't do it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use lockstep::{generate, programs};
use lockstep_modules::contract::op::Registry;
use lockstep_modules::program::Program;
use lockstep_tests::desk::Desk;
use lockstep_tests::lab::{Ran, wait_until, write};
use lockstep_tests::root;

/// A program of this name in the desk's folder of modules.
fn program(desk: &Desk, name: &str, text: &str) {
    let path = desk.path("modules").join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    write(&path, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A shell program with one op, `lb.drain`, of this effect, that does this when it is run.
fn shell(effect: &str, body: &str) -> String {
    format!(
        r#"#!/bin/sh
say() {{ printf '%s\n' "$1"; }}
ask() {{ say "$1"; read -r answer; }}
read -r request
case $request in
*'"describe"'*)
	say '{{"module":{{"protocol":1,"about":"Our load balancer.","ops":{{"drain":{{
		"doc":"Send no new work to a member.","effect":"{effect}","timeout":"30s","probe":true,
		"args":{{"type":"object","required":["backend"],"properties":{{
			"backend":{{"type":"string","format":"member","description":"Where work was sent."}},
			"weight":{{"type":"integer","minimum":0,"default":3,"description":"How much is left there."}}}}}},
		"result":{{"type":"object","required":["left"],"properties":{{
			"left":{{"type":"integer","description":"Connections that are left."}}}}}}}}}}}}}}'
	exit ;;
esac
{body}
"#
    )
    .replace(",\n\t\t\"", ",\"")
    .replace("{\n\t\t\"", "{\"")
    .replace("{\n\t\t\t\"", "{\"")
    .replace("},\n\t\t\t\"", "},\"")
}

/// A playbook with this body.
fn body(text: &str) -> String {
    format!("return {{ api = 1, run = function(cluster, p)\n{text}\nend }}\n")
}

/// Runs a playbook that calls `lb.drain` once, with a program that does this.
fn drained(desk: &Desk, effect: &str, does: &str) -> Ran {
    program(desk, "lb.sh", &shell(effect, does));
    desk.play(&body("return lb.drain { backend = \"micro01\" }"))
}

const DONE: &str = r#"say '{"done":{"left":0}}'"#;

/// Asks a member for something that a simulated cluster knows.
const ACT: &str = r#"ask '{"command":{"member":"micro02","argv":["/bin/echo","hello"]}}'"#;

#[test]
fn a_program_is_a_module_like_any_other() {
    let desk = Desk::new();
    let does = format!(
        "{ACT}\nsay '{{\"log\":{{\"text\":\"drained\"}}}}'\nsay '{{\"progress\":{{\"text\":\"soon\"}}}}'\n\
         ask '{{\"wait\":{{\"seconds\":1,\"missing\":\"one is left\"}}}}'\necho oh >&2\n{DONE}"
    );
    let out = drained(&desk, "converge", &does).exits(0);
    insta::assert_snapshot!(out);
    let modules = ["--modules", "modules", "--cluster", "twin:2"];
    let with = |args: &[&str]| desk.run(&[&modules, args].concat());
    let doc = with(&["doc", "lb"]).exits(0);
    let op = with(&["op", "lb.drain", "--backend", "micro01"]).exits(0);
    let json = with(&["op", "lb.drain", "--backend", "micro01", "--json"]).exits(0);
    let help = with(&["op", "lb.drain", "-h"]).exits(0);
    insta::assert_snapshot!(
        "projections",
        [doc, op, json, help[..help.find("  -h").unwrap()].to_owned()].join("\n")
    );
    let verbose = with(&["run", "site.lua", "--verbose"]).exits(0);
    assert!(verbose.contains("modules/lb.sh: oh"), "{verbose}");
    assert!(verbose.contains("$ /bin/echo hello"), "{verbose}");
    assert!(
        with(&["plan", "site.lua"])
            .exits(0)
            .contains("lb.drain micro01")
    );
    let rehearsed = desk.run(&["rehearse", "site.lua", "-v"]).exits(0);
    assert!(
        rehearsed.contains("lb.drain micro01: left 0"),
        "{rehearsed}"
    );
}

#[test]
fn a_program_has_a_type_stub() {
    let desk = Desk::new();
    program(&desk, "lb.sh", &shell("once", DONE));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let native = Registry::new([]);
    let found = runtime
        .block_on(programs::find(&desk.path("modules"), &native))
        .unwrap();
    assert_eq!(found.unfit, []);
    let registry = native.with(found.programs.into_iter().map(Program::module));
    let (name, stub) = generate::stubs(&registry).pop().unwrap();
    assert_eq!(name, "lb.lua");
    insta::assert_snapshot!(stub);
}

#[test]
fn a_wrong_argument_is_found_before_the_program_is_run() {
    let desk = Desk::new();
    let mark = desk.path("ran");
    program(
        &desk,
        "lb.sh",
        &shell("converge", &format!("touch {}\n{DONE}", mark.display())),
    );
    let reported = |text: &str| {
        write(&desk.path("site.lua"), &body(text));
        let ran = desk.run(&["check", "site.lua", "--tries", "1", "--no-kills"]);
        ran.exits(11)
    };
    let cases = [
        reported("lb.drain { backnd = \"micro01\" }"),
        reported("if false then lb.drain { backend = \"micro01\", weight = 1.5 } end"),
        reported("if false then lb.drian { backend = \"micro01\" } end"),
    ];
    insta::assert_snapshot!(cases.join("\n"));
    assert!(!mark.exists());
}

#[test]
fn a_check_plays_programs_the_same_way_every_time() {
    let desk = Desk::new();
    program(
        &desk,
        "lb.sh",
        &shell("converge", &format!("{ACT}\n{ACT}\n{DONE}")),
    );
    let text = "parallel(cluster.members, function(member) lb.drain { backend = member } end)";
    write(&desk.path("site.lua"), &body(text));
    let out = desk.run(&["check", "site.lua", "--tries", "5"]).exits(0);
    assert!(out.contains("site.lua: no rule is broken"), "{out}");
}

/// What is reported of a folder with this file.
fn unfit(name: &str, text: &str) -> String {
    let desk = Desk::new();
    program(&desk, name, text);
    reported_of(&desk)
}

fn reported_of(desk: &Desk) -> String {
    let ran = desk.play(&body("return 1"));
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let folder = fs::canonicalize(desk.path("modules")).unwrap();
    ran.stderr.replace(&format!("{}/", folder.display()), "…/")
}

#[test]
fn a_program_that_cannot_be_a_module_is_shown_before_any_step() {
    let two = Desk::new();
    program(&two, "lb.sh", &shell("once", DONE));
    program(&two, "lb.py", &shell("once", DONE));
    let no_x = Desk::new();
    program(&no_x, "lb.sh", &shell("once", DONE));
    fs::set_permissions(
        no_x.path("modules/lb.sh"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    let lost = Desk::new();
    fs::create_dir(lost.path("modules")).unwrap();
    std::os::unix::fs::symlink("nowhere", lost.path("modules/lb")).unwrap();
    let lies = shell("once", DONE).replace("\"integer\"", "\"number of things\"");
    let cases = [
        reported_of(&two),
        reported_of(&no_x),
        reported_of(&lost),
        unfit("my-lb.sh", &shell("once", DONE)),
        unfit("snap.sh", &shell("once", DONE)),
        unfit("each.sh", &shell("once", DONE)),
        unfit("string.sh", &shell("once", DONE)),
        unfit("lb.sh", "#!/no/such/interpreter\n"),
        unfit("lb", "\u{7f}ELF"),
        unfit("lb.sh", "#!/bin/sh\necho hello\n"),
        unfit("lb.sh", "#!/bin/sh\nprintf '\\033[31m\\377\\n'\n"),
        unfit("lb.sh", "#!/bin/sh\necho '{\"done\":{}}'\n"),
        unfit("lb.sh", "#!/bin/sh\necho no such luck >&2\nexit 3\n"),
        unfit("lb.sh", "#!/bin/sh\nkill -9 $$\n"),
        unfit(
            "lb.sh",
            "#!/bin/sh\nhead -c 10000000 /dev/zero | tr '\\0' x\n",
        ),
        unfit("lb.sh", "#!/bin/sh\nsleep 100 &\n"),
        unfit("lb.sh", &lies),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn ops_of_lockstep_work_beside_a_program_that_does_not() {
    let desk = Desk::new();
    program(&desk, "lb.sh", "#!/bin/sh\nexit 3\n");
    let ran = desk.run(&["doc", "--modules", "modules"]);
    assert!(
        ran.stderr.contains("warning: the module program"),
        "{}",
        ran.stderr
    );
    assert!(ran.exits(0).contains("time.now"));
    let ran = desk.run(&["doc", "time", "--modules", "modules"]);
    assert_eq!(ran.stderr, "", "what is lockstep's own needs no program");
    assert!(ran.exits(0).contains("### time.now"));
    let ran = desk.run(&["doc", "--modules", "nowhere"]);
    assert_eq!(
        ran.stderr,
        "error: there is no modules folder nowhere\nname one with --modules DIR\n"
    );
    let shown = desk.run(&["runs"]);
    assert_eq!(shown.stderr, "");
}

/// What a run says that is held by a program.
fn held(effect: &str, does: &str) -> String {
    let desk = Desk::new();
    let out = drained(&desk, effect, does).exits(4);
    let (_, why) = out
        .split_once("\nWhy:\n")
        .unwrap_or_else(|| panic!("{out}"));
    format!("{effect}: {does}\n{why}")
}

#[test]
fn a_program_that_breaks_its_word_holds_the_run() {
    let cases = [
        held("converge", "echo hello"),
        held("converge", "say '{\"dance\":{}}'"),
        held("converge", "say '{\"done\":{\"left\":\"none\"}}'"),
        held("converge", "say '{\"done\":{\"left\":1,\"lost\":2}}'"),
        held("converge", "say '{\"done\":{}}'"),
        held(
            "converge",
            "printf '{\"failed\":{\"message\":\"\\\\u001b[31mred\\\\n and two\"}}\\n'",
        ),
        held("converge", "say '{\"running\":{}}'"),
        held("converge", "exit 0"),
        held("converge", "echo it broke >&2\nexit 1"),
        held("converge", "kill -11 $$"),
        held("converge", "head -c 10000000 /dev/zero | tr '\\0' x"),
        held("converge", "sleep 100 & exit 1"),
        held(
            "converge",
            "ask '{\"wait\":{\"seconds\":50,\"missing\":\"7 connections are open\"}}'",
        ),
        held(
            "converge",
            "ask '{\"command\":{\"member\":\"micro09\",\"argv\":[\"/bin/true\"]}}'",
        ),
        held(
            "converge",
            "ask '{\"command\":{\"member\":\"micro01\",\"argv\":[\"true\"]}}'",
        ),
        held(
            "converge",
            "ask '{\"command\":{\"member\":\"micro01\",\"argv\":[\"/bin/false\"]}}'",
        ),
        held(
            "converge",
            "say '{\"failed\":{\"kind\":\"refused\",\"message\":\"not at this hour\",\"member\":\"lb1\"}}'",
        ),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn a_program_that_hangs_is_ended_with_all_that_it_began() {
    let desk = Desk::new();
    let pid = desk.path("pid");
    let hangs = format!("sleep 1000 & echo $! > {}\nsleep 1000", pid.display());
    program(&desk, "lb.sh", &shell("converge", &hangs));
    let ran = desk.play(&body(
        "lb.drain { backend = \"micro01\", timeout = \"3s\" }",
    ));
    let out = ran.exits(4);
    assert!(
        out.contains("lb.drain: modules/lb.sh did not answer within 3s and was ended"),
        "{out}"
    );
    let pid = fs::read_to_string(&pid).unwrap();
    let stat = std::path::PathBuf::from(format!("/proc/{}/stat", pid.trim()));
    // Gone, or dead and not yet fetched by whoever has it now.
    wait_until("the child is not ended", || {
        fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
}

/// Answers a probe so, and does this otherwise.
fn probed(answer: &str, does: &str) -> String {
    format!("case $request in\n*'\"probe\"'*)\n{answer}\nexit ;;\nesac\n{does}")
}

#[test]
fn a_once_op_whose_program_died_after_a_command_is_probed() {
    let dies = format!("{ACT}\nexit 1");
    let done = |does: &str| {
        let desk = Desk::new();
        drained(&desk, "once", does).exits(0)
    };
    let out = done(&probed(r#"say '{"done":{"left":7}}'"#, &dies));
    assert!(out.contains("left 7"), "{out}");
    // What was left as a witness is there for the probe, and a wait continues until it is over.
    let leaves = format!("ask '{{\"witness\":{{\"job\":42}}}}'\n{dies}");
    let finds = "case $request in *'{\"job\":42}'*) say '{\"done\":{\"left\":42}}' ;; *) say '{\"not-started\":{}}' ;; esac";
    let out = done(&probed(finds, &leaves));
    assert!(out.contains("left 42"), "{out}");
    let cases = [
        held(
            "once",
            &probed(
                "say '{\"unknown\":{\"why\":\"the balancer has no log of it\"}}'",
                &dies,
            ),
        ),
        held(
            "once",
            &probed(
                "say '{\"failed\":{\"message\":\"the balancer said no\"}}'",
                &dies,
            ),
        ),
        held("once", &probed("say '{\"running\":{}}'", &dies)),
        held("once", &probed("say '{\"not-started\":{}}'", &dies)),
        held("once", &probed("exit 7", &dies)),
        held("once", &probed("exit 7", "exit 1")),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

/// A run that was killed while its program had begun what must not be begun twice.
fn killed() -> Desk {
    let desk = Desk::new();
    let begun = desk.path("begun");
    let waits = format!(
        "ask '{{\"witness\":{{\"job\":42}}}}'\n{ACT}\necho x >> {}\nread -r never",
        begun.display()
    );
    program(
        &desk,
        "lb.sh",
        &shell("once", &probed("say '{\"done\":{\"left\":42}}'", &waits)),
    );
    write(
        &desk.path("site.lua"),
        &body("return lb.drain { backend = \"micro01\" , timeout = \"5m\" }"),
    );
    let mut run = desk.command(&["run", "site.lua", "--cluster", "twin:2"]);
    let mut run = run.stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_until("the program has not begun", || begun.exists());
    run.kill().unwrap();
    run.wait().unwrap();
    desk
}

#[test]
fn a_resumed_run_probes_what_a_program_had_begun() {
    let desk = killed();
    let out = desk.run(&["resume", "site-1"]).exits(0);
    assert!(out.contains("left 42"), "{out}");
    assert_eq!(fs::read_to_string(desk.path("begun")).unwrap(), "x\n");
}

#[test]
fn a_resumed_run_keeps_its_own_copy_unless_given_another() {
    let desk = killed();
    let fixed = probed("say '{\"done\":{\"left\":1}}'", DONE);
    program(&desk, "lb.sh", &shell("once", &fixed));
    let copy = desk.path("state/runs/site-1/modules/lb.sh");
    let text = fs::read_to_string(&copy).unwrap();
    fs::write(&copy, format!("{text}# edited\n")).unwrap();
    let damaged = desk.run(&["resume", "site-1"]);
    assert_eq!(damaged.code, Some(7));
    fs::write(&copy, text).unwrap();
    fs::create_dir(desk.path("empty")).unwrap();
    let without = desk.run(&["resume", "site-1", "--modules", "empty"]);
    assert_eq!(without.code, Some(2));
    let own = desk.run(&["resume", "site-1"]);
    let folder = fs::canonicalize(desk.path("modules")).unwrap();
    let reported = [
        damaged
            .stderr
            .replace(&folder.display().to_string(), "…/modules"),
        without.stderr,
        own.stderr
            .replace(&folder.display().to_string(), "…/modules"),
    ];
    insta::assert_snapshot!(reported.join("\n"));
    assert!(own.stdout.contains("left 42"), "{}", own.stdout);

    let desk = killed();
    program(&desk, "lb.sh", &shell("once", &fixed));
    let new = desk.run(&["resume", "site-1", "--modules", "modules"]);
    assert_eq!(new.stderr, "");
    assert!(new.exits(0).contains("left 1"));
}

#[test]
fn the_worked_example_drains_members_behind_its_balancer() {
    let desk = Desk::new();
    write(
        &desk.path("cluster.toml"),
        "name = \"lab\"\n[[members]]\nname = \"micro01\"\n[[machines]]\nname = \"lb1\"\n",
    );
    let site = root().join("playbooks/site/update.lua");
    let site = site.to_str().unwrap();
    let out = desk
        .run(&[
            "rehearse",
            site,
            "-p",
            "only=microceph",
            "--members",
            "3",
            "--verbose",
        ])
        .exits(0);
    let of_balancer: Vec<&str> = out.lines().filter(|line| line.contains("lbctl")).collect();
    insta::assert_snapshot!(of_balancer.join("\n"));
    let plan = desk
        .run(&["plan", site, "-c", "twin:3", "-p", "only=microceph"])
        .exits(0);
    assert!(plan.contains("lb.drain micro02"), "{plan}");
    assert!(plan.contains("lb.enable micro02"), "{plan}");
}

/// A site's own build has one module more, in all places where ops are.
#[test]
fn a_native_module_of_a_build_of_a_site() {
    let desk = Desk::new();
    write(
        &desk.path("cluster.toml"),
        "name = \"lab\"\n[[members]]\nname = \"micro01\"\n[[machines]]\nname = \"lb1\"\n",
    );
    write(
        &desk.path("site.lua"),
        &body(
            "lb.drain { balancer = \"lb1\", backend = \"micro01\" }\nreturn lb.show { balancer = \"lb1\", backend = \"micro01\" }",
        ),
    );
    let example = |args: &[&str]| {
        let mut command = desk.command(args);
        let args: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut own = std::process::Command::new(env!("CARGO_BIN_EXE_example-under-test"));
        own.args(args).current_dir(desk.path(""));
        command = own;
        Ran::of(command.output().unwrap())
    };
    let twin = ["--cluster", "twin:2"];
    let op = [
        "op",
        "lb.drain",
        "--balancer",
        "lb1",
        "--backend",
        "micro01",
    ];
    let cases = [
        example(&["doc", "lb.drain"]).exits(0),
        example(&[&op[..], &twin].concat()).exits(0),
        example(&[&["run", "site.lua"][..], &twin].concat()).exits(0),
        example(&["op", "--help"])
            .exits(0)
            .lines()
            .filter(|line| line.trim_start().starts_with("lb."))
            .collect::<Vec<_>>()
            .join("\n"),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn a_plan_is_not_for_a_program_that_was_changed_since() {
    let desk = Desk::new();
    program(&desk, "lb.sh", &shell("converge", DONE));
    write(
        &desk.path("site.lua"),
        &body("return lb.drain { backend = \"micro01\" }"),
    );
    let run = ["run", "site.lua", "--plan", "plan", "-c", "twin:2"];
    let planned = desk
        .run(&["plan", "site.lua", "-o", "plan", "-c", "twin:2"])
        .exits(0);
    assert!(planned.contains("lb.drain micro01"), "{planned}");
    assert!(desk.run(&run).exits(0).contains("site-1: done"));
    program(
        &desk,
        "lb.sh",
        &shell("converge", &format!("{ACT}\n{DONE}")),
    );
    let refused = desk.run(&run);
    assert_eq!(refused.code, Some(2));
    insta::assert_snapshot!(refused.stderr);
}
