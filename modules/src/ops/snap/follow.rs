//! Following a change of snapd's to its end, and what its end means.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Serialize;

use super::args::RefreshArgs;
use super::look;
use crate::contract::component::Component;
use crate::contract::cx::{Cx, Unmet};
use crate::contract::error::{Kind, OpError};
use crate::contract::schema::Member;
use crate::products::snapd::{self, Change};

/// Between two times that the member waits for the end of a change.
const LOOK: Duration = Duration::from_millis(100);

/// For how long nothing may move until that is reported. To stop services takes up to half a minute by default
/// (`timeout/timeout.go`), and to copy a snap's data as long as there is data.
const STILL: i64 = 120;

/// A change that doesn't get on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Stall {
    /// Its id.
    change: String,
    /// The kind of the task at which it stands.
    task: String,
    since: Timestamp,
    services_down: bool,
    /// The members that wait for this one.
    waiting: Vec<String>,
}

impl Stall {
    fn message(&self, args: &RefreshArgs) -> String {
        let since = self.since.strftime("%H:%M:%S UTC");
        let (id, member) = (&self.change, &args.member);
        let down = if self.services_down {
            format!(", and its services are down on {member} in the meantime")
        } else {
            String::new()
        };
        let waiting = match self.waiting.as_slice() {
            [] => String::new(),
            [one] => format!("; {one} waits for it"),
            many => format!("; {} wait for it", many.join(", ")),
        };
        format!(
            "no progress since {since}{down}{waiting}; on {member}, see: snap change {id}; to stop and undo it: sudo snap abort {id}"
        )
    }
}

/// What was seen of a change as long as it runs.
#[derive(Default)]
pub(super) struct Watch {
    /// The task that was being done, how much of it was, and since when that is so.
    at: Option<(String, u64, Timestamp)>,
    /// What to report if it makes no progress.
    pub(super) stall: Option<Stall>,
}

impl Watch {
    /// Looks at a running change, and tells what of it.
    pub(super) async fn see(&mut self, cx: &Cx, args: &RefreshArgs, change: &Change) -> String {
        let (done, total, text) = change.current();
        let (task, kind, units, whole) = change.doing().map_or_else(
            || (String::new(), change.status.clone(), 0, true),
            |task| {
                let progress = task.progress;
                (
                    task.id.clone(),
                    task.kind.clone(),
                    progress.done,
                    progress.total <= 1,
                )
            },
        );
        let now = cx.now();
        let since = match &self.at {
            Some((of, so_far, since)) if (of, *so_far) == (&task, units) => *since,
            // Who comes back knows since when, but for what counts how far it is.
            None if whole => change.moved().map_or(now, |moved| moved.min(now)),
            _ => now,
        };
        self.at = Some((task, units, since));
        if now.duration_since(since).as_secs() < STILL {
            self.stall = None;
        } else if self.stall.is_none() {
            self.stall = Some(Stall {
                change: change.id.clone(),
                task: kind,
                since,
                services_down: change.services_down(),
                waiting: waiting(cx, args).await,
            });
        }
        let text = match &self.stall {
            Some(stall) => format!("{text}: {}", stall.message(args)),
            None => text,
        };
        cx.progress(done, Some(total), text.clone());
        format!("change {} is in progress: {text}", change.id)
    }

    /// The error of whoever waits no longer, with the evidence.
    pub(super) fn late(self, error: OpError) -> OpError {
        match self.stall {
            Some(stall) if error.kind == Kind::Timeout => {
                error.with("stall", serde_json::to_value(stall).unwrap_or_default())
            }
            _ => error,
        }
    }
}

/// Follows a change to its end.
pub(super) async fn follow(cx: &Cx, args: &RefreshArgs, id: &str) -> Result<(), OpError> {
    let member = &args.member;
    let mut watch = Watch::default();
    let ended = cx
        .until(LOOK, async || {
            let change = snapd::watch(cx, member, id).await?;
            if change.ready || change.status == "Wait" {
                return Ok(change);
            }
            Err(Unmet::NotYet(watch.see(cx, args, &change).await))
        })
        .await;
    match ended {
        Ok(change) => verdict(&change, member),
        Err(error) => Err(watch.late(error)),
    }
}

/// The members that wait for this one: members of LXD whose versions differ block each other, and one that isn't there yet
/// holds those that have the release. Of a member that gives no answer nothing is said.
pub(super) async fn waiting(cx: &Cx, args: &RefreshArgs) -> Vec<String> {
    if args.snap != Component::Lxd.snap() {
        return Vec::new();
    }
    let Ok((own, _)) = look(cx, &args.member, &args.snap).await else {
        return Vec::new();
    };
    let members = cx.members();
    let others = members.iter().filter(|other| **other != args.member);
    let looks = others.map(async |other| {
        let (snap, _) = look(cx, other, &args.snap).await.ok()?;
        (snap.revision != own.revision).then(|| other.to_string())
    });
    join_all(looks).await.into_iter().flatten().collect()
}

/// What a change that goes no further means.
pub(super) fn verdict(change: &Change, member: &Member) -> Result<(), OpError> {
    let failed = |message: String| {
        OpError::command(message)
            .on(member)
            .with("change", change.id.as_str())
            .with("status", change.status.as_str())
            .with("task", failed_task(change))
    };
    match change.status.as_str() {
        "Done" => Ok(()),
        "Error" if change.stands() => Ok(()),
        "Error" => Err(failed(format!(
            "snapd undid the refresh: {}; on that member, see: snap tasks {}",
            reason(&change.err),
            change.id
        ))),
        "Wait" => Err(failed(format!(
            "change {} waits for the machine to be rebooted; reboot it, then resume",
            change.id
        ))),
        "Undone" | "Hold" => Err(failed(format!(
            "change {} was aborted by someone (it ended as {})",
            change.id, change.status
        ))),
        other => Err(failed(format!("change {} ended as {other}", change.id))),
    }
}

/// The kind of the task that failed; empty where none did.
fn failed_task(change: &Change) -> &str {
    let mut tasks = change.tasks.iter();
    let failed = tasks.find(|task| task.status == "Error");
    failed.map_or("", |task| &task.kind)
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

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn of_the_log_of_a_hook_the_last_line_is_told() {
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
            "snapd undid the refresh: Mount (no space); on that member, see: snap tasks 12"
        );
        assert_eq!(
            verdict("Wait").unwrap(),
            "change 12 waits for the machine to be rebooted; reboot it, then resume"
        );
        assert_eq!(
            verdict("Undone").unwrap(),
            "change 12 was aborted by someone (it ended as Undone)"
        );
        assert!(verdict("Strange").is_some());
    }
}
