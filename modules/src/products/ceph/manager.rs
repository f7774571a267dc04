//! The modules of Ceph's manager.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::command;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;

/// The modules of the manager that are switched on, beside those that always are (`ceph mgr module ls`,
/// `mon/MgrMonitor.cc`).
///
/// # Errors
/// Where no member answers, or not with such a list.
pub async fn manager_modules(cx: &Cx) -> Result<BTreeSet<String>, OpError> {
    #[derive(Deserialize)]
    struct Modules {
        enabled_modules: BTreeSet<String>,
    }
    let cmd = command(&["mgr", "module", "ls"]);
    let (asked, output) = cx.ask(&cx.members(), &cmd).await?;
    let modules: Modules = output.json(&cmd, &asked)?;
    Ok(modules.enabled_modules)
}
