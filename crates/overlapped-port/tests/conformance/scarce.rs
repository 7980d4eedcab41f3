//! Receives that wait for a provided buffer: in which order they get one, and what becomes of those that leave.

use std::io::Write;
use std::net::TcpStream;

use overlapped_port::sys::raw_socket;
use overlapped_port::{Buffer, Config};

use crate::driver::{Driver, Flight};
use crate::loopback::pair;

crate::on_every_backend!(
    one_that_is_cancelled_leaves_the_buffer_to_the_next,
    one_that_is_cancelled_lets_those_go_on_that_need_none,
    one_that_is_cancelled_lets_the_next_in_line_go_on_that_needs_none,
    who_has_waited_longest_gets_the_next,
    a_newcomer_waits_behind_those_that_wait,
    what_has_always_more_bytes_leaves_buffers_to_others,
);

/// A driver whose port has one buffer, and a connection on which that buffer was filled.
fn without_buffers(config: Config) -> (Driver, Buffer, (TcpStream, TcpStream)) {
    let mut driver = Driver::new(config.buffers(1, 64));
    let (mut client, server) = pair();
    client.write_all(&[7; 10_000]).unwrap();
    let held = driver.begin_recv_provided(raw_socket(&server), 64);
    let outcome = driver.finish(held).0.unwrap();
    let (_, buffer) = driver.held(outcome);
    (driver, buffer, (client, server))
}

/// Begins a receive for which bytes are there, and no buffer.
fn begin_starved(driver: &mut Driver, (client, server): &(TcpStream, TcpStream)) -> Flight {
    (&*client).write_all(b"bytes").unwrap();
    let recv = driver.begin_recv_provided(raw_socket(server), 64);
    driver.assert_waits(recv);
    recv
}

#[track_caller]
fn assert_received(driver: &mut Driver, recv: Flight, expected: &[u8]) {
    let outcome = driver.finish(recv).0.unwrap();
    assert_eq!(driver.provided(outcome), expected);
}

fn one_that_is_cancelled_leaves_the_buffer_to_the_next(config: Config) {
    let (mut driver, buffer, _holder) = without_buffers(config);
    let pairs = [pair(), pair(), pair()];
    let [first, second, third] = [0, 1, 2].map(|at| begin_starved(&mut driver, &pairs[at]));
    driver.cancel_waiting(first);
    driver.assert_waits(second);
    driver.cancel_waiting(second);
    drop(buffer);
    assert_received(&mut driver, third, b"bytes");
    // Nobody took the bytes of those that were cancelled.
    assert_eq!(driver.recv_provided(raw_socket(&pairs[0].1), 64).unwrap(), b"bytes");
    assert_eq!(driver.recv_provided(raw_socket(&pairs[1].1), 64).unwrap(), b"bytes");
}

fn one_that_is_cancelled_lets_those_go_on_that_need_none(config: Config) {
    let (mut driver, _buffer, _holder) = without_buffers(config);
    let connection = pair();
    let starved = begin_starved(&mut driver, &connection);
    driver.cancel_waiting(starved);
    assert_eq!(driver.recv(raw_socket(&connection.1), 64).unwrap(), b"bytes");
    let waits = driver.begin_recv(raw_socket(&connection.1), 64, 0);
    driver.assert_waits(waits);
    (&connection.0).write_all(b"more").unwrap();
    assert_eq!(driver.received(waits).unwrap(), b"more");
}

fn one_that_is_cancelled_lets_the_next_in_line_go_on_that_needs_none(config: Config) {
    let (mut driver, _buffer, _holder) = without_buffers(config);
    let connection = pair();
    let starved = begin_starved(&mut driver, &connection);
    let next = driver.begin_recv(raw_socket(&connection.1), 64, 0);
    driver.assert_waits(next);
    driver.cancel_waiting(starved);
    assert_eq!(driver.received(next).unwrap(), b"bytes");
}

fn who_has_waited_longest_gets_the_next(config: Config) {
    let (mut driver, buffer, _holder) = without_buffers(config);
    let pairs: Vec<_> = (0..5).map(|_| pair()).collect();
    let waiting: Vec<Flight> = pairs.iter().map(|pair| begin_starved(&mut driver, pair)).collect();
    drop(buffer);
    for (at, recv) in waiting.iter().enumerate() {
        let outcome = driver.finish(*recv).0.unwrap();
        assert!(waiting[at + 1..].iter().all(|later| !driver.has_ended(*later)), "there is one buffer");
        assert_eq!(driver.provided(outcome), b"bytes");
    }
}

fn a_newcomer_waits_behind_those_that_wait(config: Config) {
    let (mut driver, buffer, (_client, server)) = without_buffers(config);
    let connection = pair();
    let starved = begin_starved(&mut driver, &connection);
    drop(buffer);
    // Its bytes are there, and so is the buffer.
    let newcomer = driver.begin_recv_provided(raw_socket(&server), 64);
    assert_received(&mut driver, starved, b"bytes");
    assert_received(&mut driver, newcomer, &[7; 64]);
}

fn what_has_always_more_bytes_leaves_buffers_to_others(config: Config) {
    let (mut driver, buffer, (_client, server)) = without_buffers(config);
    let connection = pair();
    let starved = begin_starved(&mut driver, &connection);
    let mut buffer = Some(buffer);
    let mut rounds = 0;
    while !driver.has_ended(starved) {
        assert!(rounds < 10, "{rounds} receives went ahead");
        rounds += 1;
        let greedy = driver.begin_recv_provided(raw_socket(&server), 64);
        drop(buffer.take());
        driver.until("one of the two ends", |driver| driver.has_ended(greedy) || driver.has_ended(starved));
        if driver.has_ended(greedy) {
            let outcome = driver.finish(greedy).0.unwrap();
            buffer = Some(driver.held(outcome).1);
        }
    }
    assert_received(&mut driver, starved, b"bytes");
}
