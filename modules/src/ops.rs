//! The native modules: what lockstep itself can do to a cluster.

pub mod backup;
pub mod cluster;
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

use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::Registry;
use crate::contract::schema::Member;

/// The components that the others have to spare before a refresh stops them on a member.
struct Gated;

impl snap::Spares for Gated {
    async fn against(
        cx: &Cx,
        snap: &str,
        member: &Member,
        downtime: bool,
    ) -> Option<Result<Vec<String>, OpError>> {
        match snap {
            "microceph" => Some(microceph::against(cx, member, downtime).await),
            "microovn" => Some(microovn::against(cx, member, downtime).await),
            _ => None,
        }
    }
}

/// All modules of lockstep itself. A new module is one line here.
#[must_use]
pub fn registry() -> Registry {
    Registry::new([
        snap::module::<Gated>(),
        microceph::module(),
        microovn::module(),
        lxd::module(),
        microcloud::module(),
        status::module(),
        preflight::module(),
        lock::module(),
        backup::module(),
        exec::module(),
        cluster::module(),
        time::module(),
        confirm::module(),
    ])
}
