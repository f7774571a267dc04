//! Labs in a hurry: how fast their time runs, and how many may be up at once.

use std::sync::{Condvar, Mutex, MutexGuard};

/// Their time, and that of lockstep with them, runs this much faster than ours.
pub(super) const PACE: u32 = 20;

/// Each drives a clock of its own, which a machine with too much to do would slow down.
static FREE: Mutex<usize> = Mutex::new(4);
static RELEASED: Condvar = Condvar::new();

/// A place among them, until it is dropped.
pub(super) struct Place(());

impl Place {
    /// Waits for one.
    pub(super) fn take() -> Self {
        let free = RELEASED.wait_while(free(), |free| *free == 0);
        *free.unwrap_or_else(|e| panic!("{e}")) -= 1;
        Self(())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *free() += 1;
        RELEASED.notify_one();
    }
}

fn free() -> MutexGuard<'static, usize> {
    FREE.lock().unwrap_or_else(|e| panic!("{e}"))
}
