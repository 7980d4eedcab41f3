//! What a socket is that came from elsewhere: from another process, or from the manager of services.

use overlapped_port::sys::{self, OwnedSocket};
use socket2::{SockRef, Type};

/// What a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A TCP connection.
    TcpStream,
    /// A TCP socket that takes connections.
    TcpListener,
    /// A UDP socket.
    UdpSocket,
    /// A Unix stream.
    UnixStream,
    /// A Unix socket that takes streams.
    UnixListener,
    /// A Unix datagram socket.
    UnixDatagram,
    /// Something else.
    Other,
}

impl Kind {
    pub(crate) fn of(socket: &OwnedSocket) -> Kind {
        let listens = sys::listens(socket);
        let socket = SockRef::from(socket);
        let (Ok(kind), Ok(address)) = (socket.r#type(), socket.local_addr()) else { return Kind::Other };
        let ip = address.is_ipv4() || address.is_ipv6();
        match kind {
            Type::STREAM if ip && listens => Kind::TcpListener,
            Type::STREAM if ip => Kind::TcpStream,
            Type::DGRAM if ip => Kind::UdpSocket,
            Type::STREAM if address.is_unix() && listens => Kind::UnixListener,
            Type::STREAM if address.is_unix() => Kind::UnixStream,
            Type::DGRAM if address.is_unix() => Kind::UnixDatagram,
            _ => Kind::Other,
        }
    }
}
