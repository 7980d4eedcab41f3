//! Descriptors passed over a Unix socket (`SCM_RIGHTS`, unix(7)).

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};

use overlapped_port::Config;
use overlapped_port::sys::{MSG_WAITALL, raw_socket};

use super::system::{rights, rights_room, take_rights};
use crate::driver::Driver;

crate::on_every_backend!(
    a_descriptor_is_passed,
    several_descriptors_are_passed_with_a_datagram,
    descriptors_without_room_are_cut_and_told,
    a_plain_receive_leaves_no_descriptor_open,
    a_receive_that_waits_for_all_loses_no_descriptor,
);

fn a_descriptor_is_passed(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = UnixStream::pair().unwrap();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"content").unwrap();
    for waits in [true, false] {
        let begin = |driver: &mut Driver| driver.begin_recv_message(raw_socket(&right), &[16], rights_room(1), 0);
        let early = waits.then(|| begin(&mut driver));
        if let Some(receive) = early {
            driver.assert_waits(receive);
        }
        let control = rights(&[file.as_fd()]);
        assert_eq!(driver.send_message(raw_socket(&left), &[b"a file"], None, &control).unwrap(), 6);
        let receive = early.unwrap_or_else(|| begin(&mut driver));
        let received = driver.received_message(receive).unwrap();
        assert_eq!(received.bytes(), b"a file");
        assert!(!received.truncated && !received.control_truncated);
        let [descriptor] = <[OwnedFd; 1]>::try_from(take_rights(&received.control)).unwrap();
        let mut passed = File::from(descriptor);
        let mut content = String::new();
        passed.rewind().unwrap();
        passed.read_to_string(&mut content).unwrap();
        assert_eq!(content, "content");
    }
}

fn several_descriptors_are_passed_with_a_datagram(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = UnixDatagram::pair().unwrap();
    let pipes: Vec<_> = (0..3).map(|_| std::io::pipe().unwrap()).collect();
    let control = rights(&[pipes[0].1.as_fd(), pipes[1].1.as_fd(), pipes[2].1.as_fd()]);
    driver.send_message(raw_socket(&left), &[b"three"], None, &control).unwrap();
    let received = driver.recv_message(raw_socket(&right), &[16], rights_room(3), 0).unwrap();
    let passed = take_rights(&received.control);
    assert_eq!(passed.len(), 3);
    for ((mut reader, writer), passed) in pipes.into_iter().zip(passed) {
        drop(writer);
        File::from(passed).write_all(b"through").unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "through", "the passed one was the last that was open");
    }
}

fn descriptors_without_room_are_cut_and_told(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = UnixStream::pair().unwrap();
    let pipes: Vec<_> = (0..3).map(|_| std::io::pipe().unwrap()).collect();
    for room in [1, 0] {
        let control = rights(&[pipes[0].1.as_fd(), pipes[1].1.as_fd(), pipes[2].1.as_fd()]);
        driver.send_message(raw_socket(&left), &[b"three"], None, &control).unwrap();
        // `CMSG_SPACE` pads: the room for one may hold a second, but not a third.
        let received = driver.recv_message(raw_socket(&right), &[16], room * rights_room(1), 0).unwrap();
        assert_eq!(received.bytes(), b"three");
        assert!(received.control_truncated && !received.truncated, "with room for {room}");
        assert!(take_rights(&received.control).len() <= 2 * room);
    }
    assert_all_closed(pipes);
}

fn a_plain_receive_leaves_no_descriptor_open(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = UnixStream::pair().unwrap();
    let pipes = vec![std::io::pipe().unwrap()];
    let control = rights(&[pipes[0].1.as_fd()]);
    driver.send_message(raw_socket(&left), &[b"unseen"], None, &control).unwrap();
    assert_eq!(driver.recv(raw_socket(&right), 16).unwrap(), b"unseen");
    assert_all_closed(pipes);
}

/// There is one place for control data: where the second message brings its own, it is another receive's.
fn a_receive_that_waits_for_all_loses_no_descriptor(config: Config) {
    for early in [true, false] {
        let mut driver = Driver::new(config.clone());
        let (left, right) = UnixStream::pair().unwrap();
        let pipes: Vec<_> = (0..2).map(|_| std::io::pipe().unwrap()).collect();
        let begin =
            |driver: &mut Driver| driver.begin_recv_message(raw_socket(&right), &[8], rights_room(1), MSG_WAITALL);
        let mut receive = early.then(|| begin(&mut driver));
        for (part, (_, writer)) in [b"head", b"tail"].into_iter().zip(&pipes) {
            if let Some(receive) = receive
                && part == b"head"
            {
                driver.assert_waits(receive);
            }
            driver.send_message(raw_socket(&left), &[part], None, &rights(&[writer.as_fd()])).unwrap();
        }
        let (mut bytes, mut passed) = (Vec::new(), Vec::new());
        while bytes.len() < 8 {
            let next = receive.take().unwrap_or_else(|| begin(&mut driver));
            let received = driver.received_message(next).unwrap();
            assert!(!received.control_truncated, "after {bytes:?}");
            bytes.extend(received.bytes());
            passed.extend(take_rights(&received.control));
        }
        assert_eq!(bytes, b"headtail");
        assert_eq!(passed.len(), 2);
        drop(passed);
        assert_all_closed(pipes);
    }
}

/// Checks that nobody has a passed writing end open any more.
fn assert_all_closed(pipes: Vec<(std::io::PipeReader, std::io::PipeWriter)>) {
    for (mut reader, writer) in pipes {
        drop(writer);
        super::system::set_nonblocking(&reader, true);
        assert_eq!(reader.read(&mut [0]).expect("the end of the pipe: its writer is open somewhere"), 0);
    }
}
