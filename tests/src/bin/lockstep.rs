//! lockstep itself. Cargo tells tests the path of their own package's programs only.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Members of the SSH lab may be as fast as the world behind them.
    let pace = std::env::var("LOCKSTEP_LAB_PACE").ok();
    let pace = pace.and_then(|pace| pace.parse().ok());
    lockstep::cli::main_at(&lockstep_modules::registry(), pace)
}
