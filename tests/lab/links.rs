//! Links that die in the middle of each kind of step, over real SSH, and come back.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use lockstep_tests::lab::{Odd, Ran, SshLab, now, pause, read, wait_until, write};
use lockstep_twin::Scenario;

/// Nobody closes a connection, nobody answers any more.
#[test]
fn a_dead_server_brings_each_kind_of_step_to_a_known_end() {
    each_kind_of_step_ends(&SshLab::up(&Scenario::of(5)));
}

/// Each member has a network of its own, and nothing goes through any more.
#[test]
fn a_cut_link_brings_each_kind_of_step_to_a_known_end() {
    let linked = Odd {
        linked: true,
        ..Odd::default()
    };
    each_kind_of_step_ends(&SshLab::with(&Scenario::of(5), |_| linked.clone()));
}

/// Each member has a step of another kind when all links die, and come back.
fn each_kind_of_step_ends(lab: &SshLab) {
    lab.world().slow_down("microcloud", 300_000);
    let mut joined = Master::over(lab, "micro05");
    let path = |name: &str| lab.path(name).display().to_string();
    let text = format!(
        r#"
        local function program(member, effect)
            local script = "echo " .. member .. " >> {begun}; until [ -e {go} ]; do sleep 0.05; done"
            local argv = {{ "/bin/sh", "-c", script }}
            return exec {{ member = member, argv = argv, effect = effect, root = true, timeout = "5m" }}
        end
        local steps = {{
            micro01 = function() program("micro01", "read") end,
            micro02 = function() program("micro02", "converge") end,
            micro03 = function() snap.refresh {{ member = "micro03", snap = "microcloud" }} end,
            micro04 = function() program("micro04", "once") end,
            micro05 = function() program("micro05", "converge") end,
        }}
        return {{ api = 1, run = function(cluster)
            parallel(cluster.members, function(member) steps[member]() end)
        end }}
        "#,
        begun = path("begun"),
        go = path("go"),
    );
    write(&lab.path("site.lua"), &text);
    write(&lab.path("begun"), "");
    let begun = || read(&lab.path("begun")).lines().count();
    let child = lab
        .lockstep(&["run", &path("site.lua")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("the programs don't begin", || begun() == 4);
    wait_until("no refresh arrives", || lab.refreshes().len() == 1);
    let members = ["micro01", "micro02", "micro03", "micro04", "micro05"];
    assert_eq!(lab.logins("micro05"), 1, "the user's own master is used");
    members.iter().for_each(|member| lab.dead(member, true));
    let events = lab.path("state/runs/site-1/events.jsonl");
    let away = |member: &&str| {
        // The keepalive of a master of the user's isn't ours: there the member is asked beside the step.
        let why = match *member {
            "micro05" => "the member doesn't answer on a connection that is open",
            _ => "no answer",
        };
        let reported = format!(r#""member":"{member}","reason":"contact was lost: {why}"#);
        read(&events).contains(&reported)
    };
    let deadline = now() + Duration::from_secs(60);
    while let Some(member) = members.iter().find(|member| !away(member)) {
        let seen = read(&events);
        assert!(now() < deadline, "{member}: it isn't noticed:\n{seen}");
        pause(Duration::from_millis(5));
    }
    write(&lab.path("go"), "");
    members.iter().for_each(|member| lab.dead(member, false));
    let out = Ran::of(child.wait_with_output().unwrap()).exits(4);
    joined.0.kill().unwrap();
    joined.0.wait().unwrap();
    let held = "micro04: exec: contact was lost: ";
    assert!(
        out.contains(held) && out.contains("exec leaves no trace"),
        "{out}"
    );
    assert!(out.contains("determined afterwards"), "{out}");
    for (member, done) in [
        ("micro01", true),
        ("micro02", true),
        ("micro04", false),
        ("micro05", true),
    ] {
        let line = format!("{member}  exec ");
        let ended = out
            .lines()
            .any(|l| l.contains(&line) && l.contains(": exit 0"));
        assert_eq!(ended, done, "{member}: {out}");
    }
    assert_eq!(lab.refreshes(), ["micro03 microcloud"]);
    // What may be done twice was, and the other wasn't.
    let mut begun: Vec<String> = read(&lab.path("begun"))
        .lines()
        .map(str::to_owned)
        .collect();
    begun.sort();
    assert_eq!(
        begun,
        [
            "micro01", "micro01", "micro02", "micro02", "micro04", "micro05", "micro05"
        ]
    );
    assert_eq!(lab.logins("micro05"), 2, "a dead master isn't joined again");
}

/// A master of the user's own, for one member.
struct Master(Child);

impl Master {
    fn over(lab: &SshLab, member: &str) -> Self {
        let (config, socket) = (lab.path("ssh_config"), lab.path("own-master"));
        let own = format!("Host {member}\n  ControlPath {}\n", socket.display());
        write(&config, &(own + &read(&config)));
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(&config).args(["-M", "-N", member]);
        ssh.stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = ssh.spawn().unwrap();
        wait_until("the master doesn't come up", || socket.exists());
        Self(child)
    }
}

/// The shell of the next step is opened while one runs. Here each of them is ended before it has anything to do.
#[test]
fn a_shell_that_ended_while_it_waited_costs_nothing() {
    let lab = SshLab::up(&Scenario::of(1));
    // Of a step's ancestors the last one before the session's sshd is the shell that has the script.
    let kill = r#"
        parent() { ps -o ppid= -p "$1" | tr -d ' '; }
        shell=$$ sshd=$PPID
        until ps -o comm= -p "$sshd" | grep -q ^sshd; do shell=$sshd sshd=$(parent "$sshd"); done
        until spare=$(pgrep -P "$sshd" -x sh | grep -vx "$shell"); do sleep 0.01; done
        kill -9 $spare
        while kill -0 $spare 2>/dev/null; do sleep 0.01; done
        echo ended >> ENDED
    "#;
    let kill = kill.replace("ENDED", &lab.path("ended").display().to_string());
    let begun = lab.path("begun");
    let text = format!(
        r#"
        local function program(script)
            local argv = {{ "/bin/sh", "-c", script }}
            exec {{ member = "micro01", argv = argv, effect = "once", root = true }}
        end
        return {{ api = 1, run = function()
            program("true")
            for _ = 1, 3 do
                program("echo begun >> {begun}")
                program([[{kill}]])
            end
            program("echo begun >> {begun}")
        end }}
        "#,
        begun = begun.display(),
    );
    write(&lab.path("site.lua"), &text);
    let out = lab.run(&["run", &lab.path("site.lua").display().to_string()]);
    assert!(out.exits(0).contains("site-1: done"));
    assert_eq!(read(&lab.path("ended")), "ended\n".repeat(3));
    assert_eq!(read(&begun), "begun\n".repeat(4));
    assert_eq!(lab.logins("micro01"), 1);
}

#[test]
fn a_connection_is_reported_as_made_again_once_it_is() {
    let lab = SshLab::up(&Scenario::of(2));
    let path = |name: &str| lab.path(name).display().to_string();
    let text = format!(
        r#"
        local function program(member, script)
            local argv = {{ "/bin/sh", "-c", script }}
            exec {{ member = member, argv = argv, effect = "read", root = true, timeout = "5m" }}
        end
        return {{ api = 1, run = function()
            program("micro01", "echo first")
            program("micro02", "echo begun > {begun}; until [ -e {go} ]; do sleep 0.05; done")
            program("micro01", "echo second")
        end }}
        "#,
        begun = path("begun"),
        go = path("go"),
    );
    write(&lab.path("site.lua"), &text);
    let child = lab
        .lockstep(&["run", &path("site.lua")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("it doesn't begin", || lab.path("begun").exists());
    lab.cut("micro01");
    lab.dead("micro01", true);
    write(&lab.path("go"), "");
    let reported = || read(&lab.path("state/runs/site-1/events.jsonl"));
    wait_until("it isn't noticed", || {
        reported().contains(r#""event":"away""#)
    });
    assert!(
        !reported().contains(r#""event":"mended""#),
        "{}",
        reported()
    );
    lab.dead("micro01", false);
    let out = Ran::of(child.wait_with_output().unwrap()).exits(0);
    assert_eq!(lab.logins("micro01"), 2, "{out}");
}
