//! What can be done to a MicroCloud cluster.
//!
//! | wing | what |
//! |---|---|
//! | [`contract`] | what an op, a command, an argument, and a way to reach members are |
//! | [`products`] | what the products' programs print, as types; nothing of ops |
//! | [`ops`] | the native modules, each with its ops |
//! | [`transport`] | the ways to reach members: over SSH, and on this machine |
//! | [`program`] | modules that are a site's own programs |
//!
//! Nothing here knows Lua, the journal, or the terminal.

pub mod contract;
pub mod ops;
pub mod products;
pub mod program;
pub mod transport;

pub use ops::registry;
