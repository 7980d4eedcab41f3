//! Read-write locks: served in order, whoever leaves, and not poisoned.

mod support;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use overlapped::{RwLock, scope, sleep, spawn, timeout, yield_now};
use support::{Log, run};

const MOMENT: Duration = Duration::from_millis(5);

#[test]
fn many_read_at_once_and_one_writes_alone() {
    run(|| {
        let lock = RwLock::new(0);
        let (readers, most) = (Cell::new(0), Cell::new(0));
        scope(|s| {
            for n in 0..20 {
                let (lock, readers, most) = (&lock, &readers, &most);
                s.spawn(move || {
                    if n % 5 == 0 {
                        let mut value = lock.write();
                        assert_eq!(readers.get(), 0);
                        let before = *value;
                        yield_now();
                        *value = before + 1;
                    } else {
                        let value = lock.read();
                        let before = *value;
                        readers.set(readers.get() + 1);
                        most.set(most.get().max(readers.get()));
                        yield_now();
                        assert_eq!(*value, before);
                        readers.set(readers.get() - 1);
                    }
                });
            }
        });
        assert_eq!((*lock.read(), most.get()), (4, 4));
    });
}

#[test]
fn a_writer_that_waits_is_not_overtaken_by_readers() {
    run(|| {
        let (lock, log) = (RwLock::new(()), Log::new());
        let first = lock.read();
        let asks = |name: &'static str, writes: bool| {
            let (lock, log) = (lock.clone(), log.clone());
            spawn(move || {
                if writes {
                    let _held = lock.write();
                    log.add(name);
                    yield_now();
                } else {
                    let _held = lock.read();
                    log.add(name);
                    yield_now();
                }
            })
        };
        let all = [asks("writes", true), asks("reads", false), asks("reads too", false), asks("writes last", true)];
        yield_now();
        assert!(lock.try_read().is_none() && lock.try_write().is_none());
        assert!(lock.read_timeout(Duration::from_millis(1)).is_err());
        assert!(log.take().is_empty());
        drop(first);
        all.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        assert_eq!(log.take(), ["writes", "reads", "reads too", "writes last"]);
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn readers_behind_a_writer_that_leaves_go_on() {
    run(|| {
        let lock = RwLock::new(7);
        let held = lock.read();
        let writes = |limit| {
            let lock = lock.clone();
            spawn(move || drop(timeout(limit, || lock.write())))
        };
        for way in 0..3 {
            let writer = match way {
                0 => writes(MOMENT),
                1 => writes(Duration::MAX),
                _ => {
                    let lock = lock.clone();
                    spawn(move || assert!(lock.write_timeout(MOMENT).is_err()))
                }
            };
            yield_now();
            let theirs = lock.clone();
            let reader = spawn(move || *theirs.read());
            yield_now();
            assert!(!reader.is_finished());
            if way == 1 {
                writer.cancel();
            }
            assert_eq!(reader.join().unwrap(), 7);
            let _ = writer.join();
        }
        drop(held);
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn whoever_is_let_in_and_told_to_leave_holds_nothing() {
    run(|| {
        let lock = RwLock::new(());
        let held = lock.write();
        let theirs = lock.clone();
        let waits = spawn(move || drop(theirs.write()));
        yield_now();
        // It was let in, and has not run since.
        drop(held);
        waits.cancel();
        assert!(waits.join().unwrap_err().is_cancelled());
        assert!(lock.try_write().is_some());
    });
}

#[test]
fn neither_a_panic_nor_a_cancel_poisons_it() {
    run(|| {
        let lock = RwLock::new(1);
        let (theirs, others) = (lock.clone(), lock.clone());
        let panics = spawn(move || {
            *theirs.write() = 2;
            let _held = theirs.write();
            panic!("as it should");
        });
        assert!(panics.join().is_err());
        let sleeps = spawn(move || {
            let _held = others.write();
            sleep(Duration::MAX);
        });
        yield_now();
        sleeps.cancel();
        assert!(sleeps.join().is_err());
        assert_eq!(*lock.read(), 2);
    });
}

#[test]
fn who_writes_goes_on_to_read_and_lets_the_other_readers_in() {
    run(|| {
        let lock = RwLock::new(0);
        let mut writes = lock.write();
        let theirs = lock.clone();
        let reader = spawn(move || *theirs.read());
        let (theirs, wrote) = (lock.clone(), Rc::new(Cell::new(false)));
        let notes = Rc::clone(&wrote);
        let writer = spawn(move || {
            *theirs.write() = 2;
            notes.set(true);
        });
        yield_now();
        *writes = 1;
        let reads = writes.downgrade();
        assert_eq!(reader.join().unwrap(), 1);
        assert_eq!((*reads, wrote.get()), (1, false));
        drop(reads);
        writer.join().unwrap();
        assert_eq!(*lock.read(), 2);
    });
}

#[test]
fn threads_and_tasklets_count_without_a_loss() {
    const EACH: usize = 300;
    let lock = RwLock::new((0, 0));
    let count = |lock: &RwLock<(usize, usize)>| {
        for n in 0..EACH {
            if n % 3 == 0 {
                let mut pair = lock.write();
                pair.0 += 1;
                pair.1 += 1;
            } else {
                let pair = lock.read();
                assert_eq!(pair.0, pair.1);
            }
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(|| count(&lock));
        threads.spawn(|| run(|| scope(|s| (0..4).for_each(|_| drop(s.spawn(|| count(&lock)))))));
        threads.spawn(|| {
            run(|| {
                for _ in 0..EACH {
                    let _ = timeout(Duration::from_micros(20), || drop(lock.write()));
                }
            })
        });
    });
    assert_eq!(*lock.read(), (5 * EACH / 3, 5 * EACH / 3));
    assert!(lock.try_write().is_some());
}
