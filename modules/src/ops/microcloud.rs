//! `microcloud`: the cluster of clusters.
//!
//! `microcloud status` has no machine format, exits with 0 even where it says ERROR, and hangs while its own daemon waits;
//! `microcloud waitready` exits with 0 where LXD isn't ready. Neither decides anything here: `cluster list` does, and the data
//! behind `status`.

mod overview;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::cx::{Cx, Look};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Module, Op};
use crate::contract::schema::{Member, Span};
use crate::contract::text::joined;
use crate::products::microcluster::{self, MICROCLOUD, Row, State, Watch};
use crate::products::snapd::Revision;

/// Pause between two looks of a gate.
const EVERY: Duration = Duration::from_secs(3);

pub(crate) fn module() -> Module {
    Module::new("microcloud", "The cluster of clusters: MicroCloud itself.")
        .op::<Members>()
        .op::<Wait>()
}

/// List the members of the MicroCloud, as one of them sees them.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MembersArgs {
    /// Member to ask.
    pub(crate) member: Member,
}

/// The members of the MicroCloud.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MembersOut {
    /// The members.
    pub(crate) members: Vec<Row>,
}

pub(crate) struct Members;

impl Op for Members {
    const NAME: &'static str = "microcloud.members";
    const EFFECT: Effect = Effect::Read;
    type Args = MembersArgs;
    type Out = MembersOut;

    fn summary(out: &MembersOut) -> String {
        let each = out.members.iter();
        joined(each.map(|m| format!("{} {}", m.name, m.status)), ", ")
    }

    async fn run(cx: &Cx, args: MembersArgs) -> Result<MembersOut, OpError> {
        Ok(MembersOut {
            members: microcluster::list(cx, MICROCLOUD, &args.member).await?,
        })
    }
}

/// Wait until MicroCloud's daemon is online: on a member, or waiting there for members without the release; without a
/// member, on all of them, and MicroCloud finds the services of all members online.
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
}

/// What the gate saw when it opened.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct WaitOut {
    /// How MicroCloud's database stands.
    pub(crate) database: State,
    /// How many members each service has, all online, as MicroCloud finds them; absent where it wasn't asked, or has no
    /// overview.
    #[serde(default)]
    pub(crate) services: Option<String>,
}

pub(crate) struct Wait;

impl Op for Wait {
    const NAME: &'static str = "microcloud.wait";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(10 * 60);
    type Args = WaitArgs;
    type Out = WaitOut;

    fn headline(args: &WaitArgs) -> String {
        args.member.as_ref().map_or_else(
            || "online on every member".to_owned(),
            |_| "online".to_owned(),
        )
    }

    fn summary(out: &WaitOut) -> String {
        match out.database {
            State::Waiting => "waits for the others".to_owned(),
            State::Online => "online".to_owned(),
        }
    }

    async fn run(cx: &Cx, args: WaitArgs) -> Result<WaitOut, OpError> {
        let (member, before) = (args.member.as_ref(), args.before.as_ref());
        let gate = async |watch: &Watch| {
            let look = async || {
                let Some(member) = member else {
                    return everywhere(cx, &args.done).await;
                };
                let refreshed = watch.look(cx, member).await?;
                Ok(WaitOut {
                    database: refreshed.confirmed(cx, &args.done).await?,
                    services: None,
                })
            };
            cx.until(EVERY, look).await
        };
        let opened = Watch::gate(cx, MICROCLOUD, &args.done, gate).await;
        opened.map_err(|e| microcluster::with_way_back(cx, e, MICROCLOUD, member, before))
    }
}

async fn everywhere(cx: &Cx, done: &[Member]) -> Look<WaitOut> {
    let presence = microcluster::look_everywhere(cx, MICROCLOUD, done).await?;
    Ok(WaitOut {
        database: State::Online,
        services: overview::look(cx, &presence).await?,
    })
}
