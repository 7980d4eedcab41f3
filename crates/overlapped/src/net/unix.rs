//! Unix sockets: streams and datagrams within one machine, under paths of the file system.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use overlapped_port::sys::{MSG_PEEK, raw_socket};
use overlapped_port::{Address, Op, Outcome};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::blocking::{Timeout, attempt, count};
use crate::net::datagram::{self, Received};
use crate::net::{BACKLOG, stream};
use crate::scheduler;

/// A stream between two processes or tasklets of one machine. Closed when dropped.
///
/// ```
/// use std::io::{Read, Write};
/// overlapped::run(|| {
///     let (mut one, mut other) = overlapped::net::UnixStream::pair()?;
///     one.write_all(b"hello")?;
///     let mut greeting = [0; 5];
///     other.read_exact(&mut greeting)?;
///     assert_eq!(&greeting, b"hello");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct UnixStream {
    inner: std::os::unix::net::UnixStream,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

stream::stream!(UnixStream, std::os::unix::net::UnixStream);

impl UnixStream {
    /// Connects to the socket at a path.
    ///
    /// # Errors
    /// `NotFound` where no file is there, `ConnectionRefused` where nobody listens; `InvalidInput` for a path that is
    /// too long (some hundred bytes, unix(7)).
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let path = path.as_ref();
        let connected = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            let address = Box::new(Address::from(SockAddr::unix(path)?));
            count(Op::Connect { socket: raw_socket(&socket), address: &address }, None)?;
            Ok(UnixStream::wrap(socket.into()))
        };
        connected().map_err(|error| attempt(error, || format!("connect to {}", path.display())))
    }

    /// Two ends of one stream.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = std::os::unix::net::UnixStream::pair()?;
        Ok((UnixStream::wrap(one), UnixStream::wrap(other)))
    }

    /// The address of the other end.
    ///
    /// # Errors
    /// What the system says.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// A Unix socket that takes connections. Closed when dropped; the file at its path stays.
pub struct UnixListener {
    inner: std::os::unix::net::UnixListener,
    accept_timeout: Timeout,
}

crate::net::handle::socket_conversions!(UnixListener, std::os::unix::net::UnixListener);

impl UnixListener {
    fn wrap(inner: std::os::unix::net::UnixListener) -> UnixListener {
        UnixListener { inner, accept_timeout: Timeout::default() }
    }

    /// Makes a socket at a path and listens on it. Works outside of [`run`](crate::run) too.
    ///
    /// # Errors
    /// `AddrInUse` where a file is there, though nobody may listen any more: remove it first.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let path = path.as_ref();
        let listening = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(path)?)?;
            socket.listen(BACKLOG)?;
            Ok(UnixListener::wrap(socket.into()))
        };
        listening().map_err(|error| attempt(error, || format!("listen on {}", path.display())))
    }

    /// Waits for a connection, and takes it.
    ///
    /// # Errors
    /// `TimedOut` past the [accept time-out](UnixListener::set_accept_timeout); what the system says.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let mut peer = Box::new(Address::empty());
        let op = Op::Accept { listener: raw_socket(&self.inner), peer: Some(&mut peer) };
        match scheduler::current()?.operate(op, self.accept_timeout.deadline())? {
            Outcome::Socket(socket) => Ok((UnixStream::wrap(socket.into()), socket_addr(&peer)?)),
            outcome => unreachable!("an accept brought {outcome:?}"),
        }
    }

    /// The connections, one after the other; never ends.
    pub fn incoming(&self) -> UnixIncoming<'_> {
        UnixIncoming { listener: self }
    }

    /// How long an accept may wait; `None`: without end.
    pub fn accept_timeout(&self) -> Option<Duration> {
        self.accept_timeout.get()
    }

    /// Sets how long an accept through this handle may wait; `None`, as at the beginning: without end.
    ///
    /// # Errors
    /// `InvalidInput` for a time of zero.
    pub fn set_accept_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.accept_timeout.set(timeout)
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Another handle of the same listener, with the same time-out to begin with.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<UnixListener> {
        Ok(UnixListener { accept_timeout: self.accept_timeout.clone(), ..UnixListener::from(self.inner.try_clone()?) })
    }

    /// Takes the error that is pending on the socket, if any.
    ///
    /// # Errors
    /// Where the system cannot tell.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.inner.take_error()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// The connections of a [`UnixListener`]: see [`UnixListener::incoming`].
#[derive(Debug)]
pub struct UnixIncoming<'a> {
    listener: &'a UnixListener,
}

impl Iterator for UnixIncoming<'_> {
    type Item = io::Result<UnixStream>;

    fn next(&mut self) -> Option<io::Result<UnixStream>> {
        Some(self.listener.accept().map(|(stream, _)| stream))
    }
}

/// A datagram socket within one machine: nothing is lost or reordered on the way. Closed when dropped; the file at its
/// path stays.
pub struct UnixDatagram {
    inner: std::os::unix::net::UnixDatagram,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

datagram::datagram!(UnixDatagram, std::os::unix::net::UnixDatagram);

impl UnixDatagram {
    /// Makes a socket at a path.
    ///
    /// # Errors
    /// `AddrInUse` where a file is there.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        let path = path.as_ref();
        let bound = std::os::unix::net::UnixDatagram::bind(path).map(UnixDatagram::wrap);
        bound.map_err(|error| attempt(error, || format!("bind to {}", path.display())))
    }

    /// A socket without an address: it can send, and receive once it is connected to one that answers.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn unbound() -> io::Result<UnixDatagram> {
        std::os::unix::net::UnixDatagram::unbound().map(UnixDatagram::wrap)
    }

    /// Two sockets that are connected to each other.
    ///
    /// # Errors
    /// Where the process has no descriptor left.
    pub fn pair() -> io::Result<(UnixDatagram, UnixDatagram)> {
        let (one, other) = std::os::unix::net::UnixDatagram::pair()?;
        Ok((UnixDatagram::wrap(one), UnixDatagram::wrap(other)))
    }

    /// Sets the peer: `send` goes to it, and only its datagrams are received.
    ///
    /// # Errors
    /// `NotFound` where no file is at the path, `ConnectionRefused` where no socket of a process is behind it.
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        self.inner.connect(path).map_err(|error| attempt(error, || format!("connect to {}", path.display())))
    }

    /// Receives a datagram; returns how many bytes, and who sent it. What is beyond the buffer is lost:
    /// [`UnixDatagram::recv_message`] tells.
    ///
    /// # Errors
    /// `TimedOut` past the read time-out; what the system says.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_message(buffer).map(|received| (received.length, received.from))
    }

    /// Receives a datagram, and tells whether it was cut to the buffer.
    ///
    /// # Errors
    /// As for [`UnixDatagram::recv_from`].
    pub fn recv_message(&self, buffer: &mut [u8]) -> io::Result<Received<SocketAddr>> {
        let socket = raw_socket(&self.inner);
        let Received { length, from, truncated } =
            datagram::recv_message(socket, buffer, 0, self.read_timeout.deadline())?;
        Ok(Received { length, from: socket_addr(&from)?, truncated })
    }

    /// Sends a datagram to the socket at a path; returns how many bytes.
    ///
    /// # Errors
    /// `NotFound` where no file is there, `ConnectionRefused` where no socket of a process is behind it.
    pub fn send_to(&self, buffer: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        let address = Address::from(SockAddr::unix(path)?);
        let sent = datagram::send_to(raw_socket(&self.inner), buffer, address, self.write_timeout.deadline());
        sent.map_err(|error| attempt(error, || format!("send to {}", path.display())))
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// `NotConnected` where there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.inner.peer_addr()
    }
}

/// The standard library's form of an address. A peer that was not bound has none: the standard library's "unnamed".
fn socket_addr(address: &Address) -> io::Result<SocketAddr> {
    let address = address.to_sockaddr();
    #[cfg(target_os = "linux")]
    if let Some(name) = address.as_abstract_namespace() {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    SocketAddr::from_pathname(address.as_pathname().unwrap_or(Path::new("")))
}
