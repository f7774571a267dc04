//! What LXD keeps that a newer release may not take: pools by driver, buckets, TPMs.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::Cmd;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;

const TIMEOUT: Duration = Duration::from_secs(60);

/// A storage bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Bucket {
    /// Its name.
    pub name: String,
    /// The pool that it is in.
    pub pool: String,
}

/// The buckets in pools that aren't Ceph's own object storage: what LXD from 6.8 on looks for before it starts
/// (`lxd/db/cluster/open.go`, `checkNoLocalStorageBuckets`).
pub(crate) async fn local_buckets(cx: &Cx) -> Result<Vec<Bucket>, OpError> {
    #[derive(Deserialize)]
    struct Answer {
        rows: Vec<(String, String)>,
    }
    let sql = "SELECT sb.name, sp.name FROM storage_buckets AS sb JOIN storage_pools AS sp ON sb.storage_pool_id = sp.id \
               WHERE sp.driver != 'cephobject'";
    let cmd = Cmd::root(["/snap/bin/lxd", "sql", "global", "--format=json", sql]).timeout(TIMEOUT);
    let (_, answer): (_, Answer) = cx.ask_json(&cx.members(), &cmd).await?;
    let bucket = |(name, pool)| Bucket { name, pool };
    Ok(answer.rows.into_iter().map(bucket).collect())
}

/// The instances that have a TPM, from a profile too, with their projects.
pub(crate) async fn with_tpm(cx: &Cx) -> Result<Vec<String>, OpError> {
    let all = super::detail::instances(cx).await?.into_iter();
    let has = |instance: &super::detail::Detailed| {
        let mut devices = instance.expanded_devices.values();
        devices.any(|d| d.get("type").is_some_and(|kind| kind == "tpm"))
    };
    let with = all.filter(has);
    Ok(with
        .map(|i| super::detail::title(&i.project, &i.name))
        .collect())
}
