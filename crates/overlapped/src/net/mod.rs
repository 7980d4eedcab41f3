//! Sockets shaped as in [`std::net`], whose waits are those of the calling tasklet alone.
//!
//! Addresses, options and conversions are the standard library's own; what waits (accept, connect, receive, send) goes
//! through the thread's completion port, and so only works inside of [`run`](crate::run()). Differences from
//! [`std::net`]:
//!
//! - a name is looked up without blocking the thread ([`ToSocketAddrs`]), and [`TcpStream::connect`] does not wait for an
//!   address that does not answer before it tries the next one (RFC 8305);
//! - a time-out gives [`TimedOut`](std::io::ErrorKind::TimedOut), never `WouldBlock`; it belongs to the handle, and a
//!   clone begins with the time-outs of its original. A handle that is made from a socket of the standard library's, or
//!   from the system's, begins with the socket's own, and leaves it those that it has when it is turned back;
//! - what was attempted when an error came, [`attempted`](crate::attempted) tells: the error has the system's number, as there;
//! - Unix sockets take abstract names in the form of a path too, with a NUL byte in front;
//! - there is no non-blocking mode: start a tasklet instead.
//!
//! **Threads.** A handle may be given to another thread and used in that thread's [`run`](crate::run()). On Windows a handle
//! belongs to the completion port of the first thread that waited for it; the others wait by a detour, which is slower.
//!
//! **Processes.** On Unix, make a listener that several processes accept from non-blocking before, with
//! [`std::net::TcpListener::set_nonblocking`]; a `prefork` server does so with its own. Where there is no io_uring,
//! that mode alone keeps accept(2) from blocking, and all of them share it (`O_NONBLOCK`, fcntl(2)): each would set it
//! for its own calls, and now and then take it from another's, whose whole thread waits then for the next client.
//!
//! **Options.** Those that most programs ask for are methods; what has to be set before a connection is made or a listener
//! listens is set on a [`TcpSocket`]. All others are the business of the crate `socket2`, whose `SockRef::from` takes any
//! socket of this module, and whose sockets become one of these by way of the standard library's.
//!
//! **Sharing.** Several tasklets may use one handle: `&TcpStream` reads and writes, as in the standard library, and a
//! tasklet that reads does not disturb one that writes; or each gets a half of its own ([`TcpStream::into_split`]). Closing means dropping the handle, which the borrow checker
//! allows only when nobody waits on it: to make others leave a stream, [`shutdown`](TcpStream::shutdown) it or cancel
//! the tasklets.
//!
//! ```
//! use std::io::{Read, Write};
//! use overlapped::net::{TcpListener, TcpStream};
//!
//! overlapped::run(|| {
//!     let listener = TcpListener::bind("127.0.0.1:0")?;
//!     let address = listener.local_addr()?;
//!     let server = overlapped::spawn(move || {
//!         let (mut stream, _) = listener.accept()?;
//!         let mut request = String::new();
//!         stream.read_to_string(&mut request)?;
//!         stream.write_all(request.to_uppercase().as_bytes())
//!     });
//!     let mut stream = TcpStream::connect(address)?;
//!     stream.write_all(b"hello")?;
//!     stream.shutdown(std::net::Shutdown::Write)?;
//!     let mut answer = String::new();
//!     stream.read_to_string(&mut answer)?;
//!     assert_eq!(answer, "HELLO");
//!     server.join().unwrap()
//! })?;
//! # std::io::Result::Ok(())
//! ```

mod datagram;
mod handle;
mod kind;
mod options;
#[cfg(windows)]
mod pipe;
pub(crate) mod race;
mod ready;
mod serve;
mod split;
mod stream;
mod tcp;
mod udp;
#[cfg(unix)]
mod unix;

pub use crate::resolve::{ToSocketAddrs, lookup_host};
pub use datagram::Received;
pub use kind::Kind;
pub use options::Keepalive;
#[cfg(windows)]
pub use pipe::{NamedPipeListener, NamedPipeStream};
pub use ready::{Ready, readable, writable};
#[cfg(feature = "tower")]
pub(crate) use serve::accept_each;
pub use split::{Duplex, OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, SocketAddrV4, SocketAddrV6};
pub use tcp::{Incoming, TcpListener, TcpSocket, TcpStream};
pub use udp::UdpSocket;
#[cfg(unix)]
pub(crate) use unix::of_path;
#[cfg(unix)]
pub use unix::{UCred, UnixDatagram, UnixIncoming, UnixListener, UnixStream, WithFds};

/// How many connections may wait to be accepted; the system cuts it to what it allows (Linux: `net.core.somaxconn`).
const BACKLOG: u32 = 4096;
