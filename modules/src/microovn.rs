//! `microovn`: the cluster's network.

use std::time::Duration;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cmd::Cmd;
use crate::cx::{Cx, Look};
use crate::error::{Kind, OpError};
use crate::microcluster::{self, MICROOVN, State};
use crate::op::{Effect, Module, Op, OpDef};
use crate::raft::{self, View};
use crate::schema::{Member, Span};

/// Pause between two looks of a gate.
const EVERY: Duration = Duration::from_secs(5);

/// Good looks in a row before a gate opens, in the same terms: 10 s without an election.
const SAMPLES: u32 = 3;

/// The two databases: their names in what people read, in `cluster/status`, and of the control socket.
const DATABASES: [(&str, &str, &str); 2] = [
    ("Northbound", "OVN_Northbound", "ovnnb_db"),
    ("Southbound", "OVN_Southbound", "ovnsb_db"),
];

/// The module.
#[must_use]
pub fn module() -> Module {
    let ops = vec![OpDef::of::<Health>(), OpDef::of::<Wait>()];
    Module::new("microovn", "Network: MicroOVN and the OVN it runs.", ops)
}

/// Tell how the network's databases are, as every server of them sees it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthArgs {}

/// How the network's databases are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthOut {
    /// Whether nothing speaks against taking one member down.
    pub ok: bool,
    /// What does.
    pub problems: Vec<String>,
    /// Members that run the databases.
    pub central: Vec<String>,
    /// Members that lead one.
    pub leaders: Vec<String>,
    /// The terms of both databases; they change with every election.
    pub terms: Vec<u64>,
}

impl HealthOut {
    fn brief(&self) -> String {
        if !self.ok {
            return self.problems.join("; ");
        }
        format!(
            "{} servers of each database, led by {}",
            self.central.len(),
            self.leaders.join(", ")
        )
    }
}

/// `microovn.health`
pub struct Health;

impl Op for Health {
    const NAME: &'static str = "microovn.health";
    const EFFECT: Effect = Effect::Read;
    type Args = HealthArgs;
    type Out = HealthOut;

    fn headline(_: &HealthArgs) -> String {
        String::new()
    }

    fn summary(out: &HealthOut) -> String {
        out.brief()
    }

    async fn run(cx: &Cx, _: HealthArgs) -> Result<HealthOut, OpError> {
        health(cx).await
    }
}

/// How the databases are.
///
/// # Errors
/// Where a member can't be reached: it may be the one that matters.
pub async fn health(cx: &Cx) -> Result<HealthOut, OpError> {
    let members = cx.members();
    let asked = join_all(members.iter().map(|member| views(cx, member))).await;
    let mut by_database: [Vec<(String, View)>; 2] = [Vec::new(), Vec::new()];
    let mut problems = Vec::new();
    for (member, views) in members.iter().zip(asked) {
        for (database, view) in views?.into_iter().enumerate() {
            match view {
                Some(Ok(view)) => by_database[database].push((member.0.clone(), view)),
                Some(Err(what)) => {
                    problems.push(format!("{}: {member}: {what}", DATABASES[database].0));
                }
                None => {}
            }
        }
    }
    let mut leaders: Vec<String> = Vec::new();
    for (views, (name, ..)) in by_database.iter().zip(DATABASES) {
        problems.extend(raft::problems(name, views));
        leaders.extend(
            views
                .iter()
                .filter(|(_, v)| v.role == "leader")
                .map(|(member, _)| member.clone()),
        );
    }
    leaders.sort();
    leaders.dedup();
    let terms = by_database
        .iter()
        .map(|views| views.iter().map(|(_, v)| v.term).max().unwrap_or(0));
    Ok(HealthOut {
        ok: problems.is_empty(),
        problems,
        central: by_database[0]
            .iter()
            .map(|(member, _)| member.clone())
            .collect(),
        leaders,
        terms: terms.collect(),
    })
}

/// What a member's servers say. Nothing for a database that the member doesn't run.
async fn views(cx: &Cx, member: &Member) -> Result<Vec<Option<Result<View, String>>>, OpError> {
    let batch = DATABASES.map(|(_, name, socket)| {
        let socket = format!("/var/snap/microovn/common/run/ovn/{socket}.ctl");
        let argv = [
            "/snap/bin/microovn.ovn-appctl",
            "--timeout=10",
            "-t",
            &socket,
            "cluster/status",
            name,
        ];
        Cmd::root(argv).timeout(Duration::from_secs(20))
    });
    let outputs = cx.batch(member, &batch).await?;
    let views = outputs.iter().zip(&batch).map(|(output, cmd)| {
        if output.success() {
            return Some(View::parse(&output.stdout));
        }
        // No socket: no server here. Should one be missing that the others count on, their count tells.
        if output.stderr.contains("No such file or directory") {
            return None;
        }
        Some(Err(output
            .failure(cmd, member.as_str(), output.stderr.trim())
            .message))
    });
    Ok(views.collect())
}

/// Wait until the network's databases are whole again: the gate before the next member.
///
/// Every server of both databases answers, one leads each, all are connected, nothing is pending, and no election takes
/// place for some looks. With a member: its MicroOVN daemon is online, or waits for the members that don't have the
/// release yet. Without: the daemons of all members are online, and both databases have the schema that they expect.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitArgs {
    /// The member that was just refreshed.
    pub member: Option<Member>,
    /// Good looks in a row, 5 s apart.
    #[serde(default = "samples")]
    pub samples: u32,
}

fn samples() -> u32 {
    SAMPLES
}

/// What the gate saw when it opened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct WaitOut {
    /// How MicroOVN's database stands.
    pub database: State,
    /// How OVN's databases are.
    pub health: HealthOut,
}

/// `microovn.wait`
pub struct Wait;

impl Op for Wait {
    const NAME: &'static str = "microovn.wait";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(10 * 60);
    type Args = WaitArgs;
    type Out = WaitOut;

    fn headline(args: &WaitArgs) -> String {
        args.member.as_ref().map_or_else(
            || "network is whole".to_owned(),
            |_| "network is whole again".to_owned(),
        )
    }

    fn summary(out: &WaitOut) -> String {
        let waits = if out.database == State::Waiting {
            "; MicroOVN waits for the others"
        } else {
            ""
        };
        format!("{}{waits}", out.health.brief())
    }

    async fn run(cx: &Cx, args: WaitArgs) -> Result<WaitOut, OpError> {
        let mut good = 0;
        let mut terms = Vec::new();
        cx.until(EVERY, async || {
            match look(cx, args.member.as_ref()).await? {
                Look::Yes(out) => {
                    good = if out.health.terms == terms {
                        good + 1
                    } else {
                        1
                    };
                    terms.clone_from(&out.health.terms);
                    if good >= args.samples {
                        return Ok(Look::Yes(out));
                    }
                    Ok(Look::NotYet(format!(
                        "well so far, {good} of {} looks",
                        args.samples
                    )))
                }
                Look::NotYet(missing) => {
                    good = 0;
                    Ok(Look::NotYet(missing))
                }
            }
        })
        .await
    }
}

async fn look(cx: &Cx, member: Option<&Member>) -> Result<Look<WaitOut>, OpError> {
    let health = match health(cx).await {
        Ok(health) => health,
        Err(error) if error.kind == Kind::Unreachable => return Err(error),
        Err(error) => return Ok(Look::NotYet(error.to_string())),
    };
    if !health.ok {
        return Ok(Look::NotYet(health.problems.join("; ")));
    }
    let Some(member) = member else {
        match microcluster::look_everywhere(cx, MICROOVN).await? {
            Look::Yes(State::Online) => {}
            Look::Yes(State::Waiting) => {
                return Ok(Look::NotYet(
                    "MicroOVN still waits for members without the release".to_owned(),
                ));
            }
            Look::NotYet(missing) => return Ok(Look::NotYet(missing)),
        }
        return Ok(match schemas(cx).await? {
            Look::Yes(()) => Look::Yes(WaitOut {
                database: State::Online,
                health,
            }),
            Look::NotYet(missing) => Look::NotYet(missing),
        });
    };
    Ok(match microcluster::look(cx, MICROOVN, member).await? {
        Look::Yes(database) => Look::Yes(WaitOut { database, health }),
        Look::NotYet(missing) => Look::NotYet(missing),
    })
}

/// Whether both databases have been converted to the schema that all members expect, as every member sees it.
async fn schemas(cx: &Cx) -> Result<Look<()>, OpError> {
    let members = cx.members();
    let cmd = Cmd::root(["/snap/bin/microovn", "status"]).timeout(Duration::from_secs(100));
    let outputs = join_all(members.iter().map(|member| cx.cmd(member, &cmd))).await;
    for (member, output) in members.iter().zip(outputs) {
        let output = output?;
        let missing = if output.success() {
            unconverted(&output.stdout)
        } else {
            Some(
                output
                    .failure(&cmd, member.as_str(), output.stderr.trim())
                    .message,
            )
        };
        if let Some(missing) = missing {
            return Ok(Look::NotYet(format!("{member}: {missing}")));
        }
    }
    Ok(Look::Yes(()))
}

/// What `microovn status` says against the schemas. Its exit code is 0 whatever it says; only two lines mean "yes".
fn unconverted(status: &str) -> Option<String> {
    let missing = DATABASES.iter().find(|(name, ..)| {
        let fine = format!("OVN {name}: OK (");
        !status.lines().any(|line| line.starts_with(&fine))
    });
    missing.map(|(name, ..)| {
        let lines = status
            .lines()
            .skip_while(|line| !line.contains(name))
            .skip(1);
        let report: Vec<&str> = lines
            .take_while(|l| !l.is_empty() && !l.starts_with("OVN"))
            .map(str::trim)
            .collect();
        let report = if report.is_empty() {
            "no summary of it".to_owned()
        } else {
            report.join("; ")
        };
        format!("{name}'s schema is not the expected one: {report}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_lines_mean_that_the_schemas_are_converted() {
        let fine =
            "OVN Database summary:\nOVN Northbound: OK (7.3.0)\nOVN Southbound: OK (20.33.0)\n";
        assert_eq!(unconverted(fine), None);
        let pending = "OVN Northbound: OK (7.3.0)\nOVN Southbound: Upgrade or attention required!\nCurrently active schema: 20.41.0\nCluster report (expected schema versions):\n\tmicro01: 20.42.0\n\tmicro02: Error. Failed to contact member\n\n";
        insta::assert_snapshot!(unconverted(pending).unwrap(), @"Southbound's schema is not the expected one: Currently active schema: 20.41.0; Cluster report (expected schema versions):; micro01: 20.42.0; micro02: Error. Failed to contact member");
        insta::assert_snapshot!(unconverted("").unwrap(), @"Northbound's schema is not the expected one: no summary of it");
    }
}
