//! Values that are made once, whoever fails to.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use overlapped::{Lazy, OnceCell, scope, sleep, spawn, timeout, yield_now};
use support::{LONG, run};

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn the_value_is_made_once_and_the_others_wait_for_it() {
    run(|| {
        let (cell, made) = (OnceCell::new(), Cell::new(0));
        scope(|s| {
            for _ in 0..10 {
                s.spawn(|| {
                    let value = cell.get_or_init(|| {
                        sleep(MOMENT);
                        made.set(made.get() + 1);
                        "made"
                    });
                    assert_eq!(*value, "made");
                });
            }
            yield_now();
            assert_eq!(cell.get(), None);
        });
        assert_eq!((made.get(), cell.get(), cell.set("late")), (1, Some(&"made"), Err("late")));
        assert_eq!(cell.into_inner(), Some("made"));
        let mut cell = OnceCell::new();
        assert_eq!((cell.set(1), cell.get_mut()), (Ok(()), Some(&mut 1)));
    });
}

#[test]
fn one_that_is_told_to_leave_fails_or_panics_leaves_the_making_to_the_next() {
    run(|| {
        let cell = OnceCell::new();
        scope(|s| {
            let cancelled = s.spawn(|| {
                *cell.get_or_init(|| {
                    sleep(LONG);
                    0
                })
            });
            let fails = s.spawn(|| {
                cell.get_or_try_init(|| {
                    yield_now();
                    Err("no")
                })
                .copied()
            });
            let panics = s.spawn(|| *cell.get_or_init(|| panic!("as it should")));
            let makes = s.spawn(|| *cell.get_or_init(|| 42));
            yield_now();
            assert!(!makes.is_finished());
            cancelled.cancel();
            assert!(cancelled.join().unwrap_err().is_cancelled());
            assert_eq!(fails.join().unwrap(), Err("no"));
            assert!(panics.join().unwrap_err().is_panic());
            assert_eq!(makes.join().unwrap(), 42);
        });
        let slow = OnceCell::new();
        scope(|s| {
            let makes = s.spawn(|| {
                *slow.get_or_init(|| {
                    sleep(2 * MOMENT);
                    1
                })
            });
            yield_now();
            // Who stops waiting disturbs nobody.
            assert!(timeout(Duration::from_millis(1), || *slow.get_or_init(|| 2)).is_err());
            assert_eq!(makes.join().unwrap(), 1);
        });
    });
}

#[test]
fn what_asks_for_the_value_that_it_makes_is_told_so() {
    run(|| {
        let cell = OnceCell::new();
        let caught = catch_unwind(AssertUnwindSafe(|| cell.get_or_init(|| *cell.get_or_init(|| 1) + 1)));
        assert!(caught.is_err());
        assert_eq!(*cell.get_or_init(|| 3), 3);
    });
}

static COUNT: AtomicU32 = AtomicU32::new(0);
static LAZY: Lazy<u32> = Lazy::new(|| {
    sleep(MOMENT);
    COUNT.fetch_add(1, Ordering::Relaxed) + 7
});

#[test]
fn a_lazy_value_is_made_once_for_all_threads() {
    let threads: Vec<_> = (0..4)
        .map(|n| std::thread::spawn(move || if n % 2 == 0 { *LAZY } else { run(|| spawn(|| *LAZY).join().unwrap()) }))
        .collect();
    assert!(threads.into_iter().all(|thread| thread.join().unwrap() == 7));
    assert_eq!((*Lazy::force(&LAZY), COUNT.load(Ordering::Relaxed)), (7, 1));
    run(|| {
        let tried = Cell::new(0);
        let lazy = Lazy::new(|| {
            tried.set(tried.get() + 1);
            assert!(tried.get() > 1, "as it should");
            tried.get()
        });
        assert!(catch_unwind(AssertUnwindSafe(|| *lazy)).is_err());
        assert_eq!(*lazy, 2, "it is not poisoned");
    });
}
