//! `snap.refresh`: the one effect that everything else is about.
//!
//! The change belongs to snapd: it outlives the command, the connection and the controller. So the command only asks for
//! it (`--no-wait`), its id is the witness, and whoever comes back finds it by that.

use std::marker::PhantomData;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use super::aim::{Aim, aim, words};
use super::args::{RefreshArgs, Replaced};
use super::clients::{self, Client};
use super::follow::{Watch, follow, verdict, waiting};
use super::spared::{Spares, spared};
use super::{COHORT, follows, look, settled, stage, switch, to_channel};
use crate::contract::cmd::{Cmd, End};
use crate::contract::cx::{Cx, LogLevel};
use crate::contract::error::{Kind, OpError};
use crate::contract::op::{Effect, Observation, Op, Probe};
use crate::contract::schema::{Member, Span};
use crate::products::snapd::{Change, Revision, Snap};

/// Asking for a refresh takes as long as the store does: up to 38 s of attempts, and more through a slow proxy.
const ASK: Duration = Duration::from_secs(120);

/// How often a request that met another change is made again.
const CONFLICTS: u32 = 5;

/// Between two such requests.
const CONFLICT: Duration = Duration::from_secs(1);

/// Between two looks at who runs a program of the snap.
const AGAIN: Duration = Duration::from_secs(10);

/// How long a refresh waits for people to end the programs of the snap that they run.
const IDLE: Duration = Duration::from_secs(180);

/// For how long the engine may not ask again how a change proceeds.
const UNSEEN: Duration = Duration::from_secs(5);

/// What a refresh did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefreshOut {
    /// Whether the revision is another one than before.
    pub(crate) changed: bool,
    /// The revision before.
    pub(crate) from: Revision,
    /// The revision now.
    pub(crate) to: Revision,
    /// The version now.
    pub(crate) version: String,
    /// The channel it follows now.
    pub(crate) channel: String,
    /// snapd's change, if one was made.
    pub(crate) change: Option<String>,
    /// The newer revision that took the place of the one that was asked for; all members should have that one.
    #[serde(default)]
    pub(crate) replaced: Option<Revision>,
}

/// What is left for whoever has to find out how a refresh ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Left {
    /// The state that the refresh started from.
    Before(Before),
    /// The id of snapd's change.
    Change(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Before {
    revision: Revision,
    /// The highest id among the snap's changes so far: ours will be higher.
    last_change: u64,
}

/// What the witnesses say.
struct Past {
    /// The revision before the first attempt: `changed` is told against it, however many attempts it took.
    from: Option<Revision>,
    /// The highest change before the last attempt.
    last_change: u64,
    /// The change that the last attempt made, if it came to that.
    change: Option<String>,
}

impl Past {
    fn of(cx: &Cx) -> Self {
        let mut past = Self {
            from: None,
            last_change: 0,
            change: None,
        };
        for left in cx
            .witnesses()
            .iter()
            .filter_map(|data| Left::deserialize(data).ok())
        {
            match left {
                Left::Before(before) => {
                    past.from.get_or_insert(before.revision);
                    past.last_change = before.last_change;
                    past.change = None;
                }
                Left::Change(id) => past.change = Some(id),
            }
        }
        past
    }
}

/// The name of the op that refreshes a snap.
pub const REFRESH: &str = "snap.refresh";

/// `snap.refresh`
pub struct Refresh<S>(PhantomData<S>);

impl<S: Spares> Op for Refresh<S> {
    const NAME: &'static str = REFRESH;
    const EFFECT: Effect = Effect::Once;
    /// Stopping alone may take 10 minutes (lxd's stop-timeout), and a download as long as it likes.
    const TIMEOUT: Span = Span::secs(30 * 60);
    type Args = RefreshArgs;
    type Out = RefreshOut;

    fn headline(args: &RefreshArgs) -> String {
        format!("{}{}", args.snap, to_channel(args.channel.as_ref()))
    }

    fn summary(out: &RefreshOut) -> String {
        if let Some(newer) = out.replaced.as_ref().filter(|_| !out.changed) {
            format!("{} still: the store has {newer} now", out.to)
        } else if out.changed {
            format!("{} → {} ({})", out.from, out.to, out.version)
        } else {
            format!("{} already", out.to)
        }
    }

    fn observed(args: &RefreshArgs, out: &RefreshOut) -> Observation {
        let key = |field: &str| format!("{}/{}/{field}", args.member, args.snap);
        Observation::from([
            (key("revision"), out.to.to_string()),
            (key("channel"), out.channel.clone()),
            (key("cohort"), COHORT.to_owned()),
        ])
    }

    fn touches(args: &RefreshArgs) -> Vec<String> {
        vec![format!("{}/{}/", args.member, args.snap)]
    }

    async fn run(cx: &Cx, args: RefreshArgs) -> Result<RefreshOut, OpError> {
        match attempt::<S>(cx, &args).await {
            Err(error) => Err(accounted(cx, &args, error).await),
            done => done,
        }
    }

    async fn probe(cx: &Cx, args: RefreshArgs) -> Result<Probe<RefreshOut>, OpError> {
        let Past {
            from: Some(from),
            last_change,
            change,
        } = Past::of(cx)
        else {
            // Nothing is asked for before this is written down.
            return Ok(Probe::NotStarted);
        };
        let (snap, changes) = look(cx, &args.member, &args.snap).await?;
        let ours = match &change {
            Some(id) => changes.iter().find(|c| c.id == *id),
            None => made_since(&changes, last_change),
        };
        let id = match ours {
            Some(change) if !change.ready => {
                let mut watch = Watch::default();
                let goes_on = watch.see(cx, &args, change).await;
                if Instant::now() + UNSEEN < cx.deadline() {
                    return Ok(Probe::Running);
                }
                let still = format!(
                    "still running after {}: {goes_on}; resume to keep waiting",
                    cx.timeout()
                );
                return Err(watch.late(OpError::timeout(still).on(&args.member)));
            }
            Some(change) => match verdict(change, &args.member) {
                Ok(()) => Some(change.id.clone()),
                Err(error) => return Ok(Probe::Failed(accounted(cx, &args, error).await)),
            },
            // snapd forgets changes after a day; the revision remembers.
            None if snap.revision != from => None,
            None => return Ok(Probe::NotStarted),
        };
        match result(cx, &args, &from, id).await {
            // It isn't where it is to be: the next attempt finds out how it gets there.
            Ok(None) => Ok(Probe::NotStarted),
            Ok(Some(out)) => Ok(Probe::Done(out)),
            Err(error) if error.kind.in_doubt() => Err(error),
            Err(error) => Ok(Probe::Failed(accounted(cx, &args, error).await)),
        }
    }
}

/// Brings the member to the revision, in as many requests as that takes.
async fn attempt<S: Spares>(cx: &Cx, args: &RefreshArgs) -> Result<RefreshOut, OpError> {
    let member = &args.member;
    let (mut in_between, idle) = (String::new(), Instant::now() + IDLE);
    let mut requests = 0;
    while requests < CONFLICTS {
        let (snap, changes) = settled(cx, member, &args.snap).await?;
        check_enabled(&snap, member)?;
        let from = Past::of(cx).from.unwrap_or_else(|| snap.revision.clone());
        let number = match aim(cx, args, &snap).await? {
            Aim::There => {
                requests += 1;
                if let Some(out) = result(cx, args, &from, None).await? {
                    return Ok(out);
                }
                continue;
            }
            Aim::Replaced(by) => return replaced(args, &from, snap, None, by),
            Aim::Cohort => None,
            Aim::Number(revision) => Some(revision),
        };
        spared::<S>(cx, args, &snap).await?;
        let last_change = changes.iter().map(Change::number).max().unwrap_or(0);
        cx.witness(&Left::Before(Before {
            revision: snap.revision.clone(),
            last_change,
        }))
        .await?;
        if let Some(revision) = &number {
            let text = format!(
                "{member}: the cohort doesn't offer {} {revision}, which all members must have; it is refreshed by number, then put back into the cohort",
                args.snap
            );
            cx.say(LogLevel::Warn, &text);
        }
        let asked = ask(cx, args, words(args, &snap, number.as_ref()), last_change).await;
        match asked.map_err(|error| by_number(error, number.as_ref()))? {
            Asked::Change(id) => {
                requests += 1;
                cx.witness(&Left::Change(id.clone())).await?;
                if let Err(error) = follow(cx, args, &id).await {
                    in_between = error.message.clone();
                    unstaged(cx, args, number.as_ref(), error).await?;
                    continue;
                }
                if let Some(out) = result(cx, args, &from, Some(id)).await? {
                    return Ok(out);
                }
                in_between = format!("refreshes of {} don't bring it", args.snap);
            }
            Asked::Nothing => {
                requests += 1;
                if let Some(out) = result(cx, args, &from, None).await? {
                    return Ok(out);
                }
                in_between = format!("snapd says that there is nothing new for {}", args.snap);
            }
            Asked::Conflict(why) => {
                requests += 1;
                in_between = why;
                tokio::time::sleep(CONFLICT).await;
            }
            Asked::Busy(clients) => {
                let why = clients::against(&clients);
                if Instant::now() >= idle {
                    let error = OpError::new(Kind::Conflict, format!("not started: {why}"));
                    return Err(error
                        .on(member)
                        .with("clients", clients::evidence(&clients)));
                }
                cx.progress(0, None, why);
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
    let due = args
        .revision
        .as_ref()
        .map_or_else(String::new, |due| format!("; all members must have {due}"));
    let message = format!("gave up after {CONFLICTS} requests: {in_between}{due}");
    Err(OpError::new(Kind::Conflict, message).on(member))
}

/// The kind of the task that compares a file with what its publisher has signed (`overlord/snapstate/snapstate.go`).
const VALIDATE: &str = "validate-snap";

/// A refresh that failed on its file is worth another request where a wrong one lay ready for it and doesn't any more.
async fn unstaged(
    cx: &Cx,
    args: &RefreshArgs,
    number: Option<&Revision>,
    error: OpError,
) -> Result<(), OpError> {
    if error.detail.get("task").and_then(Value::as_str) != Some(VALIDATE) {
        return Err(error);
    }
    let member = &args.member;
    match stage::again(cx, args, number).await {
        Ok(true) => {
            let text = format!(
                "{member}: the file of {} that was there had other bytes; it is removed, and the refresh begins again",
                args.snap
            );
            cx.say(LogLevel::Warn, &text);
            Ok(())
        }
        _ => Err(error),
    }
}

/// Adds to a failure what became of the snap all the same, and who waits for this member.
async fn accounted(cx: &Cx, args: &RefreshArgs, error: OpError) -> OpError {
    let Some(from) = Past::of(cx).from.filter(|_| !error.kind.in_doubt()) else {
        return error;
    };
    let Ok((snap, _)) = look(cx, &args.member, &args.snap).await else {
        return error;
    };
    let mut error = error;
    if snap.revision != from {
        let did = RefreshOut::of(&from, snap, None, None);
        let did = serde_json::to_value(did).unwrap_or(Value::Null);
        error = error.with(crate::contract::error::DID, did);
    }
    let waiting = waiting(cx, args).await;
    if waiting.is_empty() {
        return error;
    }
    let (have, wait) = match waiting.len() {
        1 => ("has", "waits"),
        _ => ("have", "wait"),
    };
    let message = format!(
        "{}; {} {have} another revision and {wait} for {} to have it too; resuming retries here and leaves the others alone",
        error.message,
        waiting.join(", "),
        args.member
    );
    OpError { message, ..error }.with("waiting", waiting)
}

/// Adds to the failure of a request by number why it was made.
fn by_number(error: OpError, number: Option<&Revision>) -> OpError {
    let Some(number) = number.filter(|_| error.kind == Kind::Command) else {
        return error;
    };
    let message = format!(
        "{number}, which all members must have, is offered neither by the cohort nor by number ({}) (a phased release?); resume when it is offered here",
        error.message
    );
    OpError { message, ..error }
}

enum Asked {
    Change(String),
    Nothing,
    Conflict(String),
    /// People run programs of the snap.
    Busy(Vec<Client>),
}

/// The kinds of changes that bring another revision.
const REFRESHES: [&str; 3] = ["refresh-snap", "auto-refresh", "install-snap"];

/// The latest change behind `last` that may have brought another revision.
fn made_since(changes: &[Change], last: u64) -> Option<&Change> {
    let since = |c: &&Change| c.number() > last && REFRESHES.contains(&c.kind.as_str());
    changes.iter().filter(since).max_by_key(|c| c.number())
}

/// Asks snapd for the refresh.
async fn ask(
    cx: &Cx,
    args: &RefreshArgs,
    words: Vec<String>,
    last_change: u64,
) -> Result<Asked, OpError> {
    let cmd = Cmd::root(words).timeout(ASK);
    let output = cx.cmd(&args.member, &cmd).await?;
    match output.end {
        End::Exit(0) => {
            let id = output.stdout.trim();
            if !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()) {
                return Ok(Asked::Change(id.to_owned()));
            }
            // No id is no proof that there is no change: what is printed may be lost, or have other lines in it.
            let (_, changes) = look(cx, &args.member, &args.snap).await?;
            let made = made_since(&changes, last_change);
            Ok(made.map_or(Asked::Nothing, |change| Asked::Change(change.id.clone())))
        }
        // The one exit code with a meaning: another change of this snap, or snapd itself, is in the way.
        End::Exit(10) => Ok(Asked::Conflict(unwrapped(&output.stderr))),
        _ => {
            // For programs that run snapd has no exit code and no kind of error.
            let mut running = clients::now(cx, &args.member).await.unwrap_or_default();
            running.retain(|client| client.snap == args.snap);
            if matches!(output.end, End::Exit(_)) && !running.is_empty() {
                return Ok(Asked::Busy(running));
            }
            Err(output.failure(&cmd, &args.member, &unwrapped(&output.stderr)))
        }
    }
}

/// snapd wraps its errors to the terminal's width and indents what follows.
fn unwrapped(stderr: &str) -> String {
    let words: Vec<&str> = stderr.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.chars().take(400).collect()
}

fn check_enabled(snap: &Snap, member: &Member) -> Result<(), OpError> {
    if snap.status == "active" {
        return Ok(());
    }
    let message = format!(
        "{0} is disabled; enable it with: sudo snap enable {0}",
        snap.name
    );
    Err(OpError::refused(message).on(member))
}

/// What the refresh came to, judged by the snap and not by anything that was printed. None where the member has neither the
/// revision that is due nor a newer one.
async fn result(
    cx: &Cx,
    args: &RefreshArgs,
    from: &Revision,
    change: Option<String>,
) -> Result<Option<RefreshOut>, OpError> {
    let (mut snap, _) = look(cx, &args.member, &args.snap).await?;
    check_enabled(&snap, &args.member)?;
    let due = args.revision.as_ref().filter(|due| **due != snap.revision);
    if let Some(due) = due {
        if snap.revision.number() > due.number() {
            let by = snap.revision.clone();
            return replaced(args, from, snap, change, by).map(Some);
        }
        return Ok(None);
    }
    // By its number it left the cohort; and who has the revision already may never have been in it.
    if args.revision.is_some() && !follows(&snap, args.channel.as_ref()) {
        (_, snap) = switch(cx, &args.member, &args.snap, args.channel.as_ref()).await?;
    }
    if follows(&snap, args.channel.as_ref()) {
        return Ok(Some(RefreshOut::of(from, snap, change, None)));
    }
    let how = change.map_or_else(
        || "nothing to refresh".to_owned(),
        |id| format!("change {id} done"),
    );
    let message = format!(
        "snapd says {how}, but {} tracks {} in cohort {:?}",
        snap.name, snap.tracking_channel, snap.cohort_key
    );
    Err(OpError::command(message).on(&args.member))
}

/// A newer release took the place of the one that all members are to have. Taken by this member alone it would be one more
/// revision in the cluster: that is for whoever asked to say, before anything is done.
fn replaced(
    args: &RefreshArgs,
    from: &Revision,
    snap: Snap,
    change: Option<String>,
    by: Revision,
) -> Result<RefreshOut, OpError> {
    if args.replaced == Replaced::Tell {
        return Ok(RefreshOut::of(from, snap, change, Some(by)));
    }
    let (name, due) = (&args.snap, args.revision.clone().unwrap_or_default());
    let done = if snap.revision == by {
        format!("{} already has {by} of {name}", args.member)
    } else {
        format!("the store now has {by} of {name}, and nothing was done")
    };
    let message = format!(
        "all members must have {due}, but {done}: abort the run and start it again, which takes all of them to the newest; or refresh this one to {due} with: sudo snap refresh {name} --revision={due}, then resume"
    );
    Err(OpError::refused(message)
        .on(&args.member)
        .with("replaced", by.as_str()))
}

impl RefreshOut {
    /// What became of a snap that had the revision `from`.
    fn of(from: &Revision, snap: Snap, change: Option<String>, replaced: Option<Revision>) -> Self {
        Self {
            changed: snap.revision != *from,
            from: from.clone(),
            to: snap.revision,
            version: snap.version,
            channel: snap.tracking_channel,
            change,
            replaced,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_errors_are_one_line() {
        let stderr = "error: cannot refresh \"microcloud\": cannot query the store for\n       updates: got unexpected HTTP status code 503 via POST to\n       \"http://10.77.0.1:11028/v2/snaps/refresh\"\n";
        insta::assert_snapshot!(unwrapped(stderr), @r#"cannot refresh "microcloud": cannot query the store for updates: got unexpected HTTP status code 503 via POST to "http://10.77.0.1:11028/v2/snaps/refresh""#);
    }
}
