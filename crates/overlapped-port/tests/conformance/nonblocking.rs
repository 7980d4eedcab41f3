//! A socket in non-blocking mode behaves as one in blocking mode: nobody above the port learns that it should try
//! again.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use overlapped_port::sys::{MSG_WAITALL, raw_socket};
use overlapped_port::{Address, Config, Interest, Op};
use socket2::{Domain, Socket, Type};

use crate::driver::{Driver, bytes_at, socket as new_socket};
use crate::loopback::{closed_port, datagram_pair, listener, pair, reset};

crate::on_every_backend!(
    accept_waits,
    accept_multishot_waits,
    connect_waits,
    every_receive_waits,
    a_receive_that_waits_for_all_waits,
    a_message_that_waits_for_all_waits,
    a_disconnect_waits,
    multishot_receive_waits,
    every_send_waits,
    datagrams_wait,
    ends_and_errors_are_the_same,
    the_callers_mode_is_left_as_it_was,
);

/// Two connected sockets in non-blocking mode.
fn nonblocking_pair() -> (TcpStream, TcpStream) {
    let (client, server) = pair();
    client.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    (client, server)
}

fn accept_waits(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    listener.set_nonblocking(true).unwrap();
    for _ in 0..3 {
        let accept = driver.begin_accept(raw_socket(&listener));
        driver.assert_waits(accept);
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_server, peer) = driver.accepted(accept).unwrap();
        assert_eq!(peer.to_socket_addr(), Some(client.local_addr().unwrap()));
    }
    let accept = driver.begin_accept(raw_socket(&listener));
    driver.assert_waits(accept);
    driver.cancel_waiting(accept);
}

fn accept_multishot_waits(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    listener.set_nonblocking(true).unwrap();
    let accepts = driver.begin(Op::AcceptMultishot { listener: raw_socket(&listener) });
    for _ in 0..5 {
        driver.assert_waits(accepts);
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let completion = driver.next(accepts);
        assert!(completion.more);
        let server = TcpStream::from(new_socket(completion.result.unwrap()));
        assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
    }
    driver.cancel_waiting(accepts);
}

fn connect_waits(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    client.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(driver.connect(raw_socket(&client), address.into()).unwrap(), 0);
    assert_eq!(client.peer_addr().unwrap().as_socket(), Some(address));
    let refused = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    refused.set_nonblocking(true).unwrap();
    let error = driver.connect(raw_socket(&refused), closed_port().into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

fn every_receive_waits(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = nonblocking_pair();
    let socket = raw_socket(&server);
    for _ in 0..3 {
        let recv = driver.begin_recv(socket, 8, 0);
        driver.assert_waits(recv);
        client.write_all(b"one").unwrap();
        assert_eq!(driver.received(recv).unwrap(), b"one");
        let recv = driver.begin_recv_provided(socket, 8);
        driver.assert_waits(recv);
        client.write_all(b"two").unwrap();
        let outcome = driver.finish(recv).0.unwrap();
        assert_eq!(driver.provided(outcome), b"two");
        let receive = driver.begin_recv_message(socket, &[1, 8], 0, 0);
        driver.assert_waits(receive);
        client.write_all(b"three").unwrap();
        assert_eq!(driver.received_message(receive).unwrap().bytes(), b"three");
        let readable = driver.begin_poll(socket, Interest::READABLE);
        driver.assert_waits(readable);
        driver.cancel_waiting(readable);
        let recv = driver.begin_recv(socket, 8, 0);
        driver.assert_waits(recv);
        driver.cancel_waiting(recv);
    }
}

fn a_receive_that_waits_for_all_waits(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = nonblocking_pair();
    let recv = driver.begin_recv(raw_socket(&server), 9, MSG_WAITALL);
    for piece in [&b"one"[..], b"two"] {
        client.write_all(piece).unwrap();
        driver.assert_waits(recv);
    }
    client.write_all(b"three").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"onetwothr");
}

fn a_message_that_waits_for_all_waits(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = nonblocking_pair();
    let recv = driver.begin_recv_message(raw_socket(&server), &[2, 5, 2], 0, MSG_WAITALL);
    for piece in [&b"one"[..], b"two"] {
        client.write_all(piece).unwrap();
        driver.assert_waits(recv);
    }
    client.write_all(b"three").unwrap();
    assert_eq!(driver.received_message(recv).unwrap().parts, [&b"on"[..], b"etwot", b"hr"]);
}

fn a_disconnect_waits(config: Config) {
    let mut driver = Driver::new(config);
    for cancelled in [true, false] {
        let (mut client, server) = nonblocking_pair();
        let disconnect = driver.begin(Op::Disconnect { socket: raw_socket(&server) });
        for piece in [&b"is"[..], b"thrown away"] {
            client.write_all(piece).unwrap();
            driver.assert_waits(disconnect);
        }
        if cancelled {
            driver.cancel_waiting(disconnect);
        } else {
            drop(client);
            assert_eq!(driver.counted(disconnect).unwrap(), 0);
        }
    }
}

fn multishot_receive_waits(config: Config) {
    let mut driver = Driver::new(config.buffers(2, 64));
    let (mut client, server) = nonblocking_pair();
    let receives = driver.begin(Op::RecvMultishot { socket: raw_socket(&server) });
    for round in 0..10_u8 {
        driver.assert_waits(receives);
        client.write_all(&[round]).unwrap();
        let completion = driver.next(receives);
        assert!(completion.more);
        assert_eq!(driver.provided(completion.result.unwrap()), [round]);
    }
    drop(client);
    let (before, last) = driver.finish_all(receives);
    assert!(before.is_empty());
    assert_eq!(driver.provided(last.unwrap()), b"");
}

fn every_send_waits(config: Config) {
    const MUCH: usize = 8 << 20;
    let mut driver = Driver::new(config);
    let (mut client, server) = nonblocking_pair();
    let send = driver.begin_send(raw_socket(&server), bytes_at(1, 0, MUCH), true);
    driver.assert_waits(send);
    let reader = std::thread::spawn(move || {
        client.set_nonblocking(false).unwrap();
        let mut received = Vec::new();
        std::thread::sleep(Duration::from_millis(20));
        client.read_to_end(&mut received).unwrap();
        received
    });
    assert_eq!(driver.counted(send).unwrap(), MUCH);
    let mut sent = MUCH;
    while sent < 2 * MUCH {
        let bytes = bytes_at(1, sent, 100_000.min(2 * MUCH - sent));
        let (head, tail) = bytes.split_at(bytes.len() / 3);
        let taken = driver.send_message(raw_socket(&server), &[head, tail], None, &[]).unwrap();
        assert!(taken > 0);
        sent += taken;
    }
    drop(server);
    assert!(reader.join().unwrap() == bytes_at(1, 0, sent));
}

fn datagrams_wait(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    left.set_nonblocking(true).unwrap();
    right.set_nonblocking(true).unwrap();
    let to = Address::from(right.local_addr().unwrap());
    for number in 0..5_u8 {
        let receive = driver.begin_recv_message(raw_socket(&right), &[64], 0, 0);
        driver.assert_waits(receive);
        driver.send_message(raw_socket(&left), &[&[number]], Some(&to), &[]).unwrap();
        let received = driver.received_message(receive).unwrap();
        assert_eq!(received.bytes(), [number]);
        assert_eq!(received.address.to_socket_addr(), Some(left.local_addr().unwrap()));
    }
}

fn ends_and_errors_are_the_same(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = nonblocking_pair();
    let recv = driver.begin_recv(raw_socket(&server), 8, 0);
    driver.assert_waits(recv);
    drop(client);
    assert_eq!(driver.received(recv).unwrap(), b"");
    let (client, server) = nonblocking_pair();
    let recv = driver.begin_recv(raw_socket(&server), 8, 0);
    driver.assert_waits(recv);
    reset(client);
    assert_eq!(driver.received(recv).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let error = driver.send(raw_socket(&server), b"x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

/// Whether a receive of the standard library's waits, on a socket that has nothing to receive.
#[cfg(unix)]
fn waits(socket: &TcpStream) -> bool {
    !socket2::SockRef::from(socket).nonblocking().unwrap()
}

/// The same; here the mode can be seen in nothing but an error.
#[cfg(windows)]
fn waits(mut socket: &TcpStream) -> bool {
    socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    socket.read(&mut [0]).unwrap_err().kind() == ErrorKind::TimedOut
}

fn the_callers_mode_is_left_as_it_was(config: Config) {
    let mut driver = Driver::new(config);
    for nonblocking in [false, true] {
        let (client, server) = pair();
        server.set_nonblocking(nonblocking).unwrap();
        let recv = driver.begin_recv(raw_socket(&server), 8, 0);
        driver.assert_waits(recv);
        driver.send(raw_socket(&client), b"x").unwrap();
        driver.received(recv).unwrap();
        driver.send(raw_socket(&server), b"x").unwrap();
        assert_eq!(waits(&server), !nonblocking);
    }
}
