//! Signals as things to wait for. A process of its own: each is all the program's.

#![cfg(unix)]

use std::io::ErrorKind;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use overlapped::signal::{HANGUP, INTERRUPT, Signals, TERMINATE};
use overlapped::{is_cancelled, run, sleep, spawn, timeout, yield_now};

/// One test at a time: signals are all the process's.
fn alone() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn raise(signal: i32) {
    // SAFETY: takes no pointers.
    assert_eq!(unsafe { libc::kill(libc::getpid(), signal) }, 0);
}

#[test]
fn the_names_are_the_systems_numbers() {
    assert_eq!([INTERRUPT, TERMINATE, HANGUP], [libc::SIGINT, libc::SIGTERM, libc::SIGHUP]);
}

#[test]
fn only_the_one_that_waits_for_a_signal_waits() {
    let _alone = alone();
    run(|| {
        let mut signals = Signals::new([libc::SIGUSR1]).unwrap();
        let waiter = spawn(move || (signals.wait().unwrap(), signals));
        sleep(Duration::from_millis(1));
        assert!(!waiter.is_finished());
        raise(libc::SIGUSR1);
        let (told, mut signals) = waiter.join().unwrap();
        assert_eq!((told, signals.try_wait()), (libc::SIGUSR1, None));
    });
}

#[test]
fn each_that_waits_is_told_and_a_signal_that_came_before_is_not_lost() {
    let _alone = alone();
    run(|| {
        let mut first = Signals::new([libc::SIGUSR1, libc::SIGUSR2]).unwrap();
        let mut second = Signals::new([libc::SIGUSR2]).unwrap();
        raise(libc::SIGUSR2);
        assert_eq!(second.wait().unwrap(), libc::SIGUSR2);
        assert_eq!(first.wait().unwrap(), libc::SIGUSR2);
        raise(libc::SIGUSR1);
        raise(libc::SIGUSR2);
        let mut both = [first.wait().unwrap(), first.wait().unwrap()];
        both.sort_unstable();
        assert_eq!(both, [libc::SIGUSR1, libc::SIGUSR2]);
    });
}

#[test]
fn a_wait_for_a_signal_can_be_left() {
    let _alone = alone();
    run(|| {
        let mut signals = Signals::new([libc::SIGUSR1]).unwrap();
        assert!(timeout(Duration::from_millis(5), || signals.wait()).is_err());
        let waiter = spawn(move || signals.wait().map_err(|error| is_cancelled(&error)));
        yield_now();
        waiter.cancel();
        assert_eq!(waiter.join().unwrap(), Err(true));
    });
}

#[test]
fn a_signal_that_no_program_can_take_is_refused() {
    let _alone = alone();
    for number in [libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV] {
        let error = Signals::new([number]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("cannot be waited for"), "{error}");
    }
    assert_eq!(Signals::new([12345]).unwrap_err().kind(), ErrorKind::InvalidInput);
}
