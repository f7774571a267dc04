//! `cluster.run`: a cluster's own run.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::job::{Ask, Job, LONGEST, asked, state};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op, Probe};
use crate::contract::schema::{Member, Span};
use crate::contract::standing::Standing;
use crate::ops::time::Hours;

/// Run the rollout's playbook on a cluster, and wait until that run stops.
///
/// The run belongs to the cluster and goes on whatever becomes of the rollout; it is begun once, by its name. A run that was
/// held, refused, aborted or failed is a result: `outcome` says so, and `why`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunArgs {
    /// The cluster.
    member: Member,
    /// The window in which the run may begin. Where it is shut by now, nothing is begun, and the outcome is "did not begin".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<Hours>,
    /// Why the run may not begin. Then nothing is begun, and the outcome is "refused".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    barred: Option<String>,
}

/// How the cluster's run stopped.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct RunOut {
    /// Where it stands.
    outcome: Standing,
    /// Its name.
    run: String,
    /// Why it isn't done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// For how many seconds it was waited for; 0 where that isn't known.
    seconds: u64,
}

/// `cluster.run`
pub struct Run;

impl Op for Run {
    const NAME: &'static str = "cluster.run";
    const EFFECT: Effect = Effect::Once;
    const TIMEOUT: Span = LONGEST;
    type Args = RunArgs;
    type Out = RunOut;

    fn check(args: &RunArgs) -> Result<(), String> {
        args.window.as_ref().map_or(Ok(()), Hours::accepted)
    }

    fn summary(out: &RunOut) -> String {
        out.outcome.to_string()
    }

    async fn run(cx: &Cx, args: RunArgs) -> Result<RunOut, OpError> {
        let cluster = args.member;
        let began = cx.now();
        if let Some(why) = &args.barred {
            let job: Job = asked(cx, &cluster, Ask::Bar(why)).await?;
            if job.state.has_stopped() {
                return Ok(RunOut::of(job, Duration::ZERO));
            }
        }
        if let Some(window) = &args.window {
            let open = window.is_open(began).map_err(OpError::refused)?;
            let job = state(cx, &cluster).await?;
            if !open && job.state == Standing::DidNotBegin {
                return Ok(RunOut::of(job, Duration::ZERO));
            }
        }
        let job: Job = asked(cx, &cluster, Ask::Exec).await?;
        if !job.state.has_stopped() {
            let what = format!("the executor gave {} up", job.run);
            return Err(
                OpError::command(format!("{what}: {}", job.complaint(&cluster))).on(&cluster),
            );
        }
        let took = Duration::try_from(cx.now().duration_since(began)).unwrap_or_default();
        Ok(RunOut::of(job, took))
    }

    /// A run whose process is gone is taken up, as one is begun that isn't there.
    async fn probe(cx: &Cx, args: RunArgs) -> Result<Probe<RunOut>, OpError> {
        let job = state(cx, &args.member).await?;
        Ok(match job.state {
            Standing::DidNotBegin | Standing::BrokenOff => Probe::NotStarted,
            Standing::Running => Probe::Running,
            _ => Probe::Done(RunOut::of(job, Duration::ZERO)),
        })
    }
}

impl RunOut {
    fn of(job: Job, took: Duration) -> Self {
        Self {
            outcome: job.state,
            run: job.run,
            why: job.why,
            seconds: took.as_secs(),
        }
    }
}
