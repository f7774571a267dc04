//! `microceph.noout`: while a member is away, Ceph must not start to move its data.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::last_line;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op, Probe, Switch};
use crate::contract::schema::Member;
use crate::products::ceph::{Answers, OsdDump, OsdTree, session};

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
        let seen = Seen::take(cx, &args.member).await?;
        let was = cx.left::<Was>().map_or(seen.set, |was| was.set);
        if seen.set == args.on || seen.global {
            let changed = was != args.on && !seen.global;
            let whose = if seen.global {
                Kept::Cluster
            } else {
                Kept::Member
            };
            return Ok(NooutOut {
                changed,
                kept: (seen.set && !changed).then_some(whose),
            });
        }
        if !seen.has_osds {
            return Ok(NooutOut {
                changed: false,
                kept: None,
            });
        }
        cx.witness(&Was { set: seen.set }).await?;
        let verb = if args.on { "set-group" } else { "unset-group" };
        // One process: the change says nothing on success, and the maps that it prints are from after it.
        let change = format!("osd {verb} noout {}", args.member);
        let cmd = session(&[change.as_str(), MAPS[0], MAPS[1]]);
        let output = cx.cmd(&seen.asked, &cmd).await?;
        let answers = Answers::of(&seen.asked, &cmd, &output, 1)?;
        if Seen::read(&args.member, answers)?.set == args.on {
            return Ok(NooutOut {
                changed: true,
                kept: None,
            });
        }
        Err(OpError::command(format!(
            "ceph osd {verb} noout changed nothing: {}",
            last_line(&output.stderr, "")
        ))
        .on(&args.member))
    }

    async fn probe(cx: &Cx, args: NooutArgs) -> Result<Probe<NooutOut>, OpError> {
        let seen = Seen::take(cx, &args.member).await?;
        match cx.left::<Was>() {
            Some(was) if seen.set == args.on => Ok(Probe::Done(NooutOut {
                changed: was.set != args.on,
                kept: None,
            })),
            _ => Ok(Probe::NotStarted),
        }
    }
}

/// The flags, and whose OSDs they are for.
const MAPS: [&str; 2] = ["osd dump", "osd tree"];

/// What Ceph's maps say of a member.
struct Seen {
    /// Who was asked.
    asked: Member,
    /// Whether `noout` holds for it.
    set: bool,
    /// Whether it does because of the whole cluster.
    global: bool,
    /// Whether it is a host with OSDs: Ceph refuses flags for others.
    has_osds: bool,
}

impl Seen {
    async fn take(cx: &Cx, host: &Member) -> Result<Self, OpError> {
        let cmd = session(&MAPS);
        let (asked, output) = cx.ask(&cx.members(), &cmd).await?;
        Self::read(host, Answers::of(&asked, &cmd, &output, 0)?)
    }

    fn read(host: &Member, mut answers: Answers<'_>) -> Result<Self, OpError> {
        let (dump, tree): (OsdDump, OsdTree) = (answers.next()?, answers.next()?);
        let (set, global) = dump.noout(host.as_str());
        Ok(Self {
            asked: answers.member.clone(),
            set,
            global,
            has_osds: !tree.of_host(host.as_str()).0.is_empty(),
        })
    }
}
