//! lockstep: how a playbook is run, journaled, resumed and shown.
//!
//! `ARCHITECTURE.md` at the top of the repository is the map.

pub mod account;
mod bounds;
pub mod bundle;
mod call;
pub mod check;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod event;
pub mod failure;
pub mod fleet;
pub mod foreseen;
pub mod generate;
pub mod journal;
mod metrics;
mod notify;
pub mod plan;
mod private;
pub mod programs;
pub mod report;
pub mod runs;
pub mod script;
pub mod secret;
pub mod session;
mod source;
pub mod store;
pub mod target;
pub mod trial;
mod trust;
mod window;

pub use cli::main;
