//! Whether storage or network can do without the member whose snap is to be refreshed.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use super::args::RefreshArgs;
use super::{COHORT, offers};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;
use crate::products::snapd::Snap;

/// How long a refresh waits for the cluster to be able to do without the member: until a manager has seen every placement
/// group again, and a database has its leader.
const SPARED: Duration = Duration::from_secs(180);

/// For how long a gate that was open counts as open: what comes between it and the refresh takes a second or two.
const RECENT: Duration = Duration::from_secs(15);

/// Between two looks.
const EVERY: Duration = Duration::from_secs(10);

/// Who is asked whether a component can do without a member: this module knows no component.
pub trait Spares: 'static {
    /// What speaks against stopping a component on a member right now; none where it can always be stopped.
    fn against(
        cx: &Cx,
        snap: &str,
        member: &Member,
        downtime: bool,
    ) -> impl Future<Output = Option<Result<Vec<String>, OpError>>>;
}

/// Looks whether storage or network can do without the member now: a run may have been away for long since its gate was
/// open. A cluster that has just got a member back can't tell for some seconds, so a no is looked at again for a while. What
/// is down on this very member doesn't count, and where nothing would be refreshed nothing stops.
pub(super) async fn spared<S: Spares>(
    cx: &Cx,
    args: &RefreshArgs,
    snap: &Snap,
) -> Result<(), OpError> {
    let member = &args.member;
    let seen = args.spared.as_ref();
    let seen = seen.map(|spared| cx.now().duration_since(spared.at));
    if seen.is_some_and(|ago| !ago.is_negative() && ago.unsigned_abs() <= RECENT) {
        return Ok(());
    }
    let until = Instant::now() + SPARED;
    loop {
        // A cluster of one member has nothing that could do without it.
        if cx.members().len() == 1 {
            return Ok(());
        }
        let Some(against) = S::against(cx, &args.snap, member, args.downtime).await else {
            return Ok(());
        };
        let against =
            against.unwrap_or_else(|error| vec![format!("it can't be determined: {error}")]);
        if against.is_empty() || !moves(cx, args, snap).await? {
            return Ok(());
        }
        let message = format!(
            "not started: {} can't spare {member} right now: {}",
            args.snap,
            against.join("; ")
        );
        if Instant::now() >= until {
            return Err(OpError::refused(message).on(member));
        }
        cx.progress(0, None, message);
        tokio::time::sleep(EVERY).await;
    }
}

/// Whether a refresh would bring another revision, as far as is known beforehand.
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
