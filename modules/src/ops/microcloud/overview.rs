//! What MicroCloud itself makes of the services of all members: the data behind `microcloud status`, from the control socket
//! of its daemon (`GET /1.0/status`, `api/types/status.go`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::contract::cmd::Cmd;
use crate::contract::cx::{Cx, Look, Unmet};
use crate::contract::error::OpError;
use crate::contract::schema::Member;
use crate::contract::text::joined;
use crate::products::snapd::Presence;

const URL: &str = "http://localhost/1.0/status";

/// The daemon asks every other one, and each of those its services.
const TIMEOUT: Duration = Duration::from_secs(100);

/// The services of one member, as its own daemon sees them. Who gives no answer isn't among them.
#[derive(Debug, Deserialize)]
struct Row {
    name: String,
    /// The members of each service's cluster; without the service where it isn't found.
    clusters: BTreeMap<String, Vec<Part>>,
}

/// A member of a service's cluster.
#[derive(Debug, Deserialize)]
struct Part {
    name: String,
    /// `ONLINE`, or what the service calls it.
    status: String,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    error_code: u16,
    #[serde(default)]
    error: String,
    /// Megabytes, of a cluster of fifty.
    #[serde(default, borrow)]
    metadata: Option<&'a RawValue>,
}

enum Answer {
    /// The services of all members.
    Rows(Vec<Row>),
    /// Nothing: MicroCloud 1 has no such thing.
    Nothing,
    /// It has no curl, by which its daemon could be asked.
    NoCurl,
}

/// What MicroCloud finds online, in a few words, if that is everything. Where it has no overview (MicroCloud 1) it has nothing
/// to say, and the gates of the services have asked each of them.
pub(super) async fn look(cx: &Cx, presence: &Presence) -> Look<Option<String>> {
    let (mut last, mut nothing) = (None, false);
    for member in &presence.with {
        match ask(cx, member).await {
            Ok(Answer::Rows(rows)) => {
                return match problem(presence, &rows) {
                    None => Ok(Some(brief(&rows))),
                    Some(problem) => Err(Unmet::NotYet(problem)),
                };
            }
            Ok(Answer::Nothing) => nothing = true,
            Ok(Answer::NoCurl) => {}
            Err(error) => last = Some(error),
        }
    }
    match last {
        _ if nothing => Ok(None),
        Some(error) => Err(Unmet::of(error, |error| {
            format!(
                "MicroCloud's view of all services: {error}; see: sudo snap logs microcloud.daemon"
            )
        })),
        None => by_command(cx, presence).await,
    }
}

async fn ask(cx: &Cx, member: &Member) -> Result<Answer, OpError> {
    let Some(curl) = cx.facts(member).await?.curl else {
        return Ok(Answer::NoCurl);
    };
    let socket = "/var/snap/microcloud/common/state/control.socket";
    // The members of clusters come with their certificates.
    let cmd = Cmd::root([
        curl.as_str(),
        "-sS",
        "--max-time",
        "90",
        "--unix-socket",
        socket,
        URL,
    ])
    .timeout(TIMEOUT)
    .hiding(&["certificate"]);
    let output = cx.cmd(member, &cmd).await?;
    let answer: Envelope<'_> = output.json(&cmd, member)?;
    match answer.error_code {
        0 => {}
        404 => return Ok(Answer::Nothing),
        _ => return Err(OpError::command(answer.error).on(member)),
    }
    let rows = answer.metadata.map_or("null", RawValue::get);
    let rows = serde_json::from_str(rows).map_err(|e| {
        OpError::command(format!("it answered with something unexpected ({e})")).on(member)
    })?;
    Ok(Answer::Rows(rows))
}

/// Where no member has curl there is only what the command prints for people: the one line that is the sum of it
/// (`cmd/microcloud/status.go`), whose colours are left out where nobody sees them.
async fn by_command(cx: &Cx, presence: &Presence) -> Look<Option<String>> {
    let cmd = Cmd::root(["/snap/bin/microcloud", "status"]).timeout(TIMEOUT);
    let sum = |line: &str| line.trim().strip_prefix("Status: ").map(str::to_owned);
    let mut missing = "no member has MicroCloud".to_owned();
    for member in &presence.with {
        let output = cx.cmd(member, &cmd).await;
        let output = output.map_err(|error| Unmet::of(error, OpError::located))?;
        if output.lacks_command() {
            return Ok(None);
        }
        missing = match output.text(&cmd, member) {
            Err(error) => error.located(),
            Ok(text) => match text.lines().find_map(sum).as_deref() {
                Some("HEALTHY" | "WARNING") => return Ok(None),
                Some(other) => format!("on {member} microcloud status says {other}"),
                None => format!("on {member} microcloud status says nothing about the status"),
            },
        };
    }
    Err(Unmet::NotYet(format!(
        "{missing}; see: sudo microcloud status"
    )))
}

/// How many members each service finds.
fn brief(rows: &[Row]) -> String {
    let clusters = rows.first().map(|row| &row.clusters).into_iter().flatten();
    let each = clusters.map(|(service, parts)| format!("{service} {}", parts.len()));
    joined(each, ", ")
}

fn problem(presence: &Presence, rows: &[Row]) -> Option<String> {
    let found: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
    let mut problems = BTreeSet::new();
    let silent = presence
        .with
        .iter()
        .filter(|member| !found.contains(member.as_str()));
    problems.extend(silent.map(|member| format!("the daemon on {member} gives no answer")));
    for row in rows {
        // What isn't reported isn't known to be well.
        for service in ["LXD", "MicroCloud"] {
            if !row.clusters.contains_key(service) {
                problems.insert(format!("{service} isn't found on {}", row.name));
            }
        }
        for (service, parts) in &row.clusters {
            for part in parts {
                let name = &part.name;
                if !part.status.eq_ignore_ascii_case("online") {
                    problems.insert(format!("{service} is {} on {name}", part.status));
                } else if service == "MicroCloud" && !found.contains(name.as_str()) {
                    problems.insert(format!("the daemon on {name} gives no answer"));
                }
            }
        }
    }
    (!problems.is_empty()).then(|| {
        let problems = joined(problems, ", ");
        format!("as MicroCloud sees it, {problems}; see: sudo microcloud status")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_microcloud_does_not_find_online_is_named() {
        let one = Presence {
            with: vec![Member::from("m1")],
            without: Vec::new(),
        };
        let reported = |text: &str| problem(&one, &serde_json::from_str::<Vec<Row>>(text).unwrap());
        let whole = r#"[{"name": "m1", "clusters": {"LXD": [{"name": "m1", "status": "ONLINE"}], "MicroCloud": [{"name": "m1", "status": "ONLINE"}]}}]"#;
        assert_eq!(reported(whole), None);
        insta::assert_snapshot!(reported("[]").unwrap(), @"as MicroCloud sees it, the daemon on m1 gives no answer; see: sudo microcloud status");
        assert!(reported(r#"[{"name": "m1", "clusters": {"LXD": []}}]"#).is_some());
        let odd = r#"[{"name": "m1", "clusters": {"MicroOVN": [{"name": "m2", "status": "UNREACHABLE"}],
            "MicroCloud": [{"name": "m1", "status": "ONLINE"}, {"name": "m2", "status": "ONLINE"}]}}]"#;
        insta::assert_snapshot!(reported(odd).unwrap(), @"as MicroCloud sees it, LXD isn't found on m1, MicroOVN is UNREACHABLE on m2, the daemon on m2 gives no answer; see: sudo microcloud status");
    }
}
