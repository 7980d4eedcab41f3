//! Functions on the port's threads: what they bring, and what waits for what.

use std::io::ErrorKind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::time::Duration;

use overlapped_port::sys::{raw_file, raw_socket};
use overlapped_port::{Config, Lane, Op, OpenMode};

use crate::driver::{Driver, count};
use crate::loopback::pair;
use crate::patience::patience;
use crate::system;

crate::on_every_backend!(
    a_call_brings_its_result,
    a_call_that_panics_is_an_error,
    a_panic_whose_payload_panics_too_leaves_the_thread_alive,
    more_calls_than_threads_all_run,
    calls_run_beside_operations,
    long_functions_hold_back_nothing_that_is_short,
    short_calls_that_turn_out_to_wait_hold_back_no_others,
    functions_that_wait_for_each_other_without_end_all_run,
    a_function_that_is_taken_back_is_dropped_outside_of_every_lock,
    many_functions_that_wait_in_line_are_taken_back,
);

fn a_call_brings_its_result(config: Config) {
    let mut driver = Driver::new(config);
    let call = driver.begin_call(|| Ok(42));
    assert_eq!(driver.counted(call).unwrap(), 42);
    let call = driver.begin_call(|| Err(ErrorKind::AddrInUse.into()));
    assert_eq!(driver.counted(call).unwrap_err().kind(), ErrorKind::AddrInUse);
}

fn a_call_that_panics_is_an_error(config: Config) {
    let mut driver = Driver::new(config.threads(1));
    let call = driver.begin_call(|| std::panic::resume_unwind(Box::new("a panic that prints nothing")));
    let error = driver.counted(call).unwrap_err();
    assert!(error.to_string().contains("panicked"), "{error}");
    let call = driver.begin_call(|| Ok(1));
    assert_eq!(driver.counted(call).unwrap(), 1, "the thread serves on");
}

fn more_calls_than_threads_all_run(config: Config) {
    let mut driver = Driver::new(config.threads(2));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let calls: Vec<_> = (0..50)
        .map(|number| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            driver.begin_call(move || {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(1));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(number)
            })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(driver.counted(call).unwrap(), number);
    }
    let most = most.load(Ordering::SeqCst);
    assert!(most <= 2, "{most} calls ran at once on two threads");
}

fn calls_run_beside_operations(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let call = driver.begin_call(move || {
        let _ = released.recv();
        Ok(7)
    });
    for round in 0..20_u8 {
        driver.send(raw_socket(&client), &[round]).unwrap();
        assert_eq!(driver.recv(raw_socket(&server), 8).unwrap(), [round]);
    }
    assert!(!driver.has_ended(call));
    drop(release);
    assert_eq!(driver.counted(call).unwrap(), 7);
}

fn a_panic_whose_payload_panics_too_leaves_the_thread_alive(config: Config) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            std::panic::resume_unwind(Box::new("another panic that prints nothing"));
        }
    }
    let mut driver = Driver::new(config.threads(1));
    let call = driver.begin_call(|| std::panic::resume_unwind(Box::new(Bomb)));
    assert!(driver.counted(call).unwrap_err().to_string().contains("panicked"));
    let call = driver.begin_call(|| Ok(1));
    assert_eq!(driver.counted(call).unwrap(), 1);
}

/// Functions that wait until the sender is dropped.
fn blocked(driver: &mut Driver, lane: Lane, how_many: usize) -> (mpsc::Sender<()>, Vec<crate::driver::Flight>) {
    let (release, released) = mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let calls = (0..how_many).map(|number| {
        let released = Arc::clone(&released);
        driver.begin_call_in(lane, move || {
            let _ = released.lock().unwrap().recv();
            Ok(number)
        })
    });
    let calls = calls.collect();
    (release, calls)
}

/// Checks that what the port does on its threads goes on.
fn works(driver: &mut Driver) {
    let folder = tempfile::tempdir().unwrap();
    let mode = OpenMode { read: true, write: true, create: true, ..OpenMode::default() };
    let file = driver.open(&folder.path().join("file"), mode).unwrap();
    assert_eq!(driver.write(raw_file(&file), b"content", Some(0)).unwrap(), 7);
    assert_eq!(count(driver.run(Op::Sync { file: raw_file(&file), data_only: false }).unwrap()), 0);
    assert_eq!(driver.read(raw_file(&file), 64, Some(0)).unwrap(), b"content");
    assert_eq!(count(driver.run(Op::CloseFile { file: system::give_up(file) }).unwrap()), 0);
    let call = driver.begin_call_in(Lane::Short, || Ok(7));
    assert_eq!(driver.counted(call).unwrap(), 7);
}

fn long_functions_hold_back_nothing_that_is_short(config: Config) {
    let mut driver = Driver::new(config.threads(2));
    let (release, calls) = blocked(&mut driver, Lane::Long, 5);
    works(&mut driver);
    assert!(calls.iter().all(|call| !driver.has_ended(*call)));
    drop(release);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(driver.counted(call).unwrap(), number);
    }
}

/// As a name look-up or stat(2) whose server is dead.
fn short_calls_that_turn_out_to_wait_hold_back_no_others(config: Config) {
    let mut driver = Driver::new(config.threads(2));
    let (release, calls) = blocked(&mut driver, Lane::Short, 20);
    works(&mut driver);
    let (client, server) = pair();
    driver.send(raw_socket(&client), b"on").unwrap();
    assert_eq!(driver.recv(raw_socket(&server), 8).unwrap(), b"on");
    drop(release);
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(driver.counted(call).unwrap(), number);
    }
}

fn functions_that_wait_for_each_other_without_end_all_run(config: Config) {
    let mut driver = Driver::new(config.threads(1));
    let all = Arc::new(Barrier::new(30));
    let calls: Vec<_> = (0..30)
        .map(|number| {
            let all = Arc::clone(&all);
            driver.begin_call_in(Lane::Endless, move || {
                all.wait();
                Ok(number)
            })
        })
        .collect();
    for (number, call) in calls.into_iter().enumerate() {
        assert_eq!(driver.counted(call).unwrap(), number);
    }
}

fn a_function_that_is_taken_back_is_dropped_outside_of_every_lock(config: Config) {
    /// Dropped, it waits for what the pool does meanwhile.
    struct Waits(mpsc::Sender<()>, mpsc::Receiver<()>, mpsc::Sender<bool>);
    impl Drop for Waits {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            let went_on = self.1.recv_timeout(patience()).is_ok();
            self.2.send(went_on).unwrap();
        }
    }
    let mut driver = Driver::new(config.threads(1));
    let (begun, has_begun) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let first = driver.begin_call(move || {
        begun.send(()).unwrap();
        released.recv().unwrap();
        Ok(1)
    });
    has_begun.recv().unwrap();
    let (ran, runs) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let waits = Waits(release, runs, tell);
    let taken_back = driver.begin_call(move || {
        drop(waits);
        Ok(2)
    });
    let next = driver.begin_call(move || {
        ran.send(()).unwrap();
        Ok(3)
    });
    driver.cancel_waiting(taken_back);
    assert!(told.recv().unwrap(), "no thread got at its next function while one was dropped");
    assert_eq!(driver.counted(first).unwrap(), 1);
    assert_eq!(driver.counted(next).unwrap(), 3);
}

fn many_functions_that_wait_in_line_are_taken_back(config: Config) {
    let mut driver = Driver::new(config.threads(1));
    let (release, first) = blocked(&mut driver, Lane::Long, 1);
    let calls: Vec<_> = (0..20_000).map(|_| driver.begin_call(|| panic!("it is run"))).collect();
    // In the order in which a search from the front would take longest.
    calls.iter().rev().for_each(|call| driver.cancel(*call));
    calls.into_iter().for_each(|call| driver.cancel_waiting(call));
    drop(release);
    assert_eq!(driver.counted(first[0]).unwrap(), 0);
    let call = driver.begin_call(|| Ok(1));
    assert_eq!(driver.counted(call).unwrap(), 1);
}
