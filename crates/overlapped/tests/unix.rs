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
use overlapped::{sleep, spawn, timeout};
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
        assert!(error.to_string().contains(&format!("os error {}", libc::ELOOP)), "{error}");
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
