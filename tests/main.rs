//! Tests of lockstep as a whole.

mod cli;
mod crash;
mod engine;
mod evacuate;
mod generated;
mod preflight;
mod safety;
mod ssh;
mod tidy;
mod update;
