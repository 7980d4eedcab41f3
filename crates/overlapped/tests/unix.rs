//! What exists on Unix alone: descriptors, permission bits, links, devices, fifos.
#![cfg(unix)]

mod support;

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use overlapped::fs::{self, File, OpenOptions};
use overlapped::net::{TcpListener, TcpStream};
use overlapped::{attempted, sleep, spawn, timeout, yield_now};
use support::run;
use tempfile::TempDir;

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    (folder, path)
}

#[test]
fn descriptors_go_in_and_out() {
    let (_folder, path) = folder();
    run(|| {
        let file = File::create(&path).unwrap();
        let number = file.as_raw_fd();
        assert_eq!(file.as_fd().as_raw_fd(), number);
        let fd = OwnedFd::from(file);
        assert_eq!(fd.as_raw_fd(), number);
        assert_eq!(std::fs::File::from(File::from(fd)).into_raw_fd(), number);
        // SAFETY: the number was just given up.
        drop(unsafe { File::from_raw_fd(number) });

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let number = client.as_raw_fd();
        assert_eq!(client.as_fd().as_raw_fd(), number);
        let fd = OwnedFd::from(client);
        assert_eq!(fd.as_raw_fd(), number);
        assert_eq!(std::net::TcpStream::from(TcpStream::from(fd)).into_raw_fd(), number);
        // SAFETY: the number was just given up.
        drop(unsafe { TcpStream::from_raw_fd(number) });
    });
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
        assert_eq!(error.raw_os_error(), Some(libc::ELOOP));
        // SAFETY: F_GETFD takes no pointer.
        let flags = unsafe { libc::fcntl(std::os::fd::AsRawFd::as_raw_fd(&file), libc::F_GETFD) };
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        file.set_permissions(std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    });
}

#[test]
fn links_and_permission_bits() {
    let (folder, path) = folder();
    run(|| {
        fs::write(&path, b"contents").unwrap();
        let second = folder.path().join("second");
        fs::hard_link(&path, &second).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().nlink(), 2);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(fs::read_link(&link).unwrap(), path);
        assert_eq!(fs::canonicalize(&link).unwrap(), std::fs::canonicalize(&path).unwrap());
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::set_permissions(&second, std::fs::Permissions::from_mode(0o400)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o400);
        fs::remove_file(&link).unwrap();
        assert!(path.exists());
        let copy = folder.path().join("copy");
        fs::set_permissions(&path, std::fs::Permissions::from_mode(0o604)).unwrap();
        fs::copy(&path, &copy).unwrap();
        assert_eq!(fs::metadata(&copy).unwrap().mode() & 0o777, 0o604);
        assert_eq!(fs::copy(&path, "/dev/null").unwrap(), 8);
    });
}

#[test]
fn a_copy_is_never_open_to_more_than_its_original() {
    let (folder, path) = folder();
    std::fs::write(&path, b"a secret").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    run(|| {
        let copy = folder.path().join("copy");
        let watched = copy.clone();
        let watcher = spawn(move || {
            loop {
                if let Ok(metadata) = std::fs::metadata(&watched) {
                    assert_eq!(metadata.mode() & 0o077, 0, "{:o}", metadata.mode());
                }
                yield_now();
            }
        });
        for _ in 0..20 {
            fs::copy(&path, &copy).unwrap();
            assert!(!watcher.is_finished());
            std::fs::remove_file(&copy).unwrap();
        }
        watcher.cancel();
        assert!(watcher.join().unwrap_err().is_cancelled());
    });
}

/// Locks belong to the process and are gone when it closes any descriptor of the file (fcntl_locking(2)).
#[cfg(target_os = "linux")]
#[test]
fn record_locks_stay_whatever_is_done_with_the_file() {
    fn lock_of(kind: i32) -> libc::flock {
        libc::flock { l_type: kind as _, l_whence: libc::SEEK_SET as _, l_start: 0, l_len: 0, l_pid: 0 }
    }
    let (_folder, path) = folder();
    std::fs::write(&path, b"locked").unwrap();
    // Locks of an open file are in the way of those of a process, its own too; closing it would end the others.
    let probe = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    let is_locked = || {
        let mut lock = lock_of(libc::F_WRLCK);
        // SAFETY: the lock lives through the call, which fills it.
        assert_eq!(unsafe { libc::fcntl(probe.as_raw_fd(), libc::F_OFD_GETLK, &mut lock) }, 0);
        lock.l_type != libc::F_UNLCK as _
    };
    run(|| {
        let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        // SAFETY: the lock lives through the call.
        let lock = || assert_eq!(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLK, &lock_of(libc::F_WRLCK)) }, 0);
        lock();
        assert!(is_locked());
        type Act = fn(&mut &File);
        let acts: [(&str, Act); 9] = [
            ("set_len", |file| file.set_len(10).unwrap()),
            ("set_permissions", |file| file.set_permissions(file.metadata().unwrap().permissions()).unwrap()),
            ("sync_all", |file| file.sync_all().unwrap()),
            ("sync_data", |file| file.sync_data().unwrap()),
            ("write_at", |file| assert_ne!(file.write_at(b"x", 1).unwrap(), 0)),
            ("read_at", |file| assert_ne!(file.read_at(&mut [0; 4], 1).unwrap(), 0)),
            ("seek", |file| file.rewind().unwrap()),
            ("read_to_end", |file| assert_ne!(file.read_to_end(&mut Vec::new()).unwrap(), 0)),
            ("write_all", |file| file.write_all(b"the end").unwrap()),
        ];
        for (name, act) in acts {
            act(&mut &file);
            assert!(is_locked(), "{name} has taken the process's lock away");
        }
        assert_eq!(file.metadata().unwrap().len(), 17);
        file.rewind().unwrap();
        drop(file);
        assert!(!is_locked(), "what this test looks at");
    });
}

#[test]
fn errors_have_the_numbers_that_the_standard_librarys_have() {
    let (folder, path) = folder();
    let at_loop = folder.path().join("loop");
    std::os::unix::fs::symlink(&at_loop, &at_loop).unwrap();
    let fifo = folder.path().join("fifo");
    let name = std::ffi::CString::new(fifo.to_str().unwrap()).unwrap();
    // SAFETY: the name ends in a NUL byte and lives through the call.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    run(|| {
        let same = |what: &str, ours: std::io::Error, theirs: std::io::Error| {
            assert!(theirs.raw_os_error().is_some(), "{what}");
            assert_eq!((ours.kind(), ours.raw_os_error()), (theirs.kind(), theirs.raw_os_error()), "{what}: {ours}");
            assert!(attempted(&ours).starts_with(&format!("{what}: ")), "{}", attempted(&ours));
        };
        let show = |verb: &str, path: &std::path::Path| format!("{verb} {}", path.display());
        let theirs = std::fs::File::open(&at_loop).unwrap_err();
        same(&show("open", &at_loop), File::open(&at_loop).unwrap_err(), theirs);
        let options = |flags| OpenOptions::new().write(true).custom_flags(flags).clone();
        let mut theirs = std::fs::File::options();
        std::os::unix::fs::OpenOptionsExt::custom_flags(theirs.write(true), libc::O_NONBLOCK);
        let ours = options(libc::O_NONBLOCK).open(&fifo).unwrap_err();
        same(&show("open", &fifo), ours, theirs.open(&fifo).unwrap_err());
        let theirs = std::fs::remove_dir(&fifo).unwrap_err();
        same(&show("remove the directory", &fifo), fs::remove_dir(&fifo).unwrap_err(), theirs);
        let theirs = std::fs::read_dir(&path).map(drop).unwrap_err();
        same(&show("list", &path), fs::read_dir(&path).map(drop).unwrap_err(), theirs);
        let theirs = std::fs::rename(&path, "elsewhere").unwrap_err();
        same(&show("rename", &path), fs::rename(&path, "elsewhere").unwrap_err(), theirs);
        assert_eq!(options(0).open(folder.path()).unwrap_err().raw_os_error(), Some(libc::EISDIR));
    });
}

#[test]
fn folders_and_what_is_below_a_file() {
    let (folder, path) = folder();
    run(|| {
        assert_eq!(File::create(folder.path()).unwrap_err().kind(), ErrorKind::IsADirectory);
        let mut directory = File::open(folder.path()).unwrap();
        assert_eq!(directory.read(&mut [0; 10]).unwrap_err().kind(), ErrorKind::IsADirectory);
        File::create_new(&path).unwrap();
        assert_eq!(File::open(path.join("below")).unwrap_err().kind(), ErrorKind::NotADirectory);
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
