//! `cluster.state`: how a cluster's run stands, without touching it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::state;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::Member;
use crate::contract::standing::Standing;

/// Look how a cluster's run stands. Nothing is begun by it, and the cluster isn't asked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct StateArgs {
    /// The cluster.
    member: Member,
}

/// How the run stands.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StateOut {
    /// Where it stands.
    outcome: Standing,
    /// Why it isn't done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub(crate) struct State;

impl Op for State {
    const NAME: &'static str = "cluster.state";
    const EFFECT: Effect = Effect::Read;
    type Args = StateArgs;
    type Out = StateOut;

    fn summary(out: &StateOut) -> String {
        out.outcome.to_string()
    }

    async fn run(cx: &Cx, args: StateArgs) -> Result<StateOut, OpError> {
        let job = state(cx, &args.member).await?;
        Ok(StateOut {
            outcome: job.state,
            why: job.why,
        })
    }
}
