//! lockstep: the runner.

pub mod call;
pub mod failure;
pub mod script;
