//! A site's own lockstep: all of it, and one module more.

mod lb;

use std::process::ExitCode;

fn main() -> ExitCode {
    lockstep::main(&lockstep_modules::registry().with([lb::module()]))
}
