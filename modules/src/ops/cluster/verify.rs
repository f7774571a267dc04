//! `cluster.verify`: a cluster, some time after its run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::{Ask, asked};
use super::look::Look;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};

/// Look at a cluster: its members are in step and all components are healthy. It is what `lockstep status` looks at.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerifyArgs {
    /// The cluster.
    member: Member,
}

/// The cluster is well.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct VerifyOut {}

pub(crate) struct Verify;

impl Op for Verify {
    const NAME: &'static str = "cluster.verify";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(300);
    type Args = VerifyArgs;
    type Out = VerifyOut;

    fn summary(_: &VerifyOut) -> String {
        "in step and healthy".to_owned()
    }

    async fn run(cx: &Cx, args: VerifyArgs) -> Result<VerifyOut, OpError> {
        let look: Look = asked(cx, &args.member, Ask::Look).await?;
        if look.wrong.is_empty() {
            return Ok(VerifyOut {});
        }
        Err(OpError::refused(look.wrong.join("; ")).on(&args.member))
    }
}
