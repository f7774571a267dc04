//! The gate behind a refreshed member.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::osd_names;
use super::{BaselineOut, HealthOut};
use crate::contract::cmd::Cmd;
use crate::contract::cx::{Cx, Look, Unmet};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::products::ceph::{self, Metadata, Picture, Release};
use crate::products::microcluster::{self, MICROCEPH, State};
use crate::products::snapd::Revision;

/// Pause between two looks of a gate.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// Good looks in a row before a gate opens. A host that loses power is missed by its monitors after some 12 s and its OSDs
/// after some 18 s, and until then Ceph calls itself healthy: five looks take 20 s.
const SAMPLES: u32 = 5;

/// Wait until the storage is healthy again: the gate before the next member.
///
/// All monitors in quorum, a manager, all OSDs up and in, all placement groups clean, no code that speaks against it,
/// several looks in a row. With a member: its services run, its OSDs are all there, its daemons run what its snap has, and
/// its MicroCeph daemon is online, or waits for the members that don't have the release yet.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitArgs {
    /// The member that was just refreshed.
    pub(crate) member: Option<Member>,
    /// The revision that it had before, as long as it can go back to it: named where the gate stays closed.
    pub(crate) before: Option<Revision>,
    /// What `microceph.baseline` returned: monitors and OSDs that were there then have to be there, and codes that were
    /// raised then don't count.
    pub(crate) since: Option<BaselineOut>,
    /// Good looks in a row, 5 s apart.
    #[serde(default = "samples")]
    pub(crate) samples: u32,
}

pub(super) fn samples() -> u32 {
    SAMPLES
}

/// What the gate saw when it opened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WaitOut {
    /// How MicroCeph's database stands.
    pub(crate) database: State,
    /// How the storage is.
    pub(crate) health: HealthOut,
}

pub(crate) struct Wait;

impl Op for Wait {
    const NAME: &'static str = "microceph.wait";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(15 * 60);
    type Args = WaitArgs;
    type Out = WaitOut;

    fn headline(args: &WaitArgs) -> String {
        match args.member {
            None => "storage is healthy".to_owned(),
            Some(_) => "storage is healthy again".to_owned(),
        }
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
        let (member, before) = (args.member.as_ref(), args.before.as_ref());
        cx.steady(args.samples, EVERY, |_| (), async || look(cx, &args).await)
            .await
            .map_err(|e| microcluster::with_way_back(cx, e, MICROCEPH, member, before))
    }
}

/// All members, whoever was just refreshed last: it may know less than the others.
pub(super) fn others_first(cx: &Cx, member: Option<&Member>) -> Vec<Member> {
    let mut order = cx.members();
    order.sort_by_key(|other| Some(other) == member);
    order
}

async fn look(cx: &Cx, args: &WaitArgs) -> Look<WaitOut> {
    let health = whole(cx, args.member.as_ref(), args.since.as_ref()).await?;
    let database = match &args.member {
        Some(member) => {
            settled(cx, member, args.since.as_ref()).await?;
            microcluster::look_refreshed(cx, MICROCEPH, member).await?
        }
        None => {
            microcluster::look_everywhere(cx, MICROCEPH).await?;
            State::Online
        }
    };
    Ok(WaitOut { database, health })
}

/// Whether the storage is whole, and has what it had.
pub(super) async fn whole(
    cx: &Cx,
    member: Option<&Member>,
    since: Option<&BaselineOut>,
) -> Look<HealthOut> {
    let picture = Picture::take(cx, &others_first(cx, member)).await;
    let picture = picture.map_err(|error| Unmet::of(error, unanswered))?;
    let mut problems = picture.problems(since.map(|baseline| &baseline.codes), None);
    if let Some(baseline) = since {
        problems.extend(vanished(baseline, &picture));
    }
    if problems.is_empty() {
        return Ok(HealthOut::of(&picture.status, &picture.dump));
    }
    Err(Unmet::NotYet(with_place(&picture, None, &problems)))
}

/// What is missing, and where to look for more of it. OSDs that are down beside `member` name their own place.
pub(super) fn with_place(
    picture: &Picture,
    member: Option<&Member>,
    problems: &[String],
) -> String {
    let all = problems.join("; ");
    if !picture.down_elsewhere(member).is_empty() {
        return all;
    }
    format!("{all}; for more: sudo microceph.ceph health detail")
}

/// Ceph's commands say nothing of it where the monitors have no quorum: they only don't end.
pub(super) fn unanswered(error: &OpError) -> String {
    let asked = error
        .member
        .as_ref()
        .map(Member::as_str)
        .unwrap_or("every member");
    format!(
        "Ceph doesn't answer on {asked}: {error}; if its monitors lack their majority, on each member, see: sudo snap logs microceph.mon"
    )
}

/// Monitors and OSDs that were there and aren't in Ceph's maps any more: no figure tells of those.
fn vanished(baseline: &BaselineOut, picture: &Picture) -> Vec<String> {
    let mut vanished = Vec::new();
    let mons = baseline
        .mons
        .iter()
        .filter(|mon| !picture.mons.names().any(|name| name == *mon));
    vanished.extend(mons.map(|mon| format!("the monitor of {mon} is no longer one of them")));
    for (host, before) in &baseline.osds {
        let (now, _) = picture.tree.of_host(host);
        let gone: Vec<i64> = before
            .iter()
            .copied()
            .filter(|id| !now.contains(id))
            .collect();
        if !gone.is_empty() {
            vanished.push(format!("{} of {host} no longer there", osd_names(&gone)));
        }
    }
    vanished
}

/// Whether a member that was refreshed has settled: its monitor and OSDs run what its snap has. A unit of OSDs that is
/// active says nothing of each of them.
async fn settled(cx: &Cx, member: &Member, since: Option<&BaselineOut>) -> Look<()> {
    let Some(baseline) = since else {
        return Ok(());
    };
    let osds = baseline
        .osds
        .get(member.as_str())
        .into_iter()
        .flatten()
        .map(|id| ("osd", id.to_string()));
    let mons = baseline
        .mons
        .iter()
        .filter(|mon| *mon == member.as_str())
        .map(|mon| ("mon", mon.clone()));
    let daemons: Vec<(&str, String)> = mons.chain(osds).collect();
    if daemons.is_empty() {
        return Ok(());
    }
    let mut batch = vec![Cmd::root(["/snap/bin/microceph.ceph", "-v"])];
    batch.extend(
        daemons
            .iter()
            .map(|(kind, who)| ceph::command(&[kind, "metadata", who])),
    );
    let outputs = cx.batch(member, &batch).await?;
    let mut read = outputs.iter().zip(&batch);
    let Some(installed) = read
        .next()
        .and_then(|(output, _)| Release::parse(&output.stdout).filter(|_| output.success()))
    else {
        return Err(Unmet::NotYet(format!(
            "{member} doesn't report which release of Ceph it has"
        )));
    };
    for ((kind, who), (output, cmd)) in daemons.iter().zip(read) {
        let runs = output.json::<Metadata>(cmd, member);
        let runs = runs.map(|metadata| {
            Release::parse(&metadata.ceph_version)
                .map_or(metadata.ceph_version, |release| release.to_string())
        });
        match runs {
            Ok(runs) if runs == installed.to_string() => {}
            Ok(runs) => {
                return Err(Unmet::NotYet(format!(
                    "{kind}.{who} of {member} runs {runs}, and its snap has {installed}"
                )));
            }
            Err(error) => return Err(Unmet::NotYet(format!("{kind}.{who} of {member}: {error}"))),
        }
    }
    Ok(())
}
