//! `microovn`: the cluster's network.

mod certificates;
mod order;
mod outlook;
mod spare;
mod timers;
mod wait;

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cmd::Cmd;
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Module, Op};
use crate::contract::schema::Member;
use crate::products::raft::{self, View};

pub(crate) use order::Order;
pub(crate) use outlook::{Outlook, outlook};
pub(crate) use spare::{Spare, against};
pub(crate) use timers::Timers;
pub(crate) use wait::Wait;

/// One of the two databases of OVN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Database {
    /// As people read it.
    title: &'static str,
    /// In `cluster/status`.
    name: &'static str,
    /// Its control socket.
    socket: &'static str,
}

const DATABASES: [Database; 2] = [
    Database {
        title: "Northbound",
        name: "OVN_Northbound",
        socket: "ovnnb_db",
    },
    Database {
        title: "Southbound",
        name: "OVN_Southbound",
        socket: "ovnsb_db",
    },
];

impl Database {
    /// `ovn-appctl` to this database's server: a command on its raft, and what follows the database's name.
    fn appctl(self, command: &str, rest: &[&str]) -> Cmd {
        let socket = format!("/var/snap/microovn/common/run/ovn/{}.ctl", self.socket);
        let head = [
            "/snap/bin/microovn.ovn-appctl",
            "--timeout=10",
            "-t",
            &socket,
            command,
            self.name,
        ];
        Cmd::root(head.iter().chain(rest).copied()).timeout(Duration::from_secs(20))
    }
}

pub(crate) fn module() -> Module {
    Module::new("microovn", "Network: MicroOVN and the OVN it runs.")
        .op::<Health>()
        .op::<Order>()
        .op::<Timers>()
        .op::<Spare>()
        .op::<Wait>()
}

/// Tell how the network's databases are, as every server of them sees it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthArgs {}

/// How the network's databases are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HealthOut {
    /// Whether nothing speaks against taking one member down.
    pub(crate) ok: bool,
    /// What does.
    pub(crate) problems: Vec<String>,
    /// Members that run the databases.
    pub(crate) central: Vec<Member>,
    /// Members that lead one.
    pub(crate) leaders: Vec<Member>,
    /// The terms of both databases; they change with every election.
    pub(crate) terms: Vec<u64>,
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

    fn summary(out: &HealthOut) -> String {
        out.brief()
    }

    async fn run(cx: &Cx, _: HealthArgs) -> Result<HealthOut, OpError> {
        health(cx).await
    }
}

/// How the databases are.
/// It fails where a member can't be reached: it may be the one that matters.
pub(crate) async fn health(cx: &Cx) -> Result<HealthOut, OpError> {
    Ok(Picture::take(cx).await?.health())
}

/// As [`health`], where `known` are the members that were seen to run servers: as long as something is missing there or on
/// `member`, nothing is concluded from the others, and they aren't asked.
async fn health_again(
    cx: &Cx,
    member: Option<&Member>,
    known: &mut BTreeSet<Member>,
) -> Result<HealthOut, OpError> {
    if !known.is_empty() {
        let asked: BTreeSet<&Member> = known.iter().chain(member).collect();
        let asked: Vec<Member> = asked.into_iter().cloned().collect();
        let health = Picture::of(cx, &asked).await?.health();
        if !health.ok {
            return Ok(health);
        }
    }
    let health = health(cx).await?;
    known.extend(health.central.iter().cloned());
    Ok(health)
}

/// Where the databases are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placement {
    /// Members that run a server of each database.
    pub central: Vec<Member>,
    /// The leader of the northbound database, if its servers name one.
    pub northbound_leader: Option<Member>,
    /// The leader of the southbound database, if its servers name one.
    pub southbound_leader: Option<Member>,
    /// The longest election timer, in milliseconds.
    pub election_timer: Option<u64>,
}

pub(crate) async fn placement(cx: &Cx) -> Result<Placement, OpError> {
    let picture = Picture::take(cx).await?;
    let leader = |views: &[(Member, View)]| {
        let leads = views.iter().find(|(_, view)| view.role == "leader");
        leads.map(|(member, _)| member.clone())
    };
    let timers = picture.views.iter().flatten();
    Ok(Placement {
        central: picture.central(),
        northbound_leader: leader(&picture.views[0]),
        southbound_leader: leader(&picture.views[1]),
        election_timer: timers.map(|(_, view)| view.election_timer).max(),
    })
}

/// Both databases, as every one of their servers sees them.
#[derive(Clone, Debug, Default)]
struct Picture {
    /// Views by member, for each database in the order of [`DATABASES`].
    views: [Vec<(Member, View)>; 2],
    /// Servers that answered with something unreadable: database, member, what.
    unread: Vec<(&'static str, Member, String)>,
}

impl Picture {
    /// Asks all members: some run no server, and which do is nobody else's word.
    async fn take(cx: &Cx) -> Result<Self, OpError> {
        Self::of(cx, &cx.members()).await
    }

    /// As these members see it.
    async fn of(cx: &Cx, members: &[Member]) -> Result<Self, OpError> {
        let asked = join_all(members.iter().map(|member| views(cx, member))).await;
        let mut picture = Self::default();
        for (member, views) in members.iter().zip(asked) {
            for ((database, of_database), view) in
                DATABASES.iter().zip(&mut picture.views).zip(views?)
            {
                match view {
                    Some(Ok(view)) => of_database.push((member.clone(), view)),
                    Some(Err(what)) => picture.unread.push((database.title, member.clone(), what)),
                    None => {}
                }
            }
        }
        Ok(picture)
    }

    /// As [`Picture::take`], where every server can be read and there are some.
    async fn clear(cx: &Cx) -> Result<Self, OpError> {
        let picture = Self::take(cx).await?;
        let mut unread = picture.unread(None);
        for (database, views) in picture.databases() {
            if views.is_empty() {
                unread.push(format!("{}: no server answers", database.title));
            }
        }
        if unread.is_empty() {
            return Ok(picture);
        }
        Err(OpError::command(format!(
            "the state of the network's databases can't be determined: {}",
            unread.join("; ")
        )))
    }

    /// The views of each database, with its name.
    fn databases(&self) -> impl Iterator<Item = (Database, &[(Member, View)])> {
        DATABASES
            .into_iter()
            .zip(self.views.iter().map(Vec::as_slice))
    }

    /// Members that run a server.
    fn central(&self) -> Vec<Member> {
        let mut central: Vec<Member> = self
            .views
            .iter()
            .flatten()
            .map(|(member, _)| member.clone())
            .collect();
        central.sort();
        central.dedup();
        central
    }

    fn leaders(&self) -> Vec<Member> {
        let leading = self
            .views
            .iter()
            .flatten()
            .filter(|(_, view)| view.role == "leader");
        let mut leaders: Vec<Member> = leading.map(|(member, _)| member.clone()).collect();
        leaders.sort();
        leaders.dedup();
        leaders
    }

    fn unread(&self, except: Option<&Member>) -> Vec<String> {
        let counted = self
            .unread
            .iter()
            .filter(|(_, member, _)| Some(member) != except);
        counted
            .map(|(database, member, what)| format!("{database}: {member}: {what}"))
            .collect()
    }

    fn health(&self) -> HealthOut {
        let mut problems = self.unread(None);
        problems.extend(
            self.databases()
                .flat_map(|(database, views)| raft::problems(database.title, views, None)),
        );
        let terms = self
            .views
            .iter()
            .map(|views| views.iter().map(|(_, view)| view.term).max().unwrap_or(0));
        HealthOut {
            ok: problems.is_empty(),
            problems,
            central: self.central(),
            leaders: self.leaders(),
            terms: terms.collect(),
        }
    }
}

/// What a member's servers say. Nothing for a database that the member doesn't run.
async fn views(cx: &Cx, member: &Member) -> Result<Vec<Option<Result<View, String>>>, OpError> {
    let batch = DATABASES.map(|database| database.appctl("cluster/status", &[]));
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
            .failure(cmd, member, output.stderr.trim())
            .message))
    });
    Ok(views.collect())
}
