//! What real servers, shells and `sudo` are set up to do: rows of a table, each a member of one lab, over the real client.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use lockstep_tests::desk::{Desk, lockstep};
use lockstep_tests::lab::{Odd, Ran, SshLab, now, pause, read, wait_until, write};
use lockstep_twin::Scenario;
use serde_json::Value;
use table::{QUIRKS, Quirk};

mod table;

/// What came of three commands at once, one of them as root, on each member of the table's lab.
static PRINTED: LazyLock<BTreeMap<&str, String>> = LazyLock::new(|| {
    let scenario = Scenario::of(QUIRKS.len());
    let names = scenario.names();
    let rows: BTreeMap<&str, &(&str, Quirk)> =
        names.iter().map(String::as_str).zip(QUIRKS).collect();
    let lab = SshLab::with(&scenario, |name| match rows.get(name) {
        Some((_, quirk)) => quirk.member(),
        None => Odd::default(),
    });
    let config = lab.path("ssh_config");
    let own = rows.iter().map(|(name, (_, quirk))| {
        let lines = quirk.client.iter().map(|line| format!("  {line}\n"));
        let jump = quirk.through.map(|through| {
            let host = rows.iter().find(|(_, (row, _))| *row == through).unwrap().0;
            format!("  ProxyJump {host}\n")
        });
        format!("Host {name}\n{}", lines.chain(jump).collect::<String>())
    });
    write(&config, &(own.collect::<String>() + &read(&config)));
    let last = three_at_once(&lab);
    let printed = |name: &str| last["result"][name].as_str().unwrap().to_owned();
    let events = read(&lab.path("state/runs/site-1/events.jsonl"));
    assert!(!events.contains("Datei oder Verzeichnis"), "not English");
    assert!(!events.contains("contact was lost"), "{events}");
    rows.iter()
        .map(|(name, (row, _))| (*row, printed(name)))
        .collect()
});

/// Whether the commands of a row's member went as they are to.
fn is_met_or_reported(row: &str) {
    let (_, quirk) = QUIRKS.iter().find(|(name, _)| *name == row).unwrap();
    let printed = &PRINTED[row];
    match quirk.says {
        Ok(()) => assert_eq!(printed, "ok"),
        Err(words) => assert!(printed.contains(words), "{printed}"),
    }
}

/// Three commands at once on each member, one of them as root. Returns the last that the run printed.
fn three_at_once(lab: &SshLab) -> Value {
    let site = lab.path("site.lua");
    let text = r#"
        local flow = require "flow"
        local M = flow.playbook { api = 1, about = "Three at once on each member." }
        function M.run(cluster)
            local told = {}
            parallel(cluster.members, function(member)
                local tried = try(function()
                    parallel({ "1", "2", "3" }, function(number)
                        exec {
                            member = member, effect = "read", root = number == "3", allow = { 1 },
                            argv = { "/bin/sh", "-c", "sleep 0.3; cat /nonexistent 2>&1; exit 1" },
                        }
                    end)
                end)
                told[member] = tried.ok and "ok" or tried.error.message
            end)
            return told
        end
        return M
    "#;
    write(&site, text);
    let ran = lab.run(&["run", site.to_str().unwrap(), "--json"]);
    serde_json::from_str(ran.stdout.lines().last().unwrap()).unwrap()
}

/// A login shell that never comes to its command is given up in the end. It takes longer than all of the table.
#[test]
fn a_shell_that_reads_its_input_is_given_up() {
    let bashrc = (
        "/home/ubuntu/.bashrc".to_owned(),
        "read -t 1 line\n".to_owned(),
    );
    let lab = SshLab::with(&Scenario::of(1), |name| match name {
        "lb1" => Odd::default(),
        _ => Odd {
            files: vec![bashrc.clone()],
            ..Odd::default()
        },
    });
    let last = three_at_once(&lab);
    let printed = last["result"]["micro01"].as_str().unwrap();
    let words = "the login shell runs nothing within 40 s: it may wait, or read its input";
    assert!(printed.contains(words), "{printed}");
}

/// A port that drops this many connections before a word is sent, as an sshd does that has too many of them, and then is
/// this one.
fn reluctant(drops: usize, port: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let own = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (number, client) in listener.incoming().flatten().enumerate() {
            if number < drops {
                continue;
            }
            let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let ways = [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ];
            for (mut from, mut to) in ways {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
    own
}

/// What the user's ssh_config says about members is met: each line of it has cost somebody something.
#[test]
fn what_settings_of_the_user_ask_for_is_met_or_left_out() {
    let lab = SshLab::with(&Scenario::of(4), |name| Odd {
        sshd: match name {
            "micro01" => ["X11Forwarding yes", "Match all", "LogLevel DEBUG1"]
                .map(str::to_owned)
                .to_vec(),
            _ => Vec::new(),
        },
        ..Odd::default()
    });
    let config = lab.path("ssh_config");
    let text = read(&config);
    let port = text
        .split("Host micro03\n  HostName 127.0.0.1\n  Port ")
        .nth(1);
    let port = port.unwrap().lines().next().unwrap().parse().unwrap();
    let (dropping, socket) = (reluctant(2, port), lab.path("own-master"));
    let own = [
        "Host micro01\n  ForwardAgent yes\n  ForwardX11 yes\n  ForwardX11Trusted yes\n".to_owned(),
        "Host micro02\n  StdinNull yes\n".to_owned(),
        format!("Host micro03\n  Port {dropping}\n  HostKeyAlias [127.0.0.1]:{port}\n"),
        format!("Host micro04\n  ControlPath {}\n", socket.display()),
    ];
    write(&config, &(own.concat() + &text));

    let agent = lab.path("agent");
    let mut keys = Command::new("ssh-agent");
    keys.arg("-D").arg("-a").arg(&agent).stdout(Stdio::null());
    let mut keys = keys.spawn().unwrap();
    let mut master = Command::new("ssh");
    master
        .arg("-F")
        .arg(&config)
        .args(["-M", "-N", "micro04"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut master = master.spawn().unwrap();
    wait_until("the agent and the master don't come up", || {
        agent.exists() && socket.exists()
    });
    send("-STOP", &master.id().to_string());

    let says = "echo ${SSH_AUTH_SOCK:-no agent}";
    let exec = [
        "op", "exec", "--effect", "read", "--all", "--json", "/bin/sh", "-c", says,
    ];
    let mut run = lab.lockstep(&exec);
    run.env("SSH_AUTH_SOCK", &agent).env("DISPLAY", ":0");
    let mut child = run
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("it doesn't end", || child.try_wait().unwrap().is_some());
    let out = Ran::of(child.wait_with_output().unwrap());
    for process in [&mut keys, &mut master] {
        process.kill().unwrap();
        process.wait().unwrap();
    }
    let reported: Value = serde_json::from_str(&out.stdout).unwrap();
    let members = ["micro01", "micro02", "micro03", "micro04"];
    let printed = members.map(|member| {
        reported[member]["value"]["stdout"]
            .as_str()
            .unwrap_or_default()
    });
    assert_eq!(printed, ["no agent\n"; 4], "{reported}");
    assert_eq!(lab.logins("micro04"), 2, "a connection of its own");

    let forwarded = || read(&lab.path("micro01/sshd.log")).contains("x11-req");
    assert!(!forwarded(), "the operator's display was offered");
    let mut plain = Command::new("ssh");
    plain.arg("-F").arg(&config).args(["micro01", "true"]);
    let _ = plain.env("DISPLAY", ":0").output().unwrap();
    assert!(forwarded(), "ssh by itself offers it, so the log tells");
}

/// Sends a signal to a process, or with a minus before it to its group.
fn send(signal: &str, target: &str) {
    let sent = Command::new("kill").args([signal, "--", target]).status();
    assert!(sent.unwrap().success());
}

/// Whoever suspends lockstep (Ctrl-Z) longer than sshd waits finds it connected again, and a read done again.
#[test]
fn a_suspended_process_connects_again_and_reads_again() {
    let asks = ["ClientAliveInterval 1", "ClientAliveCountMax 2"].map(str::to_owned);
    let lab = SshLab::with(&Scenario::of(1), |_| Odd {
        sshd: asks.to_vec(),
        ..Odd::default()
    });
    let (begun, go) = (lab.path("begun"), lab.path("go"));
    let open = Command::new("chmod").arg("777").arg(lab.path("")).status();
    assert!(open.unwrap().success());
    let step = format!(
        "echo >> {}; until [ -e {} ]; do sleep 0.05; done; echo ended",
        begun.display(),
        go.display()
    );
    let exec = ["op", "exec", "--effect", "read", "/bin/sh", "-c", &step];
    let child = lab
        .lockstep(&exec)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    wait_until("the step doesn't begin", || begun.exists());
    let group = format!("-{}", child.id());
    send("-STOP", &group);
    let log = lab.path("micro01/sshd.log");
    wait_until("sshd waits for ever", || {
        read(&log).contains("Timeout, client not responding")
    });
    write(&go, "");
    send("-CONT", &group);
    let out = Ran::of(child.wait_with_output().unwrap()).exits(0);
    assert!(out.contains("ended"), "{out}");
    assert_eq!(read(&begun).lines().count(), 2, "it was done again");
    assert_eq!(lab.logins("micro01"), 2);
}

/// A login that takes long keeps nobody from ending the process.
#[test]
fn a_signal_is_obeyed_while_a_connection_is_opened() {
    let slow = Odd {
        sshd: vec!["ForceCommand sleep 50".to_owned()],
        ..Odd::default()
    };
    let lab = SshLab::with(&Scenario::of(1), |_| slow.clone());
    let mut child = lab
        .lockstep(&["op", "exec", "--effect", "once", "/bin/true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("nobody logs in", || lab.logins("micro01") == 1);
    let began = now();
    send("-TERM", &child.id().to_string());
    wait_until("it isn't obeyed", || child.try_wait().unwrap().is_some());
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// The shell of a batch is killed: looking for the reason closes no connection that is well.
#[test]
fn a_killed_batch_is_reported_and_the_connection_left_alone() {
    let lab = SshLab::up(&Scenario::of(1));
    let kill = "kill -9 $(ps -o ppid= -p $PPID)";
    let text = format!(
        r#"
        return {{ api = 1, run = function()
            try(exec, {{ member = "micro01", argv = {{ "/bin/sh", "-c", "{kill}" }}, effect = "once" }})
            exec {{ member = "micro01", argv = {{ "/bin/true" }}, effect = "once" }}
        end }}
        "#
    );
    write(&lab.path("site.lua"), &text);
    let site = lab.path("site.lua");
    let out = lab.run(&["run", site.to_str().unwrap()]).exits(4);
    let why = "contact was lost: the command ended without reporting its status";
    assert!(out.contains(why), "{out}");
    assert_eq!(lab.logins("micro01"), 1, "{out}");
}

/// A terminal sends the interrupt to all of its foreground group.
#[test]
fn an_interrupt_from_a_terminal_leaves_the_connections_alive() {
    let lab = SshLab::up(&Scenario::of(1));
    let (begun, go) = (lab.path("begun"), lab.path("go"));
    let text = r#"
        local flow = require "flow"
        local M = flow.playbook { api = 1, about = "One step, and another." }
        function M.run(cluster)
            local member = cluster.members[1]
            local step = ": > 'BEGUN'; until [ -e 'GO' ]; do sleep 0.05; done; echo ended"
            exec { member = member, effect = "once", argv = { "/bin/sh", "-c", step } }
            exec { member = member, effect = "once", argv = { "/bin/true" } }
        end
        return M
    "#;
    let text = text.replace("BEGUN", begun.to_str().unwrap());
    let site = lab.path("site.lua");
    write(&site, &text.replace("GO", go.to_str().unwrap()));
    // Whoever runs the step writes there.
    let open = Command::new("chmod").arg("777").arg(lab.path("")).status();
    assert!(open.unwrap().success());
    let child = lab
        .lockstep(&["run", site.to_str().unwrap()])
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    wait_until("the step doesn't begin", || begun.exists());
    send("-INT", &format!("-{}", child.id()));
    write(&go, "");
    let out = Ran::of(child.wait_with_output().unwrap()).exits(5);
    assert!(!out.contains("contact was lost"), "{out}");
    assert!(out.contains("1 requested step was not started"), "{out}");
    let journal = read(&lab.path("state/runs/site-1/journal.jsonl"));
    assert!(journal.contains("\"stdout\":\"ended"), "{journal}");
    let ended = lab.run(&["resume", "site-1"]).exits(0);
    assert!(ended.contains("site-1: done"), "{ended}");
}

#[test]
fn a_watch_ends_when_it_is_interrupted() {
    let desk = Desk::new();
    for signal in ["-INT", "-TERM"] {
        let mut child = desk
            .command(&["status", "--watch", "1", "--cluster", "twin:3"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = [0; 64];
        let stdout = child.stdout.as_mut().unwrap();
        std::io::Read::read_exact(stdout, &mut first).unwrap();
        send(signal, &child.id().to_string());
        wait_until("it isn't obeyed", || child.try_wait().unwrap().is_some());
    }
}

/// A key with a passphrase, no agent, and a terminal: one prompt at a time, and nothing of what is typed is shown.
#[test]
fn members_that_need_an_answer_are_asked_for_in_turn() {
    let lab = SshLab::up(&Scenario::of(2));
    let mut lock = Command::new("ssh-keygen");
    lock.args(["-q", "-p", "-P", "", "-N", "hush-hush", "-f"]);
    assert!(lock.arg(lab.path("key")).status().unwrap().success());
    let seen = |what: &str| -> usize {
        let log = |member: &str| read(&lab.path(&format!("{member}/sshd.log")));
        ["micro01", "micro02"]
            .map(|m| log(m).matches(what).count())
            .iter()
            .sum()
    };
    let path = |name: &str| lab.path(name).display().to_string();
    let (state, cluster) = (path("state"), path("cluster.toml"));
    let lockstep = lockstep();
    let typed = format!(
        "{lockstep} --state {state} --cluster {cluster} op exec --all --effect read /bin/uname -n"
    );
    let mut child = Command::new("timeout")
        .args(["120", "script", "-qec", &typed, "/dev/null"])
        .env_remove("SSH_AUTH_SOCK")
        .env_remove("SSH_ASKPASS")
        .env("HOME", lab.path(""))
        .env("TERM", "dumb")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut printed = String::new();
    let mut more = |printed: &mut String| {
        let mut buffer = [0; 4096];
        let n = screen.read(&mut buffer).unwrap();
        printed.push_str(&String::from_utf8_lossy(&buffer[..n]));
        n > 0
    };
    for answered in 0..2 {
        let prompts = |printed: &str| printed.matches("Enter passphrase").count();
        while prompts(&printed) <= answered {
            assert!(more(&mut printed), "nobody asks: {printed}");
        }
        // Nobody could be logged in without being asked for; whoever else asks now has had the time to begin with it.
        wait_until("a login was left out", || seen("Connection closed by") >= 2);
        pause(Duration::from_secs(1));
        assert_eq!(seen("Connection from"), 3 + answered, "{printed}");
        keys.write_all(b"hush-hush\n").unwrap();
    }
    while more(&mut printed) {}
    assert!(child.wait().unwrap().success(), "{printed}");
    assert!(!printed.contains("hush"), "{printed}");
    for member in ["micro01", "micro02"] {
        assert!(printed.contains(member), "{printed}");
    }
}

/// A ControlPath that doesn't name the host is the same for all members.
#[test]
fn a_master_that_leads_to_another_member_is_not_used() {
    let lab = SshLab::up(&Scenario::of(2));
    let config = lab.path("ssh_config");
    let socket = lab.path("one-for-all");
    write(
        &config,
        &format!("{}  ControlPath {}\n", read(&config), socket.display()),
    );
    let ssh = |args: &[&str]| {
        let mut command = std::process::Command::new("ssh");
        command.arg("-F").arg(&config).args(args);
        command.stdin(std::process::Stdio::null());
        assert!(command.output().unwrap().status.success(), "{args:?}");
    };
    ssh(&["-M", "-N", "-f", "micro01"]);
    let out = lab.run(&["op", "exec", "--all", "--effect", "read", "/bin/hostname"]);
    ssh(&["-O", "exit", "micro01"]);
    assert_eq!(out.exits(0), "micro01: micro01\nmicro02: micro02\n");
}
