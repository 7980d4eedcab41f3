//! One run on several threads: what is given away, joined, cancelled and ended between them.

mod support;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::{
    Builder, Config, Event, JoinHandle, Queue, handles, is_cancelled, report, sleep, spawn, spawn_anywhere, yield_now,
};
use support::{LONG, Watch, wait_for};

fn run_on<T>(schedulers: usize, main: impl FnOnce() -> T) -> T {
    let _watch = Watch::new();
    Config::new().schedulers(schedulers).run(main)
}

fn here() -> ThreadId {
    std::thread::current().id()
}

/// The threads of the run.
fn threads() -> Vec<ThreadId> {
    handles().iter().map(|handle| handle.spawn(here).join().unwrap()).collect()
}

/// Counts how often it is dropped.
struct CountsDrop(Arc<AtomicUsize>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn each_thread_has_a_scheduler_of_its_own_and_main_runs_on_the_first() {
    for count in [1, 2, 4] {
        run_on(count, || {
            let threads = threads();
            assert_eq!((threads.len(), threads[0]), (count, here()));
            let different: std::collections::HashSet<_> = threads.iter().collect();
            assert_eq!(different.len(), count);
            for (handle, thread) in handles().iter().zip(&threads) {
                // A tasklet of another thread starts its own there, and knows the same threads.
                let inner = handle.spawn(|| (spawn(here).join().unwrap(), handles().len()));
                assert_eq!(inner.join().unwrap(), (*thread, count));
            }
        });
    }
}

#[test]
fn there_are_as_many_threads_as_processors_for_the_process() {
    let _watch = Watch::new();
    let processors = std::thread::available_parallelism().unwrap().get();
    Config::new().all_processors().run(|| assert_eq!(handles().len(), processors));
    Config::new().schedulers(0).run(|| assert_eq!(handles().len(), 1));
}

#[test]
fn what_is_given_anywhere_goes_where_the_least_is_to_do() {
    for count in [1, 2, 4] {
        run_on(count, || {
            let (go, begun) = (Event::new(), Queue::new());
            let given: Vec<JoinHandle<()>> = (0..10 * count)
                .map(|_| {
                    let (go, begun) = (go.clone(), begun.clone());
                    spawn_anywhere(move || {
                        begun.try_put(here()).unwrap();
                        go.wait();
                    })
                })
                .collect();
            assert!(handles().iter().all(|handle| handle.load() == 10), "it is true before they have begun");
            let mut each = HashMap::new();
            (0..10 * count).for_each(|_| *each.entry(begun.get().unwrap()).or_insert(0) += 1);
            assert!(each.len() == count && each.values().all(|tasklets| *tasklets == 10), "{each:?}");
            // What ends makes room.
            let last = &handles()[count - 1];
            let more: Vec<_> = (0..3).map(|_| last.spawn(|| sleep(LONG))).collect();
            assert_eq!(last.load(), 13);
            more.iter().for_each(JoinHandle::cancel);
            more.into_iter().for_each(|tasklet| assert!(tasklet.join().unwrap_err().is_cancelled()));
            wait_for("the three are gone", || last.load() == 10);
            go.set();
            given.into_iter().for_each(|tasklet| tasklet.join().unwrap());
        });
    }
}

#[test]
fn who_has_begun_stays_on_its_thread() {
    run_on(2, || {
        let tasklets: Vec<_> = (0..20)
            .map(|_| {
                spawn_anywhere(|| {
                    let at_first = here();
                    for _ in 0..20 {
                        spawn_anywhere(yield_now).join().unwrap();
                        sleep(Duration::from_micros(100));
                        assert_eq!(here(), at_first);
                    }
                })
            })
            .collect();
        tasklets.into_iter().for_each(|tasklet| tasklet.join().unwrap());
    });
}

#[test]
fn a_builder_names_what_it_gives_away_and_chooses_its_thread() {
    run_on(2, || {
        let other = &handles()[1];
        let begun = Event::new();
        let tell = begun.clone();
        let named = Builder::new().name("far away").stack_size(8 << 20).spawn_on(other, move || {
            // More than the usual stack has.
            let large = std::hint::black_box([1_u8; 600 << 10]);
            tell.set();
            sleep(LONG);
            large[7]
        });
        begun.wait();
        wait_for("it sleeps", || other.tasklets().iter().any(|status| status.waits_for == "sleep"));
        assert!(other.tasklets().iter().any(|status| status.name.as_deref() == Some("far away")));
        named.cancel();
        assert!(named.join().unwrap_err().is_cancelled());
        assert_eq!(Builder::new().spawn_anywhere(|| 7).unwrap().join().unwrap(), 7);
    });
}

#[test]
fn who_joins_across_threads_is_told_of_results_panics_and_cancels() {
    run_on(2, || {
        let other = &handles()[1];
        assert_eq!(other.spawn(|| "a result".to_owned()).join().unwrap(), "a result");

        let panicked = other.spawn(|| -> u8 { panic!("over there") }).join().unwrap_err();
        assert_eq!(panicked.into_panic().unwrap().downcast_ref::<&str>(), Some(&"over there"));

        // Cancelled in a wait.
        let begun = Event::new();
        let tell = begun.clone();
        let sleeper = other.spawn(move || {
            tell.set();
            sleep(LONG);
        });
        begun.wait();
        assert!(sleeper.join_timeout(Duration::from_millis(1)).is_err_and(|sleeper| {
            sleeper.cancel();
            sleeper.join().unwrap_err().is_cancelled()
        }));

        // Cancelled before it came there: it never begins.
        let (ran, gate) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (theirs, holds) = (ran.clone(), gate.clone());
        let busy = other.spawn(move || {
            while !holds.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
        let late = other.spawn(move || theirs.store(true, Ordering::SeqCst));
        late.cancel();
        gate.store(true, Ordering::SeqCst);
        assert!(late.join().unwrap_err().is_cancelled() && !ran.load(Ordering::SeqCst));
        busy.join().unwrap();

        // The joiner itself is told to leave, and the other goes on.
        let go = Event::new();
        let waits = go.clone();
        let goes_on = other.spawn(move || waits.wait());
        let joiner = spawn(move || goes_on.join());
        yield_now();
        joiner.cancel();
        assert!(joiner.join().unwrap().unwrap_err().is_interrupted());
        go.set();
    });
}

#[test]
fn a_cancel_from_another_thread_ends_an_operation_in_flight() {
    run_on(2, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().unwrap();
        let stream = Arc::new(stream);
        let reads = Arc::clone(&stream);
        let other = &handles()[1];
        let reader = other.spawn(move || (&*reads).read(&mut [0; 64]).map(drop));
        wait_for("it waits", || other.tasklets().iter().any(|status| status.waits_for == "recv"));
        reader.cancel();
        assert!(is_cancelled(&reader.join().unwrap().unwrap_err()));
        // Nothing was taken, and the stream is of use on this thread.
        client.write_all(b"hello").unwrap();
        let mut hello = [0; 5];
        (&*stream).read_exact(&mut hello).unwrap();
        assert_eq!(&hello, b"hello");
    });
}

#[test]
fn what_panics_on_another_thread_and_is_joined_by_nobody_ends_itself_alone() {
    run_on(2, || {
        let other = &handles()[1];
        let thread = other.spawn(here).join().unwrap();
        let dropped = Arc::new(AtomicUsize::new(0));
        let counts = CountsDrop(dropped.clone());
        drop(other.spawn(move || {
            let _counts = counts;
            panic!("nobody joins this one");
        }));
        wait_for("it has ended", || dropped.load(Ordering::SeqCst) == 1);
        assert_eq!(other.spawn(here).join().unwrap(), thread);
    });
}

#[test]
fn connections_are_spread_over_the_threads() {
    for count in [2, 4] {
        run_on(count, || {
            let (served, go) = (Arc::new(Mutex::new(HashMap::<ThreadId, usize>::new())), Event::new());
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            let server = {
                let (served, go) = (served.clone(), go.clone());
                spawn(move || {
                    listener.serve(move |mut stream, peer| {
                        assert_eq!(stream.peer_addr().unwrap(), peer);
                        let mut request = [0; 4];
                        stream.read_exact(&mut request).unwrap();
                        stream.write_all(&request).unwrap();
                        *served.lock().unwrap().entry(here()).or_default() += 1;
                        go.wait();
                    })
                })
            };
            // The system takes them into its queue: they are no tasklets.
            let mut clients: Vec<_> = (0..10 * count).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
            clients.iter_mut().for_each(|client| client.write_all(b"ping").unwrap());
            wait_for("all are served", || served.lock().unwrap().values().sum::<usize>() == 10 * count);
            // The one that accepts is a tasklet, too.
            let each: Vec<usize> = served.lock().unwrap().values().copied().collect();
            assert!(each.len() == count && each.iter().all(|served| (9..=11).contains(served)), "{each:?}");
            for client in &mut clients {
                let mut answer = [0; 4];
                client.read_exact(&mut answer).unwrap();
                assert_eq!(&answer, b"ping");
            }
            server.cancel();
            assert!(is_cancelled(&server.join().unwrap().unwrap_err()));
            go.set();
        });
    }
}

#[test]
fn serving_ends_where_nobody_comes_in_time() {
    run_on(2, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_accept_timeout(Some(Duration::from_millis(5))).unwrap();
        let error = listener.serve(|_, _| unreachable!("nobody comes")).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    });
}

#[test]
fn a_handler_that_panics_costs_its_connection() {
    run_on(2, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(move || {
            listener.serve(|mut stream, _| {
                let mut request = [0];
                stream.read_exact(&mut request).unwrap();
                assert_ne!(&request, b"x", "this one is to fail");
                stream.write_all(&request)
            })
        });
        for (request, answer) in [(b"x", ""), (b"y", "y"), (b"x", ""), (b"z", "z")] {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(request).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(std::io::read_to_string(client).unwrap(), answer);
        }
        server.cancel();
    });
}

#[test]
fn what_is_given_to_a_thread_that_is_awake_wakes_it_not() {
    run_on(2, || {
        let other = &handles()[1];
        let wakes = || other.spawn(|| report().unwrap().counters.wakes).join().unwrap();
        let before = wakes();
        let (begun, stop) = (Event::new(), Arc::new(AtomicBool::new(false)));
        let (tell, stops) = (begun.clone(), stop.clone());
        let busy = other.spawn(move || {
            tell.set();
            while !stops.load(Ordering::SeqCst) {
                std::thread::yield_now();
            }
        });
        begun.wait();
        let given: Vec<_> = (0..1000).map(|n| other.spawn(move || n)).collect();
        stop.store(true, Ordering::SeqCst);
        assert_eq!(given.into_iter().map(|tasklet| tasklet.join().unwrap()).sum::<u32>(), 499_500);
        busy.join().unwrap();
        // The first of those that ask, the busy one, and the last of those that ask.
        assert!(wakes() - before <= 3, "{} wakes", wakes() - before);
    });
}

/// Does what a destructor may: waits, also for others of its thread.
struct CleansUp(Arc<AtomicUsize>);

impl Drop for CleansUp {
    fn drop(&mut self) {
        sleep(Duration::from_millis(1));
        let told = Event::new();
        let tell = told.clone();
        overlapped::handle().call_soon(move || tell.set());
        told.wait();
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn the_end_of_run_cancels_the_tasklets_of_all_threads_and_waits_for_their_cleanup() {
    for count in [2, 4] {
        let cleaned = Arc::new(AtomicUsize::new(0));
        let given = run_on(count, || {
            let begun = Queue::new();
            let given: Vec<_> = (0..10 * count)
                .map(|_| {
                    let (begun, cleaned) = (begun.clone(), cleaned.clone());
                    spawn_anywhere(move || {
                        let _cleans_up = CleansUp(cleaned);
                        begun.try_put(()).unwrap();
                        sleep(LONG);
                    })
                })
                .collect();
            (0..10 * count).for_each(|_| begun.get().unwrap());
            given
        });
        assert_eq!(cleaned.load(Ordering::SeqCst), 10 * count);
        // Their handles outlive the run.
        given.into_iter().for_each(|tasklet| assert!(tasklet.join().unwrap_err().is_cancelled()));
    }
}

#[test]
fn what_is_given_to_a_run_that_has_ended_is_dropped_and_its_joiner_told() {
    let handles = run_on(2, handles);
    let dropped = Arc::new(AtomicUsize::new(0));
    for handle in handles {
        let counts = CountsDrop(dropped.clone());
        assert!(handle.spawn(move || drop(counts)).join().unwrap_err().is_cancelled());
        assert_eq!(handle.load(), 0);
    }
    assert_eq!(dropped.load(Ordering::SeqCst), 2);
}

#[test]
fn tasklets_that_do_not_end_are_left_on_their_thread_after_the_cleanup_limit() {
    struct Stuck;
    impl Drop for Stuck {
        fn drop(&mut self) {
            loop {
                // It ignores that it is told.
                let _ = Event::new().wait_timeout(LONG);
            }
        }
    }
    let _watch = Watch::new();
    let config = Config::new().schedulers(2).cleanup(Duration::from_millis(1));
    let stuck = config.run(|| {
        let begun = Event::new();
        let tell = begun.clone();
        let stuck = handles()[1].spawn(move || {
            let _stuck = Stuck;
            tell.set();
            sleep(LONG);
        });
        begun.wait();
        stuck
    });
    assert!(stuck.join_timeout(Duration::ZERO).is_err(), "it has not ended, and the run has");
}

#[test]
fn a_panic_of_main_goes_on_when_all_threads_have_ended() {
    let cleaned = Arc::new(AtomicUsize::new(0));
    let theirs = cleaned.clone();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        run_on(2, || {
            let begun = Event::new();
            let tell = begun.clone();
            drop(handles()[1].spawn(move || {
                let _cleans_up = CleansUp(theirs);
                tell.set();
                sleep(LONG);
            }));
            begun.wait();
            panic!("main gives up");
        })
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref::<&str>(), Some(&"main gives up"));
    assert_eq!(cleaned.load(Ordering::SeqCst), 1);
}

#[test]
fn what_cannot_be_had_is_an_error_before_main_begins() {
    let elsewhere = if cfg!(windows) { overlapped::Backend::Poll } else { overlapped::Backend::Iocp };
    for count in [1, 2] {
        let config = Config::new().schedulers(count).backend(elsewhere);
        assert!(config.try_run(|| unreachable!("there is no port")).is_err());
    }
    run_on(2, || {
        let nested = Config::new().schedulers(2).try_run(|| unreachable!("it is not nested"));
        assert!(nested.unwrap_err().to_string().contains("not nested"));
    });
}

#[test]
fn the_backend_that_is_set_in_code_serves_on_all_threads() {
    let plainest = if cfg!(windows) { overlapped::Backend::Iocp } else { overlapped::Backend::Poll };
    let _watch = Watch::new();
    Config::new().schedulers(2).backend(plainest).run(|| {
        for handle in handles() {
            assert_eq!(handle.spawn(|| report().unwrap().backend).join().unwrap(), plainest.name());
        }
    });
}

#[test]
fn the_warning_is_set_in_code_on_all_threads() {
    let _watch = Watch::new();
    Config::new().schedulers(2).watch(Some(LONG)).run(|| {
        for handle in handles() {
            assert!(handle.spawn(|| overlapped::engine::current().unwrap().is_watched()).join().unwrap());
        }
    });
}

#[test]
fn a_stack_that_overflows_on_another_thread_is_told_of_by_name() {
    let _watch = Watch::new();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "child_overflows", "--ignored", "--nocapture"]);
    let output = child.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("tasklet 'deep' has overflowed its stack"), "{said}");
}

#[test]
#[ignore = "run by a_stack_that_overflows_on_another_thread_is_told_of_by_name, as a process of its own"]
#[allow(unconditional_recursion, reason = "that is the fault")]
fn child_overflows() {
    fn recurse(depth: u64) -> u64 {
        std::hint::black_box(recurse(depth + 1)) + depth
    }
    run_on(2, || Builder::new().name("deep").spawn_on(&handles()[1], || recurse(0)).join().unwrap());
}
