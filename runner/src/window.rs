//! Windows: for how long the members of a cluster have different revisions of a snap. Its control plane may take no changes
//! meanwhile, whatever else works.

use jiff::Timestamp;
use lockstep_modules::contract::schema::Member;
use serde::Serialize;

use crate::event::Change;

/// The time from when the first member had another revision of a snap to when the last one had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Window {
    /// The snap.
    pub(crate) snap: String,
    /// When the first member had it.
    pub(crate) began: Timestamp,
    /// When the last one had it, or the last one so far.
    pub(crate) ended: Timestamp,
    /// The members that came to another revision.
    pub(crate) members: Vec<Member>,
}

impl Window {
    /// How long it was open, in milliseconds. A clock that was set back meanwhile makes it none.
    pub(crate) fn ms(&self) -> u64 {
        u64::try_from(self.ended.duration_since(self.began).as_millis()).unwrap_or(0)
    }
}

/// A member came to another revision. Says of each snap when that began and ended, in the order in which it began.
pub(crate) fn note(windows: &mut Vec<Window>, at: Timestamp, change: &Change) {
    match windows
        .iter_mut()
        .find(|known| known.snap == change.component)
    {
        Some(window) => {
            window.began = window.began.min(at);
            window.ended = window.ended.max(at);
            if !window.members.contains(&change.member) {
                window.members.push(change.member.clone());
            }
        }
        None => windows.push(Window {
            snap: change.component.clone(),
            began: at,
            ended: at,
            members: vec![change.member.clone()],
        }),
    }
}

/// The window of a snap, if more than one member had to come to another revision.
pub(crate) fn of<'a>(windows: &'a [Window], snap: &str) -> Option<&'a Window> {
    let mut windows = windows.iter();
    windows.find(|window| window.snap == snap && window.members.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(snap: &str, member: &str) -> Change {
        Change {
            component: snap.to_owned(),
            member: member.into(),
            from: "1".to_owned(),
            to: "2".to_owned(),
            version: None,
        }
    }

    #[test]
    fn a_window_is_from_the_first_member_to_the_last() {
        let mut windows = Vec::new();
        let at = |second| Timestamp::from_second(second).unwrap();
        for (second, snap, member) in [
            (10, "lxd", "micro02"),
            (11, "microceph", "micro01"),
            (40, "microceph", "micro01"),
            (52, "lxd", "micro01"),
            (30, "lxd", "micro03"),
        ] {
            note(&mut windows, at(second), &change(snap, member));
        }
        assert_eq!(of(&windows, "lxd").map(Window::ms), Some(42_000));
        assert_eq!(
            of(&windows, "microceph"),
            None,
            "one member differs from none"
        );
    }
}
