//! The contract: what a module is made of, and what it works with.
//!
//! It knows neither a product nor a way to reach members.

pub mod claim;
pub mod cluster;
pub mod cmd;
pub mod component;
pub mod contact;
pub mod cx;
pub mod error;
pub mod near;
pub mod op;
pub mod path;
pub mod reach;
pub mod run;
pub mod schema;
pub mod standing;
pub mod text;
