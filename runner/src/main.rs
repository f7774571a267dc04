//! The `lockstep` command, with the modules that come with it.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockstep::main(&lockstep_modules::registry())
}
