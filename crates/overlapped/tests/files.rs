//! Files: modes, positions, ends, and what can go wrong.

mod support;

use std::cell::{Cell, RefCell};
use std::fs::FileTimes;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use overlapped::fs::{self, Advice, File, OpenOptions};
use overlapped::{attempted, sleep, spawn, yield_now};
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
    fn outcome(opened: std::io::Result<impl Read + Write>, path: &Path) -> String {
        match opened {
            Err(error) => format!("{:?}", error.kind()),
            Ok(mut file) => {
                let read = file.read(&mut [0; 3]).map_err(|error| error.raw_os_error());
                let wrote = file.write(b"new").map_err(|error| error.raw_os_error());
                format!("read {read:?}, wrote {wrote:?}, left {:?}", std::fs::read(path).unwrap())
            }
        }
    }
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
                let expected = outcome(theirs.open(&path), &path);
                prepare();
                let mut ours = OpenOptions::new();
                ours.read(on(0)).write(on(1)).append(on(2)).truncate(on(3)).create(on(4)).create_new(on(5));
                let found = outcome(ours.open(&path), &path);
                assert_eq!(found, expected, "{ours:?}, exists: {exists}");
            }
        }
    });
}

#[test]
fn errors_have_the_systems_number_and_beside_it_the_path() {
    let (_folder, path) = folder();
    run(|| {
        let error = File::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        // ENOENT and ERROR_FILE_NOT_FOUND are the same number.
        assert_eq!(error.raw_os_error(), Some(2));
        assert_eq!(attempted(&error), format!("open {}: {error}", path.display()));

        assert_eq!(File::open("a\0b").unwrap_err().kind(), ErrorKind::InvalidInput);
        File::create_new(&path).unwrap();
        assert_eq!(File::create_new(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
    });
    assert!(File::open(&path).unwrap_err().to_string().contains("overlapped::run"));
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
        let refused = File::open(&path).unwrap().set_len(0).unwrap_err().kind();
        assert!(matches!(refused, ErrorKind::InvalidInput | ErrorKind::PermissionDenied), "{refused}");
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
fn vectored_reads_and_writes_at_an_offset_leave_the_position() {
    let (_folder, path) = folder();
    run(|| {
        let mut file = File::create_new(&path).unwrap();
        file.write_all(b"0123456789").unwrap();
        assert_eq!(file.write_vectored_at(&[IoSlice::new(b"ab"), IoSlice::new(b"cde")], 3).unwrap(), 5);
        let (mut first, mut second) = ([0; 4], [0; 20]);
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(file.read_vectored_at(&mut buffers, 2).unwrap(), 8);
        assert_eq!((&first, &second[..4]), (b"2abc", &b"de89"[..]));
        assert_eq!(file.read_vectored_at(&mut [IoSliceMut::new(&mut [0; 4])], 10).unwrap(), 0);
        assert_eq!(file.stream_position().unwrap(), 10);
    });
}

/// Whatever of it is in the cache: what is asked for at the file's own position is done in the order in which it was asked.
#[test]
fn tasklets_that_share_a_file_by_its_position_are_served_in_the_order_in_which_they_ask() {
    const PIECE: usize = 40_000;
    const COUNT: usize = 50;
    let (_folder, path) = folder();
    run(|| {
        let file = Arc::new(File::options().read(true).write(true).create(true).open(&path).unwrap());
        let asked = Rc::new(RefCell::new(Vec::new()));
        let handles: Vec<_> = (0..COUNT)
            .map(|number| {
                let (file, asked) = (Arc::clone(&file), Rc::clone(&asked));
                spawn(move || {
                    asked.borrow_mut().push(number);
                    (&*file).write_all(&[number as u8; PIECE]).unwrap();
                })
            })
            .collect();
        handles.into_iter().for_each(|handle| handle.join().unwrap());
        let written: Vec<_> = fs::read(&path).unwrap().chunks(PIECE).map(|piece| usize::from(piece[0])).collect();
        assert_eq!(written, asked.take());

        for in_cache in [true, false] {
            if !in_cache {
                file.sync_all().unwrap();
                file.advise(0, 0, Advice::DontNeed).unwrap();
            }
            (&*file).rewind().unwrap();
            let handles: Vec<_> = (0..COUNT)
                .map(|number| {
                    let (file, asked) = (Arc::clone(&file), Rc::clone(&asked));
                    spawn(move || {
                        let (mut piece, mut other) = (vec![0; PIECE], vec![0; PIECE]);
                        asked.borrow_mut().push(number);
                        (&*file).read_exact(&mut piece).unwrap();
                        // One that says where it reads is in nobody's way.
                        file.read_exact_at(&mut other, (number * PIECE) as u64).unwrap();
                        (piece, other[0])
                    })
                })
                .collect();
            let pieces: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
            for (turn, number) in asked.take().into_iter().enumerate() {
                let (piece, other) = &pieces[number];
                assert!(piece.iter().all(|byte| usize::from(*byte) == written[turn]), "turn {turn}: {}", piece[0]);
                assert_eq!(usize::from(*other), written[number]);
            }
        }
    });
}

#[test]
fn times_are_set_as_told_and_the_others_stay() {
    let (_folder, path) = folder();
    let (long_ago, later) =
        [1_000_000_000, 1_200_000_000].map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).into();
    run(|| {
        let file = File::create(&path).unwrap();
        file.set_times(FileTimes::new().set_accessed(long_ago).set_modified(later)).unwrap();
        let metadata = file.metadata().unwrap();
        assert_eq!((metadata.accessed().unwrap(), metadata.modified().unwrap()), (long_ago, later));
        file.set_modified(long_ago).unwrap();
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.accessed().unwrap(), metadata.modified().unwrap()), (long_ago, long_ago));
    });
}

#[test]
fn room_is_allocated_and_advice_taken_without_a_change_of_any_byte() {
    let (_folder, path) = folder();
    run(|| {
        let file = File::create_new(&path).unwrap();
        file.write_all_at(b"0123456789", 0).unwrap();
        let allocated = file.allocate(0, 100_000);
        if allocated.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unsupported) {
            println!("not here: the file system of the temporary folder cannot allocate");
        } else {
            allocated.unwrap();
            assert_eq!(file.metadata().unwrap().len(), 100_000);
            file.allocate(5, 10).unwrap();
            assert_eq!(file.metadata().unwrap().len(), 100_000, "what is there stays");
            #[cfg(target_os = "linux")]
            assert!(std::os::unix::fs::MetadataExt::blocks(&file.metadata().unwrap()) * 512 >= 100_000);
            assert_eq!(file.allocate(0, 0).unwrap_err().kind(), ErrorKind::InvalidInput);
            assert_eq!(file.allocate(u64::MAX, 1).unwrap_err().kind(), ErrorKind::FileTooLarge);
        }
        let advice =
            [Advice::Sequential, Advice::Random, Advice::NoReuse, Advice::WillNeed, Advice::DontNeed, Advice::Normal];
        for advice in advice {
            file.advise(0, 0, advice).unwrap();
            file.advise(3, u64::MAX, advice).unwrap();
        }
        assert!(fs::read(&path).unwrap().starts_with(b"0123456789"));
        let (reader, _writer) = support::pipe();
        assert!(reader.advise(0, 0, Advice::Normal).is_err() || cfg!(not(target_os = "linux")));
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
    let mut permissions = std::fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&path, permissions).unwrap();
    run(|| {
        let ticks = Rc::new(std::cell::Cell::new(0));
        let theirs = ticks.clone();
        spawn(move || {
            loop {
                sleep(Duration::from_millis(1));
                theirs.set(theirs.get() + 1);
            }
        });
        for round in 0.. {
            let copies: Vec<_> = (0..10)
                .map(|n| {
                    let (from, to) = (path.clone(), folder.path().join(format!("copy {round} {n}")));
                    spawn(move || fs::copy(from, &to).map(|length| (to, length)).unwrap())
                })
                .collect();
            for copy in copies {
                let (to, length) = copy.join().unwrap();
                assert_eq!(length, contents.len() as u64);
                assert!(std::fs::read(&to).unwrap() == contents);
                assert!(std::fs::metadata(&to).unwrap().permissions().readonly());
            }
            if ticks.get() > 0 {
                break;
            }
        }
        let error = fs::copy(folder.path(), folder.path().join("no")).unwrap_err();
        // A folder cannot even be opened to read on Windows.
        assert_eq!(error.kind(), if cfg!(windows) { ErrorKind::PermissionDenied } else { ErrorKind::InvalidInput });
        assert!(!folder.path().join("no").exists());
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
        assert_eq!(error.raw_os_error(), std::fs::metadata(&path).unwrap_err().raw_os_error());
        assert_eq!(attempted(&error), format!("look at {}: {error}", path.display()));
        assert_eq!(fs::metadata(&moved).unwrap().len(), 8);
        fs::hard_link(&moved, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"contents");
        assert_eq!(fs::canonicalize(&moved).unwrap(), std::fs::canonicalize(&moved).unwrap());
        assert!(fs::symlink_metadata(&moved).unwrap().is_file());
        let original = fs::metadata(&path).unwrap().permissions();
        let mut readonly = original.clone();
        readonly.set_readonly(true);
        fs::set_permissions(&path, readonly).unwrap();
        assert!(fs::metadata(&moved).unwrap().permissions().readonly());
        fs::set_permissions(&path, original).unwrap();
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["a", "file"]);
        assert_eq!(fs::remove_dir(deep.parent().unwrap()).unwrap_err().kind(), ErrorKind::DirectoryNotEmpty);
        fs::remove_dir_all(folder.path().join("a")).unwrap();
        assert_eq!(fs::read_dir(folder.path().join("a")).unwrap_err().kind(), ErrorKind::NotFound);
        let short = folder.path().join("short");
        fs::create_dir(&short).unwrap();
        fs::remove_dir(&short).unwrap();
    });
}

#[test]
fn a_large_file_that_is_in_the_cache_is_read_and_written_while_others_run() {
    const LENGTH: usize = 48 << 20;
    let (_folder, path) = folder();
    std::fs::write(&path, vec![7; LENGTH]).unwrap();
    run(|| {
        let file = File::options().read(true).write(true).open(&path).unwrap();
        // Another tasklet looks how far the file's position has moved from one of its turns to the next.
        let mut same = std::fs::File::from(file.try_clone().unwrap());
        let longest = Rc::new(Cell::new(0));
        let seen = Rc::clone(&longest);
        let other = spawn(move || {
            let mut before = 0;
            loop {
                let now = same.stream_position().unwrap();
                seen.set(seen.get().max(now.saturating_sub(before)));
                before = now;
                yield_now();
            }
        });
        type Call = fn(&mut &File);
        let calls: [(&str, Call); 4] = [
            ("read_to_end", |file| assert_eq!(file.read_to_end(&mut Vec::new()).unwrap(), LENGTH)),
            ("read_to_string", |file| assert_eq!(file.read_to_string(&mut String::new()).unwrap(), LENGTH)),
            ("read_exact", |file| file.read_exact(&mut vec![0; LENGTH]).unwrap()),
            ("write_all", |file| file.write_all(&vec![7; LENGTH]).unwrap()),
        ];
        for (name, call) in calls {
            (&file).rewind().unwrap();
            yield_now();
            longest.set(0);
            call(&mut &file);
            yield_now();
            let longest = longest.get();
            assert!((1..=8 << 20).contains(&longest), "{name}: {longest} bytes between two turns of another");
        }
        other.cancel();
    });
}

/// On Windows it is the same code, but Wine takes long to find that it has no such room.
#[cfg(unix)]
#[test]
fn a_file_that_no_memory_can_hold_is_an_error_and_nothing_is_lost() {
    let (_folder, path) = folder();
    run(|| {
        let mut file = File::options().read(true).write(true).create(true).open(&path).unwrap();
        // More than a process can address; a file system may have files of 16 TiB at most.
        if file.set_len(1 << 60).is_err() {
            file.set_len(1 << 43).unwrap();
            if std::fs::read_to_string("/proc/sys/vm/overcommit_memory").is_ok_and(|mode| mode.trim() == "1") {
                println!("not here: the system promises any amount of memory");
                return;
            }
        }
        let mut bytes = b"before".to_vec();
        assert_eq!(file.read_to_end(&mut bytes).unwrap_err().kind(), ErrorKind::OutOfMemory);
        assert_eq!(bytes, b"before");
        assert_eq!(fs::read(&path).unwrap_err().kind(), ErrorKind::OutOfMemory);
        let mut text = "before".to_owned();
        assert_eq!(file.read_to_string(&mut text).unwrap_err().kind(), ErrorKind::OutOfMemory);
        assert_eq!((text.as_str(), fs::read_to_string(&path).unwrap_err().kind()), ("before", ErrorKind::OutOfMemory));
        assert_eq!(file.stream_position().unwrap(), 0);
    });
}
