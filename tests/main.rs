//! Tests of lockstep as a whole.

mod check;
mod cli;
mod commands;
mod crash;
mod desk;
mod docs;
mod engine;
mod errors;
mod evacuate;
mod gates;
mod generated;
mod holds;
mod laws;
mod live;
mod modules;
mod network;
mod package;
mod plan;
mod preflight;
mod safety;
mod ssh;
mod storage;
mod tidy;
mod update;
