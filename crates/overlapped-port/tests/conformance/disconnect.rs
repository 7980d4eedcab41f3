//! Ending a stream in good order: what was sent arrives, and the peer's end is waited for.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use overlapped_port::sys::{self, RawSocket, raw_socket};
use overlapped_port::{Config, Op};

use crate::driver::{Driver, Flight, assert_cancelled, bytes_at};
use crate::loopback::{datagram_pair, listener, pair, reset};

crate::on_every_backend!(
    it_ends_when_the_peer_has_ended,
    it_ends_at_once_where_the_peer_has_ended_before,
    the_peer_gets_all_and_is_not_answered_with_a_reset,
    a_reset_is_told,
    one_that_waits_is_cancelled,
    both_ends_may_disconnect,
    after_a_shutdown_it_waits_for_the_peer,
    a_receive_that_waits_finds_the_end_too,
    what_is_no_connected_stream_is_refused,
);

fn begin(driver: &mut Driver, socket: RawSocket) -> Flight {
    driver.begin(Op::Disconnect { socket })
}

fn it_ends_when_the_peer_has_ended(config: Config) {
    let mut driver = Driver::new(config);
    for peer_shuts_down in [true, false] {
        let (mut client, server) = pair();
        let disconnect = begin(&mut driver, raw_socket(&server));
        driver.assert_waits(disconnect);
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "the peer finds the end of the stream");
        driver.assert_waits(disconnect);
        if peer_shuts_down {
            client.shutdown(Shutdown::Write).unwrap();
        } else {
            drop(client);
        }
        assert_eq!(driver.counted(disconnect).unwrap(), 0);
        let error = driver.send(raw_socket(&server), b"more").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        assert_eq!(driver.recv(raw_socket(&server), 8).unwrap(), b"");
    }
}

fn it_ends_at_once_where_the_peer_has_ended_before(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    client.write_all(b"unread").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    driver.run(Op::Disconnect { socket: raw_socket(&server) }).unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
    // Again, when both sides have ended.
    driver.run(Op::Disconnect { socket: raw_socket(&server) }).unwrap();
    drop(server);
}

fn the_peer_gets_all_and_is_not_answered_with_a_reset(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = driver.accept(raw_socket(&listener)).unwrap();
    let (sent, answer) = (bytes_at(1, 0, 3 << 20), bytes_at(2, 0, 1 << 20));
    let peer = std::thread::spawn({
        let (mut client, answer) = (client.try_clone().unwrap(), answer.clone());
        sys::forget_socket(raw_socket(&client));
        move || {
            // More than the connection holds: it arrives only because somebody takes it.
            client.write_all(&answer).unwrap();
            let mut received = Vec::new();
            client.read_to_end(&mut received).unwrap();
            client.write_all(&answer).unwrap();
            client.shutdown(Shutdown::Both).unwrap();
            received
        }
    });
    let send = driver.begin_send(raw_socket(&server), sent.clone(), true);
    assert_eq!(driver.recv_exactly(raw_socket(&server), answer.len()).unwrap(), answer);
    assert_eq!(driver.counted(send).unwrap(), sent.len());
    driver.run(Op::Disconnect { socket: raw_socket(&server) }).unwrap();
    drop(server);
    assert!(peer.join().unwrap() == sent);
}

fn a_reset_is_told(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let disconnect = begin(&mut driver, raw_socket(&server));
    driver.assert_waits(disconnect);
    reset(client);
    assert_eq!(driver.counted(disconnect).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

fn one_that_waits_is_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    for _ in 0..3 {
        let disconnect = begin(&mut driver, raw_socket(&server));
        driver.assert_waits(disconnect);
        client.write_all(b"is thrown away").unwrap();
        driver.assert_waits(disconnect);
        driver.cancel_waiting(disconnect);
    }
    let error = driver.send(raw_socket(&server), b"more").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe, "the sending side has ended");
    client.write_all(b"still there").unwrap();
    assert_eq!(driver.recv_exactly(raw_socket(&server), 11).unwrap(), b"still there");
    let disconnect = begin(&mut driver, raw_socket(&server));
    assert_eq!(driver.port().cancel_socket(raw_socket(&server)), 1);
    assert_cancelled(&driver.finish(disconnect).0);
}

fn both_ends_may_disconnect(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    driver.send(raw_socket(&client), b"unread").unwrap();
    let both = [&client, &server].map(|socket| begin(&mut driver, raw_socket(socket)));
    for disconnect in both {
        assert_eq!(driver.counted(disconnect).unwrap(), 0);
    }
}

fn after_a_shutdown_it_waits_for_the_peer(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    driver.run(Op::Shutdown { socket: raw_socket(&server), how: Shutdown::Write }).unwrap();
    let disconnect = begin(&mut driver, raw_socket(&server));
    driver.assert_waits(disconnect);
    drop(client);
    assert_eq!(driver.counted(disconnect).unwrap(), 0);
    // With no side left, there is nothing to wait for.
    let (_client, server) = pair();
    driver.run(Op::Shutdown { socket: raw_socket(&server), how: Shutdown::Both }).unwrap();
    driver.run(Op::Disconnect { socket: raw_socket(&server) }).unwrap();
}

fn a_receive_that_waits_finds_the_end_too(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 8, 0);
    let disconnect = begin(&mut driver, raw_socket(&server));
    driver.assert_waits(recv);
    drop(client);
    assert_eq!(driver.received(recv).unwrap(), b"");
    assert_eq!(driver.counted(disconnect).unwrap(), 0);
}

fn what_is_no_connected_stream_is_refused(config: Config) {
    let mut driver = Driver::new(config);
    let lonely = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let error = driver.run(Op::Disconnect { socket: raw_socket(&lonely) }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotConnected);
    let (_left, right) = datagram_pair();
    let disconnect = begin(&mut driver, raw_socket(&right));
    let error = driver.counted(disconnect).unwrap_err();
    assert!(error.raw_os_error().is_some_and(|code| code != sys::CANCELLED), "{error}");
}
