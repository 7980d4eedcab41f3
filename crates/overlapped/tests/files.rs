//! Files: modes, positions, ends, and what can go wrong.

mod support;

use std::io::{BufRead, BufReader, BufWriter, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use overlapped::fs::{self, File, OpenOptions};
use overlapped::{sleep, spawn, timeout};
use support::{pattern, run};
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    (folder, path)
}

/// All 64 ways to set the six options, on a file that exists and on one that does not, do what the standard library does.
#[test]
fn every_open_mode_is_that_of_the_standard_library() {
    let (_folder, path) = folder();
    let outcome = |opened: std::io::Result<std::fs::File>| match opened {
        Err(error) => format!("{:?}", error.kind()),
        Ok(mut file) => {
            let read = file.read(&mut [0; 3]).map_err(|error| error.raw_os_error());
            let wrote = file.write(b"new").map_err(|error| error.raw_os_error());
            format!("read {read:?}, wrote {wrote:?}, left {:?}", std::fs::read(&path).unwrap())
        }
    };
    run(|| {
        for mode in 0..64 {
            let on = |bit: u32| mode >> bit & 1 == 1;
            for exists in [true, false] {
                let prepare = || {
                    let _ = std::fs::remove_file(&path);
                    if exists {
                        std::fs::write(&path, b"old contents").unwrap();
                    }
                };
                prepare();
                let mut theirs = std::fs::OpenOptions::new();
                theirs.read(on(0)).write(on(1)).append(on(2)).truncate(on(3)).create(on(4)).create_new(on(5));
                let expected = outcome(theirs.open(&path));
                prepare();
                let mut ours = OpenOptions::new();
                ours.read(on(0)).write(on(1)).append(on(2)).truncate(on(3)).create(on(4)).create_new(on(5));
                let found = outcome(ours.open(&path).map(std::fs::File::from));
                assert_eq!(found, expected, "{ours:?}, exists: {exists}");
            }
        }
    });
}

#[test]
fn errors_of_opening_name_the_path() {
    let (folder, path) = folder();
    run(|| {
        let error = File::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().starts_with(&format!("open {}: ", path.display())), "{error}");
        let source = std::error::Error::source(error.get_ref().unwrap()).unwrap();
        let system = source.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(system.raw_os_error(), Some(libc::ENOENT));

        assert_eq!(File::open("a\0b").unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(File::create(folder.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
        let mut directory = File::open(folder.path()).unwrap();
        assert_eq!(directory.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::IsADirectory);
        File::create_new(&path).unwrap();
        assert_eq!(File::create_new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(File::open(path.join("below")).unwrap_err().kind(), ErrorKind::NotADirectory);
    });
    assert!(File::open(&path).unwrap_err().to_string().contains("overlapped::run"));
}

#[test]
fn flags_and_permission_bits_reach_the_system() {
    let (folder, path) = folder();
    run(|| {
        let file = OpenOptions::new().write(true).create(true).mode(0o600).open(&path).unwrap();
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(File::open(&link).is_ok());
        let error = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(&link).unwrap_err();
        assert!(error.to_string().contains(&format!("os error {}", libc::ELOOP)), "{error}");
        // SAFETY: F_GETFD takes no pointer.
        let flags = unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        file.set_permissions(std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    });
}

#[test]
fn the_position_moves_with_reads_writes_and_seeks() {
    let (_folder, path) = folder();
    run(|| {
        let mut file = File::options().read(true).write(true).create(true).open(&path).unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(file.stream_position().unwrap(), 10);
        assert_eq!(file.read(&mut [0; 4]).unwrap(), 0, "the end");
        assert_eq!(file.seek(SeekFrom::Start(2)).unwrap(), 2);
        let mut four = [0; 4];
        file.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"2345");
        assert_eq!(file.seek(SeekFrom::Current(-1)).unwrap(), 5);
        file.write_all(b"five").unwrap();
        assert_eq!(file.seek(SeekFrom::End(-3)).unwrap(), 7);
        let mut rest = String::new();
        file.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "ve9");
        assert_eq!(file.seek(SeekFrom::Current(-100)).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(file.seek(SeekFrom::End(10)).unwrap(), 20, "past the end is a place too");
        assert_eq!(file.read(&mut four).unwrap(), 0);
        file.write_all(b"x").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"01234five9\0\0\0\0\0\0\0\0\0\0x");

        // Clones share the position; offsets leave it alone.
        let mut clone = file.try_clone().unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        assert_eq!(clone.read(&mut four).unwrap(), 4);
        assert_eq!(file.stream_position().unwrap(), 4);
        assert_eq!(file.read_at(&mut four, 8).unwrap(), 4);
        assert_eq!(file.write_at(b"AB", 0).unwrap(), 2);
        assert_eq!(file.stream_position().unwrap(), 4);
        clone.rewind().unwrap();
        file.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"AB23");
    });
}

#[test]
fn appends_of_several_tasklets_neither_overwrite_nor_mix() {
    let (_folder, path) = folder();
    run(|| {
        let handles: Vec<_> = (0..20_u8)
            .map(|n| {
                let mut log = OpenOptions::new().append(true).create(true).open(&path).unwrap();
                spawn(move || {
                    for _ in 0..10 {
                        log.write_all(&[n; 100]).unwrap();
                    }
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len(), 20 * 10 * 100);
        let mut lines = [0; 20];
        for line in bytes.chunks(100) {
            assert!(line.iter().all(|byte| *byte == line[0]));
            lines[usize::from(line[0])] += 1;
        }
        assert_eq!(lines, [10; 20]);
        // A write at an offset into a file that is appended to goes to its end (pwrite(2)).
        OpenOptions::new().append(true).open(&path).unwrap().write_all_at(b"end", 0).unwrap();
        assert!(fs::read(&path).unwrap().ends_with(b"end"));
    });
}

#[test]
fn several_tasklets_write_one_file_by_offset() {
    let (_folder, path) = folder();
    const PIECE: usize = 10_000;
    run(|| {
        let file = Rc::new(File::create(&path).unwrap());
        let handles: Vec<_> = (0..30)
            .map(|n| {
                let file = file.clone();
                spawn(move || file.write_all_at(&pattern(n * PIECE, PIECE), (n * PIECE) as u64).unwrap())
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        let file = Rc::new(File::open(&path).unwrap());
        let handles: Vec<_> = (0..30)
            .map(|n| {
                let file = file.clone();
                spawn(move || {
                    let mut piece = vec![0; PIECE];
                    file.read_exact_at(&mut piece, (n * PIECE) as u64).unwrap();
                    assert!(piece == pattern(n * PIECE, PIECE), "piece {n}");
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        let error = file.read_exact_at(&mut [0; 2], 30 * PIECE as u64 - 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    });
}

#[test]
fn truncation_and_growth() {
    let (_folder, path) = folder();
    run(|| {
        let mut file = File::create_new(&path).unwrap();
        file.write_all(b"0123456789").unwrap();
        file.set_len(4).unwrap();
        assert_eq!(file.stream_position().unwrap(), 10, "the position stays");
        file.set_len(6).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"0123\0\0");
        assert_eq!(file.metadata().unwrap().len(), 6);
        file.sync_data().unwrap();
        file.sync_all().unwrap();
        assert_eq!(File::open(&path).unwrap().set_len(0).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[test]
fn past_four_gibibytes() {
    const FAR: u64 = (5 << 30) + 3;
    let (_folder, path) = folder();
    run(|| {
        let mut file = File::create_new(&path).unwrap();
        assert_eq!(file.write_at(b"far out", FAR).unwrap(), 7);
        assert_eq!(file.metadata().unwrap().len(), FAR + 7);
        let mut word = [0; 7];
        file.read_exact_at(&mut word, FAR).unwrap();
        assert_eq!(&word, b"far out");
        assert_eq!(file.seek(SeekFrom::End(-3)).unwrap(), FAR + 4);
        file.read_exact(&mut word[..3]).unwrap();
        assert_eq!(&word[..3], b"out");
        file.write_all(b"!").unwrap();
        assert_eq!(file.stream_position().unwrap(), FAR + 8);
        assert_eq!(file.read_at(&mut word, FAR + 8).unwrap(), 0);
    });
}

#[test]
fn vectored_reads_and_writes() {
    let (_folder, path) = folder();
    run(|| {
        let mut file = File::create_new(&path).unwrap();
        assert_eq!(file.write_vectored(&[IoSlice::new(b"one"), IoSlice::new(b"three")]).unwrap(), 8);
        file.rewind().unwrap();
        let (mut first, mut second) = ([0; 4], [0; 8]);
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(file.read_vectored(&mut buffers).unwrap(), 8);
        assert_eq!((&first, &second[..4]), (b"onet", &b"hree"[..]));
        let written = file.write_vectored(&vec![IoSlice::new(b"x"); 3000]).unwrap();
        assert!((1..=3000).contains(&written));
        assert_eq!(file.read_vectored(&mut []).unwrap(), 0);
    });
}

#[test]
fn devices() {
    run(|| {
        let mut full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        assert_eq!(full.write(b"x").unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(full.write_all(b"x").unwrap_err().kind(), ErrorKind::StorageFull);
        let mut null = OpenOptions::new().read(true).write(true).open("/dev/null").unwrap();
        null.write_all(b"away").unwrap();
        assert_eq!(null.read(&mut [0; 4]).unwrap(), 0);
        let mut zeroes = [1; 100];
        File::open("/dev/zero").unwrap().read_exact(&mut zeroes).unwrap();
        assert_eq!(zeroes, [0; 100]);
    });
}

#[test]
fn files_that_do_not_tell_their_length_are_read_to_the_end() {
    run(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(status.starts_with("Name:") && status.ends_with('\n'), "{status}");
        assert_eq!(fs::read("/proc/self/environ").unwrap(), std::fs::read("/proc/self/environ").unwrap());
    });
}

#[test]
fn whole_files() {
    let (_folder, path) = folder();
    run(|| {
        for length in [0, 1, 31, 32, 33, 8191, 8192, 100_000, 3 << 20] {
            let contents = pattern(length, length);
            fs::write(&path, &contents).unwrap();
            assert!(fs::read(&path).unwrap() == contents, "{length}");
            let mut after = b"before".to_vec();
            assert_eq!(File::open(&path).unwrap().read_to_end(&mut after).unwrap(), length);
            assert!(after[..6] == *b"before" && after[6..] == contents, "{length}");
        }
        fs::write(&path, b"\xff no text").unwrap();
        let mut text = String::from("kept");
        let error = File::open(&path).unwrap().read_to_string(&mut text).unwrap_err();
        assert_eq!((error.kind(), text.as_str()), (ErrorKind::InvalidData, "kept"));
        assert!(fs::read_to_string(&path).is_err());
    });
}

#[test]
fn the_standard_library_s_layers_work_on_top() {
    let (_folder, path) = folder();
    run(|| {
        let mut writer = BufWriter::new(File::create(&path).unwrap());
        for n in 0..10_000 {
            writeln!(writer, "line {n}").unwrap();
        }
        writer.into_inner().unwrap().sync_all().unwrap();
        let lines = BufReader::new(File::open(&path).unwrap()).lines();
        for (n, line) in lines.enumerate() {
            assert_eq!(line.unwrap(), format!("line {n}"));
        }
        let mut copy = Vec::new();
        std::io::copy(&mut File::open(&path).unwrap(), &mut copy).unwrap();
        assert!(copy == std::fs::read(&path).unwrap());
        let theirs = std::fs::File::from(File::open(&path).unwrap());
        assert_eq!(File::from(theirs).metadata().unwrap().len(), copy.len() as u64);
        assert!(format!("{:?}", File::open(&path).unwrap()).contains("file"));
    });
}

#[test]
fn copies_keep_bytes_and_permissions_while_a_ticker_runs() {
    let (folder, path) = folder();
    let contents = pattern(0, (3 << 20) + 17);
    std::fs::write(&path, &contents).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
    run(|| {
        let ticks = Rc::new(std::cell::Cell::new(0));
        let theirs = ticks.clone();
        spawn(move || {
            loop {
                sleep(Duration::from_millis(1));
                theirs.set(theirs.get() + 1);
            }
        });
        let copies: Vec<_> = (0..10)
            .map(|n| {
                let (from, to) = (path.clone(), folder.path().join(format!("copy {n}")));
                spawn(move || fs::copy(from, &to).map(|length| (to, length)).unwrap())
            })
            .collect();
        for copy in copies {
            let (to, length) = copy.join().unwrap();
            assert_eq!(length, contents.len() as u64);
            assert!(std::fs::read(&to).unwrap() == contents);
            assert_eq!(std::fs::metadata(&to).unwrap().mode() & 0o777, 0o604);
        }
        assert!(ticks.get() > 0, "nobody else ran");
        let error = fs::copy(folder.path(), folder.path().join("no")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(!folder.path().join("no").exists());
        assert_eq!(fs::copy(&path, "/dev/null").unwrap(), contents.len() as u64);
    });
}

#[test]
fn opening_and_reading_a_fifo_blocks_the_caller_alone() {
    let (_folder, path) = folder();
    let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: the name ends in a NUL byte and lives through the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    run(|| {
        let reads = path.clone();
        let reader = spawn(move || {
            let mut fifo = File::open(reads).unwrap();
            let mut all = Vec::new();
            fifo.read_to_end(&mut all).map(|_| all)
        });
        sleep(Duration::from_millis(20));
        assert!(!reader.is_finished());
        let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
        for _ in 0..3 {
            sleep(Duration::from_millis(5));
            writer.write_all(b"piece ").unwrap();
        }
        assert!(!reader.is_finished());
        drop(writer);
        assert_eq!(reader.join().unwrap().unwrap(), b"piece piece piece ");
    });
}

#[test]
fn pipes_time_out_and_break() {
    run(|| {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut reader = File::from(std::os::fd::OwnedFd::from(reader));
        let mut writer = File::from(std::os::fd::OwnedFd::from(writer));
        let start = Instant::now();
        assert!(timeout(Duration::from_millis(20), || reader.read(&mut [0; 10])).is_err());
        assert!(start.elapsed() < support::LONG);
        writer.write_all(b"still").unwrap();
        assert_eq!(reader.read(&mut [0; 10]).unwrap(), 5);
        assert!(timeout(Duration::from_millis(20), || writer.write_all(&vec![0; 1 << 20])).is_err());
        assert!(reader.seek(SeekFrom::Start(0)).is_err());
        drop(reader);
        assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn names_and_directories() {
    let (folder, path) = folder();
    run(|| {
        let deep = folder.path().join("a/b/c");
        assert_eq!(fs::create_dir(&deep).unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir_all(&deep).unwrap();
        fs::write(&path, b"contents").unwrap();
        let moved = deep.join("moved");
        fs::rename(&path, &moved).unwrap();
        let error = fs::metadata(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("file"), "{error}");
        assert_eq!(fs::metadata(&moved).unwrap().len(), 8);
        fs::hard_link(&moved, &path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().nlink(), 2);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&moved, &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), moved);
        assert_eq!(fs::canonicalize(&link).unwrap(), std::fs::canonicalize(&moved).unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(fs::metadata(&moved).unwrap().mode() & 0o777, 0o400);
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "file", "link"]);
        assert_eq!(fs::remove_dir(deep.parent().unwrap()).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        fs::remove_file(&link).unwrap();
        fs::remove_dir_all(folder.path().join("a")).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap_err().kind(), ErrorKind::NotFound);
        fs::create_dir(&link).unwrap();
        fs::remove_dir(&link).unwrap();
    });
}
