//! Buffers of the port's: whose they are, where they go, and who holds none.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;

use overlapped_port::sys::{MSG_WAITALL, raw_socket};
use overlapped_port::{Buffer, Config, Op, Outcome};

use crate::driver::{Driver, Flight};
use crate::loopback::pair;
use crate::patience::patience;

crate::on_every_backend!(
    a_buffer_of_another_port_is_refused_and_goes_back_to_its_own,
    a_buffer_that_is_dropped_goes_back,
    a_buffer_outlives_its_port,
    a_completion_that_nobody_looks_at_keeps_no_buffer,
    slow_peers_that_are_waited_for_hold_no_buffer,
    what_slow_peers_send_comes_whole,
    a_receive_that_waits_for_all_reports_its_part_when_cancelled,
    a_receive_of_no_bytes_holds_no_buffer,
);

/// A port with one buffer of 64 bytes.
fn with_one_buffer(config: Config) -> Driver {
    Driver::new(config.buffers(1, 64))
}

fn take(driver: &mut Driver, (client, server): &mut (TcpStream, TcpStream), text: &[u8]) -> Buffer {
    client.write_all(text).unwrap();
    let flight = driver.begin_recv_provided(raw_socket(server), 64);
    let outcome = driver.finish(flight).0.unwrap();
    let (bytes, buffer) = driver.held(outcome);
    assert_eq!(bytes, text);
    buffer
}

fn begin_recv_all(driver: &mut Driver, server: &TcpStream, limit: usize) -> Flight {
    driver.begin(Op::RecvProvided { socket: raw_socket(server), limit, flags: MSG_WAITALL })
}

fn a_buffer_of_another_port_is_refused_and_goes_back_to_its_own(config: Config) {
    let (mut driver, mut other) = (with_one_buffer(config.clone()), with_one_buffer(config));
    let mut sockets = pair();
    let theirs = take(&mut other, &mut sockets, b"theirs");
    let mine = take(&mut driver, &mut sockets, b"mine");
    assert_eq!(driver.port().recycle(theirs).unwrap_err().kind(), ErrorKind::InvalidInput);
    let theirs = take(&mut other, &mut sockets, b"theirs again");
    assert_eq!((&mine[..], &theirs[..]), (&b"mine"[..], &b"theirs again"[..]));
    // Nor has this port one buffer more than it had.
    let flight = driver.begin_recv_provided(raw_socket(&sockets.1), 64);
    (&sockets.0).write_all(b"later").unwrap();
    driver.assert_waits(flight);
    driver.port().recycle(mine).unwrap();
    let outcome = driver.finish(flight).0.unwrap();
    assert_eq!(driver.provided(outcome), b"later");
}

fn a_buffer_that_is_dropped_goes_back(config: Config) {
    let mut driver = with_one_buffer(config);
    let mut sockets = pair();
    for _ in 0..3 {
        drop(take(&mut driver, &mut sockets, b"dropped"));
    }
    let held = take(&mut driver, &mut sockets, b"held");
    let flight = driver.begin_recv_provided(raw_socket(&sockets.1), 64);
    sockets.0.write_all(b"next").unwrap();
    driver.assert_waits(flight);
    drop(held);
    let outcome = driver.finish(flight).0.unwrap();
    assert_eq!(driver.provided(outcome), b"next");
}

fn a_buffer_outlives_its_port(config: Config) {
    let mut driver = with_one_buffer(config.clone());
    let mut sockets = pair();
    let buffer = take(&mut driver, &mut sockets, b"read later");
    driver.shutdown(patience()).unwrap();
    // What the next port has is other memory.
    let mut next = with_one_buffer(config);
    let other = take(&mut next, &mut sockets, b"something else");
    assert_eq!((&buffer[..], &other[..]), (&b"read later"[..], &b"something else"[..]));
}

fn a_completion_that_nobody_looks_at_keeps_no_buffer(config: Config) {
    let mut driver = with_one_buffer(config);
    let mut sockets = pair();
    sockets.0.write_all(b"unread").unwrap();
    let flight = driver.begin_recv_provided(raw_socket(&sockets.1), 64);
    drop(driver.finish(flight));
    drop(take(&mut driver, &mut sockets, b"read"));
}

fn slow_peers_that_are_waited_for_hold_no_buffer(config: Config) {
    const PEERS: usize = 16;
    let mut driver = Driver::new(config.buffers(4, 64));
    let slow: Vec<_> = (0..PEERS).map(|_| pair()).collect();
    let waiting: Vec<_> = slow.iter().map(|(_, server)| begin_recv_all(&mut driver, server, 40)).collect();
    for (client, _) in &slow {
        (&*client).write_all(b"x").unwrap();
    }
    waiting.iter().for_each(|flight| driver.assert_waits(*flight));
    let mut quick = pair();
    let held: Vec<_> = (0..4).map(|_| take(&mut driver, &mut quick, b"hello")).collect();
    drop(held);
    for ((client, _), flight) in slow.iter().zip(waiting) {
        (&*client).write_all(&[b'y'; 39]).unwrap();
        let outcome = driver.finish(flight).0.unwrap();
        let bytes = driver.provided(outcome);
        assert_eq!((bytes.len(), bytes[0], bytes[39]), (40, b'x', b'y'));
    }
}

fn what_slow_peers_send_comes_whole(config: Config) {
    let mut driver = with_one_buffer(config);
    let (mut client, server) = pair();
    // The limit may be more than a buffer has, and the stream may end before.
    for (limit, sent, got) in [(10, 10, 10), (64, 64, 64), (1000, 64, 64), (40, 13, 13)] {
        let flight = begin_recv_all(&mut driver, &server, limit);
        for part in (0..sent).collect::<Vec<u8>>().chunks(7) {
            client.write_all(part).unwrap();
            driver.turn(std::time::Duration::from_millis(1));
        }
        if sent < limit.min(64) as u8 {
            driver.assert_waits(flight);
            client.shutdown(std::net::Shutdown::Write).unwrap();
        }
        let outcome = driver.finish(flight).0.unwrap();
        assert_eq!(driver.provided(outcome), (0..got).collect::<Vec<u8>>(), "{limit}");
    }
}

fn a_receive_that_waits_for_all_reports_its_part_when_cancelled(config: Config) {
    let mut driver = with_one_buffer(config);
    let mut sockets = pair();
    let flight = begin_recv_all(&mut driver, &sockets.1, 64);
    sockets.0.write_all(b"part").unwrap();
    driver.assert_waits(flight);
    driver.cancel(flight);
    let outcome = driver.finish(flight).0.unwrap();
    let (bytes, part) = driver.held(outcome);
    assert_eq!(bytes, b"part");
    // It is not the port's: that one is free.
    let whole = take(&mut driver, &mut sockets, b"whole");
    driver.port().recycle(part).unwrap();
    drop(whole);
}

/// recv(2) of no bytes waits as any other, and takes none.
fn a_receive_of_no_bytes_holds_no_buffer(config: Config) {
    let mut driver = with_one_buffer(config);
    let mut sockets = pair();
    let flight = driver.begin_recv_provided(raw_socket(&sockets.1), 0);
    driver.assert_waits(flight);
    sockets.0.write_all(b"there").unwrap();
    assert!(matches!(driver.finish(flight).0.unwrap(), Outcome::Provided(None)));
    let flight = driver.begin_recv(raw_socket(&sockets.1), 0, 0);
    assert_eq!(driver.received(flight).unwrap(), b"");
    assert_eq!(driver.recv_provided(raw_socket(&sockets.1), 64).unwrap(), b"there");
}
