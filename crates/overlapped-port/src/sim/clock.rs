//! The time of this thread.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    /// The time of the world that the thread is in.
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The time by which this thread's waits are kept: that of its simulated world, or else the system's.
#[inline]
pub fn now() -> Instant {
    NOW.get().unwrap_or_else(Instant::now)
}

/// Whether this thread is in a simulated world.
#[inline]
pub fn is_simulated() -> bool {
    NOW.get().is_some()
}

/// Sets the time; `None`: it is the system's.
#[cfg(unix)]
pub(super) fn set(now: Option<Instant>) {
    NOW.set(now);
}
