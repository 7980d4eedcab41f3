//! Unix: a socket pair, one end of which is the worker's standard input; descriptors by `SCM_RIGHTS` (unix(7)).

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use socket2::{SockRef, Type};

use super::Received;
use crate::handoff::wire::VARIABLE;
use crate::net::{Shutdown, UnixStream};
use crate::process::{Child, Command};

/// A socket that somebody owns: what is given, and what a worker gets.
pub type OwnedSocket = OwnedFd;

pub(crate) type Stream = UnixStream;

/// How many bytes of a `give` are about the socket: it comes along.
pub(in crate::handoff) const TOLD: usize = 0;

/// Starts a worker, and returns the server's end of its channel.
pub(in crate::handoff) fn start(mut command: Command) -> io::Result<(Child, Stream)> {
    let (ours, theirs) = UnixStream::pair()?;
    command.stdin(OwnedFd::from(theirs)).env(VARIABLE, "0").kill_on_drop(true);
    // Their end goes with the command: the worker alone has it then, and its end is seen.
    Ok((command.spawn()?, ours))
}

/// A worker's end of its channel.
pub(in crate::handoff) fn inherited() -> io::Result<Stream> {
    let number = std::env::var(VARIABLE).map_err(|_| none(format!("{VARIABLE} is not set")))?;
    let number: RawFd = number
        .parse()
        .ok()
        .filter(|number| *number >= 0)
        .ok_or_else(|| none(format!("{VARIABLE} is {number:?}, which is no descriptor's number")))?;
    let channel = duplicate(number).map_err(|error| none(format!("descriptor {number}: {error}")))?;
    let channel = unix_stream(channel).ok_or_else(|| none(format!("descriptor {number} is no Unix stream socket")))?;
    put_nothing_at(number)?;
    Ok(channel)
}

/// The descriptor as the stream that it is, if it is a Unix stream socket.
pub(crate) fn unix_stream(descriptor: OwnedFd) -> Option<UnixStream> {
    let socket = SockRef::from(&descriptor);
    let is_unix = socket.local_addr().is_ok_and(|address| address.is_unix());
    (is_unix && socket.r#type().ok() == Some(Type::STREAM)).then(|| descriptor.into())
}

/// Puts `/dev/null` in the place of the channel, so that this process's own children get no end of it.
pub(crate) fn put_nothing_at(number: RawFd) -> io::Result<()> {
    replace(number, File::open("/dev/null")?.as_fd())
}

fn none(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("this process was not started as a worker: {why}"))
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

/// What a hello says of the process that sends it: a descriptor finds its way without.
pub(in crate::handoff) fn process() -> Option<u32> {
    None
}

/// Learns what a worker's hello said of its process.
pub(in crate::handoff) fn is_process(_stream: &Stream, _process: Option<u32>) {}

/// The bytes of a `give` that are about the socket.
pub(in crate::handoff) fn tell(_stream: &Stream, _socket: &OwnedSocket) -> [u8; TOLD] {
    []
}

/// The socket of a `give` with such bytes, of those that came along: `Some(None)` for one that was lost, `None` where
/// the frame has none.
pub(in crate::handoff) fn own(_told: &[u8], came: &mut VecDeque<Option<OwnedSocket>>) -> Option<Option<OwnedSocket>> {
    came.pop_front()
}

/// Sends bytes, with a socket along with the first of them.
pub(in crate::handoff) fn send(stream: &Stream, bytes: &[u8], socket: Option<&OwnedSocket>) -> io::Result<()> {
    let sockets: Vec<_> = socket.iter().map(|socket| socket.as_fd()).collect();
    let mut sent = stream.send_with_fds(bytes, &sockets)?;
    while sent < bytes.len() {
        sent += stream.send_with_fds(&bytes[sent..], &[])?;
    }
    Ok(())
}

/// Receives what is there, with at most so many sockets.
pub(in crate::handoff) fn receive(stream: &Stream, buffer: &mut [u8], most: usize) -> io::Result<Received> {
    match stream.recv_with_fds(buffer, most) {
        Ok(got) => Ok(Received { length: got.length, sockets: got.fds, lost: got.fds_truncated }),
        // It has ended with something unread; all that it had written was read before.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
            Ok(Received { length: 0, sockets: Vec::new(), lost: false })
        }
        Err(error) => Err(error),
    }
}

/// Sends nothing more.
pub(in crate::handoff) fn end(stream: &Stream) {
    // One whose other side is gone has ended anyway.
    let _ = stream.shutdown(Shutdown::Write);
}

/// Lets a receive end with what has come.
pub(in crate::handoff) fn cut(stream: &Stream) {
    let _ = stream.shutdown(Shutdown::Both);
}

/// Whether a socket takes connections.
#[allow(unsafe_code, reason = "socket2 asks Linux alone")]
pub(in crate::handoff) fn listens(socket: &OwnedSocket) -> bool {
    let (mut value, mut length) = (0_i32, size_of::<i32>() as libc::socklen_t);
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ACCEPTCONN);
    // SAFETY: both places live through the call, and the length is that of the first.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
    result == 0 && value != 0
}
