//! What exists on Windows alone: handles, sharing and attributes, named pipes, blocking handles.
#![cfg(windows)]

mod support;

use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::windows::fs::MetadataExt;
use std::os::windows::io::{
    AsHandle, AsRawHandle, AsRawSocket, AsSocket, FromRawHandle, FromRawSocket, IntoRawHandle, IntoRawSocket,
    OwnedHandle, OwnedSocket,
};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use overlapped::fs::{self, File, OpenOptions};
use overlapped::net::{TcpListener, TcpStream, UdpSocket};
use overlapped::{sleep, spawn, timeout, yield_now};
use support::{pattern, pipe, run};
use tempfile::TempDir;
use windows_sys::Win32::Foundation::{ERROR_SHARING_VIOLATION, GENERIC_READ};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_ATTRIBUTE_HIDDEN, FILE_FLAG_DELETE_ON_CLOSE, FILE_SHARE_READ, FILE_WRITE_DATA,
};

const MOMENT: Duration = Duration::from_millis(20);

fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    (folder, path)
}

#[test]
fn symbolic_links_are_made_for_files_and_for_folders_and_removed_as_such() {
    let (folder, path) = folder();
    support::except_under_wine("Wine says that it has made a symbolic link, and has not", || {
        run(|| {
            fs::write(&path, b"contents").unwrap();
            let (to_file, to_folder) = (folder.path().join("to file"), folder.path().join("to folder"));
            match fs::symlink_file(&path, &to_file) {
                // ERROR_PRIVILEGE_NOT_HELD: not every user may.
                Err(error) if error.raw_os_error() == Some(1314) => return println!("not here: {error}"),
                made => made.unwrap(),
            }
            fs::symlink_dir(folder.path(), &to_folder).unwrap();
            assert_eq!(fs::read(&to_file).unwrap(), b"contents");
            assert_eq!(fs::read(to_folder.join("file")).unwrap(), b"contents");
            assert_eq!(fs::read_link(&to_file).unwrap(), path);
            fs::remove_file(&to_file).unwrap();
            assert!(fs::remove_file(&to_folder).is_err(), "it is a folder's");
            fs::remove_dir(&to_folder).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"contents", "what they pointed to stays");
        });
    });
}

#[test]
fn handles_go_in_and_out() {
    let (_folder, path) = folder();
    run(|| {
        let file = File::create(&path).unwrap();
        let number = file.as_raw_handle();
        assert_eq!(file.as_handle().as_raw_handle(), number);
        let handle = OwnedHandle::from(file);
        assert_eq!(handle.as_raw_handle(), number);
        assert_eq!(std::fs::File::from(File::from(handle)).into_raw_handle(), number);
        // SAFETY: the handle was just given up.
        drop(unsafe { File::from_raw_handle(number) });

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let number = client.as_raw_socket();
        assert_eq!(client.as_socket().as_raw_socket(), number);
        let socket = OwnedSocket::from(client);
        assert_eq!(socket.as_raw_socket(), number);
        assert_eq!(std::net::TcpStream::from(TcpStream::from(socket)).into_raw_socket(), number);
        // SAFETY: the socket was just given up.
        drop(unsafe { TcpStream::from_raw_socket(number) });

        let socket = OwnedSocket::from(UdpSocket::bind("127.0.0.1:0").unwrap());
        assert!(UdpSocket::from(socket).local_addr().is_ok());
    });
}

#[test]
fn share_modes_access_flags_and_attributes_reach_the_system() {
    let (_folder, path) = folder();
    run(|| {
        let alone = OpenOptions::new().write(true).create(true).share_mode(FILE_SHARE_READ).open(&path).unwrap();
        let error = OpenOptions::new().write(true).open(&path).unwrap_err();
        let code = format!("os error {ERROR_SHARING_VIOLATION}");
        assert!(error.to_string().contains(&code), "{error}");
        drop(alone);
        assert!(OpenOptions::new().write(true).open(&path).is_ok());

        let mut reads = OpenOptions::new().access_mode(GENERIC_READ).open(&path).unwrap();
        assert_eq!(reads.read(&mut [0; 4]).unwrap(), 0);
        assert_eq!(reads.write(b"x").unwrap_err().kind(), ErrorKind::PermissionDenied);
        let mut writes = OpenOptions::new().access_mode(FILE_WRITE_DATA).open(&path).unwrap();
        writes.write_all(b"x").unwrap();
        drop(writes);
        assert_eq!(fs::read(&path).unwrap(), b"x");

        let hidden = path.with_extension("hidden");
        OpenOptions::new().write(true).create_new(true).attributes(FILE_ATTRIBUTE_HIDDEN).open(&hidden).unwrap();
        assert_ne!(fs::metadata(&hidden).unwrap().file_attributes() & FILE_ATTRIBUTE_HIDDEN, 0);

        let passing = path.with_extension("passing");
        let mut open = OpenOptions::new();
        let file = open.write(true).create_new(true).custom_flags(FILE_FLAG_DELETE_ON_CLOSE).open(&passing).unwrap();
        assert!(passing.exists());
        drop(file);
        assert!(!passing.exists());
    });
}

#[test]
fn folders_cannot_be_opened_as_files() {
    let (folder, path) = folder();
    run(|| {
        assert_eq!(File::create(folder.path()).unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(File::open(folder.path()).unwrap_err().kind(), ErrorKind::PermissionDenied);
        File::create_new(&path).unwrap();
        assert_eq!(File::open(path.join("below")).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

#[test]
fn pipes_time_out_and_break() {
    run(|| {
        let (mut reader, mut writer) = pipe();
        let start = Instant::now();
        assert!(timeout(MOMENT, || reader.read(&mut [0; 10])).is_err());
        assert!(start.elapsed() < support::LONG);
        writer.write_all(b"still").unwrap();
        assert_eq!(reader.read(&mut [0; 10]).unwrap(), 5);
        let sent = pattern(0, 1 << 20);
        let expected = sent.clone();
        let sending = spawn(move || writer.write_all(&sent).map(|()| writer));
        let mut got = vec![0; expected.len()];
        reader.read_exact(&mut got).unwrap();
        assert!(got == expected);
        let mut writer = sending.join().unwrap().unwrap();
        drop(reader);
        assert_eq!(writer.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let (mut reader, writer) = pipe();
        drop(writer);
        assert_eq!(reader.read(&mut [0; 10]).unwrap(), 0);
    });
}

/// A handle that was opened without `FILE_FLAG_OVERLAPPED`: the pool's threads wait, not this one.
#[test]
fn blocking_handles_of_the_standard_library_block_the_caller_alone() {
    let (_folder, path) = folder();
    run(|| {
        let options = || std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut file = File::from(options().open(&path).unwrap());
        file.write_all(b"0123456789").unwrap();
        file.seek(SeekFrom::Start(3)).unwrap();
        let mut four = [0; 4];
        file.read_exact(&mut four).unwrap();
        assert_eq!((&four, file.stream_position().unwrap()), (b"3456", 7));
        assert_eq!(file.read_at(&mut four, 1).unwrap(), 4);
        assert_eq!((&four, file.stream_position().unwrap()), (b"1234", 7));

        let (reader, writer) = std::io::pipe().unwrap();
        let (mut reader, mut writer) = (File::from(OwnedHandle::from(reader)), File::from(OwnedHandle::from(writer)));
        let reading = spawn(move || {
            let mut word = [0; 5];
            reader.read_exact(&mut word).map(|()| word)
        });
        for _ in 0..5 {
            yield_now();
        }
        assert!(!reading.is_finished());
        writer.write_all(b"hello").unwrap();
        assert_eq!(&reading.join().unwrap().unwrap(), b"hello");
    });
}

/// A handle that is dropped is closed without the port's knowledge, and a duplicate may get its number.
#[test]
fn a_duplicate_takes_over_a_number_and_nothing_else() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || {
            let client = TcpStream::connect(address).unwrap();
            let (server, _) = listener.accept().unwrap();
            // Both are associated with the port from here on; of the accepted one's quick results it gets no packets.
            (&client).write_all(b"to").unwrap();
            (&server).read_exact(&mut [0; 2]).unwrap();
            (client, server)
        };
        let (mut client, server) = connect();
        let gone: Vec<_> = (0..8).map(|_| connect()).collect();
        let numbers: Vec<_> = gone.iter().map(|(client, _)| client.as_raw_socket()).collect();
        drop(gone);
        let duplicates: Vec<_> = (0..16).map(|_| server.try_clone().unwrap()).collect();
        let came_again = duplicates.iter().filter(|duplicate| numbers.contains(&duplicate.as_raw_socket())).count();
        assert!(came_again > 0, "no number came again: {numbers:?}");
        for mut duplicate in duplicates {
            client.write_all(b"there").unwrap();
            sleep(MOMENT);
            let mut word = [0; 5];
            let read = timeout(support::LONG, || duplicate.read_exact(&mut word));
            assert!(read.is_ok_and(|read| read.is_ok()), "of what is there at once a packet is waited for");
            assert_eq!(&word, b"there");
        }
    });
}
