//! Tests of lockstep as a whole.

mod cli;
mod crash;
mod engine;
mod generated;
mod network;
mod ssh;
mod storage;
mod tidy;
mod update;
