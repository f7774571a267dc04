//! Tests of lockstep as a whole.

mod check;
mod cli;
mod commands;
mod completions;
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
mod site;
mod ssh;
mod storage;
mod tidy;
mod update;
