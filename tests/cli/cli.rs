//! The command line against a simulated cluster: what is printed, and how the process ends.

use std::process::{Command, Stdio};

use lockstep_modules::ops::preflight::CHECKS;
use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::{Ran, read, write};
use serde_json::{Value, json};

/// A playbook with this body.
fn body(text: &str) -> String {
    format!("return {{ api = 1, run = function(cluster, p)\n{text}\nend }}\n")
}

#[test]
fn an_update_of_a_simulated_cluster_prints_what_it_did() {
    let desk = Desk::new();
    let out = desk.run(&["update", "--cluster", "twin:4"]).exits(0);
    for line in [
        "MicroCeph\n",
        "micro04  snap.refresh lxd: 33100 → 33110",
        "update-1: done\n",
        "microceph   1500 → 1501 on micro01, micro02, micro03, micro04\n",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
    let runs = desk.run(&["runs"]).exits(0);
    assert!(runs.contains("update-1") && runs.contains("done"), "{runs}");
    let show: Value =
        serde_json::from_str(&desk.run(&["show", "update-1", "--json"]).exits(0)).unwrap();
    assert_eq!(show["state"], "done");
}

#[test]
fn events_are_a_json_object_a_line() {
    let desk = Desk::new();
    let out = desk
        .run(&[
            "update",
            "--cluster",
            "twin:1",
            "--json",
            "-p",
            "only=microcloud",
        ])
        .exits(0);
    let events: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (last, events) = events.split_last().unwrap();
    assert!(events.iter().all(|e| e["v"] == 1 && e["event"].is_string()));
    assert_eq!(events[0]["event"], "run-started");
    assert_eq!(last["outcome"], "done");
}

#[test]
fn a_playbook_with_a_mistake_is_refused_before_anything_is_done() {
    let desk = Desk::new();
    let reported = |text: &str| {
        let ran = desk.play(text);
        assert!(
            ran.code == Some(2) || ran.code == Some(1),
            "{text}\n{ran:?}"
        );
        format!("{text}{}{}\n", ran.stdout, ran.stderr)
    };
    write(
        &desk.path("lib.lua"),
        "snap.list { member = \"micro01\" }\n",
    );
    let cases = [
        reported("return { api = 1, run = function( end }\n"),
        reported("require \"lib\"\nreturn {}\n"),
        reported("require \"nolib\"\nreturn {}\n"),
        reported("while true do end\n"),
        reported("return { api = 99, run = print }\n"),
        reported(&body("snap.refesh { member = \"micro01\" }")),
        reported(&body("snap.refresh { membr = \"micro01\" }")),
        reported(&body("snap.list { member = \"micro09\" }")),
        reported(&body("while true do end")),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn a_held_run_says_what_to_type_and_continues_when_typed() {
    let desk = Desk::new();
    let text = body(
        "snap.hold { member = \"micro01\", snap = \"lxd\" }\nreturn snap.info { member = \"micro01\", snap = \"nosuch\" }",
    );
    let held = desk.play(&text).exits(4);
    insta::assert_snapshot!(held);
    assert!(desk.run(&["show", "site-1"]).exits(0).contains("held"));
    assert!(
        desk.run(&["resume", "site-1"])
            .exits(4)
            .contains("site-1 is held at snap.info#1")
    );

    let wrong = desk.run(&[
        "resume",
        "site-1",
        "--assume-done",
        "snap.info#1={\"revision\": 3}",
    ]);
    assert_eq!(wrong.code, Some(2));
    insta::assert_snapshot!("a_result_that_does_not_fit", wrong.stderr);
    let result = r#"snap.info#1={"revision":"1","version":"","channel":"","cohort":"","held":true,"active":true}"#;
    assert!(
        desk.run(&["resume", "site-1", "--assume-done", result])
            .exits(0)
            .contains("site-1: done")
    );
    let over = desk.run(&["resume", "site-1"]);
    assert_eq!(over.code, Some(2));
    assert!(over.stderr.contains("site-1 has ended"), "{}", over.stderr);
}

#[test]
fn after_restarts_the_command_shown_is_the_one_that_works() {
    let desk = Desk::new();
    let args = "rehearse update -p only=lxd -p backup=false --fault reboot:micro02@lxd/micro02";
    let args: Vec<&str> = args.split(' ').collect();
    let held = desk.run(&args).exits(4);
    let step = "'LXD/lxd.unharmed#1'";
    let command = format!("lockstep resume update-1 --assume-done {step}");
    assert!(held.contains("c2 on micro02 was restarted at "), "{held}");
    assert_eq!(held.matches(&command).count(), 2, "{held}");
    let again = desk.run(&["resume", "update-1"]).exits(4);
    assert!(again.contains(&command), "{again}");
    let step = step.trim_matches('\'');
    let ended = desk.run(&["resume", "update-1", "--assume-done", step]);
    assert!(ended.exits(0).contains("update-1: done"));
}

#[test]
fn a_run_that_does_not_exist_is_reported_with_a_near_match() {
    let desk = Desk::new();
    let _ = desk
        .run(&["update", "--cluster", "twin:1", "-p", "only=microcloud"])
        .exits(0);
    let ran = desk.run(&["resume", "updte-1"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr
            .contains("there is no run \"updte-1\" (did you mean \"update-1\"?)"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_damaged_journal_is_refused_and_left_as_it_is() {
    let desk = Desk::new();
    let _ = desk.play(&body("snap.hold { member = \"micro01\", snap = \"lxd\" }\nsnap.info { member = \"micro01\", snap = \"nosuch\" }"));
    let journal = desk.path("state/runs/site-1/journal.jsonl");
    let damaged = read(&journal)
        .replacen("\"hold\"", "\"hodl\"", 1)
        .replacen("micro01", "micro02", 1);
    write(&journal, &damaged);
    for args in [["resume", "site-1"], ["show", "site-1"]] {
        let ran = desk.run(&args);
        assert_eq!(ran.code, Some(7), "{ran:?}");
        assert!(
            ran.stderr
                .contains("site-1: line 1 of the journal is damaged")
                || ran
                    .stderr
                    .contains("site-1: line 2 of the journal is damaged"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(read(&journal), damaged);
    assert!(desk.run(&["runs"]).exits(0).contains("damaged"));
}

#[test]
fn a_journal_of_another_version_is_refused() {
    let desk = Desk::new();
    let _ = desk
        .run(&["update", "--cluster", "twin:1", "-p", "only=microcloud"])
        .exits(0);
    let journal = desk.path("state/runs/update-1/journal.jsonl");
    write(
        &journal,
        "{\"n\":1,\"at\":\"2026-01-01T00:00:00Z\",\"sum\":\"0\",\"record\":{\"run\":{\"format\":9}}}\n",
    );
    let ran = desk.run(&["show", "update-1"]);
    assert_eq!(ran.code, Some(7));
    assert!(
        ran.stderr.contains("damaged") || ran.stderr.contains("format 9"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_unwritable_state_folder_is_reported_before_any_step() {
    let desk = Desk::new();
    let ran = desk.run(&["update", "--cluster", "twin:1", "--state", "/proc/nowhere"]);
    assert_eq!(ran.code, Some(7));
    assert!(
        ran.stderr.contains("/proc/nowhere/runs can't be made"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_cluster_file_with_a_mistake_is_named_with_line_and_column() {
    let desk = Desk::new();
    write(
        &desk.path("cluster.toml"),
        "name = \"lab\"\n\n[[members]]\nnam = \"micro01\"\n",
    );
    let ran = desk.run(&["status"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr
            .contains("cluster.toml:4:1: unknown key \"nam\" (did you mean \"name\"?)"),
        "{}",
        ran.stderr
    );
}

#[test]
fn without_a_cluster_the_ways_to_name_one_are_shown() {
    let ran = Desk::new().run(&["status"]);
    assert_eq!(ran.code, Some(2));
    insta::assert_snapshot!(ran.stderr);
}

#[test]
fn bad_parameters_and_ops_have_near_matches() {
    let desk = Desk::new();
    write(&desk.path("site.lua"), "return 1\n");
    let reported = |args: &[&str]| {
        let ran = desk.run(args);
        assert_eq!(ran.code, Some(2), "{args:?} {ran:?}");
        format!("$ lockstep {}\n{}", args.join(" "), ran.stderr)
    };
    let cases = [
        reported(&["update", "--cluster", "twin:2", "-p", "evacuat=true"]),
        reported(&["update", "--cluster", "twin:2", "-p", "only=microcephh"]),
        reported(&["update", "--cluster", "twin:2", "--evacuat"]),
        reported(&["update", "--cluster", "twin:2", "--only", "lxd,microcephh"]),
        reported(&["update", "--cluster", "twin:2", "--looks", "many"]),
        reported(&["update", "--cluster", "twin:99"]),
        reported(&["update", "--cluster", "twin:3@1-lates"]),
        reported(&["rehearse", "update", "--members", "3@4"]),
        reported(&[
            "rehearse",
            "update",
            "--fault",
            "health:OSD_FULL,HEALTH_ERROR",
        ]),
        reported(&[
            "rehearse",
            "update",
            "--fault",
            "pool-unavailable:remot,micro02",
        ]),
        reported(&["plan", "updaet", "--cluster", "twin:2"]),
        reported(&["check", "nosuch.lua"]),
        reported(&["op", "snap.refesh", "--cluster", "twin:2"]),
        reported(&["snap.refesh"]),
        reported(&["op", "snap.info", "--snap", "lxd", "--cluster", "twin:2"]),
        reported(&[
            "op",
            "snap.info",
            "--snap",
            "lxd",
            "-m",
            "micro1",
            "--cluster",
            "twin:2",
        ]),
        reported(&["doc", "snap.refesh"]),
        reported(&["updat"]),
        reported(&["help", "exit-code"]),
        reported(&["update", "--cluster", "twin3"]),
        reported(&["run", "stie.lua", "--cluster", "twin:2"]),
        reported(&["update", "--cluster", "twin:2", "--backup", "false"]),
        reported(&["update", "--cluster", "twin:2", "--backup=flase"]),
        reported(&["op", "microceph.noout", "--on", "ture", "-m", "micro01"]),
    ];
    insta::assert_snapshot!(cases.join("\n"));
}

#[test]
fn the_parameters_of_a_playbook_are_flags() {
    let desk = Desk::new();
    let playbook = |params: &str| {
        format!(
            "return {{ api = 1, about = 'Drain.', params = {{ {params} }},\n\
             run = function(_, p) return p end }}\n"
        )
    };
    let text = playbook(
        "pool = { type = 'string', one_of = { 'blue', 'green' }, about = 'Which pool.' },\n\
         max_wait = { type = 'integer', default = 5, about = 'Minutes to wait.' },\n\
         hosts = { type = 'list', about = 'Which hosts.' },\n\
         dry = { type = 'boolean', default = false, about = 'Only look.' }",
    );
    write(&desk.path("drain.lua"), &text);
    let run =
        |args: &[&str]| desk.run(&[&["run", "drain.lua", "--cluster", "twin:1"], args].concat());
    let help = run(&["--help"]).exits(0);
    let params = help.split("Parameters of drain:").nth(1).unwrap();
    insta::assert_snapshot!(params.split("\n\n").next().unwrap());
    let given = run(&[
        "--json",
        "--pool",
        "blue",
        "--max-wait=7",
        "--hosts",
        "a,b",
        "--dry",
    ]);
    let last: Value = serde_json::from_str(given.exits(0).lines().last().unwrap()).unwrap();
    assert_eq!(
        last["result"],
        json!({"pool": "blue", "max_wait": 7, "hosts": ["a", "b"], "dry": true})
    );

    // A flag of lockstep's own would mean something else in one command than in another.
    write(
        &desk.path("drain.lua"),
        &playbook("tries = { type = 'integer' }"),
    );
    let clash = run(&[]);
    assert_eq!(clash.code, Some(2));
    insta::assert_snapshot!("a_parameter_with_the_name_of_a_flag", clash.stderr);
}

#[test]
fn an_op_has_a_help_of_its_own() {
    let desk = Desk::new();
    insta::assert_snapshot!(desk.run(&["op", "snap.refresh", "--help"]).exits(0));
    insta::assert_snapshot!(
        "the_help_of_upgrade",
        desk.run(&["upgrade", "--help"]).exits(0)
    );
    insta::assert_snapshot!("the_help_of_all", desk.run(&["--help"]).exits(0));
    insta::assert_snapshot!(
        "the_page_of_an_op",
        desk.run(&["doc", "snap.switch"]).exits(0)
    );
}

#[test]
fn the_status_of_a_simulated_cluster_is_on_one_screen() {
    insta::assert_snapshot!(Desk::new().run(&["status", "--cluster", "twin:3"]).exits(0));
}

#[test]
fn the_status_is_watched_on_a_screen_or_in_plain_lines() {
    let desk = Desk::new();
    let lockstep = lockstep();
    let watch = format!("{lockstep} status --cluster twin:1 --watch 1");
    let looked = |words: &[&str]| {
        let mut command = Command::new("timeout");
        // What watches continues until it is stopped.
        let command = command.args(["-s", "INT", "--foreground", "20", "sh", "-c"]);
        let command = command.arg(format!("{} | head -n 12", words.join(" ")));
        let ran = Ran::of(command.env("TERM", "xterm").output().unwrap());
        (ran.stdout.matches("twin of 1: ").count(), ran.stdout)
    };
    let (times, plain) = looked(&["timeout 10", &watch]);
    assert_eq!((times, plain.contains('\u{1b}')), (2, false), "{plain}");
    let (times, screen) = looked(&["timeout 10 script -qec", &format!("'{watch}'"), "/dev/null"]);
    assert_eq!(times, 2, "{screen}");
    assert_eq!(screen.matches("\u{1b}[H\u{1b}[2J").count(), 2, "{screen}");
    drop(desk);
}

#[test]
fn what_a_check_names_to_be_typed_again_finds_the_same() {
    let desk = Desk::new();
    let text = r#"
return {
    api = 1,
    params = { tidy = { type = "boolean", default = true } },
    run = function(cluster, p)
        microceph.noout { member = "micro01", on = true }
        local refreshed = try(function()
            for _, member in ipairs(cluster.members) do
                snap.refresh { member = member, snap = "microcloud" }
            end
        end)
        if refreshed.ok or p.tidy then
            microceph.noout { member = "micro01", on = false }
        end
    end,
}
"#;
    write(&desk.path("site.lua"), text);
    let found = desk.run(&[
        "check",
        "site.lua",
        "--tidy=false",
        "--members",
        "3",
        "--tries",
        "200",
        "--no-kills",
    ]);
    assert_eq!(found.code, Some(11), "{found:?}");
    let again = found
        .stdout
        .lines()
        .find_map(|line| line.trim().strip_prefix("again"));
    let again = again.unwrap_or_else(|| panic!("{}", found.stdout)).trim();
    assert!(
        again.starts_with("lockstep check site.lua -p tidy=false --members 3 --seed 1 --try "),
        "{again}"
    );
    let words: Vec<&str> = again.split(' ').skip(1).collect();
    let ran = desk.run(&words);
    assert_eq!(ran.code, Some(11), "{ran:?}");
    assert!(ran.stdout.contains(again), "{}", ran.stdout);
}

#[test]
fn whoever_stops_listening_is_no_reason_to_fail() {
    let desk = Desk::new();
    let mut command = Command::new(lockstep());
    let child = command
        .args(["--help"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .current_dir(desk.path(""))
        .spawn();
    let mut child = child.unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
}

#[test]
fn an_aborted_run_says_what_stays_and_has_its_own_exit_code() {
    let desk = Desk::new();
    let body = body(
        r#"
        finally(function()
            lock.take {}
            snap.refresh { member = "micro01", snap = "microcloud" }
            confirm "Go on?"
        end, function()
            lock.release {}
        end)
        "#,
    );
    assert_eq!(desk.play(&body).code, Some(4));
    let out = desk.run(&["abort", "site-1"]).exits(9);
    assert!(out.contains("site-1: aborted; all settings it changed were restored\nThese changes remain:\n  micro01  snap.refresh microcloud: 1200 → 1210"), "{out}");
    assert!(desk.run(&["runs"]).exits(0).contains("aborted"));
    let again = desk.run(&["abort", "site-1"]);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("site-1 has ended"), "{again:?}");
    assert_eq!(desk.run(&["abort", "site-2"]).code, Some(2));
}

#[test]
fn what_an_abort_cannot_restore_comes_with_what_to_type() {
    let desk = Desk::new();
    let body = body(
        r#"
        finally(function()
            exec { member = "micro01", argv = { "/bin/true" }, effect = "read" }
            confirm "Go on?"
        end, function()
            exec { member = "micro02", argv = { "/bin/false" }, effect = "converge" }
            snap.unhold { member = "micro01", snap = "lxd" }
        end)
        "#,
    );
    assert_eq!(
        desk.play(&body).code,
        Some(3),
        "nobody was there to be asked"
    );
    let out = desk.run(&["abort", "site-1"]).exits(4);
    let (_, reported) = out.split_at(out.find("site-1 is not fully aborted.").unwrap());
    insta::assert_snapshot!(reported);
    let done = "finally/exec#1={\"code\":0,\"stdout\":\"\",\"stderr\":\"\"}";
    let ran = desk.run(&["abort", "site-1", "--assume-done", done]);
    assert_eq!(ran.code, Some(9), "{ran:?}");
}

#[test]
fn a_cluster_that_is_not_locked_needs_no_unlocking() {
    let out = Desk::new().run(&["unlock", "--cluster", "twin:2"]).exits(0);
    assert_eq!(out, "twin of 2 is not locked\n");
}

#[test]
fn a_preflight_shows_every_check_and_leaves_no_run() {
    let desk = Desk::new();
    let out = desk.run(&["preflight", "--cluster", "twin:3"]).exits(0);
    assert!(out.ends_with("ready: no check would stop it\n"), "{out}");
    assert_eq!(out.matches(" pass").count(), CHECKS.len(), "{out}");
    let folded = "21 known hazards of other versions don't apply here: show them with --verbose";
    assert!(out.contains(folded), "{out}");
    let all = desk.run(&["preflight", "--cluster", "twin:3", "--verbose"]);
    assert!(all.exits(0).contains("lxd-6-vtpm"));
    let report = desk
        .run(&["preflight", "--cluster", "twin:3", "-p", "to=3", "--json"])
        .exits(3);
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["ok"], false);
    let ran = desk.run(&["preflight", "--cluster", "twin:3", "--accept", "dsik"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stdout
            .contains(r#"there is no check "dsik" (did you mean "disk"?)"#),
        "{ran:?}"
    );
    assert_eq!(desk.run(&["runs"]).exits(0), "no runs yet\n");
    // What can't be put right by trying again doesn't hold a run.
    let ran = desk.run(&["update", "--cluster", "twin:3", "--accept", "dsik"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stdout.contains(r#"(did you mean "disk"?)"#), "{ran:?}");
}

#[test]
fn a_channel_for_a_component_that_is_left_out_is_refused() {
    let desk = Desk::new();
    for command in ["upgrade", "preflight", "plan upgrade"] {
        let mut args: Vec<&str> = command.split(' ').collect();
        args.extend(["--cluster", "twin:3", "--only", "microovn"]);
        let reported = |more: [&str; 2]| {
            let ran = desk.run(&[&args[..], &more].concat());
            assert_eq!(ran.code, Some(2), "{ran:?}");
            ran.stderr + &ran.stdout
        };
        let out = reported(["--lxd", "6/stable"]);
        assert!(
            out.contains("LXD is given a channel, but left out by only or skip"),
            "{out}"
        );
        let out = reported(["--microceph", "tentacle/stable"]);
        assert!(out.contains("MicroCeph is given a channel"), "{out}");
    }
}

#[test]
fn a_wrong_table_of_a_site_is_named_with_its_line() {
    let desk = Desk::new();
    let shipped = lockstep_tests::root().join("playbooks");
    for folder in ["own/data", "own/waves"] {
        std::fs::create_dir_all(desk.path(folder)).unwrap();
    }
    for name in [
        "waves.lua",
        "waves/wave.lua",
        "waves/microceph.lua",
        "waves/microovn.lua",
        "waves/lxd.lua",
        "waves/microcloud.lua",
        "flow.lua",
        "evacuation.lua",
        "channels.lua",
        "update.lua",
        "data/compatibility.toml",
    ] {
        std::fs::copy(shipped.join(name), desk.path("own").join(name)).unwrap();
    }
    let update = || desk.run(&["update", "--playbooks", "own", "--cluster", "twin:1"]);
    let ran = update();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(
        ran.stderr
            .contains("there is no module \"playbooks.data.hazards\""),
        "{ran:?}"
    );
    write(
        &desk.path("own/data/hazards.toml"),
        "# ours\n[[hazard]]\nname = \"x\"\ncomponent = \"lxc\"\n",
    );
    let ran = update();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.stderr.contains("own/data/hazards.toml:4:14"), "{ran:?}");
    assert!(ran.stderr.contains("unknown variant `lxc`"), "{ran:?}");
}
