//! A folder to work in, as an operator has one, and the program as it is typed there.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::lab::{Ran, read, write};

/// The path of a program of these tests' package. Cargo tells it to tests alone, and not to their library.
///
/// # Panics
/// Where it isn't there.
#[must_use]
pub fn built(name: &str) -> String {
    let test = std::env::current_exe().unwrap_or_else(|e| panic!("{e}"));
    let built = test.ancestors().nth(2).map(|folder| folder.join(name));
    let built = built.filter(|path| path.exists());
    let built = built.unwrap_or_else(|| panic!("{name} isn't above {}", test.display()));
    built.display().to_string()
}

/// The path of lockstep, as it is tested.
#[must_use]
pub fn lockstep() -> String {
    built("lockstep-under-test")
}

/// A folder with a state folder in it.
pub struct Desk(tempfile::TempDir);

impl Default for Desk {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap_or_else(|e| panic!("{e}")))
    }
}

impl Desk {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The path of what is in it.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program with these arguments, not yet begun; nobody is there to answer it.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(lockstep());
        command
            .args(["--state", "state"])
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .env_remove("LOCKSTEP_CLUSTER")
            .env_remove("LOCKSTEP_STATE")
            // Receivers of tests are on this machine.
            .env("no_proxy", "127.0.0.1");
        command
    }

    /// Runs the program with these arguments to its end.
    ///
    /// # Panics
    /// Where it can't be started.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Starts the program with these arguments, and reads nothing of what it says.
    ///
    /// # Panics
    /// Where it can't be started.
    #[must_use]
    pub fn begin(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        quiet.spawn().unwrap()
    }

    /// What the program printed as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(args).exits(0)).unwrap()
    }

    /// A playbook `ops.lua` of two steps, the first of which lasts until [`Desk::end_step`], in real time.
    ///
    /// # Panics
    /// Where it can't be written.
    pub fn with_endless_step(&self) {
        write(
            &self.path("ops.lua"),
            "return { api = 1, run = function(cluster) for _ = 1, 3 do mark.set { member = cluster.members[1] } end end }",
        );
        std::fs::create_dir(self.path("modules")).unwrap();
        let go = self.path("go").display().to_string();
        let program = format!(
            "#!/bin/sh\nread -r request\ncase $request in\n*'\"describe\"'*) echo '{{\"module\":{{\"protocol\":1,\"about\":\"Marks.\",\"ops\":{{\"set\":{{\"doc\":\"Set a mark.\",\"effect\":\"converge\",\"args\":{{\"type\":\"object\",\"properties\":{{\"member\":{{\"type\":\"string\",\"format\":\"member\"}}}}}}}}}}}}}}' ;;\n*) while [ -e /proc/$PPID ] && [ ! -e '{go}' ]; do sleep 0.1; done; echo '{{\"done\":{{}}}}' ;;\nesac\n"
        );
        write(&self.path("modules/mark"), &program);
        std::fs::set_permissions(self.path("modules/mark"), Permissions::from_mode(0o755)).unwrap();
    }

    /// Lets the step of [`Desk::with_endless_step`] end.
    pub fn end_step(&self) {
        write(&self.path("go"), "");
    }

    /// Runs a playbook of this text on a simulated cluster.
    pub fn play(&self, text: &str) -> Ran {
        write(&self.path("site.lua"), text);
        self.run(&["run", "site.lua", "--cluster", "twin:2"])
    }
}

/// A desk with a run of two members that was held at `snap.info`.
#[must_use]
pub fn held() -> Desk {
    let desk = Desk::new();
    let text = "return { api = 1, run = function(cluster, p)
        section('LXD', function()
            snap.hold { member = 'micro01', snap = 'lxd' }
            snap.info { member = 'micro02', snap = 'nosuch' }
        end)
    end }";
    let _ = desk.play(text).exits(4);
    desk
}

/// An update that fails on one member, is tried again, fixed and done.
#[must_use]
pub fn troubled() -> Desk {
    let desk = Desk::new();
    let fault = "refresh-fails:lxd,micro02";
    let begin = [
        "rehearse",
        "update",
        "--members",
        "3",
        "--fault",
        fault,
        "--only",
        "lxd",
    ];
    let _ = desk.run(&begin).exits(4);
    let _ = desk.run(&["resume", "update-1"]).exits(4);
    let _ = desk.run(&["resume", "update-1", "--mend"]).exits(0);
    desk
}

/// Puts an output into the first command of [`held`].
pub fn printed(desk: &Desk, stdout: &str) {
    let file = desk.path("state/runs/site-1/events.jsonl");
    let text = read(&file);
    let mut done = false;
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).unwrap_or_default();
            if event["event"] == "command" && !done {
                event["stdout"] = json!(stdout);
                done = true;
            }
            event.to_string()
        })
        .collect();
    assert!(done, "{text}");
    write(&file, &(lines.join("\n") + "\n"));
}
