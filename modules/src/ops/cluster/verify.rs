//! `cluster.verify`: a cluster, some time after its run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::{Ask, run_of};
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

/// How a cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is wrong with it; nothing where it is in step and healthy.
    pub wrong: Vec<String>,
}

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
        let cluster = args.member;
        let left = cx
            .deadline()
            .saturating_duration_since(tokio::time::Instant::now());
        let cmd = Ask::Verify.cmd(&run_of(cx, &cluster)).timeout(left);
        let health: Health = cx.cmd(&cluster, &cmd).await?.json(&cmd, &cluster)?;
        if health.wrong.is_empty() {
            return Ok(VerifyOut {});
        }
        Err(OpError::refused(health.wrong.join("; ")).on(&cluster))
    }
}
