//! TCP.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use overlapped_port::sys::{MSG_PEEK, raw_socket};
use overlapped_port::{Address, Op, Outcome};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::attempt::attempt;
use crate::blocking::{Timeout, count};
use crate::net::{BACKLOG, handle, serve, stream};
use crate::resolve::{ToSocketAddrs, each_address};
use crate::scheduler;
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
    inner: std::net::TcpStream,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

stream::stream!(TcpStream, std::net::TcpStream);

impl TcpStream {
    /// Connects. A name is looked up first; its addresses are tried one after the other.
    ///
    /// # Errors
    /// That of the last address: `ConnectionRefused` where nobody listens, …; those of the look-up.
    pub fn connect(address: impl ToSocketAddrs) -> io::Result<TcpStream> {
        each_address(address, |address| connect(address, None))
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
        self.inner.peer_addr()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }

    /// Whether small writes are sent at once (`TCP_NODELAY`, tcp(7)).
    ///
    /// # Errors
    /// What the system says.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.inner.nodelay()
    }

    /// Sends small writes at once instead of waiting for more to send with them (`TCP_NODELAY`, tcp(7)).
    ///
    /// # Errors
    /// What the system says.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.inner.set_nodelay(nodelay)
    }

    /// The most routers that a packet passes (`IP_TTL`, ip(7)).
    ///
    /// # Errors
    /// What the system says.
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.ttl()
    }

    /// Sets the most routers that a packet passes (`IP_TTL`, ip(7)).
    ///
    /// # Errors
    /// What the system says.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_ttl(ttl)
    }

    /// What closing does with bytes not yet sent (`SO_LINGER`, socket(7)): see [`TcpStream::set_linger`].
    ///
    /// # Errors
    /// What the system says.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(&self.inner).linger()
    }

    /// Sets what closing does with bytes not yet sent (`SO_LINGER`, socket(7)), in whole seconds. `None`, as at the
    /// beginning: they are sent after it. Zero: they are dropped and the peer gets a reset. More: closing **blocks the
    /// thread** until they are sent, that long at most.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(&self.inner).set_linger(linger)
    }
}

fn connect(address: SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
    let connected = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        let inner = std::net::TcpStream::from(socket);
        let address = Box::new(Address::from(address));
        count(Op::Connect { socket: raw_socket(&inner), address: &address }, deadline)?;
        Ok(TcpStream::wrap(inner))
    };
    connected().map_err(|error| attempt(error, || format!("connect to {address}")))
}

/// A TCP socket that takes connections. Closed when dropped.
///
/// ```
/// # use std::io::Write;
/// use overlapped::net::{TcpListener, TcpStream};
/// overlapped::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let address = listener.local_addr()?;
///     overlapped::spawn(move || {
///         for stream in listener.incoming() {
///             let mut stream = stream?;
///             // One tasklet for each connection.
///             overlapped::spawn(move || stream.write_all(b"hello"));
///         }
///         std::io::Result::Ok(())
///     });
///     for _ in 0..3 {
///         assert_eq!(std::io::read_to_string(TcpStream::connect(address)?)?, "hello");
///     }
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct TcpListener {
    inner: std::net::TcpListener,
    accept_timeout: Timeout,
}

handle::listener!(TcpListener, std::net::TcpListener);

impl TcpListener {
    /// Listens on an address; port 0 lets the system choose one. On Unix an address that an earlier connection still
    /// lingers on can be used again at once (`SO_REUSEADDR`, socket(7)), as in the standard library.
    ///
    /// Works outside of [`run`](crate::run()) too, unless a name is to be looked up.
    ///
    /// # Errors
    /// That of the last address: `AddrInUse`, `PermissionDenied`, …; those of the look-up.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<TcpListener> {
        each_address(address, |address| {
            let listening = || {
                let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
                // On Windows the option would let others take the port over.
                if cfg!(unix) {
                    socket.set_reuse_address(true)?;
                }
                socket.bind(&address.into())?;
                socket.listen(BACKLOG)?;
                Ok(TcpListener::wrap(socket.into()))
            };
            listening().map_err(|error| attempt(error, || format!("listen on {address}")))
        })
    }

    /// Waits for a connection, and takes it.
    ///
    /// # Errors
    /// `TimedOut` past the [accept time-out](TcpListener::set_accept_timeout). Errors that concern one connection or a
    /// passing shortage (`ConnectionAborted`, no descriptor left) leave the listener as it was: accept again.
    pub fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let mut peer = Box::new(Address::empty());
        let stream = self.take(Some(&mut peer))?;
        let address = peer.to_socket_addr().ok_or_else(|| io::Error::other("the peer has no IP address"))?;
        Ok((stream, address))
    }

    /// The next connection, and whose it is where somebody wants to know.
    fn take(&self, peer: Option<&mut Address>) -> io::Result<TcpStream> {
        let op = Op::Accept { listener: raw_socket(&self.inner), peer };
        match scheduler::current()?.perform(op, self.accept_timeout.deadline())? {
            Outcome::Socket(socket) => Ok(TcpStream::wrap(socket.into())),
            outcome => unreachable!("an accept brought {outcome:?}"),
        }
    }

    /// The connections, one after the other; never ends.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming { listener: self }
    }

    /// Takes connections, and has each served by `handler` in a tasklet of its own, on the thread of this run that has the
    /// fewest ([`Config::schedulers`](crate::Config::schedulers)). Goes on until the calling tasklet is told to leave; the
    /// connections go on then. Where there is no descriptor for one, it waits in the system's queue until there is.
    ///
    /// ```
    /// # use std::io::Write;
    /// use overlapped::{Config, net::{TcpListener, TcpStream}};
    /// Config::new().schedulers(2).run(|| {
    ///     let listener = TcpListener::bind("127.0.0.1:0")?;
    ///     let address = listener.local_addr()?;
    ///     let server = overlapped::spawn(move || listener.serve(|mut stream, _| stream.write_all(b"hello")));
    ///     for _ in 0..3 {
    ///         assert_eq!(std::io::read_to_string(TcpStream::connect(address)?)?, "hello");
    ///     }
    ///     server.cancel();
    ///     assert!(overlapped::is_cancelled(&server.join().unwrap().unwrap_err()));
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// Where the calling tasklet is told to leave; `TimedOut` past the [accept time-out](TcpListener::set_accept_timeout);
    /// `InvalidInput` where the socket listens no more.
    pub fn serve<R: 'static>(
        &self,
        handler: impl Fn(TcpStream, SocketAddr) -> R + Send + Sync + 'static,
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

    /// The most routers that a packet passes (`IP_TTL`, ip(7)).
    ///
    /// # Errors
    /// What the system says.
    pub fn ttl(&self) -> io::Result<u32> {
        self.inner.ttl()
    }

    /// Sets the most routers that a packet passes (`IP_TTL`, ip(7)).
    ///
    /// # Errors
    /// What the system says.
    pub fn set_ttl(&self, ttl: u32) -> io::Result<()> {
        self.inner.set_ttl(ttl)
    }
}

/// The connections of a [`TcpListener`]: see [`TcpListener::incoming`].
#[derive(Debug)]
pub struct Incoming<'a> {
    listener: &'a TcpListener,
}

impl Iterator for Incoming<'_> {
    type Item = io::Result<TcpStream>;

    fn next(&mut self) -> Option<io::Result<TcpStream>> {
        Some(self.listener.take(None))
    }
}

impl std::iter::FusedIterator for Incoming<'_> {}
