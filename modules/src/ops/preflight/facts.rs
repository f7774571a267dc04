//! What hazards depend on beside versions, asked of the products where a hazard wants to know it, and only there.

use std::collections::BTreeSet;
use std::future::Future;

use super::tables::rows::Hazard;
use super::version::Version;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;
use crate::ops::lxd::{self, Bucket, StoragePool};
use crate::products::ceph::{self, Status, Versions};

/// What was asked for, each with why there was no answer.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) pools: Option<Result<Vec<StoragePool>, String>>,
    pub(super) buckets: Option<Result<Vec<Bucket>, String>>,
    pub(super) tpm: Option<Result<Vec<String>, String>>,
    pub(super) modules: Option<Result<BTreeSet<String>, String>>,
    pub(super) codes: Option<Result<BTreeSet<String>, String>>,
}

impl Facts {
    /// Asks for what these hazards depend on.
    pub(super) async fn ask(cx: &Cx, hazards: &[&Hazard]) -> Self {
        let any = |wants: fn(&Hazard) -> bool| hazards.iter().any(|h| wants(h));
        Self {
            pools: answer(any(|h| !h.pools.is_empty()), lxd::pools(cx)).await,
            buckets: answer(any(|h| h.buckets), lxd::local_buckets(cx)).await,
            tpm: answer(any(|h| h.tpm), lxd::with_tpm(cx)).await,
            modules: answer(any(|h| !h.modules.is_empty()), ceph::manager_modules(cx)).await,
            codes: answer(any(|h| !h.codes.is_empty()), codes(cx)).await,
        }
    }
}

async fn answer<T>(
    wanted: bool,
    ask: impl Future<Output = Result<T, OpError>>,
) -> Option<Result<T, String>> {
    if !wanted {
        return None;
    }
    Some(ask.await.map_err(|error| error.to_string()))
}

async fn codes(cx: &Cx) -> Result<BTreeSet<String>, OpError> {
    let (_, status): (_, Status) = ceph::ask(cx, &cx.members(), &["-s"]).await?;
    Ok(status
        .raised()
        .into_iter()
        .map(|check| check.code)
        .collect())
}

/// The version that all of Ceph's daemons run, for a snap whose own version doesn't tell.
pub(super) async fn ceph_version(cx: &Cx, members: &[Member]) -> Result<Version, String> {
    let versions = ceph::ask::<Versions>(cx, members, &["versions"]).await;
    let (_, versions) = versions.map_err(|e| e.to_string())?;
    let one = versions.one().map(|release| release.to_string());
    one.as_deref()
        .and_then(Version::parse)
        .ok_or_else(|| "Ceph's daemons don't all run one version".to_owned())
}
