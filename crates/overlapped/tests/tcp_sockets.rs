//! What is set on TCP sockets: before they are connections or listeners, and after.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use overlapped::attempted;
use overlapped::net::{Keepalive, TcpListener, TcpSocket, TcpStream};
use support::run;

const ANY: &str = "127.0.0.1:0";

fn bound() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(ANY.parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

#[test]
fn a_socket_is_bound_before_it_connects() {
    run(|| {
        let (listens, there) = bound();
        let listener = listens.listen(4).unwrap();
        let (socket, here) = bound();
        let mut stream = socket.connect(there).unwrap();
        assert_eq!((stream.local_addr().unwrap(), stream.peer_addr().unwrap()), (here, there));
        let (mut accepted, peer) = listener.accept().unwrap();
        assert_eq!(peer, here);
        stream.write_all(b"hello").unwrap();
        drop(stream);
        let mut word = String::new();
        accepted.read_to_string(&mut word).unwrap();
        assert_eq!(word, "hello");
    });
}

#[test]
fn what_cannot_be_says_what_was_attempted() {
    run(|| {
        let (taken, address) = bound();
        let _listener = taken.listen(1).unwrap();
        let error = TcpSocket::new_v4().unwrap().bind(address).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert_eq!(attempted(&error), format!("bind to {address}: {error}"));
        let nobody = TcpListener::bind(ANY).unwrap().local_addr().unwrap();
        let error = TcpSocket::new_v4().unwrap().connect(nobody).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert_eq!(attempted(&error), format!("connect to {nobody}: {error}"));
    });
}

#[test]
fn options_that_were_set_before_are_those_of_the_connection() {
    run(|| {
        let (socket, address) = bound();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        let room = socket.recv_buffer_size().unwrap();
        assert!(room >= 64 << 10, "{room}");
        let listener = socket.listen(4).unwrap();
        assert_eq!(listener.recv_buffer_size().unwrap(), room);
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        socket.set_send_buffer_size(48 << 10).unwrap();
        let room = socket.send_buffer_size().unwrap();
        assert!(socket.take_error().unwrap().is_none());
        let stream = socket.connect(address).unwrap();
        assert!(stream.nodelay().unwrap());
        assert_eq!(stream.linger().unwrap(), Some(Duration::ZERO));
        assert_eq!(stream.send_buffer_size().unwrap(), room);
        let (mut accepted, _) = listener.accept().unwrap();
        drop(stream);
        // A linger of nothing is a reset.
        assert_eq!(accepted.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn keepalive_times_are_set_and_told() {
    run(|| {
        let (listens, address) = bound();
        let _listener = listens.listen(4).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        assert_eq!(stream.keepalive().unwrap(), None);
        stream.set_keepalive(Some(Keepalive::default())).unwrap();
        assert!(stream.keepalive().unwrap().is_some());
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let asked = Keepalive { idle: seconds(60), interval: seconds(7), probes: None };
        stream.set_keepalive(Some(asked)).unwrap();
        let told = stream.keepalive().unwrap().unwrap();
        if cfg!(unix) {
            assert_eq!((told.idle, told.interval), (asked.idle, asked.interval));
        }
        support::except_under_wine("it has no TCP_KEEPCNT", || {
            // What is not named stays.
            stream.set_keepalive(Some(Keepalive { probes: Some(4), ..Keepalive::default() })).unwrap();
            assert_eq!(stream.keepalive().unwrap(), Some(Keepalive { probes: Some(4), ..told }));
        });
        stream.set_keepalive(None).unwrap();
        assert_eq!(stream.keepalive().unwrap(), None);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn options_of_linux() {
    run(|| {
        let (listens, address) = bound();
        let listener = listens.listen(4).unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_tos_v4(0x10).unwrap();
        assert_eq!(stream.tos_v4().unwrap(), 0x10);
        stream.set_user_timeout(Some(Duration::from_millis(1500))).unwrap();
        assert_eq!(stream.user_timeout().unwrap(), Some(Duration::from_millis(1500)));
        assert_eq!(stream.device().unwrap(), None);
        // What has no method here: the sockets are socket2's to set, too.
        socket2::SockRef::from(&listener).set_tcp_thin_linear_timeouts(true).unwrap();
    });
}

#[cfg(unix)]
#[test]
fn several_listeners_share_a_port_that_each_has_let_them() {
    run(|| {
        let socket = || {
            let socket = TcpSocket::new_v4().unwrap();
            socket.set_reuse_port(true).unwrap();
            assert!(socket.reuse_port().unwrap());
            socket
        };
        let one = socket();
        one.bind(ANY.parse().unwrap()).unwrap();
        let address = one.local_addr().unwrap();
        let other = socket();
        other.bind(address).unwrap();
        let listeners = [one.listen(64).unwrap(), other.listen(64).unwrap()];
        let accepting = listeners.map(|listener| overlapped::spawn(move || listener.accept().map(drop)));
        // Which of them gets a connection, the system says.
        let mut streams = Vec::new();
        support::wait_for("both have one", || {
            let all = accepting.iter().all(overlapped::JoinHandle::is_finished);
            // Who has one is gone with its listener; a connection that one of them had may be refused.
            if !all {
                streams.extend(TcpStream::connect(address));
            }
            all
        });
    });
}

#[test]
fn a_dual_stack_listener_takes_both_families() {
    run(|| {
        let listener = TcpListener::bind_dual_stack(0).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip().to_canonical(), client.local_addr().unwrap().ip());
        // A machine may be without IPv6.
        if listener.local_addr().unwrap().is_ipv6() {
            assert!(!listener.only_v6().unwrap());
            if let Ok(client) = TcpStream::connect((Ipv6Addr::LOCALHOST, port)) {
                assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
            }
        }
        let error = TcpListener::bind_dual_stack(port).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert_eq!(attempted(&error), format!("listen on port {port}: {error}"));
    });
}

#[cfg(unix)]
#[test]
fn a_socket_that_comes_from_elsewhere_keeps_what_was_set_on_it() {
    use std::os::fd::OwnedFd;
    run(|| {
        let (listens, address) = bound();
        let listener = listens.listen(4).unwrap();
        let theirs = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        theirs.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        theirs.set_tcp_nodelay(true).unwrap();
        let socket = TcpSocket::from(OwnedFd::from(TcpSocket::from(OwnedFd::from(theirs))));
        assert!(socket.nodelay().unwrap());
        let mut stream = socket.connect(address).unwrap();
        assert_eq!(stream.read_timeout().unwrap(), Some(Duration::from_millis(200)));
        let _accepted = listener.accept().unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    });
}
