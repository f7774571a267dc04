//! Whether the storage can do without a member right now.

use std::time::Duration;

use futures_util::future::join;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BaselineOut;
use super::look::{others_first, unanswered, with_place};
use crate::contract::cx::{Cx, Unmet};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::ops::snap::Spared;
use crate::products::ceph::{self, Details, Picture};
use crate::products::microcluster::MICROCEPH;
use crate::products::snapd::Presence;

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Wait until storage can spare a member: the gate before it is refreshed.
///
/// Without the member the monitors keep their majority, a manager and a metadata server stand by elsewhere where it has the
/// active one, and Ceph says that its OSDs can be stopped. Everything else is healthy: monitors, OSDs, placement groups,
/// no code against it. What is down on this very member doesn't count.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpareArgs {
    /// The member that is to be refreshed.
    pub(crate) member: Member,
    /// What `microceph.baseline` returned: codes that were raised then don't count.
    pub(crate) since: Option<BaselineOut>,
    /// Members that were refreshed before: their services have to run still.
    #[serde(default)]
    pub(crate) done: Vec<Member>,
    /// Storage may stop in the meantime: accept that the others can't do without the member.
    #[serde(default)]
    pub(crate) downtime: bool,
}

/// The storage can do without the member. The figures are from just before: what is seen after the refresh is held against
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SpareOut {
    /// Always true: a member that can't be spared is a failure.
    pub(crate) spared: bool,
    /// When that was seen.
    #[serde(default)]
    pub(crate) seen: Spared,
    /// The number of the OSDs' map.
    #[serde(default)]
    pub(crate) osdmap: u64,
    /// The number of the monitors' last election.
    #[serde(default)]
    pub(crate) election: u64,
}

pub(crate) struct Spare;

impl Op for Spare {
    const NAME: &'static str = "microceph.spare";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(5 * 60);
    type Args = SpareArgs;
    type Out = SpareOut;

    fn headline(_: &SpareArgs) -> String {
        "storage can spare it".to_owned()
    }

    fn summary(_: &SpareOut) -> String {
        "yes".to_owned()
    }

    async fn run(cx: &Cx, args: SpareArgs) -> Result<SpareOut, OpError> {
        cx.until(EVERY, async || {
            let (seen, watched) = join(
                look(cx, &args.member, args.since.as_ref(), args.downtime),
                Presence::look(cx, MICROCEPH.snap, &args.done),
            )
            .await;
            watched?;
            let (picture, against) = seen.map_err(|error| Unmet::of(error, unanswered))?;
            if against.is_empty() {
                return Ok(SpareOut {
                    spared: true,
                    seen: Spared { at: cx.now() },
                    osdmap: picture.dump.epoch,
                    election: picture.status.election_epoch,
                });
            }
            Err(Unmet::NotYet(with_place(
                &picture,
                Some(&args.member),
                &against,
            )))
        })
        .await
    }
}

/// What speaks against stopping Ceph on `member` right now; nothing if the storage can spare it.
/// Where nobody can be asked, or Ceph doesn't answer as expected, that is an error and no yes.
pub(crate) async fn against(
    cx: &Cx,
    member: &Member,
    downtime: bool,
) -> Result<Vec<String>, OpError> {
    Ok(look(cx, member, None, downtime).await?.1)
}

async fn look(
    cx: &Cx,
    member: &Member,
    since: Option<&BaselineOut>,
    downtime: bool,
) -> Result<(Picture, Vec<String>), OpError> {
    let known = since.and_then(|since| since.osds.get(member.as_str()));
    let details = Details {
        stopping: known.filter(|_| !downtime).cloned().unwrap_or_default(),
        ..Details::default()
    };
    let picture = Picture::detailed(cx, &others_first(cx, Some(member)), &details).await?;
    let mut against = picture.problems(since.map(|since| &since.codes), Some(member));
    if downtime || !against.is_empty() {
        return Ok((picture, against));
    }
    against.extend(picture.needs(member));
    let (ids, down) = picture.tree.of_host(member.as_str());
    let up: Vec<i64> = ids.into_iter().filter(|id| !down.contains(id)).collect();
    if !(picture.ok_to_stop && up.iter().all(|id| details.stopping.contains(id))) {
        against.extend(ceph::ok_to_stop(cx, &picture.asked, &up).await?);
    }
    Ok((picture, against))
}
