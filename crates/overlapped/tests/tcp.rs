//! TCP streams and listeners.

mod support;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use overlapped::net::{TcpListener, TcpStream};
use overlapped::{attempted, sleep, spawn, timeout, yield_now};
use support::{LONG, pattern, run};

const MOMENT: Duration = Duration::from_millis(20);

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Two ends of one connection.
fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listener();
    let connecting = spawn(move || TcpStream::connect(address).unwrap());
    let (accepted, peer) = listener.accept().unwrap();
    let connected = connecting.join().unwrap();
    assert_eq!(peer, connected.local_addr().unwrap());
    assert_eq!(connected.peer_addr().unwrap(), accepted.local_addr().unwrap());
    (connected, accepted)
}

#[test]
fn outside_of_run_a_wait_is_refused_and_says_what_to_do() {
    let (listener, address) = listener();
    for error in [listener.accept().unwrap_err(), TcpStream::connect(address).unwrap_err()] {
        assert!(error.to_string().contains("overlapped::run"), "{error}");
    }
}

#[test]
fn five_hundred_connections_at_once() {
    run(|| {
        let (listener, address) = listener();
        spawn(move || {
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                spawn(move || std::io::copy(&mut &stream, &mut &stream).unwrap());
            }
        });
        let clients: Vec<_> = (0..500)
            .map(|n| {
                spawn(move || {
                    let mut stream = TcpStream::connect(address).unwrap();
                    for round in 0..4 {
                        let sent = pattern(n * 1000 + round, 100 + n);
                        stream.write_all(&sent).unwrap();
                        let mut back = vec![0; sent.len()];
                        stream.read_exact(&mut back).unwrap();
                        assert!(back == sent, "connection {n}, round {round}");
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

#[test]
fn megabytes_both_ways_at_once() {
    const LENGTH: usize = 8 << 20;
    run(|| {
        let (left, right) = pair();
        let ends: Vec<_> = [(left, 1), (right, 2)]
            .map(|(stream, seed)| {
                let stream = Rc::new(stream);
                let writes = stream.clone();
                let writer = spawn(move || {
                    (&*writes).write_all(&pattern(seed << 30, LENGTH)).unwrap();
                    writes.shutdown(Shutdown::Write).unwrap();
                });
                let reader = spawn(move || {
                    let mut got = Vec::new();
                    (&*stream).read_to_end(&mut got).unwrap();
                    assert!(got == pattern((3 - seed) << 30, LENGTH), "what {seed} read is not what was written");
                });
                [writer, reader]
            })
            .into();
        ends.into_iter().flatten().for_each(|end| end.join().unwrap());
    });
}

#[test]
fn half_closed_streams_still_carry_the_other_direction() {
    run(|| {
        let (mut left, mut right) = pair();
        left.write_all(b"the last word").unwrap();
        left.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        right.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "the last word");
        assert_eq!(left.write(b"more").unwrap_err().kind(), ErrorKind::BrokenPipe);
        right.write_all(b"an answer").unwrap();
        let mut answer = [0; 9];
        left.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"an answer");
    });
}

#[test]
fn a_shutdown_releases_a_reader() {
    run(|| {
        let (left, _right) = pair();
        let left = Rc::new(left);
        let reads = left.clone();
        let reader = spawn(move || (&*reads).read(&mut [0; 10]));
        yield_now();
        left.shutdown(Shutdown::Read).unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 0);
    });
}

#[test]
fn a_reset_is_connection_reset_never_an_end_of_file() {
    run(|| {
        for waits in [false, true] {
            let (mut left, right) = pair();
            right.set_linger(Some(Duration::ZERO)).unwrap();
            assert_eq!(right.linger().unwrap(), Some(Duration::ZERO));
            let reader = spawn(move || {
                if !waits {
                    sleep(MOMENT);
                }
                left.read(&mut [0; 10])
            });
            yield_now();
            drop(right);
            assert_eq!(reader.join().unwrap().unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn writing_to_a_peer_that_has_gone_ends_in_an_error() {
    run(|| {
        let (mut left, right) = pair();
        drop(right);
        // The first write brings the reset that the next ones find.
        let error = loop {
            if let Err(error) = left.write_all(b"anybody there?") {
                break error;
            }
            sleep(Duration::from_millis(1));
        };
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
    });
}

/// An address that is no machine's (RFC 5737).
const ELSEWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 0);

#[test]
fn nobody_listens() {
    run(|| {
        let (gone, address) = listener();
        drop(gone);
        let error = TcpStream::connect(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(error.raw_os_error(), std::net::TcpStream::connect(address).unwrap_err().raw_os_error());
        assert_eq!(attempted(&error), format!("connect to {address}: {error}"));
        // The second address is tried after the first.
        let (_listener, good) = listener();
        assert_eq!(TcpStream::connect([address, good]).unwrap().peer_addr().unwrap(), good);
        for (address, kind) in [(good, ErrorKind::AddrInUse), (ELSEWHERE, ErrorKind::AddrNotAvailable)] {
            let error = TcpListener::bind(address).unwrap_err();
            assert_eq!(error.kind(), kind);
            assert_eq!(error.raw_os_error(), std::net::TcpListener::bind(address).unwrap_err().raw_os_error());
            assert_eq!(attempted(&error), format!("listen on {address}: {error}"));
        }
    });
}

#[test]
fn a_name_is_looked_up_while_others_run() {
    run(|| {
        let (_listener, address) = listener();
        let ticks = spawn(|| {
            loop {
                yield_now();
            }
        });
        let found = overlapped::net::lookup_host(("localhost", address.port())).unwrap();
        assert!(!found.is_empty() && found.iter().all(|found| found.ip().is_loopback()));
        if found.contains(&address) {
            assert!(TcpStream::connect(("localhost", address.port())).is_ok());
        }
        assert!(!ticks.is_finished());
        let error = overlapped::net::lookup_host(("no\0name", 80)).unwrap_err();
        assert!(error.to_string().contains("look up"), "{error}");
    });
}

#[test]
fn peek_takes_nothing() {
    run(|| {
        let (left, mut right) = pair();
        right.write_all(b"hello").unwrap();
        let mut buffer = [0; 10];
        for _ in 0..2 {
            assert_eq!(left.peek(&mut buffer[..3]).unwrap(), 3);
            assert_eq!(&buffer[..3], b"hel");
        }
        assert_eq!((&left).read(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
    });
}

#[test]
fn vectored_reads_and_writes() {
    run(|| {
        let (mut left, mut right) = pair();
        let written = left.write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b""), IoSlice::new(b"three")]).unwrap();
        assert_eq!(written, 8);
        let (mut first, mut second) = ([0; 4], [0; 8]);
        let read = right.read_vectored(&mut [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)]).unwrap();
        assert_eq!((read, &first, &second[..4]), (8, b"onet", &b"hree"[..]));
        // More buffers than the system takes at once: the rest is the caller's to send again.
        let many = vec![IoSlice::new(b"x"); 3000];
        let written = left.write_vectored(&many).unwrap();
        assert!((1..3000).contains(&written), "{written}");
        let mut back = vec![0; written];
        right.read_exact(&mut back).unwrap();
        assert!(back.iter().all(|byte| *byte == b'x'));
    });
}

#[test]
fn empty_buffers_wait_for_nothing() {
    run(|| {
        let (mut left, _right) = pair();
        assert_eq!(left.read(&mut []).unwrap(), 0);
        assert_eq!(left.read_vectored(&mut [IoSliceMut::new(&mut [])]).unwrap(), 0);
        assert_eq!(left.write(&[]).unwrap(), 0);
        assert_eq!(left.write_vectored(&[]).unwrap(), 0);
        left.write_all(&[]).unwrap();
    });
}

#[test]
fn time_outs_are_timed_out_and_take_nothing() {
    run(|| {
        let (mut left, mut right) = pair();
        left.set_read_timeout(Some(MOMENT)).unwrap();
        assert_eq!(left.read_timeout().unwrap(), Some(MOMENT));
        let start = Instant::now();
        assert_eq!(left.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(left.peek(&mut [0; 10]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(left.read_vectored(&mut [IoSliceMut::new(&mut [0])]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert!(start.elapsed() >= 3 * MOMENT && start.elapsed() < LONG);
        right.write_all(b"late").unwrap();
        let mut late = [0; 4];
        left.read_exact(&mut late).unwrap();
        assert_eq!(&late, b"late");

        left.set_write_timeout(Some(MOMENT)).unwrap();
        assert_eq!(left.write_timeout().unwrap(), Some(MOMENT));
        // Nobody reads, so at some point nothing more fits.
        assert_eq!(left.write_all(&vec![0; 64 << 20]).unwrap_err().kind(), ErrorKind::TimedOut);
        // The system may still find room for a little.
        let piece = [0; 1 << 16];
        let until_full = |write: &mut dyn FnMut() -> std::io::Result<usize>| loop {
            if let Err(error) = write() {
                break error.kind();
            }
        };
        assert_eq!(until_full(&mut || left.write(&piece)), ErrorKind::TimedOut);
        assert_eq!(until_full(&mut || left.write_vectored(&[IoSlice::new(&piece)])), ErrorKind::TimedOut);

        let clone = left.try_clone().unwrap();
        assert_eq!(clone.read_timeout().unwrap(), Some(MOMENT));
        assert_eq!(left.set_read_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
        left.set_read_timeout(None).unwrap();
        assert_eq!(left.read_timeout().unwrap(), None);
        assert_eq!(clone.read_timeout().unwrap(), Some(MOMENT), "a time-out belongs to the handle");
    });
}

#[test]
fn a_slow_reader_does_not_run_into_the_write_time_out() {
    run(|| {
        const LENGTH: usize = 12 << 20;
        let (mut left, mut right) = pair();
        left.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
        let reader = spawn(move || {
            let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
            while read < LENGTH {
                sleep(Duration::from_millis(40));
                read += right.read(&mut buffer).unwrap();
            }
        });
        left.write_all(&vec![7; LENGTH]).unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn an_accept_that_timed_out_can_be_tried_again() {
    run(|| {
        let (listener, address) = listener();
        listener.set_accept_timeout(Some(MOMENT)).unwrap();
        assert_eq!(listener.accept_timeout(), Some(MOMENT));
        let error = listener.accept().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let _client = spawn(move || TcpStream::connect(address).unwrap());
        assert!(listener.accept().is_ok());
        assert_eq!(listener.set_accept_timeout(Some(Duration::ZERO)).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

/// A listener with no room for another connection does not answer, as a host that is gone.
#[cfg(target_os = "linux")]
#[test]
fn connect_timeout_to_one_that_does_not_answer() {
    use socket2::{Domain, Socket, Type};
    run(|| {
        let full = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        full.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        full.listen(0).unwrap();
        let address = full.local_addr().unwrap().as_socket().unwrap();
        let _first = TcpStream::connect(address).unwrap();
        let start = Instant::now();
        let error = TcpStream::connect_timeout(&address, MOMENT).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(start.elapsed() >= MOMENT && start.elapsed() < LONG);
        assert!(timeout(MOMENT, || TcpStream::connect(address)).is_err());
        let error = TcpStream::connect_timeout(&address, Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn a_timeout_scope_around_each_wait_leaves_the_handles_good() {
    run(|| {
        let (listener, address) = listener();
        assert!(timeout(MOMENT, || listener.accept()).is_err());
        let connecting = spawn(move || TcpStream::connect(address).unwrap());
        let (mut left, _) = listener.accept().unwrap();
        let mut right = connecting.join().unwrap();

        assert!(timeout(MOMENT, || left.read(&mut [0; 10])).is_err());
        assert!(timeout(MOMENT, || left.peek(&mut [0; 10])).is_err());
        assert!(timeout(MOMENT, || left.read_vectored(&mut [IoSliceMut::new(&mut [0; 10])])).is_err());
        right.write_all(b"still there").unwrap();
        let mut heard = [0; 11];
        left.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"still there");

        let flood = vec![1; 64 << 20];
        assert!(timeout(MOMENT, || right.write_all(&flood)).is_err());
        right.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        left.read_to_end(&mut rest).unwrap();
        assert!(rest.len() < flood.len() && rest.iter().all(|byte| *byte == 1));
    });
}

#[test]
fn one_tasklet_reads_while_another_writes() {
    run(|| {
        let (left, mut right) = pair();
        let left = Rc::new(left);
        let reads = left.clone();
        let reader = spawn(move || {
            let mut word = [0; 4];
            (&*reads).read_exact(&mut word).map(|()| word)
        });
        yield_now();
        (&*left).write_all(b"ping").unwrap();
        let mut word = [0; 4];
        right.read_exact(&mut word).unwrap();
        right.write_all(b"pong").unwrap();
        assert_eq!(&reader.join().unwrap().unwrap(), b"pong");
    });
}

#[test]
fn options() {
    run(|| {
        let (left, _right) = pair();
        for on in [true, false] {
            left.set_nodelay(on).unwrap();
            assert_eq!(left.nodelay().unwrap(), on);
        }
        left.set_ttl(33).unwrap();
        assert_eq!(left.ttl().unwrap(), 33);
        left.set_linger(Some(Duration::from_secs(3))).unwrap();
        assert_eq!(left.linger().unwrap(), Some(Duration::from_secs(3)));
        left.set_linger(None).unwrap();
        assert_eq!(left.linger().unwrap(), None);
        assert!(left.take_error().unwrap().is_none());
        let (listener, _) = listener();
        listener.set_ttl(44).unwrap();
        assert_eq!(listener.ttl().unwrap(), 44);
        assert!(listener.take_error().unwrap().is_none());
        assert_eq!(listener.try_clone().unwrap().local_addr().unwrap(), listener.local_addr().unwrap());
        assert!(format!("{left:?} {listener:?}").contains("127.0.0.1"));
    });
}

#[test]
fn to_and_from_the_standard_library() {
    run(|| {
        let theirs = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        // Its blocking mode makes no difference.
        for nonblocking in [false, true] {
            theirs.set_nonblocking(nonblocking).unwrap();
            let listener = TcpListener::from(theirs.try_clone().unwrap());
            let address = listener.local_addr().unwrap();
            let accepting = spawn(move || listener.accept().unwrap().0);
            sleep(MOMENT);
            let client = std::net::TcpStream::connect(address).unwrap();
            client.set_nonblocking(nonblocking).unwrap();
            let mut client = TcpStream::from(client);
            let mut served = accepting.join().unwrap();
            let reading = spawn(move || {
                let mut word = [0; 5];
                client.read_exact(&mut word).unwrap();
                (client, word)
            });
            sleep(MOMENT);
            served.write_all(b"hello").unwrap();
            let (client, word) = reading.join().unwrap();
            assert_eq!(&word, b"hello");
            let address = client.local_addr().unwrap();
            assert_eq!(std::net::TcpStream::from(client).local_addr().unwrap(), address);
        }
    });
}

#[test]
fn a_disconnect_waits_for_the_other_end() {
    run(|| {
        let (client, server) = pair();
        server.set_read_timeout(Some(MOMENT)).unwrap();
        assert_eq!(server.disconnect().unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!((&server).write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        server.set_read_timeout(None).unwrap();
        let reading = spawn(move || {
            let (mut client, mut word) = (client, String::new());
            client.write_all(&pattern(0, 1 << 20)).unwrap();
            client.read_to_string(&mut word).unwrap();
            assert_eq!(word, "");
        });
        server.disconnect().unwrap();
        drop(server);
        reading.join().unwrap();
        let (client, server) = pair();
        assert!(timeout(MOMENT, || client.disconnect()).is_err());
        drop(server);
        client.disconnect().unwrap();
    });
}

#[test]
fn a_stream_and_its_clone_wait_on_two_threads() {
    let echo = |stream: &TcpStream| {
        let (mut stream, mut word) = (stream, [0; 4]);
        stream.read_exact(&mut word).unwrap();
        stream.write_all(&word).unwrap();
    };
    let ask = |stream: &TcpStream, word: &[u8; 4]| {
        let (mut stream, mut answer) = (stream, [0; 4]);
        stream.write_all(word).unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, word);
    };
    run(|| {
        let (client, server) = pair();
        let clone = server.try_clone().unwrap();
        let client = Rc::new(client);
        for word in [b"here", b"more"] {
            let client = Rc::clone(&client);
            let asking = spawn(move || ask(&client, word));
            echo(&server);
            asking.join().unwrap();
        }
        let elsewhere = std::thread::spawn(move || run(|| echo(&clone)));
        sleep(MOMENT);
        ask(&client, b"over");
        elsewhere.join().unwrap();
        let asking = spawn(move || ask(&client, b"back"));
        echo(&server);
        asking.join().unwrap();
    });
}

#[test]
fn a_stream_may_go_to_another_thread() {
    run(|| {
        let (mut left, mut right) = pair();
        left.write_all(b"before").unwrap();
        let thread = std::thread::spawn(move || {
            run(move || {
                let mut word = [0; 6];
                right.read_exact(&mut word).unwrap();
                right.write_all(&word).unwrap();
            });
        });
        let mut word = [0; 6];
        left.read_exact(&mut word).unwrap();
        assert_eq!(&word, b"before");
        thread.join().unwrap();
    });
}

#[test]
fn ipv6() {
    // A machine may be without it.
    let Ok(listener) = TcpListener::bind("[::1]:0") else { return };
    run(|| {
        let address = listener.local_addr().unwrap();
        let connecting = spawn(move || TcpStream::connect(address).unwrap().local_addr().unwrap());
        let (_, peer) = listener.accept().unwrap();
        assert!(peer.is_ipv6());
        assert_eq!(connecting.join().unwrap(), peer);
    });
}
