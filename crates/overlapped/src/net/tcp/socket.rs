//! Sockets before they are connections or listeners.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use overlapped_port::socket::{self, Held};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::stream::connect_by;
use super::{TcpListener, TcpStream};
use crate::attempt::attempt;
use crate::net::{handle, options};

/// A TCP socket that is neither connected nor listens, for what has to be set before it is: the address of this end, the
/// size of the system's buffers, how many share a port. [`TcpStream::connect`] and [`TcpListener::bind`] make one with what
/// most programs need. Closed when dropped.
///
/// ```
/// use overlapped::net::TcpSocket;
/// overlapped::run(|| {
///     let socket = TcpSocket::new_v4()?;
///     socket.set_recv_buffer_size(1 << 20)?;
///     socket.bind("127.0.0.1:0".parse().unwrap())?;
///     let listener = socket.listen(16)?;
///
///     let socket = TcpSocket::new_v4()?;
///     socket.set_nodelay(true)?;
///     socket.bind("127.0.0.1:0".parse().unwrap())?;
///     let address = socket.local_addr()?;
///     let _stream = socket.connect(listener.local_addr()?)?;
///     assert_eq!(listener.accept()?.1, address);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct TcpSocket {
    inner: Held<Socket>,
}

options::buffer_options!(TcpSocket);
options::ip_options!(TcpSocket);
options::tcp_options!(TcpSocket);
options::options! { TcpSocket:
    /// Whether an address can be taken on which an earlier connection still lingers (`SO_REUSEADDR`, socket(7)).
    reuse_address() -> bool = reuse_address;
    /// Lets an address be taken on which an earlier connection still lingers (`SO_REUSEADDR`, socket(7)). On Windows it lets
    /// one be taken that another program listens on.
    set_reuse_address(reuse: bool) -> () = set_reuse_address;
    /// Whether several sockets may take the same address (`SO_REUSEPORT`, socket(7)).
    #[cfg(unix)]
    reuse_port() -> bool = reuse_port;
    /// Lets several sockets take the same address, each of which sets this (`SO_REUSEPORT`, socket(7)). On Linux the
    /// connections are spread over those that listen.
    #[cfg(unix)]
    set_reuse_port(reuse: bool) -> () = set_reuse_port;
    /// Sets whether an IPv6 socket leaves IPv4 alone (`IPV6_V6ONLY`, ipv6(7)); before it has an address. What it is at the
    /// beginning, each system decides.
    set_only_v6(only: bool) -> () = set_only_v6;
    /// Takes the error that is pending on the socket, if any.
    take_error() -> Option<io::Error> = take_error;
}

impl TcpSocket {
    /// A socket for IPv4.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn new_v4() -> io::Result<TcpSocket> {
        TcpSocket::new((Ipv4Addr::UNSPECIFIED, 0).into())
    }

    /// A socket for IPv6, and for IPv4 too where it is told so: [`TcpSocket::set_only_v6`].
    ///
    /// # Errors
    /// Where the machine has no IPv6, or the process no descriptor left.
    pub fn new_v6() -> io::Result<TcpSocket> {
        TcpSocket::new((Ipv6Addr::UNSPECIFIED, 0).into())
    }

    /// A socket of the family of an address.
    pub(super) fn new(address: SocketAddr) -> io::Result<TcpSocket> {
        let inner = socket::open(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        Ok(TcpSocket::adopt(inner))
    }

    /// Takes an address for this end; port 0 lets the system choose one.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, …
    pub fn bind(&self, address: SocketAddr) -> io::Result<()> {
        self.take(address).map_err(|error| attempt(error, || format!("bind to {address}")))
    }

    pub(super) fn take(&self, address: SocketAddr) -> io::Result<()> {
        socket::bind(&self.inner, &address.into())
    }

    /// Connects; only the calling tasklet waits. To end the wait early, put a [`timeout`](crate::timeout()) round it.
    ///
    /// # Errors
    /// `ConnectionRefused` where nobody listens, …
    pub fn connect(self, address: SocketAddr) -> io::Result<TcpStream> {
        let stream = TcpStream::adopt(self.inner.into_inner().into());
        match connect_by(&stream, address, None) {
            Ok(()) => Ok(stream),
            Err(error) => Err(attempt(error, || format!("connect to {address}"))),
        }
    }

    /// Takes connections from now on. `backlog` is how many may wait to be accepted; the system cuts it to what it allows
    /// (Linux: `net.core.somaxconn`).
    ///
    /// # Errors
    /// `AddrInUse`; what the system says.
    pub fn listen(self, backlog: u32) -> io::Result<TcpListener> {
        socket::listen(&self.inner, i32::try_from(backlog).unwrap_or(i32::MAX))?;
        Ok(TcpListener::adopt(self.inner.into_inner().into()))
    }

    /// The address of this end, once it has one.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        handle::ip(socket::local_addr(&self.inner))
    }

    fn adopt(inner: Socket) -> TcpSocket {
        TcpSocket { inner: Held::new(inner) }
    }

    fn release(self) -> Socket {
        self.inner.into_inner()
    }
}

impl fmt::Debug for TcpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

handle::system_conversions!(TcpSocket, Socket);
