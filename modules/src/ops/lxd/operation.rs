//! What LXD does in the background: it continues whoever may have asked for it, and is forgotten 5 s after its end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Instance, TIMEOUT};
use crate::contract::cmd::Cmd;
use crate::contract::cx::{Cx, Unmet};
use crate::contract::error::{Kind, OpError};
use crate::contract::schema::Member;

/// Pause between two looks at an operation.
const EVERY: Duration = Duration::from_secs(2);

/// An operation, as LXD lists it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Operation {
    pub(super) id: String,
    description: String,
    /// The member that does it. Nothing on servers that are in no cluster.
    #[serde(default)]
    location: String,
    status_code: u32,
    #[serde(default)]
    err: String,
    metadata: Option<Map<String, Value>>,
}

#[derive(Debug)]
pub(super) enum Ended {
    Success,
    Failure(String),
    /// LXD has forgotten it, or died on it: only the state tells.
    Forgotten,
}

/// A witness: the operation that a step has begun.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    pub(super) operation: String,
}

impl Operation {
    fn runs(&self) -> bool {
        // Codes from 200 on are final (shared/api/status_code.go).
        self.status_code < 200
    }

    fn doing(&self) -> String {
        let metadata = self.metadata.as_ref();
        let progress = metadata.and_then(|m| m.get("evacuation_progress"));
        let progress = progress.and_then(Value::as_str);
        progress.unwrap_or(&self.description).to_owned()
    }

    fn ended(&self) -> Ended {
        if self.status_code == 200 && self.err.is_empty() {
            Ended::Success
        } else if self.err.is_empty() {
            Ended::Failure(format!("LXD ended it with code {}", self.status_code))
        } else {
            Ended::Failure(self.err.clone())
        }
    }
}

/// `lxc query` with a method and a body, on a member. It is not waited for: its client may go away.
pub(super) fn request(method: &str, path: &str, body: &Value) -> Cmd {
    let body = body.to_string();
    Cmd::root(["/snap/bin/lxc", "query", "-X", method, "-d", &body, path]).timeout(TIMEOUT)
}

/// Asks for something that LXD does in the background.
pub(super) async fn begin(
    cx: &Cx,
    member: &Member,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<Operation, OpError> {
    let cmd = request(method, path, body);
    let output = cx.cmd(member, &cmd).await?;
    output.json(&cmd, member)
}

/// Follows an operation to its end, and tells what it is at meanwhile: at which of `instances`, where it goes through so
/// many of them one after the other.
pub(super) async fn follow(
    cx: &Cx,
    member: &Member,
    id: &str,
    instances: usize,
) -> Result<Ended, OpError> {
    let path = format!("/1.0/operations/{id}");
    let cmd = Cmd::root(["/snap/bin/lxc", "query", path.as_str()]).timeout(TIMEOUT);
    let mut seen = BTreeSet::new();
    cx.until(EVERY, async || {
        let output = cx.cmd(member, &cmd).await?;
        if output.stderr.to_lowercase().contains("not found") {
            return Ok(Ended::Forgotten);
        }
        // LXD may restart in the middle: what it then says of the operation counts.
        match output.json::<Operation>(&cmd, member) {
            Ok(operation) if operation.runs() => {
                let doing = operation.doing();
                seen.extend(instance(&doing));
                if let Some(done) = seen.len().checked_sub(1).filter(|_| instances > 0) {
                    cx.progress(done as u64, Some(instances as u64), doing.as_str());
                }
                Err(Unmet::NotYet(doing))
            }
            Ok(operation) => Ok(operation.ended()),
            Err(error) => Err(Unmet::NotYet(error.message)),
        }
    })
    .await
}

/// The instance and its project that a progress is about, as in `Stopping "c1" in project "default"`.
fn instance(doing: &str) -> Option<(String, String)> {
    let mut quoted = doing.split('"').skip(1).step_by(2).map(str::to_owned);
    Some((quoted.next()?, quoted.next()?))
}

/// Asks for something and follows it to its end.
pub(super) async fn carry_out(
    cx: &Cx,
    member: &Member,
    method: &str,
    path: &str,
    body: &Value,
) -> Result<(), OpError> {
    let operation = begin(cx, member, method, path, body).await?;
    match follow(cx, member, &operation.id, 0).await? {
        Ended::Failure(why) => Err(OpError::command(why).on(member)),
        Ended::Success | Ended::Forgotten => Ok(()),
    }
}

/// The path of an instance in the API; `tail` may begin a query.
pub(super) fn path(instance: &Instance, tail: &str) -> String {
    let and = if tail.contains('?') { '&' } else { '?' };
    let Instance { name, project, .. } = instance;
    format!("/1.0/instances/{name}{tail}{and}project={project}")
}

/// Starts or stops an instance, asked of `member`, wherever the instance is.
pub(super) async fn set_state(
    cx: &Cx,
    member: &Member,
    instance: &Instance,
    action: &str,
) -> Result<(), OpError> {
    let body = json!({"action": action, "force": false, "timeout": 60});
    carry_out(cx, member, "PUT", &path(instance, "/state"), &body).await
}

/// What LXD is doing with a member as a whole.
#[derive(Debug)]
pub(super) enum Busy {
    Evacuating(Operation),
    Restoring(Operation),
}

impl Busy {
    pub(super) fn doing(&self) -> String {
        let (Self::Evacuating(operation) | Self::Restoring(operation)) = self;
        operation.doing()
    }
}

/// Whether LXD evacuates or restores a member now. Asked of the member itself: others know no progress.
pub(super) async fn busy(cx: &Cx, member: &Member) -> Result<Option<Busy>, OpError> {
    let path = "/1.0/operations?recursion=1";
    let cmd = Cmd::root(["/snap/bin/lxc", "query", path]).timeout(TIMEOUT);
    let output = cx.cmd(member, &cmd).await?;
    // lxc prints nothing at all for an empty object (lxc/query.go).
    let nothing = output.text(&cmd, member)?.trim().is_empty();
    let all: BTreeMap<String, Vec<Operation>> = match nothing {
        true => BTreeMap::new(),
        false => output.json(&cmd, member)?,
    };
    let here =
        |op: &Operation| op.runs() && (op.location == member.as_str() || op.location.is_empty());
    Ok(all.into_values().flatten().filter(here).find_map(|op| {
        // The descriptions are constants of LXD's (lxd/db/operationtype/operation_type.go).
        match op.description.as_str() {
            "Evacuating cluster member" => Some(Busy::Evacuating(op)),
            "Restoring cluster member" => Some(Busy::Restoring(op)),
            _ => None,
        }
    }))
}

pub(super) fn conflict(member: &Member, busy: &Busy) -> OpError {
    let what = match busy {
        Busy::Evacuating(_) => "evacuated",
        Busy::Restoring(_) => "restored",
    };
    let message = format!("it is being {what} by somebody else: {}", busy.doing());
    OpError::new(Kind::Conflict, message).on(member)
}
