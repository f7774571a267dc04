//! `cluster.state` and `cluster.window`: how a cluster's run stands, and whether it may begin, without touching it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::state;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::contract::standing::Standing;
use crate::ops::time::{self, Hours};

/// Look how a cluster's run stands. Nothing is begun by it, and the cluster isn't asked.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StateArgs {
    /// The cluster.
    member: Member,
    /// The window in which the run may begin. Without one it always may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<Hours>,
}

/// How the run stands.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct StateOut {
    /// Where it stands.
    outcome: Standing,
    /// Whether its window is open now.
    open: bool,
    /// Why it isn't done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// `cluster.state`
pub struct State;

impl Op for State {
    const NAME: &'static str = "cluster.state";
    const EFFECT: Effect = Effect::Read;
    type Args = StateArgs;
    type Out = StateOut;

    fn check(args: &StateArgs) -> Result<(), String> {
        args.window.as_ref().map_or(Ok(()), Hours::accepted)
    }

    fn summary(out: &StateOut) -> String {
        out.outcome.to_string()
    }

    async fn run(cx: &Cx, args: StateArgs) -> Result<StateOut, OpError> {
        let open = match &args.window {
            Some(window) => window.is_open(cx.now()).map_err(OpError::refused)?,
            None => true,
        };
        let job = state(cx, &args.member).await?;
        Ok(StateOut {
            outcome: job.state,
            open,
            why: job.why,
        })
    }
}

/// Wait until a cluster's window is open, or until its run needs none any more because somebody began it, or took the cluster out of
/// the rollout.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowArgs {
    /// The cluster.
    member: Member,
    /// The window.
    window: Hours,
}

/// `cluster.window`
pub struct Window;

/// How often it is asked whether the run still has to wait.
const PACE: Duration = Duration::from_secs(1800);

impl Op for Window {
    const NAME: &'static str = "cluster.window";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = time::Window::TIMEOUT;
    type Args = WindowArgs;
    type Out = StateOut;

    fn check(args: &WindowArgs) -> Result<(), String> {
        args.window.accepted()
    }

    fn headline(args: &WindowArgs) -> String {
        time::Window::headline(&args.window)
    }

    fn summary(out: &StateOut) -> String {
        State::summary(out)
    }

    async fn run(cx: &Cx, args: WindowArgs) -> Result<StateOut, OpError> {
        loop {
            let job = state(cx, &args.member).await?;
            let next = args.window.opens(cx.now()).map_err(OpError::refused)?;
            let left = next.duration_since(cx.now());
            let open = !left.is_positive();
            if open || job.state != Standing::DidNotBegin {
                return Ok(StateOut {
                    outcome: job.state,
                    open,
                    why: job.why,
                });
            }
            cx.progress(0, None, format!("opens at {next:.0}"));
            cx.waits(next);
            tokio::time::sleep(left.unsigned_abs().min(PACE)).await;
        }
    }
}
