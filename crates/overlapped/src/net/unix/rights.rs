//! Descriptors that go along with bytes: sockets, files and pipes given to another process.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Instant;

use overlapped_port::sys::{RawSocket, raw_socket};
use overlapped_port::{MOST_DESCRIPTORS, NOT_INHERITED, Op, RecvMessage, Rights, SendMessage};

use super::{UnixDatagram, UnixStream};
use crate::blocking::count;
use crate::time::deadline_after;

/// Bytes that were received with descriptors.
pub struct WithFds {
    /// How many bytes are in the buffer; 0 at the end of a stream.
    pub length: usize,
    /// The descriptors, closed when dropped; not inherited by child processes.
    pub fds: Vec<OwnedFd>,
    /// Whether some descriptors were lost for want of room: the system has closed them.
    pub fds_truncated: bool,
    /// Whether a datagram was longer than the buffer: its tail is lost.
    pub truncated: bool,
}

impl fmt::Debug for WithFds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithFds")
            .field("length", &self.length)
            .field("fds", &self.fds.len())
            .field("fds_truncated", &self.fds_truncated)
            .field("truncated", &self.truncated)
            .finish()
    }
}

macro_rules! passes_fds {
    ($type:ident) => {
        impl $type {
            /// Sends bytes and, with the first of them, descriptors: the other side gets descriptors of its own for the
            /// same files and sockets (unix(7), `SCM_RIGHTS`). Returns how many bytes were taken, perhaps fewer than
            /// given; the descriptors have gone along then, and the rest is to be sent without.
            ///
            /// # Errors
            /// `InvalidInput` for more than 253 descriptors, and for descriptors without a byte to go with; `TimedOut` past
            /// the write time-out; what the system says: none of the descriptors was sent then.
            pub fn send_with_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
                send(raw_socket(self), bytes, fds, self.write_timeout()?.map(deadline_after))
            }

            /// Receives bytes and the descriptors that came with them, room for `most` of which is made. A receive that makes
            /// none takes the bytes, and the system closes the descriptors.
            ///
            /// # Errors
            /// `TimedOut` past the read time-out; what the system says.
            pub fn recv_with_fds(&self, buffer: &mut [u8], most: usize) -> io::Result<WithFds> {
                recv(raw_socket(self), buffer, most, self.read_timeout()?.map(deadline_after))
            }
        }
    };
}

passes_fds!(UnixStream);
passes_fds!(UnixDatagram);

fn send(socket: RawSocket, bytes: &[u8], fds: &[BorrowedFd<'_>], deadline: Option<Instant>) -> io::Result<usize> {
    if fds.len() > MOST_DESCRIPTORS || (bytes.is_empty() && !fds.is_empty()) {
        let message = format!(
            "{} descriptors with {} bytes: at most {MOST_DESCRIPTORS} go with at least one",
            fds.len(),
            bytes.len()
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let rights = Rights::of(fds);
    let buffers = Box::new([IoSlice::new(bytes)]);
    let mut message = Box::new(SendMessage::new(&*buffers).with_control(rights.bytes()));
    count(Op::SendMessage { socket, message: &mut message, flags: 0 }, deadline)
}

fn recv(socket: RawSocket, buffer: &mut [u8], most: usize, deadline: Option<Instant>) -> io::Result<WithFds> {
    let mut rights = Rights::room(most);
    let mut buffers = Box::new([IoSliceMut::new(buffer)]);
    let mut message = Box::new(RecvMessage::new(&mut *buffers).with_control(rights.bytes_mut()));
    let length = count(Op::RecvMessage { socket, message: message.lend(), flags: NOT_INHERITED }, deadline)?;
    Ok(WithFds {
        length,
        fds: message.take_descriptors(),
        fds_truncated: message.control_truncated(),
        truncated: message.truncated(),
    })
}
