//! Devices and folders: files that are neither regular nor pipes.

use std::fs::File;
use std::io::{ErrorKind, Seek, Write};
use std::path::Path;

use overlapped_port::sys::{OpenHow, raw_file};
use overlapped_port::{Config, Op, OpenMode};

use super::system;
use crate::driver::{CANARY, Driver};

crate::on_every_backend!(
    a_full_disk_says_so,
    an_endless_device_never_ends,
    a_device_that_swallows_everything,
    a_terminal_waits_for_a_line,
    a_terminal_that_is_gone_is_an_error,
    a_folder_is_opened_as_one,
    what_cannot_be_synced_says_so;
    alone: a_write_that_is_cut_short_moves_the_position,
);

const READ: OpenMode =
    OpenMode { read: true, write: false, append: false, truncate: false, create: false, create_new: false };
const WRITE: OpenMode = OpenMode { read: false, write: true, ..READ };

fn a_full_disk_says_so(config: Config) {
    let mut driver = Driver::new(config);
    let full = driver.open(Path::new("/dev/full"), WRITE).unwrap();
    for offset in [None, Some(0)] {
        let error = driver.write(raw_file(&full), b"x", offset).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        let error = driver.write_vectored(raw_file(&full), &[b"x", b"y"], offset).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

/// A disk that is full after a part of a write, and what comes after it: nothing is written over. In a copy of the
/// process, for the limit that stands for the disk's is the whole process's.
fn a_write_that_is_cut_short_moves_the_position(config: Config) {
    let folder = tempfile::tempdir().unwrap();
    let child_is_well = system::in_a_fork(|| {
        system::limit_file_size(10_000);
        let mut driver = Driver::new(config);
        for (vectored, append) in [(false, false), (false, true), (true, false), (true, true)] {
            let path = folder.path().join(format!("{vectored}{append}"));
            let file = driver.open(&path, OpenMode { create: true, append, ..WRITE }).unwrap();
            let mut write = |byte: u8| match vectored {
                false => driver.write(raw_file(&file), &[byte; 6000], None),
                true => driver.write_vectored(raw_file(&file), &[&[byte; 2500], &[byte; 3500]], None),
            };
            assert_eq!((write(1).unwrap(), write(2).unwrap()), (6000, 4000));
            assert_eq!(write(3).unwrap_err().kind(), ErrorKind::FileTooLarge);
            assert_eq!((&file).stream_position().unwrap(), 10_000);
            assert_eq!(std::fs::read(&path).unwrap(), [[1; 6000].as_slice(), &[2; 4000]].concat());
        }
        true
    });
    assert!(child_is_well);
}

fn an_endless_device_never_ends(config: Config) {
    let mut driver = Driver::new(config);
    let zero = driver.open(Path::new("/dev/zero"), READ).unwrap();
    assert_ne!(CANARY, 0);
    // It does not always fill the buffer: the kernel stops after a page where the thread has a signal pending.
    let zeros = driver.read(raw_file(&zero), 100_000, None).unwrap();
    assert!(!zeros.is_empty() && zeros.iter().all(|byte| *byte == 0), "{} bytes", zeros.len());
    let random = driver.open(Path::new("/dev/urandom"), READ).unwrap();
    assert_eq!(driver.read(raw_file(&random), 100, None).unwrap().len(), 100);
}

fn a_device_that_swallows_everything(config: Config) {
    let mut driver = Driver::new(config);
    let null = driver.open(Path::new("/dev/null"), OpenMode { read: true, ..WRITE }).unwrap();
    assert_eq!(driver.write(raw_file(&null), &[1; 1000], None).unwrap(), 1000);
    assert_eq!(driver.read(raw_file(&null), 8, None).unwrap(), b"");
}

fn a_terminal_waits_for_a_line(config: Config) {
    let mut driver = Driver::new(config);
    for nonblocking in [false, true] {
        let (controller, terminal) = system::terminal();
        system::set_nonblocking(&terminal, nonblocking);
        let read = driver.begin_read(raw_file(&terminal), 64, None);
        driver.assert_waits(read);
        let mut controller = File::from(controller);
        controller.write_all(b"half a ").unwrap();
        driver.assert_waits(read);
        controller.write_all(b"line\n").unwrap();
        assert_eq!(driver.received(read).unwrap(), b"half a line\n");
        let read = driver.begin_read(raw_file(&terminal), 64, None);
        driver.assert_waits(read);
        driver.cancel_waiting(read);
    }
}

fn a_terminal_that_is_gone_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let (controller, terminal) = system::terminal();
    let read = driver.begin_read(raw_file(&controller), 64, None);
    driver.assert_waits(read);
    drop(terminal);
    let error = driver.received(read).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO));
}

fn a_folder_is_opened_as_one(config: Config) {
    let mut driver = Driver::new(config);
    let folder = tempfile::tempdir().unwrap();
    let how = OpenHow::new(READ).unwrap().with_flags(libc::O_DIRECTORY);
    let opened = driver.open_how(folder.path(), how).unwrap();
    assert!(opened.metadata().unwrap().is_dir());
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    assert_eq!(driver.open_how(&file, how).unwrap_err().kind(), ErrorKind::NotADirectory);
}

fn what_cannot_be_synced_says_so(config: Config) {
    let mut driver = Driver::new(config);
    let (reader, _writer) = std::io::pipe().unwrap();
    for data_only in [true, false] {
        let error = driver.run(Op::Sync { file: raw_file(&reader), data_only }).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    }
    let folder = tempfile::tempdir().unwrap();
    let opened = driver.open(folder.path(), READ).unwrap();
    driver.run(Op::Sync { file: raw_file(&opened), data_only: false }).expect("a folder's entries can be synced");
}
