//! Operations that call back with the buffers that they own.
#![cfg(unix)]

mod support;

use std::cell::{Cell, RefCell};
use std::io::Write;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

use overlapped::engine::{self, Started};
use overlapped::{Event, yield_now};
use overlapped_port::{Op, Outcome};
use support::run;

type Room = Box<[MaybeUninit<u8>]>;

fn room() -> Room {
    Box::new_uninit_slice(64)
}

/// Starts a receive; its callback says how many bytes there are, or the error's number.
fn receive(socket: RawFd, told: impl FnOnce(Result<usize, i32>) + 'static) -> Started {
    let callback = move |_: &engine::Scheduler, _: Room, result: std::io::Result<Outcome>| {
        told(result.map_err(|error| error.raw_os_error().unwrap()).map(|outcome| match outcome {
            Outcome::Count(count) => count,
            _ => unreachable!("a receive brings a number"),
        }));
    };
    // SAFETY: the tests keep their sockets until they are told.
    unsafe { engine::current().unwrap().start(room(), |buffer| Op::Recv { socket, buffer, flags: 0 }, callback) }
}

#[test]
fn it_is_called_between_two_tasklets_with_the_buffer_and_the_result() {
    run(|| {
        let (a, mut b) = UnixStream::pair().unwrap();
        let (told, done) = (Rc::new(Cell::new(None)), Event::new());
        for waits in [true, false] {
            if !waits {
                b.write_all(b"there").unwrap();
            }
            let (tell, set) = (told.clone(), done.clone());
            receive(a.as_raw_fd(), move |result| {
                tell.set(Some(result));
                set.set();
            });
            assert_eq!(told.get(), None, "never from within the call that starts it");
            if waits {
                yield_now();
                assert_eq!(told.get(), None);
                b.write_all(b"there").unwrap();
            }
            done.wait();
            done.clear();
            assert_eq!(told.take(), Some(Ok(5)));
        }
        assert_eq!(engine::current().unwrap().flights(), 0);
    });
}

#[test]
fn a_callback_may_start_the_next_operation() {
    run(|| {
        let (a, mut b) = UnixStream::pair().unwrap();
        let (socket, sum, done) = (a.as_raw_fd(), Rc::new(Cell::new(0)), Event::new());
        fn again(socket: RawFd, sum: Rc<Cell<usize>>, done: Event) {
            receive(socket, move |result| match result {
                Ok(1..) => {
                    sum.set(sum.get() + result.unwrap());
                    again(socket, sum, done);
                }
                _ => done.set(),
            });
        }
        again(socket, sum.clone(), done.clone());
        for _ in 0..100 {
            b.write_all(b"some").unwrap();
            yield_now();
        }
        drop(b);
        done.wait();
        assert_eq!(sum.get(), 400);
    });
}

#[test]
fn what_a_callback_begins_and_ends_at_once_is_told_on_the_same_turn_and_what_that_begins_on_the_next() {
    fn again(socket: RawFd, turns: Rc<RefCell<Vec<u64>>>, done: Event) {
        let scheduler = engine::current().unwrap();
        let callback = move |_: &engine::Scheduler, _: &'static [u8; 1], result: std::io::Result<Outcome>| {
            assert!(matches!(result, Ok(Outcome::Count(1))));
            turns.borrow_mut().push(overlapped::report().unwrap().counters.polls);
            if turns.borrow().len() == 5 { done.set() } else { again(socket, turns, done) }
        };
        // SAFETY: the test keeps its socket until it is told.
        unsafe { scheduler.start(b"!", |bytes| Op::Send { socket, buffer: *bytes, flags: 0, all: true }, callback) };
        assert!(!scheduler.is_deadlocked(), "its callback is due");
    }
    run(|| {
        let (a, _b) = UnixStream::pair().unwrap();
        let (turns, done) = (Rc::default(), Event::new());
        again(a.as_raw_fd(), Rc::clone(&turns), done.clone());
        done.wait();
        let first = turns.borrow()[0];
        let turns: Vec<u64> = turns.borrow().iter().map(|turn| turn - first).collect();
        // Every second one is done at once: on the one backend the first is, on io_uring it is the first after a wait.
        assert_eq!(turns, [0, 0, 1, 1, 2]);
    });
}

#[test]
fn results_are_told_in_the_order_asked_for_also_where_the_first_was_there_at_once() {
    run(|| {
        let (a, mut b) = UnixStream::pair().unwrap();
        let (told, done) = (Rc::new(RefCell::new(Vec::new())), Event::new());
        for n in 0..2 {
            let (tell, set) = (told.clone(), done.clone());
            let callback = move |_: &engine::Scheduler, _: Room, result: std::io::Result<Outcome>| {
                assert!(matches!(result, Ok(Outcome::Count(1))));
                tell.borrow_mut().push(n);
                if n == 1 {
                    set.set();
                }
            };
            let (socket, room) = (a.as_raw_fd(), Box::new_uninit_slice(1));
            if n == 0 {
                b.write_all(b"1").unwrap();
            }
            // SAFETY: the socket is open until all are told.
            unsafe { engine::current().unwrap().start(room, |buffer| Op::Recv { socket, buffer, flags: 0 }, callback) };
        }
        b.write_all(b"2").unwrap();
        done.wait();
        assert_eq!(told.take(), [0, 1]);
    });
}

#[test]
fn a_cancel_is_a_result_too() {
    run(|| {
        let (a, _b) = UnixStream::pair().unwrap();
        let (told, done) = (Rc::new(Cell::new(None)), Event::new());
        let (tell, set) = (told.clone(), done.clone());
        let started = receive(a.as_raw_fd(), move |result| {
            tell.set(Some(result));
            set.set();
        });
        engine::current().unwrap().cancel(started);
        done.wait();
        assert_eq!(told.take(), Some(Err(libc::ECANCELED)));
        // It has ended, and is left alone.
        engine::current().unwrap().cancel(started);
    });
}

#[test]
fn run_ends_when_all_have_called_back() {
    let (a, _b) = UnixStream::pair().unwrap();
    let told = Rc::new(RefCell::new(Vec::new()));
    run(|| {
        for n in 0..10 {
            let tell = told.clone();
            receive(a.as_raw_fd(), move |result| tell.borrow_mut().push((n, result)));
        }
    });
    let mut told = told.take();
    told.sort_unstable();
    assert_eq!(told, (0..10).map(|n| (n, Err(libc::ECANCELED))).collect::<Vec<_>>());
}

#[test]
fn one_of_many_results_calls_back_with_each() {
    use std::net::{TcpListener, TcpStream};
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (sockets, came, ended) = (Rc::new(RefCell::new(Vec::new())), overlapped::Semaphore::new(0), Event::new());
        let (kept, count, set) = (sockets.clone(), came.clone(), ended.clone());
        let accepted = move |_: &engine::Scheduler, result: std::io::Result<Outcome>, more: bool| {
            if let Ok(Outcome::Socket(socket)) = result {
                kept.borrow_mut().push(socket);
                count.release();
            }
            if !more {
                set.set();
            }
        };
        let scheduler = engine::current().unwrap();
        // SAFETY: the listener is open until it has ended.
        let started =
            unsafe { scheduler.start_multishot(Op::AcceptMultishot { listener: listener.as_raw_fd() }, accepted) };
        let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(address).unwrap()).collect();
        for _ in &clients {
            assert_eq!(came.acquire_until(None), Ok(true));
        }
        scheduler.cancel(started);
        ended.wait();
        assert_eq!((sockets.borrow().len(), scheduler.flights()), (5, 0));
    });
}
