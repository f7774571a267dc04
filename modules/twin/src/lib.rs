//! The twin: a simulated MicroCloud cluster.
//!
//! A world is plain data and a list of things that are due at virtual times. It answers the commands that modules use, as
//! the products' sources and captured transcripts have them; it knows nothing of the modules. It outlives whoever talks
//! to it: a refresh that was begun goes on while nobody looks.
//!
//! Where the twin and a real cluster differ, the twin is wrong.

mod broken;
mod ceph;
mod dialects;
mod dumps;
mod faults;
mod files;
mod fleet;
mod host;
mod lxd;
mod machine;
mod microcluster;
mod ovn;
mod product;
mod products;
mod programs;
mod rules;
mod scenario;
mod snapd;
mod store;
mod table;
#[cfg(test)]
mod transcript;
mod transport;
mod world;

pub use broken::Broken;
pub use dialects::{Row, TABLE as DIALECTS, Trait};
pub use faults::{Arg, Fault, FaultKind, KINDS, SEVERITIES, Trouble, When};
pub use files::Node;
pub use fleet::{Course, Happened, Mishap, Moment, SimulatedFleet};
pub use lxd::Instance;
pub use scenario::{Scenario, Set, Snap};
pub use store::Release;
pub use transport::Twin;
pub use world::{Entry, Strangers, World};
