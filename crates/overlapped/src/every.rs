//! Work at intervals.
//!
//! The ticks are those of a clock that is started once: what the work takes does not add up, and one that comes late is not
//! followed by others that make up for it, unless [`MissedTickBehavior`] says so. (Rejected: to sleep for the interval after
//! each round, which drifts by the time that the work takes; to give the ticks that were missed all at once unless told
//! otherwise, as tokio does, which makes a program that is behind be further behind.)

use std::time::{Duration, Instant};

use overlapped_port::sim::now;

use crate::select::{Branch, Listed, first};
use crate::ticket::Ticket;
use crate::time::{later, sleep_until};

/// An iterator of ticks, one every `interval`, the first at once; it never ends by itself. Each item is the number of ticks
/// before it that were left out, because the loop's body took longer than the interval.
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
    Every { interval, due: None, behavior: MissedTickBehavior::Skip }
}

/// What becomes of the ticks for which the loop's body came too late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum MissedTickBehavior {
    /// They come one after the other, at once, until the clock is met again.
    Burst,
    /// The late one is the beginning of a new clock: the next comes an interval after it.
    Delay,
    /// They are left out, and counted; the next comes when the clock says. What [`every`] begins with.
    #[default]
    Skip,
}

/// What [`every`] returns.
#[derive(Clone, Debug)]
pub struct Every {
    interval: Duration,
    /// When the next tick is due; at once where nobody has asked.
    due: Option<Instant>,
    behavior: MissedTickBehavior,
}

impl Every {
    /// Sets what becomes of ticks that are missed.
    pub fn missed_tick_behavior(mut self, behavior: MissedTickBehavior) -> Every {
        self.behavior = behavior;
        self
    }

    /// Has the next tick come at `start`, and those after it from there.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// overlapped::run(|| {
    ///     let interval = Duration::from_millis(5);
    ///     let begun = Instant::now();
    ///     overlapped::every(interval).starting_at(begun + interval).next();
    ///     assert!(begun.elapsed() >= interval);
    /// });
    /// ```
    pub fn starting_at(mut self, start: Instant) -> Every {
        self.due = Some(start);
        self
    }

    /// Starts the clock anew: the next tick comes an interval from now.
    pub fn reset(&mut self) {
        self.due = Some(later(now(), self.interval));
    }

    /// The wait for the next tick, as one of several: see [`first_of`](crate::first_of). It brings what the iterator would.
    ///
    /// ```
    /// use std::time::Duration;
    /// use overlapped::{Event, every, select};
    /// overlapped::run(|| {
    ///     let (mut ticks, stop, mut count) = (every(Duration::from_millis(2)), Event::new(), 0);
    ///     while count < 3 {
    ///         select! {
    ///             missed = ticks.ticking() => count += 1 + missed,
    ///             _ = stop.waiting() => unreachable!("nobody sets it"),
    ///         }?
    ///     }
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn ticking(&mut self) -> Ticking<'_> {
        Ticking { due: self.due(), ticks: self, missed: None }
    }

    fn due(&mut self) -> Instant {
        *self.due.get_or_insert_with(now)
    }

    /// Goes on to the next tick, where this one was asked for at `asked`; returns how many are left out.
    fn go_on(&mut self, asked: Instant) -> u64 {
        let due = self.due();
        let late = asked.saturating_duration_since(due);
        let (behind, rest) = (late.as_nanos() / self.interval.as_nanos(), late.as_nanos() % self.interval.as_nanos());
        let (missed, next) = match self.behavior {
            MissedTickBehavior::Skip if behind > 0 => {
                let rest = Duration::new((rest / 1_000_000_000) as u64, (rest % 1_000_000_000) as u32);
                (behind as u64, later(asked, self.interval - rest))
            }
            MissedTickBehavior::Delay if behind > 0 => (0, later(asked, self.interval)),
            _ => (0, later(due, self.interval)),
        };
        self.due = Some(next);
        missed
    }
}

impl Iterator for Every {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let (due, asked) = (self.due(), now());
        // Where one is due already this lets the others run, and no more.
        sleep_until(due);
        Some(self.go_on(asked))
    }
}

/// A wait for a tick, as one of several.
#[derive(Debug)]
pub struct Ticking<'a> {
    ticks: &'a mut Every,
    due: Instant,
    missed: Option<u64>,
}

impl Branch for Ticking<'_> {
    type Output = u64;

    fn output(&mut self) -> u64 {
        first(self.missed.take())
    }
}

impl Listed for Ticking<'_> {
    fn take_now(&mut self) -> bool {
        let now = now();
        if self.missed.is_none() && now >= self.due {
            self.missed = Some(self.ticks.go_on(now));
            self.due = self.ticks.due();
        }
        self.missed.is_some()
    }

    fn list(&mut self, _: &Ticket) -> bool {
        true
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.due)
    }

    fn leave(&mut self) -> bool {
        false
    }
}
