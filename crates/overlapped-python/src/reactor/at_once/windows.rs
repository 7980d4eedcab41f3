//! Windows: no flag of a call says that it is not to wait; asyncio's sockets are in non-blocking mode.

use std::io;
use std::mem::ManuallyDrop;
use std::net::UdpSocket;
use std::os::windows::io::FromRawSocket;

use overlapped_port::Address;

use crate::io::descriptor::{SocketNumber, socket};

/// Sends what the socket takes, and says how much ("send function (winsock2.h)").
pub(in super::super) fn send(number: SocketNumber, bytes: &[u8]) -> io::Result<usize> {
    of(number).send(bytes)
}

/// Sends a datagram to an address.
pub(in super::super) fn send_to(number: SocketNumber, bytes: &[u8], to: &Address) -> io::Result<usize> {
    let to = to.to_socket_addr().ok_or(io::ErrorKind::Unsupported)?;
    of(number).send_to(bytes, to)
}

/// Receives a datagram: how long it is, and who has sent it.
pub(in super::super) fn receive_from(number: SocketNumber, buffer: &mut [u8]) -> io::Result<(usize, Address)> {
    of(number).recv_from(buffer).map(|(count, sender)| (count, Address::from(sender)))
}

/// The socket, whatever its kind: it is called and not closed.
fn of(number: SocketNumber) -> ManuallyDrop<UdpSocket> {
    // SAFETY: the caller has it, and keeps it for the call.
    ManuallyDrop::new(unsafe { UdpSocket::from_raw_socket(socket(number)) })
}
