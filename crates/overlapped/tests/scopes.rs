//! Scopes: what their tasklets borrow stays until they have ended, however the block is left.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use overlapped::{
    Builder, Config, Event, after, as_completed, block_on, channel, first_completed, first_of, is_cancelled, scope,
    sleep, spawn, tasklets, timeout, wait, yield_now,
};
use support::{LONG, Log, LogsDrop, Watch, run, storms, wait_for};

const MOMENT: Duration = Duration::from_millis(10);

fn words(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<&str>() {
        Ok(text) => (*text).to_owned(),
        Err(payload) => *payload.downcast::<String>().expect("a panic with words"),
    }
}

#[test]
fn tasklets_borrow_and_have_ended_when_the_scope_returns() {
    run(|| {
        let text = String::from("borrowed");
        let (mut length, seen) = (0, RefCell::new(Vec::new()));
        let value = scope(|s| {
            s.spawn(|| {
                sleep(MOMENT);
                length = text.len();
                // One starts another, while the block has ended already.
                s.spawn(|| {
                    sleep(MOMENT);
                    seen.borrow_mut().push(&text[..3]);
                });
            });
            let joined = Builder::new().name("named").spawn_scoped(s, || text.as_str()).unwrap();
            assert!(tasklets().iter().any(|status| status.name.as_deref() == Some("named")));
            joined.join().unwrap()
        });
        assert_eq!((value, length, seen.into_inner()), ("borrowed", 8, vec!["bor"]));
        assert_eq!(tasklets().len(), 1);
    });
}

#[test]
fn the_result_of_one_that_nobody_joins_is_dropped_before_the_scope_returns() {
    struct Counts<'a>(&'a Cell<u32>);
    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            sleep(Duration::from_millis(1));
            self.0.set(self.0.get() + 1);
        }
    }
    run(|| {
        let count = Cell::new(0);
        scope(|s| {
            s.spawn(|| Counts(&count));
            std::mem::forget(s.spawn(|| drop(Counts(&count))));
            let kept = s.spawn(|| Counts(&count));
            // A handle that another tasklet has is dropped with that one.
            s.spawn(move || drop(kept));
        });
        assert_eq!(count.get(), 3);
    });
}

#[test]
fn a_panic_that_nobody_has_joined_is_the_scopes_when_all_have_ended() {
    run(|| {
        let log = Log::new();
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                s.spawn(|| panic!("the disk is on fire"));
                s.spawn(|| {
                    sleep(MOMENT);
                    log.add("the other has finished its work");
                });
            });
        }));
        assert_eq!(words(caught.unwrap_err()), "the disk is on fire");
        assert_eq!(log.take(), ["the other has finished its work"]);
        let joined = scope(|s| words(s.spawn(|| panic!("seen")).join().unwrap_err().into_panic().unwrap()));
        assert_eq!(joined, "seen", "and no panic of the scope's");
        let later = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                let panics = s.spawn(|| panic!("dropped later"));
                yield_now();
                assert!(panics.is_finished());
            });
        }));
        assert_eq!(words(later.unwrap_err()), "dropped later");
    });
}

#[test]
fn a_block_that_panics_waits_for_its_tasklets_and_lets_them_finish() {
    run(|| {
        let finished = Cell::new(false);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            scope(|s| {
                s.spawn(|| {
                    sleep(MOMENT);
                    finished.set(true);
                });
                s.spawn(|| panic!("a tasklet's"));
                yield_now();
                panic!("the block's");
            })
        }));
        assert_eq!((words(caught.unwrap_err()).as_str(), finished.get()), ("the block's", true));
    });
}

#[test]
fn whoever_is_cancelled_while_it_waits_cancels_the_tasklets_and_still_waits_for_them() {
    run(|| {
        let log = Log::new();
        let theirs = log.clone();
        let owner = spawn(move || {
            let _owner = LogsDrop(theirs.clone(), "the owner");
            scope(|s| {
                s.spawn(|| {
                    let _ended = LogsDrop(theirs.clone(), "a tasklet");
                    let _flushes = LogsDropLate(&theirs);
                    sleep(LONG);
                });
                // It has not begun when it is cancelled, and never does.
                s.spawn(|| {
                    sleep(MOMENT);
                    s.spawn(|| theirs.add("never"));
                });
            });
            theirs.add("never");
        });
        yield_now();
        yield_now();
        owner.cancel();
        assert!(owner.join().unwrap_err().is_cancelled());
        assert_eq!(log.take(), ["flushed", "a tasklet", "the owner"]);
    });
}

/// A destructor that waits.
struct LogsDropLate<'a>(&'a Log);

impl Drop for LogsDropLate<'_> {
    fn drop(&mut self) {
        sleep(MOMENT);
        self.0.add("flushed");
    }
}

#[test]
fn a_block_that_unwinds_for_a_cancel_or_a_time_out_takes_its_tasklets_along() {
    run(|| {
        let log = Log::new();
        let late = timeout(MOMENT, || {
            scope(|s| {
                s.spawn(|| {
                    let _ended = LogsDrop(log.clone(), "a tasklet");
                    sleep(LONG);
                });
                sleep(LONG);
            });
        });
        assert!(late.is_err());
        assert_eq!(log.take(), ["a tasklet"]);
        let (mut told, mut finished) = (false, false);
        let late = timeout(MOMENT, || {
            scope(|s| {
                let never = channel::<()>();
                let error = first_of(&mut [&mut never.receiving()]).unwrap_err();
                told = error.kind() == std::io::ErrorKind::TimedOut && !is_cancelled(&error);
                s.spawn(|| {
                    sleep(LONG);
                    finished = true;
                });
            });
        });
        assert!(late.is_err() && told && !finished);
        sleep(Duration::from_millis(1));
    });
}

#[test]
fn a_tasklet_that_does_not_obey_a_cancel_is_waited_for_past_the_cleanup_limit() {
    struct Waits<'a>(&'a Event, &'a Cell<bool>);
    impl Drop for Waits<'_> {
        fn drop(&mut self) {
            while !self.0.is_set() {
                self.0.wait();
            }
            self.1.set(true);
        }
    }
    let _watch = Watch::new();
    Config::new().cleanup(Duration::ZERO).run(|| {
        let (release, log) = (Event::new(), Log::new());
        let (theirs, logs) = (release.clone(), log.clone());
        let owner = spawn(move || {
            let ended = Cell::new(false);
            let caught = catch_unwind(AssertUnwindSafe(|| {
                scope(|s| {
                    s.spawn(|| {
                        let _waits = Waits(&theirs, &ended);
                        sleep(LONG);
                    });
                });
            }));
            assert!(caught.is_err() && ended.get());
            logs.add("ended");
        });
        yield_now();
        yield_now();
        owner.cancel();
        // A join gives up; the scope does not.
        assert!(owner.join().unwrap_err().is_overdue() && log.len() == 0);
        release.set();
        wait_for("the owner's end", || log.len() > 0);
    });
}

#[test]
fn a_tasklet_that_is_cancelled_alone_is_no_failure_even_if_it_unwraps_the_error() {
    run(|| {
        let never = channel::<()>();
        scope(|s| {
            let unwraps = s.spawn(|| never.receive().unwrap());
            let sleeps = s.spawn(|| sleep(LONG));
            let mut value = 1;
            let other = s.spawn(move || {
                sleep(MOMENT);
                value += 1;
                value
            });
            yield_now();
            unwraps.cancel();
            let slow = sleeps.join_timeout(Duration::from_millis(1)).unwrap_err();
            slow.cancel();
            assert!(slow.join().unwrap_err().is_cancelled());
            let first = first_of(&mut [&mut other.finishing(), &mut after(LONG)]).unwrap();
            assert_eq!((first, other.join().unwrap()), (0, 2));
        });
    });
}

#[test]
fn scopes_nest_and_an_inner_one_lends_on_what_it_has_borrowed() {
    run(|| {
        let mut numbers = [1, 2, 3, 4, 5, 6, 7];
        fn double(numbers: &mut [i32]) {
            if let [number] = numbers {
                yield_now();
                *number *= 2;
            } else if !numbers.is_empty() {
                let (left, right) = numbers.split_at_mut(numbers.len() / 2);
                scope(|s| {
                    s.spawn(|| double(left));
                    s.spawn(|| double(right));
                });
            }
        }
        double(&mut numbers);
        assert_eq!(numbers, [2, 4, 6, 8, 10, 12, 14]);
    });
}

#[test]
fn the_end_of_run_waits_for_what_is_lent_from_outside_of_it() {
    let _watch = Watch::new();
    let dropped = AtomicBool::new(false);
    struct Sets<'a>(&'a AtomicBool);
    impl Drop for Sets<'_> {
        fn drop(&mut self) {
            sleep(MOMENT);
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let lent = &dropped;
    overlapped::run(move || {
        scope(|s| {
            s.spawn(move || {
                let _sets = Sets(lent);
                sleep(MOMENT);
            });
        })
    });
    assert!(dropped.load(Ordering::Relaxed));
}

#[test]
fn where_nothing_can_wait_no_block_begins() {
    assert!(catch_unwind(|| scope(|_| unreachable!())).is_err(), "outside of run");
    run(|| {
        let (refused, told) = (std::rc::Rc::new(Cell::new(false)), Event::new());
        let (theirs, set) = (std::rc::Rc::clone(&refused), told.clone());
        overlapped::reactor::call_soon(move || {
            theirs.set(catch_unwind(|| scope(|_| unreachable!())).is_err());
            set.set();
        });
        told.wait();
        assert!(refused.get());
    });
}

/// Scopes in scopes whose tasklets count on what they borrow, and sleep, panic, cancel and time out at random.
#[test]
fn scopes_in_a_storm_leave_no_tasklet_that_borrows() {
    /// What is lent says so when it is gone.
    struct Lent(Cell<u32>, Cell<bool>);
    impl Drop for Lent {
        fn drop(&mut self) {
            assert_eq!(self.0.get(), 0, "somebody has it still");
            self.1.set(true);
        }
    }
    struct Has<'a>(&'a Lent);
    impl<'a> Has<'a> {
        fn new(lent: &'a Lent) -> Has<'a> {
            lent.0.set(lent.0.get() + 1);
            Has(lent)
        }
    }
    impl Drop for Has<'_> {
        fn drop(&mut self) {
            assert!(!self.0.1.get());
            self.0.0.set(self.0.0.get() - 1);
        }
    }
    fn storm(random: &mut fastrand::Rng, outer: Option<&Lent>, depth: u32) {
        let own = Lent(Cell::new(0), Cell::new(false));
        let lent = &own;
        let mut randoms: Vec<_> = (0..random.u32(1..5)).map(|_| random.fork()).collect();
        let pause = Duration::from_micros(random.u64(0..300));
        scope(|s| {
            for mut theirs in randoms.drain(..) {
                let handle = s.spawn(move || {
                    let _both = (Has::new(lent), outer.map(Has::new));
                    sleep(Duration::from_micros(theirs.u64(0..400)));
                    match theirs.u32(0..12) {
                        0 => panic!("{depth}"),
                        1..6 if depth < 3 => storm(&mut theirs, Some(lent), depth + 1),
                        6 => drop(timeout(Duration::from_micros(100), || sleep(LONG))),
                        _ => {}
                    }
                });
                match random.u32(0..6) {
                    0 => handle.cancel(),
                    1 => drop(handle.join()),
                    2 => std::mem::forget(handle),
                    _ => {}
                }
            }
            match random.u32(0..6) {
                0 => sleep(pause),
                1 => panic!("{depth}"),
                _ => {}
            }
        });
    }
    std::panic::set_hook(Box::new({
        let usual = std::panic::take_hook();
        move |info| {
            // The storm's own panics are one digit.
            if info.payload().downcast_ref::<String>().is_none_or(|text| text.len() > 1) {
                usual(info);
            }
        }
    }));
    storms(100, |random| {
        let limit = Duration::from_micros(random.u64(100..3000));
        let _ = catch_unwind(AssertUnwindSafe(|| timeout(limit, || storm(random, None, 0))));
        // The last one's stack is given back when it has switched away for good.
        yield_now();
    });
}

#[test]
fn the_ends_of_a_scopes_tasklets_are_waited_for_together_and_come_as_they_end() {
    run(|| {
        let events: Vec<Event> = (0..3).map(|_| Event::new()).collect();
        let names = ["zero", "one", "two"].map(String::from);
        let order = scope(|s| {
            let waits = |number: usize| {
                let (name, event) = (&names[number], &events[number]);
                s.spawn(move || {
                    event.wait();
                    name.as_str()
                })
            };
            let tasklets: Vec<_> = (0..3).map(waits).collect();
            events[1].set();
            assert_eq!(first_completed(&tasklets).unwrap(), 1);
            events[2].set();
            assert_eq!(wait(&tasklets, None, Some(2)).unwrap(), 2);
            assert_eq!(tasklets.iter().filter(|tasklet| !tasklet.is_finished()).count(), 1);
            let mut ends = as_completed(tasklets);
            let mut order: Vec<&str> = ends.by_ref().take(2).map(|(_, name)| name.unwrap()).collect();
            events[0].set();
            order.extend(ends.map(|(_, name)| name.unwrap()));
            order
        });
        assert_eq!(order, ["one", "two", "zero"]);
    });
}

#[test]
fn a_panic_that_came_as_an_end_is_not_the_scopes_and_one_that_did_not_come_is() {
    run(|| {
        scope(|s| {
            let ends = as_completed([s.spawn(|| resume_unwind(Box::new("seen")))]);
            assert!(ends.map(|(_, result)| result).all(|result: Result<(), _>| result.unwrap_err().is_panic()));
            let awaited: Result<(), _> = block_on(s.spawn(|| resume_unwind(Box::new("seen"))));
            assert!(awaited.unwrap_err().is_panic());
        });
        let unseen = catch_unwind(|| {
            scope(|s| {
                let tasklets = [s.spawn(|| resume_unwind(Box::new("unseen"))), s.spawn(|| ())];
                assert_eq!(wait(&tasklets, None, None).unwrap(), 2, "to look is not to take");
                drop(as_completed(tasklets));
            });
        });
        assert_eq!(words(unseen.unwrap_err()), "unseen");
    });
}
