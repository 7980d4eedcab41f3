//! Events, semaphores, and wake-ups from other threads.

mod support;

use std::time::{Duration, Instant};

use overlapped::{Event, Semaphore, sleep, spawn, timeout, yield_now};
use support::{LONG, Log, run};

const MOMENT: Duration = Duration::from_millis(10);

#[test]
fn an_event_releases_all_that_wait_in_order() {
    run(|| {
        let (event, log) = (Event::new(), Log::new());
        let handles: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let (event, log) = (event.clone(), log.clone());
                spawn(move || {
                    event.wait();
                    log.add(name);
                })
            })
            .into();
        sleep(MOMENT);
        assert!(log.take().is_empty());
        event.set();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        assert_eq!(log.take(), ["a", "b", "c"]);
        event.wait();
        event.clear();
        assert!(event.wait_timeout(MOMENT).is_err());
    });
}

#[test]
fn an_event_that_is_cleared_at_once_still_releases_those_that_waited() {
    run(|| {
        let event = Event::new();
        let theirs = event.clone();
        let waiter = spawn(move || theirs.wait());
        yield_now();
        event.set();
        event.clear();
        waiter.join().unwrap();
        assert!(!event.is_set());
    });
}

#[test]
fn an_event_wakes_a_sleeping_thread_of_tasklets_every_time() {
    run(|| {
        let (there, back) = (Event::new(), Event::new());
        let (theirs, mine) = (there.clone(), back.clone());
        let thread = std::thread::spawn(move || {
            for _ in 0..2000 {
                theirs.wait();
                theirs.clear();
                mine.set();
            }
        });
        for _ in 0..2000 {
            there.set();
            back.wait();
            back.clear();
        }
        thread.join().unwrap();
    });
}

#[test]
fn a_wake_from_another_thread_ends_a_long_sleep_of_the_port() {
    run(|| {
        let event = Event::new();
        let theirs = event.clone();
        let start = Instant::now();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            theirs.set();
        });
        assert!(event.wait_timeout(LONG).is_ok());
        assert!(start.elapsed() >= Duration::from_millis(50) && start.elapsed() < LONG);
        thread.join().unwrap();
    });
}

#[test]
fn an_event_that_nobody_waits_for_any_more_forgets_them() {
    run(|| {
        let event = Event::new();
        assert!(timeout(MOMENT, || event.wait()).is_err());
        let theirs = event.clone();
        let waiter = spawn(move || theirs.wait());
        yield_now();
        waiter.cancel();
        assert!(waiter.join().unwrap_err().is_cancelled());
        event.set();
        // A wake-up for a wait that was left would end this sleep early.
        let start = Instant::now();
        sleep(MOMENT);
        assert!(start.elapsed() >= MOMENT);
    });
}

#[test]
fn a_semaphore_serves_in_order_and_lets_no_one_past() {
    run(|| {
        let (semaphore, log) = (Semaphore::new(1), Log::new());
        let permit = semaphore.acquire();
        assert!(semaphore.try_acquire().is_none());
        let handles: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let (semaphore, log) = (semaphore.clone(), log.clone());
                spawn(move || {
                    let _permit = semaphore.acquire();
                    log.add(name);
                })
            })
            .into();
        yield_now();
        drop(permit);
        assert!(semaphore.try_acquire().is_none(), "it was handed to the one that waits longest");
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        assert_eq!(log.take(), ["a", "b", "c"]);
        assert_eq!(semaphore.value(), 1);
    });
}

#[test]
fn at_most_so_many_at_once() {
    run(|| {
        let semaphore = Semaphore::new(3);
        let inside = std::rc::Rc::new(std::cell::Cell::new((0, 0)));
        let handles: Vec<_> = (0..20)
            .map(|_| {
                let (semaphore, inside) = (semaphore.clone(), inside.clone());
                spawn(move || {
                    let _permit = semaphore.acquire();
                    let (now, most) = inside.get();
                    inside.set((now + 1, most.max(now + 1)));
                    sleep(Duration::from_millis(1));
                    let (now, most) = inside.get();
                    inside.set((now - 1, most));
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        assert_eq!(inside.get(), (0, 3));
        assert_eq!(semaphore.value(), 3);
    });
}

#[test]
fn leaving_the_queue_of_a_semaphore_loses_no_permit() {
    run(|| {
        let semaphore = Semaphore::new(1);
        let permit = semaphore.acquire();
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                let semaphore = semaphore.clone();
                spawn(move || drop(semaphore.acquire()))
            })
            .collect();
        yield_now();
        // One leaves while it waits, one in the very moment in which it is served.
        waiters[1].cancel();
        drop(permit);
        waiters[0].cancel();
        for waiter in waiters {
            let _ = waiter.join();
        }
        assert_eq!(semaphore.value(), 1);
        let permit = semaphore.acquire();
        assert!(timeout(MOMENT, || semaphore.acquire()).is_err());
        assert_eq!(semaphore.acquire_until(Some(Instant::now() + MOMENT)), Ok(false));
        drop(permit);
        assert_eq!(semaphore.value(), 1);
    });
}

#[test]
fn a_semaphore_between_threads() {
    run(|| {
        let semaphore = Semaphore::new(0);
        let theirs = semaphore.clone();
        let thread = std::thread::spawn(move || (0..500).for_each(|_| theirs.release()));
        for _ in 0..500 {
            assert_eq!(semaphore.acquire_until(None), Ok(true));
        }
        thread.join().unwrap();
        assert_eq!(semaphore.value(), 0);
    });
}
