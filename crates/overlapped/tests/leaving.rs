//! Leaving a wait early: what was in flight is over, what was open is closed.

mod support;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use overlapped::net::{TcpListener, TcpStream, UdpSocket};
use overlapped::{JoinHandle, sleep, spawn};
use support::{LONG, alone, open_descriptors, run, stream_pair, wait_for};

/// Starts tasklets that wait, cancels them, and looks whether all that they had is closed and over.
fn cancel_all_of(name: &str, start: impl Fn() -> JoinHandle<()>) {
    run(|| {
        // What is made once (the pool's threads, the backend's tables) is made before the count.
        let first = start();
        sleep(Duration::from_millis(5));
        first.cancel();
        let _ = first.join();
        let in_flight = || overlapped::report().unwrap().in_flight.len();
        // Those that it had started have something open until they end, which is after their operations are over.
        wait_for(&format!("{name}: all is over"), || in_flight() == 0 && overlapped::tasklets().len() == 1);
        let before = open_descriptors();
        for round in 0..3 {
            let handles: Vec<_> = (0..20).map(|_| start()).collect();
            sleep(Duration::from_millis(5));
            assert!(open_descriptors() >= before, "{name}");
            for handle in handles {
                assert!(!handle.is_finished(), "{name}: it was to wait");
                handle.cancel();
                // It returns, or its next wait unwinds.
                assert!(handle.join().map_or_else(|error| error.is_cancelled(), |()| true), "{name}");
            }
            // Those that they had started end after them.
            wait_for(&format!("{name}, round {round}: as before"), || (open_descriptors(), in_flight()) == (before, 0));
        }
    });
}

#[test]
fn cancelled_reads() {
    let _alone = alone();
    cancel_all_of("read of a stream", || {
        spawn(|| {
            let (mut one, _other) = stream_pair();
            let _ = one.read(&mut [0; 100]);
        })
    });
    cancel_all_of("receive of a datagram", || {
        spawn(|| {
            let _ = UdpSocket::bind("127.0.0.1:0").unwrap().recv_from(&mut [0; 100]);
        })
    });
    cancel_all_of("read of a pipe", || {
        spawn(|| {
            let (mut reader, _writer) = support::pipe();
            let _ = reader.read(&mut [0; 100]);
        })
    });
}

#[test]
fn cancelled_writes() {
    let _alone = alone();
    for all in [true, false] {
        cancel_all_of("write to a stream that nobody reads", move || {
            spawn(move || {
                let (mut one, _other) = stream_pair();
                let bytes = vec![0; 1 << 20];
                // Whoever ignores errors is unwound some time.
                loop {
                    let _ = if all { one.write_all(&bytes) } else { one.write(&bytes).map(drop) };
                }
            })
        });
    }
}

#[test]
fn cancelled_accepts_and_vectored_reads() {
    let _alone = alone();
    cancel_all_of("accept", || {
        spawn(|| {
            let _ = TcpListener::bind("127.0.0.1:0").unwrap().accept();
        })
    });
    cancel_all_of("vectored read beside a write", || {
        spawn(|| {
            let (one, _other) = stream_pair();
            let one = std::rc::Rc::new(one);
            let theirs = one.clone();
            let writer = spawn(move || {
                let _ = (&*theirs).write_all(&vec![0; 4 << 20]);
            });
            struct CancelOnDrop(JoinHandle<()>);
            impl Drop for CancelOnDrop {
                fn drop(&mut self) {
                    self.0.cancel();
                }
            }
            let _writer = CancelOnDrop(writer);
            let _ = (&*one).read_vectored(&mut [std::io::IoSliceMut::new(&mut [0; 100])]);
        })
    });
}

#[test]
fn handles_are_closed_when_run_ends_with_tasklets_waiting() {
    let _alone = alone();
    let before = open_descriptors();
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                spawn(move || {
                    let _ = stream.read(&mut [0; 100]);
                });
            }
        });
        for _ in 0..50 {
            spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                let _ = stream.read(&mut [0; 100]);
            });
        }
        let start = Instant::now();
        // 50 connections with two ends each, and a listener.
        while open_descriptors() < before + 101 {
            assert!(start.elapsed() < LONG);
            sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(open_descriptors(), before);
}

#[test]
fn handles_are_closed_when_run_ends_at_once() {
    let _alone = alone();
    let before = open_descriptors();
    for _ in 0..20 {
        run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            // Connections that are there when the accept is cancelled are accepted or refused, not lost.
            spawn(move || {
                // Told to leave, it does. (Not `unwrap`: a panic's trace may open files and keep them.)
                while let Ok((stream, _)) = listener.accept() {
                    spawn(move || {
                        sleep(LONG);
                        drop(stream);
                    });
                }
            });
            for _ in 0..10 {
                spawn(move || TcpStream::connect(address).map(|_| sleep(LONG)));
            }
            overlapped::yield_now();
        });
    }
    assert_eq!(open_descriptors(), before);
}

#[test]
fn a_stream_that_is_dropped_by_a_panic_is_closed() {
    let _alone = alone();
    run(|| {
        let (mut here, there) = stream_pair();
        let before = open_descriptors();
        let panics = spawn(move || {
            let _there = there;
            // Not `panic!`: its trace may open files and keep them.
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        assert_eq!(here.read(&mut [0; 1]).unwrap(), 0, "the peer sees the end");
        assert!(panics.join().unwrap_err().is_panic());
        assert_eq!(open_descriptors(), before - 1);
    });
}

/// Bytes that a read was given in the moment of its cancel are returned to it, or are there for the next one.
#[test]
fn a_cancel_that_races_with_its_bytes_loses_none() {
    let _alone = alone();
    run(|| {
        for round in 0..200 {
            let (one, mut other) = stream_pair();
            let one = std::rc::Rc::new(one);
            let got = std::rc::Rc::new(std::cell::Cell::new(0));
            let (reads, count) = (one.clone(), got.clone());
            let reader = spawn(move || {
                loop {
                    match (&*reads).read(&mut [0; 3]) {
                        Ok(length) => count.set(count.get() + length),
                        Err(error) => return overlapped::is_cancelled(&error),
                    }
                }
            });
            overlapped::yield_now();
            other.write_all(b"ten bytes!").unwrap();
            if round % 2 == 0 {
                overlapped::yield_now();
            }
            reader.cancel();
            assert!(reader.join().unwrap_or_else(|error| error.is_cancelled()));
            drop(other);
            let mut rest = Vec::new();
            (&*one).read_to_end(&mut rest).unwrap();
            assert_eq!(got.get() + rest.len(), 10, "round {round}");
        }
    });
}
