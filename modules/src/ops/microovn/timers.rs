//! How long the databases do without a leader before they elect another one.

use std::time::Duration;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DATABASES, Database, Picture};
use crate::contract::cx::{Cx, Look, Unmet};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op, Probe, Switch};
use crate::contract::schema::Member;
use crate::products::raft::View;

/// A change is in force once the servers have agreed on it.
const EVERY: Duration = Duration::from_secs(1);

/// The election timers of both databases, in milliseconds; none where nobody runs the database.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Timing {
    /// Of the northbound database.
    pub(crate) northbound: Option<u64>,
    /// Of the southbound database.
    pub(crate) southbound: Option<u64>,
}

/// Raise the election timers of OVN's databases to at least `millis` milliseconds, or restore them.
///
/// With a short one a busy server is taken for dead, and schema conversions fail (MicroOVN asks for 16 s before an upgrade;
/// clusters from before it did so may have 1 s). A server doubles the timer at most at a time, so this goes in steps and
/// looks again after each. `was` is how they were before, whatever happened in between.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TimersArgs {
    /// At least this many milliseconds. Longer timers stay as they are.
    #[serde(default = "at_least")]
    pub(crate) millis: u64,
    /// Set them to exactly this instead: what `was` said.
    pub(crate) back: Option<Timing>,
}

fn at_least() -> u64 {
    16_000
}

/// What became of the timers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TimersOut {
    /// Whether any was otherwise before.
    pub(crate) changed: bool,
    /// How they were before.
    pub(crate) was: Timing,
    /// How they are now.
    pub(crate) now: Timing,
}

pub(crate) struct Timers;

impl Op for Timers {
    const NAME: &'static str = "microovn.timers";
    const EFFECT: Effect = Effect::Once;
    type Args = TimersArgs;
    type Out = TimersOut;

    fn headline(args: &TimersArgs) -> String {
        match args.back {
            Some(_) => "back".to_owned(),
            None => format!("at least {} ms", args.millis),
        }
    }

    fn summary(out: &TimersOut) -> String {
        if out.changed {
            format!("{} → {}", out.was, out.now)
        } else {
            format!("{} already", out.now)
        }
    }

    fn switched(args: &TimersArgs, out: &TimersOut) -> Option<Switch> {
        let was = serde_json::to_string(&out.was).unwrap_or_default();
        let on = args.back.is_none();
        (out.changed || !on).then(|| Switch {
            what: "OVN's election timers are raised".to_owned(),
            on,
            undo: format!("lockstep op microovn.timers --back '{was}'"),
        })
    }

    async fn run(cx: &Cx, args: TimersArgs) -> Result<TimersOut, OpError> {
        let now = timing(&Picture::clear(cx).await?);
        if cx.left::<Timing>().is_none() {
            cx.witness(&now).await?;
        }
        let was = cx.left::<Timing>().unwrap_or(now);
        let databases = DATABASES.into_iter().enumerate();
        let turned = databases.map(async |(i, database)| {
            let Some(before) = was.of(i) else {
                return Ok(());
            };
            let wanted = wanted(&args, i, before);
            cx.until(EVERY, async || step(cx, database, i, wanted).await)
                .await
        });
        // Both come to their end, also where one fails.
        let turned: Vec<Result<(), OpError>> = join_all(turned).await;
        turned.into_iter().collect::<Result<(), _>>()?;
        let now = timing(&Picture::clear(cx).await?);
        Ok(TimersOut {
            changed: was != now,
            was,
            now,
        })
    }

    async fn probe(cx: &Cx, args: TimersArgs) -> Result<Probe<TimersOut>, OpError> {
        let Some(was) = cx.left::<Timing>() else {
            return Ok(Probe::NotStarted);
        };
        let now = timing(&Picture::clear(cx).await?);
        let there = (0..DATABASES.len()).all(|i| {
            was.of(i)
                .is_none_or(|before| now.of(i) == Some(wanted(&args, i, before)))
        });
        Ok(if there {
            Probe::Done(TimersOut {
                changed: was != now,
                was,
                now,
            })
        } else {
            Probe::NotStarted
        })
    }
}

impl Timing {
    fn of(&self, database: usize) -> Option<u64> {
        [self.northbound, self.southbound]
            .get(database)
            .copied()
            .flatten()
    }
}

impl std::fmt::Display for Timing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = [self.northbound, self.southbound]
            .map(|ms| ms.map_or_else(|| "none".to_owned(), |ms| format!("{ms} ms")));
        f.write_str(&shown.join(" and "))
    }
}

fn timing(picture: &Picture) -> Timing {
    let of = |views: &[(Member, View)]| views.iter().map(|(_, view)| view.election_timer).min();
    let [northbound, southbound] = [0, 1].map(|i| of(&picture.views[i]));
    Timing {
        northbound,
        southbound,
    }
}

/// What will become of timers that are too short for a wave.
pub(super) fn short(picture: &Picture) -> Option<String> {
    let now = timing(picture);
    let short = [now.northbound, now.southbound].into_iter().flatten();
    let shortest = short.min().filter(|ms| *ms < at_least())?;
    Some(format!(
        "the election timer is {shortest} ms: at least {} ms while MicroOVN is refreshed, then restored",
        at_least()
    ))
}

fn wanted(args: &TimersArgs, database: usize, before: u64) -> u64 {
    match &args.back {
        Some(back) => back.of(database).unwrap_or(before),
        None => before.max(args.millis),
    }
}

/// Goes one step towards `wanted`, unless it is there. Only the leader takes it.
async fn step(cx: &Cx, database: Database, i: usize, wanted: u64) -> Look<()> {
    let picture = Picture::clear(cx).await?;
    let views = &picture.views[i];
    if views.iter().all(|(_, view)| view.election_timer == wanted) {
        return Ok(());
    }
    let title = database.title;
    let Some((leader, view)) = views.iter().find(|(_, view)| view.role == "leader") else {
        return Err(Unmet::NotYet(format!(
            "{title} has no leader to change its election timer"
        )));
    };
    let next = wanted.min(view.election_timer.saturating_mul(2));
    if next != view.election_timer {
        let cmd = database.appctl("cluster/change-election-timer", &[&next.to_string()]);
        let output = cx.cmd(&leader.as_str().into(), &cmd).await?;
        if !output.success() {
            return Err(Unmet::NotYet(
                output.failure(&cmd, leader, output.stderr.trim()).message,
            ));
        }
    }
    Err(Unmet::NotYet(format!(
        "the election timer of {title} is {} ms on its way to {wanted} ms",
        view.election_timer
    )))
}
