//! Tests of lockstep as a whole.

mod browser;
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
mod report;
mod safety;
mod ssh;
mod storage;
mod tidy;
mod update;
mod watch;
