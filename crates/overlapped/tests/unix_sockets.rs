//! Unix streams, listeners and datagrams.
#![cfg(unix)]

mod support;

use std::io::{ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use overlapped::net::{UnixDatagram, UnixListener, UnixStream};
use overlapped::{attempted, spawn, timeout, yield_now};
use support::{pattern, run, wait_for};

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
        // A child that another test has just forked has the listener too, until it executes its program.
        wait_for("nobody listens any more", || UnixStream::connect(&path).is_err());
        let error = UnixStream::connect(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        assert_eq!(attempted(&error), format!("connect to {}: {error}", path.display()));
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

#[test]
fn a_datagram_is_looked_at_and_a_direction_ended() {
    run(|| {
        let (one, other) = UnixDatagram::pair().unwrap();
        one.send_vectored(&[IoSlice::new(b"he"), IoSlice::new(b"llo")]).unwrap();
        let mut buffer = [0; 8];
        for _ in 0..2 {
            let (length, from) = other.peek_from(&mut buffer).unwrap();
            assert!(length == 5 && from.is_unnamed(), "{from:?}");
        }
        let (mut first, mut second) = ([0; 1], [0; 8]);
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        assert_eq!(other.recv_vectored(&mut buffers).unwrap(), 5);
        assert_eq!((&first, &second[..4]), (b"h", &b"ello"[..]));
        let other = Rc::new(other);
        let waits = Rc::clone(&other);
        let waiting = spawn(move || waits.recv(&mut [0; 8]));
        yield_now();
        assert!(!waiting.is_finished());
        other.shutdown(Shutdown::Read).unwrap();
        assert_eq!(timeout(support::LONG, || waiting.join()).unwrap().unwrap().unwrap(), 0);
        one.shutdown(Shutdown::Write).unwrap();
        assert_eq!(one.send(b"x").unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_peer_is_known_by_its_user_and_its_process() {
    let folder = tempfile::tempdir().unwrap();
    run(|| {
        let listener = UnixListener::bind(folder.path().join("socket")).unwrap();
        let client = UnixStream::connect(folder.path().join("socket")).unwrap();
        let (served, _) = listener.accept().unwrap();
        for stream in [client, served] {
            let peer = stream.peer_cred().unwrap();
            // SAFETY: these take nothing.
            assert_eq!((peer.uid, peer.gid), unsafe { (libc::geteuid(), libc::getegid()) });
            if cfg!(target_os = "linux") {
                assert_eq!(peer.pid, Some(std::process::id() as i32));
            }
            stream.set_send_buffer_size(32 << 10).unwrap();
            assert!(stream.send_buffer_size().unwrap() >= 32 << 10);
        }
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

/// The system reads a path up to its first NUL byte: what is there may be somebody else's.
#[test]
fn a_path_with_a_nul_byte_inside_is_refused_by_every_call() {
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("name");
    let whole = Path::new(&format!("{}\0rest", cut.display())).to_owned();
    let ended = Path::new(&format!("{}\0", cut.display())).to_owned();
    run(|| {
        let datagram = UnixDatagram::unbound().unwrap();
        for there in [false, true] {
            let _strangers = there.then(|| {
                let stream = std::os::unix::net::UnixListener::bind(&cut).unwrap();
                (stream, std::os::unix::net::UnixDatagram::bind(folder.path().join("n")).unwrap())
            });
            for path in [&whole, &ended, &folder.path().join("n\0")] {
                let refused = [
                    UnixListener::bind(path).map(drop),
                    UnixStream::connect(path).map(drop),
                    UnixDatagram::bind(path).map(drop),
                    datagram.connect(path),
                    datagram.send_to(b"x", path).map(drop),
                ];
                for (call, refused) in refused.into_iter().enumerate() {
                    let error = refused.expect_err(&format!("call {call}, path {path:?}"));
                    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
                    assert!(error.to_string().contains("NUL"), "{error}");
                }
            }
            assert_eq!(cut.exists(), there);
        }
        let long = folder.path().join("x".repeat(200));
        assert_eq!(UnixListener::bind(&long).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(datagram.send_to(b"x", &long).unwrap_err().kind(), ErrorKind::InvalidInput);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn abstract_names_are_taken_by_every_call_in_both_forms() {
    use std::os::linux::net::SocketAddrExt;
    // All bytes count, NUL bytes too.
    let name = format!("overlapped\0test {}", std::process::id());
    let (as_path, as_address) = (format!("\0{name}"), SocketAddr::from_abstract_name(&name).unwrap());
    run(|| {
        let error = UnixStream::connect(&as_path).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));
        assert!(attempted(&error).starts_with("connect to @overlapped\\x00test "), "{}", attempted(&error));
        type Bind = fn(&str, &SocketAddr) -> std::io::Result<UnixListener>;
        for bind in [(|path, _| UnixListener::bind(path)) as Bind, |_, address| UnixListener::bind_addr(address)] {
            let listener = bind(&as_path, &as_address).unwrap();
            assert_eq!(listener.local_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
            let clients = [UnixStream::connect(&as_path).unwrap(), UnixStream::connect_addr(&as_address).unwrap()];
            for client in clients {
                assert_eq!(client.peer_addr().unwrap().as_abstract_name(), Some(name.as_bytes()));
                listener.accept().unwrap();
            }
        }
        type BindDatagram = fn(&str, &SocketAddr) -> std::io::Result<UnixDatagram>;
        let binds: [BindDatagram; 2] =
            [|path, _| UnixDatagram::bind(path), |_, address| UnixDatagram::bind_addr(address)];
        for bind in binds {
            let there = bind(&as_path, &as_address).unwrap();
            let here = UnixDatagram::unbound().unwrap();
            assert_eq!(here.send_to(b"1", &as_path).unwrap(), 1);
            assert_eq!(here.send_to_addr(b"2", &as_address).unwrap(), 1);
            here.connect(&as_path).unwrap();
            assert_eq!(here.send(b"3").unwrap(), 1);
            here.connect_addr(&as_address).unwrap();
            assert_eq!(here.send(b"4").unwrap(), 1);
            let mut all = [0; 4];
            all.chunks_mut(1).for_each(|byte| assert_eq!(there.recv(byte).unwrap(), 1));
            assert_eq!(&all, b"1234");
        }
    });
}

#[test]
fn a_client_with_the_longest_path_there_is_can_be_accepted() {
    // The field is filled to its last byte, without a NUL behind (unix(7)).
    let folder = tempfile::tempdir_in("/tmp").unwrap();
    let mut path = folder.path().join("x").into_os_string().into_encoded_bytes();
    path.resize(108, b'x');
    run(|| {
        let at = folder.path().join("listener");
        let listener = UnixListener::bind(&at).unwrap();
        // SAFETY: all zeroes is an address of no family.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        address.sun_family = libc::AF_UNIX as _;
        if path.len() != address.sun_path.len() {
            return;
        }
        address.sun_path.iter_mut().zip(&path).for_each(|(to, from)| *to = *from as _);
        let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        // SAFETY: the address lives through the call and is as long as said.
        let bound = unsafe { libc::bind(client.as_raw_fd(), (&raw const address).cast(), size_of_val(&address) as _) };
        assert_eq!(bound, 0, "{}", std::io::Error::last_os_error());
        client.connect(&socket2::SockAddr::unix(&at).unwrap()).unwrap();
        let (mut stream, peer) = listener.accept().unwrap();
        assert_eq!(peer.as_pathname().unwrap().as_os_str().len(), 108);
        client.send(b"x").unwrap();
        assert_eq!(stream.read(&mut [0; 2]).unwrap(), 1);
    });
}
