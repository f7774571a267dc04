//! What can be done to a MicroCloud cluster.
//!
//! The contract ([`op`], [`cx`], [`cmd`], [`schema`]), the ways to reach members ([`transport`]), and the native
//! modules. Nothing here knows Lua, the journal or the terminal.

pub mod cluster;
pub mod cmd;
pub mod cx;
pub mod error;
pub mod op;
pub mod schema;
pub mod transport;
