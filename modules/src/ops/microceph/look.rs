//! Who is asked about the storage, and what is said of what is missing.

use crate::contract::cx::Cx;
use crate::contract::error::OpError;
use crate::contract::schema::Member;
use crate::products::ceph::Picture;

/// All members, whoever was just refreshed last: it may know less than the others.
pub(super) fn others_first(cx: &Cx, member: Option<&Member>) -> Vec<Member> {
    let mut order = cx.members();
    order.sort_by_key(|other| Some(other) == member);
    order
}

/// What is missing, and where to look for more of it. OSDs that are down beside `member` name their own place.
pub(super) fn with_place(
    picture: &Picture,
    member: Option<&Member>,
    problems: &[String],
) -> String {
    let all = problems.join("; ");
    if !picture.down_elsewhere(member).is_empty() {
        return all;
    }
    format!("{all}; for more: sudo microceph.ceph health detail")
}

/// Ceph's commands say nothing of it where the monitors have no quorum: they only don't end.
pub(super) fn unanswered(error: &OpError) -> String {
    let asked = error
        .member
        .as_ref()
        .map(Member::as_str)
        .unwrap_or("every member");
    format!(
        "Ceph doesn't answer on {asked}: {error}; if its monitors lack their majority, on each member, see: sudo snap logs microceph.mon"
    )
}
