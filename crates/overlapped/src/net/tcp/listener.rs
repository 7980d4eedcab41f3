//! Listeners.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use overlapped_port::socket::{self, Held};
use overlapped_port::sys::raw_socket;
use overlapped_port::{Address, Op, Outcome};
use socket2::SockRef;

use super::TcpStream;
use super::socket::TcpSocket;
use crate::attempt::attempt;
use crate::blocking::Timeout;
use crate::net::{BACKLOG, handle, options, serve};
use crate::resolve::{ToSocketAddrs, each_address};
use crate::scheduler;

#[cfg(unix)]
const NO_SUCH_FAMILY: i32 = libc::EAFNOSUPPORT;
/// `WSAEAFNOSUPPORT` ("Windows Sockets Error Codes").
#[cfg(windows)]
const NO_SUCH_FAMILY: i32 = 10047;

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
    inner: Held<std::net::TcpListener>,
    accept_timeout: Timeout,
}

handle::listener!(TcpListener, std::net::TcpListener);
options::buffer_options!(TcpListener);
options::ip_options!(TcpListener);

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
            let listening = TcpSocket::new(address).and_then(|socket| listen(socket, address));
            listening.map_err(|error| attempt(error, || format!("listen on {address}")))
        })
    }

    /// Listens on a port of every address of this machine, by IPv6 and IPv4 in one socket: a client by IPv4 then has an
    /// address such as `::ffff:192.0.2.1` ([`Ipv6Addr::to_canonical`]; RFC 4291, section 2.5.5.2). Where the machine has no
    /// IPv6, by IPv4 alone. To listen on `[::]` with [`TcpListener::bind`] is left to the system: most take IPv4 too then,
    /// Windows does not.
    ///
    /// ```
    /// use overlapped::net::{Ipv4Addr, TcpListener, TcpStream};
    /// overlapped::run(|| {
    ///     let listener = TcpListener::bind_dual_stack(0)?;
    ///     let client = TcpStream::connect((Ipv4Addr::LOCALHOST, listener.local_addr()?.port()))?;
    ///     let (_stream, peer) = listener.accept()?;
    ///     assert_eq!(peer.ip().to_canonical(), client.local_addr()?.ip());
    ///     std::io::Result::Ok(())
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    ///
    /// # Errors
    /// As for [`TcpListener::bind`].
    pub fn bind_dual_stack(port: u16) -> io::Result<TcpListener> {
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let listening = TcpSocket::new(both).and_then(|socket| {
            socket.set_only_v6(false)?;
            listen(socket, both)
        });
        match listening {
            Err(error) if has_no_ipv6(&error) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)),
            Err(error) => Err(attempt(error, || format!("listen on port {port}"))),
            Ok(listener) => Ok(listener),
        }
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
        handle::ip(socket::local_addr(&self.inner))
    }
}

fn listen(socket: TcpSocket, address: SocketAddr) -> io::Result<TcpListener> {
    // On Windows the option would let others take the port over.
    if cfg!(unix) {
        socket.set_reuse_address(true)?;
    }
    socket.take(address)?;
    socket.listen(BACKLOG)
}

/// Whether the error of a socket says that the machine has no IPv6, or that it was turned off.
fn has_no_ipv6(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_SUCH_FAMILY)
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
