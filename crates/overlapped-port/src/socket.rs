//! What a socket is asked that never waits: to be made, named, duplicated. In a simulated world ([`crate::sim`]) the sockets are
//! the world's.

use std::io;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

#[cfg(unix)]
use crate::sim;
#[cfg(unix)]
use crate::sys::lent_socket;
use crate::sys::{AsSocket, OwnedSocket};

/// socket(2), not inherited by child processes.
///
/// # Errors
/// Where the process has no descriptor left; where the system has no such sockets.
pub fn open(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    #[cfg(unix)]
    if let Some(opened) = sim::open(domain, kind) {
        return opened.map(Socket::from);
    }
    Socket::new(domain, kind, protocol)
}

/// bind(2).
///
/// # Errors
/// `AddrInUse`, `AddrNotAvailable`, …
pub fn bind(socket: &impl AsSocket, address: &SockAddr) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(bound) = sim::bind(lent_socket(socket), address.as_socket()) {
        return bound;
    }
    SockRef::from(socket).bind(address)
}

/// listen(2).
///
/// # Errors
/// What the system says.
pub fn listen(socket: &impl AsSocket, backlog: i32) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(listens) = sim::listen(lent_socket(socket), backlog) {
        return listens;
    }
    SockRef::from(socket).listen(backlog)
}

/// getsockname(2).
///
/// # Errors
/// What the system says.
pub fn local_addr(socket: &impl AsSocket) -> io::Result<SockAddr> {
    #[cfg(unix)]
    if let Some(address) = sim::local_address(lent_socket(socket)) {
        return Ok(address.into());
    }
    SockRef::from(socket).local_addr()
}

/// getpeername(2).
///
/// # Errors
/// `NotConnected`.
pub fn peer_addr(socket: &impl AsSocket) -> io::Result<SockAddr> {
    #[cfg(unix)]
    if let Some(address) = sim::peer_address(lent_socket(socket)) {
        return address.map(SockAddr::from);
    }
    SockRef::from(socket).peer_addr()
}

/// Takes the error that is pending on a socket, if any (`SO_ERROR`, socket(7)).
///
/// # Errors
/// What the system says.
pub fn take_error(socket: &impl AsSocket) -> io::Result<Option<io::Error>> {
    #[cfg(unix)]
    if let Some(error) = sim::on(lent_socket(socket), |kernel, id| kernel.take_error(id)) {
        return Ok(error);
    }
    SockRef::from(socket).take_error()
}

/// Another handle of the same socket.
///
/// # Errors
/// Where the process has no descriptor left.
pub fn try_clone<S: AsSocket + From<OwnedSocket>>(socket: &S) -> io::Result<S> {
    #[cfg(unix)]
    if let Some(duplicate) = sim::duplicate(lent_socket(socket)) {
        return duplicate.map(S::from);
    }
    SockRef::from(socket).try_clone().map(|socket| S::from(OwnedSocket::from(socket)))
}
