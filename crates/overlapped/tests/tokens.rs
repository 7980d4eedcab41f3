//! Cancellation tokens: one word that ends much, from any thread, and nothing outside of it.

mod support;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use overlapped::{CancellationToken, channel, first_of, is_cancelled, scope, sleep, spawn, timeout, yield_now};
use support::{LONG, run};

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn a_cancel_reaches_all_that_wait_and_the_children_but_not_the_parent() {
    run(|| {
        let parent = CancellationToken::new();
        let (child, other) = (parent.child_token(), parent.child_token());
        let grandchild = child.child_token();
        let waits = [child.clone(), grandchild.clone()].map(|token| spawn(move || token.wait()));
        assert!(child.wait_timeout(MOMENT).is_err());
        child.cancel();
        child.cancel();
        waits.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        assert!(child.is_cancelled() && grandchild.is_cancelled() && child.child_token().is_cancelled());
        assert!(!parent.is_cancelled() && !other.is_cancelled());
        drop(grandchild);
        let theirs = parent.clone();
        std::thread::spawn(move || theirs.cancel());
        assert!(other.wait_timeout(LONG).is_ok() && parent.wait_timeout(LONG).is_ok());
        assert_eq!(first_of(&mut [&mut other.cancelling()]).unwrap(), 0);
    });
}

#[test]
fn a_block_is_told_at_each_wait_and_nobody_outside_of_it_is() {
    run(|| {
        let token = CancellationToken::new();
        let theirs = token.child_token();
        let told = Cell::new(0);
        let canceller = token.clone();
        spawn(move || canceller.cancel());
        let ended = theirs.run_until_cancelled(|| {
            for _ in 0..3 {
                let error = first_of(&mut [&mut channel::<()>().receiving()]).unwrap_err();
                assert!(is_cancelled(&error) && error.to_string().contains("token"), "{error}");
                told.set(told.get() + 1);
            }
            sleep(LONG);
            told.set(99);
        });
        assert_eq!((ended, told.get()), (None, 3));
        sleep(Duration::from_millis(1));
        assert_eq!(token.run_until_cancelled(|| unreachable!()), None::<()>);
        let other = CancellationToken::new();
        assert_eq!(other.run_until_cancelled(|| 1), Some(1));
        let caught = catch_unwind(AssertUnwindSafe(|| other.run_until_cancelled(|| panic!("its own"))));
        assert!(caught.is_err());
        // Its place is given back: nobody is told.
        other.cancel();
        sleep(Duration::from_millis(1));
    });
}

#[test]
fn of_nested_blocks_the_one_whose_word_came_ends() {
    run(|| {
        let (outer, inner) = (CancellationToken::new(), CancellationToken::new());
        let value = outer.run_until_cancelled(|| {
            let ended = inner.run_until_cancelled(|| {
                inner.cancel();
                sleep(LONG);
            });
            assert_eq!(ended, None);
            let late = timeout(MOMENT, || CancellationToken::new().run_until_cancelled(|| sleep(LONG)));
            assert!(late.is_err());
            sleep(Duration::from_millis(1));
            7
        });
        assert_eq!(value, Some(7));
        let ended = outer.run_until_cancelled(|| {
            let other = CancellationToken::new();
            other.run_until_cancelled(|| {
                outer.cancel();
                sleep(LONG);
            });
            unreachable!("it is on its way to the outer block");
        });
        assert_eq!(ended, None::<()>);
        let token = CancellationToken::new();
        let theirs = token.clone();
        let tasklet = spawn(move || theirs.run_until_cancelled(|| sleep(LONG)));
        yield_now();
        tasklet.cancel();
        assert!(tasklet.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn a_guard_cancels_when_it_is_dropped_unless_it_is_disarmed() {
    let token = CancellationToken::new();
    let kept = token.clone().drop_guard().disarm();
    assert!(!kept.is_cancelled());
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let _guard = token.clone().drop_guard();
        panic!("as it should");
    }));
    assert!(token.is_cancelled() && kept.is_cancelled());
}

#[test]
fn a_long_chain_of_children_is_cancelled_and_dropped_on_a_small_stack() {
    run(|| {
        let first = CancellationToken::new();
        let mut last = first.child_token();
        for _ in 0..100_000 {
            last = last.child_token();
        }
        first.cancel();
        assert!(last.is_cancelled());
        let tasklet = spawn(move || drop((first, last)));
        tasklet.join().unwrap();
    });
}

#[test]
fn words_from_threads_in_a_storm_end_every_block() {
    run(|| {
        for _ in 0..50 {
            let root = CancellationToken::new();
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let token = root.child_token();
                    std::thread::spawn(move || token.cancel())
                })
                .collect();
            let canceller = root.clone();
            let last = std::thread::spawn(move || canceller.cancel());
            let ended = Cell::new(0);
            scope(|s| {
                for n in 0..6 {
                    let (token, ended) = (root.child_token(), &ended);
                    s.spawn(move || {
                        let told = if n % 2 == 0 {
                            token.run_until_cancelled(|| sleep(LONG)).is_none()
                        } else {
                            token.wait();
                            true
                        };
                        assert!(told);
                        ended.set(ended.get() + 1);
                    });
                }
            });
            assert_eq!(ended.get(), 6);
            threads.into_iter().chain([last]).for_each(|thread| thread.join().unwrap());
        }
    });
}
