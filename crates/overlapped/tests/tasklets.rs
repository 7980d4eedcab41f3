//! Tasklets: run, spawn, join, cancel, time-outs; panics and destructors.

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use overlapped::{Builder, channel, sleep, spawn, timeout, yield_now};
use support::{LONG, Log, LogsDrop, run};

#[test]
fn run_returns_what_main_returns() {
    assert_eq!(run(|| "value"), "value");
}

#[test]
fn run_is_not_nested_and_says_so() {
    run(|| {
        let error = overlapped::try_run(|| ()).unwrap_err();
        assert!(error.to_string().contains("not nested"), "{error}");
    });
    // It was only refused: this thread can still run.
    assert_eq!(run(|| 1), 1);
}

#[test]
fn a_panic_of_main_comes_out_of_run_after_the_tasklets_have_ended() {
    let log = Log::new();
    let theirs = log.clone();
    let result = catch_unwind(AssertUnwindSafe(|| {
        run(|| {
            spawn(move || {
                let _ended = LogsDrop(theirs, "tasklet ended");
                sleep(LONG);
            });
            yield_now();
            panic!("main's own");
        })
    }));
    assert_eq!(result.unwrap_err().downcast_ref::<&str>(), Some(&"main's own"));
    assert_eq!(log.take(), ["tasklet ended"]);
}

#[test]
fn tasklets_run_in_turn() {
    let log = Log::new();
    run(|| {
        let handles: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let log = log.clone();
                spawn(move || {
                    for round in 0..2 {
                        log.add(format!("{name}{round}"));
                        yield_now();
                    }
                })
            })
            .into();
        assert!(log.take().is_empty(), "a tasklet runs when its starter waits, not before");
        handles.into_iter().for_each(|handle| handle.join().unwrap());
    });
    assert_eq!(log.take(), ["a0", "b0", "c0", "a1", "b1", "c1"]);
}

#[test]
fn a_panic_goes_to_the_joiner_with_its_payload() {
    run(|| {
        let other = spawn(|| {
            sleep(Duration::from_millis(5));
            "unharmed"
        });
        let error = spawn(|| panic!("code {}", overlapped::tasklets().len())).join().unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert!(error.to_string().contains("code 3"), "{error}");
        assert_eq!(error.into_panic().unwrap().downcast_ref::<String>().unwrap(), "code 3");
        assert_eq!(other.join().unwrap(), "unharmed");
    });
}

#[test]
fn a_tasklet_that_ended_can_be_joined_later_and_from_a_tasklet() {
    run(|| {
        let first = spawn(|| 1);
        yield_now();
        assert!(first.is_finished());
        let second = spawn(move || first.join().unwrap() + 1);
        assert_eq!(second.join().unwrap(), 2);
    });
}

#[test]
fn a_cancelled_tasklet_that_has_not_begun_never_does() {
    run(|| {
        let log = Log::new();
        let theirs = log.clone();
        let handle = spawn(move || theirs.add("ran"));
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert!(log.take().is_empty());
    });
}

#[test]
fn cancel_unwinds_the_wait_and_runs_destructors_inside_out() {
    run(|| {
        let log = Log::new();
        let theirs = log.clone();
        let handle = spawn(move || {
            let _outer = LogsDrop(theirs.clone(), "outer");
            let inner = || {
                let _inner = LogsDrop(theirs.clone(), "inner");
                sleep(LONG);
                theirs.add("went on");
            };
            inner();
        });
        yield_now();
        let start = Instant::now();
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert!(start.elapsed() < LONG);
        assert_eq!(log.take(), ["inner", "outer"]);
    });
}

#[test]
fn a_tasklet_that_never_waits_is_not_disturbed_by_a_cancel() {
    run(|| {
        let gate = channel();
        let theirs = gate.clone();
        let handle = spawn(move || theirs.receive().map(|()| "done"));
        yield_now();
        // The receiver has what it waited for, and has not run yet: it waits no more.
        gate.set_preference(overlapped::Preference::Sender);
        gate.send(()).unwrap();
        assert!(!handle.is_finished());
        handle.cancel();
        assert_eq!(handle.join().unwrap(), Ok("done"));
    });
}

#[test]
fn a_result_that_was_there_before_the_cancel_is_not_lost() {
    run(|| {
        let numbers = channel();
        let theirs = numbers.clone();
        let log = Log::new();
        let logged = log.clone();
        let handle = spawn(move || {
            logged.add(format!("got {}", theirs.receive().unwrap()));
            sleep(LONG);
        });
        yield_now();
        numbers.set_preference(overlapped::Preference::Sender);
        numbers.send(7).unwrap();
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
        assert_eq!(log.take(), ["got 7"], "the receive was satisfied; the cancel is for the next wait");
    });
}

#[test]
fn cancelling_a_joiner_leaves_the_joined_one_alone() {
    run(|| {
        let slow = spawn(|| {
            sleep(Duration::from_millis(20));
            "slow but done"
        });
        let result = channel();
        let theirs = result.clone();
        let joiner = spawn(move || theirs.send(slow.join().unwrap()).unwrap());
        yield_now();
        joiner.cancel();
        assert!(joiner.join().unwrap_err().is_cancelled());
        assert_eq!(overlapped::tasklets().len(), 2, "the slow one goes on");
        assert_eq!(result.balance(), 0);
    });
}

#[test]
fn run_cancels_what_has_not_ended_and_waits_for_it() {
    let log = Log::new();
    run(|| {
        for _ in 0..100 {
            let ended = LogsDrop(log.clone(), "ended");
            spawn(move || {
                let _ended = ended;
                sleep(LONG);
            });
        }
        yield_now();
    });
    assert_eq!(log.take().len(), 100);
}

/// A cancelled tasklet may start another on its way out; `run` waited for that one without end.
#[test]
fn run_cancels_tasklets_that_are_started_while_it_ends() {
    struct Starts(Log);
    impl Drop for Starts {
        fn drop(&mut self) {
            let log = self.0.clone();
            spawn(move || {
                log.add("begun");
                sleep(LONG);
            });
        }
    }
    let log = Log::new();
    let theirs = log.clone();
    let start = Instant::now();
    run(|| {
        spawn(move || {
            let _starts = Starts(theirs);
            sleep(LONG);
        });
        yield_now();
    });
    assert!(start.elapsed() < LONG);
    assert!(log.take().is_empty());
}

#[test]
fn a_destructor_may_do_io_while_its_tasklet_unwinds() {
    use std::io::{Read, Write};
    struct SaysGoodbye(support::Stream);
    impl Drop for SaysGoodbye {
        fn drop(&mut self) {
            self.0.write_all(b"goodbye").unwrap();
        }
    }
    run(|| {
        let (mut here, there) = support::stream_pair();
        for how in ["cancel", "panic"] {
            let goodbye = SaysGoodbye(there.try_clone().unwrap());
            let handle = spawn(move || {
                let _goodbye = goodbye;
                match how {
                    "cancel" => sleep(LONG),
                    _ => panic!("on purpose"),
                }
            });
            yield_now();
            handle.cancel();
            assert!(handle.join().is_err());
            let mut word = [0; 7];
            here.read_exact(&mut word).unwrap();
            assert_eq!(&word, b"goodbye");
        }
    });
}

#[test]
fn a_destructor_may_wait_for_another_tasklet_while_it_unwinds() {
    struct Receives(overlapped::Channel<&'static str>, Log);
    impl Drop for Receives {
        fn drop(&mut self) {
            assert!(std::thread::panicking());
            self.1.add(self.0.receive().unwrap());
            assert!(std::thread::panicking(), "it still unwinds");
        }
    }
    run(|| {
        let log = Log::new();
        let values = channel();
        let receives = Receives(values.clone(), log.clone());
        let handle = spawn(move || {
            let _receives = receives;
            panic!("on purpose");
        });
        yield_now();
        assert!(!std::thread::panicking(), "somebody else does");
        values.send("served").unwrap();
        assert!(handle.join().unwrap_err().is_panic());
        assert_eq!(log.take(), ["served"]);
    });
}

#[test]
fn timeout_returns_the_value_or_that_time_is_up() {
    run(|| {
        assert_eq!(timeout(LONG, || 5), Ok(5));
        let start = Instant::now();
        let error = timeout(Duration::from_millis(20), || sleep(LONG)).unwrap_err();
        assert!(start.elapsed() >= Duration::from_millis(20) && start.elapsed() < LONG);
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::TimedOut);
        assert!(error.to_string().contains("20ms"), "{error}");
    });
}

#[test]
fn timeouts_nest() {
    run(|| {
        let (short, longer) = (Duration::from_millis(10), Duration::from_secs(1));
        // The inner one's time is up; the outer goes on.
        assert_eq!(timeout(LONG, || timeout(short, || sleep(LONG)).is_err()), Ok(true));
        // The outer one's: the inner does not see it.
        assert!(timeout(short, || timeout(LONG, || sleep(LONG))).is_err());
        // Both, one after the other.
        let log = Log::new();
        let result = timeout(longer, || {
            assert!(timeout(short, || sleep(LONG)).is_err());
            log.add("inner");
            sleep(LONG);
        });
        assert!(result.is_err());
        assert_eq!(log.take(), ["inner"]);
    });
}

#[test]
fn a_timeout_that_came_too_late_does_not_hit_the_next_wait() {
    run(|| {
        // The body never waits, so it is not disturbed, and nothing is left for later.
        let result = timeout(Duration::from_millis(1), || std::thread::sleep(Duration::from_millis(10)));
        assert_eq!(result, Ok(()));
        for _ in 0..3 {
            yield_now();
            sleep(Duration::from_millis(5));
        }
    });
}

#[test]
fn a_panic_goes_through_a_timeout() {
    run(|| {
        let handle = spawn(|| timeout(LONG, || panic!("through")));
        assert!(handle.join().unwrap_err().is_panic());
        let handle = spawn(|| timeout(LONG, || sleep(LONG)));
        yield_now();
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled(), "a cancel is no time-out");
    });
}

#[test]
fn sleepers_wake_in_the_order_of_their_time() {
    run(|| {
        let log = Log::new();
        let handles: Vec<_> = [30, 10, 20]
            .map(|milliseconds| {
                let log = log.clone();
                spawn(move || {
                    let start = Instant::now();
                    sleep(Duration::from_millis(milliseconds));
                    assert!(start.elapsed() >= Duration::from_millis(milliseconds));
                    log.add(milliseconds.to_string());
                })
            })
            .into();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        assert_eq!(log.take(), ["10", "20", "30"]);
    });
}

#[test]
fn a_sleep_beyond_the_clock_can_be_cancelled() {
    run(|| {
        let handle = spawn(|| sleep(Duration::MAX));
        yield_now();
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn sleepers_are_served_while_others_only_yield() {
    run(|| {
        let busy = spawn(|| {
            loop {
                yield_now();
            }
        });
        let start = Instant::now();
        sleep(Duration::from_millis(10));
        assert!(start.elapsed() < LONG);
        busy.cancel();
        assert!(busy.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn ten_thousand_tasklets() {
    run(|| {
        let handles: Vec<_> = (0..10_000_u64)
            .map(|n| {
                let handle = Builder::new().stack_size(16 << 10).spawn(move || {
                    sleep(Duration::from_millis(n % 7));
                    n
                });
                handle.unwrap()
            })
            .collect();
        assert_eq!(handles.into_iter().map(|handle| handle.join().unwrap()).sum::<u64>(), 49_995_000);
    });
}

#[test]
fn the_listing_tells_names_and_waits() {
    run(|| {
        let sleeper = Builder::new().name("sleeper").spawn(|| sleep(LONG)).unwrap();
        let receiver = Builder::new().name("receiver").spawn(|| channel::<()>().receive()).unwrap();
        spawn(yield_now);
        yield_now();
        let listed: Vec<_> = overlapped::tasklets().into_iter().map(|status| (status.name, status.waits_for)).collect();
        assert_eq!(listed[0], (None, "running"));
        assert_eq!(listed[1], (Some("sleeper".into()), "sleep"));
        assert_eq!(listed[2], (Some("receiver".into()), "channel receive"));
        assert_eq!(listed[3], (None, "ready"));
        sleeper.cancel();
        receiver.cancel();
    });
}

#[test]
fn another_thread_starts_joins_and_cancels_tasklets_here() {
    run(|| {
        let here = overlapped::handle();
        let done = overlapped::Event::new();
        let theirs = done.clone();
        let thread = std::thread::spawn(move || {
            let sum: u32 = (0..100).map(|n| here.spawn(move || n).join().unwrap()).sum();
            let endless = here.spawn(|| sleep(LONG));
            endless.cancel();
            assert!(endless.join().unwrap_err().is_cancelled());
            let panics = here.spawn(|| panic!("here"));
            assert!(panics.join().unwrap_err().is_panic());
            theirs.set();
            sum
        });
        done.wait();
        assert_eq!(thread.join().unwrap(), 4950);
    });
}

/// The joiner waited without end: the call lay in the dead scheduler's list, which the joiner itself kept alive.
#[test]
fn a_tasklet_for_a_thread_whose_run_has_ended_counts_as_cancelled() {
    let _watch = support::Watch::new();
    let handle = run(overlapped::handle);
    let late = handle.spawn(|| "never");
    assert!(late.join().unwrap_err().is_cancelled());
}

#[test]
fn threads_run_side_by_side() {
    let threads: Vec<_> = (0..4)
        .map(|n: usize| {
            std::thread::spawn(move || {
                run(|| {
                    let handles: Vec<_> = (0..100).map(|m| spawn(move || n * m)).collect();
                    handles.into_iter().map(|handle| handle.join().unwrap()).sum::<usize>()
                })
            })
        })
        .collect();
    let sums: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(sums, [0, 4950, 9900, 14850]);
}

#[test]
fn numbers_for_people_count_from_one_and_are_not_used_again() {
    run(|| {
        let numbers = || overlapped::tasklets().iter().map(|status| status.number).collect::<Vec<_>>();
        for n in 1..=3 {
            let handle = spawn(|| sleep(LONG));
            assert_eq!(numbers(), [0, n]);
            handle.cancel();
            assert!(handle.join().unwrap_err().is_cancelled());
        }
        assert!(overlapped::explain().contains("tasklet main: running"));
    });
}

#[test]
fn run_is_configured_in_code() {
    use overlapped::{Config, offload};
    let _watch = support::Watch::new();
    let config = Config::new().threads(1).capacity(8).stack_size(1 << 20).cleanup(Duration::from_millis(50));
    config.run(|| {
        // More than a stack of the usual size holds.
        let deep =
            spawn(|| std::hint::black_box([1_u8; 400 << 10]).iter().map(|&byte| usize::from(byte)).sum::<usize>());
        assert_eq!(deep.join().unwrap(), 400 << 10);
        let inside = std::sync::Arc::new(std::sync::Mutex::new(()));
        let handles: Vec<_> = (0..20)
            .map(|_| {
                let inside = inside.clone();
                spawn(move || offload(move || inside.try_lock().is_ok()).unwrap())
            })
            .collect();
        assert!(handles.into_iter().all(|handle| handle.join().unwrap()), "one thread, one function at a time");
    });
}

#[test]
fn a_tasklet_that_is_ready_can_be_taken_out_of_the_queue() {
    run(|| {
        let log = Log::new();
        let handles: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let log = log.clone();
                spawn(move || {
                    for _ in 0..2 {
                        let id = overlapped::engine::current().unwrap().current_tasklet();
                        log.add(format!("{name}{}", id.number()));
                        yield_now();
                    }
                })
            })
            .into();
        yield_now();
        assert_eq!(log.take(), ["a1", "b2", "c3"]);
        let scheduler = overlapped::engine::current().unwrap();
        let ids = scheduler.ids();
        assert!(scheduler.unready(ids[1]) && !scheduler.unready(ids[1]));
        yield_now();
        assert_eq!(log.take(), ["a1", "c3"]);
        scheduler.wake(ids[1]);
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        assert_eq!(log.take(), ["b2"]);
    });
}

#[test]
fn a_paused_tasklet_remembers_who_wakes_it_and_runs_when_it_is_resumed() {
    run(|| {
        let log = Log::new();
        let inside = log.clone();
        let handle = spawn(move || {
            yield_now();
            inside.add("resumed");
        });
        yield_now();
        let scheduler = overlapped::engine::current().unwrap();
        let id = scheduler.ids()[0];
        assert!(scheduler.pause(id) && !scheduler.pause(id) && scheduler.is_paused(id));
        scheduler.wake(id);
        assert!(!scheduler.is_ready(id) && scheduler.ready_count() == 0);
        yield_now();
        assert_eq!(log.take(), [] as [&str; 0]);
        assert!(scheduler.resume(id) && !scheduler.resume(id) && scheduler.is_ready(id));
        handle.join().unwrap();
        assert_eq!(log.take(), ["resumed"]);
    });
}

#[test]
fn a_paused_tasklet_that_is_cancelled_leaves() {
    run(|| {
        let handle = spawn(|| {
            yield_now();
            unreachable!("it is told to leave where it was paused");
        });
        yield_now();
        let scheduler = overlapped::engine::current().unwrap();
        assert!(scheduler.pause(scheduler.ids()[0]));
        handle.cancel();
        assert!(handle.join().unwrap_err().is_cancelled());
    });
}

#[test]
fn to_go_to_a_tasklet_turns_the_ring_to_it() {
    run(|| {
        let log = Log::new();
        let handles: Vec<_> = ["a", "b", "c"]
            .map(|name| {
                let log = log.clone();
                spawn(move || log.add(name))
            })
            .into();
        let scheduler = overlapped::engine::current().unwrap();
        let ids = scheduler.ids();
        assert_eq!(scheduler.neighbours(ids[0]), Some((scheduler.current_tasklet(), ids[1])));
        assert_eq!(scheduler.neighbours(scheduler.current_tasklet()), Some((ids[2], ids[0])));
        scheduler.go_to(ids[1], false).unwrap();
        assert_eq!(log.take(), ["b", "c"], "who was before it comes after the one that went");
        yield_now();
        assert_eq!(log.take(), ["a"]);
        handles.into_iter().for_each(|handle| handle.join().unwrap());
    });
}

#[test]
fn who_pauses_itself_goes_on_when_it_is_resumed() {
    run(|| {
        let log = Log::new();
        let inside = log.clone();
        let handle = spawn(move || {
            overlapped::engine::current().unwrap().pause_current().unwrap();
            inside.add("resumed");
        });
        yield_now();
        let scheduler = overlapped::engine::current().unwrap();
        assert_eq!(overlapped::tasklets()[1].waits_for, "its turn");
        assert!(scheduler.resume(scheduler.ids()[0]));
        handle.join().unwrap();
        assert_eq!(log.take(), ["resumed"]);
    });
}
