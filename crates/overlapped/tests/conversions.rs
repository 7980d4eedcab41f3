//! Sockets that come from the standard library and go back to it: their time-outs come and go with them.

mod support;

use std::io::{ErrorKind, Read};
use std::time::Duration;

use overlapped::net::{TcpListener, TcpStream, UdpSocket};
use support::{LONG, run};

/// Times that every system keeps as they are.
const SHORT: Duration = Duration::from_millis(200);
const OTHER: Duration = Duration::from_secs(2);

/// A type of ours beside the standard library's, both of which have time-outs for reads and writes.
macro_rules! come_and_go {
    ($ours:ty, $std:ty, $owned:ty, $socket:expr) => {{
        let std: $std = $socket;
        std.set_read_timeout(Some(SHORT)).unwrap();
        let ours = <$ours>::from(std);
        assert_eq!((ours.read_timeout().unwrap(), ours.write_timeout().unwrap()), (Some(SHORT), None));
        let clone = ours.try_clone().unwrap();
        assert_eq!((clone.read_timeout().unwrap(), clone.write_timeout().unwrap()), (Some(SHORT), None));
        ours.set_read_timeout(None).unwrap();
        ours.set_write_timeout(Some(OTHER)).unwrap();
        assert_eq!(clone.read_timeout().unwrap(), Some(SHORT), "another handle's");
        let std = <$std>::from(ours);
        assert_eq!((std.read_timeout().unwrap(), std.write_timeout().unwrap()), (None, Some(OTHER)));
        // Through the system's own handle it is the same.
        let ours = <$ours>::from(<$owned>::from(std));
        assert_eq!((ours.read_timeout().unwrap(), ours.write_timeout().unwrap()), (None, Some(OTHER)));
        ours.set_read_timeout(Some(OTHER)).unwrap();
        ours.set_write_timeout(None).unwrap();
        let std = <$std>::from(<$owned>::from(ours));
        assert_eq!((std.read_timeout().unwrap(), std.write_timeout().unwrap()), (Some(OTHER), None));
        std.set_read_timeout(Some(SHORT)).unwrap();
        std
    }};
}

#[cfg(unix)]
type Owned = std::os::fd::OwnedFd;
#[cfg(windows)]
type Owned = std::os::windows::io::OwnedSocket;

#[test]
fn time_outs_of_a_tcp_stream_come_and_go_with_it() {
    run(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = come_and_go!(TcpStream, std::net::TcpStream, Owned, stream);
        let mut stream = TcpStream::from(stream);
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        let error = std::net::TcpStream::from(stream).read(&mut [0]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{error}");
    });
}

#[test]
fn time_outs_of_a_udp_socket_come_and_go_with_it() {
    run(|| {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let socket = UdpSocket::from(come_and_go!(UdpSocket, std::net::UdpSocket, Owned, socket));
        assert_eq!(socket.recv(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
    });
}

#[cfg(unix)]
#[test]
fn time_outs_of_unix_sockets_come_and_go_with_them() {
    use std::os::unix::net as theirs;
    run(|| {
        let (stream, _peer) = theirs::UnixStream::pair().unwrap();
        let stream = come_and_go!(overlapped::net::UnixStream, theirs::UnixStream, Owned, stream);
        let mut stream = overlapped::net::UnixStream::from(stream);
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::TimedOut);
        let (datagram, _peer) = theirs::UnixDatagram::pair().unwrap();
        come_and_go!(overlapped::net::UnixDatagram, theirs::UnixDatagram, Owned, datagram);
    });
}

/// `SO_RCVTIMEO` is that of accept(2), socket(7).
#[test]
fn the_time_out_of_a_listener_is_that_of_its_accept() {
    run(|| {
        let std = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&std).set_read_timeout(Some(SHORT)).unwrap();
        let listener = TcpListener::from(std);
        assert_eq!(listener.accept_timeout(), Some(SHORT));
        assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::TimedOut);
        listener.set_accept_timeout(Some(OTHER)).unwrap();
        let std = std::net::TcpListener::from(listener);
        assert_eq!(socket2::SockRef::from(&std).read_timeout().unwrap(), Some(OTHER));
    });
}

#[test]
fn a_socket_without_time_outs_waits() {
    run(|| {
        let socket = UdpSocket::from(std::net::UdpSocket::bind("127.0.0.1:0").unwrap());
        assert_eq!((socket.read_timeout().unwrap(), socket.write_timeout().unwrap()), (None, None));
        let address = socket.local_addr().unwrap();
        let reader = overlapped::spawn(move || socket.recv(&mut [0; 2]));
        overlapped::sleep(SHORT);
        assert!(!reader.is_finished());
        UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", address).unwrap();
        assert_eq!(overlapped::timeout(LONG, || reader.join()).unwrap().unwrap().unwrap(), 1);
    });
}

#[test]
fn what_is_printed_is_what_the_standard_library_prints() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = format!("{listener:?}");
    assert_eq!(format!("{:?}", TcpListener::from(listener)), theirs);
}
