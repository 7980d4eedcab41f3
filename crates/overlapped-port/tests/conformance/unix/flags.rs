//! Flags of recv(2) and send(2) that Unix has beside those of every system.

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;

use overlapped_port::sys::{MSG_PEEK, MSG_TRUNC, raw_socket};
use overlapped_port::{Config, Op};

use crate::driver::{CANARY, Driver, count};
use crate::loopback::{datagram_pair, pair};

crate::on_every_backend!(
    a_receive_that_must_not_wait_waits,
    a_send_that_must_not_wait_waits,
    a_plain_receive_can_ask_for_a_datagrams_true_length,
    a_provided_receive_is_never_longer_than_its_buffer,
    urgent_data_is_sent_and_received,
    a_message_can_be_peeked_at_with_its_control_data,
);

/// Waiting is the port's business: `MSG_DONTWAIT` would let the caller learn of `EAGAIN`.
fn a_receive_that_must_not_wait_waits(config: Config) {
    let mut driver = Driver::new(config);
    let (mut client, server) = pair();
    let recv = driver.begin_recv(raw_socket(&server), 8, libc::MSG_DONTWAIT);
    driver.assert_waits(recv);
    client.write_all(b"one").unwrap();
    assert_eq!(driver.received(recv).unwrap(), b"one");
    let recv = driver.begin(Op::RecvProvided { socket: raw_socket(&server), limit: 8, flags: libc::MSG_DONTWAIT });
    driver.assert_waits(recv);
    client.write_all(b"two").unwrap();
    let outcome = driver.finish(recv).0.unwrap();
    assert_eq!(driver.provided(outcome), b"two");
    let receive = driver.begin_recv_message(raw_socket(&server), &[8], 0, libc::MSG_DONTWAIT);
    driver.assert_waits(receive);
    client.write_all(b"three").unwrap();
    assert_eq!(driver.received_message(receive).unwrap().bytes(), b"three");
}

fn a_send_that_must_not_wait_waits(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = UnixStream::pair().unwrap();
    let much = vec![7; 4 << 20];
    let send = driver.begin_with(much, |much| Op::Send {
        socket: raw_socket(&left),
        buffer: much,
        flags: libc::MSG_DONTWAIT,
        all: true,
    });
    driver.assert_waits(send);
    let reader = std::thread::spawn(move || {
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut { right }, &mut all).unwrap();
        all.len()
    });
    assert_eq!(driver.counted(send).unwrap(), 4 << 20);
    drop(left);
    assert_eq!(reader.join().unwrap(), 4 << 20);
}

fn a_plain_receive_can_ask_for_a_datagrams_true_length(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = datagram_pair();
    left.send(b"0123456789").unwrap();
    let recv = driver.begin_recv(raw_socket(&right), 4, MSG_TRUNC | MSG_PEEK);
    let (result, buffer) = driver.finish(recv);
    assert_eq!((count(result.unwrap()), &buffer[..]), (10, &b"0123"[..]), "more than the buffer holds");
    let recv = driver.begin_recv(raw_socket(&right), 16, MSG_TRUNC);
    let (result, buffer) = driver.finish(recv);
    assert_eq!(count(result.unwrap()), 10);
    assert_eq!(buffer[10..], [CANARY; 6]);
    left.send(b"0123456789").unwrap();
    let received = driver.recv_message(raw_socket(&right), &[3, 3], 0, 0).unwrap();
    assert!(received.truncated);
}

/// `MSG_TRUNC` tells of bytes that are not there: in a buffer of the port's they would be another receive's.
fn a_provided_receive_is_never_longer_than_its_buffer(config: Config) {
    let mut driver = Driver::new(config.buffers(4, 64));
    let (left, right) = datagram_pair();
    for limit in [4, 1000] {
        left.send(&[7; 500]).unwrap();
        let recv = driver.begin(Op::RecvProvided { socket: raw_socket(&right), limit, flags: MSG_TRUNC });
        let outcome = driver.finish(recv).0.unwrap();
        assert_eq!(driver.provided(outcome), vec![7; limit.min(64)]);
    }
}

fn urgent_data_is_sent_and_received(config: Config) {
    let mut driver = Driver::new(config);
    let (client, server) = pair();
    let send = driver.begin_with(b"!".to_vec(), |byte| Op::Send {
        socket: raw_socket(&client),
        buffer: byte,
        flags: libc::MSG_OOB,
        all: true,
    });
    assert_eq!(driver.counted(send).unwrap(), 1);
    let ready = driver.begin_poll(raw_socket(&server), overlapped_port::Interest::PRIORITY);
    driver.readiness(ready);
    let recv = driver.begin_recv(raw_socket(&server), 8, libc::MSG_OOB);
    assert_eq!(driver.received(recv).unwrap(), b"!");
    let none = driver.begin_recv(raw_socket(&server), 8, libc::MSG_OOB);
    assert_eq!(driver.received(none).unwrap_err().kind(), ErrorKind::InvalidInput, "it was taken");
}

fn a_message_can_be_peeked_at_with_its_control_data(config: Config) {
    use super::system::{rights, rights_room, take_rights};
    use std::os::fd::AsFd;
    let mut driver = Driver::new(config);
    let (left, right) = UnixStream::pair().unwrap();
    let control = rights(&[left.as_fd()]);
    driver.send_message(raw_socket(&left), &[b"look"], None, &control).unwrap();
    for flags in [MSG_PEEK, 0] {
        let received = driver.recv_message(raw_socket(&right), &[16], rights_room(1), flags).unwrap();
        assert_eq!(received.bytes(), b"look");
        assert_eq!(take_rights(&received.control).len(), 1);
    }
}
