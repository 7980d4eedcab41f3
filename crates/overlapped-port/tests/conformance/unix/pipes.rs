//! Pipes: files that wait.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Write};
use std::time::Duration;

use overlapped_port::sys::{OpenHow, raw_file};
use overlapped_port::{Config, Op, OpenMode};

use super::system::set_nonblocking;
use crate::driver::{Driver, assert_cancelled, bytes_at, count};

crate::on_every_backend!(
    a_read_waits_for_bytes,
    a_read_brings_what_is_there,
    a_read_is_told_of_the_end,
    a_write_waits_for_room,
    a_write_to_nobody_is_a_broken_pipe,
    a_write_that_waits_is_told_that_nobody_reads,
    vectored_reads_and_writes_keep_the_order,
    an_offset_in_a_pipe_is_refused_or_ignored,
    waiting_operations_are_cancelled,
    reads_racing_with_cancels_lose_no_byte,
    cancel_of_all_on_a_file,
    more_waiting_pipes_than_threads,
    a_named_pipe_is_opened_by_both_ends,
    the_open_of_a_named_pipe_without_another_end_can_be_cancelled,
    a_pipe_accepts_nobody,
    a_big_transfer_arrives_whole,
);

/// A pipe in blocking and one in non-blocking mode: nobody may notice the difference.
fn pipes() -> [(PipeReader, PipeWriter); 2] {
    [false, true].map(|nonblocking| {
        let (reader, writer) = std::io::pipe().unwrap();
        set_nonblocking(&reader, nonblocking);
        set_nonblocking(&writer, nonblocking);
        (reader, writer)
    })
}

fn a_read_waits_for_bytes(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, mut writer) in pipes() {
        let read = driver.begin_read(raw_file(&reader), 64, None);
        driver.assert_waits(read);
        writer.write_all(b"late").unwrap();
        assert_eq!(driver.received(read).unwrap(), b"late");
    }
}

fn a_read_brings_what_is_there(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, writer) in pipes() {
        assert_eq!(driver.write(raw_file(&writer), b"early", None).unwrap(), 5);
        assert_eq!(driver.read(raw_file(&reader), 3, None).unwrap(), b"ear");
        assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"ly");
    }
}

fn a_read_is_told_of_the_end(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, mut writer) in pipes() {
        writer.write_all(b"last").unwrap();
        assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"last");
        let read = driver.begin_read(raw_file(&reader), 64, None);
        driver.assert_waits(read);
        drop(writer);
        assert_eq!(driver.received(read).unwrap(), b"");
        assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"");
    }
}

/// Writes until a write waits; the bytes are those of stream 1, and how many were taken is told.
fn fill(driver: &mut Driver, writer: &PipeWriter) -> usize {
    let mut taken = 0;
    loop {
        let write = driver.begin_write(raw_file(writer), bytes_at(1, taken, 4096), None);
        if driver.waits(write) {
            driver.cancel(write);
            let (result, _) = driver.finish(write);
            match result {
                Ok(outcome) => taken += count(outcome),
                Err(_) => {
                    assert_cancelled(&result);
                    return taken;
                }
            }
        } else {
            taken += driver.counted(write).unwrap();
        }
    }
}

fn a_write_waits_for_room(config: Config) {
    let mut driver = Driver::new(config);
    for (mut reader, writer) in pipes() {
        let taken = fill(&mut driver, &writer);
        let write = driver.begin_write(raw_file(&writer), b"after".to_vec(), None);
        driver.assert_waits(write);
        let mut received = vec![0; taken];
        reader.read_exact(&mut received).unwrap();
        assert!(received == bytes_at(1, 0, taken), "what was written is not what was reported");
        assert_eq!(driver.counted(write).unwrap(), 5);
        assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"after");
    }
}

fn a_write_to_nobody_is_a_broken_pipe(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, writer) in pipes() {
        drop(reader);
        let error = driver.write(raw_file(&writer), b"anybody?", None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
        let error = driver.write_vectored(raw_file(&writer), &[b"any", b"body?"], None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

fn a_write_that_waits_is_told_that_nobody_reads(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, writer) in pipes() {
        fill(&mut driver, &writer);
        let write = driver.begin_write(raw_file(&writer), b"after".to_vec(), None);
        driver.assert_waits(write);
        drop(reader);
        assert_eq!(driver.counted(write).unwrap_err().kind(), ErrorKind::BrokenPipe);
    }
}

fn vectored_reads_and_writes_keep_the_order(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, writer) in pipes() {
        let read = driver.begin_read_vectored(raw_file(&reader), &[3, 3], None);
        driver.assert_waits(read);
        assert_eq!(driver.write_vectored(raw_file(&writer), &[b"ab", b"", b"cdefgh"], None).unwrap(), 8);
        assert_eq!(driver.counted(read).unwrap(), 6);
        assert_eq!(driver.read_vectored(raw_file(&reader), &[1, 64], None).unwrap(), [&b"g"[..], b"h"]);
    }
}

/// io_uring looks away where other calls say `ESPIPE` (a pipe is a stream to it, and has no position); to ask first
/// would cost every read a call. A wrong place in the pipe is not to be had either way.
fn an_offset_in_a_pipe_is_refused_or_ignored(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, writer) in pipes() {
        let (reader, writer) = (raw_file(&reader), raw_file(&writer));
        let is_refused = |result: &std::io::Error| result.kind() == ErrorKind::NotSeekable;
        for offset in [Some(0), Some(3)] {
            match driver.write(writer, b"abcd", offset) {
                Ok(written) => assert_eq!(written, 4),
                Err(error) => {
                    assert!(is_refused(&error), "{error}");
                    assert_eq!(driver.write_vectored(writer, &[b"ab", b"cd"], None).unwrap(), 4);
                }
            }
            match driver.read(reader, 2, offset) {
                Ok(bytes) => assert_eq!(bytes, b"ab"),
                Err(error) => {
                    assert!(is_refused(&error), "{error}");
                    assert_eq!(driver.read(reader, 2, None).unwrap(), b"ab");
                }
            }
            match driver.read_vectored(reader, &[1, 1], offset) {
                Ok(parts) => assert_eq!(parts.concat(), b"cd"),
                Err(error) => {
                    assert!(is_refused(&error), "{error}");
                    assert_eq!(driver.read(reader, 2, None).unwrap(), b"cd");
                }
            }
        }
    }
}

fn waiting_operations_are_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    for (mut reader, mut writer) in pipes() {
        for _ in 0..5 {
            let read = driver.begin_read(raw_file(&reader), 8, None);
            driver.assert_waits(read);
            driver.cancel_waiting(read);
            let read = driver.begin_read_vectored(raw_file(&reader), &[8], None);
            driver.assert_waits(read);
            driver.cancel_waiting(read);
        }
        writer.write_all(b"kept").unwrap();
        assert_eq!(driver.read(raw_file(&reader), 8, None).unwrap(), b"kept");
        let taken = fill(&mut driver, &writer);
        let write = driver.begin_write_vectored(raw_file(&writer), &[b"ab", b"cd"], None);
        driver.assert_waits(write);
        driver.cancel_waiting(write);
        drop(writer);
        set_nonblocking(&reader, false);
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest.len(), taken, "a cancelled write wrote nothing");
    }
}

fn reads_racing_with_cancels_lose_no_byte(config: Config) {
    const ALL: usize = 50_000;
    let mut driver = Driver::new(config);
    for (reader, mut writer) in pipes() {
        set_nonblocking(&writer, false);
        let thread = std::thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(1);
            let mut at = 0;
            while at < ALL {
                let length = random.usize(1..300).min(ALL - at);
                writer.write_all(&bytes_at(2, at, length)).unwrap();
                at += length;
                if random.bool() {
                    std::thread::sleep(Duration::from_micros(random.u64(0..100)));
                }
            }
        });
        let mut random = fastrand::Rng::with_seed(2);
        let mut received = Vec::new();
        while received.len() < ALL {
            let read = driver.begin_read(raw_file(&reader), random.usize(1..400), None);
            if random.bool() {
                driver.turn(Duration::from_micros(random.u64(0..200)));
            }
            driver.cancel(read);
            match driver.received(read) {
                Ok(bytes) => received.extend(bytes),
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{error}"),
            }
        }
        thread.join().unwrap();
        assert!(received == bytes_at(2, 0, ALL), "bytes were lost or swapped");
    }
}

fn cancel_of_all_on_a_file(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, _writer) in pipes() {
        let reads: Vec<_> = (0..3).map(|_| driver.begin_read(raw_file(&reader), 8, None)).collect();
        driver.assert_waits(reads[2]);
        assert_eq!(driver.port().cancel_file(raw_file(&reader)), 3);
        reads.into_iter().for_each(|read| assert_cancelled(&driver.finish(read).0));
        assert_eq!(driver.port().cancel_file(raw_file(&reader)), 0);
    }
}

fn more_waiting_pipes_than_threads(config: Config) {
    let mut driver = Driver::new(config.threads(2));
    let pipes: Vec<_> = (0..10).flat_map(|_| pipes()).collect();
    let reads: Vec<_> = pipes.iter().map(|(reader, _)| driver.begin_read(raw_file(reader), 8, None)).collect();
    driver.turn(Duration::ZERO);
    // A call, and the last pipe first: reads that wait must not take the threads.
    let call = driver.begin_call(|| Ok(1));
    assert_eq!(driver.counted(call).unwrap(), 1);
    for (number, (_, writer)) in pipes.iter().enumerate().rev() {
        driver.write(raw_file(writer), &[number as u8], None).unwrap();
        assert_eq!(driver.received(reads[number]).unwrap(), [number as u8]);
    }
}

fn a_named_pipe_is_opened_by_both_ends(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    super::system::make_named_pipe(&path);
    let read = OpenMode { read: true, ..OpenMode::default() };
    let write = OpenMode { write: true, ..OpenMode::default() };
    // An open waits for the other end; both are in flight at once.
    let [reader, writer] = [read, write].map(|mode| {
        let kept = overlapped_port::sys::system_path(&path).unwrap();
        let how = OpenHow::new(mode).unwrap();
        driver.begin_with(kept, |path| Op::Open { path, how })
    });
    let [reader, writer] = [reader, writer].map(|open| match driver.finish(open).0.unwrap() {
        overlapped_port::Outcome::File(file) => file,
        other => panic!("{other:?} is no file"),
    });
    let read = driver.begin_read(raw_file(&reader), 64, None);
    driver.assert_waits(read);
    driver.write(raw_file(&writer), b"through", None).unwrap();
    assert_eq!(driver.received(read).unwrap(), b"through");
}

fn the_open_of_a_named_pipe_without_another_end_can_be_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    super::system::make_named_pipe(&path);
    let how = OpenHow::new(OpenMode { read: true, ..OpenMode::default() }).unwrap();
    let open = driver.begin_with(overlapped_port::sys::system_path(&path).unwrap(), |path| Op::Open { path, how });
    driver.assert_waits(open);
    driver.cancel(open);
    assert_cancelled(&driver.finish(open).0);
    // A thread that still waits for the other end may have it, and goes.
    let _ = std::fs::File::options().read(true).write(true).open(&path).unwrap();
}

fn a_pipe_accepts_nobody(config: Config) {
    let mut driver = Driver::new(config);
    for (reader, _writer) in pipes() {
        let error = driver.run(Op::AcceptPipe { pipe: raw_file(&reader) }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("AF_UNIX"), "{error}");
    }
}

fn a_big_transfer_arrives_whole(config: Config) {
    const ALL: usize = 1 << 20;
    let mut driver = Driver::new(config);
    for (reader, writer) in pipes() {
        let (mut sent, mut received) = (0, Vec::new());
        let mut write = driver.begin_write(raw_file(&writer), bytes_at(3, 0, ALL), None);
        let mut read = driver.begin_read(raw_file(&reader), 10_000, None);
        while received.len() < ALL {
            driver.until("one of the two", |driver| driver.has_ended(read) || sent < ALL && driver.has_ended(write));
            if driver.has_ended(read) {
                received.extend(driver.received(read).unwrap());
                if received.len() < ALL {
                    read = driver.begin_read(raw_file(&reader), 10_000, None);
                }
            }
            if sent < ALL && driver.has_ended(write) {
                sent += driver.counted(write).unwrap();
                assert!(sent > 0);
                if sent < ALL {
                    write = driver.begin_write(raw_file(&writer), bytes_at(3, sent, ALL - sent), None);
                }
            }
        }
        assert!(received == bytes_at(3, 0, ALL));
        if sent < ALL {
            assert_eq!(driver.counted(write).unwrap(), ALL - sent);
        }
    }
}
