//! A run that two processes carry on: on the twin, and over real SSH, where the one that came first is stopped in the
//! middle, taken over, and continued.

use std::process::{Child, Command, Stdio};

use lockstep::engine::Decisions;
use lockstep::journal::{Crash, MemoryJournal};
use lockstep_modules::contract::error::Kind;
use lockstep_tests::lab::{Ran, SshLab, read, write};
use lockstep_tests::{Bench, Ended};
use lockstep_twin::Scenario;

use crate::ssh::wait_until;

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
fn of_two_that_carry_on_a_run_the_one_that_was_taken_over_begins_nothing_more() {
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
    // What it waits for comes about while it is stopped: as soon as it goes on it wants to begin the next step.
    write(&lab.path("first"), "");
    let there = Process::begin(&lab, "there", &["resume", "site-1"]);
    wait_until("the second process gets nowhere", || asked("second") == 1);
    assert_eq!(read(&file), "one\ntwo\n");

    here.signal("-CONT");
    let told = here.ends().exits(4);
    let why = "micro02: exec: site-1 was continued elsewhere by ";
    assert!(
        told.contains(why) && told.contains(", as session 2"),
        "{told}"
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

/// The same run at the same cluster, in another process.
fn elsewhere(bench: &Bench) -> Bench {
    let mut copy = bench.fresh_copy();
    copy.journal = MemoryJournal::with(&bench.journal.text());
    copy.controller = "second".to_owned();
    copy
}

#[test]
fn a_run_that_was_taken_up_elsewhere_is_refused_here() {
    let mut here = Bench::update(3);
    assert!(matches!(here.run_until(Crash::Before(60)), Ended::Killed));
    let mut there = elsewhere(&here);
    // It took the cluster over, and nothing else so far.
    assert!(matches!(
        there.resume_until(Decisions::default(), Crash::Before(3)),
        Ended::Killed
    ));
    let refreshes = there.refreshes();
    here.world = there.world.clone();
    let told = "micro01: update-1 was continued elsewhere by nobody@twin, as session 2: continue it there; if that run no \
                longer exists: lockstep unlock";
    assert_eq!(here.resume().suspended(), told);
    let trusting = here.resume_with(Decisions::default(), true);
    assert_eq!(trusting.suspended(), told);
    assert_eq!(here.abort().suspended(), told);
    assert_eq!(here.refreshes(), refreshes);
    assert_eq!(here.world.settings(), there.world.settings());

    there.resume().done();
    there.assert_updated();
    here.world = there.world.clone();
    let ended = here.resume().suspended();
    let told = "update-1 was continued elsewhere by nobody@twin, as session 3, which has released the cluster";
    assert!(ended.starts_with(told), "{ended}");
    assert_eq!(here.refreshes(), there.refreshes());
}

#[test]
fn of_two_that_take_a_run_up_at_once_one_is_refused_on_the_first_member() {
    let mut first = Bench::update(3);
    assert!(matches!(first.run_until(Crash::Before(60)), Ended::Killed));
    let mut second = elsewhere(&first);
    // The second one has looked and found the first sitting's claim everywhere; the first one was faster on micro01.
    assert!(matches!(
        first.resume_until(Decisions::default(), Crash::Before(3)),
        Ended::Killed
    ));
    let claim = first
        .world
        .file("micro01", "/var/lib/lockstep/lock")
        .cloned();
    assert!(
        format!("{claim:?}").contains(r#"\"nonce\":\"first\""#),
        "{claim:?}"
    );
    second
        .world
        .set_file("micro01", "/var/lib/lockstep/lock", claim);
    let told = second.resume().suspended();
    assert!(
        told.starts_with("micro01: update-1 was continued elsewhere"),
        "{told}"
    );
    for member in ["micro02", "micro03"] {
        let claim = format!("{:?}", second.world.file(member, "/var/lib/lockstep/lock"));
        assert!(claim.contains(r#"\"number\":1,"#), "{claim}");
    }
}

#[test]
fn what_changes_something_is_not_begun_where_the_claim_is_another_one() {
    let body = r#"
        lock.take {}
        local here = lock.read {}.members[1]
        lock.remove { shown = { [here.member] = here.says } }
        -- No try gets around it.
        try(microceph.noout, { member = "micro01", on = true })
        try(microceph.noout, { member = "micro01", on = false })
        lock.release {}
    "#;
    let mut bench = Bench::playing(body, 3);
    let held = bench.run().held();
    assert_eq!(held.path, "microceph.noout#1");
    assert_eq!(held.failure.kind, Kind::Taken);
    assert!(held.in_doubt);
    let told = "micro01: microceph.noout: the lock of test-1 is gone, so the cluster may be changed by somebody else: \
                lockstep resume test-1 takes it again";
    assert_eq!(held.failure.to_string(), told);
    let asked = bench.world.log.iter().flat_map(|e| &e.argv);
    assert_eq!(asked.filter(|word| *word == "set-group").count(), 0);
    bench.resume().done();
}
