//! `lxd.restore`: what was moved away comes home.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::instances::{Instance, known};
use super::operation::{self, Begun, Busy, Ended};
use super::{detail, members};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op, Probe};
use crate::contract::schema::{Member, Span};

/// Restore a member: what an evacuation moved away comes home, and what it stopped is started.
///
/// LXD forgets that an instance ran when it failed to start it once. So the record from before counts: what ran is
/// started, what LXD started by itself is stopped, what was on the member is moved back to it, and what else is different
/// is reported. A member that isn't evacuated
/// is not restored, but its instances are still compared with the record.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreArgs {
    /// Member to restore.
    pub(crate) member: Member,
    /// The member's instances as they were before the evacuation: what `lxd.instances` returned.
    #[serde(default)]
    pub(crate) since: Vec<Instance>,
}

/// What a restore came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RestoreOut {
    /// Instances of the record that are on the member again, as they were.
    pub(crate) home: u32,
    /// Instances that LXD had left stopped, and that were started.
    pub(crate) started: Vec<String>,
    /// Instances that LXD had started although they didn't run before, and that were stopped.
    #[serde(default)]
    pub(crate) stopped: Vec<String>,
    /// Instances that LXD had left elsewhere, and that were moved.
    pub(crate) moved: Vec<String>,
    /// What is different from the record.
    pub(crate) differences: Vec<String>,
}

pub(crate) struct Restore;

impl Op for Restore {
    const NAME: &'static str = "lxd.restore";
    const EFFECT: Effect = Effect::Once;
    /// As an evacuation.
    const TIMEOUT: Span = Span::secs(2 * 60 * 60);
    type Args = RestoreArgs;
    type Out = RestoreOut;

    fn summary(out: &RestoreOut) -> String {
        let mut parts = Vec::new();
        if out.home > 0 {
            parts.push(format!("{} home", out.home));
        }
        if !out.started.is_empty() {
            parts.push(format!("started {}", out.started.join(", ")));
        }
        if !out.stopped.is_empty() {
            parts.push(format!(
                "stopped {}, which didn't run",
                out.stopped.join(", ")
            ));
        }
        if !out.moved.is_empty() {
            parts.push(format!("moved {}", out.moved.join(", ")));
        }
        parts.extend(out.differences.iter().cloned());
        if parts.is_empty() {
            return "restored".to_owned();
        }
        parts.join("; ")
    }

    fn touches(args: &RestoreArgs) -> Vec<String> {
        vec![format!("{}/lxd/state", args.member)]
    }

    async fn run(cx: &Cx, args: RestoreArgs) -> Result<RestoreOut, OpError> {
        let member = &args.member;
        let ended = match operation::busy(cx, member).await? {
            Some(Busy::Restoring(op)) if cx.left::<Begun>().is_some() => {
                operation::follow(cx, member, &op.id, args.since.len()).await?
            }
            Some(busy) => return Err(operation::conflict(member, &busy)),
            None if is_evacuated(cx, member).await? => {
                let path = format!("/1.0/cluster/members/{member}/state");
                let body = json!({"action": "restore", "mode": ""});
                let operation = operation::begin(cx, member, "POST", &path, &body).await?;
                cx.witness(&Begun {
                    operation: operation.id.clone(),
                })
                .await?;
                operation::follow(cx, member, &operation.id, args.since.len()).await?
            }
            None => Ended::Forgotten,
        };
        if let Ended::Failure(why) = ended {
            return Err(failed(cx, &args, &format!("LXD failed to restore it: {why}")).await);
        }
        if is_evacuated(cx, member).await? {
            let why = "LXD shows it as Evacuated after it was restored";
            return Err(failed(cx, &args, why).await);
        }
        put_right(cx, &args).await
    }

    async fn probe(cx: &Cx, args: RestoreArgs) -> Result<Probe<RestoreOut>, OpError> {
        if let Some(Busy::Restoring(op)) = operation::busy(cx, &args.member).await? {
            cx.progress(0, None, Busy::Restoring(op).doing());
            return Ok(Probe::Running);
        }
        // Restoring what is restored does nothing, and the record says what is to be done.
        Ok(Probe::NotStarted)
    }
}

async fn is_evacuated(cx: &Cx, member: &Member) -> Result<bool, OpError> {
    let all = members(cx).await?;
    match all.iter().find(|m| m.name == *member) {
        Some(own) if own.status == "Evacuated" => Ok(true),
        Some(own) if own.status == "Online" => Ok(false),
        Some(own) => {
            let message = format!("LXD shows it as {} ({})", own.status, own.message);
            Err(OpError::refused(message).on(member))
        }
        None => {
            let message = "it is no member of the LXD cluster";
            Err(OpError::refused(message).on(member))
        }
    }
}

fn amiss(since: &[Instance], now: &[Instance]) -> Vec<String> {
    let mut amiss = Vec::new();
    for was in since {
        let title = was.title();
        match was.among(now) {
            None => amiss.push(format!("{title} is gone")),
            Some(now) if now.location != was.location => {
                amiss.push(format!("{title} is {} on {}", now.status, now.location));
            }
            Some(now) if now.status != was.status => {
                amiss.push(format!(
                    "{title} is {} instead of {}",
                    now.status, was.status
                ));
            }
            Some(_) => {}
        }
    }
    amiss
}

async fn failed(cx: &Cx, args: &RestoreArgs, why: &str) -> OpError {
    let amiss = match known(cx).await {
        Ok(now) => amiss(&args.since, &now),
        Err(error) => vec![format!("what runs where isn't known: {error}")],
    };
    let amiss = if amiss.is_empty() {
        String::new()
    } else {
        format!("; not right: {}", amiss.join(", "))
    };
    let message = format!(
        "{why}{amiss}. The member stays evacuated; once the cause is fixed, resume, or run: lockstep op lxd.restore --member {}",
        args.member
    );
    OpError::command(message).on(&args.member)
}

/// Starts what ran and moves home what was here; tells what is different all the same.
async fn put_right(cx: &Cx, args: &RestoreArgs) -> Result<RestoreOut, OpError> {
    let here = |i: &&Instance| i.location == args.member.as_str();
    let since: Vec<Instance> = args.since.iter().filter(here).cloned().collect();
    let now = known(cx).await?;
    let mut out = RestoreOut::default();
    let mut failures = Vec::new();
    let mut put =
        |result: Result<(), OpError>, is: &Instance, verb: &str, done: &mut Vec<String>| {
            match result {
                Ok(()) => done.push(is.title()),
                Err(error) if error.kind.in_doubt() => return Err(error),
                Err(error) => failures.push(format!("{} didn't {verb}: {error}", is.title())),
            }
            Ok(())
        };
    for was in &since {
        let Some(is) = was.among(&now) else {
            continue;
        };
        if is.location != was.location {
            let moved = carry(cx, &args.member, is, &args.member).await;
            put(moved, is, "move home", &mut out.moved)?;
        }
    }
    let now = known(cx).await?;
    for was in since.iter().filter(|was| was.runs()) {
        let Some(is) = was.among(&now).filter(|is| !is.runs()) else {
            continue;
        };
        let started = operation::set_state(cx, &args.member, is, "start").await;
        put(started, is, "start", &mut out.started)?;
    }
    // What doesn't start by itself was started by somebody meanwhile, and is theirs.
    for was in since.iter().filter(|was| !was.runs() && was.autostarts) {
        let Some(is) = was.among(&now).filter(|is| is.runs()) else {
            continue;
        };
        let stopped = operation::set_state(cx, &args.member, is, "stop").await;
        put(stopped, is, "stop", &mut out.stopped)?;
    }
    let now = known(cx).await?;
    let amiss = amiss(&since, &now);
    let down = |was: &&Instance| was.runs() && was.among(&now).is_none_or(|is| !is.runs());
    let down: Vec<String> = since.iter().filter(down).map(Instance::title).collect();
    if !down.is_empty() {
        let names = down.join(", ");
        let why = if failures.is_empty() { amiss } else { failures };
        let message = format!(
            "{names} ran before the evacuation but doesn't run now: {}. See: lxc info --show-log {}",
            why.join("; "),
            down[0]
        );
        return Err(OpError::command(message).on(&args.member));
    }
    out.home = u32::try_from(since.len() - amiss.len()).unwrap_or(u32::MAX);
    out.differences = amiss;
    out.differences.extend(failures);
    Ok(out)
}

/// Moves an instance to a member: while it runs, if it is a machine that can be, and otherwise stopped. `asked` is asked for it.
pub(super) async fn carry(
    cx: &Cx,
    asked: &Member,
    instance: &Instance,
    to: &Member,
) -> Result<(), OpError> {
    let all = detail::instances(cx).await?;
    let own = all
        .iter()
        .find(|i| (&i.project, &i.name) == (&instance.project, &instance.name));
    let live = own.is_some_and(|i| {
        i.kind != "container" && i.set("migration.stateful") == Some("true") && i.runs()
    });
    if instance.runs() && !live {
        operation::set_state(cx, asked, instance, "stop").await?;
    }
    let target = format!("?target={to}");
    let body = json!({"name": instance.name, "migration": true, "live": live});
    let path = operation::path(instance, &target);
    operation::carry_out(cx, asked, "POST", &path, &body).await
}
