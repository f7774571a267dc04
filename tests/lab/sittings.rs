//! A run that two processes carry on over real SSH: the one that came first is stopped in the middle, taken over, and
//! continued.

use std::process::{Child, Command, Stdio};

use lockstep_tests::lab::{Ran, SshLab, read, wait_until, write};
use lockstep_twin::Scenario;

/// A process that doesn't outlive its test, stopped or not.
struct Process(Option<Child>);

impl Process {
    fn begin(lab: &SshLab, state: &str, args: &[&str]) -> Self {
        let mut command = lab.lockstep_in(state, args);
        let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(piped.spawn().unwrap()))
    }

    fn signal(&self, signal: &str) {
        let id = self.0.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &id]).status().unwrap();
        assert!(sent.success());
    }

    fn ends(mut self) -> Ran {
        Ran::of(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_process_that_was_taken_over_begins_nothing_more() {
    let lab = SshLab::up(&Scenario::of(2));
    let file = lab.path("file");
    let path = |name: &str| lab.path(name).display().to_string();
    let text = format!(
        r#"
        local function note(member, what)
            exec {{ member = member, argv = {{ "/bin/sh", "-c", "echo " .. what .. " >> {file}" }}, effect = "once", root = true }}
        end
        local function wait(what)
            local script = "echo >> $0.asked; while [ ! -e $0 ]; do sleep 0.05; done"
            exec {{ member = "micro01", argv = {{ "/bin/sh", "-c", script, what }}, effect = "read", root = true }}
        end
        return {{ api = 1, run = function()
            lock.take {{}}
            note("micro01", "one")
            wait "{first}"
            note("micro02", "two")
            wait "{second}"
            note("micro01", "three")
            lock.release {{}}
        end }}
        "#,
        file = path("file"),
        first = path("first"),
        second = path("second"),
    );
    write(&lab.path("site.lua"), &text);
    write(&file, "");
    for wait in ["first", "second"] {
        write(&lab.path(&format!("{wait}.asked")), "");
    }
    let asked = |wait: &str| read(&lab.path(&format!("{wait}.asked"))).lines().count();

    // A strict umask of root's has made the folder before: whoever logs in has to read the lock all the same.
    let strict = [
        "op",
        "exec",
        "--all",
        "--root",
        "--effect",
        "converge",
        "/usr/bin/install",
        "-d",
        "-m",
        "0700",
        "/var/lib/lockstep",
    ];
    let _ = lab.run_in("strict", &strict).exits(0);

    let here = Process::begin(&lab, "here", &["run", &path("site.lua")]);
    wait_until("the first process gets nowhere", || asked("first") == 1);
    here.signal("-STOP");
    let copied = Command::new("cp")
        .args(["-r", &path("here"), &path("there")])
        .status();
    assert!(copied.unwrap().success());
    // What it waits for comes about while it is stopped: as soon as it continues it wants to begin the next step.
    write(&lab.path("first"), "");
    let there = Process::begin(&lab, "there", &["resume", "site-1"]);
    wait_until("the second process gets nowhere", || asked("second") == 1);
    assert_eq!(read(&file), "one\ntwo\n");

    here.signal("-CONT");
    let reported = here.ends().exits(4);
    let why = "micro02: exec: site-1 was continued elsewhere by ";
    assert!(
        reported.contains(why) && reported.contains(", as session 2"),
        "{reported}"
    );
    assert_eq!(read(&file), "one\ntwo\n");

    // Nor does a resume, as long as the other one is at it and when it has ended.
    let resume = || {
        lab.run_in("here", &["resume", "site-1", "--trust-cluster"])
            .exits(5)
    };
    assert!(resume().contains("micro01: site-1 was continued elsewhere by "));
    write(&lab.path("second"), "");
    let _ = there.ends().exits(0);
    assert_eq!(read(&file), "one\ntwo\nthree\n");
    let late = lab.run_in("here", &["resume", "site-1"]).exits(5);
    assert!(
        late.contains("site-1 was continued elsewhere by "),
        "{late}"
    );
    assert_eq!(read(&file), "one\ntwo\nthree\n");
}
