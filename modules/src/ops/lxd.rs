//! `lxd`: instances and the cluster they run in.
//!
//! Never the verbs of `lxc cluster`, whose flags changed their meaning in 6.9, and never `snap revert`, `restart` or
//! `stop` of the lxd snap, which stop every instance of the member. `lxc` reads its standard input and prints a hint at
//! its first use: it gets `/dev/null`, and only standard output is read.

mod detail;
mod evacuate;
mod healing;
mod instances;
mod kept;
mod lasting;
mod operation;
mod placement;
mod predict;
mod restore;
mod work;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use detail::{InstanceDetail, StoragePool};
pub(crate) use detail::{inventory, pools};
pub use evacuate::Evacuate;
pub(crate) use healing::Healing;
pub use instances::{Instance, Instances, Unharmed};
pub use kept::Bucket;
pub(crate) use kept::{local_buckets, with_tpm};
pub(crate) use lasting::lasting;
pub(crate) use predict::Predict;
pub(crate) use restore::Restore;
pub(crate) use work::{Work, work};

use crate::contract::cmd::Cmd;
use crate::contract::component::Component;
use crate::contract::cx::{Cx, Look, Unmet};
use crate::contract::error::{Kind, OpError};
use crate::contract::op::{Effect, Module, Op};
use crate::contract::schema::{Member, Span};
use crate::contract::text::joined;
use crate::products::snapd::Presence;

/// Without quorum `lxc` hangs, and after a leader died it was seen to take more than 10 s, or 40 s on a blocked member.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a member may take to say how it sees the cluster: who looks wants to know who doesn't answer.
const LOOK: Duration = Duration::from_secs(30);

/// Pause between two looks of a gate.
const EVERY: Duration = Duration::from_secs(3);

pub(crate) fn module() -> Module {
    Module::new("lxd", "Instances: LXD and its cluster.")
        .op::<Members>()
        .op::<Wait>()
        .op::<Instances>()
        .op::<Unharmed>()
        .op::<Predict>()
        .op::<Evacuate>()
        .op::<Restore>()
        .op::<Healing>()
}

/// List the members of the LXD cluster and how LXD sees them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MembersArgs {}

/// The members of the LXD cluster.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MembersOut {
    /// The members.
    pub(crate) members: Vec<LxdMember>,
}

/// A member, as LXD sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LxdMember {
    /// Its name.
    #[serde(alias = "server_name")]
    pub(crate) name: Member,
    /// `Online`, `Offline`, `Blocked` (versions differ) or `Evacuated` (which hides the other two).
    pub(crate) status: String,
    /// Why.
    pub(crate) message: String,
    /// Its part in the database.
    #[serde(default)]
    pub(crate) roles: Vec<String>,
    /// Its processors' architecture.
    #[serde(default)]
    pub(crate) architecture: String,
    /// Its configuration, for example `scheduler.instance`.
    #[serde(default)]
    pub(crate) config: BTreeMap<String, String>,
    /// The cluster groups that it is in.
    #[serde(default)]
    pub(crate) groups: Vec<String>,
}

pub(crate) struct Members;

impl Op for Members {
    const NAME: &'static str = "lxd.members";
    const EFFECT: Effect = Effect::Read;
    type Args = MembersArgs;
    type Out = MembersOut;

    fn summary(out: &MembersOut) -> String {
        let each = out.members.iter();
        joined(each.map(|m| format!("{} {}", m.name, m.status)), ", ")
    }

    async fn run(cx: &Cx, _: MembersArgs) -> Result<MembersOut, OpError> {
        Ok(MembersOut {
            members: members(cx).await?,
        })
    }
}

/// `lxc query` of a path, asked of the first member that answers.
async fn query<T: DeserializeOwned>(cx: &Cx, path: &str) -> Result<T, OpError> {
    let cmd = Cmd::root(["/snap/bin/lxc", "query", path]).timeout(TIMEOUT);
    let (asked, mut output) = cx.ask(&cx.members(), &cmd).await?;
    if output.stdout.trim().is_empty() {
        // An empty object isn't printed (`lxc/query.go`).
        "{}".clone_into(&mut output.stdout);
    }
    output.json(&cmd, &asked)
}

/// The cluster's members.
pub(crate) async fn members(cx: &Cx) -> Result<Vec<LxdMember>, OpError> {
    some(query(cx, MEMBERS).await?)
}

const MEMBERS: &str = "/1.0/cluster/members?recursion=1";

/// A cluster has members: an empty list is no answer.
fn some(members: Vec<LxdMember>) -> Result<Vec<LxdMember>, OpError> {
    if members.is_empty() {
        return Err(OpError::command("LXD lists no members"));
    }
    Ok(members)
}

/// Wait until LXD is ready on every member, with networks and storage, and all members are online with one version.
///
/// The gate after a refresh. While versions differ, members are blocked and refreshed ones serve no API, so there is no
/// gate between two members: all are refreshed, and then this is asked for.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitArgs {}

/// What the gate saw when it opened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WaitOut {
    /// The members.
    pub(crate) members: Vec<LxdMember>,
    /// Members whose LXD can't be asked for its networks and storage: it is from before 5.21.4, or before 6.4.
    #[serde(default)]
    pub(crate) unasked: Vec<String>,
}

pub(crate) struct Wait;

impl Op for Wait {
    const NAME: &'static str = "lxd.wait";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(15 * 60);
    type Args = WaitArgs;
    type Out = WaitOut;

    fn headline(_: &WaitArgs) -> String {
        "ready on every member".to_owned()
    }

    fn summary(out: &WaitOut) -> String {
        let members = out.members.len();
        if out.unasked.is_empty() {
            return format!("{members} members online, with networks and storage");
        }
        let unasked = out.unasked.join(", ");
        format!("{members} members online; LXD doesn't report networks and storage on {unasked}")
    }

    async fn run(cx: &Cx, _: WaitArgs) -> Result<WaitOut, OpError> {
        cx.until(EVERY, async || look(cx).await).await
    }
}

async fn look(cx: &Cx) -> Look<WaitOut> {
    let presence = Presence::look(cx, Component::Lxd.snap(), &[]).await?;
    let answers = join_all(presence.with.iter().map(|member| ready(cx, member))).await;
    let (mut waiting, mut unasked) = (Vec::new(), Vec::new());
    for (member, answer) in presence.with.iter().zip(answers) {
        match answer? {
            Ready::Yes => {}
            Ready::Daemon => unasked.push(member.to_string()),
            Ready::No(why) => waiting.push((member.as_str(), why)),
        }
    }
    if !waiting.is_empty() {
        return Err(Unmet::NotYet(not_ready(&waiting)));
    }
    let seen = health(cx, &presence).await;
    let seen = seen.map_err(|error| Unmet::of(error, OpError::located))?;
    if seen.problems.is_empty() {
        let members = seen.members;
        return Ok(WaitOut { members, unasked });
    }
    Err(Unmet::NotYet(seen.problems.join("; ")))
}

/// Who isn't ready and why, and where to look. A member that has a newer version than another one isn't ready either, so one
/// that doesn't come back can make all of them wait.
fn not_ready(waiting: &[(&str, String)]) -> String {
    let mut by_reason: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (member, why) in waiting {
        by_reason.entry(why).or_default().push(member);
    }
    let reasons = by_reason
        .iter()
        .map(|(why, members)| format!("{}: {why}", members.join(", ")));
    let place = if waiting.len() == 1 {
        "there"
    } else {
        "on each: one may hold the others"
    };
    let reasons = joined(reasons, "; ");
    format!("{reasons}; see: sudo snap logs lxd {place}")
}

/// Whether LXD is ready on a member.
enum Ready {
    /// With its networks and storage.
    Yes,
    /// The daemon is; of networks and storage this release can't be asked (`lxd/main_waitready.go`).
    Daemon,
    No(String),
}

async fn ready(cx: &Cx, member: &Member) -> Result<Ready, OpError> {
    // Networks and storage are tried again with pauses of up to 60 s when they failed at first; the next look sees that.
    let cmd = |flags: &[&str]| {
        let head = ["/snap/bin/lxd", "waitready", "--timeout=10"];
        Cmd::root(head.iter().chain(flags).copied()).timeout(Duration::from_secs(40))
    };
    let full = cmd(&["--network", "--storage"]);
    let mut output = cx.cmd(member, &full).await?;
    let mut ready = Ready::Yes;
    if output.lacks_flag() {
        output = cx.cmd(member, &cmd(&[])).await?;
        ready = Ready::Daemon;
    }
    if output.success() {
        return Ok(ready);
    }
    let failure = output.failure(&full, member, output.stderr.trim());
    Ok(Ready::No(failure.message))
}

/// The cluster as its members see it.
pub(crate) struct Seen {
    /// The members, as the first one that serves has them; none where none does.
    pub(crate) members: Vec<LxdMember>,
    pub(crate) problems: Vec<String>,
    /// Members whose LXD doesn't serve, and what it answered.
    pub(crate) silent: Vec<(Member, OpError)>,
}

/// The members, and what speaks against the cluster. Every member that has LXD is asked, side by side: one whose own LXD
/// doesn't work may look well to another.
/// It fails where a member can't be reached, or nobody has LXD.
pub(crate) async fn health(cx: &Cx, presence: &Presence) -> Result<Seen, OpError> {
    let list = Cmd::root(["/snap/bin/lxc", "query", MEMBERS]).timeout(LOOK);
    let ask = async |member: &Member| {
        let output = cx.cmd(member, &list).await?;
        let members = some(output.json(&list, member)?);
        members.map_err(|error| error.on(member))
    };
    let answers = join_all(presence.with.iter().map(ask)).await;
    let (mut views, mut serving, mut silent) = (Vec::new(), Vec::new(), Vec::new());
    for (member, answer) in presence.with.iter().zip(answers) {
        match answer {
            Ok(view) => {
                views.push((member.as_str(), view));
                serving.push(member.clone());
            }
            Err(error) if error.kind == Kind::Unreachable => return Err(error),
            Err(error) => silent.push((member.clone(), error)),
        }
    }
    let Some((_, members)) = views.first().cloned() else {
        if silent.is_empty() {
            return Err(OpError::refused("no member has the snap of LXD"));
        }
        return Ok(Seen {
            members: Vec::new(),
            problems: silent.iter().map(|(_, error)| error.located()).collect(),
            silent,
        });
    };
    let mut problems = unwell(presence, &views);
    let skew = skew(cx, presence, &serving).await?;
    let blocked = members.iter().any(|m| m.status == "Blocked");
    // Members that wait for others serve no API.
    if skew.is_none() && !blocked {
        problems.extend(silent.iter().map(|(_, error)| error.located()));
    }
    problems.extend(skew);
    Ok(Seen {
        members,
        problems,
        silent,
    })
}

/// Whether this is how LXD answers while it waits for members to have one version: that it isn't set up yet
/// (`lxd/daemon.go`), or, up to 5.0, not at all.
pub(crate) fn waits(error: &OpError) -> bool {
    let stderr = error.detail.get("stderr").and_then(|text| text.as_str());
    error.kind == Kind::Timeout
        || stderr.is_some_and(|text| text.contains("LXD daemon setup in progress"))
}

/// What is wrong in the eyes of those that answered. Who doesn't see it is named where they don't all do.
fn unwell(presence: &Presence, views: &[(&str, Vec<LxdMember>)]) -> Vec<String> {
    // How long somebody has been silent is reported differently by each.
    let mut found: Vec<(String, String, Vec<&str>)> = Vec::new();
    for (asked, view) in views {
        let listed = view.iter().map(|m| m.name.as_str());
        let differs = presence.differs("LXD", listed);
        let differs = differs.map(|what| (what.clone(), what));
        let unwell = view.iter().filter(|m| m.status != "Online").map(|m| {
            let what = format!("{} is {}", m.name, m.status);
            let why = format!("{what} ({})", m.message);
            (what, why)
        });
        for (what, why) in differs.into_iter().chain(unwell) {
            match found.iter_mut().find(|(known, _, _)| *known == what) {
                Some((_, _, by)) => by.push(asked),
                None => found.push((what, why, vec![asked])),
            }
        }
    }
    let sentence = |(_, why, by): (String, String, Vec<&str>)| match by.as_slice() {
        all if all.len() == views.len() => why,
        [one] => format!("{why}, as {one} sees it"),
        several => format!("{why}, as {} see it", several.join(", ")),
    };
    found.into_iter().map(sentence).collect()
}

/// Who holds whom, where versions differ, as the first that answers of those that serve knows it.
async fn skew(cx: &Cx, presence: &Presence, serving: &[Member]) -> Result<Option<String>, OpError> {
    let Some(versions) = versions(cx, serving).await? else {
        return Ok(None);
    };
    let listed = versions.iter().map(|(name, ..)| name.as_str());
    let differs = presence.differs("LXD's table of members", listed);
    Ok(differs.or_else(|| holding(&versions)))
}

fn holding(versions: &[(String, i64, i64)]) -> Option<String> {
    let newest = versions.iter().map(|v| (v.1, v.2)).max()?;
    let (behind, ahead): (Vec<_>, Vec<_>) = versions.iter().partition(|v| (v.1, v.2) != newest);
    let each = |members: &[&(String, i64, i64)]| {
        let each = members.iter();
        joined(
            each.map(|(n, schema, count)| format!("{n} ({schema}/{count})")),
            ", ",
        )
    };
    if behind.is_empty() {
        return None;
    }
    Some(format!(
        "versions differ: {} holds {}, until LXD is refreshed there too",
        each(&behind),
        each(&ahead)
    ))
}

/// What decides whether members block each other: schema, and how many API extensions, of each. Nothing where LXD is too
/// old to print it as JSON (before 5.21.3); then only the members' states tell.
async fn versions(cx: &Cx, members: &[Member]) -> Result<Option<Vec<(String, i64, i64)>>, OpError> {
    #[derive(Deserialize)]
    struct Answer {
        rows: Vec<(String, i64, i64)>,
    }
    let sql = "SELECT name, schema, api_extensions FROM nodes";
    let cmd = Cmd::root(["/snap/bin/lxd", "sql", "global", "--format=json", sql]).timeout(TIMEOUT);
    let mut last = Err(OpError::refused("there is no member to ask"));
    for member in members {
        last = match cx.cmd(member, &cmd).await {
            Ok(output) if output.lacks_flag() => Ok(None),
            Ok(output) => {
                let answer = output.json::<Answer>(&cmd, member);
                answer.map(|answer| Some(answer.rows))
            }
            Err(error) => Err(error),
        };
        if matches!(last, Ok(Some(_))) {
            break;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_not_ready_for_the_same_reason_are_named_together() {
        let late = "lxd failed (exit 1): LXD daemon not running".to_owned();
        let one = [("m2", late.clone())];
        insta::assert_snapshot!(not_ready(&one), @"m2: lxd failed (exit 1): LXD daemon not running; see: sudo snap logs lxd there");
        let all = [
            ("m1", late.clone()),
            ("m2", "no pool".to_owned()),
            ("m3", late),
        ];
        insta::assert_snapshot!(not_ready(&all), @"m1, m3: lxd failed (exit 1): LXD daemon not running; m2: no pool; see: sudo snap logs lxd on each: one may hold the others");
    }

    #[test]
    fn what_only_some_members_see_is_reported_with_who_sees_it() {
        let member = |name: &str, status: &str, message: &str| LxdMember {
            name: name.into(),
            status: status.to_owned(),
            message: message.to_owned(),
            roles: Vec::new(),
            architecture: String::new(),
            config: BTreeMap::new(),
            groups: Vec::new(),
        };
        let presence = Presence {
            with: ["m1", "m2"].map(Member::from).into(),
            without: Vec::new(),
        };
        let well = vec![member("m1", "Online", ""), member("m2", "Online", "")];
        let silent = |since: &str| vec![member("m1", "Online", ""), member("m2", "Offline", since)];
        let shown = |views: &[(&str, Vec<LxdMember>)]| unwell(&presence, views).join("; ");
        assert_eq!(shown(&[("m1", well.clone()), ("m2", well.clone())]), "");
        assert_eq!(
            shown(&[("m1", silent("for 31 s")), ("m2", silent("for 32 s"))]),
            "m2 is Offline (for 31 s)"
        );
        assert_eq!(
            shown(&[("m1", silent("for 31 s")), ("m2", well.clone())]),
            "m2 is Offline (for 31 s), as m1 sees it"
        );
        assert_eq!(
            shown(&[("m1", well[..1].to_vec()), ("m2", well)]),
            "LXD doesn't list m2, which has its snap, as m1 sees it"
        );
    }

    #[test]
    fn whoever_holds_the_others_is_named() {
        let row = |name: &str, count| (name.to_owned(), 73, count);
        assert_eq!(holding(&[row("m1", 402), row("m2", 402)]), None);
        assert_eq!(
            holding(&[row("m1", 433), row("m2", 402), row("m3", 433)]).unwrap(),
            "versions differ: m2 (73/402) holds m1 (73/433), m3 (73/433), until LXD is refreshed there too"
        );
    }
}
