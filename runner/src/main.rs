//! The `lockstep` command, with the modules that come with it.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// Simulated clusters are made of many small texts: with it a plan takes a sixth less.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    lockstep::main(&lockstep_modules::registry())
}
