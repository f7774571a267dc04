//! Tests of lockstep as a whole.

mod check;
mod cli;
mod crash;
mod desk;
mod engine;
mod evacuate;
mod gates;
mod generated;
mod holds;
mod laws;
mod live;
mod network;
mod plan;
mod preflight;
mod safety;
mod secrets;
mod ssh;
mod storage;
mod tidy;
mod update;
