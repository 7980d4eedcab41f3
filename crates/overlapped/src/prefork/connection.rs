//! A connection in the hands of a worker.

use std::fmt;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::Duration;

use super::desk::{Desk, Phase};
use super::sys::Stream;
use crate::net::Shutdown;
use crate::time::timeout;
use crate::workers::sys::{OwnedSocket, borrow};

/// What is read at once.
const ROOM: usize = 8 * 1024;

/// A connection that a worker serves: one that it has accepted, or one that another worker has given away, with the bytes
/// that were read from it and belong to no answered request. Those come first here, as if they had come just now.
///
/// Reads and writes as a stream; [`Connection::read_more`] is the read that a worker which is to drain leaves. Closed when
/// dropped.
pub struct Connection {
    stream: Stream,
    listener: u16,
    unread: Vec<u8>,
    desk: Rc<Desk>,
}

/// What [`Connection::read_more`] has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    /// So many bytes were added.
    Bytes(usize),
    /// Nothing more comes, or nothing more is to be served: the client has ended its side, or the server stops and nothing
    /// of a request is here.
    End,
    /// This worker is to end, and another one serves on: [`give`](Connection::give) the connection away, with what is here
    /// of a request.
    Move,
}

/// A connection that could not be given away. Its worker serves it on, or closes it.
#[derive(Debug)]
pub struct NotGiven {
    /// Why.
    pub error: io::Error,
    /// The connection, whose unread bytes come first in it again; `None` where a tasklet that waited was told to leave:
    /// it is on its way then.
    pub connection: Option<Connection>,
}

impl Connection {
    pub(super) fn new(stream: Stream, listener: u16, unread: Vec<u8>, desk: Rc<Desk>) -> Connection {
        Connection { stream, listener, unread, desk }
    }

    /// The name of the listener that it came through.
    pub fn listener(&self) -> &str {
        self.desk.name_of(self.listener)
    }

    /// Waits for more of a request, and adds it to `request`, which holds what is here of the current one: nothing between
    /// requests. While the worker serves it waits as a read does. From the time that the worker is to drain it says
    /// [`More::Move`] at once, or, where the whole server stops, [`More::End`] between requests, and waits on for the rest
    /// of one that has begun. No byte is lost by that: what it had is added, and what it had not stays in the socket.
    ///
    /// # Errors
    /// As for a read.
    pub fn read_more(&mut self, request: &mut Vec<u8>) -> io::Result<More> {
        let before = request.len();
        let more = self.add_more(request)?;
        if before == 0 && matches!(more, More::Bytes(_)) {
            self.desk.begins_request();
        }
        Ok(more)
    }

    fn add_more(&mut self, request: &mut Vec<u8>) -> io::Result<More> {
        if !self.unread.is_empty() {
            let length = self.unread.len();
            request.append(&mut self.unread);
            return Ok(More::Bytes(length));
        }
        let before = request.len();
        loop {
            let phase = self.desk.phase();
            if phase == Phase::Moving {
                return Ok(More::Move);
            }
            request.resize(before + ROOM, 0);
            let (mut stream, room) = (&self.stream, &mut request[before..]);
            let read = match phase {
                Phase::Stopping if before > 0 => stream.read(room).map(Some),
                // What has come already is a request that was made before the server stopped.
                Phase::Stopping => timeout(Duration::ZERO, || stream.read(room)).unwrap_or(Ok(0)).map(Some),
                Phase::Serving | Phase::Moving => self.desk.bell.until_rung(|| stream.read(room)),
            };
            request.truncate(before + *read.as_ref().ok().and_then(Option::as_ref).unwrap_or(&0));
            match read? {
                Some(0) => return Ok(More::End),
                Some(length) => return Ok(More::Bytes(length)),
                // The phase is another one now.
                None => {}
            }
        }
    }

    /// Gives the connection to another worker, the newest, with what was read of a request that is not answered
    /// ([`UNREAD_LIMIT`](super::UNREAD_LIMIT) at most): there it comes as if it had been accepted, and these bytes come
    /// first. Waits until the supervisor has it.
    ///
    /// # Errors
    /// [`NotGiven`], which has the connection: where the server stops, the supervisor is gone or has no descriptor left, or
    /// the bytes are too many.
    pub fn give(mut self, unread: &[u8]) -> Result<(), NotGiven> {
        self.unread.splice(0..0, unread.iter().copied());
        match self.desk.give(borrow(&self.stream), self.listener, &self.unread) {
            Ok(()) => Ok(()),
            Err(error) => {
                let interrupted = crate::interrupt::level_in(&error).is_some();
                Err(NotGiven { error, connection: (!interrupted).then_some(self) })
            }
        }
    }

    /// Ends one or both directions, as [`TcpStream::shutdown`](crate::net::TcpStream::shutdown).
    ///
    /// # Errors
    /// `NotConnected` where it is not connected, or no longer.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.stream.shutdown(how)
    }

    /// The system's socket, for a [`TcpStream`](crate::net::TcpStream), and the bytes that are to be read before it.
    pub fn into_socket(self) -> (OwnedSocket, Vec<u8>) {
        (self.stream.into_socket(), self.unread)
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            return (&mut &self.stream).read(buffer);
        }
        let length = self.unread.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.unread[..length]);
        self.unread.drain(..length);
        Ok(length)
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        (&mut &self.stream).write(buffer)
    }

    fn write_all(&mut self, buffer: &[u8]) -> io::Result<()> {
        (&mut &self.stream).write_all(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Connection {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        borrow(&self.stream)
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Connection {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        borrow(&self.stream)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unread = self.unread.len();
        f.debug_struct("Connection").field("stream", &self.stream).field("unread", &unread).finish()
    }
}

impl fmt::Display for NotGiven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a connection was not given away: {}", self.error)
    }
}

impl std::error::Error for NotGiven {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<NotGiven> for io::Error {
    fn from(not_given: NotGiven) -> io::Error {
        not_given.error
    }
}
