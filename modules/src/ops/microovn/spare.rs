//! Whether the network's databases can do without a member right now.

use std::time::Duration;

use futures_util::future::join;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Picture;
use crate::contract::cx::{Cx, Unmet};
use crate::contract::error::OpError;
use crate::contract::op::{Effect, Op};
use crate::contract::schema::{Member, Span};
use crate::ops::snap::Spared;
use crate::products::microcluster::{self, MICROOVN};
use crate::products::raft::{self, View};
use crate::products::snapd::Presence;

/// Pause between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Wait until the network's databases can spare a member: the gate before it is refreshed.
///
/// Of both databases all other servers answer, are connected with each other and have nothing pending, and they are a
/// majority. What is wrong with the server of this very member doesn't count.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpareArgs {
    /// The member that is to be refreshed.
    pub(crate) member: Member,
    /// Members that were refreshed before: their services have to run still.
    #[serde(default)]
    pub(crate) done: Vec<Member>,
    /// The databases may stop in the meantime: accept that the other servers are no majority.
    #[serde(default)]
    pub(crate) downtime: bool,
}

/// The databases can do without the member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SpareOut {
    /// Always true: a member that can't be spared is a failure.
    pub(crate) spared: bool,
    /// When that was seen.
    #[serde(default)]
    pub(crate) seen: Spared,
}

pub(crate) struct Spare;

impl Op for Spare {
    const NAME: &'static str = "microovn.spare";
    const EFFECT: Effect = Effect::Read;
    const TIMEOUT: Span = Span::secs(5 * 60);
    type Args = SpareArgs;
    type Out = SpareOut;

    fn headline(_: &SpareArgs) -> String {
        "network can spare it".to_owned()
    }

    fn summary(_: &SpareOut) -> String {
        "yes".to_owned()
    }

    async fn run(cx: &Cx, args: SpareArgs) -> Result<SpareOut, OpError> {
        cx.until(EVERY, async || {
            let (against, watched) = join(
                against(cx, &args.member, args.downtime),
                Presence::look(cx, MICROOVN.snap, &args.done),
            )
            .await;
            watched?;
            let against = against.map_err(|error| Unmet::of(error, OpError::to_string))?;
            if against.is_empty() {
                return Ok(SpareOut {
                    spared: true,
                    seen: Spared { at: cx.now() },
                });
            }
            Err(Unmet::NotYet(against.join("; ")))
        })
        .await
    }
}

/// What speaks against stopping OVN on `member` right now; nothing if the databases can do without it.
/// It fails where a member can't be reached: it may be the one that matters.
pub(crate) async fn against(
    cx: &Cx,
    member: &Member,
    downtime: bool,
) -> Result<Vec<String>, OpError> {
    let picture = Picture::take(cx).await?;
    let mut against = picture.unread(Some(member));
    for (database, views) in picture.databases() {
        let own = own_server(cx, member, views).await?;
        // Only a server that is unwell is left aside: a well one has to hear of the others as they of it.
        let whole = raft::problems(database.title, views, None);
        if !whole.is_empty() {
            match &own {
                Some(id) => against.extend(raft::problems(database.title, views, Some(id))),
                None => against.extend(whole),
            }
        }
        let servers = views
            .iter()
            .map(|(_, view)| view.servers.len())
            .max()
            .unwrap_or(0);
        let others = views
            .iter()
            .filter(|(name, _)| name != member.as_str())
            .count();
        if own.is_some() && !downtime && 2 * others <= servers {
            against.push(format!(
                "{}: without {member} {others} of {servers} servers are left, which is no majority",
                database.title
            ));
        }
    }
    Ok(against)
}

/// The id of a member's server, as it says itself; or, where it doesn't answer, of the server that the others know at the
/// member's address. None where the member runs none.
async fn own_server(
    cx: &Cx,
    member: &Member,
    views: &[(Member, View)],
) -> Result<Option<String>, OpError> {
    if let Some((_, view)) = views.iter().find(|(name, _)| name == member.as_str()) {
        return Ok(Some(view.server.clone()));
    }
    let silent = |server: &&raft::Server| !views.iter().any(|(_, view)| view.server == server.id);
    let silent: Vec<&raft::Server> = views
        .iter()
        .flat_map(|(_, view)| view.servers.iter().filter(silent))
        .collect();
    if silent.is_empty() {
        return Ok(None);
    }
    let address = address(cx, member).await?;
    Ok(silent
        .iter()
        .find(|server| Some(&server.host) == address.as_ref())
        .map(|server| server.id.clone()))
}

/// The address under which MicroOVN knows a member, as the first of the others that answers tells.
async fn address(cx: &Cx, member: &Member) -> Result<Option<String>, OpError> {
    let mut last = None;
    for other in cx.members().iter().filter(|other| *other != member) {
        match microcluster::list(cx, MICROOVN, other).await {
            Ok(rows) => {
                let row = rows.into_iter().find(|row| row.name == *member);
                let address = row.and_then(|row| {
                    row.address
                        .rsplit_once(':')
                        .map(|(host, _)| host.trim_matches(['[', ']']).to_owned())
                });
                return Ok(address);
            }
            Err(error) => last = Some(error),
        }
    }
    last.map_or(Ok(None), Err)
}
