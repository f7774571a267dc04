//! `cluster.look`: what runs on a cluster, and how it is.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::{Ask, asked};
use crate::contract::component::Component;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};

/// Look at a cluster, as `lockstep status` does. What is wrong with it is a result and no failure.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LookArgs {
    /// The cluster.
    member: Member,
}

/// A cluster as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Look {
    /// What is wrong with it, in sentences; empty where it is in step and healthy.
    pub wrong: Vec<String>,
    /// What its members run of each component, as `REVISION CHANNEL`: one entry where they are in step.
    pub components: BTreeMap<Component, Vec<String>>,
}

pub(crate) struct Read;

impl Op for Read {
    const NAME: &'static str = "cluster.look";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(300);
    type Args = LookArgs;
    type Out = Look;

    fn summary(out: &Look) -> String {
        match out.wrong.as_slice() {
            [] => "in step and healthy".to_owned(),
            wrong => wrong.join("; "),
        }
    }

    async fn run(cx: &Cx, args: LookArgs) -> Result<Look, OpError> {
        asked(cx, &args.member, Ask::Look).await
    }
}
