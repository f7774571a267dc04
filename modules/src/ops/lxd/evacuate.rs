//! `lxd.evacuate`: moves what runs on a member elsewhere.
//!
//! LXD shows a member as evacuated before it has moved anything, passes over instances that have nowhere to go, and calls
//! that a success. When it fails on the way it gives the member its state back before 6.9, and leaves it evacuated from
//! 6.9 on. So neither the operation's end nor the member's status is believed alone: each instance is accounted for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::instances::{Instance, known};
use super::operation::{self, Begun, Busy, Ended};
use super::predict::{Action, Foretold, predict, standing};
use super::restore::carry;
use super::{LxdMember, detail, members};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op, Probe};
use crate::contract::schema::{Member, Span};
use crate::contract::text::joined;

/// Evacuate a member: LXD moves its instances to other members, or stops those that can't be moved.
///
/// Refused while another member isn't online or versions differ, and where `lxd.predict` says that an instance can't be
/// moved. Done is when the operation has ended, no instance runs on the member, and every one that ran there runs
/// elsewhere or was to be stopped. What went wrong halfway is reported with what moved and what didn't; trying again
/// continues from there.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EvacuateArgs {
    /// Member to evacuate.
    pub(crate) member: Member,
    /// Continue although something speaks against it: instances that can't be moved are left to LXD.
    #[serde(default)]
    pub(crate) anyway: bool,
}

/// What an evacuation did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EvacuateOut {
    /// Instances that run elsewhere now, as `name to member`.
    pub(crate) moved: Vec<String>,
    /// Instances that were stopped where they are.
    pub(crate) stopped: Vec<String>,
    /// Instances that were left running on the member, which only `anyway` allows.
    pub(crate) left: Vec<String>,
}

/// A witness: what ran on the member before the first attempt, and what was to become of it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    instances: Vec<Foretold>,
}

/// `lxd.evacuate`
pub struct Evacuate;

impl Op for Evacuate {
    const NAME: &'static str = "lxd.evacuate";
    const EFFECT: Effect = Effect::Once;
    /// One instance after the other, and those on local storage with all their data.
    const TIMEOUT: Span = Span::secs(2 * 60 * 60);
    type Args = EvacuateArgs;
    type Out = EvacuateOut;

    fn summary(out: &EvacuateOut) -> String {
        let mut parts = vec![format!("{} moved", out.moved.len())];
        if !out.stopped.is_empty() {
            parts.push(format!("{} stopped", out.stopped.len()));
        }
        if !out.left.is_empty() {
            parts.push(format!("{} left running", out.left.len()));
        }
        parts.join(", ")
    }

    fn touches(args: &EvacuateArgs) -> Vec<String> {
        vec![format!("{}/lxd/state", args.member)]
    }

    async fn run(cx: &Cx, args: EvacuateArgs) -> Result<EvacuateOut, OpError> {
        let member = &args.member;
        let before = cx.left::<Before>();
        match operation::busy(cx, member).await? {
            Some(Busy::Evacuating(op)) if before.is_some() => {
                let instances = before.as_ref().map_or(0, |before| before.instances.len());
                let ended = operation::follow(cx, member, &op.id, instances).await?;
                return judge(
                    cx,
                    &args,
                    &before.unwrap_or(Before {
                        instances: Vec::new(),
                    }),
                    &ended,
                )
                .await;
            }
            Some(busy) => return Err(operation::conflict(member, &busy)),
            None => {}
        }
        let before = match before {
            Some(before) => {
                wake(cx, member, &before).await?;
                before
            }
            None => prepare(cx, &args).await?,
        };
        let all = members(cx).await?;
        if status(&all, member) == "Evacuated" {
            // The attempt before this one failed, or nobody learned of its end.
            if let Ok(done) = judge(cx, &args, &before, &Ended::Forgotten).await {
                return Ok(done);
            }
            // Before 5.21.4 and 6.4 LXD ignores the mode, and would move everything home first (`lxd/api_cluster.go`).
            if !detail::server(cx)
                .await?
                .knows("clustering_restore_skip_mode")
            {
                one_by_one(cx, member, &before).await?;
                return judge(cx, &args, &before, &Ended::Forgotten).await;
            }
            // LXD evacuates no member twice: it is marked as online first, and nothing is moved back.
            let body = json!({"action": "restore", "mode": "skip"});
            operation::carry_out(cx, member, "POST", &path(member), &body).await?;
        }
        let problems = standing(member, &members(cx).await?, &detail::server(cx).await?);
        if !problems.is_empty() {
            return Err(refusal(member, &problems));
        }
        let body = json!({"action": "evacuate", "mode": "", "force": false});
        let operation = operation::begin(cx, member, "POST", &path(member), &body).await?;
        cx.witness(&Begun {
            operation: operation.id.clone(),
        })
        .await?;
        let ended = operation::follow(cx, member, &operation.id, before.instances.len()).await?;
        judge(cx, &args, &before, &ended).await
    }

    async fn probe(cx: &Cx, args: EvacuateArgs) -> Result<Probe<EvacuateOut>, OpError> {
        let member = &args.member;
        let Some(before) = cx.left::<Before>() else {
            // Nothing is asked for before this is written down.
            return Ok(Probe::NotStarted);
        };
        if let Some(Busy::Evacuating(op)) = operation::busy(cx, member).await? {
            cx.progress(0, None, Busy::Evacuating(op).doing());
            return Ok(Probe::Running);
        }
        let ended = match cx.left::<Begun>() {
            Some(begun) => {
                operation::follow(cx, member, &begun.operation, before.instances.len()).await?
            }
            None => Ended::Forgotten,
        };
        match judge(cx, &args, &before, &ended).await {
            Ok(done) => Ok(Probe::Done(done)),
            Err(error) if error.kind.in_doubt() => Err(error),
            Err(error) => {
                let all = known(cx).await?;
                let home = |f: &Foretold| {
                    find(&all, f).is_some_and(|i| i.location == member.as_str() && i.runs())
                };
                let untouched = before.instances.iter().all(home)
                    && status(&members(cx).await?, member) == "Online";
                // Before 6.9 a failure at the first instance of all may look like this too, and then there is no harm in
                // trying again.
                if untouched && cx.left::<Begun>().is_none() {
                    return Ok(Probe::NotStarted);
                }
                Ok(Probe::Failed(error))
            }
        }
    }
}

fn path(member: &Member) -> String {
    format!("/1.0/cluster/members/{member}/state")
}

fn status<'a>(all: &'a [LxdMember], member: &Member) -> &'a str {
    let own = all.iter().find(|m| m.name == *member);
    own.map_or("no member", |m| m.status.as_str())
}

fn refusal(member: &Member, problems: &[String]) -> OpError {
    let message = format!("it can't be evacuated: {}", problems.join("; "));
    OpError::refused(message).on(member)
}

/// What runs on the member and what is to become of it, written down before anything is asked for.
async fn prepare(cx: &Cx, args: &EvacuateArgs) -> Result<Before, OpError> {
    let all = members(cx).await?;
    if status(&all, &args.member) == "Evacuated" {
        let message = format!(
            "it is already evacuated, by somebody else; restore it with: lockstep op lxd.restore --member {}",
            args.member
        );
        return Err(OpError::refused(message).on(&args.member));
    }
    let foretold = predict(cx, &args.member).await?;
    if !args.anyway && !foretold.refusals.is_empty() {
        return Err(refusal(&args.member, &foretold.refusals));
    }
    let before = Before {
        instances: foretold.instances,
    };
    cx.witness(&before).await?;
    Ok(before)
}

fn find<'a>(all: &'a [Instance], wanted: &Foretold) -> Option<&'a Instance> {
    all.iter()
        .find(|i| (&i.project, &i.name) == (&wanted.project, &wanted.name))
}

/// Starts what an attempt before this one has moved and couldn't start: LXD evacuates the member it is on now no more.
async fn wake(cx: &Cx, member: &Member, before: &Before) -> Result<(), OpError> {
    let all = known(cx).await?;
    let moved = before.instances.iter().filter_map(|was| find(&all, was));
    for instance in moved.filter(|i| i.location != member.as_str() && !i.runs()) {
        let started = operation::set_state(cx, member, instance, "start").await;
        started.map_err(|error| OpError {
            message: format!(
                "{} was moved to {} but doesn't start there: {}",
                instance.title(),
                instance.location,
                error.message
            ),
            ..error
        })?;
    }
    Ok(())
}

/// Does what LXD has left undone with each instance, as it was foretold.
async fn one_by_one(cx: &Cx, member: &Member, before: &Before) -> Result<(), OpError> {
    let all = known(cx).await?;
    for was in &before.instances {
        let left = find(&all, was).filter(|i| i.location == member.as_str() && i.runs());
        let Some(instance) = left else {
            continue;
        };
        match (was.action, &was.target) {
            (Action::Stop, _) => operation::set_state(cx, member, instance, "stop").await?,
            (Action::Live | Action::Cold, Some(target)) => {
                carry(cx, member, instance, target).await?;
            }
            _ => {}
        }
    }
    // What moved cold.
    wake(cx, member, before).await
}

/// Accounts for every instance, whatever LXD says of the operation.
async fn judge(
    cx: &Cx,
    args: &EvacuateArgs,
    before: &Before,
    ended: &Ended,
) -> Result<EvacuateOut, OpError> {
    let member = args.member.as_str();
    let all = known(cx).await?;
    let mut out = EvacuateOut::default();
    let (mut harm, mut away) = (Vec::new(), Vec::new());
    for was in &before.instances {
        let title = was.title();
        let now = find(&all, was);
        if now.is_some_and(|now| now.location != member) {
            away.push(was);
        }
        let excused = args.anyway && was.action == Action::Cannot;
        match now {
            None if excused => {}
            None => harm.push(format!("{title} is gone")),
            Some(now) if now.location != member && now.runs() => {
                out.moved.push(format!("{title} to {}", now.location));
            }
            Some(now) if now.location != member => {
                harm.push(format!("{title} is {} on {}", now.status, now.location));
            }
            Some(now) if now.runs() && excused => out.left.push(title),
            Some(now) if now.runs() => harm.push(format!("{title} still runs on {member}")),
            Some(_) if was.action == Action::Stop || excused => out.stopped.push(title),
            Some(now) => harm.push(format!("{title} is {} on {member}", now.status)),
        }
    }
    for other in all.iter().filter(|i| i.location == member && i.runs()) {
        if !before
            .instances
            .iter()
            .any(|was| find(std::slice::from_ref(other), was).is_some())
        {
            harm.push(format!("{} runs on {member} too", other.title()));
        }
    }
    let status = status(&members(cx).await?, &args.member).to_owned();
    let why = match ended {
        Ended::Failure(why) => Some(format!("LXD failed to evacuate it: {why}")),
        _ if status != "Evacuated" => {
            Some(format!("LXD shows it as {status} and not as Evacuated"))
        }
        _ if !harm.is_empty() => Some("LXD says that it is evacuated, but it isn't".to_owned()),
        _ => return Ok(out),
    };
    let back = way_back(&args.member, &status, &away);
    Err(failure(args, &why.unwrap_or_default(), &back, &out, &harm).with("status", status))
}

/// What to type to have everything back, instead of continuing.
fn way_back(member: &Member, status: &str, away: &[&Foretold]) -> String {
    if status == "Evacuated" {
        return format!("to restore it instead: lockstep op lxd.restore --member {member}");
    }
    if away.is_empty() {
        return format!("LXD shows the member as {status}, and nothing has moved");
    }
    let moves = away.iter().map(|was| {
        let project = match was.project.as_str() {
            "default" => String::new(),
            other => format!(" --project {other}"),
        };
        format!("lxc move {}{project} --target {member}", was.name)
    });
    format!(
        "LXD shows the member as {status}; to move back what was moved instead, stop it and run: {}",
        joined(moves, "; ")
    )
}

/// What moved, what didn't, and what to type.
fn failure(
    args: &EvacuateArgs,
    why: &str,
    back: &str,
    out: &EvacuateOut,
    harm: &[String],
) -> OpError {
    let list = |title: &str, items: &[String]| match items {
        [] => String::new(),
        items => format!("; {title}: {}", items.join(", ")),
    };
    let message = format!(
        "{why}{}{}{}. Once the cause is fixed, resuming evacuates what is left; {back}",
        list("not right", harm),
        list("moved", &out.moved),
        list("stopped", &out.stopped),
    );
    OpError::command(message).on(&args.member)
}
