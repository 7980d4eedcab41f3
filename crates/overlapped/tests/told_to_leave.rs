//! A cancel and a time-out stand until they are obeyed: how each wait says so, and what still succeeds.

mod support;

use std::cell::Cell;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

use overlapped::{
    Config, Event, ReceiveError, Semaphore, SendError, channel, is_cancelled, sleep, spawn, timeout, uncancellable,
    yield_now,
};
use support::{LONG, Log, Watch, run, stream_pair};

const MOMENT: Duration = Duration::from_millis(10);

#[test]
fn a_cancel_is_told_at_every_further_wait() {
    run(|| {
        let (mut one, _other) = stream_pair();
        let log = Log::new();
        let logged = log.clone();
        let reader = spawn(move || {
            for _ in 0..2 {
                let error = one.read(&mut [0; 8]).unwrap_err();
                assert!(is_cancelled(&error) && error.kind() != ErrorKind::Interrupted, "{error:?}");
            }
            // It goes on over errors of kind `Interrupted`.
            assert!(is_cancelled(&one.read_exact(&mut [0; 8]).unwrap_err()));
            assert_eq!(channel::<()>().receive(), Err(ReceiveError::Interrupted));
            assert_eq!(channel().send(7), Err(SendError::Interrupted(7)));
            let joined = spawn(|| sleep(LONG)).join().unwrap_err();
            assert!(joined.is_interrupted() && is_cancelled(&joined.into()));
            assert!(is_cancelled(&overlapped::offload(|| ()).unwrap_err()));
            logged.add("told by errors");
            sleep(LONG);
            logged.add("went on");
        });
        yield_now();
        reader.cancel();
        assert!(reader.join().unwrap_err().is_cancelled());
        assert_eq!(log.take(), ["told by errors"]);
    });
}

#[test]
fn waits_without_a_result_unwind_and_whoever_catches_that_is_told_again() {
    let waits: [(&str, fn()); 4] = [
        ("sleep", || sleep(LONG)),
        ("yield", yield_now),
        ("event", || Event::new().wait()),
        ("semaphore", || drop(Semaphore::new(0).acquire())),
    ];
    run(|| {
        for (name, wait) in waits {
            let caught = Rc::new(Cell::new(0));
            let count = caught.clone();
            let handle = spawn(move || {
                assert!(Event::new().wait_until(None).is_err());
                for _ in 0..100 {
                    if catch_unwind(wait).is_err() {
                        count.set(count.get() + 1);
                    }
                }
                wait();
            });
            yield_now();
            handle.cancel();
            assert!(handle.join().unwrap_err().is_cancelled(), "{name}");
            assert_eq!(caught.get(), 100, "{name}");
        }
    });
}

#[test]
fn a_server_that_guards_its_requests_against_panics_ends_with_run() {
    let _watch = Watch::new();
    let rounds = Rc::new(Cell::new(0_u64));
    let count = rounds.clone();
    Config::new().cleanup(MOMENT).run(move || {
        spawn(move || {
            loop {
                let _ = catch_unwind(AssertUnwindSafe(|| sleep(LONG)));
                count.set(count.get() + 1);
            }
        });
        yield_now();
    });
    assert!(rounds.get() > 1, "it was told more than once");
}

#[test]
fn whoever_ignores_errors_is_unwound_at_last_and_others_run_meanwhile() {
    run(|| {
        let (mut one, _other) = stream_pair();
        let errors = Rc::new(Cell::new(0));
        let count = errors.clone();
        let ignores = spawn(move || {
            loop {
                if one.read(&mut [0; 8]).is_err() {
                    count.set(count.get() + 1);
                }
            }
        });
        yield_now();
        ignores.cancel();
        let turns = Rc::new(Cell::new(0));
        let taken = turns.clone();
        let other = spawn(move || {
            loop {
                taken.set(taken.get() + 1);
                yield_now();
            }
        });
        assert!(ignores.join().unwrap_err().is_cancelled());
        assert!(errors.get() >= 8, "{} errors", errors.get());
        assert!(turns.get() >= errors.get(), "{} turns beside {} errors", turns.get(), errors.get());
        other.cancel();
    });
}

#[test]
fn what_needs_no_wait_still_goes_out_and_comes_in() {
    run(|| {
        let (mut one, mut other) = stream_pair();
        other.write_all(b"there").unwrap();
        let handle = spawn(move || {
            let mut gone = std::io::BufWriter::new(&one);
            gone.write_all(b"bye").unwrap();
            assert!(sleeps_no_more());
            gone.flush().unwrap();
            drop(gone);
            let mut word = [0; 5];
            one.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"there");
            let event = Event::new();
            event.set();
            event.wait();
            drop(Semaphore::new(1).acquire());
            is_cancelled(&one.read(&mut word).unwrap_err())
        });
        yield_now();
        handle.cancel();
        assert!(handle.join().unwrap());
        let mut word = [0; 3];
        other.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"bye");
    });
}

/// Waits until the calling tasklet is told to leave.
fn sleeps_no_more() -> bool {
    catch_unwind(|| sleep(LONG)).is_err()
}

#[test]
fn a_loop_over_what_is_always_there_ends_too() {
    let loops: [(&str, fn()); 4] = [
        ("event", || {
            let event = Event::new();
            event.set();
            loop {
                event.wait();
            }
        }),
        ("semaphore", || {
            let semaphore = Semaphore::new(1);
            loop {
                drop(semaphore.acquire());
            }
        }),
        ("channel", || {
            let values = channel();
            let received = values.clone();
            spawn(move || while received.receive().is_ok() {});
            while values.send(1).is_ok() {}
            values.close();
        }),
        ("stream", || {
            let (mut one, mut other) = stream_pair();
            while one.write_all(b"x").is_ok() && other.read_exact(&mut [0]).is_ok() {}
        }),
    ];
    run(|| {
        for (name, endless) in loops {
            let ticks = Rc::new(Cell::new(0));
            let count = ticks.clone();
            let ticker = spawn(move || {
                loop {
                    sleep(Duration::from_millis(1));
                    count.set(count.get() + 1);
                }
            });
            assert!(timeout(Duration::from_millis(30), endless).is_err(), "{name}: the time-out fires");
            let (handle, before) = (spawn(endless), ticks.get());
            while ticks.get() < before + 3 {
                sleep(Duration::from_millis(1));
            }
            handle.cancel();
            assert!(handle.join().map_or_else(|error| error.is_cancelled(), |()| true), "{name}");
            ticker.cancel();
        }
    });
}

#[test]
fn a_panic_after_it_was_told_is_a_panic_of_one_that_was_cancelled() {
    run(|| {
        let (mut one, _other) = stream_pair();
        let handle = spawn(move || {
            one.read_exact(&mut [0; 8]).unwrap();
        });
        yield_now();
        handle.cancel();
        let error = handle.join().unwrap_err();
        assert!(error.is_panic() && error.is_cancelled());
        assert!(error.to_string().contains("the tasklet was cancelled"), "{error}");
    });
}

#[test]
fn a_timeout_is_elapsed_whatever_its_body_returned_once_it_was_told() {
    run(|| {
        let (mut one, _other) = stream_pair();
        let kind = Cell::new(None);
        let result = timeout(MOMENT, || {
            for _ in 0..3 {
                let error = one.read(&mut [0; 8]).unwrap_err();
                assert!(!is_cancelled(&error));
                kind.set(Some(error.kind()));
            }
            "all is well"
        });
        assert!(result.is_err());
        assert_eq!(kind.get(), Some(ErrorKind::TimedOut));
        assert!(timeout(MOMENT, || catch_unwind(|| sleep(LONG)).is_err()).is_err(), "caught");
        assert!(timeout(MOMENT, || one.read(&mut [0; 8]).unwrap()).is_err(), "a panic, after it was told");
        // When its block has ended, it stands no more.
        yield_now();
        assert_eq!(timeout(LONG, || 1), Ok(1));
    });
}

#[test]
fn of_several_timeouts_the_outermost_is_told() {
    run(|| {
        let log = Log::new();
        let outer = timeout(MOMENT, || {
            let inner = timeout(MOMENT / 2, || {
                std::thread::sleep(MOMENT * 3);
                // Both are up.
                sleep(LONG);
            });
            log.add(format!("inner: {inner:?}"));
        });
        assert!(outer.is_err());
        assert!(log.take().is_empty(), "it unwinds to the outer one");
    });
}

#[test]
fn a_line_that_comes_in_parts_is_not_lost_to_a_timeout() {
    run(|| {
        let (one, mut other) = stream_pair();
        let mut reader = BufReader::new(one);
        let (mut line, mut bytes) = (String::new(), Vec::new());
        other.write_all(b"first half, ").unwrap();
        assert!(timeout(MOMENT, || reader.read_line(&mut line)).is_err());
        other.write_all(b"second half\n").unwrap();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "first half, second half\n");
        other.write_all(b"here ").unwrap();
        assert!(timeout(MOMENT, || reader.read_until(b'\n', &mut bytes)).is_err());
        other.write_all(b"and there\n").unwrap();
        reader.read_until(b'\n', &mut bytes).unwrap();
        assert_eq!(bytes, b"here and there\n");
    });
}

#[test]
fn the_timed_forms_give_back_what_they_were_given() {
    run(|| {
        let values = channel();
        assert_eq!(values.send_timeout("precious", MOMENT), Err(SendError::Elapsed("precious")));
        assert_eq!(values.balance(), 0);
        assert_eq!(values.receive_timeout(MOMENT), Err(ReceiveError::Elapsed));
        assert_eq!(values.balance(), 0);
        let theirs = values.clone();
        let sender = spawn(move || theirs.send_timeout("precious", LONG));
        assert_eq!(values.receive_timeout(LONG), Ok("precious"));
        sender.join().unwrap().unwrap();
        let semaphore = Semaphore::new(0);
        assert!(semaphore.acquire_timeout(MOMENT).is_err());
        semaphore.release();
        let permit = semaphore.acquire_timeout(MOMENT).unwrap();
        assert_eq!(semaphore.value(), 0);
        drop(permit);
        let slow = spawn(|| sleep(LONG)).join_timeout(MOMENT).unwrap_err();
        slow.cancel();
        assert!(slow.join_timeout(LONG).unwrap().unwrap_err().is_cancelled());
    });
}

#[test]
fn what_is_uncancellable_is_told_nothing_from_outside_and_everything_from_inside() {
    run(|| {
        let log = Log::new();
        let logged = log.clone();
        let handle = spawn(move || {
            uncancellable(|| {
                uncancellable(yield_now);
                sleep(MOMENT);
                logged.add("slept");
                assert!(timeout(MOMENT, || sleep(LONG)).is_err());
                logged.add("its own timeout counts");
            });
            sleep(LONG);
            logged.add("went on");
        });
        yield_now();
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(log.take(), ["slept", "its own timeout counts"]);
    });
}

#[test]
fn past_the_cleanup_limit_what_is_uncancellable_is_told_all_the_same() {
    let _watch = Watch::new();
    Config::new().cleanup(MOMENT).run(|| {
        let (mut one, _other) = stream_pair();
        // Cancelled while it waits, and before.
        for early in [false, true] {
            let mut reads = one.try_clone().unwrap();
            let handle = spawn(move || {
                if early {
                    assert!(sleeps_no_more());
                }
                uncancellable(|| is_cancelled(&reads.read(&mut [0; 8]).unwrap_err()))
            });
            yield_now();
            handle.cancel();
            assert!(handle.join().unwrap());
        }
        let late = timeout(MOMENT, || uncancellable(|| one.read(&mut [0; 8]).unwrap_err().kind()));
        assert!(late.is_err());
    });
}

#[test]
fn sixteen_thousand_that_leave_together_leave_at_once() {
    const MANY: usize = 16_000;
    run(|| {
        let (values, event, semaphore) = (channel::<()>(), Event::new(), Semaphore::new(0));
        let receivers: Vec<_> = (0..MANY)
            .map(|n| {
                let (values, event, semaphore) = (values.clone(), event.clone(), semaphore.clone());
                spawn(move || match n % 3 {
                    0 => values.receive_timeout(MOMENT).is_err(),
                    1 => event.wait_timeout(MOMENT).is_err(),
                    _ => semaphore.acquire_timeout(MOMENT).is_err(),
                })
            })
            .collect();
        assert!(receivers.into_iter().all(|receiver| receiver.join().unwrap()));
        assert_eq!((values.balance(), semaphore.value()), (0, 0));
    });
}
