//! The products: what their programs and their interfaces say, as types.
//!
//! Everything here reads text that some version of a product printed, and says what it means. It knows nothing of ops.

pub mod ceph;
pub mod microcluster;
pub mod raft;
pub mod snapd;
pub mod versions;
