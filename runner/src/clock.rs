//! The time of a run, and the loop that it passes in.

use std::io;
use std::time::SystemTime;

use jiff::Timestamp;
use lockstep_modules::contract::op::Registry;
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

/// The system's time. A clock that shows a year that jiff doesn't know, which is a mistake, shows its last.
#[expect(
    clippy::disallowed_methods,
    reason = "jiff's own way panics where the clock is wrong"
)]
pub(crate) fn now() -> Timestamp {
    shown_by(SystemTime::now())
}

fn shown_by(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or(Timestamp::MAX)
}

/// A runtime for these ops on a simulated cluster, whose time jumps over the waiting. There is nothing to wait for but time, unless
/// an op is a program: a turn of the loop then takes no system call.
pub(crate) fn simulated(registry: &Registry) -> io::Result<Runtime> {
    let mut runtime = Builder::new_current_thread();
    if registry.has_programs() {
        runtime.enable_io();
    }
    runtime.enable_time().start_paused(true).build()
}

/// Wall-clock time that runs with tokio's clock, so that it jumps where that is made to jump.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Timestamp,
    start: Instant,
}

impl Clock {
    pub(crate) fn at(base: Timestamp) -> Self {
        Self {
            base,
            start: Instant::now(),
        }
    }

    /// A clock that shows the system's time now.
    #[must_use]
    pub fn system() -> Self {
        Self::at(now())
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.base
            .saturating_add(self.start.elapsed())
            .unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_no_reason_to_panic() {
        let far = SystemTime::UNIX_EPOCH + Duration::from_secs(316_000 * 365 * 24 * 3600);
        assert_eq!(shown_by(far), Timestamp::MAX);
        assert_eq!(shown_by(SystemTime::UNIX_EPOCH), Timestamp::UNIX_EPOCH);
    }
}
