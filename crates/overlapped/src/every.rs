//! Work at intervals.
//!
//! The ticks are those of a clock that is started once: what the work takes does not add up, and one that comes late is not
//! followed by others that make up for it. (Rejected: to sleep for the interval after each round, which drifts by the time
//! that the work takes; to give the ticks that were missed all at once, which makes a program that is behind be further
//! behind.)

use std::time::{Duration, Instant};

use crate::tasklet::yield_now;
use crate::time::sleep_until;

/// An iterator of ticks, one every `interval`, the first at once; it never ends by itself. Each item is the number of ticks
/// before it that were missed, because the loop's body took longer than the interval.
///
/// ```
/// use std::time::Duration;
/// overlapped::run(|| {
///     let mut measured = 0;
///     for missed in overlapped::every(Duration::from_millis(2)).take(3) {
///         measured += 1 + missed;
///     }
///     assert!(measured >= 3);
/// });
/// ```
///
/// # Panics
/// Where the interval is zero.
pub fn every(interval: Duration) -> Every {
    assert!(!interval.is_zero(), "overlapped::every: an interval is more than nothing");
    Every { interval, clock: None }
}

/// What [`every`] returns.
#[derive(Clone, Debug)]
pub struct Every {
    interval: Duration,
    /// When it began, and the number of the last tick.
    clock: Option<(Instant, u64)>,
}

impl Iterator for Every {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let Some((begun, last)) = &mut self.clock else {
            self.clock = Some((Instant::now(), 0));
            yield_now();
            return Some(0);
        };
        let passed = u64::try_from(begun.elapsed().as_nanos() / self.interval.as_nanos()).unwrap_or(u64::MAX);
        let due = passed.max(*last + 1);
        let missed = due - *last - 1;
        *last = due;
        let since = Duration::try_from_secs_f64(self.interval.as_secs_f64() * due as f64).unwrap_or(Duration::MAX);
        // Where one is due already this lets the others run, and no more.
        sleep_until(begun.checked_add(since));
        Some(missed)
    }
}
