//! The program, as it is built: what it prints, asks, writes and takes. No root, no network.

mod cli;
mod commands;
mod completions;
mod damage;
mod docs;
mod errors;
mod executors;
mod exits;
mod extend;
mod fleet;
mod formats;
mod generated;
mod kubernetes;
mod licences;
mod live;
mod modules;
mod op;
mod plan;
mod report;
mod secrets;
mod site;
mod structure;
mod tidy;
mod trust;
mod watch;
