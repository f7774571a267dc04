//! The ways to reach members that [`Transport`](crate::contract::reach::Transport) is implemented for.

pub mod connect;
pub mod local;
mod reason;
mod shells;
mod sockets;
pub mod ssh;
mod tail;
pub mod wire;
