//! Named pipes of Windows.
#![cfg(windows)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::os::windows::io::OwnedHandle;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use overlapped::net::{NamedPipeListener, NamedPipeStream};
use overlapped::{sleep, spawn, timeout, yield_now};
use support::{pattern, pipe, run};

const MOMENT: Duration = Duration::from_millis(20);

/// Process ids repeat under Wine, so chance makes the name.
fn name() -> PathBuf {
    format!(r"\\.\pipe\overlapped-test-{:016x}", fastrand::u64(..)).into()
}

fn pair() -> (NamedPipeStream, NamedPipeStream) {
    let listener = NamedPipeListener::bind(name()).unwrap();
    let client = NamedPipeStream::connect(listener.name()).unwrap();
    (listener.accept().unwrap(), client)
}

#[test]
fn clients_are_served_at_a_name() {
    let name = name();
    run(|| {
        let error = NamedPipeStream::connect(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert_eq!(error.raw_os_error(), Some(2), "ERROR_FILE_NOT_FOUND");
        assert!(overlapped::attempted(&error).starts_with("connect to "), "{error}");
        let listener = NamedPipeListener::bind(&name).unwrap();
        let server = spawn(move || {
            let serving: Vec<_> = (0..20)
                .map(|_| {
                    let stream = listener.accept().unwrap();
                    spawn(move || std::io::copy(&mut &stream, &mut &stream).unwrap())
                })
                .collect();
            serving.into_iter().map(|serving| serving.join().unwrap()).sum::<u64>()
        });
        let clients: Vec<_> = (0..20)
            .map(|n| {
                let name = name.clone();
                spawn(move || {
                    let stream = Rc::new(NamedPipeStream::connect(&name).unwrap());
                    let writer = Rc::clone(&stream);
                    let writing = spawn(move || (&*writer).write_all(&pattern(n, 200_000)));
                    let mut back = vec![0; 200_000];
                    (&*stream).read_exact(&mut back).unwrap();
                    writing.join().unwrap().unwrap();
                    assert!(back == pattern(n, 200_000));
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        assert_eq!(server.join().unwrap(), 20 * 200_000);
        let error = NamedPipeStream::connect(&name).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "nobody serves it any more");
    });
}

#[test]
fn an_accept_that_is_left_keeps_the_name_and_loses_no_client() {
    run(|| {
        let listener = NamedPipeListener::bind(name()).unwrap();
        listener.set_accept_timeout(Some(MOMENT)).unwrap();
        assert_eq!(listener.accept_timeout(), Some(MOMENT));
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
        listener.set_accept_timeout(None).unwrap();
        assert!(timeout(MOMENT, || listener.accept()).is_err());
        let listener = Rc::new(listener);
        let accepting: Vec<_> = (0..3)
            .map(|_| {
                let listener = Rc::clone(&listener);
                spawn(move || listener.accept().map(drop))
            })
            .collect();
        sleep(MOMENT);
        assert!(accepting.iter().all(|accepting| !accepting.is_finished()));
        accepting.iter().for_each(|accepting| accepting.cancel());
        accepting.into_iter().for_each(|accepting| {
            let accepted = accepting.join().unwrap();
            assert!(overlapped::is_cancelled(&accepted.unwrap_err()));
        });
        let mut clients: Vec<_> = (0..3).map(|_| NamedPipeStream::connect(listener.name()).unwrap()).collect();
        // Which of them an accept takes first is not said.
        clients.iter_mut().for_each(|client| client.write_all(b"here").unwrap());
        for _ in &clients {
            let mut word = [0; 4];
            listener.accept().unwrap().read_exact(&mut word).unwrap();
            assert_eq!(&word, b"here");
        }
    });
}

#[test]
fn a_client_waits_where_all_ends_are_taken() {
    run(|| {
        let listener = NamedPipeListener::bind(name()).unwrap();
        let first = NamedPipeStream::connect(listener.name()).unwrap();
        assert!(timeout(MOMENT, || NamedPipeStream::connect(listener.name())).is_err());
        let name = listener.name().to_owned();
        let second = spawn(move || NamedPipeStream::connect(name));
        for _ in 0..5 {
            yield_now();
        }
        assert!(!second.is_finished());
        let served = listener.accept().unwrap();
        let mut second = second.join().unwrap().unwrap();
        second.write_all(b"second").unwrap();
        let mut word = [0; 6];
        listener.accept().unwrap().read_exact(&mut word).unwrap();
        assert_eq!(&word, b"second");
        drop((first, served));
    });
}

#[test]
fn a_stream_times_out_and_ends() {
    run(|| {
        let (mut server, mut client) = pair();
        server.set_read_timeout(Some(MOMENT)).unwrap();
        assert_eq!(server.read_timeout(), Some(MOMENT));
        assert_eq!(server.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(server.read(&mut []).unwrap(), 0);
        client.set_write_timeout(Some(MOMENT)).unwrap();
        assert_eq!(client.write_timeout(), Some(MOMENT));
        assert_eq!(client.write_all(&pattern(0, 1 << 20)).unwrap_err().kind(), ErrorKind::TimedOut);
        let (server, mut client) = pair();
        let writing = spawn(move || (&server).write_all(b"last words").map(|()| drop(server)));
        writing.join().unwrap().unwrap();
        let mut words = String::new();
        client.read_to_string(&mut words).unwrap();
        assert_eq!(words, "last words", "what was written before the close is read after it");
        assert_eq!(client.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn the_name_of_a_server_is_its_own() {
    let listener = NamedPipeListener::bind(name()).unwrap();
    support::except_under_wine("Wine does not look for the first end of a name", || {
        let error = NamedPipeListener::bind(listener.name()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    });
    let error = NamedPipeListener::bind("no-pipe").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.to_string().contains(r"\\.\pipe\"), "{error}");
}

#[test]
fn ends_that_others_made_are_taken_over() {
    run(|| {
        let (reader, writer) = pipe();
        let mut reader = NamedPipeStream::from(OwnedHandle::from(reader));
        let mut writer = NamedPipeStream::from(OwnedHandle::from(writer));
        let reading = spawn(move || {
            let mut word = [0; 5];
            reader.read_exact(&mut word).map(|()| word)
        });
        writer.write_all(b"hello").unwrap();
        assert_eq!(&reading.join().unwrap().unwrap(), b"hello");
    });
}
