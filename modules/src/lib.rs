//! What can be done to a MicroCloud cluster.
//!
//! The contract ([`op`], [`cx`], [`cmd`], [`schema`]), the ways to reach members ([`transport`]), the native modules, and
//! what they know of the products. Nothing here knows Lua, the journal or the terminal.

pub mod backup;
pub mod ceph;
pub mod cluster;
pub mod cmd;
pub mod confirm;
pub mod cx;
pub mod error;
pub mod exec;
pub mod lock;
pub mod lxd;
pub mod microceph;
pub mod microcloud;
pub mod microcluster;
pub mod microovn;
pub mod op;
pub mod preflight;
pub mod program;
pub mod raft;
pub mod schema;
pub mod snap;
pub mod snapd;
pub mod status;
pub mod time;
pub mod transport;
pub mod versions;

/// All modules of lockstep itself. A new module is one line here.
#[must_use]
pub fn registry() -> op::Registry {
    op::Registry::new([
        snap::module(),
        microceph::module(),
        microovn::module(),
        lxd::module(),
        microcloud::module(),
        status::module(),
        preflight::module(),
        lock::module(),
        backup::module(),
        exec::module(),
        time::module(),
        confirm::module(),
    ])
}
