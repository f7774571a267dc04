//! `lb`: a load balancer, a machine beside the cluster with a program `lbctl`.
//!
//! `lbctl show BACKEND` prints JSON: `{"state": "draining", "connections": 12}`. `drain` and `enable` do the same thing
//! however often they are told to.

use std::time::Duration;

use lockstep_modules::contract::cmd::Cmd;
use lockstep_modules::contract::cx::{Cx, Look, Unmet};
use lockstep_modules::contract::error::OpError;
use lockstep_modules::contract::op::{Effect, Module, Op};
use lockstep_modules::contract::schema::{Member, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const LBCTL: &str = "/usr/local/bin/lbctl";

/// Pause between two looks at a backend whose connections are to end.
const EVERY: Duration = Duration::from_secs(5);

pub(crate) fn module() -> Module {
    Module::new("lb", "The load balancer.")
        .op::<Show>()
        .op::<Drain>()
        .op::<Enable>()
}

/// What the balancer does with a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// It gets new connections.
    Enabled,
    /// It gets none, and keeps those that it has.
    Draining,
}

/// A backend, as the balancer has it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Backend {
    /// What the balancer does with it.
    state: State,
    /// How many connections it has.
    connections: u32,
}

/// Looks at a backend. `expected` is what a simulated cluster, which knows no balancer, shows.
async fn look(
    cx: &Cx,
    balancer: &Member,
    backend: &Member,
    expected: State,
) -> Result<Backend, OpError> {
    let word = if expected == State::Enabled {
        "enabled"
    } else {
        "draining"
    };
    let cmd = Cmd::user([LBCTL, "show", backend.as_str()])
        .planned(format!(r#"{{"state":"{word}","connections":0}}"#));
    cx.cmd(balancer, &cmd).await?.json(&cmd, balancer)
}

/// Has the balancer do something with a backend. Its word for it isn't taken: the state is looked at afterwards.
async fn tell(cx: &Cx, balancer: &Member, verb: &str, backend: &Member) -> Result<(), OpError> {
    let cmd = Cmd::user([LBCTL, verb, backend.as_str()]);
    let output = cx.cmd(balancer, &cmd).await?;
    output.text(&cmd, balancer).map(drop)
}

/// Show a backend of the load balancer.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ShowArgs {
    /// The machine with the balancer.
    balancer: Member,
    /// The member behind it.
    backend: Member,
}

pub(crate) struct Show;

impl Op for Show {
    const NAME: &'static str = "lb.show";
    const EFFECT: Effect = Effect::Read;
    type Args = ShowArgs;
    type Out = Backend;

    fn headline(args: &ShowArgs) -> String {
        args.backend.to_string()
    }

    fn summary(out: &Backend) -> String {
        let state = match out.state {
            State::Enabled => "enabled",
            State::Draining => "draining",
        };
        format!("{state}, {} connections", out.connections)
    }

    async fn run(cx: &Cx, args: ShowArgs) -> Result<Backend, OpError> {
        look(cx, &args.balancer, &args.backend, State::Enabled).await
    }
}

/// Send no new connections to a member, and wait until it has none left.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainArgs {
    /// The machine with the balancer.
    balancer: Member,
    /// The member behind it.
    backend: Member,
}

/// It is drained.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DrainOut {}

pub(crate) struct Drain;

impl Op for Drain {
    const NAME: &'static str = "lb.drain";
    // Draining what is drained, or half drained, is the same thing once more.
    const EFFECT: Effect = Effect::Converge;
    const TIMEOUT: Span = Span::secs(600);
    type Args = DrainArgs;
    type Out = DrainOut;

    fn headline(args: &DrainArgs) -> String {
        args.backend.to_string()
    }

    fn summary(_: &DrainOut) -> String {
        "no connection is left".to_owned()
    }

    async fn run(cx: &Cx, args: DrainArgs) -> Result<DrainOut, OpError> {
        let DrainArgs { balancer, backend } = args;
        tell(cx, &balancer, "drain", &backend).await?;
        cx.until(EVERY, async || {
            let seen = look(cx, &balancer, &backend, State::Draining).await?;
            drained(&backend, &seen)
        })
        .await
    }
}

/// Whether a backend is drained. One that gets new connections isn't, however few it has.
fn drained(name: &Member, seen: &Backend) -> Look<DrainOut> {
    match seen {
        Backend {
            state: State::Draining,
            connections: 0,
        } => Ok(DrainOut {}),
        Backend {
            state: State::Draining,
            connections,
        } => Err(Unmet::NotYet(format!(
            "{connections} connections to {name} are open"
        ))),
        Backend {
            state: State::Enabled,
            ..
        } => Err(Unmet::NotYet(format!("{name} still gets new connections"))),
    }
}

/// Send connections to a member again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnableArgs {
    /// The machine with the balancer.
    balancer: Member,
    /// The member behind it.
    backend: Member,
}

/// It is enabled.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct EnableOut {}

pub(crate) struct Enable;

impl Op for Enable {
    const NAME: &'static str = "lb.enable";
    const EFFECT: Effect = Effect::Converge;
    type Args = EnableArgs;
    type Out = EnableOut;

    fn headline(args: &EnableArgs) -> String {
        args.backend.to_string()
    }

    fn summary(_: &EnableOut) -> String {
        "done".to_owned()
    }

    async fn run(cx: &Cx, args: EnableArgs) -> Result<EnableOut, OpError> {
        let EnableArgs { balancer, backend } = args;
        tell(cx, &balancer, "enable", &backend).await?;
        match look(cx, &balancer, &backend, State::Enabled).await?.state {
            State::Enabled => Ok(EnableOut {}),
            State::Draining => {
                let what = format!("{backend} was enabled, and still gets no connections");
                Err(OpError::command(what).on(&balancer))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `lbctl show` printed, and what is missing then.
    #[test]
    fn a_backend_is_drained_when_nothing_is_left_or_new() {
        let missing = |printed: &str| {
            let seen = serde_json::from_str(printed).unwrap();
            match drained(&Member::from("micro01"), &seen) {
                Err(Unmet::NotYet(missing)) => Some(missing),
                _ => None,
            }
        };
        let transcript = [
            (
                r#"{"state": "enabled", "connections": 0}"#,
                Some("micro01 still gets new connections"),
            ),
            (
                r#"{"state": "draining", "connections": 12}"#,
                Some("12 connections to micro01 are open"),
            ),
            (r#"{"state": "draining", "connections": 0}"#, None),
        ];
        for (printed, expected) in transcript {
            assert_eq!(missing(printed).as_deref(), expected, "{printed}");
        }
    }
}
