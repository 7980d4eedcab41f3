//! What TCP does on Unix: listeners that are full or shut down, a close that lingers.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};

use overlapped_port::sys::raw_socket;
use overlapped_port::{Config, Op};
use socket2::{Domain, SockRef, Socket, Type};

use super::system;
use crate::driver::{Driver, bytes_at};
use crate::loopback::{listener, pair};
use crate::patience::patience;

crate::on_every_backend!(
    a_connect_that_waits_is_cancelled,
    a_listener_that_is_shut_down_ends_its_accepts,
    a_close_that_lingers_holds_up_nobody,
);

fn a_connect_that_waits_is_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    // Once its queue is full, a listener does not answer.
    let clients: Vec<_> = (0..4).map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).unwrap()).collect();
    let connects: Vec<_> =
        clients.iter().map(|client| driver.begin_connect(raw_socket(client), address.clone())).collect();
    driver.assert_waits(connects[3]);
    driver.cancel_waiting(connects[3]);
    assert_eq!(driver.counted(connects[0]).unwrap(), 0);
    assert_eq!(driver.port().in_flight_on_socket(raw_socket(&clients[3])), 0);
}

fn a_listener_that_is_shut_down_ends_its_accepts(config: Config) {
    let mut driver = Driver::new(config);
    let listener = listener();
    let accept = driver.begin_accept(raw_socket(&listener));
    let accepts = driver.begin(Op::AcceptMultishot { listener: raw_socket(&listener) });
    driver.assert_waits(accepts);
    driver.run(Op::Shutdown { socket: raw_socket(&listener), how: Shutdown::Both }).unwrap();
    assert_eq!(driver.accepted(accept).unwrap_err().kind(), ErrorKind::InvalidInput);
    let (before, last) = driver.finish_all(accepts);
    assert!(before.is_empty());
    assert_eq!(last.unwrap_err().kind(), ErrorKind::InvalidInput);
}

/// `SO_LINGER` has close(2) wait until what was sent is acknowledged, also in non-blocking mode (socket(7)). Here that comes
/// only when the bytes are read, by the thread that has begun the close.
fn a_close_that_lingers_holds_up_nobody(config: Config) {
    let mut driver = Driver::new(config);
    for as_file in [false, true] {
        let (mut client, server) = pair();
        SockRef::from(&server).set_linger(Some(100 * patience())).unwrap();
        server.set_nonblocking(true).unwrap();
        let mut sent = 0;
        while let Ok(count) = (&server).write(&bytes_at(0, sent, 4096)) {
            sent += count;
        }
        let socket = system::give_up(server);
        let close = driver.begin(if as_file { Op::CloseFile { file: socket } } else { Op::CloseSocket { socket } });
        driver.assert_waits(close);
        let (other, mut peer) = pair();
        peer.write_all(b"meanwhile").unwrap();
        assert_eq!(driver.recv(raw_socket(&other), 16).unwrap(), b"meanwhile");
        let mut received = Vec::new();
        client.read_to_end(&mut received).unwrap();
        assert!(received == bytes_at(0, 0, sent), "{} of {sent} bytes", received.len());
        assert_eq!(driver.counted(close).unwrap(), 0);
    }
}
