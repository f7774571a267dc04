//! lockstep itself. Cargo tells tests the path of their own package's programs only.

use std::process::ExitCode;

fn main() -> ExitCode {
    lockstep::cli::main(&lockstep_modules::registry())
}
