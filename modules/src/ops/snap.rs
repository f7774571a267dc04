//! `snap`: what is installed on a member, and refreshing it.
//!
//! Facts from `snapd`'s sources: one snap per command (flags are silently dropped otherwise), never wait in the
//! foreground (an interrupt would abort the change), and judge by the state afterwards (exit 0 is also "nothing to do",
//! "only switched" and "parked").

mod aim;
mod args;
mod clients;
mod follow;
mod refresh;
mod spared;
mod stage;

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use args::Spared;
pub use args::{RefreshArgs, Replaced};
pub(crate) use clients::{Client, Clients, Wait, against, lasting as running};
pub use refresh::{REFRESH, Refresh, RefreshOut};
pub use spared::Spares;
pub use stage::SCRIPT as STAGE;
pub(crate) use stage::Stage;

use crate::contract::cmd::Cmd;
use crate::contract::cx::{Cx, LogLevel, Unmet};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Module, Observation, Op};
use crate::contract::schema::{Channel, Member, Span};
use crate::contract::text::joined;
use crate::products::snapd::{self, Change, Revision, Snap};

/// The cohort that lets all members get the same revision, whatever a progressive release gives each of them.
pub(crate) const COHORT: &str = "+";

/// The module. `S` says which components have to spare a member before they are refreshed there.
pub(crate) fn module<S: Spares>() -> Module {
    Module::new(
        "snap",
        "Snaps of a member: what is installed, and refreshing it.",
    )
    .op::<Info>()
    .op::<List>()
    .op::<Updates>()
    .op::<Changes>()
    .op::<Clients>()
    .op::<Wait>()
    .op::<Stage>()
    .op::<Refresh<S>>()
    .op::<Switch>()
    .op::<Hold>()
    .op::<Unhold>()
}

/// A snap as it is installed on a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Installed {
    /// Revision, for example `33110`.
    pub revision: Revision,
    /// Version, as its publisher writes it.
    pub version: String,
    /// The channel it follows; empty for a local snap.
    pub channel: String,
    /// Its cohort: `+`, another key, or empty.
    pub cohort: String,
    /// Whether refreshes that don't name it are held.
    pub held: bool,
    /// Whether it is enabled and not in mid-refresh.
    pub active: bool,
}

impl Installed {
    /// What snapd says, as of `now` (an expired hold is none).
    pub(crate) fn of(snap: Snap, now: Timestamp) -> Self {
        Self {
            held: snap.hold.is_some_and(|until| until > now),
            active: snap.status == "active",
            revision: snap.revision,
            version: snap.version,
            channel: snap.tracking_channel,
            cohort: snap.cohort_key,
        }
    }

    pub(crate) fn observation(&self, member: &Member, snap: &str) -> Observation {
        let key = |field: &str| format!("{member}/{snap}/{field}");
        Observation::from([
            (key("revision"), self.revision.to_string()),
            (key("channel"), self.channel.clone()),
            (key("cohort"), self.cohort.clone()),
        ])
    }
}

/// Show how a snap is installed on a member.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnapArgs {
    /// Member to ask.
    pub(crate) member: Member,
    /// Snap to inspect.
    pub(crate) snap: String,
}

pub(crate) struct Info;

impl Op for Info {
    const NAME: &'static str = "snap.info";
    const EFFECT: Effect = Effect::Read;
    type Args = SnapArgs;
    type Out = Installed;

    fn headline(args: &SnapArgs) -> String {
        args.snap.clone()
    }

    fn summary(out: &Installed) -> String {
        let cohort = if out.cohort.is_empty() {
            "no cohort"
        } else {
            "in cohort"
        };
        format!(
            "{} ({}) from {}, {cohort}",
            out.version, out.revision, out.channel
        )
    }

    fn observed(args: &SnapArgs, out: &Installed) -> Observation {
        out.observation(&args.member, &args.snap)
    }

    async fn run(cx: &Cx, args: SnapArgs) -> Result<Installed, OpError> {
        let (snap, _) = look(cx, &args.member, &args.snap).await?;
        Ok(Installed::of(snap, cx.now()))
    }
}

/// List the snaps of a member.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListArgs {
    /// Member to ask.
    pub(crate) member: Member,
}

/// The snaps of a member.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ListOut {
    /// Every installed snap, by name.
    pub(crate) snaps: BTreeMap<String, Installed>,
}

pub(crate) struct List;

impl Op for List {
    const NAME: &'static str = "snap.list";
    const EFFECT: Effect = Effect::Read;
    type Args = ListArgs;
    type Out = ListOut;

    fn summary(out: &ListOut) -> String {
        let snaps = out
            .snaps
            .iter()
            .map(|(name, snap)| format!("{name} {}", snap.revision));
        joined(snaps, ", ")
    }

    async fn run(cx: &Cx, args: ListArgs) -> Result<ListOut, OpError> {
        let snaps: Vec<Snap> = snapd::ask(cx, &args.member, "/v2/snaps").await?;
        let now = cx.now();
        Ok(ListOut {
            snaps: snaps
                .into_iter()
                .map(|s| (s.name.clone(), Installed::of(s, now)))
                .collect(),
        })
    }
}

/// Ask the store what it has for a member's snaps, in the channel and cohort that each is in.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UpdatesArgs {
    /// Member to ask.
    pub(crate) member: Member,
}

/// What a refresh would bring.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UpdatesOut {
    /// The revision that each snap with an update would get, by snap.
    pub(crate) updates: BTreeMap<String, Update>,
}

/// A revision that the store offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Update {
    /// Its revision.
    pub revision: Revision,
    /// Its version.
    pub version: String,
}

impl From<snapd::Released> for Update {
    fn from(released: snapd::Released) -> Self {
        Self {
            revision: released.revision,
            version: released.version,
        }
    }
}

pub(crate) struct Updates;

impl Op for Updates {
    const NAME: &'static str = "snap.updates";
    const EFFECT: Effect = Effect::Read;
    type Args = UpdatesArgs;
    type Out = UpdatesOut;

    fn summary(out: &UpdatesOut) -> String {
        if out.updates.is_empty() {
            return "none".to_owned();
        }
        let each = out.updates.iter();
        joined(each.map(|(name, u)| format!("{name} {}", u.revision)), ", ")
    }

    async fn run(cx: &Cx, args: UpdatesArgs) -> Result<UpdatesOut, OpError> {
        let updates = updates(cx, &args.member).await?;
        Ok(UpdatesOut { updates })
    }
}

/// What the store offers for the snaps of a member, by name.
pub(crate) async fn updates(cx: &Cx, member: &Member) -> Result<BTreeMap<String, Update>, OpError> {
    let offers = offers(cx, member).await?.into_iter().map(|s| {
        let update = Update {
            revision: s.revision,
            version: s.version,
        };
        (s.name, update)
    });
    Ok(offers.collect())
}

/// A snap as the store offers it.
#[derive(Deserialize)]
struct Offer {
    name: String,
    revision: Revision,
    version: String,
}

/// What the store offers for the snaps of a member, in the channels that they follow.
async fn offers(cx: &Cx, member: &Member) -> Result<Vec<Offer>, OpError> {
    snapd::ask(cx, member, "/v2/find?select=refresh").await
}

/// List the changes that snapd made or is making on a member.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChangesArgs {
    /// Member to ask.
    pub(crate) member: Member,
    /// Only changes that concern this snap.
    pub(crate) snap: Option<String>,
    /// Only changes in progress.
    #[serde(default)]
    pub(crate) in_progress: bool,
}

/// Changes, oldest first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChangesOut {
    /// The changes. snapd forgets them a day after they end.
    pub(crate) changes: Vec<ChangeOut>,
}

/// A change of snapd's.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChangeOut {
    /// Its id.
    pub(crate) id: String,
    /// What it is, for example `refresh-snap`.
    pub(crate) kind: String,
    /// How it stands: `Doing`, `Done`, `Error` and so on.
    pub(crate) status: String,
    /// Whether nothing of it is still running.
    pub(crate) ready: bool,
    /// What it is, in the member's language.
    pub(crate) summary: String,
    /// Why it failed.
    pub(crate) error: Option<String>,
}

impl From<Change> for ChangeOut {
    fn from(change: Change) -> Self {
        Self {
            id: change.id,
            kind: change.kind,
            status: change.status,
            ready: change.ready,
            summary: change.summary,
            error: Some(change.err).filter(|err| !err.is_empty()),
        }
    }
}

pub(crate) struct Changes;

impl Op for Changes {
    const NAME: &'static str = "snap.changes";
    const EFFECT: Effect = Effect::Read;
    type Args = ChangesArgs;
    type Out = ChangesOut;

    fn headline(args: &ChangesArgs) -> String {
        args.snap.clone().unwrap_or_default()
    }

    fn summary(out: &ChangesOut) -> String {
        let going = out.changes.iter().filter(|c| !c.ready).count();
        format!("{} changes, {going} in progress", out.changes.len())
    }

    async fn run(cx: &Cx, args: ChangesArgs) -> Result<ChangesOut, OpError> {
        let select = if args.in_progress {
            "in-progress"
        } else {
            "all"
        };
        let only = args
            .snap
            .as_ref()
            .map_or_else(String::new, |snap| format!("&for={snap}"));
        let path = format!("/v2/changes?select={select}{only}");
        let mut changes: Vec<Change> = snapd::ask(cx, &args.member, &path).await?;
        changes.sort_by_key(Change::number);
        Ok(ChangesOut {
            changes: changes.into_iter().map(Into::into).collect(),
        })
    }
}

/// Make a snap follow a channel and be in the cohort, without refreshing it: nothing restarts.
///
/// Before LXD is refreshed anywhere every member must already follow the target: a member that lags behind refreshes
/// itself, within the channel that it follows at that moment.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SwitchArgs {
    /// Member to act on.
    pub(crate) member: Member,
    /// Snap to switch.
    pub(crate) snap: String,
    /// Channel to follow. Unchanged if left out.
    pub(crate) channel: Option<Channel>,
}

/// What a switch did.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct SwitchOut {
    /// Whether it had to be switched.
    pub(crate) changed: bool,
    /// The channel it follows now.
    pub(crate) channel: String,
}

/// `snap.switch`
pub struct Switch;

impl Op for Switch {
    const NAME: &'static str = "snap.switch";
    const EFFECT: Effect = Effect::Converge;
    type Args = SwitchArgs;
    type Out = SwitchOut;

    fn headline(args: &SwitchArgs) -> String {
        format!("{}{}", args.snap, to_channel(args.channel.as_ref()))
    }

    fn summary(out: &SwitchOut) -> String {
        if out.changed {
            format!("tracks {}", out.channel)
        } else {
            format!("already tracks {}", out.channel)
        }
    }

    fn observed(args: &SwitchArgs, out: &SwitchOut) -> Observation {
        let key = |field: &str| format!("{}/{}/{field}", args.member, args.snap);
        Observation::from([
            (key("channel"), out.channel.clone()),
            (key("cohort"), COHORT.to_owned()),
        ])
    }

    fn touches(args: &SwitchArgs) -> Vec<String> {
        vec![format!("{}/{}/", args.member, args.snap)]
    }

    async fn run(cx: &Cx, args: SwitchArgs) -> Result<SwitchOut, OpError> {
        let (changed, snap) = switch(cx, &args.member, &args.snap, args.channel.as_ref()).await?;
        Ok(SwitchOut {
            changed,
            channel: snap.tracking_channel,
        })
    }
}

/// Whether a snap is in the cohort, and follows the channel if one is given.
fn follows(snap: &Snap, channel: Option<&Channel>) -> bool {
    snap.cohort_key == COHORT && channel.is_none_or(|c| c.as_str() == snap.tracking_channel)
}

/// Has a snap follow a channel in the cohort, and tells whether it had to, and how it is now.
async fn switch(
    cx: &Cx,
    member: &Member,
    name: &str,
    channel: Option<&Channel>,
) -> Result<(bool, Snap), OpError> {
    let (snap, _) = look(cx, member, name).await?;
    if follows(&snap, channel) {
        return Ok((false, snap));
    }
    let mut argv = vec!["/usr/bin/snap".to_owned(), "switch".to_owned()];
    argv.extend(channel.map(|c| format!("--channel={c}")));
    argv.extend([format!("--cohort={COHORT}"), name.to_owned()]);
    let cmd = Cmd::root(argv);
    cx.cmd(member, &cmd).await?.text(&cmd, member)?;
    let (snap, _) = look(cx, member, name).await?;
    if follows(&snap, channel) {
        return Ok((true, snap));
    }
    let is = format!(
        "it tracks {} in cohort {:?}",
        snap.tracking_channel, snap.cohort_key
    );
    Err(OpError::command(format!("snap switch succeeded, but {is}")).on(member))
}

/// Hold a snap's refreshes, so that only refreshes that name it happen.
///
/// This does not hold back a refresh by name, nor an LXD that lags behind its cluster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HoldArgs {
    /// Member to act on.
    pub(crate) member: Member,
    /// Snap to hold.
    pub(crate) snap: String,
}

/// What holding or releasing did.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct HoldOut {
    /// Whether it was otherwise before.
    pub(crate) changed: bool,
}

pub(crate) struct Hold;

impl Op for Hold {
    const NAME: &'static str = "snap.hold";
    const EFFECT: Effect = Effect::Converge;
    type Args = HoldArgs;
    type Out = HoldOut;

    fn headline(args: &HoldArgs) -> String {
        args.snap.clone()
    }

    fn summary(out: &HoldOut) -> String {
        if out.changed {
            "held".to_owned()
        } else {
            "held already".to_owned()
        }
    }

    async fn run(cx: &Cx, args: HoldArgs) -> Result<HoldOut, OpError> {
        set_hold(cx, &args.member, &args.snap, true).await
    }
}

/// Let a snap be refreshed by snapd again.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UnholdArgs {
    /// Member to act on.
    pub(crate) member: Member,
    /// Snap to release.
    pub(crate) snap: String,
}

pub(crate) struct Unhold;

impl Op for Unhold {
    const NAME: &'static str = "snap.unhold";
    const EFFECT: Effect = Effect::Converge;
    type Args = UnholdArgs;
    type Out = HoldOut;

    fn headline(args: &UnholdArgs) -> String {
        args.snap.clone()
    }

    fn summary(out: &HoldOut) -> String {
        if out.changed {
            "released".to_owned()
        } else {
            "not held".to_owned()
        }
    }

    async fn run(cx: &Cx, args: UnholdArgs) -> Result<HoldOut, OpError> {
        set_hold(cx, &args.member, &args.snap, false).await
    }
}

async fn set_hold(cx: &Cx, member: &Member, name: &str, hold: bool) -> Result<HoldOut, OpError> {
    let held = async || -> Result<bool, OpError> {
        let (snap, _) = look(cx, member, name).await?;
        Ok(Installed::of(snap, cx.now()).held)
    };
    if held().await? == hold {
        return Ok(HoldOut { changed: false });
    }
    let flag = if hold { "--hold=forever" } else { "--unhold" };
    let cmd = Cmd::root(["/usr/bin/snap", "refresh", flag, name]);
    cx.cmd(member, &cmd).await?.text(&cmd, member)?;
    if held().await? == hold {
        return Ok(HoldOut { changed: true });
    }
    let is = if hold { "not held" } else { "held" };
    Err(OpError::command(format!("snap refresh {flag} succeeded, but {name} is {is}")).on(member))
}

/// A snap, and all changes that snapd knows of it.
async fn look(cx: &Cx, member: &Member, name: &str) -> Result<(Snap, Vec<Change>), OpError> {
    let (snap, changes) = (
        format!("/v2/snaps/{name}"),
        format!("/v2/changes?select=all&for={name}"),
    );
    let [snap, changes] = snapd::get(cx, member, [&snap, &changes]).await?;
    if matches!(&snap, Err(e) if e.kind == "snap-not-found") {
        return Err(OpError::refused(format!("the snap {name:?} is not installed")).on(member));
    }
    // snapd answers "not found" where it has no change for a snap yet, in some releases.
    let changes = if changes.is_err() {
        Vec::new()
    } else {
        snapd::read(member, changes)?
    };
    Ok((snapd::read(member, snap)?, changes))
}

/// Waits until no change of this snap is in progress, and returns the snap. Whose change it is isn't known, so its id is
/// shown.
async fn settled(cx: &Cx, member: &Member, name: &str) -> Result<(Snap, Vec<Change>), OpError> {
    let mut waiting_for: Option<String> = None;
    cx.until(Span::secs(1).0, async || {
        let (snap, changes) = look(cx, member, name).await?;
        let Some(going) = changes.iter().find(|c| !c.ready) else {
            return Ok((snap, changes));
        };
        if waiting_for.as_ref() != Some(&going.id) {
            let text = format!(
                "{member}: snapd already has change {} of {name} in progress ({}); waiting for it",
                going.id, going.kind
            );
            cx.say(LogLevel::Info, &text);
            waiting_for = Some(going.id.clone());
        }
        let text = going.current().2;
        Err(Unmet::NotYet(format!(
            "change {} of {name} is in progress: {text}",
            going.id
        )))
    })
    .await
}

fn to_channel(channel: Option<&Channel>) -> String {
    channel.map_or_else(String::new, |c| format!(" to {c}"))
}
