//! Locks, conditions and barriers: fair, across waits and threads, and whoever leaves takes nothing along.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use overlapped::{Barrier, BrokenBarrierError, Condition, JoinHandle, Lock, RLock, sleep, spawn, timeout, yield_now};
use support::{Log, run};

const MOMENT: Duration = Duration::from_millis(10);

fn join_all<T>(handles: Vec<JoinHandle<T>>) -> Vec<T> {
    handles.into_iter().map(|handle| handle.join().unwrap()).collect()
}

#[test]
fn a_lock_is_held_across_waits_by_one_at_a_time_in_the_order_asked() {
    run(|| {
        let lock = Lock::new(Vec::new());
        let guard = lock.acquire();
        let others = ["a", "b", "c"].map(|name| {
            let lock = lock.clone();
            spawn(move || {
                let mut names = lock.acquire();
                let before = names.len();
                sleep(Duration::from_millis(1));
                assert_eq!(names.len(), before);
                names.push(name);
            })
        });
        yield_now();
        drop(guard);
        assert!(lock.is_held() && lock.try_acquire().is_none(), "it was handed to the one that waits longest");
        join_all(others.into());
        assert_eq!(*lock.try_acquire().unwrap(), ["a", "b", "c"]);
    });
}

#[test]
fn who_leaves_the_line_of_a_lock_or_panics_with_it_leaves_it_to_the_next() {
    run(|| {
        let lock = Lock::new(0);
        let guard = lock.acquire();
        let mut waiters: Vec<_> = (0..3)
            .map(|_| {
                let lock = lock.clone();
                spawn(move || *lock.acquire() += 1)
            })
            .collect();
        yield_now();
        assert!(lock.acquire_timeout(MOMENT).is_err());
        // One leaves while it waits, one in the very moment in which it is served.
        waiters[1].cancel();
        drop(guard);
        waiters[0].cancel();
        waiters.pop().unwrap().join().unwrap();
        waiters.into_iter().for_each(|waiter| assert!(waiter.join().unwrap_err().is_cancelled()));
        let held = lock.clone();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            let _guard = held.acquire();
            std::panic::resume_unwind(Box::new("as a panic does"));
        }));
        assert_eq!(*lock.try_acquire().unwrap(), 1);
    });
}

#[test]
fn a_lock_between_threads_of_tasklets_and_others_counts_right() {
    const EACH: usize = 300;
    let lock = Lock::new(0);
    let threads: Vec<_> = (0..3)
        .map(|n| {
            let lock = lock.clone();
            let count = move || (0..EACH).for_each(|_| *lock.acquire() += 1);
            std::thread::spawn(move || if n == 0 { count() } else { run(count) })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(*lock.acquire(), 3 * EACH);
}

#[test]
fn a_lock_that_its_holder_takes_again_is_released_with_the_last_guard() {
    run(|| {
        let (lock, log) = (RLock::new(), Log::new());
        let (outer, inner) = (lock.acquire(), lock.try_acquire().unwrap());
        let (theirs, logs) = (lock.clone(), log.clone());
        let other = spawn(move || {
            assert!(theirs.try_acquire().is_none() && theirs.acquire_timeout(Duration::from_millis(1)).is_err());
            let _outer = theirs.acquire();
            let _inner = theirs.acquire();
            logs.add("theirs");
        });
        let theirs = lock.clone();
        let cancelled = spawn(move || drop(theirs.acquire()));
        sleep(MOMENT);
        drop(outer);
        yield_now();
        assert!(log.take().is_empty() && lock.is_held());
        drop(inner);
        cancelled.cancel();
        other.join().unwrap();
        assert!(cancelled.join().unwrap_err().is_cancelled());
        assert!(!lock.is_held());
        assert!(std::thread::spawn(move || lock.acquire_timeout(MOMENT).is_ok()).join().unwrap());
    });
}

#[test]
fn a_condition_wakes_those_that_wait_in_order_and_with_the_lock() {
    run(|| {
        let (lock, condition, log) = (Lock::new(0), Condition::new(), Log::new());
        let waiters = ["a", "b", "c"].map(|name| {
            let (lock, condition, log) = (lock.clone(), condition.clone(), log.clone());
            spawn(move || {
                let mut left = condition.wait_while(lock.acquire(), |left| *left == 0);
                *left -= 1;
                log.add(name);
            })
        });
        yield_now();
        let mut left = lock.acquire();
        *left = 1;
        condition.notify_one();
        yield_now();
        assert!(log.take().is_empty(), "the lock is held");
        drop(left);
        sleep(MOMENT);
        assert_eq!(log.take(), ["a"]);
        *lock.acquire() = 2;
        condition.notify_all();
        join_all(waiters.into());
        assert_eq!(log.take(), ["b", "c"]);
        let (guard, notified) = condition.wait_timeout(lock.acquire(), MOMENT);
        assert_eq!((*guard, notified), (0, false));
    });
}

#[test]
fn a_word_to_one_that_is_told_to_leave_goes_to_the_next() {
    run(|| {
        for holds_the_lock in [false, true] {
            let (lock, condition) = (Lock::new(()), Condition::new());
            let mut waiters: Vec<_> = (0..2)
                .map(|_| {
                    let (lock, condition) = (lock.clone(), condition.clone());
                    spawn(move || drop(condition.wait(lock.acquire())))
                })
                .collect();
            yield_now();
            let guard = holds_the_lock.then(|| lock.acquire());
            condition.notify_one();
            if holds_the_lock {
                yield_now();
            }
            waiters[0].cancel();
            assert!(waiters.remove(0).join().unwrap_err().is_cancelled());
            drop(guard);
            waiters.remove(0).join().unwrap();
            assert!(lock.try_acquire().is_some());
        }
    });
}

#[test]
fn a_barrier_lets_all_pass_together_again_and_again_and_counts_nobody_who_has_left() {
    run(|| {
        let (barrier, inside) = (Barrier::new(3), Rc::new(Cell::new(0)));
        let theirs = barrier.clone();
        let leaves = spawn(move || theirs.wait());
        yield_now();
        assert_eq!((barrier.parties(), barrier.n_waiting()), (3, 1));
        leaves.cancel();
        assert!(leaves.join().unwrap_err().is_cancelled());
        // Its time is not that of the barrier: an outer one's tells it to leave.
        assert!(timeout(Duration::from_millis(1), || barrier.wait()).is_err());
        assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
        let parties: Vec<_> = (0..3)
            .map(|_| {
                let (barrier, inside) = (barrier.clone(), Rc::clone(&inside));
                spawn(move || {
                    let mut numbers = Vec::new();
                    for round in 1..=5 {
                        inside.set(inside.get() + 1);
                        numbers.push(barrier.wait().unwrap());
                        assert!(inside.get() >= 3 * round, "nobody passes before all have come");
                    }
                    numbers
                })
            })
            .collect();
        let numbers = join_all(parties);
        for round in 0..5 {
            let mut number: Vec<_> = numbers.iter().map(|numbers| numbers[round]).collect();
            number.sort_unstable();
            assert_eq!(number, [0, 1, 2]);
        }
        assert!(timeout(MOMENT, || barrier.wait()).is_err());
    });
}

#[test]
fn a_wait_that_is_out_of_time_breaks_the_barrier_for_all_until_it_is_reset() {
    run(|| {
        let barrier = Barrier::new(3);
        let theirs = barrier.clone();
        let patient = spawn(move || theirs.wait());
        yield_now();
        let broken = barrier.wait_timeout(Duration::from_millis(1)).unwrap_err();
        assert!(broken.to_string().contains("has given up"), "{broken}");
        assert_eq!(patient.join().unwrap(), Err(broken), "whoever waits is told, and does not wait for ever");
        assert!(barrier.is_broken());
        assert_eq!((barrier.wait(), barrier.n_waiting()), (Err(broken), 0), "and so is whoever comes");
        barrier.reset();
        assert!(!barrier.is_broken());
        let others = [(); 2].map(|()| {
            let barrier = barrier.clone();
            spawn(move || barrier.wait().unwrap())
        });
        yield_now();
        assert_eq!(barrier.wait(), Ok(2));
        assert_eq!(others.map(|other| other.join().unwrap()), [0, 1]);
    });
}

#[test]
fn a_barrier_that_is_aborted_or_reset_tells_those_that_wait() {
    run(|| {
        for (end, stays_broken) in [(Barrier::abort as fn(&Barrier), true), (Barrier::reset, false)] {
            let barrier = Barrier::new(2);
            let theirs = barrier.clone();
            let waits = spawn(move || theirs.wait());
            yield_now();
            end(&barrier);
            assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, stays_broken));
            let told: Result<usize, BrokenBarrierError> = waits.join().unwrap();
            assert!(told.is_err());
        }
        assert_eq!(Barrier::new(1).wait(), Ok(0));
        assert!(catch_unwind(|| Barrier::new(0)).is_err());
    });
}

#[test]
fn a_barrier_between_threads() {
    let (barrier, threads) = (Barrier::new(4), 4);
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            let barrier = barrier.clone();
            std::thread::spawn(move || run(|| (0..50).map(|_| barrier.wait().unwrap()).sum::<usize>()))
        })
        .collect();
    assert_eq!(threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>(), 50 * 6);
}
