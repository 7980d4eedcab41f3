//! Datagrams.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use overlapped_port::socket::Held;
use overlapped_port::sys::{MSG_PEEK, raw_socket};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::address;
use crate::attempt::attempt;
use crate::blocking::Timeout;
use crate::net::datagram::{self, Received};
use crate::net::{handle, options};

/// A datagram socket within one machine: nothing is lost or reordered on the way. Closed when dropped; the file at its
/// path stays.
pub struct UnixDatagram {
    inner: Held<std::os::unix::net::UnixDatagram>,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

datagram::datagram!(UnixDatagram, std::os::unix::net::UnixDatagram);
options::buffer_options!(UnixDatagram);

impl UnixDatagram {
    /// Makes a socket at a path; on Linux also under an abstract name, `"\0name"`, which is no file and goes with the
    /// socket.
    ///
    /// # Errors
    /// `AddrInUse` where a file is there; `InvalidInput` for a path that is too long (some hundred bytes, unix(7)) or
    /// holds a NUL byte but the one in front.
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixDatagram> {
        let path = path.as_ref();
        bound(&address::of_path(path)?).map_err(|error| attempt(error, || format!("bind to {}", address::shown(path))))
    }

    /// Makes a socket at an address.
    ///
    /// # Errors
    /// As for [`UnixDatagram::bind`].
    pub fn bind_addr(address: &SocketAddr) -> io::Result<UnixDatagram> {
        bound(&address::of_std(address)?).map_err(|error| attempt(error, || format!("bind to {address:?}")))
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

    /// Sets the peer, by path or abstract name: `send` goes to it, and only its datagrams are received.
    ///
    /// # Errors
    /// `NotFound` where no file is at the path, `ConnectionRefused` where no socket of a process is behind it;
    /// `InvalidInput` as for [`UnixDatagram::bind`].
    pub fn connect(&self, path: impl AsRef<Path>) -> io::Result<()> {
        let path = path.as_ref();
        SockRef::from(&self.inner)
            .connect(&address::of_path(path)?)
            .map_err(|error| attempt(error, || format!("connect to {}", address::shown(path))))
    }

    /// Sets the peer, by its address.
    ///
    /// # Errors
    /// As for [`UnixDatagram::connect`].
    pub fn connect_addr(&self, address: &SocketAddr) -> io::Result<()> {
        SockRef::from(&self.inner)
            .connect(&address::of_std(address)?)
            .map_err(|error| attempt(error, || format!("connect to {address:?}")))
    }

    /// Receives a datagram; returns how many bytes, and who sent it. What is beyond the buffer is lost:
    /// [`UnixDatagram::recv_message`] tells.
    ///
    /// # Errors
    /// `TimedOut` past the read time-out; what the system says.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_message(buffer).map(|received| (received.length, received.from))
    }

    /// Receives a datagram and leaves it there: it comes again.
    ///
    /// # Errors
    /// As for [`UnixDatagram::recv_from`].
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_message_with(buffer, MSG_PEEK).map(|received| (received.length, received.from))
    }

    /// Receives a datagram, and tells whether it was cut to the buffer.
    ///
    /// # Errors
    /// As for [`UnixDatagram::recv_from`].
    pub fn recv_message(&self, buffer: &mut [u8]) -> io::Result<Received<SocketAddr>> {
        self.recv_message_with(buffer, 0)
    }

    fn recv_message_with(&self, buffer: &mut [u8], flags: i32) -> io::Result<Received<SocketAddr>> {
        let socket = raw_socket(&self.inner);
        let Received { length, from, truncated } =
            datagram::recv_message(socket, buffer, flags, self.read_timeout.deadline())?;
        Ok(Received { length, from: address::to_std(&from)?, truncated })
    }

    /// Sends a datagram to the socket at a path or of an abstract name; returns how many bytes.
    ///
    /// # Errors
    /// `NotFound` where no file is there, `ConnectionRefused` where no socket of a process is behind it; `InvalidInput`
    /// as for [`UnixDatagram::bind`].
    pub fn send_to(&self, buffer: &[u8], path: impl AsRef<Path>) -> io::Result<usize> {
        let path = path.as_ref();
        self.send_at(buffer, address::of_path(path)?)
            .map_err(|error| attempt(error, || format!("send to {}", address::shown(path))))
    }

    /// Sends a datagram to the socket at an address; returns how many bytes.
    ///
    /// # Errors
    /// As for [`UnixDatagram::send_to`].
    pub fn send_to_addr(&self, buffer: &[u8], address: &SocketAddr) -> io::Result<usize> {
        self.send_at(buffer, address::of_std(address)?)
            .map_err(|error| attempt(error, || format!("send to {address:?}")))
    }

    fn send_at(&self, buffer: &[u8], address: SockAddr) -> io::Result<usize> {
        datagram::send_to(raw_socket(&self.inner), buffer, address.into(), self.write_timeout.deadline())
    }

    /// Ends one or both directions. Whoever waits to receive finds a datagram of no bytes.
    ///
    /// # Errors
    /// `NotConnected` where it has no peer.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.inner.shutdown(how)
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

fn bound(address: &SockAddr) -> io::Result<UnixDatagram> {
    let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
    socket.bind(address)?;
    Ok(UnixDatagram::wrap(socket.into()))
}
