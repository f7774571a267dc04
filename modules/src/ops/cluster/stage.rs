//! `cluster.stage`: a cluster's snaps, ahead of its run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::{Ask, asked};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};

/// Fetch the snaps that the cluster's run would install onto each of its members, as `lockstep stage` does.
///
/// Nothing is installed by it and no service stops, so it needn't wait for the cluster's window.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StageArgs {
    /// The cluster.
    member: Member,
}

/// The snaps are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Staged {}

pub(crate) struct Stage;

impl Op for Stage {
    const NAME: &'static str = "cluster.stage";
    const EFFECT: Effect = Effect::Converge;
    const TIMEOUT: Span = Span::secs(4 * 3600);
    type Args = StageArgs;
    type Out = Staged;

    fn summary(_: &Staged) -> String {
        "all there".to_owned()
    }

    async fn run(cx: &Cx, args: StageArgs) -> Result<Staged, OpError> {
        asked(cx, &args.member, Ask::Stage).await
    }
}
