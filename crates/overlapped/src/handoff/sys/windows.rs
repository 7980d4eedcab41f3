//! Windows: nothing so far. What it wants is `WSADuplicateSocketW`, whose result goes over a pipe that is the worker's
//! standard input.

use std::io;
use std::os::windows::io::OwnedSocket as StdOwnedSocket;

use super::Received;
use crate::net::NamedPipeStream;
use crate::process::{Child, Command};

/// A socket that somebody owns: what is given, and what a worker gets.
pub type OwnedSocket = StdOwnedSocket;

pub(in crate::handoff) type Stream = NamedPipeStream;

fn unsupported() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "sockets are not handed to other processes on Windows so far")
}

/// Starts a worker, and returns the server's end of its channel.
pub(in crate::handoff) fn start(_command: Command) -> io::Result<(Child, Stream)> {
    Err(unsupported())
}

/// A worker's end of its channel.
pub(in crate::handoff) fn inherited() -> io::Result<Stream> {
    Err(unsupported())
}

/// Sends bytes, with a socket along with the first of them.
pub(in crate::handoff) fn send(_stream: &Stream, _bytes: &[u8], _socket: Option<&OwnedSocket>) -> io::Result<()> {
    Err(unsupported())
}

/// Receives what is there, with at most so many sockets.
pub(in crate::handoff) fn receive(_stream: &Stream, _buffer: &mut [u8], _most: usize) -> io::Result<Received> {
    Err(unsupported())
}

/// Sends nothing more.
pub(in crate::handoff) fn end(_stream: &Stream) {}

/// Lets a receive end with what has come.
pub(in crate::handoff) fn cut(_stream: &Stream) {}

/// Whether a socket takes connections.
pub(in crate::handoff) fn listens(_socket: &OwnedSocket) -> bool {
    false
}
