//! `cluster.plan`: what the rollout's playbook would do on a cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::{Ask, asked};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};

/// Plan the rollout's playbook on a simulated cluster that is like this one.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlanArgs {
    /// The cluster.
    member: Member,
}

/// What is known of a cluster's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Planned {
    /// Its digest: plans that differ only in names have the same. It is what `lockstep fleet approve` takes.
    pub digest: String,
    /// How many steps would change something.
    pub changes: usize,
    /// Whether the plan is known up to the playbook's end.
    pub whole: bool,
}

pub(crate) struct Plan;

impl Op for Plan {
    const NAME: &'static str = "cluster.plan";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(300);
    type Args = PlanArgs;
    type Out = Planned;

    fn summary(out: &Planned) -> String {
        let changes = match out.changes {
            1 => "1 change".to_owned(),
            n => format!("{n} changes"),
        };
        match out.whole {
            true => changes,
            false => format!("{changes}, and what then is not known"),
        }
    }

    async fn run(cx: &Cx, args: PlanArgs) -> Result<Planned, OpError> {
        asked(cx, &args.member, Ask::Plan).await
    }
}
