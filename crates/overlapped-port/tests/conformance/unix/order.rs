//! The order of operations where a number is all that tells of a file.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use overlapped_port::Config;
use overlapped_port::sys::{raw_file, raw_socket};

use super::system::replace;
use crate::driver::Driver;
use crate::loopback::{listener, pair, shrink_buffers};

crate::on_every_backend!(
    reads_of_a_pipe_get_the_bytes_in_turn,
    reads_and_receives_of_a_socket_are_of_one_kind,
    a_receive_waits_behind_nobody_whose_number_it_has,
    a_read_waits_behind_nobody_whose_number_it_has,
    a_send_waits_behind_nobody_whose_number_it_has,
    an_accept_waits_behind_nobody_whose_number_it_has,
);

fn reads_of_a_pipe_get_the_bytes_in_turn(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let reads: Vec<_> = (0..4).map(|_| driver.begin_read(raw_file(&reader), 1, None)).collect();
    driver.turn(std::time::Duration::ZERO);
    driver.cancel_waiting(reads[2]);
    writer.write_all(b"abc").unwrap();
    for (read, byte) in [(reads[0], b"a"), (reads[1], b"b"), (reads[3], b"c")] {
        assert_eq!(driver.received(read).unwrap(), byte);
    }
}

fn reads_and_receives_of_a_socket_are_of_one_kind(config: Config) {
    let mut driver = Driver::new(config);
    let (left, mut right) = UnixStream::pair().unwrap();
    let read = driver.begin_read(raw_file(&left), 1, None);
    let receive = driver.begin_recv(raw_socket(&left), 1, 0);
    let last = driver.begin_read(raw_file(&left), 1, None);
    driver.turn(std::time::Duration::ZERO);
    right.write_all(b"abc").unwrap();
    assert_eq!(driver.received(read).unwrap(), b"a");
    assert_eq!(driver.received(receive).unwrap(), b"b");
    assert_eq!(driver.received(last).unwrap(), b"c");
}

/// What waits on a number that was closed behind the port's back and given out again is left to itself: it gets what its
/// own file has, or an error, and nothing of the new one's.
fn a_receive_waits_behind_nobody_whose_number_it_has(config: Config) {
    let mut driver = Driver::new(config);
    for stale in 1..4 {
        let (mut client, server) = pair();
        let number = raw_socket(&server);
        let stale: Vec<_> = (0..stale).map(|_| driver.begin_recv(number, 8, 0)).collect();
        stale.iter().for_each(|receive| driver.assert_waits(*receive));
        let (mut new_client, new_server) = pair();
        replace(number, new_server.as_fd());
        let receives = [driver.begin_recv(number, 3, 0), driver.begin_recv(number, 8, 0)];
        driver.turn(std::time::Duration::ZERO);
        new_client.write_all(b"foryou").unwrap();
        assert_eq!(receives.map(|receive| driver.received(receive).unwrap()), [b"for", b"you"]);
        client.write_all(b"old").unwrap();
        drop(client);
        for receive in stale {
            let got = driver.received(receive).unwrap_or_default();
            assert!(got.is_empty() || got == b"old", "{got:?}");
        }
    }
}

fn a_read_waits_behind_nobody_whose_number_it_has(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = std::io::pipe().unwrap();
    let number = raw_file(&reader);
    let stale = driver.begin_read(number, 8, None);
    driver.assert_waits(stale);
    let (new_reader, mut new_writer) = std::io::pipe().unwrap();
    replace(number, new_reader.as_fd());
    let read = driver.begin_read(number, 8, None);
    driver.turn(std::time::Duration::ZERO);
    new_writer.write_all(b"for you").unwrap();
    assert_eq!(driver.received(read).unwrap(), b"for you");
    drop(writer);
    assert!(driver.received(stale).unwrap_or_default().is_empty());
}

fn a_send_waits_behind_nobody_whose_number_it_has(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    shrink_buffers(&server, &client);
    let number = raw_socket(&server);
    let stale = driver.begin_send(number, vec![b'o'; 4 << 20], true);
    driver.assert_waits(stale);
    let (mut new_client, new_server) = pair();
    replace(number, new_server.as_fd());
    assert_eq!(driver.send(number, b"for you").unwrap(), 7);
    let mut got = [0; 7];
    new_client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"for you");
    drop(client);
    let _ = driver.counted(stale);
    drop((server, new_server));
    let mut rest = Vec::new();
    new_client.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{} bytes of another's", rest.len());
}

fn an_accept_waits_behind_nobody_whose_number_it_has(config: Config) {
    let mut driver = Driver::new(config);
    let (old, new) = (listener(), listener());
    let stale_address = old.local_addr().unwrap();
    let stale = driver.begin_accept(raw_socket(&old));
    driver.assert_waits(stale);
    // The old one listens on, under another number.
    let elsewhere = old.try_clone().unwrap();
    replace(old.as_raw_fd(), new.as_fd());
    let accept = driver.begin_accept(raw_socket(&old));
    driver.turn(std::time::Duration::ZERO);
    let client = TcpStream::connect(new.local_addr().unwrap()).unwrap();
    let (_, peer) = driver.accepted(accept).unwrap();
    assert_eq!(peer.to_socket_addr(), Some(client.local_addr().unwrap()));
    let old_client = TcpStream::connect(stale_address).unwrap();
    if let Ok((_, peer)) = driver.accepted(stale) {
        assert_eq!(peer.to_socket_addr(), Some(old_client.local_addr().unwrap()));
    }
    drop(elsewhere);
}
