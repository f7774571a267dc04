//! The order of a wave's members.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Picture;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::Member;
use crate::contract::text::joined;

/// Put members into the order of a wave: those that run no database first, and those that lead one last.
///
/// That is upstream's order of a rolling upgrade: `ovn-controller` everywhere before the databases (`ovn-upgrades.rst`).
///
/// A server that stops hands its leadership to nobody, and the database has no leader until an election: with leaders last
/// there is one election for each database. Also reports where a wave needs downtime: fewer than three servers.
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
    /// Those that run the databases.
    pub(crate) central: Vec<Member>,
    /// Those that lead one.
    pub(crate) leaders: Vec<Member>,
    /// Why the databases stop while a member is away; empty if they needn't.
    pub(crate) downtime: Vec<String>,
}

pub(crate) struct Order;

impl Op for Order {
    const NAME: &'static str = "microovn.order";
    const EFFECT: Effect = Effect::Read;
    type Args = OrderArgs;
    type Out = OrderOut;

    fn summary(out: &OrderOut) -> String {
        joined(&out.members, ", ")
    }

    async fn run(cx: &Cx, args: OrderArgs) -> Result<OrderOut, OpError> {
        let picture = Picture::clear(cx).await?;
        let (central, leaders) = (picture.central(), picture.leaders());
        let mut members = args.members;
        members.sort_by_key(|m| (leaders.contains(m), central.contains(m)));
        let downtime = picture.databases().filter_map(|(database, views)| {
            let servers = views
                .iter()
                .map(|(_, view)| view.servers.len())
                .max()
                .unwrap_or(0);
            (1..3).contains(&servers).then(|| {
                format!(
                    "{} has {servers} of the three servers that it takes to do without one",
                    database.title
                )
            })
        });
        Ok(OrderOut {
            downtime: downtime.collect(),
            members,
            central,
            leaders,
        })
    }
}
