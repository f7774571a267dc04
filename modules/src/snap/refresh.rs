//! `snap.refresh`: the one effect that everything else is about.
//!
//! The change belongs to snapd: it outlives the command, the connection and the controller. So the command only asks for
//! it (`--no-wait`), its id is the witness, and whoever comes back finds it by that.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{COHORT, look, offers, settled, to_channel};
use crate::cmd::{Cmd, End};
use crate::cx::{Cx, Look};
use crate::error::{Kind, OpError};
use crate::op::{Effect, Observation, Op, Probe};
use crate::schema::{Channel, Member, Span};
use crate::snapd::{self, Change, Snap};
use crate::{microceph, microovn};

/// How often a change is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Asking for a refresh takes as long as the store does: up to 38 s of attempts, and more through a slow proxy.
const ASK: Duration = Duration::from_secs(120);

/// How often a request that met another change is made again.
const CONFLICTS: u32 = 5;

/// How long a refresh waits for the cluster to be able to do without the member: until a manager has seen every placement
/// group again, and a database has its leader.
const SPARED: Duration = Duration::from_secs(180);

/// Between two looks at that.
const AGAIN: Duration = Duration::from_secs(10);

/// Refresh a snap on a member: to the newest revision of the channel it follows, or of another one.
///
/// Joins the cohort, so that all members get the same revision. Does nothing where the member has that revision already.
/// A change of the same snap that goes on (an LXD that refreshes itself, for example) is waited for first. The result is
/// judged by what snapd says afterwards: revision, channel, cohort, and whether the snap is enabled.
///
/// MicroCeph and MicroOVN aren't refreshed while storage or network can't do without the member, however long ago a gate
/// was open.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshArgs {
    /// Member to act on.
    pub member: Member,
    /// Snap to refresh.
    pub snap: String,
    /// Channel to move to, for example `squid/stable`. Without it, the one that the snap follows.
    pub channel: Option<Channel>,
    /// The revision that it has to come to, because all members must have the same one.
    pub revision: Option<String>,
    /// Storage or network may stop meanwhile: it is accepted that the member has what the others can't do without.
    #[serde(default)]
    pub downtime: bool,
}

/// What a refresh did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RefreshOut {
    /// Whether the revision is another one than before.
    pub changed: bool,
    /// The revision before.
    pub from: String,
    /// The revision now.
    pub to: String,
    /// The version now.
    pub version: String,
    /// The channel it follows now.
    pub channel: String,
    /// snapd's change, if one was made.
    pub change: Option<String>,
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
    revision: String,
    /// The highest id among the snap's changes so far: ours will be higher.
    last_change: u64,
}

/// What the witnesses say.
struct Past {
    /// The revision before the first attempt: `changed` is told against it, however many attempts it took.
    from: Option<String>,
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

/// `snap.refresh`
pub struct Refresh;

impl Op for Refresh {
    const NAME: &'static str = "snap.refresh";
    const EFFECT: Effect = Effect::Once;
    /// Stopping alone may take 10 minutes (lxd's stop-timeout), and a download as long as it likes.
    const TIMEOUT: Span = Span::secs(30 * 60);
    type Args = RefreshArgs;
    type Out = RefreshOut;

    fn headline(args: &RefreshArgs) -> String {
        format!("{}{}", args.snap, to_channel(args.channel.as_ref()))
    }

    fn summary(out: &RefreshOut) -> String {
        if out.changed {
            format!("{} → {} ({})", out.from, out.to, out.version)
        } else {
            format!("{} already", out.to)
        }
    }

    fn observed(args: &RefreshArgs, out: &RefreshOut) -> Observation {
        let key = |field: &str| format!("{}/{}/{field}", args.member, args.snap);
        Observation::from([
            (key("revision"), out.to.clone()),
            (key("channel"), out.channel.clone()),
            (key("cohort"), COHORT.to_owned()),
        ])
    }

    fn touches(args: &RefreshArgs) -> Vec<String> {
        vec![format!("{}/{}/", args.member, args.snap)]
    }

    async fn run(cx: &Cx, args: RefreshArgs) -> Result<RefreshOut, OpError> {
        let member = &args.member;
        for _ in 0..CONFLICTS {
            let (snap, changes) = settled(cx, member, &args.snap).await?;
            check_enabled(&snap, member)?;
            spared(cx, &args, &snap).await?;
            let last_change = changes.iter().map(Change::number).max().unwrap_or(0);
            cx.witness(&Left::Before(Before {
                revision: snap.revision,
                last_change,
            }))
            .await?;
            let from = Past::of(cx).from.unwrap_or_default();
            match ask(cx, &args).await? {
                Asked::Change(id) => {
                    cx.witness(&Left::Change(id.clone())).await?;
                    if let Err(error) = follow(cx, member, &id).await {
                        return Err(holding(cx, &args, error).await);
                    }
                    return result(cx, &args, &from, Some(id)).await;
                }
                Asked::Nothing => return result(cx, &args, &from, None).await,
                Asked::Conflict => tokio::time::sleep(LOOK).await,
            }
        }
        let message = format!("other changes of {} kept coming in between", args.snap);
        Err(OpError::new(Kind::Conflict, message).on(member.as_str()))
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
        let refreshes = ["refresh-snap", "auto-refresh", "install-snap"];
        let ours = |c: &&Change| {
            change.as_ref().map_or(
                c.number() > last_change && refreshes.contains(&c.kind.as_str()),
                |id| c.id == *id,
            )
        };
        match changes.iter().filter(ours).max_by_key(|c| c.number()) {
            Some(change) if !change.ready => {
                let (done, total, text) = change.current();
                cx.progress(done, Some(total), text);
                Ok(Probe::Running)
            }
            Some(change) => match verdict(change, &args.member) {
                Ok(()) => Ok(Probe::Done(
                    result(cx, &args, &from, Some(change.id.clone())).await?,
                )),
                Err(error) => Ok(Probe::Failed(holding(cx, &args, error).await)),
            },
            // snapd forgets changes after a day; the revision remembers.
            None if snap.revision != from => Ok(Probe::Done(result(cx, &args, &from, None).await?)),
            None => Ok(Probe::NotStarted),
        }
    }
}

/// Looks whether storage or network can do without the member now: a run may have been away for long since its gate was
/// open. A cluster that has just got a member back can't tell for some seconds, so a no is looked at again for a while. What
/// is down on this very member doesn't count, and where nothing would be refreshed nothing stops.
async fn spared(cx: &Cx, args: &RefreshArgs, snap: &Snap) -> Result<(), OpError> {
    let member = &args.member;
    let until = Instant::now() + SPARED;
    loop {
        let against = match args.snap.as_str() {
            // A cluster of one member has nothing that could do without it.
            _ if cx.members().len() == 1 => return Ok(()),
            "microceph" => microceph::against(cx, member, None, args.downtime).await,
            "microovn" => microovn::against(cx, member, args.downtime).await,
            _ => return Ok(()),
        };
        let against = against.unwrap_or_else(|error| vec![format!("it can't be told: {error}")]);
        if against.is_empty() || !moves(cx, args, snap).await? {
            return Ok(());
        }
        let message = format!(
            "not begun, because {} can't do without {member} now: {}",
            args.snap,
            against.join("; ")
        );
        if Instant::now() >= until {
            return Err(OpError::refused(message).on(member.as_str()));
        }
        cx.progress(0, None, message);
        tokio::time::sleep(AGAIN).await;
    }
}

/// Whether a refresh would bring another revision, as far as can be told beforehand.
async fn moves(cx: &Cx, args: &RefreshArgs, snap: &Snap) -> Result<bool, OpError> {
    let follows = args
        .channel
        .as_ref()
        .is_none_or(|channel| channel.as_str() == snap.tracking_channel);
    if !follows || snap.cohort_key != COHORT {
        return Ok(true);
    }
    let offers = offers(cx, &args.member).await?;
    Ok(offers
        .iter()
        .any(|offer| offer.name == snap.name && offer.revision != snap.revision))
}

/// Adds to a failure who waits for this member: members of LXD whose versions differ block each other, and the one that
/// failed holds those that have the release.
async fn holding(cx: &Cx, args: &RefreshArgs, error: OpError) -> OpError {
    if args.snap != "lxd" || error.kind.in_doubt() {
        return error;
    }
    let Ok((own, _)) = look(cx, &args.member, &args.snap).await else {
        return error;
    };
    let mut waiting = Vec::new();
    for other in cx.members().iter().filter(|other| **other != args.member) {
        // Of a member that gives no answer nothing is said.
        if let Ok((snap, _)) = look(cx, other, &args.snap).await
            && snap.revision != own.revision
        {
            waiting.push(other.to_string());
        }
    }
    if waiting.is_empty() {
        return error;
    }
    let (have, wait) = match waiting.len() {
        1 => ("has", "waits"),
        _ => ("have", "wait"),
    };
    let message = format!(
        "{}; {} {have} another revision and {wait} for {} to have it too: resuming tries again here, and leaves the others alone",
        error.message,
        waiting.join(", "),
        args.member
    );
    OpError { message, ..error }
}

enum Asked {
    Change(String),
    Nothing,
    Conflict,
}

/// Asks snapd for the refresh.
async fn ask(cx: &Cx, args: &RefreshArgs) -> Result<Asked, OpError> {
    let mut argv = vec![
        "/usr/bin/snap".to_owned(),
        "refresh".to_owned(),
        "--no-wait".to_owned(),
    ];
    argv.extend(args.channel.iter().map(|c| format!("--channel={c}")));
    argv.extend([format!("--cohort={COHORT}"), args.snap.clone()]);
    let cmd = Cmd::root(argv).timeout(ASK);
    let output = cx.cmd(&args.member, &cmd).await?;
    match output.end {
        End::Exit(0) => {
            let id = output.stdout.trim();
            let is_id = !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit());
            Ok(if is_id {
                Asked::Change(id.to_owned())
            } else {
                Asked::Nothing
            })
        }
        // The one exit code with a meaning: another change of this snap, or snapd itself, is in the way.
        End::Exit(10) => Ok(Asked::Conflict),
        _ => Err(output.failure(&cmd, args.member.as_str(), &unwrapped(&output.stderr))),
    }
}

/// snapd wraps its errors to the terminal's width and indents what follows.
fn unwrapped(stderr: &str) -> String {
    let words: Vec<&str> = stderr.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    text.chars().take(400).collect()
}

/// Follows a change to its end.
async fn follow(cx: &Cx, member: &Member, id: &str) -> Result<(), OpError> {
    let path = format!("/v2/changes/{id}");
    let change = cx
        .until(LOOK, async || {
            let mut answers = snapd::get(cx, member, &[&path]).await?;
            let change: Change = snapd::read(member, answers.remove(0))?;
            if change.ready || change.status == "Wait" {
                return Ok(Look::Yes(change));
            }
            let (done, total, text) = change.current();
            cx.progress(done, Some(total), text.clone());
            Ok(Look::NotYet(format!("change {id} goes on: {text}")))
        })
        .await?;
    verdict(&change, member)
}

/// What a change that goes no further means.
fn verdict(change: &Change, member: &Member) -> Result<(), OpError> {
    let failed = |message: String| {
        OpError::command(message)
            .on(member.as_str())
            .with("change", change.id.as_str())
            .with("status", change.status.as_str())
    };
    match change.status.as_str() {
        "Done" => Ok(()),
        "Error" if change.stands() => Ok(()),
        "Error" => Err(failed(format!(
            "snapd undid the refresh: {}; look there at: snap tasks {}",
            reason(&change.err),
            change.id
        ))),
        "Wait" => Err(failed(format!(
            "change {} waits for the machine to be rebooted: do that, and resume",
            change.id
        ))),
        "Undone" | "Hold" => Err(failed(format!(
            "change {} was aborted by someone (it ended as {})",
            change.id, change.status
        ))),
        other => Err(failed(format!("change {} ended as {other}", change.id))),
    }
}

/// The tasks that failed. A hook's log stands between two rules, and its last line says why the hook failed
/// (`osutil/outputerr.go`).
fn reason(err: &str) -> String {
    const RULE: &str = "-----";
    let mut tasks: Vec<String> = Vec::new();
    let mut log: Option<&str> = None;
    for line in err.lines().skip_while(|l| l.starts_with("cannot perform")) {
        let line = line.trim_start_matches("- ").trim();
        match (line.strip_prefix(RULE), log) {
            (Some(_), None) => log = Some(""),
            (Some(rest), Some(last)) => {
                let task = tasks.pop().unwrap_or_default();
                tasks.push(format!("{task} {last}{rest}"));
                log = None;
            }
            (None, Some(_)) if !line.is_empty() => log = Some(line),
            (None, None) if !line.is_empty() => tasks.push(line.to_owned()),
            (None, _) => {}
        }
    }
    let text = if tasks.is_empty() {
        err.trim().to_owned()
    } else {
        tasks.join("; ")
    };
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
    Err(OpError::refused(message).on(member.as_str()))
}

/// What the refresh came to, judged by the snap and not by anything that was printed.
async fn result(
    cx: &Cx,
    args: &RefreshArgs,
    from: &str,
    change: Option<String>,
) -> Result<RefreshOut, OpError> {
    let (snap, _) = look(cx, &args.member, &args.snap).await?;
    let wrong = |what: String| {
        let how = change.as_ref().map_or_else(
            || "nothing to refresh".to_owned(),
            |id| format!("change {id} done"),
        );
        Err(OpError::command(format!("snapd says {how}, but {what}")).on(args.member.as_str()))
    };
    check_enabled(&snap, &args.member)?;
    if snap.cohort_key != COHORT {
        return wrong(format!(
            "{} is in cohort {:?} instead of {COHORT:?}",
            snap.name, snap.cohort_key
        ));
    }
    if let Some(due) = args.revision.as_ref().filter(|due| **due != snap.revision) {
        let message = format!(
            "the store gives revision {} of {}, and all members are to have {due}: a release that not everybody gets yet? \
             Resume when it gives {due} here; if it gives a newer one, abort the run and begin again",
            snap.revision, snap.name
        );
        return Err(OpError::command(message).on(args.member.as_str()));
    }
    match &args.channel {
        Some(channel) if channel.as_str() != snap.tracking_channel => wrong(format!(
            "{} follows {} instead of {channel}",
            snap.name, snap.tracking_channel
        )),
        _ => Ok(RefreshOut {
            changed: snap.revision != from,
            from: from.to_owned(),
            to: snap.revision,
            version: snap.version,
            channel: snap.tracking_channel,
            change,
        }),
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

    #[test]
    fn of_a_hook_s_log_the_last_line_is_told() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/transcripts/snapd/refresh-hook-fails.txt"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let (_, printed) = text.split_once("error: ").unwrap();
        let (err, _) = printed.split_once("\n[rc=1").unwrap();
        assert_eq!(
            reason(err),
            "Run post-refresh hook of \"lxd\" snap if present (run hook \"post-refresh\": hook says no)"
        );
        assert_eq!(
            reason("cannot perform the following tasks:\n- Start (x)\n- Stop (y)"),
            "Start (x); Stop (y)"
        );
        assert_eq!(reason("odd"), "odd");
    }

    #[test]
    fn a_refresh_stands_though_the_store_failed_behind_it() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/transcripts/snapd/store-fails-behind-a-refresh.txt"
        );
        let text = std::fs::read_to_string(path).unwrap();
        let answers = text.lines().filter(|line| line.starts_with('{'));
        for answer in answers {
            let answer = answer.split("[rc=").next().unwrap();
            let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
            let change = Change::deserialize(&answer["result"]).unwrap();
            assert_eq!(change.status, "Error");
            assert_eq!(verdict(&change, &"micro01".into()), Ok(()));
        }
    }

    #[test]
    fn every_end_of_a_change_has_a_verdict() {
        let change = |status: &str| Change {
            id: "12".to_owned(),
            kind: "refresh-snap".to_owned(),
            summary: String::new(),
            status: status.to_owned(),
            ready: true,
            err: "cannot perform the following tasks:\n- Mount (no space)".to_owned(),
            tasks: Vec::new(),
            spawn_time: None,
            ready_time: None,
        };
        let verdict = |status: &str| {
            verdict(&change(status), &"micro1".into())
                .err()
                .map(|e| e.message)
        };
        assert_eq!(verdict("Done"), None);
        assert_eq!(
            verdict("Error").unwrap(),
            "snapd undid the refresh: Mount (no space); look there at: snap tasks 12"
        );
        assert_eq!(
            verdict("Wait").unwrap(),
            "change 12 waits for the machine to be rebooted: do that, and resume"
        );
        assert_eq!(
            verdict("Undone").unwrap(),
            "change 12 was aborted by someone (it ended as Undone)"
        );
        assert!(verdict("Strange").is_some());
    }
}
