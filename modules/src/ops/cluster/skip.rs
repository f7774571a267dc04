//! `cluster.skip`: a cluster out of its rollout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::{Ask, asked};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::Member;

/// Take a cluster out of the rollout, as `lockstep fleet skip` does. A run that is under way goes on.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SkipArgs {
    /// The cluster.
    member: Member,
    /// Why; it is kept with the rollout.
    why: String,
}

/// The cluster is out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Skipped {}

pub(crate) struct Skip;

impl Op for Skip {
    const NAME: &'static str = "cluster.skip";
    const EFFECT: Effect = Effect::Converge;
    type Args = SkipArgs;
    type Out = Skipped;

    fn check(args: &SkipArgs) -> Result<(), String> {
        match args.why.trim() {
            "" => Err("why: the reason is missing".to_owned()),
            _ => Ok(()),
        }
    }

    fn summary(_: &Skipped) -> String {
        "out of the rollout".to_owned()
    }

    async fn run(cx: &Cx, args: SkipArgs) -> Result<Skipped, OpError> {
        asked(cx, &args.member, Ask::Skip(&args.why)).await
    }
}
