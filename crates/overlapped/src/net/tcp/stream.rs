//! Connections.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use overlapped_port::socket::{self, Held};
use overlapped_port::sys::{MSG_PEEK, raw_socket};
use overlapped_port::{Address, Op};
use socket2::{Protocol, SockAddr, SockRef, Socket, Type};

use crate::attempt::attempt;
use crate::blocking::{Timeout, count};
use crate::net::split::{Duplex, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::{handle, options, race, stream};
use crate::resolve::ToSocketAddrs;
use crate::time::deadline_after;

/// A TCP connection. Closed when dropped.
///
/// ```
/// use std::io::{Read, Write};
/// # overlapped::run(|| {
/// # let listener = overlapped::net::TcpListener::bind("127.0.0.1:0")?;
/// # let server = listener.local_addr()?;
/// let stream = overlapped::net::TcpStream::connect(server)?;
/// let (peer, _) = listener.accept()?;
/// // Two tasklets on one connection, each with its own direction.
/// let reader = overlapped::spawn(move || {
///     let mut greeting = [0; 5];
///     (&stream).read_exact(&mut greeting).map(|()| greeting)
/// });
/// (&peer).write_all(b"hello")?;
/// assert_eq!(&reader.join().unwrap()?, b"hello");
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
pub struct TcpStream {
    inner: Held<std::net::TcpStream>,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

stream::stream!(TcpStream, std::net::TcpStream);
options::buffer_options!(TcpStream);
options::ip_options!(TcpStream);
options::tcp_options!(TcpStream);

impl TcpStream {
    /// Connects. A name is looked up first. Of several addresses, those of IPv6 and of IPv4 are tried in turns, the next one
    /// each time that one has failed or has not answered for a quarter of a second, and the first connection that is made is
    /// kept (Happy Eyeballs, RFC 8305).
    ///
    /// # Errors
    /// That of the address that failed last: `ConnectionRefused` where nobody listens, …; those of the look-up.
    /// [`attempted`](crate::attempted) tells of each address.
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        match address.to_socket_addrs()?[..] {
            [address] => connect(address, None),
            ref several => Ok(TcpStream::wrap(race::connect(several, open)?.into())),
        }
    }

    /// Connects to one address within `timeout`.
    ///
    /// # Errors
    /// `TimedOut` where it took longer; `InvalidInput` for a time of zero.
    pub fn connect_timeout(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
        if timeout.is_zero() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a time-out of zero leaves no time to connect"));
        }
        connect(*address, Some(deadline_after(timeout)))
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// `NotConnected` where the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        handle::ip(socket::peer_addr(&self.inner))
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        handle::ip(socket::local_addr(&self.inner))
    }
}

fn open(address: &SockAddr) -> io::Result<Socket> {
    socket::open(address.domain(), Type::STREAM, Some(Protocol::TCP))
}

fn connect(address: SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
    let connected = || {
        let stream = TcpStream::wrap(open(&address.into())?.into());
        connect_by(&stream, address, deadline).map(|()| stream)
    };
    connected().map_err(|error| attempt(error, || format!("connect to {address}")))
}

/// Connects a socket that is there.
pub(super) fn connect_by(stream: &TcpStream, address: SocketAddr, deadline: Option<Instant>) -> io::Result<()> {
    let address = Box::new(Address::from(address));
    count(Op::Connect { socket: raw_socket(stream), address: &address }, deadline).map(drop)
}
