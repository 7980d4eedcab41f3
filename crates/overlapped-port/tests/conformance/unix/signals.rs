//! Signals: a handler runs, and no operation notices.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use overlapped_port::sys::{raw_file, raw_socket};
use overlapped_port::{Config, Op, Submitted};

use super::system::{count_signal, raises, signal, this_thread};
use crate::driver::{Driver, bytes_at};
use crate::loopback::pair;
use crate::patience::patience;

crate::on_every_backend!(
    a_signal_ends_a_poll_or_does_not_but_is_no_error,
    signals_disturb_no_operation,
    a_poll_returns_between_the_parts_of_a_long_send,
    a_send_to_nobody_raises_no_signal,
    a_write_to_a_socket_that_nobody_reads_raises_no_signal,
);

static SIGNALS: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Sends signals to the calling thread while `action` runs.
fn while_signals_come(action: impl FnOnce()) {
    count_signal(libc::SIGUSR1, count);
    let over = Arc::new(AtomicBool::new(false));
    let thread = this_thread();
    let sender = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                signal(thread, libc::SIGUSR1);
                std::thread::sleep(Duration::from_micros(300));
            }
        })
    };
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(action));
    // The thread that the signals go to lives until they end.
    over.store(true, Ordering::Relaxed);
    sender.join().unwrap();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

fn a_signal_ends_a_poll_or_does_not_but_is_no_error(config: Config) {
    let mut port = config.start().unwrap();
    let before = SIGNALS.load(Ordering::Relaxed);
    while_signals_come(|| {
        let mut completions = Vec::new();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(100) {
            assert_eq!(port.poll(Some(Duration::from_millis(20)), &mut completions).unwrap(), 0);
        }
        port.set_timer(Instant::now() + Duration::from_millis(30), 1);
        while completions.is_empty() {
            port.poll(None, &mut completions).unwrap();
        }
        assert!(start.elapsed() < patience());
    });
    assert!(SIGNALS.load(Ordering::Relaxed) > before, "no signal came");
}

fn signals_disturb_no_operation(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let (reader, writer) = std::io::pipe().unwrap();
    let file = tempfile::tempfile().unwrap();
    while_signals_come(|| {
        for round in 0..100_usize {
            let recv = driver.begin_recv(raw_socket(&server), 64, 0);
            let read = driver.begin_read(raw_file(&reader), 64, None);
            let receives = driver.begin(Op::RecvMultishot { socket: raw_socket(&client) });
            driver.turn(Duration::from_micros(500));
            assert_eq!(driver.write(raw_file(&file), &bytes_at(1, round, 100), Some(0)).unwrap(), 100);
            assert_eq!(driver.read(raw_file(&file), 64, Some(36)).unwrap(), bytes_at(1, round + 36, 64));
            driver.send(raw_socket(&client), &bytes_at(2, round, 50)).unwrap();
            assert_eq!(driver.received(recv).unwrap(), bytes_at(2, round, 50));
            (&writer).write_all(&bytes_at(3, round, 20)).unwrap();
            assert_eq!(driver.received(read).unwrap(), bytes_at(3, round, 20));
            driver.cancel_waiting(receives);
        }
    });
}

/// A signal that comes with a part ends no sleep: its handler has run when the next one begins, and only a return lets
/// the caller look what it has left.
fn a_poll_returns_between_the_parts_of_a_long_send(config: Config) {
    let mut port = config.start().unwrap();
    let (mut client, server) = pair();
    let data = vec![7; 64 << 20];
    let op = Op::Send { socket: raw_socket(&server), buffer: &data, flags: 0, all: true };
    // SAFETY: `data` and `server` outlive the loop, which ends with the operation's completion.
    let submitted = unsafe { port.submit(op, 1) };
    assert!(matches!(submitted, Submitted::Pending(_)), "64 MiB do not fit into a socket: {submitted:?}");
    let polls = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&polls);
    let reader = std::thread::spawn(move || {
        // More than a socket holds, so that something is sent meanwhile, and less than it must have room for.
        let mut received = vec![0; 8 << 20];
        for piece in 0..8 {
            let before = seen.load(Ordering::Relaxed);
            client.read_exact(&mut received).unwrap();
            // The last of it may be in the socket already.
            let deadline = Instant::now() + patience();
            while piece < 6 && seen.load(Ordering::Relaxed) == before {
                assert!(Instant::now() < deadline, "the caller did not get the thread while piece {piece} was sent");
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    });
    let mut completions = Vec::new();
    while completions.is_empty() {
        port.poll(None, &mut completions).unwrap();
        polls.fetch_add(1, Ordering::Relaxed);
    }
    reader.join().unwrap();
}

fn a_send_to_nobody_raises_no_signal(config: Config) {
    let mut driver = Driver::new(config);
    let raised = raises(libc::SIGPIPE, || {
        let (_client, server) = pair();
        driver.run(Op::Shutdown { socket: raw_socket(&server), how: std::net::Shutdown::Write }).unwrap();
        driver.send(raw_socket(&server), b"x").unwrap_err();
        let send = driver.begin_send(raw_socket(&server), b"x".to_vec(), false);
        driver.counted(send).unwrap_err();
        driver.send_message(raw_socket(&server), &[b"x"], None, &[]).unwrap_err();
        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        let send = driver.begin_send(raw_socket(&left), vec![0; 8 << 20], true);
        driver.assert_waits(send);
        drop(right);
        let _ = driver.counted(send);
        driver.send(raw_socket(&left), b"x").unwrap_err();
    });
    assert!(!raised, "SIGPIPE would end a program that does not ignore it");
}

/// write(2) has no flag against it: on a socket it is a send.
fn a_write_to_a_socket_that_nobody_reads_raises_no_signal(config: Config) {
    let mut driver = Driver::new(config);
    let raised = raises(libc::SIGPIPE, || {
        let (left, right) = std::os::unix::net::UnixStream::pair().unwrap();
        let file = raw_file(&left);
        assert_eq!(driver.write(file, b"one", None).unwrap(), 3);
        assert_eq!(driver.write(file, b"two", Some(0)).unwrap(), 3);
        assert_eq!(driver.write_vectored(file, &[b"th", b"ree"], None).unwrap(), 5);
        let mut all = [0; 11];
        (&right).read_exact(&mut all).unwrap();
        assert_eq!(&all, b"onetwothree");
        drop(right);
        for offset in [None, Some(0)] {
            assert_eq!(driver.write(file, b"x", offset).unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
            let vectored = driver.write_vectored(file, &[b"x", b"y"], offset);
            assert_eq!(vectored.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
        }
    });
    assert!(!raised, "SIGPIPE would end a program that does not ignore it");
}
