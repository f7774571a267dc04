//! Tests of lockstep as a whole.

mod crash;
mod engine;
mod ssh;
mod update;
