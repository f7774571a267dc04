//! snapd's REST API, read over its socket on a member.
//!
//! Only JSON decides anything here: texts of the `snap` program are translated, wrapped and reworded between releases.
//! Reads need no root (`daemon/access.go`); `snap debug api` serves members without curl (snapd 2.64 and later).

mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures_util::future::try_join_all;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) use file::{df, file, free};

use crate::contract::cmd::{Cmd, Output};
use crate::contract::cx::{Cx, Look, Unmet};
use crate::contract::error::OpError;
use crate::contract::schema::Member;

/// snapd answers reads at once, unless it has to ask the store: that takes up to 38 s (`store/store.go`).
const TIMEOUT: Duration = Duration::from_secs(60);

/// For how long a member waits for the end of a change before it says how far the change is.
const WATCH: Duration = Duration::from_secs(2);

/// The kind of the task behind a refresh that looks for a further one.
const RE_REFRESH: &str = "check-rerefresh";

/// A revision of a snap: a number, or `x1` where it was installed from a file. A JSON string.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
pub struct Revision(String);

impl Revision {
    /// As snapd writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its number: within a track they only grow. One from a file has none and is no release, and so the oldest.
    pub(crate) fn number(&self) -> u64 {
        self.0.parse().unwrap_or(0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Revision {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// An installed snap (`client/packages.go`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Snap {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The revision that is installed.
    pub revision: Revision,
    /// `active`, or `installed` where it is disabled or in mid-refresh.
    pub(crate) status: String,
    /// The channel it follows. Absent for local snaps.
    #[serde(default)]
    pub(crate) tracking_channel: String,
    /// Absent where it is in no cohort.
    #[serde(default)]
    pub(crate) cohort_key: String,
    /// Refreshes are held until then. snapd keeps showing it when it has passed.
    pub(crate) hold: Option<Timestamp>,
}

/// A change (`overlord/hookstate/ctlcmd/helpers.go`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Change {
    /// A number, as a string; they only grow.
    pub(crate) id: String,
    /// For example `refresh-snap`.
    pub(crate) kind: String,
    /// In the daemon's language.
    pub(crate) summary: String,
    /// `Do`, `Doing`, `Done`, `Error`, `Undone`, `Hold`, `Wait` and so on.
    pub(crate) status: String,
    /// Whether nothing of it is still running.
    #[serde(default)]
    pub(crate) ready: bool,
    /// Why it failed, with status `Error`.
    #[serde(default)]
    pub(crate) err: String,
    #[serde(default)]
    pub(crate) tasks: Vec<Task>,
    pub(crate) spawn_time: Option<Timestamp>,
    /// When it ended.
    pub(crate) ready_time: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Task {
    /// Its id, by which it is distinguished from others of its kind.
    #[serde(default)]
    pub(crate) id: String,
    /// For example `download-snap`.
    pub(crate) kind: String,
    /// In the daemon's language.
    #[serde(default)]
    pub(crate) summary: String,
    /// As a change's.
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) progress: Progress,
    /// When it ended.
    pub(crate) ready_time: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Progress {
    #[serde(default)]
    pub(crate) done: u64,
    #[serde(default)]
    pub(crate) total: u64,
}

impl Change {
    /// The id as a number, 0 where it isn't one.
    pub(crate) fn number(&self) -> u64 {
        self.id.parse().unwrap_or(0)
    }

    /// Whether all of a refresh is done but the look for a further one after it. For that snapd asks the store again, and
    /// calls the whole change an error if the store fails then, though nothing is undone (seen with snapd 2.68).
    pub(crate) fn stands(&self) -> bool {
        let done = |task: &Task| task.status == "Done" || task.kind == RE_REFRESH;
        !self.tasks.is_empty() && self.tasks.iter().all(done)
    }

    /// The task that is being done, or undone.
    pub(crate) fn doing(&self) -> Option<&Task> {
        // Two tasks of every refresh are "Doing" all the time and say nothing of how far it is.
        let waits = [RE_REFRESH, "process-delayed-security-backend-effects"];
        let runs = |task: &&Task| matches!(task.status.as_str(), "Doing" | "Undoing");
        self.tasks
            .iter()
            .filter(runs)
            .find(|t| !waits.contains(&t.kind.as_str()) || self.stands())
    }

    /// How many tasks are done, of how many, and which one is being done.
    pub(crate) fn current(&self) -> (u64, u64, String) {
        let done = self.tasks.iter().filter(|t| t.status == "Done").count();
        let text = self.doing().map_or_else(
            || self.status.clone(),
            |task| match (task.status.as_str(), task.progress) {
                ("Undoing", _) => format!("undoing: {}", task.summary),
                (_, Progress { done, total }) if total > 1 => {
                    format!("{} ({}%)", task.summary, done.saturating_mul(100) / total)
                }
                _ => task.summary.clone(),
            },
        );
        (done as u64, self.tasks.len() as u64, text)
    }

    /// When the task that is being done was come to: when the one before it ended.
    pub(crate) fn moved(&self) -> Option<Timestamp> {
        let ended = self.tasks.iter().filter_map(|task| task.ready_time).max();
        ended.or(self.spawn_time)
    }

    /// Whether the snap's services are down meanwhile: between `stop-snap-services` and `start-snap-services`
    /// (`overlord/snapstate/snap.go`), and on the way back until their stop is undone.
    pub(crate) fn services_down(&self) -> bool {
        let is = |kind: &str, statuses: &[&str]| {
            let mut all = self.tasks.iter();
            all.any(|t| t.kind == kind && statuses.contains(&t.status.as_str()))
        };
        is("stop-snap-services", &["Doing", "Done", "Undo", "Undoing"])
            && !is("start-snap-services", &["Done", "Undo"])
    }
}

/// A service of a snap (`client/apps.go`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct Service {
    /// Its name, without the snap's.
    pub(crate) name: String,
    /// `simple`, `oneshot` and so on.
    #[serde(default)]
    pub(crate) daemon: String,
    /// Whether it is to run. Absent if not.
    #[serde(default)]
    pub(crate) enabled: bool,
    /// Whether it runs. Absent if not.
    #[serde(default)]
    pub(crate) active: bool,
    /// Sockets and timers that start it when it is needed.
    #[serde(default)]
    pub(crate) activators: Vec<Value>,
}

impl Service {
    /// Whether it is to run all the time, and doesn't.
    pub(crate) fn is_down(&self) -> bool {
        self.enabled && !self.active && self.daemon != "oneshot" && self.activators.is_empty()
    }
}

/// Who has a snap and who doesn't, as each member's own snapd tells. Members that nobody could ask are in neither list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    /// Members that have it, whether or not it is active.
    pub(crate) with: Vec<Member>,
    pub(crate) without: Vec<Member>,
}

impl Presence {
    /// Asks every member.
    /// It fails where one gives no answer: it may have it.
    pub(crate) async fn of(cx: &Cx, snap: &str) -> Result<Self, OpError> {
        let (presence, _) = Self::with_services(cx, snap, cx.members(), &[]).await?;
        Ok(presence)
    }

    /// As [`Presence::of`], of these members, with the services of the snap that don't run on those of `watched` that have it.
    async fn with_services(
        cx: &Cx,
        snap: &str,
        members: Vec<Member>,
        watched: &[Member],
    ) -> Result<(Self, Vec<Down>), OpError> {
        let asked = members.iter().map(async |member| {
            if watched.contains(member) {
                let (has, services) = (has(snap), services(snap));
                let [snaps, services] = get(cx, member, [&has, &services]).await?;
                return Ok::<_, OpError>((snaps, Some(services)));
            }
            let [snaps] = get(cx, member, [has(snap).as_str()]).await?;
            Ok((snaps, None))
        });
        let answers = try_join_all(asked).await?;
        let (mut presence, mut down) = (Self::default(), Vec::new());
        for (member, (snaps, services)) in members.into_iter().zip(answers) {
            let snaps: Vec<Snap> = read(&member, snaps)?;
            if !snaps.iter().any(|found| found.name == snap) {
                presence.without.push(member);
                continue;
            }
            down.extend(services.map(|s| (member.clone(), services_down(&member, snap, s))));
            presence.with.push(member);
        }
        Ok((presence, down))
    }

    /// As [`Presence::of`], in a look, which also wants the services of the snap to run on those of `watched` that have it. A
    /// refresh is done for snapd once they were started: one that ends a second later is nobody's news
    /// (`wrappers/services.go`).
    pub(crate) async fn look(cx: &Cx, snap: &str, watched: &[Member]) -> Look<Self> {
        Self::look_at(cx, snap, cx.members(), watched).await
    }

    /// Whether the services of the snap run on a member, if it has it.
    pub(crate) async fn runs(cx: &Cx, snap: &str, member: &Member) -> Look<()> {
        let one = std::slice::from_ref(member);
        Self::look_at(cx, snap, one.to_vec(), one).await?;
        Ok(())
    }

    async fn look_at(cx: &Cx, snap: &str, members: Vec<Member>, watched: &[Member]) -> Look<Self> {
        let seen = Self::with_services(cx, snap, members, watched).await;
        let (presence, services) = seen.map_err(|error| Unmet::of(error, OpError::located))?;
        for (member, down) in services {
            let why = |error: &OpError| format!("services of {snap} on {member}: {error}");
            let down = down.map_err(|error| Unmet::of(error, why))?;
            if let Some(first) = down.first() {
                let all = down.join(", ");
                return Err(Unmet::NotYet(format!(
                    "down on {member}: {all}; on that member, see: sudo snap logs {first}"
                )));
            }
        }
        Ok(presence)
    }

    /// What is wrong with a list of a product's members: nothing may be concluded from one that lacks a member with the snap,
    /// or has one without it.
    pub(crate) fn differs<'a>(
        &self,
        title: &str,
        listed: impl Iterator<Item = &'a str>,
    ) -> Option<String> {
        let listed: Vec<&str> = listed.collect();
        let has = |member: &&Member| listed.contains(&member.as_str());
        let mut wrong: Vec<String> = Vec::new();
        if self.with.is_empty() {
            wrong.push(format!("no member has the snap of {title}"));
        }
        let missing = self.with.iter().filter(|member| !has(member));
        wrong.extend(missing.map(|m| format!("{title} doesn't list {m}, which has its snap")));
        let odd = self.without.iter().filter(has);
        wrong.extend(odd.map(|m| format!("{title} lists {m}, which doesn't have its snap")));
        (!wrong.is_empty()).then(|| wrong.join("; "))
    }
}

/// A member, and the services of a snap that are to run there and don't.
type Down = (Member, Result<Vec<String>, OpError>);

/// The path that tells whether a member has a snap.
fn has(snap: &str) -> String {
    format!("/v2/snaps?snaps={snap}")
}

/// The path of the services of a snap.
fn services(snap: &str) -> String {
    format!("/v2/apps?names={snap}&select=service")
}

/// The services of a snap that are to run on a member and don't.
fn services_down(
    member: &Member,
    snap: &str,
    answer: Result<Box<RawValue>, ApiError>,
) -> Result<Vec<String>, OpError> {
    let services: Vec<Service> = read(member, answer)?;
    if services.is_empty() {
        return Err(OpError::command(format!("snapd lists no services of {snap}")).on(member));
    }
    let down = services.into_iter().filter(Service::is_down);
    Ok(down
        .map(|service| format!("{snap}.{}", service.name))
        .collect())
}

/// An error that snapd answered with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct ApiError {
    #[serde(default)]
    pub(crate) message: String,
    /// Its class, for example `snap-not-found`; often empty.
    #[serde(default)]
    pub(crate) kind: String,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    result: Box<RawValue>,
}

/// What a path of the API has, as a `T`.
pub(crate) async fn ask<T: DeserializeOwned>(
    cx: &Cx,
    member: &Member,
    path: &str,
) -> Result<T, OpError> {
    let [answer] = get(cx, member, [path]).await?;
    read(member, answer)
}

/// A change, when it is over or some time has passed. The member itself waits for its end: snapd's client looks ten times a
/// second, and leaves the change alone when its own time is up (`cmd/snap/wait.go`; an interrupt would abort the change).
pub(crate) async fn watch(cx: &Cx, member: &Member, id: &str) -> Result<Change, OpError> {
    let facts = cx.facts(member).await?;
    let path = format!("/v2/changes/{id}");
    let batch = [
        Cmd::user(["/usr/bin/snap", "watch", id]).timeout(WATCH),
        request(facts.curl.as_deref(), &path),
    ];
    let outputs = cx.batch(member, &batch).await?;
    let [_, output] = outputs.as_slice() else {
        return Err(OpError::command("two answers were expected").on(member));
    };
    read(member, answered(member, &batch[1], output)?)
}

/// Reads several paths of the API in one exec.
pub(crate) async fn get<const N: usize>(
    cx: &Cx,
    member: &Member,
    paths: [&str; N],
) -> Result<[Result<Box<RawValue>, ApiError>; N], OpError> {
    let facts = cx.facts(member).await?;
    let batch = paths.map(|path| request(facts.curl.as_deref(), path));
    let outputs = cx.batch(member, &batch).await?;
    let answers = batch.iter().zip(&outputs);
    let answers = answers.map(|(cmd, output)| answered(member, cmd, output));
    let answers: Vec<_> = answers.collect::<Result<_, OpError>>()?;
    answers
        .try_into()
        .map_err(|_| OpError::command(format!("{N} answers were expected")).on(member))
}

fn answered(
    member: &Member,
    cmd: &Cmd,
    output: &Output,
) -> Result<Result<Box<RawValue>, ApiError>, OpError> {
    let envelope: Envelope = output.json(cmd, member)?;
    if envelope.kind != "error" {
        return Ok(Ok(envelope.result));
    }
    let error = serde_json::from_str(envelope.result.get());
    Ok(Err(error.unwrap_or_else(|e| ApiError {
        message: format!("an error that can't be read: {e}"),
        kind: String::new(),
    })))
}

fn request(curl: Option<&str>, path: &str) -> Cmd {
    let cmd = match curl {
        Some(curl) => {
            let url = format!("http://localhost{path}");
            Cmd::user([
                curl,
                "-sS",
                "--max-time",
                "55",
                "--unix-socket",
                "/run/snapd.socket",
                &url,
            ])
        }
        None => Cmd::user(["/usr/bin/snap", "debug", "api", path]),
    };
    cmd.timeout(TIMEOUT)
}

/// A result as a `T`.
///
/// # Errors
/// Where snapd answered with an error, or something else than a `T`.
pub(crate) fn read<T: DeserializeOwned>(
    member: &Member,
    answer: Result<Box<RawValue>, ApiError>,
) -> Result<T, OpError> {
    let value = answer.map_err(|e| refused(member, &e))?;
    serde_json::from_str(value.get()).map_err(|e| {
        OpError::command(format!("snapd answered with something unexpected ({e})")).on(member)
    })
}

/// The error for one that snapd answered with.
pub(crate) fn refused(member: &Member, error: &ApiError) -> OpError {
    OpError::command(format!("snapd says: {}", error.message))
        .on(member)
        .with("kind", error.kind.as_str())
}

/// What a channel has.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Released {
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) revision: Revision,
    /// Bytes to download.
    #[serde(default)]
    pub(crate) size: u64,
}

/// The channels of a snap, as the store lists them for everybody, asked on the first member that answers.
pub(crate) async fn channels(cx: &Cx, snap: &str) -> Result<BTreeMap<String, Released>, OpError> {
    #[derive(Deserialize)]
    struct Found {
        #[serde(default)]
        channels: BTreeMap<String, Released>,
    }
    let path = format!("/v2/find?name={snap}");
    let mut last = OpError::refused("there is no member to ask");
    for member in cx.members() {
        match get(cx, &member, [&path]).await {
            Ok([answer]) => {
                let mut found: Vec<Found> = read(&member, answer)?;
                let found = found.pop();
                return found
                    .map(|f| f.channels)
                    .ok_or_else(|| OpError::command(format!("the store knows no snap {snap}")));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_names_the_task_that_is_being_done() {
        let change: Change = serde_json::from_str(
            r#"{"id":"12","kind":"refresh-snap","summary":"Refresh","status":"Doing","tasks":[
                {"kind":"prerequisites","status":"Done","summary":"Ensure"},
                {"kind":"check-rerefresh","status":"Doing","summary":"Handling re-refresh"},
                {"kind":"download-snap","status":"Doing","summary":"Download snap \"lxd\"","progress":{"label":"lxd","done":30,"total":120}}]}"#,
        )
        .unwrap();
        assert_eq!(
            change.current(),
            (1, 3, "Download snap \"lxd\" (25%)".to_owned())
        );
    }

    #[test]
    fn a_snap_is_read_as_snapd_writes_it() {
        let snap: Snap = serde_json::from_str(
            r#"{"id":"x","title":"microceph","name":"microceph","status":"active","type":"app","version":"19.2.0+snap3ac2a9b",
                "channel":"squid/stable","tracking-channel":"squid/stable","revision":"1500","cohort-key":"+",
                "hold":"2319-03-04T22:56:23.098128643Z","apps":[{"snap":"microceph","name":"ceph"}]}"#,
        )
        .unwrap();
        assert_eq!(
            (snap.revision.as_str(), snap.cohort_key.as_str()),
            ("1500", "+")
        );
        assert!(snap.hold.is_some());
    }

    #[test]
    fn a_service_is_down_if_it_is_to_run_all_the_time() {
        let services: Vec<Service> = serde_json::from_str(
            r#"[{"snap":"microovn","name":"daemon","daemon":"simple","daemon-scope":"system","enabled":true,"active":true},
                {"snap":"microovn","name":"chassis","daemon":"simple","daemon-scope":"system","enabled":true},
                {"snap":"microovn","name":"bird","daemon":"simple","daemon-scope":"system"},
                {"snap":"microovn","name":"refresh-expiring-certs","daemon":"oneshot","daemon-scope":"system","enabled":true,
                 "activators":[{"Name":"refresh-expiring-certs","Type":"timer","Active":true,"Enabled":true}]}]"#,
        )
        .unwrap();
        let down: Vec<&str> = services
            .iter()
            .filter(|s| s.is_down())
            .map(|s| s.name.as_str())
            .collect();
        assert_eq!(down, ["chassis"]);
    }
}
