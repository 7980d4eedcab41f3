//! Unix: a socket pair, one end of which is the worker's standard input; descriptors by `SCM_RIGHTS` (unix(7)).

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};

use overlapped_port::sys::inherited;

use super::{Received, none};
use crate::net::{Shutdown, UnixStream};
use crate::process::{Child, Command};

/// A socket that somebody owns: what is given, and what a worker gets.
pub type OwnedSocket = OwnedFd;

/// A socket that somebody else owns.
pub(crate) type BorrowedSocket<'a> = BorrowedFd<'a>;

/// Borrows a socket, of whatever kind.
pub(crate) fn borrow(socket: &impl AsFd) -> BorrowedSocket<'_> {
    socket.as_fd()
}

pub(crate) type Stream = UnixStream;

/// How many bytes of a frame are about its socket: it comes along.
pub(crate) const TOLD: usize = 0;

/// Starts a worker, and returns this process's end of its channel; the variable of its environment says where its own is.
pub(crate) fn start(mut command: Command, variable: &str) -> io::Result<(Child, Stream)> {
    let (ours, theirs) = UnixStream::pair()?;
    command.stdin(OwnedFd::from(theirs)).env(variable, "0").kill_on_drop(true);
    // Their end goes with the command: the worker alone has it then, and its end is seen.
    Ok((command.spawn()?, ours))
}

/// A worker's end of its channel.
pub(crate) fn inherited(variable: &str) -> io::Result<Stream> {
    let number = std::env::var(variable).map_err(|_| none(format!("{variable} is not set")))?;
    let number: RawFd = number
        .parse()
        .ok()
        .filter(|number| *number >= 0)
        .ok_or_else(|| none(format!("{variable} is {number:?}, which is no descriptor's number")))?;
    let channel = take_stream(number).map_err(|error| none(format!("descriptor {number}: {error}")))?;
    channel.map(UnixStream::from).ok_or_else(|| none(format!("descriptor {number} is no Unix stream socket")))
}

#[allow(unsafe_code, reason = "the number of a descriptor comes from the environment")]
fn take_stream(number: RawFd) -> io::Result<Option<OwnedFd>> {
    // SAFETY: the number is that of the channel, which whoever started this process has given to this function alone.
    unsafe { inherited::take_stream(number) }
}

/// What the two sides' first words say of their processes: a descriptor finds its way without.
pub(crate) fn process() -> Option<u32> {
    None
}

/// Learns what the other side has said of its process.
pub(crate) fn is_process(_stream: &Stream, _process: Option<u32>) {}

/// The bytes of a frame that are about its socket.
pub(crate) fn tell(_stream: &Stream, _socket: BorrowedSocket<'_>) -> [u8; TOLD] {
    []
}

/// The socket of a frame with such bytes, of those that came along: `Some(None)` for one that was lost, `None` where the
/// frame has none.
pub(crate) fn own(_told: &[u8], came: &mut VecDeque<Option<OwnedSocket>>) -> Option<Option<OwnedSocket>> {
    came.pop_front()
}

/// Sends bytes, with a socket along with the first of them. Left in the middle, the channel has ended: half a frame is
/// none.
pub(crate) fn send(stream: &Stream, bytes: &[u8], socket: Option<BorrowedSocket<'_>>) -> io::Result<()> {
    let mut sent = 0;
    while sent < bytes.len() {
        let along = if sent == 0 { socket.as_slice() } else { &[] };
        match stream.send_with_fds(&bytes[sent..], along) {
            Ok(more) => sent += more,
            Err(error) => {
                if sent > 0 {
                    cut(stream);
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Receives what is there, with at most so many sockets.
pub(crate) fn receive(stream: &Stream, buffer: &mut [u8], most: usize) -> io::Result<Received> {
    match stream.recv_with_fds(buffer, most) {
        Ok(got) => Ok(Received { length: got.length, sockets: got.fds, lost: got.fds_truncated }),
        // It has ended with something unread; all that it had written was read before.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Ok(Received { length: 0, sockets: Vec::new(), lost: false })
        }
        Err(error) => Err(error),
    }
}

/// Sends nothing more; returns whether the other side finds out by that.
pub(crate) fn end(stream: &Stream) -> bool {
    // One whose other side is gone has ended anyway.
    let _ = stream.shutdown(Shutdown::Write);
    true
}

/// Lets a receive end with what has come.
pub(crate) fn cut(stream: &Stream) {
    let _ = stream.shutdown(Shutdown::Both);
}
