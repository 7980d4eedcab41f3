//! Files in Windows' own ways: the position of an overlapped handle, long paths.

use std::io::{ErrorKind, Seek, SeekFrom};

use overlapped_port::sys::raw_file;
use overlapped_port::{Config, OpenMode};

use crate::driver::Driver;
use crate::system::{self, content, file_with};

crate::on_every_backend!(
    operations_at_the_position_take_turns,
    one_that_waits_for_its_turn_is_cancelled,
    a_long_path_is_opened,
    a_call_that_fails_at_once_leaves_no_packet_for_the_next,
);

fn operations_at_the_position_take_turns(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"");
    let writes: Vec<_> = (0..50_u8).map(|number| driver.begin_write(raw_file(&file), vec![number; 10], None)).collect();
    for write in writes {
        assert_eq!(driver.counted(write).unwrap(), 10);
    }
    let wanted: Vec<u8> = (0..50_u8).flat_map(|number| [number; 10]).collect();
    assert!(content(&file) == wanted);
    (&file).seek(SeekFrom::Start(5)).unwrap();
    let reads: Vec<_> = (0..50).map(|_| driver.begin_read(raw_file(&file), 10, None)).collect();
    for (number, read) in reads.into_iter().enumerate() {
        assert_eq!(driver.received(read).unwrap(), wanted[5 + number * 10..wanted.len().min(15 + number * 10)]);
    }
}

fn one_that_waits_for_its_turn_is_cancelled(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(&[7; 100]);
    let first = driver.begin_read(raw_file(&file), 10, None);
    let second = driver.begin_read(raw_file(&file), 20, None);
    let third = driver.begin_read(raw_file(&file), 30, None);
    driver.cancel_waiting(second);
    assert_eq!(driver.received(first).unwrap().len(), 10);
    assert_eq!(driver.received(third).unwrap().len(), 30);
    assert_eq!((&file).stream_position().unwrap(), 40, "the second never had its turn");
}

fn a_long_path_is_opened(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    let mut path = folder.path().to_owned();
    for _ in 0..3 {
        path.push("folder-".repeat(15));
    }
    std::fs::create_dir_all(&path).unwrap();
    path.push("file");
    assert!(path.as_os_str().len() > 300);
    let mode = OpenMode { write: true, read: true, create_new: true, ..OpenMode::default() };
    let file = driver.open(&path, mode).unwrap();
    driver.write(raw_file(&file), b"content", Some(0)).unwrap();
    assert_eq!(system::content(&file), b"content");
}

fn a_call_that_fails_at_once_leaves_no_packet_for_the_next(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"content");
    for _ in 0..20 {
        // The last byte asked for is beyond what an offset can say. Wine fails the call and posts its packet too.
        let far = driver.begin_read(raw_file(&file), 8, Some(i64::MAX as u64));
        let near = driver.begin_read(raw_file(&file), 8, Some(0));
        assert_eq!(driver.received(far).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(driver.received(near).unwrap(), b"content");
    }
}
