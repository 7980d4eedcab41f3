//! Sockets of [`crate::net`] in the reactor's form.

use socket2::{SockAddr, Socket};

#[cfg(unix)]
type Owned = std::os::fd::OwnedFd;
#[cfg(windows)]
type Owned = std::os::windows::io::OwnedSocket;

/// A connected stream: [`TcpStream`](crate::net::TcpStream), `UnixStream`, and the standard library's. What else gives away
/// such a socket may be one too.
pub trait StreamSocket: Into<Owned> {}

/// A socket that takes connections: [`TcpListener`](crate::net::TcpListener), `UnixListener`, and the standard library's. What
/// else gives away such a socket may be one too.
pub trait ListenerSocket: Into<Owned> {}

macro_rules! sockets {
    ($kind:ident: $($type:ty),*) => {$(
        impl $kind for $type {}
    )*};
}

sockets!(StreamSocket: crate::net::TcpStream, std::net::TcpStream);
sockets!(ListenerSocket: crate::net::TcpListener, std::net::TcpListener);
#[cfg(unix)]
sockets!(StreamSocket: crate::net::UnixStream, std::os::unix::net::UnixStream);
#[cfg(unix)]
sockets!(ListenerSocket: crate::net::UnixListener, std::os::unix::net::UnixListener);

pub(crate) fn socket_of(socket: impl Into<Owned>) -> Socket {
    let socket: Owned = socket.into();
    socket.into()
}

/// What is written goes out at once: it is collected here, not by the system (`TCP_NODELAY`, tcp(7)).
pub(crate) fn prepare(socket: &Socket, address: &SockAddr) {
    if address.as_socket().is_some() {
        // What is lost without it is some speed.
        let _ = socket.set_tcp_nodelay(true);
    }
}
