//! How the storage is before a wave, and the order of its members.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::Member;
use crate::contract::text::joined;
use crate::products::ceph::{self, Aside, Picture};

/// Record how the storage is before a wave. What comes later is held against it.
///
/// Also reports where a wave needs downtime: fewer than three monitors, no second manager or metadata server,
/// pools that can't miss a member's OSDs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BaselineArgs {}

/// How the storage was before a wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BaselineOut {
    /// All monitors.
    pub(crate) mons: Vec<String>,
    /// Those in quorum.
    pub(crate) quorum: Vec<String>,
    /// The OSDs of each member.
    pub(crate) osds: BTreeMap<String, Vec<i64>>,
    /// Placement groups by state.
    pub(crate) pgs: BTreeMap<String, u64>,
    /// Health codes that are raised and not muted, with their counts.
    pub(crate) codes: BTreeMap<String, u64>,
    /// Flags of the whole cluster.
    pub(crate) flags: Vec<String>,
    /// Flags of single hosts.
    pub(crate) host_flags: BTreeMap<String, Vec<String>>,
    /// The release that OSDs have to run.
    pub(crate) require_osd_release: String,
    /// How many daemons run which release.
    pub(crate) versions: BTreeMap<String, u64>,
    /// Why storage stops while a member is away; empty if it needn't.
    pub(crate) downtime: Vec<String>,
}

pub(crate) struct Baseline;

impl Op for Baseline {
    const NAME: &'static str = "microceph.baseline";
    const EFFECT: Effect = Effect::Read;
    type Args = BaselineArgs;
    type Out = BaselineOut;

    fn summary(out: &BaselineOut) -> String {
        let osds: usize = out.osds.values().map(Vec::len).sum();
        let codes: Vec<&str> = out.codes.keys().map(String::as_str).collect();
        let codes = match codes.len() {
            0 => String::new(),
            1..=2 => format!("; {}", codes.join(", ")),
            many => format!("; {} and {} more codes", codes[0], many - 1),
        };
        format!(
            "{} monitors, {osds} OSDs, {}{codes}",
            out.mons.len(),
            joined(out.versions.keys(), " and ")
        )
    }

    async fn run(cx: &Cx, _: BaselineArgs) -> Result<BaselineOut, OpError> {
        let picture = Picture::take(cx, &cx.members()).await?;
        if let Some(why) = picture.status.silence() {
            return Err(OpError::command(why).on(&picture.asked));
        }
        let homeless = picture.tree.homeless();
        if !homeless.is_empty() {
            return Err(OpError::refused(format!(
                "{} are under no host in Ceph's map, so nobody can tell which member they stop with; see: sudo microceph.ceph osd tree",
                osd_names(&homeless)
            )));
        }
        Ok(BaselineOut {
            downtime: downtime(cx, &picture).await?,
            mons: picture.mons.names().map(str::to_owned).collect(),
            quorum: picture.status.figures().quorum,
            osds: picture.tree.by_host(),
            pgs: picture.status.pg_states(),
            codes: picture.status.codes(),
            flags: picture.dump.flags_set.clone(),
            host_flags: picture.dump.crush_node_flags.clone(),
            require_osd_release: picture.dump.require_osd_release,
            versions: picture.versions.releases(),
        })
    }
}

/// `osd.0, osd.3`
pub(super) fn osd_names(ids: &[i64]) -> String {
    joined(ids.iter().map(|id| format!("osd.{id}")), ", ")
}

/// Why storage stops while a member is away, where nothing else is wrong: what is wrong otherwise is for the gates.
async fn downtime(cx: &Cx, picture: &Picture) -> Result<Vec<String>, OpError> {
    let mut reasons = Vec::new();
    if !picture.status.problems(None, Aside::default()).is_empty() {
        return Ok(reasons);
    }
    let members = cx.members();
    let of_host = |member: &Member| picture.tree.of_host(member.as_str()).0;
    let osds: Vec<Vec<i64>> = members.iter().map(of_host).collect();
    let each = ceph::each_ok_to_stop(cx, &picture.asked, &osds).await?;
    for (member, ids) in members.iter().zip(&osds) {
        reasons.extend(picture.needs(member));
        if !each {
            reasons.extend(ceph::ok_to_stop(cx, &picture.asked, ids).await?);
        }
    }
    Ok(reasons)
}

/// Put members into the order of a wave: hosts of monitors first, the active manager's last among them, then the rest.
///
/// All monitors have a release before daemons that depend on them, and there is one change of managers only.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OrderArgs {
    /// The members of the wave, in the cluster's order.
    pub(crate) members: Vec<Member>,
}

/// The order of a wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OrderOut {
    /// The members, the first to be refreshed first.
    pub(crate) members: Vec<Member>,
}

pub(crate) struct Order;

impl Op for Order {
    const NAME: &'static str = "microceph.order";
    const EFFECT: Effect = Effect::Read;
    type Args = OrderArgs;
    type Out = OrderOut;

    fn summary(out: &OrderOut) -> String {
        joined(&out.members, ", ")
    }

    async fn run(cx: &Cx, args: OrderArgs) -> Result<OrderOut, OpError> {
        let picture = Picture::take(cx, &cx.members()).await?;
        let mut members = args.members;
        members.sort_by_key(|member| {
            let has_mon = picture.mons.names().any(|name| name == member.as_str());
            (
                !has_mon,
                has_mon && picture.mgr.active_name == member.as_str(),
            )
        });
        Ok(OrderOut { members })
    }
}
