//! `microceph.noout`: while a member is away, Ceph must not start to move its data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::Cmd;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op, Probe, Switch};
use crate::contract::schema::Member;
use crate::products::ceph::{self, OsdDump, OsdTree};

/// Set or clear `noout` for a member: while it is set, Ceph doesn't start moving data because that member is away.
///
/// Only for that member (`set-group`), so that the failure of another isn't hidden. `changed` says whether it was
/// different before: whoever set it restores it, and nobody else's is touched. Where `noout` is set for the whole cluster
/// there is nothing to do for a member, nor for one without OSDs.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NooutArgs {
    /// The member, which is the host in Ceph's map.
    pub(crate) member: Member,
    /// `true` to set it, `false` to clear it.
    pub(crate) on: bool,
}

/// What setting or clearing did.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct NooutOut {
    /// Whether it was otherwise before.
    pub(crate) changed: bool,
    /// Whose it is, where it was set before and so stays: somebody else set it for the member, or for the whole cluster.
    #[serde(default)]
    pub(crate) kept: Option<Kept>,
}

/// A flag that somebody else has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kept {
    /// For the member.
    Member,
    /// For the whole cluster.
    Cluster,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Was {
    set: bool,
}

pub(crate) struct Noout;

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
        match (out.changed, out.kept) {
            (true, _) => "done",
            (false, Some(Kept::Cluster)) => {
                "somebody else has set it for the whole cluster; it stays set"
            }
            (false, Some(Kept::Member)) => "somebody else has set it; it stays set",
            (false, None) => "nothing to do",
        }
        .to_owned()
    }

    fn switched(args: &NooutArgs, out: &NooutOut) -> Option<Switch> {
        (out.changed || !args.on).then(|| Switch {
            what: format!("noout is set for {}", args.member),
            on: args.on,
            undo: format!(
                "lockstep op microceph.noout --member {} --on false",
                args.member
            ),
        })
    }

    async fn run(cx: &Cx, args: NooutArgs) -> Result<NooutOut, OpError> {
        let (asked, set, global) = noout(cx, &args.member).await?;
        let was = cx.left::<Was>().map_or(set, |was| was.set);
        if set == args.on || global {
            let changed = was != args.on && !global;
            let whose = if global { Kept::Cluster } else { Kept::Member };
            return Ok(NooutOut {
                changed,
                kept: (set && !changed).then_some(whose),
            });
        }
        if !has_osds(cx, &args.member).await? {
            return Ok(NooutOut {
                changed: false,
                kept: None,
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
        cx.cmd(&asked, &cmd).await?.text(&cmd, &asked)?;
        let (_, set, _) = noout(cx, &args.member).await?;
        if set == args.on {
            return Ok(NooutOut {
                changed: true,
                kept: None,
            });
        }
        Err(OpError::command(format!(
            "ceph osd {verb} noout succeeded, but nothing changed"
        ))
        .on(&args.member))
    }

    async fn probe(cx: &Cx, args: NooutArgs) -> Result<Probe<NooutOut>, OpError> {
        let (_, set, _) = noout(cx, &args.member).await?;
        match cx.left::<Was>() {
            Some(was) if set == args.on => Ok(Probe::Done(NooutOut {
                changed: was.set != args.on,
                kept: None,
            })),
            _ => Ok(Probe::NotStarted),
        }
    }
}

/// Who was asked, whether `noout` holds for `host`, and whether it does for the whole cluster.
async fn noout(cx: &Cx, host: &Member) -> Result<(Member, bool, bool), OpError> {
    let (asked, dump): (_, OsdDump) = ceph::ask(cx, &cx.members(), &["osd", "dump"]).await?;
    let (set, global) = dump.noout(host.as_str());
    Ok((asked, set, global))
}

/// Whether the member is a host with OSDs in Ceph's map: Ceph refuses flags for others.
async fn has_osds(cx: &Cx, host: &Member) -> Result<bool, OpError> {
    let (_, tree): (_, OsdTree) = ceph::ask(cx, &cx.members(), &["osd", "tree"]).await?;
    Ok(!tree.of_host(host.as_str()).0.is_empty())
}
