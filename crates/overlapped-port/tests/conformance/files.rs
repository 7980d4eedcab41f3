//! Files: open, read, write, fsync, close.

use std::fs;
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::sync::mpsc;
use std::time::Duration;

use overlapped_port::sys::raw_file;
use overlapped_port::{Config, Op, OpenMode};
use tempfile::TempDir;

use crate::driver::{Driver, Flight, bytes_at, count};
use crate::system::{self, content, file_with};

crate::on_every_backend!(
    open_makes_reads_and_writes_a_file,
    open_of_a_missing_file_is_an_error,
    open_of_an_existing_file_as_new_is_an_error,
    open_of_a_folder_to_write_is_an_error,
    open_under_a_file_is_an_error,
    reads_at_an_offset,
    reads_nothing_at_and_after_the_end,
    reads_of_a_folder_are_an_error,
    writes_at_an_offset_leave_the_rest,
    writes_behind_the_end_leave_a_hole,
    reads_and_writes_past_four_gibibytes,
    reads_and_writes_at_the_files_own_position,
    an_offset_leaves_the_files_own_position,
    reads_at_the_files_own_position_take_turns_while_threads_are_busy,
    a_cancelled_read_at_the_files_own_position_loses_no_bytes,
    appends_go_to_the_end,
    an_append_moves_the_position_to_the_end,
    vectored_reads_and_writes_keep_the_order,
    vectored_reads_end_where_the_file_ends,
    a_file_open_for_one_way_refuses_the_other,
    sync_of_data_and_of_all,
    close_closes,
    many_reads_at_once_bring_each_its_own,
    many_writes_at_once_land_each_in_its_place,
    a_big_read_and_write_are_whole,
    nothing_to_read_or_write_is_done_at_once,
    an_offset_that_no_file_reaches_is_an_error,
    more_buffers_than_the_system_takes_are_a_short_read_or_write,
);

const NOTHING: OpenMode =
    OpenMode { read: false, write: false, append: false, truncate: false, create: false, create_new: false };
const READ: OpenMode = OpenMode { read: true, ..NOTHING };
const WRITE: OpenMode = OpenMode { write: true, ..NOTHING };
const READ_WRITE: OpenMode = OpenMode { read: true, ..WRITE };
const CREATE: OpenMode = OpenMode { create: true, truncate: true, ..READ_WRITE };
const CREATE_NEW: OpenMode = OpenMode { create_new: true, ..READ_WRITE };
const APPEND: OpenMode = OpenMode { append: true, create: true, ..NOTHING };

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder for the test")
}

fn open_makes_reads_and_writes_a_file(config: Config) {
    let mut driver = Driver::new(config);
    let folder = folder();
    let path = folder.path().join("new");
    let file = driver.open(&path, CREATE).unwrap();
    assert_eq!(driver.write(raw_file(&file), b"content", Some(0)).unwrap(), 7);
    drop(file);
    assert_eq!(fs::read(&path).unwrap(), b"content");
    let file = driver.open(&path, READ).unwrap();
    assert_eq!(driver.read(raw_file(&file), 64, Some(0)).unwrap(), b"content");
    let emptied = driver.open(&path, CREATE).unwrap();
    assert_eq!(driver.read(raw_file(&emptied), 64, Some(0)).unwrap(), b"");
    let fresh = driver.open(&folder.path().join("fresh"), CREATE_NEW).unwrap();
    assert_eq!(fresh.metadata().unwrap().len(), 0);
}

fn open_of_a_missing_file_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let folder = folder();
    let error = driver.open(&folder.path().join("missing"), READ).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error = driver.open(&folder.path().join("missing/too"), CREATE).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

fn open_of_an_existing_file_as_new_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let folder = folder();
    let path = folder.path().join("there");
    fs::write(&path, b"kept").unwrap();
    let error = driver.open(&path, CREATE_NEW).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(fs::read(&path).unwrap(), b"kept");
}

fn open_of_a_folder_to_write_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let error = driver.open(folder().path(), WRITE).unwrap_err();
    assert_eq!(error.kind(), system::A_FOLDER);
}

fn open_under_a_file_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let folder = folder();
    fs::write(folder.path().join("file"), b"").unwrap();
    let error = driver.open(&folder.path().join("file/below"), READ).unwrap_err();
    assert_eq!(error.kind(), system::NOT_A_FOLDER);
}

fn reads_at_an_offset(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"0123456789");
    assert_eq!(driver.read(raw_file(&file), 4, Some(3)).unwrap(), b"3456");
    assert_eq!(driver.read(raw_file(&file), 4, Some(0)).unwrap(), b"0123");
    assert_eq!(driver.read(raw_file(&file), 64, Some(8)).unwrap(), b"89");
}

fn reads_nothing_at_and_after_the_end(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"0123456789");
    assert_eq!(driver.read(raw_file(&file), 4, Some(10)).unwrap(), b"");
    assert_eq!(driver.read(raw_file(&file), 4, Some(1 << 40)).unwrap(), b"");
    let empty = file_with(b"");
    assert_eq!(driver.read(raw_file(&empty), 4, None).unwrap(), b"");
}

fn reads_of_a_folder_are_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let folder = folder();
    let error = match driver.open(folder.path(), READ) {
        Ok(opened) => driver.read(raw_file(&opened), 64, Some(0)).unwrap_err(),
        // Windows does not open it at all.
        Err(error) => error,
    };
    assert_eq!(error.kind(), system::A_FOLDER);
}

fn writes_at_an_offset_leave_the_rest(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"0123456789");
    assert_eq!(driver.write(raw_file(&file), b"abc", Some(4)).unwrap(), 3);
    assert_eq!(content(&file), b"0123abc789");
}

fn writes_behind_the_end_leave_a_hole(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"01");
    assert_eq!(driver.write(raw_file(&file), b"ab", Some(5)).unwrap(), 2);
    assert_eq!(content(&file), b"01\0\0\0ab");
}

fn reads_and_writes_past_four_gibibytes(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"");
    let far = (5 << 30) + 17;
    assert_eq!(driver.write(raw_file(&file), b"far away", Some(far)).unwrap(), 8);
    assert_eq!(file.metadata().unwrap().len(), far + 8);
    assert_eq!(driver.read(raw_file(&file), 64, Some(far)).unwrap(), b"far away");
    assert_eq!(driver.read(raw_file(&file), 8, Some(far & 0xFFFF_FFFF)).unwrap(), [0; 8], "nothing wraps around");
    let parts = driver.read_vectored(raw_file(&file), &[3, 5], Some(far)).unwrap();
    assert_eq!(parts.concat(), b"far away");
    let mut position = &file;
    position.seek(SeekFrom::Start(far + 4)).unwrap();
    assert_eq!(driver.read(raw_file(&file), 64, None).unwrap(), b"away");
}

fn reads_and_writes_at_the_files_own_position(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"0123456789");
    assert_eq!(driver.read(raw_file(&file), 3, None).unwrap(), b"012");
    assert_eq!(driver.read(raw_file(&file), 3, None).unwrap(), b"345");
    assert_eq!(driver.write(raw_file(&file), b"ab", None).unwrap(), 2);
    assert_eq!(driver.read(raw_file(&file), 64, None).unwrap(), b"89");
    assert_eq!(driver.read(raw_file(&file), 64, None).unwrap(), b"");
    assert_eq!(driver.write_vectored(raw_file(&file), &[b"x", b"yz"], None).unwrap(), 3);
    assert_eq!((&file).stream_position().unwrap(), 13);
    assert_eq!(content(&file), b"012345ab89xyz");
}

fn an_offset_leaves_the_files_own_position(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"0123456789");
    (&file).seek(SeekFrom::Start(2)).unwrap();
    driver.read(raw_file(&file), 3, Some(7)).unwrap();
    driver.write(raw_file(&file), b"a", Some(0)).unwrap();
    driver.read_vectored(raw_file(&file), &[2, 2], Some(0)).unwrap();
    assert_eq!((&file).stream_position().unwrap(), 2);
}

/// More than one try of any backend moves at once.
const LONG: usize = 3 << 20;
const SHORT: usize = 64 << 10;

/// Keeps the port's only thread busy until the sender is dropped.
fn busy_thread(driver: &mut Driver) -> (Flight, mpsc::Sender<()>) {
    let (free, wait) = mpsc::channel::<()>();
    (driver.begin_call(move || Ok(wait.recv().map_or(0, |()| 1))), free)
}

fn reads_at_the_files_own_position_take_turns_while_threads_are_busy(config: Config) {
    let mut driver = Driver::new(config.threads(1));
    let file = file_with(&bytes_at(0, 0, LONG + 2 * SHORT));
    let (call, free) = busy_thread(&mut driver);
    let sizes = [LONG, SHORT, SHORT];
    let reads = sizes.map(|size| driver.begin_read(raw_file(&file), size, None));
    driver.turn(Duration::ZERO);
    drop(free);
    driver.counted(call).unwrap();
    let mut position = 0;
    for (size, read) in sizes.into_iter().zip(reads) {
        let bytes = driver.received(read).unwrap();
        assert_eq!(bytes.len(), size);
        assert!(bytes == bytes_at(0, position, size), "what is read from {position} on is one piece of the file");
        position += size;
    }
}

fn a_cancelled_read_at_the_files_own_position_loses_no_bytes(config: Config) {
    let mut driver = Driver::new(config.threads(1));
    let file = file_with(&bytes_at(0, 0, LONG + SHORT));
    let (call, free) = busy_thread(&mut driver);
    let cancelled = driver.begin_read(raw_file(&file), LONG, None);
    let next = driver.begin_read(raw_file(&file), SHORT, None);
    driver.cancel(cancelled);
    drop(free);
    driver.counted(call).unwrap();
    let (result, _) = driver.finish(cancelled);
    let position = result.map_or(0, count);
    let bytes = driver.received(next).unwrap();
    assert!(bytes == bytes_at(0, position, SHORT), "the next read begins at {position}");
}

fn appends_go_to_the_end(config: Config) {
    let mut driver = Driver::new(config);
    let folder = folder();
    let path = folder.path().join("log");
    fs::write(&path, b"first\n").unwrap();
    let (one, two) = (driver.open(&path, APPEND).unwrap(), driver.open(&path, APPEND).unwrap());
    for line in 0..10 {
        let file = if line % 2 == 0 { &one } else { &two };
        assert_eq!(driver.write(raw_file(file), b"another\n", None).unwrap(), 8);
    }
    // Several at once may swap places, and none may overwrite another.
    let writes: Vec<_> =
        (0..10_u8).map(|line| driver.begin_write(raw_file(&one), vec![b'0' + line, b'\n'], None)).collect();
    for write in writes {
        assert_eq!(driver.counted(write).unwrap(), 2);
    }
    let text = fs::read_to_string(&path).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines[11..].sort_unstable();
    let wanted = [&["first"][..], &["another"; 10], &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]].concat();
    assert_eq!(lines, wanted);
}

/// Behind what it has written, wherever the position was, and however the file has grown since (`O_APPEND`, open(2)).
fn an_append_moves_the_position_to_the_end(config: Config) {
    let mut driver = Driver::new(config);
    let folder = folder();
    let path = folder.path().join("log");
    fs::write(&path, b"0123456789").unwrap();
    let file = driver.open(&path, OpenMode { read: true, ..APPEND }).unwrap();
    let mut other = fs::OpenOptions::new().append(true).open(&path).unwrap();
    assert_eq!(driver.read(raw_file(&file), 4, None).unwrap(), b"0123");
    assert_eq!(driver.write(raw_file(&file), b"ab", None).unwrap(), 2);
    assert_eq!(driver.read(raw_file(&file), 64, None).unwrap(), b"");
    other.write_all(b"another's").unwrap();
    assert_eq!(driver.read(raw_file(&file), 4, None).unwrap(), b"anot");
    other.write_all(b" and more").unwrap();
    assert_eq!(driver.write_vectored(raw_file(&file), &[b"c", b"d"], None).unwrap(), 2);
    assert_eq!(driver.read(raw_file(&file), 64, None).unwrap(), b"");
    other.write_all(b"last").unwrap();
    assert_eq!(driver.read(raw_file(&file), 64, None).unwrap(), b"last");
    assert_eq!(fs::read(&path).unwrap(), b"0123456789abanother's and morecdlast");
}

fn vectored_reads_and_writes_keep_the_order(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"");
    let written = driver.write_vectored(raw_file(&file), &[b"one", b"", b"two", b"three"], Some(2)).unwrap();
    assert_eq!(written, 11);
    assert_eq!(content(&file), b"\0\0onetwothree");
    let parts = driver.read_vectored(raw_file(&file), &[2, 0, 4, 5], Some(2)).unwrap();
    assert_eq!(parts, [&b"on"[..], b"", b"etwo", b"three"]);
    (&file).seek(SeekFrom::Start(8)).unwrap();
    let parts = driver.read_vectored(raw_file(&file), &[1, 2], None).unwrap();
    assert_eq!(parts, [&b"t"[..], b"hr"]);
}

fn vectored_reads_end_where_the_file_ends(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"01234");
    let parts = driver.read_vectored(raw_file(&file), &[3, 3, 3], Some(0)).unwrap();
    assert_eq!(parts, [&b"012"[..], b"34", b""]);
    let parts = driver.read_vectored(raw_file(&file), &[3, 3], Some(5)).unwrap();
    assert_eq!(parts.concat(), b"");
}

fn a_file_open_for_one_way_refuses_the_other(config: Config) {
    let mut driver = Driver::new(config);
    let folder = folder();
    let path = folder.path().join("file");
    fs::write(&path, b"content").unwrap();
    let reader = driver.open(&path, READ).unwrap();
    let error = driver.write(raw_file(&reader), b"x", Some(0)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(system::WRONG_WAY));
    let writer = driver.open(&path, WRITE).unwrap();
    let error = driver.read(raw_file(&writer), 8, Some(0)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(system::WRONG_WAY));
    let both = driver.open(&path, READ_WRITE).unwrap();
    driver.write(raw_file(&both), b"C", Some(0)).unwrap();
    assert_eq!(driver.read(raw_file(&both), 8, Some(0)).unwrap(), b"Content");
}

fn sync_of_data_and_of_all(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"content");
    for data_only in [true, false] {
        assert_eq!(count(driver.run(Op::Sync { file: raw_file(&file), data_only }).unwrap()), 0);
    }
}

fn close_closes(config: Config) {
    let mut driver = Driver::new(config);
    let folder = folder();
    let path = folder.path().join("file");
    let watcher = driver.open(&path, CREATE).unwrap();
    let file = system::give_up(driver.open(&path, WRITE).unwrap());
    driver.write(file, b"content", None).unwrap();
    assert_eq!(count(driver.run(Op::CloseFile { file }).unwrap()), 0);
    assert_eq!(driver.read(raw_file(&watcher), 64, Some(0)).unwrap(), b"content");
}

fn many_reads_at_once_bring_each_its_own(config: Config) {
    let mut driver = Driver::new(config);
    let all = bytes_at(1, 0, 1 << 20);
    let file = file_with(&all);
    let reads: Vec<_> = (0..256_usize)
        .map(|number| (number * 4096, driver.begin_read(raw_file(&file), 4096, Some(number as u64 * 4096))))
        .collect();
    for (offset, read) in reads.into_iter().rev() {
        assert!(driver.received(read).unwrap() == all[offset..offset + 4096], "at {offset}");
    }
}

fn many_writes_at_once_land_each_in_its_place(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"");
    let all = bytes_at(2, 0, 1 << 20);
    let writes: Vec<_> = all
        .chunks(4096)
        .enumerate()
        .map(|(number, chunk)| driver.begin_write(raw_file(&file), chunk.to_vec(), Some(number as u64 * 4096)))
        .collect();
    driver.turn(Duration::ZERO);
    for write in writes {
        assert_eq!(driver.counted(write).unwrap(), 4096);
    }
    assert!(content(&file) == all);
}

fn a_big_read_and_write_are_whole(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"");
    let all = bytes_at(3, 0, 5 << 20);
    assert_eq!(driver.write(raw_file(&file), &all, Some(0)).unwrap(), all.len());
    assert!(driver.read(raw_file(&file), all.len() + 1, Some(0)).unwrap() == all);
}

fn nothing_to_read_or_write_is_done_at_once(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"content");
    let file = raw_file(&file);
    for offset in [None, Some(3), Some(100)] {
        assert_eq!(driver.read(file, 0, offset).unwrap(), b"");
        assert_eq!(driver.write(file, b"", offset).unwrap(), 0);
        assert_eq!(driver.read_vectored(file, &[0, 0], offset).unwrap().concat(), b"");
        assert_eq!(driver.read_vectored(file, &[], offset).unwrap().concat(), b"");
        assert_eq!(driver.write_vectored(file, &[], offset).unwrap(), 0);
    }
    assert_eq!(driver.read(file, 64, Some(0)).unwrap(), b"content");
}

fn an_offset_that_no_file_reaches_is_an_error(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"content");
    let file = raw_file(&file);
    for offset in [1 << 63, u64::MAX - 1, u64::MAX] {
        let error = driver.read(file, 8, Some(offset)).expect_err("a read");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "a read at {offset}: {error}");
        let error = driver.write(file, b"x", Some(offset)).expect_err("a write");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "a write at {offset}: {error}");
        let error = driver.read_vectored(file, &[8], Some(offset)).expect_err("a vectored read");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "a vectored read at {offset}: {error}");
        let error = driver.write_vectored(file, &[b"x"], Some(offset)).expect_err("a vectored write");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "a vectored write at {offset}: {error}");
    }
    assert_eq!(driver.read(file, 64, None).unwrap(), b"content", "the file's own position was not meant");
}

fn more_buffers_than_the_system_takes_are_a_short_read_or_write(config: Config) {
    let mut driver = Driver::new(config);
    let file = file_with(b"");
    let all = bytes_at(4, 0, 3000);
    let parts: Vec<&[u8]> = all.chunks(1).collect();
    let mut written = 0;
    while written < all.len() {
        let count = driver.write_vectored(raw_file(&file), &parts[written..], Some(written as u64)).unwrap();
        assert!(count > 0);
        written += count;
    }
    assert!(content(&file) == all);
    let mut read = Vec::new();
    while read.len() < all.len() {
        let more = driver.read_vectored(raw_file(&file), &[1; 3000], Some(read.len() as u64)).unwrap().concat();
        assert!(!more.is_empty());
        read.extend(more);
    }
    assert!(read == all);
}
