//! `cluster.budget`: whether a rollout may begin with more clusters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::job::{STOPPED, counted, states, unwell};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::Member;

/// Look again at clusters whose runs stopped before their end, and go on only if no more of them than the budget still are.
///
/// The rollout holds here otherwise. Whoever brings one of the runs to its end, or takes its cluster out of the rollout, makes
/// room; then the rollout continues.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BudgetArgs {
    /// The clusters.
    clusters: Vec<Member>,
    /// How many may be left as they are.
    budget: u32,
}

/// What is left.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BudgetOut {
    /// The clusters whose runs aren't done yet.
    left: Vec<Member>,
}

pub(crate) struct Budget;

impl Op for Budget {
    const NAME: &'static str = "cluster.budget";
    const EFFECT: Effect = Effect::Read;
    type Args = BudgetArgs;
    type Out = BudgetOut;

    fn headline(args: &BudgetArgs) -> String {
        format!("of {}", args.budget)
    }

    fn summary(out: &BudgetOut) -> String {
        format!("{} not done", out.left.len())
    }

    async fn run(cx: &Cx, args: BudgetArgs) -> Result<BudgetOut, OpError> {
        let states = states(cx, &args.clusters).await?;
        let (left, lines) = unwell(&states);
        if left.len() > args.budget as usize {
            let (count, budget) = (left.len(), args.budget);
            return Err(OpError::refused(format!(
                "{} not done, and the budget is {budget}:{lines}",
                counted(count, "")
            ))
            .with(STOPPED, json!(left)));
        }
        Ok(BudgetOut { left })
    }
}
