//! Connecting to one of several addresses, by tasklets and by the reactor.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::{attempted, spawn};
use support::alone;

/// One test at a time: they count descriptors, which are the process's.
fn run(main: impl FnOnce()) {
    let _alone = alone();
    support::run(main);
}

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// An address where nobody listens.
fn refusing() -> SocketAddr {
    listener().1
}

#[test]
fn the_first_address_that_takes_the_connection_has_it_alone() {
    run(|| {
        let ((first, one), (second, other)) = (listener(), listener());
        let stream = TcpStream::connect([one, other]).unwrap();
        assert_eq!(stream.peer_addr().unwrap(), one);
        assert_eq!(first.accept().unwrap().1, stream.local_addr().unwrap());
        second.set_accept_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
        assert_eq!(second.accept().unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn an_address_that_refuses_makes_room_for_the_next() {
    run(|| {
        let (listener, good) = listener();
        let accepting = spawn(move || listener.accept().unwrap().0.write_all(b"hello"));
        let mut stream = TcpStream::connect([refusing(), refusing(), good]).unwrap();
        let mut greeting = String::new();
        stream.read_to_string(&mut greeting).unwrap();
        assert_eq!(greeting, "hello");
        accepting.join().unwrap().unwrap();
    });
}

#[test]
fn where_all_addresses_fail_each_is_told_with_its_error() {
    run(|| {
        let (one, other) = (refusing(), refusing());
        let error = TcpStream::connect([one, other]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(error.raw_os_error().is_some());
        assert_eq!(attempted(&error), format!("connect to {one} ({error}), to {other}: {error}"));
        let error = TcpStream::connect(&[][..]).unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains("no address")), (ErrorKind::InvalidInput, true));
    });
}

/// What needs an address that does not answer: on Linux, a listener that has no room for another connection.
#[cfg(target_os = "linux")]
mod silent {
    use std::cell::RefCell;
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    use overlapped::net::TcpSocket;
    use overlapped::reactor::{self, Protocol, Transport};
    use overlapped::{Event, timeout, yield_now};

    use super::support::{LONG, open_descriptors, wait_for};
    use super::*;

    /// After so long without an answer the next address is tried.
    const DELAY: Duration = Duration::from_millis(250);

    /// A listener that does not answer, and the connection that fills it.
    struct Silent {
        address: SocketAddr,
        _listener: TcpListener,
        _first: TcpStream,
    }

    fn silent() -> Silent {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        Silent { address, _listener: listener, _first: TcpStream::connect(address).unwrap() }
    }

    #[test]
    fn an_address_that_does_not_answer_is_passed_over_and_its_attempt_closed() {
        run(|| {
            let (silent, (_listener, good)) = (silent(), listener());
            let (before, start) = (open_descriptors(), Instant::now());
            let stream = TcpStream::connect([silent.address, good]).unwrap();
            assert!(start.elapsed() >= DELAY, "the first address has its time");
            assert_eq!(stream.peer_addr().unwrap(), good);
            assert_eq!(open_descriptors(), before + 1, "the attempt that lost is closed");
        });
    }

    #[test]
    fn a_refusal_does_not_wait_for_the_delay_and_the_silent_one_goes_on() {
        run(|| {
            let (silent, (_listener, good)) = (silent(), listener());
            let start = Instant::now();
            let stream = TcpStream::connect([silent.address, refusing(), good]).unwrap();
            // One delay, after the first address; the refusal of the second adds none.
            assert!(start.elapsed() >= DELAY);
            assert_eq!(stream.peer_addr().unwrap(), good);
            // Where there is nobody else left, the silent one is waited for: it may still answer.
            let waits = spawn(move || timeout(DELAY * 4, || TcpStream::connect([silent.address, refusing()])).is_err());
            assert!(waits.join().unwrap());
        });
    }

    #[test]
    fn whoever_is_told_to_leave_leaves_no_attempt_behind() {
        run(|| {
            let (one, other) = (silent(), silent());
            let addresses = [one.address, other.address];
            let before = open_descriptors();
            for limit in [Duration::from_millis(20), DELAY * 2] {
                let error = timeout(limit, || {
                    let error = TcpStream::connect(addresses).unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::TimedOut);
                    assert!(
                        error.to_string().starts_with(&format!("connect to {}, to {}: ", addresses[0], addresses[1]))
                    );
                });
                assert!(error.is_err());
                assert_eq!(open_descriptors(), before);
            }
            let connecting = spawn(move || TcpStream::connect(addresses).unwrap_err());
            yield_now();
            connecting.cancel();
            let error = connecting.join().unwrap();
            assert!(overlapped::is_cancelled(&error), "{error}");
            assert_eq!(open_descriptors(), before);
        });
    }

    /// Tells how a connection has come out.
    struct Tells(Rc<RefCell<Option<Result<(), ErrorKind>>>>, Event);

    impl Protocol for Tells {
        fn connection_made(&mut self, transport: &Transport) {
            transport.close();
        }

        fn data_received(&mut self, _: &Transport, _: &[u8]) {}

        fn connection_lost(&mut self, reason: std::io::Result<()>) {
            self.0.replace(Some(reason.map_err(|error| error.kind())));
            self.1.set();
        }
    }

    #[test]
    fn the_reactor_drops_a_connection_that_is_aborted_while_it_is_made() {
        run(|| {
            let silent = silent();
            let before = open_descriptors();
            let (told, ended) = (Rc::default(), Event::new());
            let transport = reactor::connect(silent.address, Tells(Rc::clone(&told), ended.clone())).unwrap();
            yield_now();
            transport.abort();
            assert!(timeout(LONG, || ended.wait()).is_ok());
            assert!(matches!(*told.borrow(), Some(Err(_))));
            wait_for("the attempt is closed", || open_descriptors() == before);
        });
    }
}
