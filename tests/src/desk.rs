//! A folder to work in, as an operator has one, and the program as it is typed there.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::lab::{Ran, write};

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
            .env_remove("LOCKSTEP_STATE");
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

    /// What the program printed as JSON.
    pub fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.run(args).exits(0)).unwrap()
    }

    /// Runs a playbook of this text on a simulated cluster.
    pub fn play(&self, text: &str) -> Ran {
        write(&self.path("site.lua"), text);
        self.run(&["run", "site.lua", "--cluster", "twin:2"])
    }
}
