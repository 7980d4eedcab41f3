//! Streams and their listeners.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use overlapped_port::socket::Held;
use overlapped_port::sys::{MSG_PEEK, raw_socket};
use overlapped_port::{Address, Op, Outcome};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::address;
use crate::attempt::attempt;
use crate::blocking::{Timeout, count};
use crate::net::split::{Duplex, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::{BACKLOG, handle, options, serve, stream};
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
    inner: Held<std::os::unix::net::UnixStream>,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

stream::stream!(UnixStream, std::os::unix::net::UnixStream);
options::buffer_options!(UnixStream);

impl UnixStream {
    /// Connects to the socket at a path, or on Linux of an abstract name: `"\0name"`.
    ///
    /// # Errors
    /// `NotFound` where no file is there, `ConnectionRefused` where nobody listens; `InvalidInput` for a path that is
    /// too long (some hundred bytes, unix(7)) or holds a NUL byte but the one in front.
    pub fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let path = path.as_ref();
        connect(address::of_path(path)?)
            .map_err(|error| attempt(error, || format!("connect to {}", address::shown(path))))
    }

    /// Connects to the socket at an address.
    ///
    /// # Errors
    /// As for [`UnixStream::connect`].
    pub fn connect_addr(address: &SocketAddr) -> io::Result<UnixStream> {
        connect(address::of_std(address)?).map_err(|error| attempt(error, || format!("connect to {address:?}")))
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

fn connect(address: SockAddr) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    let address = Box::new(Address::from(address));
    count(Op::Connect { socket: raw_socket(&socket), address: &address }, None)?;
    Ok(UnixStream::wrap(socket.into()))
}

/// A Unix socket that takes connections. Closed when dropped; the file at its path stays.
pub struct UnixListener {
    inner: Held<std::os::unix::net::UnixListener>,
    accept_timeout: Timeout,
}

handle::listener!(UnixListener, std::os::unix::net::UnixListener);

impl UnixListener {
    /// Makes a socket at a path and listens on it; on Linux also under an abstract name, `"\0name"`, which is no file and
    /// goes with the socket. Works outside of [`run`](crate::run()) too.
    ///
    /// # Errors
    /// `AddrInUse` where a file is there, though nobody may listen any more: remove it first; `InvalidInput` as for
    /// [`UnixStream::connect`].
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let path = path.as_ref();
        listen(&address::of_path(path)?)
            .map_err(|error| attempt(error, || format!("listen on {}", address::shown(path))))
    }

    /// Makes a socket at an address and listens on it. Works outside of [`run`](crate::run()) too.
    ///
    /// # Errors
    /// As for [`UnixListener::bind`].
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixListener> {
        listen(&address::of_std(address)?).map_err(|error| attempt(error, || format!("listen on {address:?}")))
    }

    /// Waits for a connection, and takes it.
    ///
    /// # Errors
    /// `TimedOut` past the [accept time-out](UnixListener::set_accept_timeout); what the system says.
    pub fn accept(&self) -> io::Result<(UnixStream, SocketAddr)> {
        let mut peer = Box::new(Address::empty());
        let op = Op::Accept { listener: raw_socket(&self.inner), peer: Some(&mut peer) };
        match scheduler::current()?.perform(op, self.accept_timeout.deadline())? {
            Outcome::Socket(socket) => {
                let stream = UnixStream::wrap(socket.into());
                // A path that the standard library takes from the system alone is no reason to lose the connection.
                let peer = address::to_std(&peer).or_else(|_| stream.peer_addr())?;
                Ok((stream, peer))
            }
            outcome => unreachable!("an accept brought {outcome:?}"),
        }
    }

    /// The connections, one after the other; never ends.
    pub fn incoming(&self) -> UnixIncoming<'_> {
        UnixIncoming { listener: self }
    }

    /// Takes connections, and has each served by `handler` in a tasklet of its own, on the thread of this run that has the
    /// fewest ([`Config::schedulers`](crate::Config::schedulers)). Goes on until the calling tasklet is told to leave; the
    /// connections go on then. Where there is no descriptor for one, it waits in the system's queue until there is.
    ///
    /// ```
    /// # use std::io::Write;
    /// use overlapped::{Config, net::{UnixListener, UnixStream}};
    /// # let folder = tempfile::tempdir()?;
    /// # let path = folder.path().join("socket");
    /// Config::new().schedulers(2).run(|| {
    ///     let listener = UnixListener::bind(&path)?;
    ///     let server = overlapped::spawn(move || listener.serve(|mut stream, _| stream.write_all(b"hello")));
    ///     assert_eq!(std::io::read_to_string(UnixStream::connect(&path)?)?, "hello");
    ///     server.cancel();
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// Where the calling tasklet is told to leave; `TimedOut` past the [accept time-out](UnixListener::set_accept_timeout);
    /// `InvalidInput` where the socket listens no more.
    pub fn serve<R: 'static>(
        &self,
        handler: impl Fn(UnixStream, SocketAddr) -> R + Send + Sync + 'static,
    ) -> io::Result<()> {
        serve::serve(|| self.accept(), handler)
    }

    /// The address it listens on.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

fn listen(address: &SockAddr) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(address)?;
    socket.listen(BACKLOG as i32)?;
    Ok(UnixListener::adopt(socket.into()))
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
