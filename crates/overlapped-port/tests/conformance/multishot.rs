//! Operations that go on: accept and receive, and the buffers that the port provides.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use overlapped_port::sys::raw_socket;
use overlapped_port::{Buffer, Config, Op, Outcome};

use crate::driver::{Driver, Flight, assert_cancelled, bytes_at, socket as new_socket};
use crate::loopback::{listener, pair, reset};

crate::on_every_backend!(
    accept_brings_every_connection_in_order,
    accept_brings_connections_that_were_there,
    accept_goes_on_until_cancelled,
    accept_cancelled_loses_no_connection,
    two_accepts_on_one_listener_share_the_connections,
    recv_brings_bytes_in_order_and_then_the_end,
    recv_tells_of_a_reset,
    recv_brings_bytes_before_a_reset,
    recv_goes_on_until_cancelled,
    recv_cancelled_loses_no_byte,
    recv_pauses_without_buffers_and_goes_on_after_recycle,
    recv_that_pauses_can_be_cancelled,
    recv_that_pauses_is_told_of_the_end_after_its_bytes,
    recv_of_many_sockets_shares_few_buffers,
    recv_provided_waits_for_a_buffer,
    recv_provided_that_waits_for_a_buffer_can_be_cancelled,
    many_recv_provided_share_few_buffers,
    buffers_can_be_recycled_in_any_order,
    idle_receives_hold_no_buffer,
);

fn begin_accepts(driver: &mut Driver, listener: &TcpListener) -> Flight {
    driver.begin(Op::AcceptMultishot { listener: raw_socket(listener) })
}

fn begin_receives(driver: &mut Driver, socket: &TcpStream) -> Flight {
    driver.begin(Op::RecvMultishot { socket: raw_socket(socket) })
}

fn peer_of(accepted: io::Result<Outcome>) -> SocketAddr {
    TcpStream::from(new_socket(accepted.unwrap())).peer_addr().unwrap()
}

fn accept_brings_every_connection_in_order(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let accepts = begin_accepts(&mut driver, &listener);
    driver.assert_waits(accepts);
    for _ in 0..100 {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let completion = driver.next(accepts);
        assert!(completion.more);
        assert_eq!(peer_of(completion.result), client.local_addr().unwrap());
    }
    driver.cancel_waiting(accepts);
}

fn accept_brings_connections_that_were_there(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    let accepts = begin_accepts(&mut driver, &listener);
    for client in clients {
        assert_eq!(peer_of(driver.next(accepts).result), client.local_addr().unwrap(), "in their order");
    }
    driver.cancel_waiting(accepts);
}

fn accept_goes_on_until_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let accepts = begin_accepts(&mut driver, &listener);
    driver.assert_waits(accepts);
    driver.cancel(accepts);
    driver.cancel(accepts);
    let (before, last) = driver.finish_all(accepts);
    assert!(before.is_empty());
    assert_cancelled(&last);
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_server, peer) = driver.accept(raw_socket(&listener)).unwrap();
    assert_eq!(peer.to_socket_addr(), Some(client.local_addr().unwrap()), "the listener works as before");
}

fn accept_cancelled_loses_no_connection(config: Config) {
    let mut driver = Driver::new(config);
    for round in 0..50_u64 {
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let accepts = begin_accepts(&mut driver, &listener);
        driver.turn(Duration::ZERO);
        let connecting =
            std::thread::spawn(move || (0..4).map(|_| TcpStream::connect(address).unwrap()).collect::<Vec<_>>());
        if round % 2 == 0 {
            driver.turn(Duration::from_micros(50 * (round % 16)));
        }
        driver.cancel(accepts);
        let (mut results, last) = driver.finish_all(accepts);
        if last.is_ok() {
            results.push(last);
        } else {
            assert_cancelled(&last);
        }
        let mut wanted: Vec<_> = connecting.join().unwrap().iter().map(|client| client.local_addr().unwrap()).collect();
        let mut peers: Vec<_> = results.into_iter().map(peer_of).collect();
        while peers.len() < wanted.len() {
            // It must be in the listener's queue still.
            peers.push(driver.accept(raw_socket(&listener)).unwrap().1.to_socket_addr().unwrap());
        }
        wanted.sort();
        peers.sort();
        assert_eq!(peers, wanted, "in round {round}");
    }
}

fn two_accepts_on_one_listener_share_the_connections(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let address = listener.local_addr().unwrap();
    let accepts = [begin_accepts(&mut driver, &listener), begin_accepts(&mut driver, &listener)];
    driver.turn(Duration::ZERO);
    let clients: Vec<_> = (0..50).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut peers = Vec::new();
    driver.until("every connection", |driver| {
        for accept in accepts {
            peers.extend(std::iter::from_fn(|| driver.arrived(accept)).map(|completion| peer_of(completion.result)));
        }
        peers.len() == clients.len()
    });
    accepts.iter().for_each(|accept| driver.cancel_waiting(*accept));
    let mut wanted: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    wanted.sort();
    peers.sort();
    assert_eq!(peers, wanted);
}

/// Receives and gives back each buffer until `length` bytes are there or the operation ends.
fn receive(driver: &mut Driver, receives: Flight, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let completion = driver.next(receives);
        assert!(completion.more, "after {} bytes of {length}: {completion:?}", bytes.len());
        let more = driver.provided(completion.result.unwrap());
        assert!(!more.is_empty(), "an end that is not the last completion");
        bytes.extend(more);
    }
    assert_eq!(bytes.len(), length);
    bytes
}

/// Checks that the stream ends here.
#[track_caller]
fn assert_ends(driver: &mut Driver, receives: Flight) {
    let (before, last) = driver.finish_all(receives);
    assert!(before.is_empty(), "{before:?}");
    let end = driver.provided(last.unwrap());
    assert!(end.is_empty(), "{} bytes instead of the end", end.len());
}

fn recv_brings_bytes_in_order_and_then_the_end(config: Config) {
    let mut driver = Driver::new(config.buffers(8, 1000));
    let (mut client, server) = pair();
    let receives = begin_receives(&mut driver, &server);
    driver.assert_waits(receives);
    let writer = std::thread::spawn(move || client.write_all(&bytes_at(1, 0, 1 << 20)).unwrap());
    assert!(receive(&mut driver, receives, 1 << 20) == bytes_at(1, 0, 1 << 20));
    writer.join().unwrap();
    assert_ends(&mut driver, receives);
}

fn recv_tells_of_a_reset(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let receives = begin_receives(&mut driver, &server);
    driver.assert_waits(receives);
    reset(client);
    let (before, last) = driver.finish_all(receives);
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(last.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn recv_brings_bytes_before_a_reset(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    client.write_all(b"last words").unwrap();
    reset(client);
    let receives = begin_receives(&mut driver, &server);
    assert_eq!(receive(&mut driver, receives, 10), b"last words");
    let (before, last) = driver.finish_all(receives);
    assert!(before.is_empty(), "{before:?}");
    assert_eq!(last.unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn recv_goes_on_until_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let receives = begin_receives(&mut driver, &server);
    for round in 0..50_u8 {
        client.write_all(&[round; 10]).unwrap();
        assert_eq!(receive(&mut driver, receives, 10), [round; 10]);
    }
    driver.assert_waits(receives);
    driver.cancel_waiting(receives);
    client.write_all(b"after").unwrap();
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"after", "the socket works as before");
}

fn recv_cancelled_loses_no_byte(config: Config) {
    const ALL: usize = 400_000;
    let mut driver = Driver::new(config.buffers(4, 512));
    let (mut client, server) = pair();
    let writer = std::thread::spawn(move || {
        for at in (0..ALL).step_by(1000) {
            client.write_all(&bytes_at(2, at, 1000)).unwrap();
            if at % 16_000 == 0 {
                std::thread::sleep(Duration::from_micros(300));
            }
        }
    });
    let mut random = fastrand::Rng::with_seed(3);
    let mut received = Vec::new();
    let mut cancels = 0;
    while received.len() < ALL {
        let receives = begin_receives(&mut driver, &server);
        for _ in 0..random.u8(0..4) {
            driver.turn(Duration::from_micros(random.u64(0..200)));
        }
        driver.cancel(receives);
        cancels += 1;
        let (results, last) = driver.finish_all(receives);
        for result in results {
            received.extend(driver.provided(result.unwrap()));
        }
        match last {
            Ok(outcome) => received.extend(driver.provided(outcome)),
            Err(_) => assert_cancelled(&last),
        }
    }
    writer.join().unwrap();
    assert!(received == bytes_at(2, 0, ALL), "bytes were lost or swapped in {cancels} cancels");
}

/// Takes completions and holds their buffers until nothing more comes.
fn hold_all(driver: &mut Driver, receives: Flight) -> VecDeque<(Vec<u8>, Buffer)> {
    let mut held = VecDeque::new();
    while !driver.waits(receives) {
        let completion = driver.arrived(receives).expect("it does not wait");
        assert!(completion.more, "no buffers is no reason to end: {completion:?}");
        held.push_back(driver.held(completion.result.unwrap()));
        assert!(held.len() <= 2, "the port has two buffers");
    }
    held
}

fn recv_pauses_without_buffers_and_goes_on_after_recycle(config: Config) {
    let mut driver = Driver::new(config.buffers(2, 64));
    let (mut client, server) = pair();
    let receives = begin_receives(&mut driver, &server);
    client.write_all(&bytes_at(3, 0, 2000)).unwrap();
    let mut received = Vec::new();
    let mut held = hold_all(&mut driver, receives);
    assert_eq!(held.len(), 2);
    while let Some((bytes, buffer)) = held.pop_front() {
        assert!(bytes.len() <= 64);
        received.extend(bytes);
        driver.port().recycle(buffer).unwrap();
        if received.len() + held.iter().map(|(bytes, _)| bytes.len()).sum::<usize>() < 2000 {
            let completion = driver.next(receives);
            assert!(completion.more);
            held.push_back(driver.held(completion.result.unwrap()));
        }
    }
    assert!(received == bytes_at(3, 0, 2000));
    drop(client);
    assert_ends(&mut driver, receives);
}

fn recv_that_pauses_can_be_cancelled(config: Config) {
    let mut driver = Driver::new(config.buffers(2, 64));
    let (mut client, server) = pair();
    let receives = begin_receives(&mut driver, &server);
    client.write_all(&bytes_at(4, 0, 1000)).unwrap();
    let held = hold_all(&mut driver, receives);
    let mut received = Vec::new();
    driver.cancel_waiting(receives);
    for (bytes, buffer) in held {
        received.extend(bytes);
        driver.port().recycle(buffer).unwrap();
    }
    received.extend(driver.recv_exactly(raw_socket(&server), 1000 - received.len()).unwrap());
    assert!(received == bytes_at(4, 0, 1000), "what was not received is in the socket still");
    // And the buffers serve again.
    let receives = begin_receives(&mut driver, &server);
    client.write_all(&bytes_at(4, 1000, 1000)).unwrap();
    assert!(receive(&mut driver, receives, 1000) == bytes_at(4, 1000, 1000));
    driver.cancel_waiting(receives);
}

fn recv_that_pauses_is_told_of_the_end_after_its_bytes(config: Config) {
    let mut driver = Driver::new(config.buffers(2, 64));
    let (mut client, server) = pair();
    let receives = begin_receives(&mut driver, &server);
    client.write_all(&bytes_at(5, 0, 500)).unwrap();
    drop(client);
    let mut received = Vec::new();
    for (bytes, buffer) in hold_all(&mut driver, receives) {
        received.extend(bytes);
        driver.port().recycle(buffer).unwrap();
    }
    let left = 500 - received.len();
    received.extend(receive(&mut driver, receives, left));
    assert!(received == bytes_at(5, 0, 500));
    assert_ends(&mut driver, receives);
}

fn recv_of_many_sockets_shares_few_buffers(config: Config) {
    const EACH: usize = 20_000;
    let mut driver = Driver::new(config.buffers(2, 64));
    let (clients, servers): (Vec<_>, Vec<_>) = (0..20).map(|_| pair()).unzip();
    let receives: Vec<_> = servers.iter().map(|server| begin_receives(&mut driver, server)).collect();
    let writer = std::thread::spawn(move || {
        for at in (0..EACH).step_by(1000) {
            for (number, mut client) in clients.iter().enumerate() {
                client.write_all(&bytes_at(number as u64, at, 1000)).unwrap();
            }
        }
        // Dropped here: each stream ends.
    });
    let mut received = vec![Vec::new(); receives.len()];
    let mut ended = 0;
    driver.until("the end of every stream", |driver| {
        for (receive, received) in receives.iter().zip(&mut received) {
            while !received.ends_with(b"the end")
                && let Some(completion) = driver.arrived(*receive)
            {
                let bytes = driver.provided(completion.result.unwrap());
                assert_eq!(bytes.is_empty(), !completion.more, "the last completion is the end");
                received.extend(&bytes);
                if bytes.is_empty() {
                    received.extend(b"the end");
                    ended += 1;
                }
            }
        }
        ended == receives.len()
    });
    writer.join().unwrap();
    for (number, received) in received.iter().enumerate() {
        assert!(received[..received.len() - 7] == bytes_at(number as u64, 0, EACH), "stream {number}");
    }
}

fn recv_provided_waits_for_a_buffer(config: Config) {
    let mut driver = Driver::new(config.buffers(2, 64));
    let (mut client, server) = pair();
    client.write_all(&bytes_at(6, 0, 192)).unwrap();
    let mut held = VecDeque::new();
    for _ in 0..2 {
        let recv = driver.begin_recv_provided(raw_socket(&server), 64);
        let outcome = driver.finish(recv).0.unwrap();
        held.push_back(driver.held(outcome));
    }
    let recv = driver.begin_recv_provided(raw_socket(&server), 64);
    driver.assert_waits(recv);
    let (mut received, buffer) = held.pop_front().unwrap();
    driver.port().recycle(buffer).unwrap();
    let outcome = driver.finish(recv).0.unwrap();
    let (second, buffer) = held.pop_front().unwrap();
    received.extend(second);
    driver.port().recycle(buffer).unwrap();
    received.extend(driver.provided(outcome));
    assert_eq!(received, bytes_at(6, 0, 192));
}

fn recv_provided_that_waits_for_a_buffer_can_be_cancelled(config: Config) {
    let mut driver = Driver::new(config.buffers(1, 64));
    let (mut client, server) = pair();
    client.write_all(b"one").unwrap();
    let recv = driver.begin_recv_provided(raw_socket(&server), 64);
    let outcome = driver.finish(recv).0.unwrap();
    let (bytes, buffer) = driver.held(outcome);
    assert_eq!(bytes, b"one");
    client.write_all(b"two").unwrap();
    let recv = driver.begin_recv_provided(raw_socket(&server), 64);
    driver.assert_waits(recv);
    driver.cancel_waiting(recv);
    driver.port().recycle(buffer).unwrap();
    assert_eq!(driver.recv_provided(raw_socket(&server), 64).unwrap(), b"two");
}

fn many_recv_provided_share_few_buffers(config: Config) {
    let mut driver = Driver::new(config.buffers(2, 64));
    let (clients, servers): (Vec<_>, Vec<_>) = (0..40).map(|_| pair()).unzip();
    let receives: Vec<_> = servers.iter().map(|server| driver.begin_recv_provided(raw_socket(server), 64)).collect();
    driver.turn(Duration::ZERO);
    for (number, mut client) in clients.iter().enumerate() {
        client.write_all(&[number as u8; 3]).unwrap();
    }
    let mut waiting: Vec<_> = receives.into_iter().enumerate().collect();
    driver.until("every receive", |driver| {
        waiting.retain(|(number, recv)| {
            let Some(completion) = driver.arrived(*recv) else { return true };
            assert_eq!(driver.provided(completion.result.unwrap()), [*number as u8; 3]);
            false
        });
        waiting.is_empty()
    });
}

fn buffers_can_be_recycled_in_any_order(config: Config) {
    let mut driver = Driver::new(config.buffers(8, 32));
    let (mut client, server) = pair();
    let mut random = fastrand::Rng::with_seed(11);
    let (mut position, mut held) = (0, Vec::new());
    for round in 0..300 {
        client.write_all(&bytes_at(8, position, 32)).unwrap();
        let recv = driver.begin_recv_provided(raw_socket(&server), 32);
        let outcome = driver.finish(recv).0.unwrap();
        let (bytes, buffer) = driver.held(outcome);
        assert_eq!(bytes, bytes_at(8, position, 32), "in round {round}");
        held.push((bytes, buffer));
        position += 32;
        for (bytes, buffer) in &held {
            assert_eq!(driver.port().buffer(buffer), bytes, "a buffer changed that was not given back");
        }
        if held.len() == 8 {
            random.shuffle(&mut held);
            for (_, buffer) in held.drain(random.usize(..8)..) {
                driver.port().recycle(buffer).unwrap();
            }
        }
    }
}

fn idle_receives_hold_no_buffer(config: Config) {
    let mut driver = Driver::new(config.buffers(1, 64));
    let (idle_clients, idle): (Vec<_>, Vec<_>) = (0..20).map(|_| pair()).unzip();
    let waiting: Vec<_> = idle.iter().map(|server| driver.begin_recv_provided(raw_socket(server), 64)).collect();
    driver.turn(Duration::ZERO);
    let (mut client, server) = pair();
    for _ in 0..5 {
        client.write_all(b"busy").unwrap();
        assert_eq!(driver.recv_provided(raw_socket(&server), 64).unwrap(), b"busy");
    }
    waiting.into_iter().for_each(|recv| driver.cancel_waiting(recv));
    for mut client in idle_clients {
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock, "it is open still");
    }
}
