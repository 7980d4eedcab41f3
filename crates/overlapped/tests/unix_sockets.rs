//! Unix streams, listeners and datagrams.
#![cfg(unix)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use overlapped::net::{UnixDatagram, UnixListener, UnixStream};
use overlapped::{spawn, timeout, yield_now};
use support::{pattern, run};

const MOMENT: Duration = Duration::from_millis(20);

#[test]
fn streams_at_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    run(|| {
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::NotFound);
        let listener = UnixListener::bind(&path).unwrap();
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
        assert_eq!(UnixListener::bind(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        listener.set_accept_timeout(Some(MOMENT)).unwrap();
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
        listener.set_accept_timeout(None).unwrap();
        let server = spawn(move || {
            for stream in listener.incoming().take(20) {
                let stream = stream.unwrap();
                spawn(move || std::io::copy(&mut &stream, &mut &stream).unwrap());
            }
        });
        let clients: Vec<_> = (0..20)
            .map(|n| {
                let path = path.clone();
                spawn(move || {
                    let mut stream = UnixStream::connect(&path).unwrap();
                    assert_eq!(stream.peer_addr().unwrap().as_pathname(), Some(&*path));
                    assert!(stream.local_addr().unwrap().is_unnamed());
                    stream.write_all(&pattern(n, 1000)).unwrap();
                    stream.shutdown(Shutdown::Write).unwrap();
                    let mut back = Vec::new();
                    stream.read_to_end(&mut back).unwrap();
                    assert!(back == pattern(n, 1000));
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
        server.join().unwrap();
        let error = UnixStream::connect(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "nobody listens any more");
        assert!(error.to_string().contains("socket"), "{error}");
    });
}

#[test]
fn a_pair_times_out_and_ends() {
    run(|| {
        let (mut one, mut other) = UnixStream::pair().unwrap();
        one.set_read_timeout(Some(MOMENT)).unwrap();
        assert_eq!(one.read(&mut [0; 4]).unwrap_err().kind(), ErrorKind::TimedOut);
        other.write_all(b"late").unwrap();
        assert_eq!(one.peek(&mut [0; 4]).unwrap(), 4);
        assert_eq!(one.read(&mut [0; 4]).unwrap(), 4);
        drop(other);
        assert_eq!(one.read(&mut [0; 4]).unwrap(), 0);
        assert_eq!(one.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(one.write_all(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

/// Rust programs ignore the signal from their start; others that use this crate, Python's, may not.
#[test]
fn writing_to_a_closed_peer_raises_no_signal() {
    const CHILD: &str = "OVERLAPPED_TEST_SIGPIPE_CHILD";
    if std::env::var_os(CHILD).is_none() {
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writing_to_a_closed_peer_raises_no_signal"])
            .env(CHILD, "1")
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
        return;
    }
    // SAFETY: the default action is no handler that could run code at a bad time.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    run(|| {
        let (mut one, other) = UnixStream::pair().unwrap();
        drop(other);
        assert_eq!(one.write(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(one.write_all(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let vectored = one.write_vectored(&[std::io::IoSlice::new(b"x")]);
        assert_eq!(vectored.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn datagrams() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (folder.path().join("here"), folder.path().join("there"));
    run(|| {
        let receiver = UnixDatagram::bind(&there).unwrap();
        let sender = UnixDatagram::bind(&here).unwrap();
        sender.send_to(b"hello", &there).unwrap();
        let mut buffer = [0; 3];
        let received = receiver.recv_message(&mut buffer).unwrap();
        assert_eq!((received.length, received.truncated), (3, true));
        assert_eq!(received.from.as_pathname(), Some(&*here));
        assert_eq!(&buffer, b"hel");

        let nameless = UnixDatagram::unbound().unwrap();
        nameless.connect(&there).unwrap();
        assert_eq!(nameless.peer_addr().unwrap().as_pathname(), Some(&*there));
        nameless.send(b"who").unwrap();
        let (length, from) = receiver.recv_from(&mut buffer).unwrap();
        assert!(length == 3 && from.is_unnamed(), "{from:?}");
        assert!(timeout(MOMENT, || receiver.recv(&mut buffer)).is_err());

        let missing = sender.send_to(b"x", folder.path().join("nowhere")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);

        let (one, other) = UnixDatagram::pair().unwrap();
        let waiting = spawn(move || {
            let mut buffer = [0; 8];
            let length = other.recv(&mut buffer).unwrap();
            buffer[..length].to_vec()
        });
        yield_now();
        assert_eq!(one.send(b"pair").unwrap(), 4);
        assert_eq!(waiting.join().unwrap(), b"pair");
    });
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_sender_keeps_its_name() {
    use std::os::linux::net::SocketAddrExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("receiver");
    run(|| {
        let receiver = UnixDatagram::bind(&path).unwrap();
        let name = format!("overlapped-test-{}", std::process::id());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let sender = UnixDatagram::from(std::os::unix::net::UnixDatagram::bind_addr(&address).unwrap());
        sender.send_to(b"hello", &path).unwrap();
        let (_, from) = receiver.recv_from(&mut [0; 8]).unwrap();
        assert_eq!(from.as_abstract_name(), Some(name.as_bytes()));
    });
}
