//! Sockets beside other things to wait for: readiness alone is waited for, and nothing is taken.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use overlapped::engine::current;
use overlapped::net::{TcpListener, TcpStream, UdpSocket};
use overlapped::{
    Branch, Event, after, channel, first_of, is_cancelled, readable, sleep, spawn, timeout, writable, yield_now,
};
use support::{run, storms};

const MOMENT: Duration = Duration::from_millis(10);

/// Two ends of one connection.
fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (connected, listener.accept().unwrap().0)
}

/// Whether nothing is in flight and nothing started: what was waited for is waited for no more.
fn is_at_rest() -> bool {
    let scheduler = current().unwrap();
    (scheduler.in_flight(), scheduler.flights()) == (0, 0)
}

/// Waits until so many operations are in flight.
fn until_in_flight(count: usize) {
    while current().unwrap().flights() < count {
        yield_now();
    }
}

#[test]
fn the_first_that_is_ready_in_the_list_is_named_and_nothing_is_taken() {
    run(|| {
        let (mut one, mut other) = pair();
        assert_eq!(first_of(&mut [&mut readable(&one), &mut writable(&one), &mut readable(&other)]).unwrap(), 1);
        other.write_all(b"hello").unwrap();
        let mut ready = readable(&one);
        assert_eq!(first_of(&mut [&mut ready, &mut writable(&one)]).unwrap(), 0);
        assert!(ready.take().unwrap().is_ok() && ready.take().is_none());
        assert!(is_at_rest());
        let mut greeting = [0; 5];
        one.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"hello");
        assert_eq!(first_of(&mut [&mut readable(&one), &mut after(MOMENT)]).unwrap(), 1);
        assert!(is_at_rest());
    });
}

#[test]
fn what_comes_later_is_told_whatever_it_is() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = datagrams.local_addr().unwrap();
        let (one, other) = pair();
        let stop = Event::new();
        for which in 0..4 {
            let other = other.try_clone().unwrap();
            let sets = stop.clone();
            let makes_ready = spawn(move || {
                until_in_flight(3);
                match which {
                    0 => drop(TcpStream::connect(address).unwrap()),
                    1 => drop(UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"hello", to).unwrap()),
                    2 => sets.set(),
                    _ => other.shutdown(Shutdown::Write).unwrap(),
                }
            });
            let (mut accepts, mut receives, mut reads) = (readable(&listener), readable(&datagrams), readable(&one));
            let place = first_of(&mut [&mut accepts, &mut receives, &mut stop.waiting(), &mut reads]).unwrap();
            assert_eq!(place, which);
            makes_ready.join().unwrap();
            match which {
                0 => drop(listener.accept().unwrap()),
                1 => assert_eq!(datagrams.recv(&mut [0; 8]).unwrap(), 5),
                2 => stop.clear(),
                _ => assert_eq!((&one).read(&mut [0; 8]).unwrap(), 0),
            }
            assert!(is_at_rest());
        }
    });
}

#[test]
fn who_is_told_to_leave_has_nothing_in_flight() {
    run(|| {
        let (one, _other) = pair();
        assert!(timeout(MOMENT, || first_of(&mut [&mut readable(&one)])).is_err());
        assert!(is_at_rest());
        let waits = spawn(move || is_cancelled(&first_of(&mut [&mut readable(&one)]).unwrap_err()));
        until_in_flight(1);
        waits.cancel();
        assert!(waits.join().unwrap());
        assert!(is_at_rest());
    });
}

#[test]
fn outside_of_run_the_wait_for_a_socket_says_what_to_do() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut ready = readable(&socket);
    assert_eq!(first_of(&mut [&mut ready]).unwrap(), 0);
    assert!(ready.take().unwrap().unwrap_err().to_string().contains("overlapped::run"));
}

/// Bytes come through sockets and values through channels to tasklets that wait for several of both, and are told to leave.
#[test]
fn storm() {
    storms(10, |random| {
        const VALUES: usize = 60;
        let values = channel();
        let done = Event::new();
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (mut sends, receives) = pair();
            let (mut pauses, theirs) = (random.fork(), values.clone());
            writers.push(spawn(move || {
                for n in 0..VALUES {
                    if pauses.bool() {
                        theirs.send(n).unwrap();
                    } else {
                        sends.write_all(&[n as u8]).unwrap();
                    }
                    if pauses.u32(0..4) == 0 {
                        sleep(Duration::from_micros(pauses.u64(0..200)));
                    }
                }
            }));
            let (theirs, over, mut chance) = (values.clone(), done.clone(), random.fork());
            readers.push(spawn(move || {
                let (mut got, mut ended) = (Vec::new(), false);
                loop {
                    // Some leave early, and come again.
                    let limit = Duration::from_micros(chance.u64(0..300));
                    let (mut ready, mut value, mut stop) = (readable(&receives), theirs.receiving(), over.waiting());
                    let mut branches: Vec<&mut dyn Branch> = vec![&mut value, &mut stop];
                    if !ended {
                        branches.insert(chance.usize(0..2), &mut ready);
                    }
                    let first = timeout(limit, || first_of(&mut branches));
                    if let Some(value) = value.take() {
                        got.push(value.unwrap());
                    } else if ready.take().is_some() {
                        let mut byte = [0];
                        ended = (&receives).read(&mut byte).unwrap() == 0;
                        got.extend((!ended).then_some(usize::from(byte[0])));
                    } else if first.is_ok() {
                        // What has come to the socket is still there.
                        let mut left = Vec::new();
                        (&receives).read_to_end(&mut left).unwrap();
                        got.extend(left.into_iter().map(usize::from));
                        return got;
                    }
                }
            }));
        }
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        done.set();
        let mut got: Vec<usize> = readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect();
        got.sort_unstable();
        let sent: Vec<usize> = (0..VALUES).flat_map(|n| [n; 3]).collect();
        assert_eq!(got, sent);
        assert!(is_at_rest());
    });
}
