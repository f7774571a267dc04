//! `status.require`: continue only if the cluster is as it must be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ComponentStatus, Health, Status, is_bare, read};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Observation, Op};
use crate::contract::schema::Span;

/// Continue only if the cluster is as it must be. Everything that isn't is named, not only the first thing.
///
/// All members must be reachable, and no change of a component may be in progress.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequireArgs {
    /// How healthy every component must be.
    pub(crate) health: Wanted,
    /// All members must run the same revision of each component, from the same channel, in the cohort.
    #[serde(default)]
    pub(crate) in_step: bool,
    /// All members must follow the same channel, for each component.
    #[serde(default)]
    pub(crate) same_channels: bool,
    /// Only these components have to be in step and through with waiting; without them, all.
    #[serde(default)]
    pub(crate) components: Vec<String>,
}

/// How healthy every component must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Wanted {
    /// Nothing may be wrong.
    Ok,
    /// Members may wait for others that don't have a release yet: what an interrupted update leaves behind.
    Converging,
}

pub(crate) struct Require;

impl Op for Require {
    const NAME: &'static str = "status.require";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(5 * 60);
    type Args = RequireArgs;
    type Out = Status;

    fn headline(args: &RequireArgs) -> String {
        match (args.health, args.in_step) {
            (Wanted::Ok, true) => "all healthy and in step".to_owned(),
            (Wanted::Ok, false) => "all healthy".to_owned(),
            (Wanted::Converging, _) => "ready to be updated".to_owned(),
        }
    }

    fn summary(out: &Status) -> String {
        out.brief()
    }

    fn observed(_: &RequireArgs, out: &Status) -> Observation {
        out.observation()
    }

    async fn run(cx: &Cx, args: RequireArgs) -> Result<Status, OpError> {
        let status = read(cx).await;
        let reasons = reasons(&args, &status);
        if reasons.is_empty() {
            return Ok(status);
        }
        Err(OpError::refused(reasons.join("; ")).with("reasons", reasons))
    }
}

fn reasons(args: &RequireArgs, status: &Status) -> Vec<String> {
    let mut reasons = Vec::new();
    for member in &status.members {
        if let Some(problem) = &member.problem {
            reasons.push(format!("{}: {problem}", member.name));
        }
        reasons.extend(
            member
                .changes
                .iter()
                .map(|change| format!("{}: snapd is busy: {change}", member.name)),
        );
    }
    if is_bare(&status.components) && reasons.is_empty() {
        reasons.push("no member has a snap of MicroCloud's".to_owned());
    }
    // A member that can't be asked is why components can't be judged: it is named once.
    let blind = status.members.iter().any(|m| m.problem.is_some());
    let meant = |c: &ComponentStatus| {
        let snap = c.name.snap();
        args.components.is_empty() || args.components.iter().any(|name| name == snap)
    };
    let fine = |c: &ComponentStatus| match c.health {
        Health::Ok | Health::Absent => true,
        Health::Unknown if blind => true,
        Health::Waiting => args.health == Wanted::Converging || !meant(c),
        Health::Bad | Health::Unknown => false,
    };
    for component in &status.components {
        if !fine(component) {
            let why = if component.problems.is_empty() {
                format!("its state is {}", component.health.word())
            } else {
                component.problems.join("; ")
            };
            reasons.push(format!("{}: {why}", component.title));
        }
        if args.in_step && meant(component) {
            reasons.extend(
                component
                    .skew
                    .iter()
                    .map(|skew| format!("{}: {skew}", component.title)),
            );
        } else if args.same_channels && component.channels.len() > 1 {
            reasons.push(format!(
                "{}: members track {}",
                component.title,
                component.channels.join(" and ")
            ));
        }
    }
    reasons
}
