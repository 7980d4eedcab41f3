//! What a socket is asked that never waits: to be made, named, duplicated. In a simulated world ([`crate::sim`]) the sockets are
//! the world's.

use std::fmt;
use std::io;
use std::net::Shutdown;
use std::ops::Deref;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

#[cfg(unix)]
use crate::sim::{calls, forget};
#[cfg(unix)]
use crate::sys::lent_socket;
use crate::sys::{AsSocket, OwnedSocket};

/// socket(2), not inherited by child processes.
///
/// # Errors
/// Where the process has no descriptor left; where the system has no such sockets.
pub fn open(domain: Domain, kind: Type, protocol: Option<Protocol>) -> io::Result<Socket> {
    #[cfg(unix)]
    if let Some(opened) = calls::open(domain, kind) {
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
    if let Some(bound) = calls::bind(lent_socket(socket), address.as_socket()) {
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
    if let Some(listens) = calls::listen(lent_socket(socket), backlog) {
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
    if let Some(address) = calls::local_address(lent_socket(socket)) {
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
    if let Some(address) = calls::peer_address(lent_socket(socket)) {
        return address.map(SockAddr::from);
    }
    SockRef::from(socket).peer_addr()
}

/// shutdown(2).
///
/// # Errors
/// `NotConnected`, …
pub fn shutdown(socket: &impl AsSocket, how: Shutdown) -> io::Result<()> {
    #[cfg(unix)]
    if let Some(ended) = calls::shutdown(lent_socket(socket), how) {
        return ended;
    }
    SockRef::from(socket).shutdown(how)
}

/// Takes the error that is pending on a socket, if any (`SO_ERROR`, socket(7)).
///
/// # Errors
/// What the system says.
pub fn take_error(socket: &impl AsSocket) -> io::Result<Option<io::Error>> {
    #[cfg(unix)]
    if let Some(error) = calls::take_error(lent_socket(socket)) {
        return Ok(error);
    }
    SockRef::from(socket).take_error()
}

/// Another handle of the same socket.
///
/// # Errors
/// Where the process has no descriptor left.
pub fn try_clone(socket: &impl AsSocket) -> io::Result<OwnedSocket> {
    #[cfg(unix)]
    if let Some(duplicate) = calls::duplicate(lent_socket(socket)) {
        return duplicate;
    }
    SockRef::from(socket).try_clone().map(OwnedSocket::from)
}

/// A socket that is owned, of any type: a simulated world is told when it is closed.
pub struct Held<S: AsSocket>(Option<S>);

impl<S: AsSocket> Held<S> {
    /// Owns a socket.
    pub fn new(socket: S) -> Held<S> {
        Held(Some(socket))
    }

    /// Gives it away.
    pub fn into_inner(mut self) -> S {
        self.0.take().expect(THERE)
    }
}

const THERE: &str = "it is there until it is given away";

impl<S: AsSocket> Deref for Held<S> {
    type Target = S;

    #[inline]
    fn deref(&self) -> &S {
        self.0.as_ref().expect(THERE)
    }
}

impl<S: AsSocket + fmt::Debug> fmt::Debug for Held<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<S: AsSocket> Drop for Held<S> {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(socket) = &self.0 {
            forget(lent_socket(socket));
        }
    }
}

#[cfg(unix)]
impl<S: AsSocket> std::os::fd::AsRawFd for Held<S> {
    #[inline]
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        lent_socket(&**self)
    }
}

#[cfg(unix)]
impl<S: AsSocket> std::os::fd::AsFd for Held<S> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        (**self).as_fd()
    }
}

#[cfg(windows)]
impl<S: AsSocket> std::os::windows::io::AsRawSocket for Held<S> {
    fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
        (**self).as_socket().as_raw_socket()
    }
}

#[cfg(windows)]
impl<S: AsSocket> std::os::windows::io::AsSocket for Held<S> {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        (**self).as_socket()
    }
}
