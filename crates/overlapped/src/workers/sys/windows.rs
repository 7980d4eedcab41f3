//! Windows: a pipe that is the worker's standard input; sockets by WSADuplicateSocketW.
//!
//! What that call returns is for one process and for one use, and goes within the frame. So each side that is to get
//! sockets says first which process it is: the one that was started may only have started the worker, as a virtual
//! environment's `python.exe` does. Bytes that are all zeroes tell of a socket that could not be shared: who is alive
//! gives it back.
//!
//! A pipe's two directions end together, so who sends nothing more has to say so. A pipe whose other end is open in a
//! worker's child has no end at all; DisconnectNamedPipe would make one, and throw away what the dead worker had said.
//! So the cut ends the read that waits, and what is there is read until nothing is.
//!
//! A socket that was used on this process's port stays associated with it, see [`shared`]: the worker's operations have
//! an event each. One that was accepted and given away with nothing read is the worker's port's.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::windows::io::{self as system, AsHandle, AsSocket};
use std::process::Stdio;

use overlapped_port::sys::{CANCELLED, shared};

use super::{Received, none};
use crate::net::NamedPipeStream;
use crate::process::{Child, Command};

/// A socket that somebody owns: what is given, and what a worker gets.
pub type OwnedSocket = system::OwnedSocket;

/// A socket that somebody else owns.
pub(crate) type BorrowedSocket<'a> = system::BorrowedSocket<'a>;

/// Borrows a socket, of whatever kind.
pub(crate) fn borrow(socket: &impl AsSocket) -> BorrowedSocket<'_> {
    socket.as_socket()
}

pub(crate) struct Stream {
    pipe: NamedPipeStream,
    /// The process at the other end, where it gets sockets.
    process: Cell<u32>,
    is_cut: Cell<bool>,
}

#[cfg(test)]
impl Stream {
    /// The two ends of a channel within this process.
    pub(crate) fn pair() -> io::Result<(Stream, Stream)> {
        let end = |pipe: std::os::windows::io::OwnedHandle| Stream {
            pipe: pipe.into(),
            process: Cell::new(std::process::id()),
            is_cut: Cell::default(),
        };
        shared::private_pipe().map(|(ours, theirs)| (end(ours), end(theirs)))
    }
}

/// How many bytes of a frame are about its socket: a `WSAPROTOCOL_INFOW`.
pub(crate) const TOLD: usize = shared::TOLD;

/// Starts a worker, and returns this process's end of its channel; the variable of its environment says where its own is.
pub(crate) fn start(mut command: Command, variable: &str) -> io::Result<(Child, Stream)> {
    let (ours, theirs) = shared::private_pipe()?;
    // The standard library makes a copy that is inherited, for the time of this start, in which it makes no other.
    command.stdin(Stdio::from(theirs)).env(variable, "0").kill_on_drop(true);
    // Their end goes with the command: the worker alone has it then, and its end is seen.
    let child = command.spawn()?;
    let stream = Stream { pipe: ours.into(), process: Cell::new(child.id()), is_cut: Cell::default() };
    Ok((child, stream))
}

/// A worker's end of its channel.
pub(crate) fn inherited(variable: &str) -> io::Result<Stream> {
    let number = std::env::var(variable).map_err(|_| none(format!("{variable} is not set")))?;
    if number != "0" {
        return Err(none(format!("{variable} is {number:?}, which is not standard input's number")));
    }
    let channel = standard_input()?.ok_or_else(|| none("standard input is no pipe"))?;
    Ok(Stream { pipe: channel, process: Cell::default(), is_cut: Cell::default() })
}

#[allow(unsafe_code, reason = "the standard library owns no standard handle")]
fn standard_input() -> io::Result<Option<NamedPipeStream>> {
    // SAFETY: it is the channel, which whoever started this process has given to this function alone.
    let channel = unsafe { shared::take_standard_input() }?;
    Ok(channel.map(NamedPipeStream::from))
}

/// What the two sides' first words say of their processes: for these, sockets are shared.
pub(crate) fn process() -> Option<u32> {
    Some(std::process::id())
}

/// Learns what the other side has said of its process.
pub(crate) fn is_process(stream: &Stream, process: Option<u32>) {
    stream.process.set(process.unwrap_or(stream.process.get()));
}

/// The bytes of a frame that are about its socket.
pub(crate) fn tell(stream: &Stream, socket: BorrowedSocket<'_>) -> [u8; TOLD] {
    shared::share_socket(socket, stream.process.get()).unwrap_or([0; TOLD])
}

/// The socket of a frame with such bytes, of those that came along: `Some(None)` for one that was lost, `None` where the
/// frame has none.
#[allow(unsafe_code, reason = "a handle comes as a number within bytes")]
pub(crate) fn own(told: &[u8], _came: &mut VecDeque<Option<OwnedSocket>>) -> Option<Option<OwnedSocket>> {
    let told = told.try_into().ok()?;
    if told == [0; TOLD] {
        return Some(None);
    }
    // SAFETY: the bytes are those of `tell`, which came to this process alone, and are used here alone: the channel's
    // other end is that of the process that started this one, or of one that this has started as its worker.
    Some(unsafe { shared::shared_socket(&told) }.ok())
}

/// Sends bytes; the socket is told of in them. Left in the middle, the channel has ended: half a frame is none.
pub(crate) fn send(stream: &Stream, bytes: &[u8], _socket: Option<BorrowedSocket<'_>>) -> io::Result<()> {
    if stream.is_cut.get() {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    // How much of it has gone is not known.
    (&stream.pipe).write_all(bytes).inspect_err(|_| cut(stream))
}

/// Receives what is there; no sockets come along.
pub(crate) fn receive(stream: &Stream, buffer: &mut [u8], _most: usize) -> io::Result<Received> {
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

/// Sends nothing more; returns whether the other side finds out by that.
pub(crate) fn end(_stream: &Stream) -> bool {
    false
}

/// Lets a receive end with what has come.
pub(crate) fn cut(stream: &Stream) {
    stream.is_cut.set(true);
    shared::end_calls(stream.pipe.as_handle());
}
