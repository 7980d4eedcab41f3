//! Deadlines that are moved and told apart, and clocks that do not drift.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use overlapped::{
    Deadline, Event, MissedTickBehavior, after, every, first_of, sleep, sleep_until, spawn, timeout, timeout_at,
    yield_now,
};
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

#[test]
fn a_time_at_which_it_is_up_may_have_passed() {
    run(|| {
        let (past, future) = (Instant::now(), Instant::now() + LONG);
        sleep_until(past);
        assert_eq!(timeout_at(past, || "a body that does not wait"), Ok("a body that does not wait"));
        assert!(timeout_at(past, || sleep(LONG)).is_err());
        assert_eq!(timeout_at(future, || sleep(Duration::from_millis(1))), Ok(()));
        let soon = Instant::now() + MOMENT;
        sleep_until(soon);
        assert!(Instant::now() >= soon);
        let left = Deadline::run_until(future, |deadline| deadline.remaining()).unwrap();
        assert!(left <= LONG && left > LONG / 2);
        // The inner limit is the nearer one, and is told inside of it alone.
        let outer = timeout_at(future, || timeout_at(Instant::now() + MOMENT, || sleep(LONG)).is_err());
        assert_eq!(outer, Ok(true));
    });
}

#[test]
fn ticks_that_are_missed_come_at_once_or_move_the_clock_or_are_left_out() {
    run(|| {
        let interval = Duration::from_millis(20);
        let after_a_delay = |behavior| {
            let mut ticks = every(interval).missed_tick_behavior(behavior);
            ticks.next();
            sleep(interval * 7 / 2);
            let asked = Instant::now();
            (ticks.next().unwrap(), ticks, asked)
        };
        let (missed, mut ticks, _) = after_a_delay(MissedTickBehavior::Burst);
        for _ in 0..2 {
            let first = first_of(&mut [&mut ticks.ticking(), &mut after(Duration::ZERO)]).unwrap();
            assert_eq!((missed, first), (0, 0), "three were due");
        }
        let (missed, mut ticks, asked) = after_a_delay(MissedTickBehavior::Delay);
        assert_eq!((missed, ticks.next()), (0, Some(0)));
        assert!(asked.elapsed() >= interval);
        let (missed, _, _) = after_a_delay(MissedTickBehavior::Skip);
        assert!(missed >= 2);
        let begun = Instant::now();
        let mut later = every(interval).starting_at(begun + interval);
        assert_eq!(later.next(), Some(0));
        assert!(begun.elapsed() >= interval);
        let reset = Instant::now();
        later.reset();
        assert_eq!(later.next(), Some(0));
        assert!(reset.elapsed() >= interval);
    });
}

#[test]
fn a_tick_is_one_of_several_to_wait_for_and_is_not_lost_by_one_that_leaves() {
    run(|| {
        let (mut ticks, never) = (every(MOMENT), Event::new());
        assert_eq!(first_of(&mut [&mut never.waiting(), &mut ticks.ticking()]).unwrap(), 1);
        let (begun, mut clock) = loop {
            let begun = Instant::now();
            let mut clock = every(MOMENT).starting_at(begun + MOMENT);
            let left =
                timeout(Duration::from_millis(1), || first_of(&mut [&mut clock.ticking(), &mut never.waiting()]));
            // A machine that stands still for so long has both at once.
            if left.is_err() {
                break (begun, clock);
            }
        };
        assert_eq!(first_of(&mut [&mut clock.ticking()]).unwrap(), 0);
        assert!(begun.elapsed() >= MOMENT);
    });
}
