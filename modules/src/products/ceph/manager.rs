//! The modules of Ceph's manager.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::ask;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;

/// The modules of the manager that are switched on, beside those that always are (`ceph mgr module ls`,
/// `mon/MgrMonitor.cc`).
pub(crate) async fn manager_modules(cx: &Cx) -> Result<BTreeSet<String>, OpError> {
    #[derive(Deserialize)]
    struct Modules {
        enabled_modules: BTreeSet<String>,
    }
    let (_, modules): (_, Modules) = ask(cx, &cx.members(), &["mgr", "module", "ls"]).await?;
    Ok(modules.enabled_modules)
}
