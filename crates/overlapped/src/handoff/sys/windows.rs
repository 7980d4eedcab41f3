//! Windows: a pipe that is the worker's standard input; sockets by WSADuplicateSocketW.
//!
//! What that call returns is for one process and for one use, and goes within the frame. The worker says in its hello
//! which process it is: the one that was started may only have started it, as a virtual environment's `python.exe`
//! does. Bytes that are all zeroes tell of a socket that could not be shared: a worker that is alive gives it back.
//!
//! A pipe's two directions end together, so `end` is a frame of its own here. A pipe whose other end is open in a
//! worker's child has no end at all; DisconnectNamedPipe would make one, and throw away what the dead worker had said.
//! So the cut ends the read that waits, and what is there is read until nothing is.
//!
//! A socket that was used on this process's port stays associated with it, see [`shared`]: the worker's operations have
//! an event each. One that was accepted and given away with nothing read is the worker's port's.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::windows::io::{AsHandle, AsSocket, OwnedSocket as StdOwnedSocket};
use std::process::Stdio;

use overlapped_port::sys::{CANCELLED, shared};

use super::Received;
use crate::handoff::wire::{Message, VARIABLE};
use crate::net::NamedPipeStream;
use crate::process::{Child, Command};

/// A socket that somebody owns: what is given, and what a worker gets.
pub type OwnedSocket = StdOwnedSocket;

pub(crate) struct Stream {
    pipe: NamedPipeStream,
    /// The process at the other end, in a server.
    process: Cell<u32>,
    is_cut: Cell<bool>,
}

#[cfg(test)]
impl Stream {
    /// The two ends of a channel within this process.
    pub(in crate::handoff) fn pair() -> io::Result<(Stream, Stream)> {
        let end = |pipe: std::os::windows::io::OwnedHandle| Stream {
            pipe: pipe.into(),
            process: Cell::new(std::process::id()),
            is_cut: Cell::default(),
        };
        shared::private_pipe().map(|(ours, theirs)| (end(ours), end(theirs)))
    }
}

/// How many bytes of a `give` are about the socket: a `WSAPROTOCOL_INFOW`.
pub(in crate::handoff) const TOLD: usize = shared::TOLD;

/// Starts a worker, and returns the server's end of its channel.
pub(in crate::handoff) fn start(mut command: Command) -> io::Result<(Child, Stream)> {
    let (ours, theirs) = shared::private_pipe()?;
    // The standard library makes a copy that is inherited, for the time of this start, in which it makes no other.
    command.stdin(Stdio::from(theirs)).env(VARIABLE, "0").kill_on_drop(true);
    // Their end goes with the command: the worker alone has it then, and its end is seen.
    let child = command.spawn()?;
    let stream = Stream { pipe: ours.into(), process: Cell::new(child.id()), is_cut: Cell::default() };
    Ok((child, stream))
}

/// A worker's end of its channel.
pub(in crate::handoff) fn inherited() -> io::Result<Stream> {
    let number = std::env::var(VARIABLE).map_err(|_| none(format!("{VARIABLE} is not set")))?;
    if number != "0" {
        return Err(none(format!("{VARIABLE} is {number:?}, which is not standard input's number")));
    }
    let channel = standard_input()?.ok_or_else(|| none("standard input is no pipe".to_owned()))?;
    Ok(Stream { pipe: channel, process: Cell::default(), is_cut: Cell::default() })
}

fn none(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("this process was not started as a worker: {why}"))
}

#[allow(unsafe_code, reason = "the standard library owns no standard handle")]
fn standard_input() -> io::Result<Option<NamedPipeStream>> {
    // SAFETY: it is the channel, which whoever started this process has given to this function alone.
    let channel = unsafe { shared::take_standard_input() }?;
    Ok(channel.map(NamedPipeStream::from))
}

/// What a hello says of the process that sends it: for that one, sockets are shared.
pub(in crate::handoff) fn process() -> Option<u32> {
    Some(std::process::id())
}

/// Learns what a worker's hello said of its process.
pub(in crate::handoff) fn is_process(stream: &Stream, process: Option<u32>) {
    stream.process.set(process.unwrap_or(stream.process.get()));
}

/// The bytes of a `give` that are about the socket.
pub(in crate::handoff) fn tell(stream: &Stream, socket: &OwnedSocket) -> [u8; TOLD] {
    shared::share_socket(socket.as_socket(), stream.process.get()).unwrap_or([0; TOLD])
}

/// The socket of a `give` with such bytes, of those that came along: `Some(None)` for one that was lost, `None` where
/// the frame has none.
#[allow(unsafe_code, reason = "a handle comes as a number within bytes")]
pub(in crate::handoff) fn own(told: &[u8], _came: &mut VecDeque<Option<OwnedSocket>>) -> Option<Option<OwnedSocket>> {
    let told = told.try_into().ok()?;
    if told == [0; TOLD] {
        return Some(None);
    }
    // SAFETY: the bytes are those of `tell`, which came to this process alone, and are used here alone: the channel's
    // other end is that of the process that started this one.
    Some(unsafe { shared::shared_socket(&told) }.ok())
}

/// Sends bytes; the socket is told of in them.
pub(in crate::handoff) fn send(stream: &Stream, bytes: &[u8], _socket: Option<&OwnedSocket>) -> io::Result<()> {
    (&stream.pipe).write_all(bytes)
}

/// Receives what is there; no sockets come along.
pub(in crate::handoff) fn receive(stream: &Stream, buffer: &mut [u8], _most: usize) -> io::Result<Received> {
    loop {
        let is_over = stream.is_cut.get() && shared::readable(stream.pipe.as_handle()).unwrap_or(0) == 0;
        let result = if is_over { Ok(0) } else { (&stream.pipe).read(buffer) };
        match result {
            // The cut has ended it, and nobody has told the tasklet to leave; something may be there.
            Err(error) if stream.is_cut.get() && error.raw_os_error() == Some(CANCELLED) => {}
            result => return result.map(|length| Received { length, sockets: Vec::new(), lost: false }),
        }
    }
}

/// Sends nothing more.
pub(in crate::handoff) fn end(stream: &Stream) {
    let Ok(bytes) = Message::End.to_bytes() else { unreachable!("it is short") };
    // One whose other side is gone has ended anyway.
    let _ = send(stream, &bytes, None);
}

/// Lets a receive end with what has come.
pub(in crate::handoff) fn cut(stream: &Stream) {
    stream.is_cut.set(true);
    shared::end_calls(stream.pipe.as_handle());
}

/// Whether a socket takes connections.
pub(in crate::handoff) fn listens(socket: &OwnedSocket) -> bool {
    shared::listens(socket.as_socket())
}
