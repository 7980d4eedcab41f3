//! Handles that were opened without `FILE_FLAG_OVERLAPPED`, as the standard library opens them: the pool's threads
//! wait for them.

use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use overlapped_port::Config;
use overlapped_port::sys::raw_file;

use crate::driver::Driver;
use crate::patience::patience;

crate::on_every_backend!(
    a_file_is_read_and_written,
    a_files_position_moves_on,
    an_offset_leaves_the_files_own_position,
    vectored_reads_and_writes_keep_the_order,
    an_anonymous_pipe_is_read_and_written,
    operations_run_beside_one_that_blocks,
    a_read_that_blocks_is_cancelled,
    a_port_with_a_read_that_blocks_shuts_down,
);

fn offloaded(driver: &mut Driver) -> u64 {
    driver.port().report().counters.offloaded
}

fn a_file_is_read_and_written(config: Config) {
    let mut driver = Driver::new(config);
    let file = tempfile::tempfile().unwrap();
    assert_eq!(driver.write(raw_file(&file), b"0123456789", Some(0)).unwrap(), 10);
    assert_eq!(driver.write(raw_file(&file), b"ab", Some(10)).unwrap(), 2);
    assert_eq!(driver.read(raw_file(&file), 64, Some(8)).unwrap(), b"89ab");
    assert_eq!(driver.read(raw_file(&file), 64, Some(12)).unwrap(), b"");
    assert_eq!(offloaded(&mut driver), 4);
}

fn a_files_position_moves_on(config: Config) {
    let mut driver = Driver::new(config);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    file.seek(SeekFrom::Start(2)).unwrap();
    assert_eq!(driver.read(raw_file(&file), 3, None).unwrap(), b"234");
    assert_eq!(driver.write(raw_file(&file), b"ab", None).unwrap(), 2);
    assert_eq!(file.stream_position().unwrap(), 7);
    assert_eq!(driver.read(raw_file(&file), 64, None).unwrap(), b"789");
    assert_eq!(driver.read(raw_file(&file), 64, None).unwrap(), b"");
}

fn an_offset_leaves_the_files_own_position(config: Config) {
    let mut driver = Driver::new(config);
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"0123456789").unwrap();
    file.seek(SeekFrom::Start(2)).unwrap();
    let at_once: Vec<_> = (0..8).map(|at| driver.begin_read(raw_file(&file), 1, Some(at))).collect();
    for (at, read) in (b'0'..).zip(at_once) {
        assert_eq!(driver.received(read).unwrap(), [at]);
    }
    driver.write_vectored(raw_file(&file), &[b"a", b"b"], Some(0)).unwrap();
    assert_eq!(file.stream_position().unwrap(), 2);
}

fn vectored_reads_and_writes_keep_the_order(config: Config) {
    let mut driver = Driver::new(config);
    let file = tempfile::tempfile().unwrap();
    assert_eq!(driver.write_vectored(raw_file(&file), &[b"one", b"", b"two"], Some(2)).unwrap(), 6);
    let parts = driver.read_vectored(raw_file(&file), &[2, 0, 3, 9], Some(2)).unwrap();
    assert_eq!(parts, [&b"on"[..], b"", b"etw", b"o"]);
}

fn an_anonymous_pipe_is_read_and_written(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = std::io::pipe().unwrap();
    let read = driver.begin_read(raw_file(&reader), 64, None);
    driver.assert_waits(read);
    assert_eq!(driver.write(raw_file(&writer), b"through", None).unwrap(), 7);
    assert_eq!(driver.received(read).unwrap(), b"through");
    assert_eq!(driver.write_vectored(raw_file(&writer), &[b"in ", b"two"], None).unwrap(), 6);
    let parts = driver.read_vectored(raw_file(&reader), &[3, 64], None).unwrap();
    assert_eq!(parts.concat(), b"in ", "what is there does not wait for more");
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"two");
    drop(writer);
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"");
}

fn operations_run_beside_one_that_blocks(config: Config) {
    let mut driver = Driver::new(config.threads(2));
    let (reader, writer) = std::io::pipe().unwrap();
    let read = driver.begin_read(raw_file(&reader), 64, None);
    let file = tempfile::tempfile().unwrap();
    for round in 0..200_u64 {
        assert_eq!(driver.write(raw_file(&file), &round.to_ne_bytes(), Some(round * 8)).unwrap(), 8);
    }
    drop(writer);
    assert_eq!(driver.received(read).unwrap(), b"");
}

fn a_read_that_blocks_is_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, writer) = std::io::pipe().unwrap();
    for round in 0..50 {
        let read = driver.begin_read(raw_file(&reader), 64, None);
        // Before its thread runs it, while it begins, or when it waits.
        if round % 3 == 0 {
            driver.assert_waits(read);
        } else if round % 3 == 1 {
            driver.turn(Duration::from_micros(round * 10));
        }
        driver.cancel_waiting(read);
    }
    driver.write(raw_file(&writer), b"nothing was taken", None).unwrap();
    assert_eq!(driver.read(raw_file(&reader), 64, None).unwrap(), b"nothing was taken");
}

fn a_port_with_a_read_that_blocks_shuts_down(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, _writer) = std::io::pipe().unwrap();
    let read = driver.begin_read(raw_file(&reader), 64, None);
    driver.assert_waits(read);
    driver.shutdown(patience()).unwrap();
}
