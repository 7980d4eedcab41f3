//! Deadlines that are moved and told apart, and clocks that do not drift.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use overlapped::{Deadline, Event, every, first_of, sleep, spawn, yield_now};
use support::{LONG, run};

const MOMENT: Duration = Duration::from_millis(10);

#[test]
fn of_nested_deadlines_an_error_says_which_it_is_of() {
    run(|| {
        let never = Event::new();
        let waits = || first_of(&mut [&mut never.waiting()]).unwrap_err();
        let outer = Deadline::run(MOMENT, |outer| {
            let inner = Deadline::run(LONG, |inner| {
                let error = waits();
                assert!(outer.is_of(&error) && !inner.is_of(&error));
                assert!(outer.remaining().is_zero() && !inner.remaining().is_zero());
                assert!(!outer.reschedule(LONG) && outer.is_of(&waits()), "what is up stays so");
                7
            });
            assert_eq!(inner, Ok(7));
        });
        assert_eq!(outer.unwrap_err().to_string(), "timed out after 10ms");
        assert!(Deadline::run(LONG, |deadline| !deadline.is_of(&std::io::Error::other("another"))).unwrap());
    });
}

#[test]
fn a_deadline_that_is_moved_fires_then_and_not_before() {
    run(|| {
        let later = Deadline::run(MOMENT, |deadline| {
            assert!(deadline.reschedule(LONG));
            sleep(2 * MOMENT);
            deadline.remaining() > MOMENT
        });
        assert_eq!(later, Ok(true));
        let begun = Instant::now();
        let sooner = Deadline::run(LONG, |deadline| {
            assert!(deadline.reschedule(2 * LONG) && deadline.reschedule(MOMENT));
            sleep(LONG);
        });
        assert!(sooner.is_err() && (MOMENT..LONG).contains(&begun.elapsed()));
        // Neither timer is left behind.
        sleep(MOMENT);
    });
}

#[test]
fn ticks_do_not_drift_and_say_how_many_were_missed() {
    run(|| {
        let interval = Duration::from_millis(5);
        let (begun, mut ticks) = (Instant::now(), 0);
        for missed in every(interval).take(5) {
            ticks += 1 + missed;
            // The work takes as long as an interval, nearly.
            sleep(Duration::from_millis(4));
        }
        assert!(begun.elapsed() >= (ticks as u32 - 1) * interval);
        let mut clock = every(interval);
        assert_eq!(clock.next(), Some(0), "the first comes at once");
        sleep(4 * interval);
        assert!(clock.next().unwrap() >= 3);
        let others = spawn(yield_now);
        sleep(interval * 2);
        clock.next();
        clock.next();
        assert!(others.is_finished());
        assert!(catch_unwind(AssertUnwindSafe(|| every(Duration::ZERO))).is_err());
        let mut rare = every(Duration::MAX);
        rare.next();
        assert!(overlapped::timeout(MOMENT, || rare.next()).is_err());
    });
}
