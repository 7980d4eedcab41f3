//! Destructors may wait, wherever they run, with the thread's other tasklets running; and cleanup has an end.

mod support;

use std::cell::{Cell, RefCell};
use std::io::{BufWriter, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Duration;

use overlapped::{Builder, Config, Event, Semaphore, is_cancelled, offload, sleep, spawn, timeout, yield_now};
use support::{LONG, Log, Watch, run, stream_pair};

const MOMENT: Duration = Duration::from_millis(10);

/// Runs its function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// How a tasklet is made to leave: by a cancel, by a time-out, by its own panic.
const WAYS: [&str; 3] = ["cancel", "timeout", "panic"];

/// Starts a tasklet that has `left` to drop when it leaves in that way, and waits until it has ended.
fn leave_with<T: 'static>(way: &'static str, left: T) {
    let handle = spawn(move || {
        let leave = move || {
            let _left = left;
            match way {
                "panic" => std::panic::resume_unwind(Box::new("on purpose")),
                _ => sleep(LONG),
            }
        };
        match way {
            "timeout" => assert!(timeout(Duration::from_millis(1), leave).is_err()),
            _ => leave(),
        }
    });
    yield_now();
    if way == "cancel" {
        handle.cancel();
    }
    let _ = handle.join();
}

#[test]
fn a_destructor_flushes_to_a_peer_on_the_same_thread() {
    const MUCH: usize = 4 << 20;
    for way in WAYS {
        run(|| {
            let (one, mut other) = stream_pair();
            let ticks = Rc::new(Cell::new(0));
            let (count, begun) = (ticks.clone(), Event::new());
            let begins = begun.clone();
            let peer = spawn(move || {
                begun.wait();
                // The flush has begun and cannot end before this reads.
                for _ in 0..5 {
                    sleep(Duration::from_millis(1));
                    count.set(count.get() + 1);
                }
                let mut all = Vec::new();
                other.read_to_end(&mut all).unwrap();
                all.len()
            });
            let mut writer = BufWriter::with_capacity(MUCH, one);
            writer.write_all(&vec![7; MUCH - 1]).unwrap();
            leave_with(way, (OnDrop(move || begins.set()), writer));
            assert_eq!(ticks.get(), 5, "{way}: the others ran while it flushed");
            assert_eq!(peer.join().unwrap(), MUCH - 1, "{way}");
        });
    }
}

#[test]
fn a_destructor_waits_for_what_others_do_and_is_told_nothing_that_is_not_true() {
    for way in WAYS {
        run(|| {
            let (event, semaphore, log) = (Event::new(), Semaphore::new(0), Log::new());
            let (set, released) = (event.clone(), semaphore.clone());
            spawn(move || {
                sleep(Duration::from_millis(5));
                set.set();
                sleep(Duration::from_millis(5));
                released.release();
            });
            let logged = log.clone();
            leave_with(
                way,
                OnDrop(move || {
                    event.wait();
                    assert!(event.is_set());
                    drop(semaphore.acquire());
                    assert_eq!(spawn(|| 5).join().unwrap(), 5);
                    assert_eq!(offload(|| 6).unwrap(), 6);
                    assert!(timeout(MOMENT, || sleep(LONG)).is_err(), "its own time-out counts");
                    logged.add("done");
                }),
            );
            assert_eq!(log.take(), ["done"], "{way}");
        });
    }
}

#[test]
fn many_unwind_at_once_and_poison_nobodys_locks() {
    run(|| {
        let lock = Rc::new(Mutex::new(0));
        let handles: Vec<_> = (0..50)
            .map(|n| {
                let (lock, waits) = (lock.clone(), Event::new());
                spawn(move || {
                    let _left = OnDrop(move || {
                        let nested = catch_unwind(AssertUnwindSafe(|| {
                            let _nested = OnDrop(yield_now);
                            std::panic::resume_unwind(Box::new(n));
                        }));
                        assert!(nested.is_err());
                        sleep(Duration::from_millis(n % 5));
                        *lock.lock().unwrap() += 1;
                    });
                    waits.wait();
                })
            })
            .collect();
        yield_now();
        handles.iter().for_each(|handle| handle.cancel());
        let counts = spawn({
            let lock = lock.clone();
            move || {
                while *lock.lock().unwrap() < 50 {
                    assert!(!std::thread::panicking());
                    yield_now();
                }
            }
        });
        counts.join().unwrap();
        handles.into_iter().for_each(|handle| assert!(handle.join().unwrap_err().is_cancelled()));
        assert!(!lock.is_poisoned());
    });
}

#[test]
fn the_threads_own_tasklet_may_wait_while_it_unwinds() {
    let log = Log::new();
    let logged = log.clone();
    let result = catch_unwind(AssertUnwindSafe(|| {
        run(|| {
            let other = spawn(|| {
                assert!(!std::thread::panicking());
                sleep(Duration::from_millis(5));
                "ran"
            });
            let mut other = Some(other);
            let _left = OnDrop(move || logged.add(other.take().unwrap().join().unwrap()));
            std::panic::resume_unwind(Box::new("main's own"));
        })
    }));
    assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"main's own"));
    assert_eq!(log.take(), ["ran"]);
}

#[test]
fn a_second_cancel_changes_nothing() {
    for times in 1..=3 {
        run(|| {
            let (one, mut other) = stream_pair();
            let handle = spawn(move || {
                let _goodbye = OnDrop(move || (&one).write_all(b"bye").unwrap());
                sleep(LONG);
            });
            yield_now();
            (0..times).for_each(|_| handle.cancel());
            assert!(handle.join().unwrap_err().is_cancelled());
            let mut word = String::new();
            other.read_to_string(&mut word).unwrap();
            assert_eq!(word, "bye", "{times} cancels");
        });
    }
    // The end of `run` is the second one.
    let written = Rc::new(RefCell::new(None));
    let theirs = written.clone();
    run(move || {
        let (one, other) = stream_pair();
        let handle = spawn(move || {
            let _goodbye = OnDrop(move || *theirs.borrow_mut() = Some((&one).write(b"bye").unwrap()));
            sleep(LONG);
            drop(other);
        });
        yield_now();
        handle.cancel();
    });
    assert_eq!(*written.borrow(), Some(3));
}

#[test]
fn run_ends_though_a_destructor_wants_a_lock_that_another_one_holds() {
    let log = Log::new();
    let logged = log.clone();
    run(|| {
        let lock = Semaphore::new(1);
        let (mine, theirs) = (lock.clone(), lock);
        spawn(move || {
            let _client = OnDrop(move || {
                let _permit = mine.acquire();
                logged.add("checked in");
            });
            sleep(LONG);
        });
        spawn(move || {
            let _permit = theirs.acquire();
            sleep(LONG);
        });
        yield_now();
    });
    assert_eq!(log.take(), ["checked in"]);
}

#[test]
fn past_the_cleanup_limit_a_destructors_operations_are_cancelled_too() {
    let _watch = Watch::new();
    Config::new().cleanup(MOMENT).run(|| {
        for way in ["cancel", "timeout"] {
            let (one, _other) = stream_pair();
            let log = Log::new();
            let logged = log.clone();
            leave_with(
                way,
                OnDrop(move || {
                    let error = (&one).read(&mut [0; 8]).unwrap_err();
                    assert!(is_cancelled(&error) == (way == "cancel"), "{error}");
                    assert!((&one).read(&mut [0; 8]).is_err(), "once more");
                    logged.add("told");
                }),
            );
            assert_eq!(log.take(), ["told"], "{way}");
        }
    });
}

#[test]
fn a_tasklet_that_never_ends_is_given_up_by_its_joiner_and_by_run() {
    let _watch = Watch::new();
    let left = Rc::new(());
    let theirs = left.clone();
    Config::new().cleanup(MOMENT).run(|| {
        let handle = spawn(move || {
            let _stuck = OnDrop(move || {
                let _kept = &theirs;
                Event::new().wait();
            });
            sleep(LONG);
        });
        yield_now();
        handle.cancel();
        let error = handle.join().unwrap_err();
        assert!(error.is_overdue() && !error.is_cancelled(), "{error}");
    });
    assert_eq!(Rc::strong_count(&left), 2, "its stack stays as it is");
    // The thread is as good as before.
    assert_eq!(run(|| spawn(|| 1).join().unwrap()), 1);
}

#[test]
fn what_a_tasklet_leaves_behind_may_wait_when_it_is_dropped() {
    let log = Log::new();
    run(|| {
        let waits = |what: &'static str| {
            let log = log.clone();
            OnDrop(move || {
                sleep(Duration::from_millis(1));
                assert_eq!(offload(|| 1).unwrap(), 1);
                log.add(what);
            })
        };
        let result = waits("a result that nobody joins");
        drop(spawn(move || result));
        let captures = waits("a function that never began");
        let cancelled = spawn(move || drop(captures));
        cancelled.cancel();
        assert!(cancelled.join().unwrap_err().is_cancelled());
        sleep(MOMENT);
        let payload = waits("a panic's payload");
        spawn(move || std::panic::resume_unwind(Box::new(SendsPayload(payload))));
        sleep(MOMENT);
        while log.len() < 3 {
            sleep(Duration::from_millis(1));
        }
    });
    let mut logged = log.take();
    logged.sort();
    assert_eq!(logged, ["a function that never began", "a panic's payload", "a result that nobody joins"]);

    /// For this test's one thread.
    struct SendsPayload<T>(#[allow(dead_code, reason = "dropping it is the point")] T);
    #[allow(unsafe_code, reason = "a payload is to be `Send`")]
    // SAFETY: no other thread gets it.
    unsafe impl<T> Send for SendsPayload<T> {}
}

#[test]
fn a_tasklet_without_room_for_its_stack_is_refused_where_it_is_started() {
    run(|| {
        let log = Log::new();
        let logged = log.clone();
        let captures = OnDrop(move || {
            yield_now();
            logged.add("dropped");
        });
        let error = Builder::new().stack_size(usize::MAX).spawn(move || drop(captures)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
        assert_eq!(log.take(), ["dropped"], "by the caller");
        assert_eq!(overlapped::tasklets().len(), 1);
    });
}

#[test]
fn what_an_offload_has_captured_is_dropped_by_the_tasklet_that_leaves_it() {
    run(|| {
        let go = Event::new();
        let busy: Vec<_> = (0..64)
            .map(|_| {
                let go = go.clone();
                spawn(move || offload(move || go.wait()))
            })
            .collect();
        yield_now();
        let here = std::thread::current().id();
        let dropped = Event::new();
        let drops = dropped.clone();
        let captures = OnDrop(move || {
            if std::thread::current().id() == here {
                sleep(Duration::from_millis(1));
                drops.set();
            }
        });
        assert!(timeout(MOMENT, move || offload(move || drop(captures))).is_err());
        assert!(dropped.is_set());
        go.set();
        busy.into_iter().for_each(|handle| drop(handle.join().unwrap()));
    });
}

/// The ignored test `name`, in a process of its own: what it prints, where it does not end well.
fn dies(name: &str) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", name, "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{name}: {text}");
    text
}

#[test]
fn a_result_whose_destructor_panics_ends_the_process_with_a_message() {
    let text = dies("child_result_panics");
    assert!(text.contains("the result of tasklet \"bomb\" panicked when it was dropped"), "{text}");
}

#[test]
#[ignore = "run by a_result_whose_destructor_panics_ends_the_process_with_a_message, as a process of its own"]
fn child_result_panics() {
    run(|| {
        drop(Builder::new().name("bomb").spawn(|| OnDrop(|| panic!("the result's destructor"))));
        sleep(MOMENT);
    });
}

#[test]
fn a_callback_of_the_loop_that_waits_ends_the_process_with_a_message() {
    let text = dies("child_callback_waits");
    assert!(text.contains("must not wait"), "{text}");
}

#[test]
#[ignore = "run by a_callback_of_the_loop_that_waits_ends_the_process_with_a_message, as a process of its own"]
fn child_callback_waits() {
    run(|| {
        let scheduler = overlapped::engine::current().unwrap();
        scheduler.call_at(std::time::Instant::now(), |_| sleep(MOMENT));
        sleep(LONG);
    });
}

#[test]
fn what_does_not_end_with_run_is_named() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args(["--exact", "child_never_ends", "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("tasklet \"stubborn\" was cancelled at the end of run"), "{text}");
}

#[test]
#[ignore = "run by what_does_not_end_with_run_is_named, as a process of its own"]
fn child_never_ends() {
    let _watch = Watch::new();
    Config::new().cleanup(MOMENT).run(|| {
        Builder::new()
            .name("stubborn")
            .spawn(|| {
                let _stuck = OnDrop(|| Event::new().wait());
                sleep(LONG);
            })
            .unwrap();
        yield_now();
    });
}
