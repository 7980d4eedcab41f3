//! Datagrams: what UDP and Unix datagram sockets have in common.

use std::io::{self, IoSlice, IoSliceMut};
use std::time::Instant;

use overlapped_port::sys::RawSocket;
use overlapped_port::{Address, Op, RecvMessage, SendMessage};

use crate::blocking::{count, fillable};

/// A datagram received, as `recv_message` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received<A> {
    /// How many bytes of it are in the buffer.
    pub length: usize,
    /// Who sent it.
    pub from: A,
    /// Whether it was longer than the buffer: its tail is lost.
    pub truncated: bool,
}

pub(super) fn recv(socket: RawSocket, buffer: &mut [u8], flags: i32, deadline: Option<Instant>) -> io::Result<usize> {
    count(Op::Recv { socket, buffer: fillable(buffer), flags }, deadline)
}

pub(super) fn recv_message(
    socket: RawSocket,
    buffer: &mut [u8],
    flags: i32,
    deadline: Option<Instant>,
) -> io::Result<Received<Address>> {
    let mut buffers = Box::new([IoSliceMut::new(buffer)]);
    let mut message = Box::new(RecvMessage::new(&mut *buffers));
    let length = count(Op::RecvMessage { socket, message: message.lend(), flags }, deadline)?;
    Ok(Received { length, from: message.address().clone(), truncated: message.truncated() })
}

pub(super) fn recv_vectored(
    socket: RawSocket,
    buffers: &mut [IoSliceMut<'_>],
    deadline: Option<Instant>,
) -> io::Result<usize> {
    let mut buffers: Box<[IoSliceMut<'_>]> = buffers.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
    let mut message = Box::new(RecvMessage::new(&mut buffers));
    count(Op::RecvMessage { socket, message: message.lend(), flags: 0 }, deadline)
}

pub(super) fn send_vectored(
    socket: RawSocket,
    buffers: &[IoSlice<'_>],
    deadline: Option<Instant>,
) -> io::Result<usize> {
    let buffers: Box<[IoSlice<'_>]> = buffers.into();
    let mut message = Box::new(SendMessage::new(&buffers));
    count(Op::SendMessage { socket, message: &mut message, flags: 0 }, deadline)
}

pub(super) fn send(socket: RawSocket, buffer: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
    count(Op::Send { socket, buffer, flags: 0, all: false }, deadline)
}

pub(super) fn send_to(
    socket: RawSocket,
    buffer: &[u8],
    address: Address,
    deadline: Option<Instant>,
) -> io::Result<usize> {
    let address = Box::new(address);
    let buffers = Box::new([IoSlice::new(buffer)]);
    let mut message = Box::new(SendMessage::new(&*buffers).to(&address));
    count(Op::SendMessage { socket, message: &mut message, flags: 0 }, deadline)
}

/// The methods of a datagram socket whose struct is `{ inner, read_timeout, write_timeout }`, `inner` being the standard
/// library's, that have to do with no address.
macro_rules! datagram {
    ($type:ident, $std:ty) => {
        impl $type {
            /// Receives a datagram from the connected peer; returns how many bytes. What is beyond the buffer is lost.
            ///
            /// # Errors
            /// `TimedOut` past the read time-out; what the system says.
            pub fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
                datagram::recv(raw_socket(&self.inner), buffer, 0, self.read_timeout.deadline())
            }

            /// Receives a datagram from the connected peer into several buffers, filled in order; returns how many bytes.
            /// What is beyond them is lost.
            ///
            /// # Errors
            #[doc = concat!("As for [`", stringify!($type), "::recv`].")]
            pub fn recv_vectored(&self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                datagram::recv_vectored(raw_socket(&self.inner), buffers, self.read_timeout.deadline())
            }

            /// Receives a datagram and leaves it there: it comes again.
            ///
            /// # Errors
            #[doc = concat!("As for [`", stringify!($type), "::recv`].")]
            pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
                datagram::recv(raw_socket(&self.inner), buffer, MSG_PEEK, self.read_timeout.deadline())
            }

            /// Sends a datagram to the connected peer; returns how many bytes.
            ///
            /// # Errors
            /// `ConnectionRefused` where the peer was found not to be there; what the system says.
            pub fn send(&self, buffer: &[u8]) -> io::Result<usize> {
                datagram::send(raw_socket(&self.inner), buffer, self.write_timeout.deadline())
            }

            /// Sends what is in several buffers as one datagram to the connected peer; returns how many bytes.
            ///
            /// # Errors
            #[doc = concat!("As for [`", stringify!($type), "::send`].")]
            pub fn send_vectored(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                datagram::send_vectored(raw_socket(&self.inner), buffers, self.write_timeout.deadline())
            }
        }

        handle::two_way!($type, $std);
    };
}

pub(super) use datagram;
