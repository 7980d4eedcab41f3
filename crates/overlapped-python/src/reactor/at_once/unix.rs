//! Unix: the flag of a call says that it is not to wait; pipes are in non-blocking mode. In a simulated world the sockets are the
//! world's.

use std::io::{self, IoSlice};

use overlapped_port::Address;
use overlapped_port::sim::calls;

/// Python ignores SIGPIPE where a system cannot be told by a flag.
const WITHOUT_SIGNAL: i32 = libc::MSG_DONTWAIT | if cfg!(target_vendor = "apple") { 0 } else { libc::MSG_NOSIGNAL };

/// Sends what the socket takes, and says how much (send(2)).
pub(in super::super) fn send(descriptor: i32, bytes: &[u8]) -> io::Result<usize> {
    if let Some(sent) = calls::send(descriptor, &[IoSlice::new(bytes)], None) {
        return sent;
    }
    // SAFETY: the bytes are the caller's, and stay.
    count(unsafe { libc::send(descriptor, bytes.as_ptr().cast(), bytes.len(), WITHOUT_SIGNAL) })
}

/// Sends a datagram to an address (sendto(2)).
pub(in super::super) fn send_to(descriptor: i32, bytes: &[u8], to: &Address) -> io::Result<usize> {
    if let Some(sent) = calls::send(descriptor, &[IoSlice::new(bytes)], Some(to)) {
        return sent;
    }
    let to = to.as_bytes();
    // SAFETY: bytes and address are the caller's, and stay.
    count(unsafe {
        let (address, length) = (to.as_ptr().cast(), to.len() as libc::socklen_t);
        libc::sendto(descriptor, bytes.as_ptr().cast(), bytes.len(), WITHOUT_SIGNAL, address, length)
    })
}

/// Receives a datagram: how long it is, and who has sent it (recvfrom(2)).
pub(in super::super) fn receive_from(descriptor: i32, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
    if let Some(received) = calls::recv_into(descriptor, buffer, 0) {
        return received.map(|received| (received.length, received.source.map_or_else(Address::empty, Address::from)));
    }
    let mut room = [0_u8; size_of::<libc::sockaddr_storage>()];
    let mut length = room.len() as libc::socklen_t;
    // SAFETY: both are written to as long as is said here, and stay.
    let received = count(unsafe {
        let (address, length) = (room.as_mut_ptr().cast(), &raw mut length);
        libc::recvfrom(descriptor, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT, address, length)
    })?;
    Ok((received, Address::from_bytes(&room[..room.len().min(length as usize)])?))
}

/// Writes to a pipe in non-blocking mode what it takes, and says how much (write(2)).
pub(in super::super) fn write(descriptor: i32, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the bytes are the caller's, and stay.
    count(unsafe { libc::write(descriptor, bytes.as_ptr().cast(), bytes.len()) })
}

fn count(returned: isize) -> io::Result<usize> {
    usize::try_from(returned).map_err(|_| io::Error::last_os_error())
}
