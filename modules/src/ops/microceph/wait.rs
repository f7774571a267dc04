//! The gate behind a refreshed member.

use std::cell::OnceCell;
use std::time::Duration;

use futures_util::future::{join, join3};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::baseline::osd_names;
use super::look::{others_first, unanswered, with_place};
use super::spare::SpareOut;
use super::{BaselineOut, HealthOut};
use crate::contract::cmd::Cmd;
use crate::contract::cx::{Cx, Look, Unmet};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::products::ceph::{Details, Picture, Release};
use crate::products::microcluster::{self, MICROCEPH, State, Watch};
use crate::products::snapd::Revision;

/// The longest pause between two looks of a gate, and the pause between good ones where several are asked for.
pub(super) const EVERY: Duration = Duration::from_secs(5);

/// A client that lost its monitor to an election, or its manager, may hang for long: at first a new one is tried soon (seen
/// with 18.2.7: 10 s and more, where a new one took 0.6 s).
const SHORT: Duration = Duration::from_secs(3);

/// Wait until the storage is healthy again: the gate before the next member.
///
/// All monitors in quorum, a manager, all OSDs up and in, all placement groups clean, no code that speaks against it. With
/// a member: its services run, its OSDs are all there, its daemons run what its snap has, and its MicroCeph daemon is
/// online, or waits for the members that don't have the release yet.
///
/// With `spared`, nothing counts that may be older than the refresh: the member's OSDs have come up since, its monitor was
/// in an election since, and each placement group of its OSDs was reported on since they came up. Where only such reports
/// are missing, all OSDs are told to report now (`flush_pg_stats`), which changes nothing else.
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
    /// What `microceph.spare` returned before the refresh.
    pub(crate) spared: Option<SpareOut>,
    /// Members that were refreshed before: their services have to run still.
    #[serde(default)]
    pub(crate) done: Vec<Member>,
    /// Good looks in a row, 5 s apart.
    #[serde(default = "samples")]
    pub(crate) samples: u32,
}

/// One look shows what can't be older than the refresh: more of them prove nothing more.
pub(super) fn samples() -> u32 {
    1
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
        let began = Instant::now();
        let installed = OnceCell::new();
        let gate = async |watch: &Watch| {
            let looks = async || look(cx, &args, began.elapsed(), watch, &installed).await;
            cx.steady(args.samples, EVERY, |_| (), looks).await
        };
        let opened = Watch::gate(cx, MICROCEPH, &args.done, gate).await;
        opened.map_err(|e| microcluster::with_way_back(cx, e, MICROCEPH, member, before))
    }
}

/// Ceph is asked by one member, and the refreshed one how its own services are, at once. The others are asked every
/// few seconds, and when nothing is missing there.
async fn look(
    cx: &Cx,
    args: &WaitArgs,
    waited: Duration,
    watch: &Watch,
    known: &OnceCell<Release>,
) -> Look<WaitOut> {
    let Some(member) = &args.member else {
        let (picture, online) = join(
            whole(cx, None, args.since.as_ref(), &Details::default()),
            microcluster::look_everywhere(cx, MICROCEPH, &args.done),
        )
        .await;
        let (picture, _) = (picture?, online?);
        return Ok(WaitOut {
            database: State::Online,
            health: HealthOut::of(&picture.status, &picture.dump),
        });
    };
    let mut details = args
        .since
        .as_ref()
        .map_or_else(Details::default, |since| details_of(since, member));
    details.patience = (waited / 2).clamp(SHORT, details.patience);
    let (picture, installed, database) = join3(
        whole(cx, Some(member), args.since.as_ref(), &details),
        installed(cx, member, known),
        watch.look(cx, member),
    )
    .await;
    let (picture, database) = match (picture, database) {
        // A member that doesn't answer is why Ceph isn't whole.
        (Err(Unmet::NotYet(_)), Err(Unmet::Failed(error))) => return Err(Unmet::Failed(error)),
        (picture, database) => (picture?, database),
    };
    if !details.daemons.is_empty() {
        current(member, installed?, &details, &picture).map_err(Unmet::NotYet)?;
    }
    let old = stale(member, args.spared.as_ref(), &picture);
    if !old.is_empty() {
        picture.have_reported(cx).await;
        return Err(Unmet::NotYet(old.join("; ")));
    }
    Ok(WaitOut {
        database: database?.confirmed(cx, &args.done).await?,
        health: HealthOut::of(&picture.status, &picture.dump),
    })
}

/// What is asked of a refreshed member's daemons.
fn details_of(since: &BaselineOut, member: &Member) -> Details {
    let osds = since.osds.get(member.as_str()).cloned().unwrap_or_default();
    let mons = since.mons.iter().filter(|mon| *mon == member.as_str());
    let mons = mons.map(|mon| ("mon", mon.clone()));
    let daemons = osds.iter().map(|id| ("osd", id.to_string()));
    Details {
        daemons: mons.chain(daemons).collect(),
        osds,
        ..Details::default()
    }
}

/// Whether the storage is whole, and has what it had.
pub(super) async fn whole(
    cx: &Cx,
    member: Option<&Member>,
    since: Option<&BaselineOut>,
    details: &Details,
) -> Look<Picture> {
    let picture = Picture::detailed(cx, &others_first(cx, member), details).await;
    let picture = picture.map_err(|error| Unmet::of(error, unanswered))?;
    let mut problems = picture.problems(since.map(|baseline| &baseline.codes), None);
    if let Some(baseline) = since {
        problems.extend(vanished(baseline, &picture));
    }
    if problems.is_empty() {
        return Ok(picture);
    }
    picture.have_reported(cx).await;
    Err(Unmet::NotYet(with_place(&picture, None, &problems)))
}

/// What of a picture may be from before a member's refresh, although all of it is as wanted: a manager shows placement
/// groups as clean until their OSDs report otherwise, some seconds after the OSDs came back (seen with 18.2.7).
fn stale(member: &Member, spared: Option<&SpareOut>, picture: &Picture) -> Vec<String> {
    let mut old = Vec::new();
    if let Some(SpareOut {
        osdmap, election, ..
    }) = spared
    {
        let is_mon = picture.mons.names().any(|name| name == member.as_str());
        if is_mon && picture.status.election_epoch <= *election {
            old.push(format!(
                "the monitor of {member} hasn't been in an election since the refresh"
            ));
        }
        let own = picture.groups.iter().map(|(id, _)| *id);
        let up = own.filter(|id| {
            picture
                .dump
                .up_from(*id)
                .is_some_and(|from| from <= *osdmap)
        });
        let up: Vec<i64> = up.collect();
        if !up.is_empty() {
            let what = osd_names(&up);
            old.push(format!(
                "{what} of {member} not restarted since the refresh"
            ));
        }
    }
    old.extend(picture.unreported().map(|(id, unreported, all)| {
        format!(
            "of {all} placement groups on osd.{id}, {unreported} have not been reported since it came up"
        )
    }));
    old
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

/// The release of Ceph that a member's snap has. It is asked for until it is known: starting the client takes a while.
async fn installed<'a>(
    cx: &Cx,
    member: &Member,
    known: &'a OnceCell<Release>,
) -> Look<&'a Release> {
    if let Some(known) = known.get() {
        return Ok(known);
    }
    let output = cx
        .cmd(member, &Cmd::root(["/snap/bin/microceph.ceph", "-v"]))
        .await?;
    let release = Release::parse(&output.stdout).filter(|_| output.success());
    let release = release.ok_or_else(|| {
        Unmet::NotYet(format!(
            "{member} doesn't report which release of Ceph it has"
        ))
    })?;
    Ok(known.get_or_init(|| release))
}

/// Whether a refreshed member's monitor and OSDs run what its snap has. A unit of OSDs that is active says nothing of each
/// of them.
fn current(
    member: &Member,
    installed: &Release,
    details: &Details,
    picture: &Picture,
) -> Result<(), String> {
    for ((kind, who), metadata) in details.daemons.iter().zip(&picture.metadata) {
        let runs = &metadata.ceph_version;
        let runs = Release::parse(runs).map_or_else(|| runs.clone(), |release| release.to_string());
        if runs != installed.to_string() {
            return Err(format!(
                "{kind}.{who} of {member} runs {runs}, and its snap has {installed}"
            ));
        }
    }
    Ok(())
}
