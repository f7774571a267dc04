//! lockstep over the real OpenSSH client and server.

use std::io::{BufRead, BufReader, Read};

use lockstep_tests::lab::{Odd, SshLab, read, write};
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
        files: match name {
            "micro05" => vec![(
                "/etc/sudoers.d/lab".to_owned(),
                "ubuntu ALL=(ALL) ALL\n".to_owned(),
            )],
            _ => Vec::new(),
        },
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
