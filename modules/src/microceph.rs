//! `microceph`: the cluster's storage.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ceph::{self, OsdDump, OsdTree, Status};
use crate::cmd::Cmd;
use crate::cx::{Cx, Look};
use crate::error::{Kind, OpError};
use crate::microcluster::{self, MICROCEPH, State};
use crate::op::{Effect, Module, Op, OpDef, Probe};
use crate::schema::{Member, Span};

/// Pause between two looks of a gate.
const EVERY: Duration = Duration::from_secs(5);

/// Good looks in a row before a gate opens. A host that loses power is missed by its monitors after some 12 s and its OSDs
/// after some 18 s, and until then Ceph calls itself healthy: five looks take 20 s.
const SAMPLES: u32 = 5;

/// The module.
#[must_use]
pub fn module() -> Module {
    let ops = vec![
        OpDef::of::<Health>(),
        OpDef::of::<Wait>(),
        OpDef::of::<Noout>(),
    ];
    Module::new("microceph", "Storage: MicroCeph and the Ceph it runs.", ops)
}

/// Tell how the storage is, by facts and not by Ceph's own verdict.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthArgs {}

/// How the storage is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthOut {
    /// Whether nothing speaks against taking one member down.
    pub ok: bool,
    /// What does.
    pub problems: Vec<String>,
    /// Monitors in quorum.
    pub quorum: Vec<String>,
    /// Monitors in all.
    pub mons: usize,
    /// OSDs in all.
    pub osds: u64,
    /// OSDs that are up.
    pub osds_up: u64,
    /// Placement groups.
    pub pgs: u64,
    /// Health codes that are raised and not muted, for the record.
    pub codes: Vec<String>,
}

impl HealthOut {
    fn of(status: &Status) -> Self {
        let (figures, problems) = (status.figures(), status.problems());
        Self {
            ok: problems.is_empty(),
            problems,
            quorum: figures.quorum,
            mons: figures.mons,
            osds: figures.osds.0,
            osds_up: figures.osds.1,
            pgs: figures.pgs,
            codes: status.codes(),
        }
    }

    fn brief(&self) -> String {
        if !self.ok {
            return self.problems.join("; ");
        }
        let (quorum, mons, osds, pgs) = (self.quorum.len(), self.mons, self.osds, self.pgs);
        format!("{quorum} of {mons} monitors, {osds} OSDs up, {pgs} placement groups clean")
    }
}

/// `microceph.health`
pub struct Health;

impl Op for Health {
    const NAME: &'static str = "microceph.health";
    const EFFECT: Effect = Effect::Read;
    type Args = HealthArgs;
    type Out = HealthOut;

    fn headline(_: &HealthArgs) -> String {
        String::new()
    }

    fn summary(out: &HealthOut) -> String {
        out.brief()
    }

    async fn run(cx: &Cx, _: HealthArgs) -> Result<HealthOut, OpError> {
        health(cx, &cx.members()).await
    }
}

/// How the storage is, asked of the first of `members` that answers.
///
/// # Errors
/// Where none of them does.
pub async fn health(cx: &Cx, members: &[Member]) -> Result<HealthOut, OpError> {
    let cmd = ceph::command(&["-s"]);
    let (asked, output) = cx.ask(members, &cmd).await?;
    let status: Status = output.json(&cmd, asked.as_str())?;
    Ok(HealthOut::of(&status))
}

/// Wait until the storage is whole again: the gate before the next member.
///
/// All monitors in quorum, a manager, all OSDs up and in, all placement groups clean, no code that speaks against it,
/// several looks in a row. With a member: its OSDs are up, and its MicroCeph daemon is online, or waits for the members
/// that don't have the release yet.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitArgs {
    /// The member that was just refreshed.
    pub member: Option<Member>,
    /// OSDs that there must be. One that has vanished altogether is missed by no other check.
    pub osds: Option<u64>,
    /// Good looks in a row, 5 s apart.
    #[serde(default = "samples")]
    pub samples: u32,
}

fn samples() -> u32 {
    SAMPLES
}

/// What the gate saw when it opened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WaitOut {
    /// How MicroCeph's database stands.
    pub database: State,
    /// How the storage is.
    pub health: HealthOut,
}

/// `microceph.wait`
pub struct Wait;

impl Op for Wait {
    const NAME: &'static str = "microceph.wait";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(15 * 60);
    type Args = WaitArgs;
    type Out = WaitOut;

    fn headline(args: &WaitArgs) -> String {
        args.member.as_ref().map_or_else(
            || "storage is whole".to_owned(),
            |_| "storage is whole again".to_owned(),
        )
    }

    fn summary(out: &WaitOut) -> String {
        let waits = if out.database == State::Waiting {
            "; MicroCeph waits for the others"
        } else {
            ""
        };
        format!("{}{waits}", out.health.brief())
    }

    async fn run(cx: &Cx, args: WaitArgs) -> Result<WaitOut, OpError> {
        let mut good = 0;
        cx.until(EVERY, async || match look(cx, &args).await? {
            Look::Yes(out) => {
                good += 1;
                if good >= args.samples {
                    return Ok(Look::Yes(out));
                }
                Ok(Look::NotYet(format!(
                    "whole so far, {good} of {} looks",
                    args.samples
                )))
            }
            Look::NotYet(missing) => {
                good = 0;
                Ok(Look::NotYet(missing))
            }
        })
        .await
    }
}

async fn look(cx: &Cx, args: &WaitArgs) -> Result<Look<WaitOut>, OpError> {
    // Whoever was just refreshed is asked last: it may know less than the others.
    let mut order = cx.members();
    order.sort_by_key(|member| Some(member) == args.member.as_ref());
    let health = match health(cx, &order).await {
        Ok(health) => health,
        Err(error) if error.kind == Kind::Unreachable => return Err(error),
        Err(error) => return Ok(Look::NotYet(format!("Ceph doesn't answer: {error}"))),
    };
    if !health.ok {
        return Ok(Look::NotYet(health.problems.join("; ")));
    }
    if args.osds.is_some_and(|osds| osds != health.osds) {
        let before = args.osds.unwrap_or_default();
        return Ok(Look::NotYet(format!(
            "there were {before} OSDs, and now there are {}",
            health.osds
        )));
    }
    let Some(member) = &args.member else {
        return Ok(match microcluster::look_everywhere(cx, MICROCEPH).await? {
            Look::Yes(State::Online) => Look::Yes(WaitOut {
                database: State::Online,
                health,
            }),
            Look::Yes(State::Waiting) => {
                Look::NotYet("MicroCeph still waits for members without the release".to_owned())
            }
            Look::NotYet(missing) => Look::NotYet(missing),
        });
    };
    let cmd = ceph::command(&["osd", "tree"]);
    let (asked, output) = cx.ask(&order, &cmd).await?;
    let tree: OsdTree = output.json(&cmd, asked.as_str())?;
    let (_, down) = tree.of_host(member.as_str());
    if !down.is_empty() {
        let down: Vec<String> = down.iter().map(|id| format!("osd.{id}")).collect();
        return Ok(Look::NotYet(format!(
            "{} of {member} down",
            down.join(", ")
        )));
    }
    Ok(match microcluster::look(cx, MICROCEPH, member).await? {
        Look::Yes(database) => Look::Yes(WaitOut { database, health }),
        Look::NotYet(missing) => Look::NotYet(missing),
    })
}

/// Set or clear `noout` for a member: while it is set, Ceph doesn't start moving data because that member is away.
///
/// Only for that member (`set-group`), so that the failure of another isn't hidden. `changed` says whether it was
/// otherwise before: who set it gives it back, and nobody else's is touched. Where `noout` is set for the whole cluster
/// there is nothing to do for a member.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NooutArgs {
    /// The member, which is the host in Ceph's map.
    pub member: Member,
    /// `true` to set it, `false` to clear it.
    pub on: bool,
}

/// What setting or clearing did.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct NooutOut {
    /// Whether it was otherwise before.
    pub changed: bool,
}

/// How it was before.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Was {
    set: bool,
}

/// `microceph.noout`
pub struct Noout;

impl Op for Noout {
    const NAME: &'static str = "microceph.noout";
    const EFFECT: Effect = Effect::Once;
    type Args = NooutArgs;
    type Out = NooutOut;

    fn headline(args: &NooutArgs) -> String {
        if args.on {
            "set".to_owned()
        } else {
            "clear".to_owned()
        }
    }

    fn summary(out: &NooutOut) -> String {
        if out.changed {
            "done".to_owned()
        } else {
            "nothing to do".to_owned()
        }
    }

    async fn run(cx: &Cx, args: NooutArgs) -> Result<NooutOut, OpError> {
        let (asked, set, global) = noout(cx, &args.member).await?;
        let was = cx.left::<Was>().map_or(set, |was| was.set);
        if set == args.on || global {
            return Ok(NooutOut {
                changed: was != args.on && !global,
            });
        }
        cx.witness(&Was { set }).await?;
        let verb = if args.on { "set-group" } else { "unset-group" };
        let cmd = Cmd::root([
            "/snap/bin/microceph.ceph",
            "osd",
            verb,
            "noout",
            args.member.as_str(),
        ]);
        cx.cmd(&asked, &cmd).await?.text(&cmd, asked.as_str())?;
        let (_, set, _) = noout(cx, &args.member).await?;
        if set == args.on {
            return Ok(NooutOut { changed: true });
        }
        Err(OpError::command(format!(
            "ceph osd {verb} noout succeeded, but nothing changed"
        ))
        .on(args.member.as_str()))
    }

    async fn probe(cx: &Cx, args: NooutArgs) -> Result<Probe<NooutOut>, OpError> {
        let (_, set, _) = noout(cx, &args.member).await?;
        match cx.left::<Was>() {
            Some(was) if set == args.on => Ok(Probe::Done(NooutOut {
                changed: was.set != args.on,
            })),
            _ => Ok(Probe::NotStarted),
        }
    }
}

/// Who was asked, whether `noout` holds for `host`, and whether it does for the whole cluster.
async fn noout(cx: &Cx, host: &Member) -> Result<(Member, bool, bool), OpError> {
    let cmd = ceph::command(&["osd", "dump"]);
    let (asked, output) = cx.ask(&cx.members(), &cmd).await?;
    let dump: OsdDump = output.json(&cmd, asked.as_str())?;
    let (set, global) = dump.noout(host.as_str());
    Ok((asked, set, global))
}
