//! Sockets on the loopback interface, made with the standard library.

use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};

use crate::patience::patience;

/// A listener on a port that the system chose.
pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a listener on loopback")
}

/// Two connected sockets; the one that connected comes first.
pub(crate) fn pair() -> (TcpStream, TcpStream) {
    let listener = listener();
    let client = TcpStream::connect(listener.local_addr().unwrap()).expect("a connection on loopback");
    let (server, peer) = listener.accept().expect("the connection");
    assert_eq!(peer, client.local_addr().unwrap(), "nobody else connects to this port");
    // Reads and writes that a test makes itself must not hang either.
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(patience())).unwrap();
        socket.set_write_timeout(Some(patience())).unwrap();
        socket.set_nodelay(true).unwrap();
    }
    (client, server)
}

/// A datagram socket on a port that the system chose.
pub(crate) fn datagram_socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a datagram socket on loopback");
    socket.set_read_timeout(Some(patience())).unwrap();
    socket
}

/// Two datagram sockets connected to one another.
pub(crate) fn datagram_pair() -> (UdpSocket, UdpSocket) {
    let (left, right) = (datagram_socket(), datagram_socket());
    left.connect(right.local_addr().unwrap()).unwrap();
    right.connect(left.local_addr().unwrap()).unwrap();
    (left, right)
}

/// A port number on which nobody listens, or did a moment ago.
pub(crate) fn closed_port() -> std::net::SocketAddr {
    listener().local_addr().unwrap()
}

/// Closes with a reset instead of an orderly end.
pub(crate) fn reset(socket: TcpStream) {
    socket2::SockRef::from(&socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
}

/// Makes buffers small, so that a sender soon has to wait.
pub(crate) fn shrink_buffers(sender: &TcpStream, receiver: &TcpStream) {
    socket2::SockRef::from(sender).set_send_buffer_size(4096).unwrap();
    socket2::SockRef::from(receiver).set_recv_buffer_size(4096).unwrap();
}

/// Whether the peer has closed its end: nobody holds it open any more.
pub(crate) fn is_closed_by_peer(socket: &mut TcpStream) -> io::Result<bool> {
    socket.set_read_timeout(Some(patience()))?;
    match socket.read(&mut [0; 1]) {
        Ok(0) => Ok(true),
        Ok(_) => Ok(false),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock || error.kind() == ErrorKind::TimedOut => Ok(false),
        Err(error) => Err(error),
    }
}
