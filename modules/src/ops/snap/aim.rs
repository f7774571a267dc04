//! How a member comes to the revision that all members are to have, known before anything is done.
//!
//! The cohort is to give all members the same. Where it doesn't, upstream's way is a refresh by the revision's number
//! (MicroCloud's `how-to/update_upgrade`, LXD's `howto/snap`); where a newer release took its place meanwhile, a refresh
//! would bring a third revision into the cluster.

use super::args::RefreshArgs;
use super::{COHORT, follows, offers};
use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::products::snapd::{self, Revision, Snap};

/// What a refresh of a member would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// It has the revision.
    There,
    /// The cohort gives it the revision, or nobody knows yet which one all are to have.
    Cohort,
    /// The store has it, and offers this member something else.
    Number(Revision),
    Replaced(Revision),
}

/// Looks at what the store offers the member now.
pub(super) async fn aim(cx: &Cx, args: &RefreshArgs, snap: &Snap) -> Result<Aim, OpError> {
    let Some(due) = &args.revision else {
        return Ok(Aim::Cohort);
    };
    if snap.revision == *due {
        return Ok(Aim::There);
    }
    let offer = offered(cx, args, snap).await?;
    Ok(judge(due, &snap.revision, offer.as_ref()))
}

/// What it comes to that the member has the revision `own`, and the store offers it `offer`.
fn judge(due: &Revision, own: &Revision, offer: Option<&Revision>) -> Aim {
    let Some(offer) = offer else {
        return Aim::Cohort;
    };
    if offer == due {
        return Aim::Cohort;
    }
    let newest = if own.number() > offer.number() {
        own
    } else {
        offer
    };
    if newest.number() > due.number() {
        Aim::Replaced(newest.clone())
    } else {
        Aim::Number(due.clone())
    }
}

/// The revision that the store offers, which is the installed one where it has nothing else. None where that isn't known:
/// of a channel that is closed, for example.
async fn offered(cx: &Cx, args: &RefreshArgs, snap: &Snap) -> Result<Option<Revision>, OpError> {
    if follows(snap, args.channel.as_ref()) {
        let offers = offers(cx, &args.member).await?.into_iter();
        let mut offer = offers.filter(|o| o.name == snap.name).map(|o| o.revision);
        return Ok(offer.next().or_else(|| Some(snap.revision.clone())));
    }
    // For a channel or a cohort that it isn't in yet snapd can't say; what the channel has for everybody is the best guess.
    let channel = args
        .channel
        .as_ref()
        .map_or(snap.tracking_channel.as_str(), |c| c.as_str());
    let mut channels = snapd::channels(cx, &snap.name).await?;
    Ok(channels.remove(channel).map(|released| released.revision))
}

/// The words of `snap refresh` that ask for it. By number the member leaves the cohort for the time being: snapd refuses a
/// cohort and a revision in one call (`daemon/api_snaps.go`), and from 2.66 on would send the one that it is in to the store
/// beside the revision (`overlord/snapstate/target.go`).
pub(super) fn words(args: &RefreshArgs, snap: &Snap, number: Option<&Revision>) -> Vec<String> {
    let mut words: Vec<String> = ["/usr/bin/snap", "refresh", "--no-wait"]
        .map(str::to_owned)
        .into();
    words.extend(args.channel.iter().map(|c| format!("--channel={c}")));
    match number {
        None => words.push(format!("--cohort={COHORT}")),
        Some(revision) => {
            words.extend((!snap.cohort_key.is_empty()).then(|| "--leave-cohort".to_owned()));
            words.push(format!("--revision={revision}"));
        }
    }
    words.push(args.snap.clone());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_release_is_not_one_that_a_member_does_not_get() {
        let number = || Aim::Number("1502".into());
        let replaced = |by: &str| Aim::Replaced(by.into());
        let cases = [
            // What the member has, what it is offered, what it comes to where 1502 is due.
            ("1500", Some("1502"), Aim::Cohort),
            ("1500", None, Aim::Cohort),
            ("1500", Some("1500"), number()),
            ("1500", Some("1501"), number()),
            ("x1", Some("x1"), number()),
            ("1500", Some("1503"), replaced("1503")),
            ("1503", Some("1503"), replaced("1503")),
            ("1503", Some("1504"), replaced("1504")),
            // The publisher took a release back.
            ("1503", Some("1502"), Aim::Cohort),
        ];
        for (own, offer, aim) in cases {
            let offered = offer.map(Revision::from);
            let judged = judge(&"1502".into(), &own.into(), offered.as_ref());
            assert_eq!(judged, aim, "{own} {offer:?}");
        }
    }
}
