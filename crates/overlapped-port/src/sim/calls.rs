//! The system calls on the sockets of this thread's world, by descriptor: none of them waits. Each is `None` where the thread is
//! in no world, or the descriptor is no socket of it; which calls there are, their flags and their errors are the system's.

use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{OwnedFd, RawFd};

use socket2::{Domain, Type};

use super::clock::is_simulated;
use super::kernel::Received;
use super::world::{forget, here, on};
use crate::address::Address;

/// socket(2); `None` also where a world has no such sockets.
pub fn open(domain: Domain, kind: Type) -> Option<io::Result<OwnedFd>> {
    let is_ours = is_simulated()
        && (domain == Domain::IPV4 || domain == Domain::IPV6)
        && (kind == Type::STREAM || kind == Type::DGRAM);
    is_ours.then(|| here(|kernel| kernel.open(domain, kind)))
}

/// dup(2).
pub fn duplicate(fd: RawFd) -> Option<io::Result<OwnedFd>> {
    on(fd, |kernel, id| kernel.duplicate(id))
}

/// bind(2).
pub fn bind(fd: RawFd, address: Option<SocketAddr>) -> Option<io::Result<()>> {
    let wrong = || io::Error::from_raw_os_error(libc::EAFNOSUPPORT);
    on(fd, |kernel, id| kernel.bind(id, address.ok_or_else(wrong)?))
}

/// listen(2).
pub fn listen(fd: RawFd, backlog: i32) -> Option<io::Result<()>> {
    on(fd, |kernel, id| kernel.listen(id, backlog))
}

/// Whether listen(2) was called (`SO_ACCEPTCONN`).
pub fn listens(fd: RawFd) -> Option<bool> {
    on(fd, |kernel, id| kernel.listens(id))
}

/// getsockname(2).
pub fn local_address(fd: RawFd) -> Option<SocketAddr> {
    on(fd, |kernel, id| kernel.local_address(id))
}

/// getpeername(2).
pub fn peer_address(fd: RawFd) -> Option<io::Result<SocketAddr>> {
    on(fd, |kernel, id| kernel.peer_address(id))
}

/// connect(2): `EINPROGRESS` where that takes time.
#[inline]
pub fn connect(fd: RawFd, address: &Address) -> Option<io::Result<()>> {
    on(fd, |kernel, id| kernel.connect(id, address.to_socket_addr()))
}

/// accept(2): a new descriptor, and the peer's address.
#[inline]
pub fn accept(fd: RawFd) -> Option<io::Result<(OwnedFd, SocketAddr)>> {
    on(fd, |kernel, id| kernel.accept(id))
}

/// sendmsg(2).
#[inline]
pub fn send(fd: RawFd, buffers: &[IoSlice<'_>], to: Option<&Address>) -> Option<io::Result<usize>> {
    on(fd, |kernel, id| kernel.send(id, buffers, to.and_then(Address::to_socket_addr)))
}

/// recvmsg(2) of up to `room` bytes, which `put` is given in order.
#[inline]
pub fn recv(fd: RawFd, room: usize, flags: i32, put: impl FnMut(&[u8])) -> Option<io::Result<Received>> {
    on(fd, |kernel, id| kernel.recv(id, room, flags, put))
}

/// The same into a buffer.
pub fn recv_into(fd: RawFd, buffer: &mut [u8], flags: i32) -> Option<io::Result<Received>> {
    let mut filled = 0;
    recv(fd, buffer.len(), flags, |part| {
        buffer[filled..filled + part.len()].copy_from_slice(part);
        filled += part.len();
    })
}

/// close(2): the descriptor, which the caller is about to close, is no socket's any more.
pub fn close(fd: RawFd) {
    forget(fd);
}

/// shutdown(2).
#[inline]
pub fn shutdown(fd: RawFd, how: Shutdown) -> Option<io::Result<()>> {
    on(fd, |kernel, id| kernel.shutdown(id, how))
}

/// Takes the error that is pending (`SO_ERROR`).
#[inline]
pub fn take_error(fd: RawFd) -> Option<Option<io::Error>> {
    on(fd, |kernel, id| kernel.take_error(id))
}

/// poll(2): which of `events` are there now, `POLLERR` and `POLLHUP`.
#[inline]
pub fn poll(fd: RawFd, events: i16) -> Option<i16> {
    on(fd, |kernel, id| kernel.poll(id, events))
}
