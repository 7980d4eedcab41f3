//! Unix: a socket pair, one end of which is the worker's standard input; descriptors by `SCM_RIGHTS` (unix(7)).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{SockRef, Type};

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
    let channel = duplicate(number).map_err(|error| none(format!("descriptor {number}: {error}")))?;
    let channel = unix_stream(channel).ok_or_else(|| none(format!("descriptor {number} is no Unix stream socket")))?;
    put_nothing_at(number)?;
    Ok(channel)
}

/// The descriptor as the stream that it is, if it is a Unix stream socket.
fn unix_stream(descriptor: OwnedFd) -> Option<UnixStream> {
    let socket = SockRef::from(&descriptor);
    let is_unix = socket.local_addr().is_ok_and(|address| address.is_unix());
    (is_unix && socket.r#type().ok() == Some(Type::STREAM)).then(|| descriptor.into())
}

/// Puts `/dev/null` in the place of the channel, so that this process's own children get no end of it.
fn put_nothing_at(number: RawFd) -> io::Result<()> {
    replace(number, File::open("/dev/null")?.as_fd())
}

#[allow(unsafe_code, reason = "the number of a descriptor comes from the environment")]
fn duplicate(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the number is used for the call alone, which fails where nothing is open under it.
    unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()
}

#[allow(unsafe_code, reason = "the standard library replaces no descriptor")]
fn replace(number: RawFd, with: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the number is that of the channel, which whoever started this process has given to this function alone.
    if unsafe { libc::dup2(with.as_raw_fd(), number) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
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

/// Whether a socket takes connections.
#[allow(unsafe_code, reason = "socket2 asks Linux alone")]
pub(crate) fn listens(socket: &OwnedSocket) -> bool {
    let (mut value, mut length) = (0_i32, size_of::<i32>() as libc::socklen_t);
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ACCEPTCONN);
    // SAFETY: both places live through the call, and the length is that of the first.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
    result == 0 && value != 0
}
