//! A folder to work in, as an operator has one, and the program as it is typed there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use lockstep_tests::lab::{Ran, write};
use serde_json::Value;

/// The program.
pub(crate) const LOCKSTEP: &str = env!("CARGO_BIN_EXE_lockstep-under-test");

/// What stands in for the programs of members whose answers come from the twin.
pub(crate) const SHIM: &str = env!("CARGO_BIN_EXE_lab-shim");

/// A folder with a state folder in it.
pub(crate) struct Desk(tempfile::TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program with these arguments, not yet begun; nobody is there to answer it.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(LOCKSTEP);
        command
            .args(["--state", "state"])
            .args(args)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .env_remove("LOCKSTEP_CLUSTER")
            .env_remove("LOCKSTEP_STATE");
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// What the program printed as JSON.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(args).exits(0)).unwrap()
    }

    /// Runs a playbook of this text on a simulated cluster.
    pub(crate) fn play(&self, text: &str) -> Ran {
        write(&self.path("site.lua"), text);
        self.run(&["run", "site.lua", "--cluster", "twin:2"])
    }
}
