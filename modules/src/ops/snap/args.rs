//! What a refresh is asked for.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::schema::{Channel, Member};
use crate::products::snapd::Revision;

/// Refresh a snap on a member: to the newest revision of the channel it follows, or of another one.
///
/// Joins the cohort, so that all members get the same revision. If the cohort offers a member another one than
/// `revision`, `revision` is requested by number, and the member is put back into the cohort. If a newer release has
/// replaced `revision` in the store, nothing is done. Does nothing either if the member already has that revision.
///
/// A change of the same snap in progress (an LXD that refreshes itself, for example) is waited for first. The result is
/// judged by what snapd says afterwards: revision, channel, cohort, and whether the snap is enabled.
///
/// MicroCeph and MicroOVN aren't refreshed while storage or network can't spare the member, however long ago a gate was
/// open.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshArgs {
    /// Member to act on.
    pub(crate) member: Member,
    /// Snap to refresh.
    pub(crate) snap: String,
    /// Channel to move to, for example `squid/stable`. Without it, the one that the snap follows.
    pub(crate) channel: Option<Channel>,
    /// The revision that it has to come to, because all members must have the same one.
    pub(crate) revision: Option<Revision>,
    /// What to do if the store has a newer release in place of `revision`.
    #[serde(default)]
    pub(crate) replaced: Replaced,
    /// Storage or network may stop in the meantime: accept that the others can't do without the member.
    #[serde(default)]
    pub(crate) downtime: bool,
    /// The `seen` of `microceph.spare` or `microovn.spare`: that storage or network can spare the member isn't looked at again
    /// within 15 s.
    pub(crate) spared: Option<Spared>,
}

/// When it was seen that a member can be spared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Spared {
    /// When.
    pub(crate) at: Timestamp,
}

/// What follows where the revision that all members are to have was replaced by a newer one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Replaced {
    /// The step fails, and has done nothing.
    #[default]
    Fail,
    /// The result tells by what, and nothing is done.
    Tell,
}
