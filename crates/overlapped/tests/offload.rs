//! Blocking functions on the pool's threads.

mod support;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use overlapped::{Event, Lane, offload, offload_in, sleep, spawn, spawn_blocking, timeout, yield_now};
use support::{LONG, run};

const MOMENT: Duration = Duration::from_millis(20);

#[test]
fn outside_of_run_it_is_refused() {
    assert!(offload(|| 1).unwrap_err().to_string().contains("overlapped::run"));
}

#[test]
fn it_runs_elsewhere_while_others_run_here() {
    run(|| {
        let here = std::thread::current().id();
        let (pairs, ticks) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
        let handles: Vec<_> = (0..8)
            .map(|n| {
                let (pairs, ticks) = (pairs.clone(), ticks.clone());
                spawn(move || {
                    offload(move || {
                        // They would not meet one after the other, and nothing would tick where this held up the rest.
                        pairs.wait();
                        while ticks.load(Ordering::Relaxed) < 10 {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        (n, std::thread::current().id())
                    })
                    .unwrap()
                })
            })
            .collect();
        while !handles.iter().all(|handle| handle.is_finished()) {
            sleep(Duration::from_millis(1));
            ticks.fetch_add(1, Ordering::Relaxed);
        }
        for (expected, handle) in handles.into_iter().enumerate() {
            let (n, thread) = handle.join().unwrap();
            assert!(n == expected && thread != here);
        }
    });
}

#[test]
fn more_functions_than_threads_wait_in_line() {
    run(|| {
        let handles: Vec<_> = (0..500_u64).map(|n| spawn(move || offload(move || n).unwrap())).collect();
        assert_eq!(handles.into_iter().map(|handle| handle.join().unwrap()).sum::<u64>(), 124_750);
    });
}

#[test]
fn a_panic_comes_to_the_caller() {
    run(|| {
        let handle = spawn(|| offload(|| -> u8 { panic!("on the pool") }));
        let payload = handle.join().unwrap_err().into_panic().unwrap();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"on the pool"));
        assert_eq!(offload(|| 1).unwrap(), 1, "the thread goes on");
    });
}

/// Counts how often it is dropped.
#[derive(Debug)]
struct CountsDrop(Arc<AtomicUsize>);

impl Drop for CountsDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn whoever_leaves_does_not_wait_and_the_result_is_dropped() {
    run(|| {
        let (begun, go, ended) = (Event::new(), Event::new(), Event::new());
        let dropped = Arc::new(AtomicUsize::new(0));
        let (theirs, result) = ((begun.clone(), go.clone(), ended.clone()), CountsDrop(dropped.clone()));
        let caller = spawn(move || {
            offload(move || {
                let (begun, go, ended) = theirs;
                begun.set();
                go.wait();
                ended.set();
                result
            })
        });
        begun.wait();
        caller.cancel();
        assert!(overlapped::is_cancelled(&caller.join().unwrap().unwrap_err()));
        assert!(!ended.is_set() && dropped.load(Ordering::SeqCst) == 0, "the function still runs");
        go.set();
        ended.wait();
        while !overlapped::report().unwrap().in_flight.is_empty() {
            sleep(Duration::from_millis(1));
        }
        assert_eq!(dropped.load(Ordering::SeqCst), 1);

        let (go, gate) = std::sync::mpsc::channel::<()>();
        assert!(timeout(MOMENT, || offload(move || gate.recv())).is_err());
        drop(go);
        assert_eq!(offload(|| 2).unwrap(), 2);
    });
}

#[test]
fn what_no_thread_has_begun_never_runs() {
    run(|| {
        let go = Event::new();
        // As many as there are threads, and some that wait in line.
        let busy: Vec<_> = (0..64)
            .map(|_| {
                let go = go.clone();
                spawn(move || offload(move || go.wait()).unwrap())
            })
            .collect();
        yield_now();
        let ran = Arc::new(AtomicBool::new(false));
        let theirs = ran.clone();
        let late = spawn(move || offload(move || theirs.store(true, Ordering::SeqCst)));
        yield_now();
        late.cancel();
        assert!(overlapped::is_cancelled(&late.join().unwrap().unwrap_err()));
        go.set();
        busy.into_iter().for_each(|handle| handle.join().unwrap());
        assert!(!ran.load(Ordering::SeqCst));
        assert_eq!(Arc::strong_count(&ran), 1, "the function was dropped");
    });
}

#[test]
fn spawned_it_runs_elsewhere_while_its_starter_goes_on() {
    run(|| {
        let here = std::thread::current().id();
        let (go, gate) = std::sync::mpsc::channel::<()>();
        let blocking = spawn_blocking(move || {
            gate.recv().unwrap();
            std::thread::current().id()
        });
        yield_now();
        assert!(!blocking.is_finished());
        go.send(()).unwrap();
        assert_ne!(blocking.join().unwrap(), here);
        let payload = spawn_blocking(|| -> u8 { panic!("on the pool") }).join().unwrap_err().into_panic().unwrap();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"on the pool"));
    });
}

#[test]
fn spawned_and_cancelled_it_is_left_to_end_and_before_it_has_begun_it_never_runs() {
    run(|| {
        let (begun, go, ended) = (Event::new(), Event::new(), Event::new());
        let theirs = (begun.clone(), go.clone(), ended.clone());
        let left = spawn_blocking(move || {
            let (begun, go, ended) = theirs;
            begun.set();
            go.wait();
            ended.set();
        });
        begun.wait();
        left.cancel();
        assert!(left.join().unwrap_err().is_cancelled() && !ended.is_set());
        go.set();
        ended.wait();

        let ran = Arc::new(AtomicBool::new(false));
        let theirs = ran.clone();
        let never = spawn_blocking(move || theirs.store(true, Ordering::SeqCst));
        never.cancel();
        assert!(never.join().unwrap_err().is_cancelled() && !ran.load(Ordering::SeqCst));
    });
}

/// Dropped, it waits, as what flushes or says good-bye does.
struct WaitsInDrop(Arc<AtomicBool>);

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        sleep(Duration::from_millis(1));
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn what_a_function_that_never_ran_has_captured_may_wait_when_it_is_dropped() {
    run(|| {
        let go = Event::new();
        let busy: Vec<_> = (0..64)
            .map(|_| {
                let go = go.clone();
                spawn(move || offload(move || go.wait()).unwrap())
            })
            .collect();
        yield_now();
        let dropped = Arc::new(AtomicBool::new(false));
        let captured = WaitsInDrop(dropped.clone());
        let late = timeout(MOMENT, || offload(move || drop(captured)));
        assert!(late.is_err());
        assert!(dropped.load(Ordering::SeqCst), "it was dropped here, and not in the port");
        go.set();
        busy.into_iter().for_each(|handle| handle.join().unwrap());
    });
}

#[test]
fn long_functions_hold_back_no_file_and_no_name() {
    run(|| {
        let go = Event::new();
        let busy: Vec<_> = (0..64)
            .map(|_| {
                let go = go.clone();
                spawn(move || offload(move || go.wait()).unwrap())
            })
            .collect();
        yield_now();
        let folder = tempfile::tempdir().unwrap();
        overlapped::fs::write(folder.path().join("file"), b"content").unwrap();
        assert_eq!(overlapped::fs::metadata(folder.path().join("file")).unwrap().len(), 7);
        assert!(overlapped::net::lookup_host("localhost:1").is_ok());
        assert!(busy.iter().all(|handle| !handle.is_finished()));
        go.set();
        busy.into_iter().for_each(|handle| handle.join().unwrap());
    });
}

#[test]
fn functions_that_wait_for_each_other_run_in_the_endless_lane() {
    run(|| {
        let all = Arc::new(std::sync::Barrier::new(40));
        let handles: Vec<_> = (0..40)
            .map(|_| {
                let all = all.clone();
                spawn(move || offload_in(Lane::Endless, move || _ = all.wait()).unwrap())
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
    });
}

#[test]
fn run_ends_after_the_functions_that_were_left() {
    let ended = Arc::new(AtomicBool::new(false));
    let theirs = ended.clone();
    let start = Instant::now();
    run(|| {
        let begun = Event::new();
        let begins = begun.clone();
        spawn(move || {
            offload(move || {
                begins.set();
                std::thread::sleep(Duration::from_millis(100));
                theirs.store(true, Ordering::SeqCst);
            })
        });
        begun.wait();
    });
    assert!(ended.load(Ordering::SeqCst) && start.elapsed() < LONG);
}
