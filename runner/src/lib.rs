//! lockstep: the runner.

pub mod call;
pub mod clock;
pub mod engine;
pub mod event;
pub mod failure;
pub mod journal;
pub mod script;
