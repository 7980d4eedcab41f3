//! fork(2) inside of `run`: what is in flight is the parent's.
#![cfg(unix)]

mod support;

use std::io::{Read, Write};
use std::time::Duration;

use overlapped::net::UnixStream;
use overlapped::{sleep, spawn};

use support::run;

/// Forks; the child has 20 seconds for what it does.
fn fork() -> Option<libc::pid_t> {
    // SAFETY: the child is a copy of this thread alone. The tests of this file run one after the other, in processes that have
    // no other thread which could hold a lock that the child needs.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => {
            // SAFETY: a limit on the copy's own life.
            unsafe { libc::alarm(20) };
            None
        }
        id => Some(id),
    }
}

/// The status with which a child has ended.
fn status(id: libc::pid_t) -> i32 {
    let mut status = 0;
    // SAFETY: the child is this process's own, and nobody else waits for it.
    while unsafe { libc::waitpid(id, &raw mut status, 0) } == -1 {}
    if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
}

#[test]
fn a_child_that_returns_from_run_or_sleeps_in_it_leaves_its_parents_read_alone() {
    for returns in [true, false] {
        let mut is_child = false;
        run(|| {
            let (mut left, mut right) = UnixStream::pair().unwrap();
            let reader = spawn(move || {
                let mut buffer = [0; 5];
                right.read_exact(&mut buffer).map(|()| buffer)
            });
            sleep(Duration::from_millis(2));
            let Some(child) = fork() else {
                is_child = true;
                if !returns {
                    sleep(Duration::from_millis(2));
                }
                return;
            };
            assert_eq!(status(child), 7);
            sleep(Duration::from_millis(2));
            assert!(!reader.is_finished());
            left.write_all(b"still").unwrap();
            assert_eq!(&reader.join().unwrap().unwrap(), b"still");
        });
        if is_child {
            // SAFETY: the copy ends without running what is the parent's to run.
            unsafe { libc::_exit(7) };
        }
    }
}
