//! A read that goes on: pipes, into the port's buffers.

use std::io::{ErrorKind, PipeReader, PipeWriter, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use overlapped_port::sys::raw_file;
use overlapped_port::{Config, Op};

use super::system::set_nonblocking;
use crate::driver::{Driver, Flight, assert_cancelled, bytes_at};

crate::on_every_backend!(
    a_read_brings_bytes_in_order_and_then_the_end,
    a_read_goes_on_until_cancelled,
    a_read_that_is_cancelled_loses_no_byte,
    a_read_pauses_without_buffers_and_goes_on,
    a_read_that_is_begun_later_has_its_turn_later,
    a_read_takes_from_sockets_too,
    a_read_of_a_file_on_a_disk_is_refused,
);

/// A pipe in blocking and one in non-blocking mode: nobody may notice the difference.
fn pipes() -> [(PipeReader, PipeWriter); 2] {
    [false, true].map(|nonblocking| {
        let (reader, writer) = std::io::pipe().unwrap();
        set_nonblocking(&reader, nonblocking);
        (reader, writer)
    })
}

fn begin(driver: &mut Driver, reader: &PipeReader) -> Flight {
    driver.begin(Op::ReadMultishot { file: raw_file(reader) })
}

/// Takes what comes until `length` bytes are there.
fn take(driver: &mut Driver, reads: Flight, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let completion = driver.next(reads);
        assert!(completion.more, "after {} bytes of {length}: {completion:?}", bytes.len());
        bytes.extend(driver.provided(completion.result.unwrap()));
    }
    assert_eq!(bytes.len(), length);
    bytes
}

fn a_read_brings_bytes_in_order_and_then_the_end(config: Config) {
    let mut driver = Driver::new(config.buffers(8, 1000));
    for (reader, mut writer) in pipes() {
        let reads = begin(&mut driver, &reader);
        driver.assert_waits(reads);
        let writing = std::thread::spawn(move || writer.write_all(&bytes_at(1, 0, 1 << 20)).unwrap());
        assert!(take(&mut driver, reads, 1 << 20) == bytes_at(1, 0, 1 << 20));
        writing.join().unwrap();
        let (before, last) = driver.finish_all(reads);
        assert!(before.is_empty(), "{before:?}");
        assert_eq!(driver.provided(last.unwrap()), b"");
    }
}

fn a_read_goes_on_until_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, mut writer) in pipes() {
        let reads = begin(&mut driver, &reader);
        for round in 0..50_u8 {
            writer.write_all(&[round; 10]).unwrap();
            assert_eq!(take(&mut driver, reads, 10), [round; 10]);
        }
        driver.assert_waits(reads);
        driver.cancel_waiting(reads);
        writer.write_all(b"after").unwrap();
        assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"after", "the pipe works as before");
    }
}

fn a_read_that_is_cancelled_loses_no_byte(config: Config) {
    const ALL: usize = 200_000;
    let mut driver = Driver::new(config.buffers(4, 512));
    for (reader, mut writer) in pipes() {
        let writing = std::thread::spawn(move || {
            for at in (0..ALL).step_by(1000) {
                writer.write_all(&bytes_at(2, at, 1000)).unwrap();
            }
            writer
        });
        let mut random = fastrand::Rng::with_seed(3);
        let mut taken = Vec::new();
        while taken.len() < ALL {
            let reads = begin(&mut driver, &reader);
            for _ in 0..random.u8(0..4) {
                driver.turn(Duration::from_micros(random.u64(0..200)));
            }
            driver.cancel(reads);
            let (results, last) = driver.finish_all(reads);
            for result in results {
                taken.extend(driver.provided(result.unwrap()));
            }
            match last {
                Ok(outcome) => taken.extend(driver.provided(outcome)),
                Err(_) => assert_cancelled(&last),
            }
        }
        drop(writing.join().unwrap());
        assert!(taken == bytes_at(2, 0, ALL), "bytes were lost or swapped");
    }
}

fn a_read_pauses_without_buffers_and_goes_on(config: Config) {
    let mut driver = Driver::new(config.buffers(2, 64));
    for (reader, mut writer) in pipes() {
        let reads = begin(&mut driver, &reader);
        writer.write_all(&bytes_at(3, 0, 1000)).unwrap();
        let mut held = Vec::new();
        while !driver.waits(reads) {
            let completion = driver.arrived(reads).expect("it does not wait");
            held.push(driver.held(completion.result.unwrap()));
        }
        assert_eq!(held.len(), 2, "the port has two buffers");
        let mut taken = Vec::new();
        for (bytes, buffer) in held {
            taken.extend(bytes);
            driver.port().recycle(buffer).unwrap();
        }
        let left = 1000 - taken.len();
        taken.extend(take(&mut driver, reads, left));
        assert!(taken == bytes_at(3, 0, 1000));
        driver.cancel_waiting(reads);
    }
}

fn a_read_that_is_begun_later_has_its_turn_later(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, mut writer) in pipes() {
        let reads = begin(&mut driver, &reader);
        let later = driver.begin_read(raw_file(&reader), 64, None);
        writer.write_all(b"first").unwrap();
        assert_eq!(take(&mut driver, reads, 5), b"first");
        driver.assert_waits(later);
        driver.cancel_waiting(reads);
        writer.write_all(b"second").unwrap();
        assert_eq!(driver.received(later).unwrap(), b"second");
    }
}

fn a_read_takes_from_sockets_too(config: Config) {
    let mut driver = Driver::new(config);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let reads = driver.begin(Op::ReadMultishot { file: raw_file(&ours) });
    driver.assert_waits(reads);
    theirs.write_all(b"by socket").unwrap();
    assert_eq!(take(&mut driver, reads, 9), b"by socket");
    drop(theirs);
    let (_, last) = driver.finish_all(reads);
    assert_eq!(driver.provided(last.unwrap()), b"");
}

fn a_read_of_a_file_on_a_disk_is_refused(config: Config) {
    let mut driver = Driver::new(config);
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    let error = driver.run(Op::ReadMultishot { file: raw_file(&file) }).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}
