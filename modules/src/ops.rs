//! The native modules: what lockstep itself can do to a cluster.

pub mod backup;
pub mod confirm;
pub mod exec;
pub mod lock;
pub mod lxd;
pub mod microceph;
pub mod microcloud;
pub mod microovn;
pub mod preflight;
pub mod snap;
pub mod status;
pub mod time;

use crate::contract::op::Registry;

/// All modules of lockstep itself. A new module is one line here.
#[must_use]
pub fn registry() -> Registry {
    Registry::new([
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
