//! Streams of bytes: what TCP and Unix streams have in common.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::time::Instant;

use overlapped_port::sys::RawSocket;
use overlapped_port::{Op, RecvMessage, SendMessage};

use crate::blocking::{MOST_BUFFERS, count, fillable};
use crate::scheduler;

pub(super) fn recv(socket: RawSocket, buffer: &mut [u8], flags: i32, deadline: Option<Instant>) -> io::Result<usize> {
    // The system would wait for a byte before it gives none.
    if buffer.is_empty() {
        return Ok(0);
    }
    count(Op::Recv { socket, buffer: fillable(buffer), flags }, deadline)
}

/// Ends one or both directions. On Windows the system leaves a receive that waits waiting, and the port ends it; outside
/// of tasklets, and elsewhere, `direct` does it all.
pub(super) fn shutdown(socket: RawSocket, how: Shutdown, direct: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    if cfg!(windows) && scheduler::current().is_ok_and(|scheduler| !scheduler.is_between()) {
        return count(Op::Shutdown { socket, how }, None).map(drop);
    }
    direct()
}

pub(super) fn recv_vectored(
    socket: RawSocket,
    buffers: &mut [IoSliceMut<'_>],
    deadline: Option<Instant>,
) -> io::Result<usize> {
    if buffers.iter().all(|buffer| buffer.is_empty()) {
        return Ok(0);
    }
    let mut buffers: Box<[IoSliceMut<'_>]> =
        buffers.iter_mut().take(MOST_BUFFERS).map(|buffer| IoSliceMut::new(buffer)).collect();
    let mut message = Box::new(RecvMessage::new(&mut buffers));
    count(Op::RecvMessage { socket, message: message.lend(), flags: 0 }, deadline)
}

pub(super) fn send(socket: RawSocket, buffer: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
    if buffer.is_empty() {
        return Ok(0);
    }
    count(Op::Send { socket, buffer, flags: 0, all: false }, deadline)
}

/// Sends all. `deadline` gives the end of each wait: a peer that goes on taking something is not given up.
pub(super) fn send_all(socket: RawSocket, mut buffer: &[u8], deadline: impl Fn() -> Option<Instant>) -> io::Result<()> {
    while !buffer.is_empty() {
        match count(Op::Send { socket, buffer, flags: 0, all: true }, deadline())? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            sent => buffer = &buffer[sent..],
        }
    }
    Ok(())
}

pub(super) fn send_vectored(
    socket: RawSocket,
    buffers: &[IoSlice<'_>],
    deadline: Option<Instant>,
) -> io::Result<usize> {
    if buffers.iter().all(|buffer| buffer.is_empty()) {
        return Ok(0);
    }
    let buffers: Box<[IoSlice<'_>]> = buffers.iter().take(MOST_BUFFERS).copied().collect();
    let mut message = Box::new(SendMessage::new(&buffers));
    count(Op::SendMessage { socket, message: &mut message, flags: 0 }, deadline)
}

/// The methods and traits of a stream whose struct is `{ inner, read_timeout, write_timeout }`, `inner` being the
/// standard library's.
macro_rules! stream {
    ($type:ident, $std:ty) => {
        impl $type {
            /// Receives without taking: the same bytes come again. Waits like a read; returns how many bytes.
            ///
            /// # Errors
            /// As for a read.
            pub fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
                stream::recv(raw_socket(&self.inner), buffer, MSG_PEEK, self.read_timeout.deadline())
            }

            /// Ends one or both directions. Whoever waits in one of them goes on: a read finds the end of the stream.
            ///
            /// # Errors
            /// `NotConnected` where it is not connected, or no longer.
            pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                stream::shutdown(raw_socket(&self.inner), how, || overlapped_port::socket::shutdown(&self.inner, how))
            }

            /// Ends the stream in good order: the other end gets all that was sent and finds the end of the stream;
            /// then this waits for it to end its side, within the read time-out. What it still sends is thrown away.
            ///
            /// Dropping the stream is enough where the other end sends nothing more. Where it does, the system answers
            /// that with a reset, which can take from it what it has not read yet: so a server that answers before it
            /// has read the whole request ends the stream like this.
            ///
            /// # Errors
            /// `TimedOut` where the other end does not end its side: drop the stream then. `ConnectionReset`;
            /// `NotConnected` where it is not connected.
            pub fn disconnect(&self) -> io::Result<()> {
                let op = Op::Disconnect { socket: raw_socket(&self.inner) };
                count(op, self.read_timeout.deadline()).map(drop)
            }
        }

        impl $type {
            /// Divides it into two halves for two owners: one reads, one writes and ends its direction when it is dropped.
            /// See [`Duplex::into_split`](crate::net::Duplex::into_split).
            pub fn into_split(self) -> (OwnedReadHalf<$type>, OwnedWriteHalf<$type>) {
                Duplex::into_split(self)
            }

            /// Lends it as two halves: one reads, one writes.
            pub fn split(&self) -> (ReadHalf<'_, $type>, WriteHalf<'_, $type>) {
                Duplex::split(self)
            }
        }

        impl Duplex for $type {
            fn reader(&self) -> impl Read {
                self
            }

            fn writer(&self) -> impl Write {
                self
            }

            fn shutdown(&self, how: Shutdown) -> io::Result<()> {
                self.shutdown(how)
            }
        }

        impl Read for &$type {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                stream::recv(raw_socket(&self.inner), buffer, 0, self.read_timeout.deadline())
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                stream::recv_vectored(raw_socket(&self.inner), buffers, self.read_timeout.deadline())
            }
        }

        impl Write for &$type {
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                stream::send(raw_socket(&self.inner), buffer, self.write_timeout.deadline())
            }

            fn write_all(&mut self, buffer: &[u8]) -> io::Result<()> {
                stream::send_all(raw_socket(&self.inner), buffer, || self.write_timeout.deadline())
            }

            fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                stream::send_vectored(raw_socket(&self.inner), buffers, self.write_timeout.deadline())
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        impl Read for $type {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                (&*self).read(buffer)
            }

            fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
                (&*self).read_vectored(buffers)
            }
        }

        impl Write for $type {
            fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
                (&*self).write(buffer)
            }

            fn write_all(&mut self, buffer: &[u8]) -> io::Result<()> {
                (&*self).write_all(buffer)
            }

            fn write_vectored(&mut self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                (&*self).write_vectored(buffers)
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }

        handle::two_way!($type, $std);
    };
}

pub(super) use stream;
