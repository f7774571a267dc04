//! Tests of lockstep as a whole.

mod cli;
mod crash;
mod engine;
mod evacuate;
mod generated;
mod ssh;
mod tidy;
mod update;
