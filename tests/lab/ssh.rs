//! lockstep over the real OpenSSH client and server.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use lockstep_tests::lab::{Odd, Ran, SshLab, pause, read, wait_until, write};
use lockstep_twin::Scenario;
use serde_json::{Value, json};

fn lab(members: usize) -> SshLab {
    SshLab::up(&Scenario::of(members))
}

fn odd(members: usize, odd: impl Fn(&str) -> Odd) -> SshLab {
    SshLab::with(&Scenario::of(members), odd)
}

/// What lockstep prints about the lab, without what differs from lab to lab.
fn plain(lab: &SshLab, text: &str) -> String {
    let folder = lab.path("");
    text.replace(
        folder.to_str().unwrap_or_default().trim_end_matches('/'),
        "LAB",
    )
}

#[test]
fn an_update_goes_through_the_real_client_and_server() {
    let lab = lab(3);
    let out = lab.run(&["update", "-p", "looks=1"]).exits(0);
    assert!(out.contains("update-1: done"), "{out}");
    let mut arrived = lab.refreshes();
    // LXD's refreshes are asked for at the same time, in no order.
    arrived[6..9].sort();
    // The active manager of Ceph is on the first member, and the leaders of OVN's databases are on the first two.
    let waves = [
        ("microceph", ["micro02", "micro03", "micro01"]),
        ("microovn", ["micro03", "micro01", "micro02"]),
        ("lxd", ["micro01", "micro02", "micro03"]),
        ("microcloud", ["micro01", "micro02", "micro03"]),
    ];
    let documented = waves
        .iter()
        .flat_map(|(snap, members)| members.map(|m| format!("{m} {snap}")));
    let documented: Vec<String> = documented.collect();
    assert_eq!(arrived, documented);
    assert_eq!(lab.world().violations(), []);

    let status: Value = serde_json::from_str(&lab.run(&["status", "--json"]).exits(0)).unwrap();
    assert_eq!(
        (&status["in_step"], &status["healthy"]),
        (&json!(true), &json!(true))
    );
    for member in status["members"].as_array().unwrap() {
        assert_eq!(member["snaps"]["lxd"]["revision"], json!("33110"));
        assert_eq!(member["snaps"]["lxd"]["cohort"], json!("+"));
    }

    let again = lab.run(&["update"]).exits(0);
    assert!(
        again.contains("update-2: done: already up to date"),
        "{again}"
    );
    assert_eq!(lab.refreshes().len(), 12);
    // One login a member and process: update, status, update.
    assert_eq!(lab.logins("micro01"), 3);
}

fn is_under_way(lab: &SshLab) -> bool {
    let members = ["micro01", "micro02"];
    members.iter().any(|member| lab.world().is_changing(member))
}

/// Kills an update of one component at this moment of twenty, and resumes it. Tells whether a refresh was under way.
fn kill_and_resume(moment: u64) -> bool {
    let lab = lab(2);
    lab.world().slow_down("microcloud", 60_000);
    let update = ["update", "-p", "only=microcloud"];
    let mut child = lab
        .lockstep(&update)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    if moment.is_multiple_of(2) {
        // While a refresh is in flight: from the moment when it was asked for, some tenths of a second on.
        let nth = 1 + usize::from(moment >= 10);
        wait_for_refreshes(&lab, nth);
        // What arrived is under way once snapd has made a change of it.
        wait_until("no refresh begins", || is_under_way(&lab));
        pause(Duration::from_millis(50 * (moment % 10)));
    } else {
        pause(Duration::from_millis(300 * moment));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let under_way = is_under_way(&lab);

    let begun = lab
        .path("state/runs/update-1/journal.jsonl")
        .metadata()
        .is_ok_and(|m| m.len() > 0);
    let ended = if begun {
        lab.run(&["resume", "update-1"])
    } else {
        lab.run(&update)
    };
    if !ended.stderr.contains("update-1 has ended") {
        let _ = ended.exits(0);
    }
    let mut refreshes = lab.refreshes();
    refreshes.sort();
    assert_eq!(
        refreshes,
        ["micro01 microcloud", "micro02 microcloud"],
        "killed at moment {moment}"
    );
    for member in ["micro01", "micro02"] {
        assert_eq!(
            lab.world().revision(member, "microcloud"),
            Some(1210),
            "killed at moment {moment}"
        );
    }
    under_way
}

#[test]
fn a_run_killed_at_twenty_moments_refreshes_once() {
    // Most of the time is waiting: five labs side by side.
    let under_way: usize = std::thread::scope(|scope| {
        let work = |worker: u64| {
            (0..4)
                .filter(|round| kill_and_resume(worker * 4 + round))
                .count()
        };
        let workers: Vec<_> = (0..5)
            .map(|worker| scope.spawn(move || work(worker)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .sum()
    });
    assert!(
        under_way >= 10,
        "only {under_way} of 20 were killed while a refresh was under way"
    );
}

#[test]
fn a_cut_connection_is_made_again_and_no_refresh_repeated() {
    let lab = lab(1);
    lab.world().slow_down("microcloud", 40_000);
    let child = lab
        .lockstep(&["update", "-p", "only=microcloud"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for_refreshes(&lab, 1);
    pause(Duration::from_millis(100));
    lab.cut("micro01");
    let out = Ran::of(child.wait_with_output().unwrap()).exits(0);
    let idle = out.contains("; connected again");
    let in_doubt = out.contains("; waiting for it") && out.contains("determined afterwards");
    assert!(
        out.contains("micro01  contact was lost") && (idle || in_doubt),
        "{out}"
    );
    assert_eq!(lab.refreshes(), ["micro01 microcloud"]);
    assert_eq!(lab.logins("micro01"), 2);
}

#[test]
fn one_op_runs_on_all_members() {
    let lab = lab(2);
    let out = lab
        .run(&["op", "snap.info", "--snap", "lxd", "--all", "--json"])
        .exits(0);
    let answer: Value = serde_json::from_str(&out).unwrap();
    for member in ["micro01", "micro02"] {
        assert_eq!(answer[member]["value"]["revision"], json!("33100"), "{out}");
    }
    let out = lab
        .run(&[
            "op",
            "exec",
            "-m",
            "micro02",
            "--effect",
            "read",
            "--",
            "/bin/uname",
            "-n",
        ])
        .exits(0);
    assert_eq!(out, "micro02\n");
}

#[test]
fn a_cluster_file_that_still_has_a_mux_is_read() {
    let lab = lab(1);
    let file = lab.path("cluster.toml");
    write(
        &file,
        &read(&file).replace("[ssh]\n", "[ssh]\nmux = \"process\"\n"),
    );
    let out = lab
        .run(&["op", "snap.info", "--snap", "lxd", "--all"])
        .exits(0);
    assert_eq!(
        out,
        "micro01: 5.21.3-c5ae129 (33100) from 5.21/stable, in cohort\n"
    );
}

#[test]
fn a_master_of_the_user_is_used_and_left_alone() {
    let lab = lab(1);
    let config = lab.path("ssh_config");
    let socket = lab.path("own-master");
    write(
        &config,
        &format!("{}  ControlPath {}\n", read(&config), socket.display()),
    );
    let ssh = |args: &[&str]| {
        let mut command = std::process::Command::new("ssh");
        command
            .arg("-F")
            .arg(&config)
            .args(args)
            .stdin(std::process::Stdio::null());
        command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    };
    assert!(ssh(&["-M", "-N", "-f", "micro01"]));
    let _ = lab
        .run(&["op", "snap.info", "--snap", "lxd", "--all"])
        .exits(0);
    assert_eq!(lab.logins("micro01"), 1, "lockstep logged in by itself");
    assert!(
        ssh(&["-O", "check", "micro01"]),
        "the user's master is gone"
    );
    assert!(ssh(&["-O", "exit", "micro01"]));
}

#[test]
fn a_cluster_file_is_written_by_asking_one_member() {
    let lab = lab(3);
    let file = lab.path("new.toml");
    let config = lab.path("ssh_config");
    let args = [
        "init",
        "micro02",
        "--ssh-config",
        config.to_str().unwrap(),
        "-o",
        file.to_str().unwrap(),
    ];
    assert!(
        lab.run(&args)
            .exits(0)
            .ends_with("micro01, micro02, micro03\n")
    );
    let text = plain(&lab, &read(&file));
    insta::assert_snapshot!(text);
    // It isn't written over unasked.
    let again = lab.run(&args);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    let _ = lab.run(&["status", "--cluster", file.to_str().unwrap()]);
}

/// A cluster file in which one member has the address of another.
#[test]
fn a_machine_that_stands_in_for_a_member_is_found_first() {
    let lab = lab(5);
    let file = lab.path("cluster.toml");
    let text = read(&file).replace(
        "name = \"micro04\"\n",
        "name = \"micro04\"\naddress = \"micro05\"\n",
    );
    write(&file, &text);
    let why = "the machine that answers has hostname micro05, which is another member";
    let status = lab.run(&["status"]);
    assert_eq!(status.code, Some(10), "{status:?}");
    assert!(status.stdout.contains(why), "{status:?}");
    for args in [&["update"][..], &["preflight"]] {
        let ran = lab.run(args);
        assert_eq!(ran.code, Some(3), "{ran:?}");
        assert!(ran.stdout.contains(&format!("micro04: {why}")), "{ran:?}");
    }
    let op = lab.run(&["op", "snap.hold", "--snap", "lxd", "-m", "micro04"]);
    assert_eq!(op.code, Some(12), "{op:?}");
    assert_eq!(
        op.stdout,
        format!("micro04: failed: {why}; fix the address in the cluster file\n")
    );
    let plan = lab.run(&["plan", "update"]);
    assert_eq!(plan.code, Some(3), "{plan:?}");
    assert_eq!(lab.refreshes(), Vec::<String>::new());
}

#[test]
fn members_that_cannot_be_used_are_each_shown_with_a_reason() {
    let lab = odd(5, |name| Odd {
        sudo_asks: name == "micro05",
        ..Odd::default()
    });
    // micro02's host key is another one, micro03 listens nowhere, micro04 doesn't know the key that is offered.
    let known = lab.path("known_hosts");
    let config = lab.path("ssh_config");
    let text = read(&config);
    let port_of = |name: &str| {
        let block = text.split(&format!("Host {name}\n")).nth(1).unwrap();
        block
            .split("Port ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .to_owned()
    };
    let keys: Vec<String> = read(&known).lines().map(str::to_owned).collect();
    let other = keys[0].split_once(' ').unwrap().1;
    let swapped: String = keys
        .iter()
        .map(|line| match line.split_once(' ') {
            Some((host, _)) if host.ends_with(&port_of("micro02")) => format!("{host} {other}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    write(&known, &swapped);
    let stranger = lab.path("stranger");
    let keygen = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(&stranger)
        .status();
    assert!(keygen.unwrap().success());
    let text = text
        .replace(&format!("Port {}", port_of("micro03")), "Port 1")
        .replace(
            "Host micro04\n",
            &format!("Host micro04\n  IdentityFile {}\n", stranger.display()),
        );
    let text = text.replacen(
        &format!(
            "  IdentityFile {}\n  IdentitiesOnly yes\n",
            lab.path("key").display()
        ),
        &format!(
            "  IdentitiesOnly yes\nHost !micro04 *\n  IdentityFile {}\nHost *\n",
            lab.path("key").display()
        ),
        1,
    );
    write(&config, &text);

    let out = lab.run(&["update"]);
    assert_eq!(out.code, Some(3), "{}\n{}", out.stdout, out.stderr);
    for reason in [
        "micro02: the host key was not accepted: it has changed since it was recorded",
        "micro03: the connection was refused",
        "micro04: the login was refused",
        "sudo asks for a password or refuses",
    ] {
        assert!(out.stdout.contains(reason), "{reason}\n{}", out.stdout);
    }
    assert!(out.stdout.contains("nothing was changed"), "{}", out.stdout);
    assert_eq!(lab.refreshes(), Vec::<String>::new());
}

#[test]
fn garbage_from_a_member_is_named_with_its_command() {
    let lab = lab(1);
    lab.garble("microceph.ceph");
    let out = lab.run(&["op", "microceph.health"]);
    assert_eq!(out.code, Some(1));
    assert!(
        out.stdout
            .contains("microceph.ceph printed something else than the JSON expected of it"),
        "{}",
        out.stdout
    );
    let out = lab.run(&["update"]);
    assert_eq!(out.code, Some(3), "{}", out.stdout);
    assert!(
        out.stdout
            .contains("microceph  unknown  micro01: microceph.ceph printed something else"),
        "{}",
        out.stdout
    );
}

#[test]
fn a_snap_that_is_not_installed_is_reported() {
    let lab = lab(1);
    let out = lab.run(&["op", "snap.refresh", "-m", "micro01", "--snap", "microsmth"]);
    assert_eq!(out.code, Some(1));
    assert_eq!(
        out.stdout,
        "micro01: failed: the snap \"microsmth\" is not installed\n"
    );
}

#[test]
fn a_site_drains_its_load_balancer_around_each_member() {
    let note = |path: &str| {
        (
            path.to_owned(),
            "#!/bin/sh\necho \"$(basename \"$0\") $*\" >> /var/lib/said\n".to_owned(),
        )
    };
    let lab = odd(2, |name| Odd {
        files: if name == "lb1" {
            vec![
                note("/usr/local/bin/lbctl"),
                ("/var/lib/said".to_owned(), String::new()),
            ]
        } else {
            vec![]
        },
        ..Odd::default()
    });
    let site = lab.path("update.lua");
    write(
        &site,
        r#"
        local update = require "playbooks.update"
        local function lb(verb)
            return function(event)
                exec { member = "lb1", argv = { "/usr/local/bin/lbctl", verb, event.member }, effect = "converge", root = true }
            end
        end
        return update:extend { params = { only = { "microcloud" } }, before_member = lb "drain", after_member = lb "enable" }
        "#,
    );
    // Whether a step takes long enough to be reported otherwise depends on the machine.
    let out = lab
        .run(&["run", "-v", site.to_str().unwrap(), "-p", "backup=false"])
        .exits(0);
    assert!(
        out.contains("lb1  exec /usr/local/bin/lbctl drain micro01"),
        "{out}"
    );
    let printed = lab
        .run(&[
            "op",
            "exec",
            "-m",
            "lb1",
            "--effect",
            "read",
            "--json",
            "--",
            "/bin/cat",
            "/var/lib/said",
        ])
        .exits(0);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let expected =
        "lbctl drain micro01\nlbctl enable micro01\nlbctl drain micro02\nlbctl enable micro02\n";
    assert_eq!(printed["lb1"]["value"]["stdout"], json!(expected));
    assert_eq!(
        lab.refreshes(),
        ["micro01 microcloud", "micro02 microcloud"]
    );
}

/// The program continues only when its line was seen.
#[test]
fn what_a_command_says_is_known_though_nobody_hears_its_end() {
    let migrate = "#!/bin/sh\necho moving 1 of 2 tables\nwhile [ ! -e \"$1\" ]; do sleep 0.05; done\necho moved";
    let lab = odd(1, |_| Odd {
        files: vec![("/usr/local/bin/migrate".to_owned(), migrate.to_owned())],
        ..Odd::default()
    });
    let (seen, site) = (lab.path("seen"), lab.path("site.lua"));
    let text = format!(
        "return {{ api = 1, run = function() return exec {{ member = 'micro01', argv = {{ '/usr/local/bin/migrate', '{}' }}, effect = 'converge' }} end }}",
        seen.display()
    );
    write(&site, &text);
    let site = site.to_str().unwrap();
    let begin = |args: &[&str]| {
        let mut command = lab.lockstep(args);
        command.stdout(std::process::Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("moving 1 of 2 tables") {
            line.clear();
            assert!(
                out.read_line(&mut line).unwrap() > 0,
                "nothing was ever printed"
            );
        }
        (child, out)
    };
    let (mut killed, _) = begin(&["run", site, "--json"]);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let shown = lab.run(&["show", "site-1", "--steps"]).exits(0);
    assert!(
        shown.contains("last progress: moving 1 of 2 tables"),
        "{shown}"
    );

    let (resumed, mut out) = begin(&["resume", "site-1"]);
    write(&seen, "");
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(resumed.wait_with_output().unwrap().status.code(), Some(0));
    assert!(rest.contains("exec /usr/local/bin/migrate"), "{rest}");
}

#[test]
fn a_second_process_is_refused_while_a_run_is_alive() {
    let lab = lab(1);
    let mut child = lab
        .lockstep(&["update", "-p", "only=microcloud"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for_refreshes(&lab, 1);
    let out = lab.run(&["resume", "update-1"]);
    assert_eq!(out.code, Some(6), "{}", out.stderr);
    assert!(
        out.stderr
            .contains("the run update-1 is in use by another process"),
        "{}",
        out.stderr
    );
    assert!(lab.run(&["runs"]).exits(0).contains("running"));
    // Nor is its lock taken away from under it.
    let out = lab.run(&["unlock", "--yes"]);
    assert_eq!(out.code, Some(6), "{}", out.stderr);
    assert!(
        out.stderr.contains("update-1 is running here"),
        "{}",
        out.stderr
    );
    assert!(child.wait().unwrap().success());
}

fn wait_for_refreshes(lab: &SshLab, count: usize) {
    wait_until("no refresh arrives", || lab.refreshes().len() >= count);
}

fn interrupt(child: &std::process::Child) {
    let sent = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
}

#[test]
fn the_first_interrupt_lets_steps_finish_the_second_does_not() {
    let lab = lab(2);
    lab.world().slow_down("microcloud", 40_000);
    let start = |args: &[&str]| {
        lab.lockstep(args)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let child = start(&["update", "-p", "only=microcloud"]);
    wait_for_refreshes(&lab, 1);
    interrupt(&child);
    let drained = Ran::of(child.wait_with_output().unwrap()).exits(5);
    assert!(
        drained.contains("1 requested step was not started")
            && drained.contains("lockstep resume update-1"),
        "{drained}"
    );
    // The refresh that ran was waited for.
    assert_eq!(lab.world().revision("micro01", "microcloud"), Some(1210));

    let child = start(&["resume", "update-1"]);
    wait_for_refreshes(&lab, 2);
    interrupt(&child);
    pause(Duration::from_millis(100));
    interrupt(&child);
    let left = Ran::of(child.wait_with_output().unwrap()).exits(5);
    assert!(
        left.contains("steps were running: MicroCloud/micro02/snap.refresh#1"),
        "{left}"
    );
    assert!(lab.world().is_changing("micro02"));

    let ended = lab.run(&["resume", "update-1"]).exits(0);
    assert!(ended.contains("determined afterwards"), "{ended}");
    assert_eq!(
        lab.refreshes(),
        ["micro01 microcloud", "micro02 microcloud"]
    );
}

#[test]
fn a_run_is_resumed_with_the_playbook_that_it_was_begun_with() {
    let lab = lab(1);
    let site = lab.path("site.lua");
    let text = r#"
        local flow = require "flow"
        local helper = require "helper"
        local M = flow.playbook { api = 1, about = "Two steps." }
        function M.run(cluster)
            time.sleep { span = "5s" }
            helper.greet(cluster.members[1])
            return { version = "VERSION" }
        end
        return M
    "#;
    write(&site, &text.replace("VERSION", "first"));
    write(
        &lab.path("helper.lua"),
        r#"return { greet = function(member) exec { member = member, argv = { "/bin/uname" }, effect = "read" } end }"#,
    );
    let child = lab
        .lockstep(&["run", site.to_str().unwrap()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let journal = lab.path("state/runs/site-1/journal.jsonl");
    wait_until("the run doesn't begin", || {
        std::fs::read_to_string(&journal).is_ok_and(|text| text.contains("time.sleep"))
    });
    interrupt(&child);
    interrupt(&child);
    let _ = Ran::of(child.wait_with_output().unwrap());
    write(&site, "return nonsense(");
    write(&lab.path("helper.lua"), "error 'gone'");
    let ended = lab.run(&["resume", "site-1"]).exits(0);
    assert!(ended.contains("site-1: done"), "{ended}");
    let journal = std::fs::read_to_string(&journal).unwrap();
    let end = journal.lines().last().unwrap();
    assert!(end.contains("first"), "{end}");
}
