//! LXD's healing: instances of a member that has been silent for some time are started elsewhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{operation, query};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op, Probe, Switch};

const KEY: &str = "cluster.healing_threshold";

/// Set after how many seconds of silence LXD starts a member's instances on others; 0 switches that off.
///
/// While a snap is refreshed a daemon may be silent for longer than that, and its instances run on: they would run twice.
/// The result has the value before, so that a playbook can restore it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HealingArgs {
    /// Seconds.
    pub(crate) threshold: u64,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HealingOut {
    /// Whether it was otherwise before.
    pub(crate) changed: bool,
    /// The value before, in seconds.
    pub(crate) previous: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Was {
    threshold: u64,
}

/// `lxd.healing`
///
/// A `once`: what was there before is known from the first attempt only.
pub(crate) struct Healing;

impl Op for Healing {
    const NAME: &'static str = "lxd.healing";
    const EFFECT: Effect = Effect::Once;
    type Args = HealingArgs;
    type Out = HealingOut;

    fn headline(args: &HealingArgs) -> String {
        match args.threshold {
            0 => "off".to_owned(),
            secs => format!("after {secs} s"),
        }
    }

    fn summary(out: &HealingOut) -> String {
        if out.changed {
            format!("it was {} s", out.previous)
        } else {
            "nothing to do".to_owned()
        }
    }

    fn switched(args: &HealingArgs, out: &HealingOut) -> Option<Switch> {
        let on = args.threshold == 0;
        (out.changed || !on).then(|| Switch {
            what: "LXD's healing is off".to_owned(),
            on,
            undo: format!("lockstep op lxd.healing --threshold {}", out.previous),
        })
    }

    async fn run(cx: &Cx, args: HealingArgs) -> Result<HealingOut, OpError> {
        set(cx, args.threshold).await.map_err(|error| {
            if args.threshold == 0 {
                return error;
            }
            let message = format!(
                "{error}; so healing isn't switched on again. While members have different releases LXD may serve nowhere: lockstep status shows who waits for whom, and lockstep update brings them in step. Then run: lockstep op \
                 lxd.healing --threshold {}",
                args.threshold
            );
            OpError { message, ..error }
        })
    }

    async fn probe(cx: &Cx, args: HealingArgs) -> Result<Probe<HealingOut>, OpError> {
        match cx.left::<Was>() {
            Some(was) if threshold(cx).await? == args.threshold => Ok(Probe::Done(HealingOut {
                changed: was.threshold != args.threshold,
                previous: was.threshold,
            })),
            _ => Ok(Probe::NotStarted),
        }
    }
}

async fn set(cx: &Cx, wanted: u64) -> Result<HealingOut, OpError> {
    let now = threshold(cx).await?;
    let was = cx.left::<Was>().map_or(now, |was| was.threshold);
    if now != wanted {
        cx.witness(&Was { threshold: was }).await?;
        // An empty text takes the key away, which means 0.
        let value = match wanted {
            0 => String::new(),
            secs => secs.to_string(),
        };
        let cmd = operation::request("PATCH", "/1.0", &json!({"config": {KEY: value}}));
        cx.ask(&cx.members(), &cmd).await?;
        let now = threshold(cx).await?;
        if now != wanted {
            let what = format!("LXD accepted {KEY}={wanted}, but it is {now}");
            return Err(OpError::command(what));
        }
    }
    Ok(HealingOut {
        changed: was != wanted,
        previous: was,
    })
}

/// How many seconds a member may be silent; 0 where nothing is healed.
pub(super) async fn threshold(cx: &Cx) -> Result<u64, OpError> {
    #[derive(Deserialize)]
    struct Server {
        config: Map<String, Value>,
    }
    let server: Server = query(cx, "/1.0").await?;
    // Values are texts; LXD 4 printed numbers as numbers.
    match server.config.get(KEY) {
        None => Ok(0),
        Some(Value::Number(n)) => Ok(n.as_u64().unwrap_or(0)),
        Some(Value::String(text)) if text.is_empty() => Ok(0),
        Some(Value::String(text)) => text
            .parse()
            .map_err(|_| OpError::command(format!("LXD says {KEY}={text:?}"))),
        Some(other) => Err(OpError::command(format!("LXD says {KEY}={other}"))),
    }
}
