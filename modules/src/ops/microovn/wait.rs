//! The gate behind a refreshed member, and behind the last one: the databases' conversion.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::{join, join_all};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DATABASES, Database, HealthOut, health_again};
use crate::contract::cmd::Cmd;
use crate::contract::cx::{Cx, Look, Unmet};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::products::microcluster::{self, MICROOVN, Refreshed, State, Watch};
use crate::products::snapd::{Presence, Revision};

/// The longest pause between two looks of a gate, and the pause between good ones where several are asked for.
const EVERY: Duration = Duration::from_secs(5);

/// Wait until the network's databases are healthy again: the gate before the next member.
///
/// Every server of both databases answers for itself, one leads each, all are connected, and nothing is pending. With a
/// member: its services run, and its MicroOVN daemon is online, or waits for the members that don't have the
/// release yet. Without: the daemons of all members are online, and both databases have the schema that they expect.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitArgs {
    /// The member that was just refreshed.
    pub(crate) member: Option<Member>,
    /// The revision that it had before, as long as it can go back to it: named where the gate stays closed.
    pub(crate) before: Option<Revision>,
    /// Members that were refreshed before: their services have to run still.
    #[serde(default)]
    pub(crate) done: Vec<Member>,
    /// Good looks in a row, 5 s apart, without an election in between.
    #[serde(default = "samples")]
    pub(crate) samples: u32,
}

/// A refreshed server is a new process: what it says of itself and of its connections can't be older than the refresh.
fn samples() -> u32 {
    1
}

/// What the gate saw when it opened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WaitOut {
    /// How MicroOVN's database stands.
    pub(crate) database: State,
    /// How OVN's databases are.
    pub(crate) health: HealthOut,
}

pub(crate) struct Wait;

impl Op for Wait {
    const NAME: &'static str = "microovn.wait";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(10 * 60);
    type Args = WaitArgs;
    type Out = WaitOut;

    fn headline(args: &WaitArgs) -> String {
        args.member.as_ref().map_or_else(
            || "network is healthy".to_owned(),
            |_| "network is healthy again".to_owned(),
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
        let (member, before) = (args.member.as_ref(), args.before.as_ref());
        let terms = |out: &WaitOut| out.health.terms.clone();
        let mut servers = BTreeSet::new();
        let gate = async |watch: &Watch| {
            let looks = async || look(cx, &args, watch, &mut servers).await;
            cx.steady(args.samples, EVERY, terms, looks).await
        };
        let opened = Watch::gate(cx, MICROOVN, &args.done, gate).await;
        opened.map_err(|e| microcluster::with_way_back(cx, e, MICROOVN, member, before))
    }
}

/// Whose daemons were looked at.
enum Daemons {
    Of(Refreshed),
    Everywhere(Presence),
}

async fn look(
    cx: &Cx,
    args: &WaitArgs,
    watch: &Watch,
    servers: &mut BTreeSet<Member>,
) -> Look<WaitOut> {
    let daemons = async {
        Ok(match &args.member {
            Some(member) => Daemons::Of(watch.look(cx, member).await?),
            None => {
                Daemons::Everywhere(microcluster::look_everywhere(cx, MICROOVN, &args.done).await?)
            }
        })
    };
    let (health, daemons) = join(health_again(cx, args.member.as_ref(), servers), daemons).await;
    let health = health.map_err(|error| Unmet::of(error, OpError::to_string))?;
    if !health.ok {
        let mut missing = health.problems;
        // What is down on the member itself is why the others miss it.
        match daemons {
            Err(Unmet::NotYet(cause)) if args.member.is_some() => missing.insert(0, cause),
            Err(Unmet::Failed(error)) => return Err(Unmet::Failed(error)),
            _ => {}
        }
        return Err(Unmet::NotYet(missing.join("; ")));
    }
    let database = match daemons? {
        Daemons::Of(member) => member.confirmed(cx, &args.done).await?,
        Daemons::Everywhere(presence) => {
            schemas(cx, &presence, &health.central).await?;
            State::Online
        }
    };
    Ok(WaitOut { database, health })
}

/// Whether both databases have been converted to the schema that all members expect, as every member sees it.
async fn schemas(cx: &Cx, presence: &Presence, central: &[Member]) -> Look<()> {
    let cmd = status();
    let outputs = join_all(presence.with.iter().map(|member| cx.cmd(member, &cmd))).await;
    for (member, output) in presence.with.iter().zip(outputs) {
        let output = output?;
        let missing = match output.text(&cmd, member) {
            Ok(text) => unconverted(text, central),
            Err(error) => Some(error.message),
        };
        if let Some(missing) = missing {
            return Err(Unmet::NotYet(format!("{member}: {missing}")));
        }
    }
    Ok(())
}

/// `microovn status`, which asks each member in turn what schema it expects.
pub(super) fn status() -> Cmd {
    Cmd::root(["/snap/bin/microovn", "status"]).timeout(Duration::from_secs(100))
}

/// What `microovn status` says against the schemas. Its exit code is 0 whatever it says; only two lines mean "yes".
///
/// Releases from before MicroOVN converted databases by itself (22.03, and 24.03's first) have nothing to convert and no
/// summary of it: their text ends with the members (`microovn/cmd/microovn/status.go` in branch-22.03).
pub(super) fn unconverted(status: &str, central: &[Member]) -> Option<String> {
    if !status
        .lines()
        .any(|line| line == "MicroOVN deployment summary:")
    {
        return Some("microovn status printed no summary".to_owned());
    }
    if ends_with_members(status, central) {
        return None;
    }
    DATABASES.iter().find_map(|database| {
        let fine = format!("OVN {}: OK (", database.title);
        (!status.lines().any(|line| line.starts_with(&fine)))
            .then(|| pending(*database, status, central))
    })
}

/// Whether `microovn status` is whole and has nothing but its summary of members: each with its services, and those that run
/// the databases among them.
fn ends_with_members(status: &str, central: &[Member]) -> bool {
    let lines: Vec<&str> = status.lines().skip(1).collect();
    let listed = |name: &Member| {
        let begins = format!("- {name} (");
        lines.iter().any(|line| line.starts_with(&begins))
    };
    let pairs = lines
        .chunks(2)
        .all(|pair| matches!(pair, [a, b] if a.starts_with("- ") && b.starts_with("  Services: ")));
    !lines.is_empty() && pairs && status.ends_with('\n') && central.iter().all(listed)
}

/// Why a database doesn't have the schema that it is to have.
fn pending(database: Database, status: &str, central: &[Member]) -> String {
    let title = database.title;
    let block = status
        .lines()
        .skip_while(|line| !line.contains(title))
        .skip(1);
    let report: Vec<&str> = block
        .take_while(|l| !l.is_empty() && !l.starts_with("OVN"))
        .map(str::trim)
        .collect();
    let expected: Vec<&str> = report
        .iter()
        .skip_while(|line| !line.starts_with("Cluster report"))
        .skip(1)
        .copied()
        .collect();
    let versions: BTreeSet<&str> = expected
        .iter()
        .filter_map(|line| line.split_once(": ").map(|(_, version)| version))
        .collect();
    let mut versions = versions.into_iter();
    match (versions.next(), versions.next()) {
        // It is converted by the central member with the lowest id, which MicroOVN shows nowhere; restarting the daemon of
        // another one harms nothing.
        (Some(version), None) if version.starts_with(|c: char| c.is_ascii_digit()) => format!(
            "{title}'s schema is not yet {version}, which all members expect. MicroOVN converts it once, and if that failed \
             tries again only when its daemon starts: if this lasts, run sudo snap restart microovn.daemon on {} \
             (microovn.daemon alone: restarting microovn.switch would cut the instances off)",
            central.join(", ")
        ),
        _ if report.is_empty() => {
            format!("{title}'s schema is not the expected one: no summary of it")
        }
        _ => format!(
            "{title}'s schema is not the expected one: {}",
            report.join("; ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_lines_mean_that_the_schemas_are_converted() {
        let fine = "MicroOVN deployment summary:\n- m1 (10.0.0.1)\n  Services: central, chassis, switch\nOVN Database \
                    summary:\nOVN Northbound: OK (7.3.0)\nOVN Southbound: OK (20.33.0)\n";
        assert_eq!(unconverted(fine, &[]), None);
        let pending = "MicroOVN deployment summary:\nOVN Northbound: OK (7.3.0)\nOVN Southbound: Upgrade or attention required!\nCurrently active schema: 20.41.0\nCluster report (expected schema versions):\n\tmicro01: 20.42.0\n\tmicro02: Error. Failed to contact member\n\n";
        insta::assert_snapshot!(unconverted(pending, &[]).unwrap(), @"Southbound's schema is not the expected one: Currently active schema: 20.41.0; Cluster report (expected schema versions):; micro01: 20.42.0; micro02: Error. Failed to contact member");
        let cut = fine.split_once("OVN Northbound").unwrap().0;
        insta::assert_snapshot!(unconverted(cut, &[]).unwrap(), @"Northbound's schema is not the expected one: no summary of it");
    }

    #[test]
    fn releases_that_know_no_schemas_have_nothing_to_convert() {
        let old = include_str!("../../../tests/transcripts/ovn/status-of-22.03.txt");
        let central = ["micro01", "micro02", "micro03"].map(Member::from);
        assert_eq!(unconverted(old, &central), None);
        let whole = old.len();
        let cut = (1..whole).filter(|end| unconverted(&old[..*end], &central).is_none());
        assert_eq!(cut.count(), 0, "a text that was cut");
        for nothing in [
            "",
            "usage: microovn\n",
            "MicroOVN deployment summary:\n",
            "[]",
            "{}",
        ] {
            assert!(unconverted(nothing, &[]).is_some(), "{nothing}");
        }
        let more = format!("{old}Error creating OVN Northbound Database summary: x\n");
        assert!(unconverted(&more, &[]).is_some());
    }

    #[test]
    fn a_conversion_that_nobody_is_missing_for_names_the_remedy() {
        let stalled = "MicroOVN deployment summary:\nOVN Northbound: Upgrade or attention required!\nCurrently active schema: 7.3.0\nCluster report (expected schema versions):\n\tmicro01: 7.3.1\n\tmicro02: 7.3.1\n\nOVN Southbound: OK (20.33.0)\n";
        let central = ["micro01", "micro02"].map(Member::from);
        let said = unconverted(stalled, &central).unwrap();
        assert!(
            said.contains("sudo snap restart microovn.daemon on micro01, micro02"),
            "{said}"
        );
    }
}
