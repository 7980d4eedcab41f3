//! Streams: connections over TCP.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use overlapped_port::sys::{self, MSG_PEEK, MSG_WAITALL, RawSocket, raw_socket};
use overlapped_port::{Config, Op, Outcome};
use socket2::{Domain, Socket, Type};

use crate::driver::{Driver, Flight, bytes_at, count, socket as new_socket};
use crate::loopback::{closed_port, listener, pair, reset, shrink_buffers};
use crate::patience::patience;
use crate::system;

crate::on_every_backend!(
    accept_waits_for_a_connection,
    accept_brings_the_peers_ipv4_address,
    accept_brings_the_peers_ipv6_address,
    accept_without_an_address,
    accepts_in_flight_each_bring_one_connection,
    connect_reaches_a_listener,
    connect_is_refused_where_nobody_listens,
    connect_twice_is_an_error,
    connect_to_another_family_is_an_error,
    recv_waits_for_bytes,
    recv_brings_what_is_there,
    recv_at_the_end_of_the_stream_brings_nothing,
    recv_of_a_reset_connection_is_an_error_and_no_end,
    recv_that_waits_is_told_of_a_reset,
    recv_brings_bytes_before_a_reset,
    recv_of_all_leaves_a_reset_to_the_next,
    recv_can_peek,
    recv_that_peeks_waits_for_no_more_than_there_is,
    recv_can_wait_for_all,
    recv_that_waits_for_all_is_cut_short_by_the_end,
    every_receive_can_wait_for_all,
    nothing_to_send_is_sent_at_once,
    recv_provided_takes_no_more_than_its_limit,
    recv_provided_at_the_end_of_the_stream_brings_nothing,
    recv_provided_of_a_reset_connection_is_an_error,
    send_all_goes_on_while_the_peer_reads_slowly,
    send_all_is_as_fast_as_the_peer,
    send_takes_what_there_is_room_for,
    send_after_a_reset_is_an_error,
    send_after_shutdown_is_a_broken_pipe,
    send_all_ends_short_or_fails_when_the_peer_resets,
    vectored_send_and_receive_keep_the_order,
    vectored_send_waits_for_room,
    both_directions_at_once,
    shutdown_of_writing_ends_the_peers_stream_alone,
    shutdown_of_reading_ends_a_receive_that_waits,
    shutdown_through_a_duplicate_ends_a_receive_that_waits,
    shutdown_of_both_directions,
    what_is_not_connected_says_so,
    close_ends_the_peers_stream,
);

/// A new TCP socket of IPv4.
fn tcp() -> Socket {
    Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()
}

fn accept_waits_for_a_connection(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let accept = driver.begin_accept(raw_socket(&listener));
    driver.assert_waits(accept);
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = driver.accepted(accept).unwrap();
    client.write_all(b"hello").unwrap();
    assert_eq!(driver.recv(raw_socket(&server), 16).unwrap(), b"hello");
}

fn accept_brings_the_peers_ipv4_address(config: Config) {
    accept_brings_the_peers_address(config, &listener());
}

fn accept_brings_the_peers_ipv6_address(config: Config) {
    match TcpListener::bind("[::1]:0") {
        Ok(listener) => accept_brings_the_peers_address(config, &listener),
        Err(error) => eprintln!("this machine has no IPv6 on loopback: {error}"),
    }
}

fn accept_brings_the_peers_address(config: Config, listener: &TcpListener) {
    let mut driver = Driver::new(config);
    let early = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_server, peer) = driver.accept(raw_socket(listener)).unwrap();
    assert_eq!(peer.to_socket_addr(), Some(early.local_addr().unwrap()), "of a connection that was there");

    let accept = driver.begin_accept(raw_socket(listener));
    driver.assert_waits(accept);
    let late = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (_server, peer) = driver.accepted(accept).unwrap();
    assert_eq!(peer.to_socket_addr(), Some(late.local_addr().unwrap()), "of a connection that was waited for");
}

fn accept_without_an_address(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let accepted = driver.run(Op::Accept { listener: raw_socket(&listener), peer: None }).unwrap();
    let server = TcpStream::from(new_socket(accepted));
    assert_eq!(server.peer_addr().unwrap(), client.local_addr().unwrap());
    drop(server);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "the socket was closed with its owner");
}

fn accepts_in_flight_each_bring_one_connection(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let accepts: Vec<_> = (0..20).map(|_| driver.begin_accept(raw_socket(&listener))).collect();
    driver.turn(Duration::ZERO);
    let address = listener.local_addr().unwrap();
    let clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).unwrap()).collect();
    let mut wanted: Vec<_> = clients.iter().map(|client| client.local_addr().unwrap()).collect();
    let mut peers: Vec<_> =
        accepts.into_iter().map(|accept| driver.accepted(accept).unwrap().1.to_socket_addr().unwrap()).collect();
    wanted.sort();
    peers.sort();
    assert_eq!(peers, wanted);
}

fn connect_reaches_a_listener(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let client = tcp();
    let address = listener.local_addr().unwrap().into();
    assert_eq!(driver.connect(raw_socket(&client), address).unwrap(), 0);
    let (server, _) = driver.accept(raw_socket(&listener)).unwrap();
    assert_eq!(driver.send(raw_socket(&client), b"to the server").unwrap(), 13);
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"to the server");
    assert_eq!(driver.send(raw_socket(&server), b"to the client").unwrap(), 13);
    assert_eq!(driver.recv(raw_socket(&client), 64).unwrap(), b"to the client");
}

fn connect_is_refused_where_nobody_listens(config: Config) {
    let mut driver = Driver::new(config);
    let client = tcp();
    let error = driver.connect(raw_socket(&client), closed_port().into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

fn connect_twice_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let (client, _server) = pair();
    let address = client.peer_addr().unwrap().into();
    let error = driver.connect(raw_socket(&client), address).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(system::IS_CONNECTED));
}

fn connect_to_another_family_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let client = tcp();
    let address = "[::1]:9".parse::<std::net::SocketAddr>().unwrap().into();
    let error = driver.connect(raw_socket(&client), address).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(system::WRONG_FAMILY));
}

fn recv_waits_for_bytes(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    driver.assert_waits(recv);
    client.write_all(b"late").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"late");
}

fn recv_brings_what_is_there(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    client.write_all(b"early").unwrap();
    assert_eq!(driver.recv(raw_socket(&server), 3).unwrap(), b"ear");
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"ly");
}

fn recv_at_the_end_of_the_stream_brings_nothing(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    client.write_all(b"last words").unwrap();
    drop(client);
    assert_eq!(driver.recv_exactly(raw_socket(&server), 100).unwrap(), b"last words");
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"", "and again");

    let (client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    driver.assert_waits(recv);
    drop(client);
    assert_eq!(driver.received(recv).unwrap(), b"", "where it was waited for");
}

fn recv_of_a_reset_connection_is_an_error_and_no_end(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    reset(client);
    let error = driver.recv(raw_socket(&server), 64).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

fn recv_that_waits_is_told_of_a_reset(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    driver.assert_waits(recv);
    reset(client);
    assert_eq!(driver.received(recv).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn recv_brings_bytes_before_a_reset(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    client.write_all(b"last words").unwrap();
    reset(client);
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"last words");
    let error = driver.recv(raw_socket(&server), 64).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// When the reset comes to a receive that waits for all.
#[derive(Clone, Copy, Debug)]
enum Reset {
    Before,
    AfterAPart,
    WithMore,
}

fn recv_of_all_leaves_a_reset_to_the_next(config: Config) {
    type Begin = fn(&mut Driver, RawSocket) -> Flight;
    let begins: [(&str, Begin); 3] = [
        ("recv", |driver, socket| driver.begin_recv(socket, 100, MSG_WAITALL).untyped()),
        ("recvmsg", |driver, socket| driver.begin_recv_message(socket, &[2, 0, 70, 28], 0, MSG_WAITALL).untyped()),
        ("a provided recv", |driver, socket| driver.begin(Op::RecvProvided { socket, limit: 100, flags: MSG_WAITALL })),
    ];
    for (name, begin) in begins {
        let times = [Reset::Before, Reset::AfterAPart, Reset::WithMore];
        for (when, next_sends) in times.into_iter().flat_map(|when| [(when, false), (when, true)]) {
            let mut driver = Driver::new(config.clone());
            let (mut client, server) = pair();
            let socket = raw_socket(&server);
            client.write_all(b"a part").unwrap();
            let mut client = Some(client);
            if let Reset::Before = when {
                reset(client.take().unwrap());
            }
            let recv = begin(&mut driver, socket);
            let mut sent = 6;
            if let Some(mut client) = client {
                driver.assert_waits(recv);
                if let Reset::WithMore = when {
                    client.write_all(b" and more").unwrap();
                    sent = 15;
                }
                reset(client);
            }
            let brought = match driver.next(recv).result {
                Ok(Outcome::Provided(Some(buffer))) => {
                    let length = buffer.len();
                    driver.port().recycle(buffer).unwrap();
                    length
                }
                Ok(Outcome::Count(count)) => count,
                other => panic!("{name}, {when:?}: {other:?}"),
            };
            assert_eq!(brought, sent, "{name}, {when:?}");
            let error = match next_sends {
                false => driver.recv(socket, 8).unwrap_err(),
                true => driver.send(socket, b"anybody?").unwrap_err(),
            };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{name}, {when:?}, then a send: {next_sends}");
        }
    }
}

fn recv_can_peek(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let peek = driver.begin_recv(raw_socket(&server), 4, MSG_PEEK);
    driver.assert_waits(peek);
    client.write_all(b"still there").unwrap();
    assert_eq!(driver.received(peek).unwrap(), b"stil");
    let peek = driver.run(Op::RecvProvided { socket: raw_socket(&server), limit: 5, flags: MSG_PEEK }).unwrap();
    assert_eq!(driver.provided(peek), b"still");
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"still there");
}

/// It would see the same bytes again.
fn recv_that_peeks_waits_for_no_more_than_there_is(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let (socket, flags) = (raw_socket(&server), MSG_PEEK | MSG_WAITALL);
    client.write_all(b"a part").unwrap();
    let plain = driver.begin_recv(socket, 64, flags);
    assert_eq!(driver.received(plain).unwrap(), b"a part");
    let provided = driver.run(Op::RecvProvided { socket, limit: 64, flags }).unwrap();
    assert_eq!(driver.provided(provided), b"a part");
    assert_eq!(driver.recv_message(socket, &[2, 62], 0, flags).unwrap().bytes(), b"a part");
    assert_eq!(driver.recv(socket, 64).unwrap(), b"a part");
}

fn recv_can_wait_for_all(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 9, MSG_WAITALL);
    for piece in [b"one", b"two"] {
        client.write_all(piece).unwrap();
        driver.assert_waits(recv);
    }
    client.write_all(b"three").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"onetwothr");
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"ee");
}

fn recv_that_waits_for_all_is_cut_short_by_the_end(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 100, MSG_WAITALL);
    client.write_all(b"a part").unwrap();
    driver.assert_waits(recv);
    drop(client);
    assert_eq!(driver.received(recv).unwrap(), b"a part");
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"");
}

fn every_receive_can_wait_for_all(config: Config) {
    let mut driver = Driver::new(config.buffers(2, 64));
    let (mut client, server) = pair();
    let socket = raw_socket(&server);
    let mut in_pieces = |driver: &mut Driver, flight: Flight| {
        for piece in [b"one", b"two"] {
            client.write_all(piece).unwrap();
            driver.assert_waits(flight);
        }
        client.write_all(b"three").unwrap();
    };
    let provided = driver.begin(Op::RecvProvided { socket, limit: 11, flags: MSG_WAITALL });
    in_pieces(&mut driver, provided);
    let outcome = driver.finish(provided).0.unwrap();
    assert_eq!(driver.provided(outcome), b"onetwothree");
    let message = driver.begin_recv_message(socket, &[2, 5, 4], 0, MSG_WAITALL);
    in_pieces(&mut driver, message.untyped());
    let received = driver.received_message(message).unwrap();
    assert_eq!(received.parts, [&b"on"[..], b"etwot", b"hree"]);
    // A limit beyond the port's buffers is cut to one, and that is then all.
    client.write_all(&bytes_at(1, 0, 100)).unwrap();
    let provided = driver.begin(Op::RecvProvided { socket, limit: 1000, flags: MSG_WAITALL });
    let outcome = driver.finish(provided).0.unwrap();
    assert_eq!(driver.provided(outcome), bytes_at(1, 0, 64));
}

fn nothing_to_send_is_sent_at_once(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    for all in [true, false] {
        let send = driver.begin_send(raw_socket(&client), Vec::new(), all);
        assert_eq!(driver.counted(send).unwrap(), 0);
    }
    assert_eq!(driver.send_message(raw_socket(&client), &[], None, &[]).unwrap(), 0);
    assert_eq!(driver.send_message(raw_socket(&client), &[b"", b""], None, &[]).unwrap(), 0);
    let recv = driver.begin_recv(raw_socket(&server), 8, 0);
    driver.assert_waits(recv);
    driver.send(raw_socket(&client), b"something").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"somethin");
}

fn recv_provided_takes_no_more_than_its_limit(config: Config) {
    let mut driver = Driver::new(config.buffers(4, 64));
    let (mut client, server) = pair();
    let recv = driver.begin_recv_provided(raw_socket(&server), 5);
    driver.assert_waits(recv);
    let sent = bytes_at(1, 0, 100);
    client.write_all(&sent).unwrap();
    let outcome = driver.finish(recv).0.unwrap();
    assert_eq!(driver.provided(outcome), sent[..5]);
    assert_eq!(driver.recv_provided(raw_socket(&server), 3).unwrap(), sent[5..8]);
    assert_eq!(driver.recv_provided(raw_socket(&server), 1000).unwrap(), sent[8..72], "a buffer's length");
    assert_eq!(driver.recv(raw_socket(&server), 1000).unwrap(), sent[72..], "nothing was read ahead");
}

fn recv_provided_at_the_end_of_the_stream_brings_nothing(config: Config) {
    // More ends than buffers: an end must not use one up.
    let mut driver = Driver::new(config.buffers(2, 64));
    for _ in 0..10 {
        let (client, server) = pair();
        let recv = driver.begin_recv_provided(raw_socket(&server), 64);
        driver.turn(Duration::ZERO);
        drop(client);
        let outcome = driver.finish(recv).0.unwrap();
        assert_eq!(driver.provided(outcome), b"");
    }
}

fn recv_provided_of_a_reset_connection_is_an_error(config: Config) {
    let mut driver = Driver::new(config.buffers(2, 64));
    for _ in 0..10 {
        let (client, server) = pair();
        let recv = driver.begin_recv_provided(raw_socket(&server), 64);
        driver.turn(Duration::ZERO);
        reset(client);
        assert_eq!(driver.finish(recv).0.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
}

/// Far more than the buffers of a connection hold.
const MUCH: usize = 8 << 20;

fn send_all_goes_on_while_the_peer_reads_slowly(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let sent = bytes_at(2, 0, MUCH);
    let send = driver.begin_send(raw_socket(&server), sent.clone(), true);
    driver.assert_waits(send);
    let reader = std::thread::spawn(move || {
        let mut received = vec![0; MUCH];
        for chunk in received.chunks_mut(100_000) {
            client.read_exact(chunk).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        received
    });
    assert_eq!(driver.counted(send).unwrap(), MUCH);
    assert!(reader.join().unwrap() == sent, "other bytes arrived than were sent");
}

/// A part that was taken is no reason to look less often whether there is room for more.
fn send_all_is_as_fast_as_the_peer(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let rounds = 16;
    let send = driver.begin_send(raw_socket(&server), vec![7; rounds * MUCH], true);
    let start = Instant::now();
    let reader = std::thread::spawn(move || {
        let mut received = vec![0; 64 << 10];
        (0..rounds * MUCH / received.len()).for_each(|_| client.read_exact(&mut received).unwrap());
    });
    assert_eq!(driver.counted(send).unwrap(), rounds * MUCH);
    reader.join().unwrap();
    // Memory is copied thousands of times as fast; a backend that dawdled took ten seconds.
    assert!(start.elapsed() < patience() / 2, "{:?}", start.elapsed());
}

fn send_takes_what_there_is_room_for(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let sent = bytes_at(3, 0, MUCH);
    let send = driver.begin_send(raw_socket(&server), sent.clone(), false);
    // A system may take everything at once, or wait for the peer; but it says truly how much it took.
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        received
    });
    let taken = driver.counted(send).unwrap();
    assert!(taken > 0);
    drop(server);
    assert!(reader.join().unwrap() == sent[..taken], "other bytes arrived than were sent");
}

fn send_after_a_reset_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    reset(client);
    let error = driver.send(raw_socket(&server), b"anybody?").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
    let error = driver.send(raw_socket(&server), b"anybody?").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "once the reset was told");
}

fn send_after_shutdown_is_a_broken_pipe(config: Config) {
    let mut driver = Driver::new(config);
    let (_client, server) = pair();
    driver.run(Op::Shutdown { socket: raw_socket(&server), how: Shutdown::Write }).unwrap();
    for all in [true, false] {
        let send = driver.begin_send(raw_socket(&server), b"more".to_vec(), all);
        assert_eq!(driver.counted(send).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
    let error = driver.send_message(raw_socket(&server), &[b"more"], None, &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn send_all_ends_short_or_fails_when_the_peer_resets(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let send = driver.begin_send(raw_socket(&server), bytes_at(4, 0, MUCH), true);
    driver.assert_waits(send);
    reset(client);
    match driver.counted(send) {
        Ok(taken) => assert!(taken > 0 && taken < MUCH, "{taken} bytes"),
        Err(error) => panic!("bytes that the system took are not reported: {error}"),
    }
    let error = driver.send(raw_socket(&server), b"more").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
}

fn vectored_send_and_receive_keep_the_order(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let receive = driver.begin_recv_message(raw_socket(&server), &[1, 0, 4, 64], 0, 0);
    driver.assert_waits(receive);
    let sent = driver.send_message(raw_socket(&client), &[b"ab", b"", b"cdefg"], None, &[]).unwrap();
    assert_eq!(sent, 7);
    let received = driver.received_message(receive).unwrap();
    assert_eq!(received.parts, [&b"a"[..], b"", b"bcde", b"fg"]);
    assert!(!received.truncated && !received.control_truncated);
    assert_eq!(received.address.as_bytes(), b"", "a stream's bytes have no sender");
    drop(client);
    let end = driver.recv_message(raw_socket(&server), &[8, 8], 0, 0).unwrap();
    assert_eq!(end.bytes(), b"");
}

fn vectored_send_waits_for_room(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    shrink_buffers(&server, &client);
    let mut taken = 0;
    let waiting = loop {
        let bytes = bytes_at(5, taken, 1 << 16);
        let (head, tail) = bytes.split_at(1000);
        let send = driver.begin_send_message(raw_socket(&server), &[head, tail], None, &[]);
        if driver.waits(send) {
            break send;
        }
        taken += driver.counted(send).unwrap();
        assert!(taken < MUCH, "a connection that nobody reads from takes everything");
    };
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        received
    });
    taken += driver.counted(waiting).unwrap();
    drop(server);
    assert!(reader.join().unwrap() == bytes_at(5, 0, taken), "other bytes arrived than were sent");
}

fn both_directions_at_once(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let reader = {
        let mut client = client.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut received = vec![0; MUCH];
            client.read_exact(&mut received).unwrap();
            received
        })
    };
    let writer = std::thread::spawn(move || client.write_all(&bytes_at(6, 0, MUCH)).unwrap());
    let send = driver.begin_send(raw_socket(&server), bytes_at(7, 0, MUCH), true);
    let recv = driver.begin_recv(raw_socket(&server), MUCH, MSG_WAITALL);
    assert!(driver.received(recv).unwrap() == bytes_at(6, 0, MUCH));
    assert_eq!(driver.counted(send).unwrap(), MUCH);
    assert!(reader.join().unwrap() == bytes_at(7, 0, MUCH));
    writer.join().unwrap();
}

fn shutdown_of_writing_ends_the_peers_stream_alone(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    driver.assert_waits(recv);
    let shutdown = driver.run(Op::Shutdown { socket: raw_socket(&client), how: Shutdown::Write }).unwrap();
    assert_eq!(count(shutdown), 0);
    assert_eq!(driver.received(recv).unwrap(), b"");
    driver.send(raw_socket(&server), b"the other way").unwrap();
    assert_eq!(driver.recv(raw_socket(&client), 64).unwrap(), b"the other way");
}

fn shutdown_of_reading_ends_a_receive_that_waits(config: Config) {
    let mut driver = Driver::new(config);
    let (_client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 64, 0);
    driver.assert_waits(recv);
    driver.run(Op::Shutdown { socket: raw_socket(&server), how: Shutdown::Read }).unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"");
}

fn shutdown_through_a_duplicate_ends_a_receive_that_waits(config: Config) {
    for swapped in [false, true] {
        let mut driver = Driver::new(config.clone());
        let (client, server) = pair();
        let duplicate = server.try_clone().unwrap();
        sys::forget_socket(raw_socket(&duplicate));
        let mut both = [&server, &duplicate].map(raw_socket);
        if swapped {
            both.reverse();
        }
        let [receives, shuts] = both;
        assert_eq!(driver.send(shuts, b"both are used").unwrap(), 13);
        assert_eq!(driver.recv_exactly(raw_socket(&client), 13).unwrap(), b"both are used");
        let recv = driver.begin_recv(receives, 64, 0);
        driver.assert_waits(recv);
        driver.run(Op::Shutdown { socket: shuts, how: Shutdown::Read }).unwrap();
        assert_eq!(driver.received(recv).unwrap(), b"");
    }
}

fn shutdown_of_both_directions(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    driver.run(Op::Shutdown { socket: raw_socket(&server), how: Shutdown::Both }).unwrap();
    assert_eq!(driver.recv(raw_socket(&server), 64).unwrap(), b"");
    assert_eq!(driver.recv(raw_socket(&client), 64).unwrap(), b"");
    assert_eq!(driver.send(raw_socket(&server), b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
}

fn what_is_not_connected_says_so(config: Config) {
    let mut driver = Driver::new(config);
    let lonely = tcp();
    let error = driver.recv(raw_socket(&lonely), 8).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected, "recv");
    let error = driver.recv_message(raw_socket(&lonely), &[8], 0, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected, "recvmsg");
    let error = driver.recv_provided(raw_socket(&lonely), 8).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected, "a provided recv");
    let error = driver.run(Op::Shutdown { socket: raw_socket(&lonely), how: Shutdown::Both }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected, "shutdown");
    // Linux says EPIPE for a stream that was never connected.
    let error = driver.send(raw_socket(&lonely), b"x").unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotConnected | ErrorKind::BrokenPipe), "send: {error}");
}

fn close_ends_the_peers_stream(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let server = system::give_up(server);
    assert_eq!(count(driver.run(Op::CloseSocket { socket: server }).unwrap()), 0);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
}
