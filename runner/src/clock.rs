//! The time of a run.

use jiff::Timestamp;
use tokio::time::Instant;

/// Wall-clock time that runs with tokio's clock, so that it jumps where that is made to jump.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Timestamp,
    start: Instant,
}

impl Clock {
    /// A clock that shows `base` now.
    #[must_use]
    pub fn at(base: Timestamp) -> Self {
        Self {
            base,
            start: Instant::now(),
        }
    }

    /// A clock that shows the system's time now.
    #[must_use]
    pub fn system() -> Self {
        Self::at(Timestamp::now())
    }

    /// The time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.base
            .saturating_add(self.start.elapsed())
            .unwrap_or(Timestamp::MAX)
    }
}
