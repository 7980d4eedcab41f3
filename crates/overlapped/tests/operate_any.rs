//! Waiting for several operations at once, as `select` does.
#![cfg(unix)]

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use overlapped::engine;
use overlapped_port::{Interest, Op, Outcome};

fn poll_all(
    streams: &[&UnixStream],
    interest: Interest,
    deadline: Option<Instant>,
) -> io::Result<Vec<(usize, io::Result<Outcome>)>> {
    let scheduler = engine::current()?;
    let ops = streams.iter().map(|stream| Op::Poll { socket: stream.as_raw_fd(), interest });
    // SAFETY: the streams are borrowed meanwhile.
    let ended = unsafe { scheduler.operate_any(ops, deadline) };
    assert_eq!(scheduler.in_flight(), 0, "all others were awaited");
    ended
}

fn places(ended: &[(usize, io::Result<Outcome>)]) -> Vec<usize> {
    let mut places: Vec<usize> = ended.iter().map(|(place, _)| *place).collect();
    places.sort_unstable();
    places
}

#[test]
fn the_first_that_ends_is_told_and_the_others_are_cancelled() {
    overlapped::run(|| {
        let (mut a, b) = UnixStream::pair().unwrap();
        let (_c, d) = UnixStream::pair().unwrap();
        let writer = overlapped::spawn(move || {
            overlapped::sleep(Duration::from_millis(5));
            a.write_all(b"!").unwrap();
            a
        });
        let ended = poll_all(&[&d, &b, &d], Interest::READABLE, None).unwrap();
        assert_eq!(places(&ended), [1]);
        assert!(matches!(ended[0].1, Ok(Outcome::Count(bits)) if bits & 1 == 1));
        drop(writer.join().unwrap());
        let mut byte = [0];
        (&b).read_exact(&mut byte).unwrap();
    });
}

#[test]
fn several_that_are_ready_at_once_are_all_told() {
    overlapped::run(|| {
        let (a, b) = UnixStream::pair().unwrap();
        let ended = poll_all(&[&a, &b], Interest::WRITABLE, None).unwrap();
        assert!(!ended.is_empty());
        assert!(ended.iter().all(|(_, result)| result.is_ok()));
    });
}

#[test]
fn the_deadline_ends_it() {
    overlapped::run(|| {
        let (_a, b) = UnixStream::pair().unwrap();
        let (_c, d) = UnixStream::pair().unwrap();
        let start = Instant::now();
        let error = poll_all(&[&b, &d], Interest::READABLE, Some(start + Duration::from_millis(20))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(start.elapsed() >= Duration::from_millis(20));
    });
}

#[test]
fn a_cancelled_tasklet_awaits_all_of_them_before_it_leaves() {
    overlapped::run(|| {
        let waiting = overlapped::spawn(|| {
            let (_a, b) = UnixStream::pair().unwrap();
            let (_c, d) = UnixStream::pair().unwrap();
            poll_all(&[&b, &d], Interest::READABLE, None).unwrap_err()
        });
        overlapped::yield_now();
        waiting.cancel();
        assert!(overlapped::is_cancelled(&waiting.join().unwrap()));
        assert_eq!(engine::current().unwrap().in_flight(), 0);
    });
}

#[test]
fn the_failure_of_one_is_its_own_result() {
    overlapped::run(|| {
        let (_a, b) = UnixStream::pair().unwrap();
        let closed = UnixStream::pair().unwrap().0.as_raw_fd();
        let scheduler = engine::current().unwrap();
        let ops = [b.as_raw_fd(), closed].map(|socket| Op::Poll { socket, interest: Interest::READABLE });
        // SAFETY: one is borrowed, the other is closed, which is the point, and no other test opens descriptors meanwhile.
        let ended = unsafe { scheduler.operate_any(ops, None) }.unwrap();
        assert_eq!(places(&ended), [1]);
        assert_eq!(ended[0].1.as_ref().unwrap_err().raw_os_error(), Some(libc::EBADF));
    });
}

/// The first was in flight already when the iterator panicked, and its buffer was freed.
#[test]
fn nothing_is_in_flight_where_the_callers_iterator_panics() {
    overlapped::run(|| {
        let (_a, b) = UnixStream::pair().unwrap();
        let scheduler = engine::current().unwrap();
        let mut first = Some(Op::Poll { socket: b.as_raw_fd(), interest: Interest::READABLE });
        let ops = std::iter::from_fn(|| Some(first.take().expect("the iterator's own panic")));
        // SAFETY: the stream is borrowed meanwhile.
        let run = std::panic::AssertUnwindSafe(|| unsafe { scheduler.operate_any(ops, None) });
        assert!(std::panic::catch_unwind(run).is_err());
        assert_eq!(scheduler.in_flight(), 0);
    });
}
