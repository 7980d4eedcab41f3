//! Named pipes.

use std::io::ErrorKind;

use overlapped_port::Config;
use overlapped_port::sys::raw_file;
use windows_sys::Win32::System::Pipes::{PIPE_READMODE_MESSAGE, PIPE_TYPE_MESSAGE};

use crate::driver::{Driver, bytes_at};
use crate::system::{pipe, pipe_of};

crate::on_every_backend!(
    a_read_waits_for_bytes,
    the_end_is_where_the_writer_closed,
    a_write_that_nobody_can_read_is_a_broken_pipe,
    a_read_is_cancelled,
    a_write_waits_for_room,
    offsets_mean_nothing,
    a_vectored_read_takes_what_is_there,
    nothing_asked_for_waits_for_nothing,
    a_message_longer_than_the_buffer_comes_in_parts,
);

fn a_read_waits_for_bytes(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    for round in 0..10_u8 {
        let read = driver.begin_read(raw_file(&reader), 64, None);
        driver.assert_waits(read);
        assert_eq!(driver.write(raw_file(&writer), &[round; 5], None).unwrap(), 5);
        assert_eq!(driver.received(read).unwrap(), [round; 5]);
    }
}

fn the_end_is_where_the_writer_closed(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    driver.write(raw_file(&writer), b"last words", None).unwrap();
    drop(writer);
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"last words");
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"", "told by the call");
    let (reader, writer) = pipe().unwrap();
    let read = driver.begin_read(raw_file(&reader), 64, None);
    driver.assert_waits(read);
    drop(writer);
    assert_eq!(driver.received(read).unwrap(), b"", "told by the packet");
}

fn a_write_that_nobody_can_read_is_a_broken_pipe(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    driver.write(raw_file(&writer), b"x", None).unwrap();
    drop(reader);
    let error = driver.write(raw_file(&writer), b"x", None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

fn a_read_is_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    let read = driver.begin_read(raw_file(&reader), 64, None);
    driver.assert_waits(read);
    driver.cancel_waiting(read);
    driver.write(raw_file(&writer), b"for the next", None).unwrap();
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"for the next");
}

fn a_write_waits_for_room(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    let bytes = bytes_at(1, 0, 1 << 20);
    let write = driver.begin_write(raw_file(&writer), bytes.clone(), None);
    driver.assert_waits(write);
    let mut received = Vec::new();
    while received.len() < bytes.len() {
        received.extend(driver.read(raw_file(&reader), 10_000, None).unwrap());
    }
    assert_eq!(driver.counted(write).unwrap(), bytes.len());
    assert!(received == bytes);
}

fn offsets_mean_nothing(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    driver.write(raw_file(&writer), b"abcd", Some(100)).unwrap();
    assert_eq!(driver.read(raw_file(&reader), 2, Some(7)).unwrap(), b"ab");
    assert_eq!(driver.read(raw_file(&reader), 2, Some(0)).unwrap(), b"cd");
}

fn a_vectored_read_takes_what_is_there(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    assert_eq!(driver.write_vectored(raw_file(&writer), &[b"one", b"", b"two"], None).unwrap(), 6);
    let parts = driver.read_vectored(raw_file(&reader), &[0, 6, 6], None).unwrap();
    assert_eq!(parts, [&b""[..], b"onetwo", b""]);
}

fn nothing_asked_for_waits_for_nothing(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe().unwrap();
    assert_eq!(driver.read(raw_file(&reader), 0, None).unwrap(), b"");
    assert_eq!(driver.write(raw_file(&writer), b"", None).unwrap(), 0);
}

fn a_message_longer_than_the_buffer_comes_in_parts(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = pipe_of(PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE);
    let read = driver.begin_read(raw_file(&reader), 4, None);
    driver.assert_waits(read);
    driver.write(raw_file(&writer), b"a message", None).unwrap();
    driver.write(raw_file(&writer), b"another", None).unwrap();
    assert_eq!(driver.received(read).unwrap(), b"a me");
    assert_eq!(driver.read(raw_file(&reader), 4, None).unwrap(), b"ssag");
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"e");
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"another");
}
