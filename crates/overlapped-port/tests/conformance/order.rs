//! Operations of one kind on one handle are served in the order in which they were asked.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use overlapped_port::sys::{MSG_PEEK, MSG_WAITALL, raw_socket};
use overlapped_port::{Config, Interest, Op};

use crate::driver::{Driver, assert_cancelled, bytes_at};
use crate::loopback::{datagram_pair, listener, pair};

crate::on_every_backend!(
    receives_on_one_socket_get_the_bytes_in_turn,
    receives_of_all_forms_are_of_one_kind,
    a_newcomer_takes_nothing_from_who_waits,
    datagrams_go_to_their_receivers_in_turn,
    connections_go_to_their_accepts_in_turn,
    sends_that_wait_for_room_do_not_mix,
    a_send_that_waits_for_room_is_not_overtaken_by_a_short_one,
    who_is_cancelled_leaves_its_turn_to_the_next,
    the_first_that_is_cancelled_leaves_its_turn_to_the_next,
    leaving_a_line_is_no_search_through_it,
    a_receive_that_waits_for_all_is_not_overtaken,
    a_look_ahead_waits_its_turn,
    who_only_watches_waits_for_nobody,
    both_directions_go_on_beside_each_other,
    all_that_wait_in_line_are_told_of_the_end,
);

const WAITING: usize = 4;
const MANY: usize = 100_000;

fn receives_on_one_socket_get_the_bytes_in_turn(config: Config) {
    let mut driver = Driver::new(config);
    for _ in 0..20 {
        let (mut client, server) = pair();
        let receives: Vec<_> = (0..WAITING).map(|_| driver.begin_recv(raw_socket(&server), 1, 0)).collect();
        driver.turn(std::time::Duration::ZERO);
        client.write_all(b"abcd").unwrap();
        let got: Vec<u8> = receives.into_iter().flat_map(|receive| driver.received(receive).unwrap()).collect();
        assert_eq!(got, b"abcd");
    }
}

/// The bytes are there when it is begun, and whoever waits for them has not been told.
fn a_newcomer_takes_nothing_from_who_waits(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let waits = driver.begin_recv(raw_socket(&server), 1, 0);
    driver.assert_waits(waits);
    client.write_all(b"ab").unwrap();
    let comes = driver.begin_recv(raw_socket(&server), 1, 0);
    assert_eq!(driver.received(waits).unwrap(), b"a");
    assert_eq!(driver.received(comes).unwrap(), b"b");
}

fn receives_of_all_forms_are_of_one_kind(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let socket = raw_socket(&server);
    let plain = driver.begin_recv(socket, 1, 0);
    let provided = driver.begin_recv_provided(socket, 1);
    let message = driver.begin_recv_message(socket, &[1], 0, 0);
    let last = driver.begin_recv(socket, 1, 0);
    driver.assert_waits(last);
    client.write_all(b"abcd").unwrap();
    assert_eq!(driver.received(plain).unwrap(), b"a");
    let outcome = driver.finish(provided).0.unwrap();
    assert_eq!(driver.provided(outcome), b"b");
    assert_eq!(driver.received_message(message).unwrap().bytes(), b"c");
    assert_eq!(driver.received(last).unwrap(), b"d");
}

/// Each asks again as soon as it was served: none gets more than the others.
fn datagrams_go_to_their_receivers_in_turn(config: Config) {
    let mut driver = Driver::new(config);
    let (sender, receiver) = datagram_pair();
    let mut waiting: VecDeque<_> = (0..WAITING).map(|_| driver.begin_recv(raw_socket(&receiver), 8, 0)).collect();
    for number in 0..40_u32 {
        sender.send(&number.to_ne_bytes()).unwrap();
        let first = waiting.pop_front().unwrap();
        assert_eq!(driver.received(first).unwrap(), number.to_ne_bytes());
        waiting.push_back(driver.begin_recv(raw_socket(&receiver), 8, 0));
    }
    waiting.into_iter().for_each(|receive| drop(driver.cancel_waiting(receive)));
}

fn connections_go_to_their_accepts_in_turn(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let mut waiting: VecDeque<_> = (0..WAITING).map(|_| driver.begin_accept(raw_socket(&listener))).collect();
    driver.turn(std::time::Duration::ZERO);
    for _ in 0..20 {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let first = waiting.pop_front().unwrap();
        let (_, peer) = driver.accepted(first).unwrap();
        assert_eq!(peer.to_socket_addr(), Some(client.local_addr().unwrap()));
        waiting.push_back(driver.begin_accept(raw_socket(&listener)));
    }
    for accept in waiting {
        assert!(driver.cancel_waiting(accept).as_bytes().is_empty(), "nobody's address");
    }
}

fn sends_that_wait_for_room_do_not_mix(config: Config) {
    const EACH: usize = 4 << 20;
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let sends: Vec<_> =
        (0..3).map(|stream| driver.begin_send(raw_socket(&server), bytes_at(stream, 0, EACH), true)).collect();
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; 3 * EACH];
        client.read_exact(&mut all).unwrap();
        all
    });
    for send in sends {
        assert_eq!(driver.counted(send).unwrap(), EACH);
    }
    let wanted: Vec<u8> = (0..3).flat_map(|stream| bytes_at(stream, 0, EACH)).collect();
    assert!(reader.join().unwrap() == wanted, "the bytes of one send are among another's");
}

fn a_send_that_waits_for_room_is_not_overtaken_by_a_short_one(config: Config) {
    const MUCH: usize = 16 << 20;
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let long = driver.begin_send(raw_socket(&server), vec![b'l'; MUCH], true);
    driver.turn(std::time::Duration::ZERO);
    let short = driver.begin_send(raw_socket(&server), vec![b's'; 1], false);
    let message = driver.begin_send_message(raw_socket(&server), &[b"m"], None, &[]);
    let reader = std::thread::spawn(move || {
        let mut all = vec![0; MUCH + 2];
        client.read_exact(&mut all).unwrap();
        (all.iter().position(|byte| *byte != b'l'), all[MUCH..].to_vec())
    });
    assert_eq!(driver.counted(long).unwrap(), MUCH);
    assert_eq!((driver.counted(short).unwrap(), driver.counted(message).unwrap()), (1, 1));
    assert_eq!(reader.join().unwrap(), (Some(MUCH), b"sm".to_vec()));
}

fn who_is_cancelled_leaves_its_turn_to_the_next(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let receives: Vec<_> = (0..WAITING).map(|_| driver.begin_recv(raw_socket(&server), 1, 0)).collect();
    driver.turn(std::time::Duration::ZERO);
    driver.cancel_waiting(receives[1]);
    driver.cancel_waiting(receives[3]);
    client.write_all(b"ab").unwrap();
    assert_eq!(driver.received(receives[0]).unwrap(), b"a");
    assert_eq!(driver.received(receives[2]).unwrap(), b"b");
    assert_eq!(driver.port().in_flight(), 0);
}

fn the_first_that_is_cancelled_leaves_its_turn_to_the_next(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let receives: Vec<_> = (0..WAITING).map(|_| driver.begin_recv(raw_socket(&server), 1, 0)).collect();
    driver.turn(std::time::Duration::ZERO);
    driver.cancel_waiting(receives[0]);
    driver.cancel_waiting(receives[1]);
    client.write_all(b"ab").unwrap();
    assert_eq!(driver.received(receives[2]).unwrap(), b"a");
    assert_eq!(driver.received(receives[3]).unwrap(), b"b");
}

fn leaving_a_line_is_no_search_through_it(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let start = Instant::now();
    let mut receives: VecDeque<_> = (0..MANY).map(|_| driver.begin_recv(raw_socket(&server), 1, 0)).collect();
    let joining = start.elapsed();
    let first = receives.pop_front().unwrap();
    let start = Instant::now();
    receives.iter().for_each(|receive| driver.cancel(*receive));
    receives.into_iter().for_each(|receive| assert_cancelled(&driver.finish(receive).0));
    let leaving = start.elapsed();
    // A search through the line, for each that leaves, took minutes; joining it takes a fraction of a second.
    assert!(leaving < joining * 100, "joining {joining:?}, leaving {leaving:?}");
    client.write_all(b"a").unwrap();
    assert_eq!(driver.received(first).unwrap(), b"a");
}

fn a_receive_that_waits_for_all_is_not_overtaken(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let all = driver.begin_recv(raw_socket(&server), 4, MSG_WAITALL);
    let next = driver.begin_recv(raw_socket(&server), 4, 0);
    for part in [&b"ab"[..], b"c"] {
        client.write_all(part).unwrap();
        driver.assert_waits(all);
        driver.assert_waits(next);
    }
    client.write_all(b"defg").unwrap();
    assert_eq!(driver.received(all).unwrap(), b"abcd");
    assert_eq!(driver.received(next).unwrap(), b"efg");
}

fn a_look_ahead_waits_its_turn(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let first = driver.begin_recv(raw_socket(&server), 1, 0);
    let look = driver.begin_recv(raw_socket(&server), 1, MSG_PEEK);
    let last = driver.begin_recv(raw_socket(&server), 1, 0);
    driver.turn(std::time::Duration::ZERO);
    client.write_all(b"ab").unwrap();
    assert_eq!(driver.received(first).unwrap(), b"a");
    assert_eq!(driver.received(look).unwrap(), b"b");
    assert_eq!(driver.received(last).unwrap(), b"b");
}

fn who_only_watches_waits_for_nobody(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let receive = driver.begin_recv(raw_socket(&server), 8, MSG_WAITALL);
    let watches: Vec<_> = (0..3).map(|_| driver.begin_poll(raw_socket(&server), Interest::READABLE)).collect();
    let room = driver.begin_poll(raw_socket(&server), Interest::WRITABLE);
    assert!(driver.readiness(room).contains(Interest::WRITABLE));
    watches.iter().for_each(|watch| driver.assert_waits(*watch));
    client.write_all(b"all of it").unwrap();
    for watch in watches {
        assert!(driver.readiness(watch).contains(Interest::READABLE));
    }
    assert_eq!(driver.received(receive).unwrap(), b"all of i");
}

fn both_directions_go_on_beside_each_other(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let receives = [driver.begin_recv(raw_socket(&server), 1, 0), driver.begin_recv(raw_socket(&server), 1, 0)];
    let sends = [b"x", b"y"].map(|byte| driver.begin_send(raw_socket(&server), byte.to_vec(), true));
    for send in sends {
        assert_eq!(driver.counted(send).unwrap(), 1);
    }
    let mut answer = [0; 2];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"xy");
    client.write_all(b"ab").unwrap();
    assert_eq!(receives.map(|receive| driver.received(receive).unwrap()), [b"a", b"b"]);
}

fn all_that_wait_in_line_are_told_of_the_end(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let receives: Vec<_> = (0..WAITING).map(|_| driver.begin_recv(raw_socket(&server), 1, 0)).collect();
    let provided = driver.begin(Op::RecvProvided { socket: raw_socket(&server), limit: 8, flags: 0 });
    driver.turn(std::time::Duration::ZERO);
    drop(client);
    for receive in receives {
        assert_eq!(driver.received(receive).unwrap(), b"");
    }
    let outcome = driver.finish(provided).0.unwrap();
    assert_eq!(driver.provided(outcome), b"");
}
