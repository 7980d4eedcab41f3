//! How long to wait before a worker is started again.

use std::time::Duration;

/// Doubles with each worker that ends before it has done anything.
#[derive(Default)]
pub(crate) struct Delay {
    failures: u32,
}

impl Delay {
    const FIRST: Duration = Duration::from_millis(50);
    const LONGEST: Duration = Duration::from_secs(10);
    /// A worker that has been ready for so long has served, however it ended.
    const SERVED: Duration = Duration::from_secs(1);

    /// How many have ended one after the other and were of no use.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether a worker was of use that was ready for so long; None where it never was.
    pub(crate) fn has_served(ready_for: Option<Duration>) -> bool {
        ready_for.is_some_and(|ready_for| ready_for >= Delay::SERVED)
    }

    /// The delay after a worker's end. One that was of use is replaced at once.
    pub(crate) fn after(&mut self, was_of_use: bool) -> Duration {
        if was_of_use {
            self.failures = 0;
            return Duration::ZERO;
        }
        self.failures += 1;
        Delay::FIRST.saturating_mul(1 << (self.failures - 1).min(16)).min(Delay::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_to_ten_seconds_and_begins_anew_after_a_worker_that_was_of_use() {
        let mut delay = Delay::default();
        let delays: Vec<_> = (0..10).map(|_| delay.after(false).as_millis()).collect();
        assert_eq!(delays, [50, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        (0..100).for_each(|_| assert!(delay.after(false) <= Duration::from_secs(10)));
        assert_eq!(delay.after(true), Duration::ZERO);
        assert_eq!(delay.after(false).as_millis(), 50);
    }

    #[test]
    fn who_was_ready_for_a_second_was_of_use() {
        assert!(!Delay::has_served(None));
        assert!(!Delay::has_served(Some(Duration::from_millis(999))));
        assert!(Delay::has_served(Some(Duration::from_secs(1))));
    }
}
