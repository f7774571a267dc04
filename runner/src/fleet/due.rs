//! Which rollouts are due: those that stopped for nothing but to wait, and whose time has come.

use jiff::Timestamp;

use crate::journal::History;
use crate::runs::standing::held;

/// The time since which a rollout is due; none where it isn't. One whose process is gone that had taken it up since is due too:
/// nobody decided that it stops. What is held, interrupted, or being aborted waits for a person.
pub(crate) fn due(history: &History, running: bool, now: Timestamp) -> Option<Timestamp> {
    let open =
        history.end.is_none() && history.cancelled.is_none() && held(history).next().is_none();
    let until = history.waited?;
    (open && !running && until <= now).then_some(until)
}
