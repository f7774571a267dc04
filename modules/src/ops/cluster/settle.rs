//! `cluster.settle`: the end of a ring.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::job::{LONGEST, STOPPED, counted, states, unwell};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::contract::standing::Standing;

/// End a ring: continue if the runs of all these clusters are done, or if the operator agrees to leave the others behind.
///
/// Where nobody is there to be asked, the rollout holds here.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SettleArgs {
    /// The ring.
    ring: String,
    /// The clusters whose runs stopped before their end, as far as the playbook saw.
    clusters: Vec<Member>,
}

/// Who is left behind.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SettleOut {
    /// The clusters whose runs aren't done.
    left: Vec<Member>,
    /// Those whose runs are done by now.
    done: Vec<Member>,
    /// Those that were taken out of the rollout meanwhile.
    skipped: Vec<Member>,
}

/// `cluster.settle`
pub struct Settle;

impl Op for Settle {
    const NAME: &'static str = "cluster.settle";
    const EFFECT: Effect = Effect::Read;
    /// People sleep.
    const TIMEOUT: Span = LONGEST;
    type Args = SettleArgs;
    type Out = SettleOut;

    fn headline(args: &SettleArgs) -> String {
        args.ring.clone()
    }

    fn summary(out: &SettleOut) -> String {
        match out.left.len() {
            0 => "all done".to_owned(),
            n => format!("{n} left behind"),
        }
    }

    async fn run(cx: &Cx, args: SettleArgs) -> Result<SettleOut, OpError> {
        let states = states(cx, &args.clusters).await?;
        let (left, lines) = unwell(&states);
        let are = |wanted: Standing| {
            let are = states.iter().filter(|(_, job)| job.state == wanted);
            are.map(|(cluster, _)| cluster.clone()).collect()
        };
        let out = SettleOut {
            done: are(Standing::Done),
            skipped: are(Standing::Skipped),
            left,
        };
        if out.left.is_empty() {
            return Ok(out);
        }
        let ring = format!(" of ring {}", args.ring);
        let open = format!("{} not done:{lines}", counted(out.left.len(), &ring));
        let question = format!("{open}\nContinue without them?");
        match cx.ask_operator(&question).await {
            Some(true) => Ok(out),
            _ => Err(OpError::refused(open).with(STOPPED, json!(out.left))),
        }
    }
}
