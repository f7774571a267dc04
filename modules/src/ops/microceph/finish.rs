//! The end of a wave.

use std::time::Duration;

use futures_util::future::join;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::BaselineOut;
use super::wait::{EVERY, samples, whole};
use crate::contract::cmd::Cmd;
use crate::contract::cx::{Cx, Look, Unmet};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::contract::text::joined;
use crate::products::ceph::{Details, OsdDump, Release};
use crate::products::microcluster::{self, MICROCEPH};

/// MicroCeph requires the release of all OSDs by itself, within 10 s + 10 × 10 s of its daemon's start (`ceph/start.go`),
/// and never if that wasn't long enough.
const BY_ITSELF: Duration = Duration::from_secs(180);

/// Wait until storage has finished a wave: everything healthy, MicroCeph online on every member, all daemons of one
/// release, and that release required of OSDs.
///
/// MicroCeph requires it by itself; where it has not after three minutes, this does, without the option that would skip
/// Ceph's own check. Flags of members have to be as they were before.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FinishArgs {
    /// What `microceph.baseline` returned before the wave.
    pub(crate) since: BaselineOut,
    /// Members that were refreshed: their services have to run still.
    #[serde(default)]
    pub(crate) done: Vec<Member>,
    /// Good looks in a row, 5 s apart.
    #[serde(default = "samples")]
    pub(crate) samples: u32,
}

/// How the storage is after a wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct FinishOut {
    /// The release that all daemons run, for example `19.2.3 squid`.
    pub(crate) release: String,
    /// The release that OSDs have to run.
    pub(crate) require_osd_release: String,
    /// Flags of the whole cluster that others have set or cleared in the meantime.
    pub(crate) flags_changed: Vec<String>,
}

pub(crate) struct Finish;

impl Op for Finish {
    const NAME: &'static str = "microceph.finish";
    const EFFECT: Effect = Effect::Converge;
    const TIMEOUT: Span = Span::secs(15 * 60);
    type Args = FinishArgs;
    type Out = FinishOut;

    fn headline(_: &FinishArgs) -> String {
        "storage has finished with it".to_owned()
    }

    fn summary(out: &FinishOut) -> String {
        let flags = if out.flags_changed.is_empty() {
            String::new()
        } else {
            format!(
                "; flags changed by others: {}",
                out.flags_changed.join(", ")
            )
        };
        format!(
            "all daemons run {}, OSDs need {}{flags}",
            out.release, out.require_osd_release
        )
    }

    async fn run(cx: &Cx, args: FinishArgs) -> Result<FinishOut, OpError> {
        let began = Instant::now();
        cx.steady(
            args.samples,
            EVERY,
            |_| (),
            async || look(cx, &args, began).await,
        )
        .await
    }
}

async fn look(cx: &Cx, args: &FinishArgs, began: Instant) -> Look<FinishOut> {
    let since = &args.since;
    let (picture, online) = join(
        whole(cx, None, Some(since), &Details::default()),
        microcluster::look_everywhere(cx, MICROCEPH, &args.done),
    )
    .await;
    let (picture, _) = (picture?, online?);
    let Some(release) = picture.versions.one() else {
        let several = picture.versions.releases().into_iter();
        let several = several.map(|(release, count)| format!("{count} run {release}"));
        return Err(Unmet::NotYet(format!(
            "not all daemons run the same release: {}; for more: sudo microceph.ceph versions",
            joined(several, ", ")
        )));
    };
    let (asked, dump) = (picture.asked, picture.dump);
    if dump.require_osd_release != release.name {
        if began.elapsed() > BY_ITSELF {
            require(cx, &asked, &release).await?;
        }
        return Err(Unmet::NotYet(format!(
            "OSDs are required to run {}, but not yet {}",
            dump.require_osd_release, release.name
        )));
    }
    if let Some(left) = left_on(since, &dump) {
        return Err(Unmet::NotYet(left));
    }
    Ok(FinishOut {
        release: release.to_string(),
        flags_changed: changed(&since.flags, &dump.flags_set),
        require_osd_release: dump.require_osd_release,
    })
}

/// Ceph refuses where an OSD that is up doesn't have the release; the option to skip that could lock one out.
async fn require(cx: &Cx, asked: &Member, release: &Release) -> Result<(), OpError> {
    let cmd = Cmd::root([
        "/snap/bin/microceph.ceph",
        "--connect-timeout",
        "15",
        "osd",
        "require-osd-release",
        &release.name,
    ]);
    cx.cmd(asked, &cmd).await?.text(&cmd, asked).map(drop)
}

/// `noout` of a member that wasn't set before.
fn left_on(since: &BaselineOut, dump: &OsdDump) -> Option<String> {
    let had = |host: &String| {
        since
            .host_flags
            .get(host)
            .is_some_and(|flags| flags.iter().any(|flag| flag == "noout"))
    };
    let left = dump
        .crush_node_flags
        .iter()
        .find(|(host, flags)| flags.iter().any(|flag| flag == "noout") && !had(host));
    left.map(|(host, _)| format!("noout is still set for {host}, and was not before; clear it with: sudo microceph.ceph osd unset-group noout {host}"))
}

fn changed(before: &[String], now: &[String]) -> Vec<String> {
    let set = now
        .iter()
        .filter(|flag| !before.contains(flag))
        .map(|flag| format!("{flag} set"));
    let cleared = before
        .iter()
        .filter(|flag| !now.contains(flag))
        .map(|flag| format!("{flag} cleared"));
    set.chain(cleared).collect()
}
