//! `time`: the clock, as steps, so that a resumed run finds what it found before.

mod window;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Module, Op, Probe};
use crate::contract::schema::Span;

pub use window::{Hours, Opening, Window};

pub(crate) fn module() -> Module {
    Module::new("time", "The clock, as steps.")
        .op::<Now>()
        .op::<Sleep>()
        .op::<Window>()
}

/// Tell the time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NowArgs {}

/// The time.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NowOut {
    /// As RFC 3339, in UTC.
    pub(crate) text: String,
    /// Seconds since 1970.
    pub(crate) seconds: i64,
}

pub(crate) struct Now;

impl Op for Now {
    const NAME: &'static str = "time.now";
    const EFFECT: Effect = Effect::Read;
    type Args = NowArgs;
    type Out = NowOut;

    fn summary(out: &NowOut) -> String {
        out.text.clone()
    }

    async fn run(cx: &Cx, _: NowArgs) -> Result<NowOut, OpError> {
        let now = cx.now();
        Ok(NowOut {
            text: format!("{now:.0}"),
            seconds: now.as_second(),
        })
    }
}

/// Wait for a while. A run that is resumed in the middle only waits for the rest.
///
/// To wait for something, call the op that waits for it (`microceph.wait` and the like): it ends as soon as it can, and
/// says what is missing.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SleepArgs {
    /// How long.
    span: Span,
}

/// The end of a pause.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SleepOut {
    /// When it ended, as RFC 3339.
    until: String,
}

/// `time.sleep`
pub struct Sleep;

impl Op for Sleep {
    const NAME: &'static str = "time.sleep";
    const EFFECT: Effect = Effect::Once;
    const TIMEOUT: Span = Span::secs(7 * 24 * 3600);
    type Args = SleepArgs;
    type Out = SleepOut;

    fn headline(args: &SleepArgs) -> String {
        args.span.to_string()
    }

    fn summary(out: &SleepOut) -> String {
        format!("until {}", out.until)
    }

    async fn run(cx: &Cx, args: SleepArgs) -> Result<SleepOut, OpError> {
        let until = cx
            .now()
            .saturating_add(args.span.0)
            .unwrap_or(Timestamp::MAX);
        cx.witness(&until).await?;
        cx.waits(until);
        tokio::time::sleep(args.span.0).await;
        Ok(SleepOut {
            until: until.to_string(),
        })
    }

    async fn probe(cx: &Cx, _: SleepArgs) -> Result<Probe<SleepOut>, OpError> {
        Ok(match cx.left::<Timestamp>() {
            None => Probe::NotStarted,
            Some(until) if cx.now() >= until => Probe::Done(SleepOut {
                until: until.to_string(),
            }),
            Some(until) => {
                cx.waits(until);
                Probe::Running
            }
        })
    }
}
