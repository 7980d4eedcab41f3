//! Readiness of what is no TCP socket: Unix sockets, pipes, files.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use overlapped_port::sys::{raw_file, raw_socket};
use overlapped_port::{Config, Interest};

use crate::driver::Driver;

crate::on_every_backend!(
    a_unix_socket_is_writable_while_there_is_room,
    the_end_of_a_unix_stream_is_a_hangup,
    the_end_of_a_pipe_is_a_hangup,
    a_pipe_that_nobody_reads_has_an_error,
    a_regular_file_is_always_ready,
    a_regular_file_is_never_exceptional,
    without_interest_the_end_is_told,
    a_port_that_has_news_finds_it_without_sleeping,
);

const BOTH: Interest = Interest(Interest::READABLE.0 | Interest::WRITABLE.0);

fn a_unix_socket_is_writable_while_there_is_room(config: Config) {
    let mut driver = Driver::new(config);
    let (mut left, right) = UnixStream::pair().unwrap();
    let writable = driver.begin_poll(raw_socket(&left), Interest::WRITABLE);
    assert_eq!(driver.readiness(writable), Interest::WRITABLE);
    left.set_nonblocking(true).unwrap();
    while left.write(&[0; 4096]).is_ok() {}
    let writable = driver.begin_poll(raw_socket(&left), Interest::WRITABLE);
    driver.assert_waits(writable);
    right.set_nonblocking(true).unwrap();
    while (&right).read(&mut [0; 4096]).is_ok() {}
    assert_eq!(driver.readiness(writable), Interest::WRITABLE);
}

fn the_end_of_a_unix_stream_is_a_hangup(config: Config) {
    let mut driver = Driver::new(config);
    let (left, right) = UnixStream::pair().unwrap();
    let readable = driver.begin_poll(raw_socket(&left), Interest::READABLE);
    driver.assert_waits(readable);
    drop(right);
    assert!(driver.readiness(readable).contains(Interest::READABLE | Interest::HANGUP));
}

fn the_end_of_a_pipe_is_a_hangup(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = std::io::pipe().unwrap();
    let readable = driver.begin_poll(raw_file(&reader), Interest::READABLE);
    driver.assert_waits(readable);
    drop(writer);
    assert!(driver.readiness(readable).contains(Interest::READABLE | Interest::HANGUP));
}

fn a_pipe_that_nobody_reads_has_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let writable = driver.begin_poll(raw_file(&writer), Interest::WRITABLE);
    assert!(driver.readiness(writable).contains(Interest::WRITABLE | Interest::ERROR));
}

fn a_regular_file_is_always_ready(config: Config) {
    let mut driver = Driver::new(config);
    let file = tempfile::tempfile().unwrap();
    let ready = driver.begin_poll(raw_file(&file), BOTH);
    assert_eq!(driver.readiness(ready), BOTH, "as poll(2) says of every regular file");
}

/// poll(2) would wait, and nothing would ever announce it: the systems' better interfaces refuse such a file.
fn a_regular_file_is_never_exceptional(config: Config) {
    let mut driver = Driver::new(config);
    let file = tempfile::tempfile().unwrap();
    let (never, ready) = (
        driver.begin_poll(raw_file(&file), Interest::PRIORITY),
        driver.begin_poll(raw_file(&file), Interest::PRIORITY | Interest::READABLE),
    );
    assert_eq!(driver.readiness(ready), Interest::READABLE);
    driver.assert_waits(never);
    driver.cancel_waiting(never);
}

fn without_interest_the_end_is_told(config: Config) {
    let mut driver = Driver::new(config);
    let (mut left, right) = UnixStream::pair().unwrap();
    let nothing = driver.begin_poll(raw_socket(&right), Interest::default());
    left.write_all(b"x").unwrap();
    driver.assert_waits(nothing);
    drop(left);
    assert_eq!(driver.readiness(nothing), Interest::HANGUP);
    let nothing = driver.begin_poll(raw_socket(&right), Interest::default());
    assert_eq!(driver.readiness(nothing), Interest::HANGUP);
}

fn a_port_that_has_news_finds_it_without_sleeping(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let readable = driver.begin_poll(raw_file(&reader), Interest::READABLE);
    driver.assert_waits(readable);
    assert!(!driver.port().has_news());
    writer.write_all(b"x").unwrap();
    let says_so = driver.port().report().backend == "uring";
    assert_eq!(driver.port().has_news(), says_so, "a readiness interface would have to be asked");
    if says_so {
        driver.turn(Duration::ZERO);
        assert!(driver.arrived(readable).is_some());
        assert!(!driver.port().has_news());
    } else {
        driver.readiness(readable);
    }
}
