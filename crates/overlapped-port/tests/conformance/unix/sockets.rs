//! Unix sockets: paths as addresses, packets with borders.

use std::io::{ErrorKind, Read};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use overlapped_port::sys::raw_socket;
use overlapped_port::{Address, Config};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::driver::{Driver, bytes_at};
use crate::patience::patience;

crate::on_every_backend!(
    streams_connect_by_path,
    accept_brings_the_path_of_a_peer_that_has_one,
    accept_of_a_nameless_peer_brings_no_path,
    connect_to_a_missing_path_is_an_error,
    connect_where_nobody_listens_is_refused,
    connect_waits_while_the_listener_is_full,
    datagrams_name_their_sender,
    a_datagram_waits_while_the_receiver_is_full,
    a_receive_of_messages_ends_where_no_more_are_to_be_received,
    packets_keep_their_borders,
    a_big_transfer_arrives_whole,
);

#[cfg(target_os = "linux")]
mod linux {
    use super::*;

    crate::on_every_backend!(abstract_names_need_no_file);

    fn abstract_names_need_no_file(config: Config) {
        let mut driver = Driver::new(config);
        let name = format!("\0overlapped conformance {} {:?}", std::process::id(), std::thread::current().id());
        let address = SockAddr::unix(name).unwrap();
        let listener = stream();
        listener.bind(&address).unwrap();
        listener.listen(8).unwrap();
        let client = stream();
        driver.connect(raw_socket(&client), address.clone()).unwrap();
        let (server, _) = driver.accept(raw_socket(&listener)).unwrap();
        driver.send(raw_socket(&client), b"no file").unwrap();
        assert_eq!(driver.recv(raw_socket(&server), 16).unwrap(), b"no file");
        assert_eq!(client.peer_addr().unwrap().as_abstract_namespace(), address.as_abstract_namespace());
    }
}

fn stream() -> Socket {
    Socket::new(Domain::UNIX, Type::STREAM, None).unwrap()
}

fn streams_connect_by_path(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let accept = driver.begin_accept(raw_socket(&listener));
    driver.assert_waits(accept);
    let client = stream();
    assert_eq!(driver.connect(raw_socket(&client), SockAddr::unix(&path).unwrap()).unwrap(), 0);
    let (server, _) = driver.accepted(accept).unwrap();
    driver.send(raw_socket(&client), b"hello").unwrap();
    assert_eq!(driver.recv(raw_socket(&server), 16).unwrap(), b"hello");
    drop(client);
    assert_eq!(driver.recv(raw_socket(&server), 16).unwrap(), b"");
}

fn accept_brings_the_path_of_a_peer_that_has_one(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("listener")).unwrap();
    let own = folder.path().join("client");
    for waits in [true, false] {
        let client = stream();
        client.bind(&SockAddr::unix(&own).unwrap()).unwrap();
        let early = waits.then(|| driver.begin_accept(raw_socket(&listener)));
        if let Some(accept) = early {
            driver.assert_waits(accept);
        }
        driver.connect(raw_socket(&client), SockAddr::unix(folder.path().join("listener")).unwrap()).unwrap();
        let accept = early.unwrap_or_else(|| driver.begin_accept(raw_socket(&listener)));
        let (_server, peer) = driver.accepted(accept).unwrap();
        assert_eq!(peer.to_sockaddr().as_pathname(), Some(own.as_path()));
        std::fs::remove_file(&own).unwrap();
    }
}

fn accept_of_a_nameless_peer_brings_no_path(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(folder.path().join("listener")).unwrap();
    let _client = UnixStream::connect(folder.path().join("listener")).unwrap();
    let (_server, peer) = driver.accept(raw_socket(&listener)).unwrap();
    assert!(peer.to_sockaddr().is_unnamed(), "{peer:?}");
    assert_eq!(peer.to_socket_addr(), None);
}

fn connect_to_a_missing_path_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    let address = SockAddr::unix(folder.path().join("missing")).unwrap();
    let error = driver.connect(raw_socket(&stream()), address).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn connect_where_nobody_listens_is_refused(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("abandoned");
    drop(UnixListener::bind(&path).unwrap());
    let (begun, limit) = (Instant::now(), patience());
    loop {
        let client = stream();
        match driver.connect(raw_socket(&client), SockAddr::unix(&path).unwrap()) {
            Err(error) => return assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
            // A child that another test has just forked has the listener too, until it executes its program.
            Ok(_) => assert!(begun.elapsed() < limit, "somebody listens"),
        }
    }
}

fn connect_waits_while_the_listener_is_full(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    for nonblocking in [false, true] {
        let address = SockAddr::unix(folder.path().join(format!("full {nonblocking}"))).unwrap();
        let listener = stream();
        listener.bind(&address).unwrap();
        listener.listen(1).unwrap();
        // A non-blocking connect says EAGAIN here, and there is no readiness to wait for.
        let clients: Vec<_> = (0..6).map(|_| stream()).collect();
        clients.iter().for_each(|client| client.set_nonblocking(nonblocking).unwrap());
        let connects: Vec<_> =
            clients.iter().map(|client| driver.begin_connect(raw_socket(client), address.clone())).collect();
        driver.assert_waits(connects[5]);
        let servers: Vec<_> = (0..6).map(|_| driver.accept(raw_socket(&listener)).unwrap().0).collect();
        for connect in connects {
            assert_eq!(driver.counted(connect).unwrap(), 0);
        }
        drop(servers);
        for client in &clients {
            assert_eq!(driver.recv(raw_socket(client), 8).unwrap(), b"", "each has its own server");
        }
        // And while it waits it can be cancelled.
        let waiting: Vec<_> = (0..4).map(|_| stream()).collect();
        let connects: Vec<_> =
            waiting.iter().map(|client| driver.begin_connect(raw_socket(client), address.clone())).collect();
        driver.assert_waits(connects[3]);
        driver.cancel_waiting(connects[3]);
        for connect in &connects[..2] {
            driver.counted(*connect).unwrap();
        }
    }
}

fn datagrams_name_their_sender(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    let (left, right) = (folder.path().join("left"), folder.path().join("right"));
    let (sender, receiver) = (UnixDatagram::bind(&left).unwrap(), UnixDatagram::bind(&right).unwrap());
    let to = Address::from(SockAddr::unix(&right).unwrap());
    let receive = driver.begin_recv_message(raw_socket(&receiver), &[64], 0, 0);
    driver.assert_waits(receive);
    assert_eq!(driver.send_message(raw_socket(&sender), &[b"a ", b"datagram"], Some(&to), &[]).unwrap(), 10);
    let received = driver.received_message(receive).unwrap();
    assert_eq!(received.bytes(), b"a datagram");
    assert_eq!(received.address.to_sockaddr().as_pathname(), Some(left.as_path()));
    let missing = Address::from(SockAddr::unix(folder.path().join("missing")).unwrap());
    let error = driver.send_message(raw_socket(&sender), &[b"x"], Some(&missing), &[]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn a_datagram_waits_while_the_receiver_is_full(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = UnixDatagram::pair().unwrap();
    let mut sent = 0_u32;
    let waiting = loop {
        let send = driver.begin_send(raw_socket(&left), sent.to_ne_bytes().to_vec(), false);
        if driver.waits(send) {
            break send;
        }
        assert_eq!(driver.counted(send).unwrap(), 4);
        sent += 1;
        assert!(sent < 100_000, "a receiver that nobody reads from takes everything");
    };
    for number in 0..sent {
        assert_eq!(driver.recv(raw_socket(&right), 8).unwrap(), number.to_ne_bytes());
    }
    assert_eq!(driver.counted(waiting).unwrap(), 4);
    assert_eq!(driver.recv(raw_socket(&right), 8).unwrap(), sent.to_ne_bytes());
}

fn packets_keep_their_borders(config: Config) {
    let mut driver = Driver::new(config.buffers(4, 64));
    let (left, right) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
    for packet in [&b"one"[..], b"longer", b"3"] {
        driver.send(raw_socket(&left), packet).unwrap();
    }
    assert_eq!(driver.recv(raw_socket(&right), 64).unwrap(), b"one");
    let cut = driver.recv_message(raw_socket(&right), &[4], 0, 0).unwrap();
    assert_eq!((cut.bytes(), cut.truncated), (b"long".to_vec(), true));
    assert_eq!(driver.recv_provided(raw_socket(&right), 64).unwrap(), b"3");
    drop(left);
    assert_eq!(driver.recv(raw_socket(&right), 64).unwrap(), b"");
}

fn a_big_transfer_arrives_whole(config: Config) {
    const MUCH: usize = 4 << 20;
    let mut driver = Driver::new(config);
    let (left, mut right) = UnixStream::pair().unwrap();
    let send = driver.begin_send(raw_socket(&left), bytes_at(1, 0, MUCH), true);
    driver.assert_waits(send);
    let reader = std::thread::spawn(move || {
        let mut received = Vec::new();
        std::thread::sleep(Duration::from_millis(10));
        right.read_to_end(&mut received).unwrap();
        received
    });
    assert_eq!(driver.counted(send).unwrap(), MUCH);
    drop(left);
    assert!(reader.join().unwrap() == bytes_at(1, 0, MUCH));
}

/// In either mode: without blocking, Linux says `EAGAIN` of such a socket for ever.
fn a_receive_of_messages_ends_where_no_more_are_to_be_received(config: Config) {
    let mut driver = Driver::new(config);
    for non_blocking in [false, true] {
        let (left, _right) = UnixDatagram::pair().unwrap();
        left.set_nonblocking(non_blocking).unwrap();
        let (plain, provided) =
            (driver.begin_recv(raw_socket(&left), 8, 0), driver.begin_recv_provided(raw_socket(&left), 8));
        let message = driver.begin_recv_message(raw_socket(&left), &[8], 0, 0);
        driver.assert_waits(message);
        left.shutdown(std::net::Shutdown::Read).unwrap();
        assert_eq!(driver.received(plain).unwrap(), b"");
        let outcome = driver.finish(provided).0.unwrap();
        assert_eq!(driver.provided(outcome), b"");
        assert_eq!(driver.received_message(message).unwrap().bytes(), b"");
        assert_eq!(driver.recv(raw_socket(&left), 8).unwrap(), b"");
    }
}
