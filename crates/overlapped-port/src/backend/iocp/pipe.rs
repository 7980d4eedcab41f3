//! The server's end of a named pipe: waiting for its client. Reads and writes are those of [`file`](super::file).
//!
//! The end of a pipe that CreateNamedPipeW makes is open to a client from then on, so a client may be there, and may even
//! be gone again, before ConnectNamedPipe is called, which then *fails*: with `ERROR_PIPE_CONNECTED` or `ERROR_NO_DATA`,
//! and so without a packet ("ConnectNamedPipe"). Both are a client; what the one that has gone wrote can still be read.

use std::io;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_PIPE_CONNECTED, GetLastError};
use windows_sys::Win32::System::IO::OVERLAPPED;
use windows_sys::Win32::System::Pipes::ConnectNamedPipe;

use super::error::{self, Ending};
use super::handles::Facts;
use super::request::Request;
use super::{Call, Next};
use crate::sys::RawFile;

/// Makes the call; 0 or what it failed with.
///
/// # Safety
/// The handle and what `overlapped` points to must be valid until the call has ended.
unsafe fn connect(pipe: RawFile, overlapped: *mut OVERLAPPED) -> u32 {
    // SAFETY: the caller's promise.
    unsafe { if ConnectNamedPipe(pipe, overlapped) != 0 { 0 } else { error::file(GetLastError()) } }
}

/// Whether a client was there before the call.
fn was_there(code: u32) -> bool {
    code == ERROR_PIPE_CONNECTED || code == ERROR_NO_DATA
}

pub(super) fn issue_accept(request: &mut Request, pipe: RawFile, facts: Facts) -> Call {
    let overlapped = request.packet.prepare(request.id, 0, 0);
    // SAFETY: handle and packet stay valid until the packet has come.
    match unsafe { connect(pipe, overlapped) } {
        0 if facts.skips => Call::Ended(Ending::done(0)),
        0 | ERROR_IO_PENDING => Call::InFlight,
        code if was_there(code) => Call::Ended(Ending::done(0)),
        code => Call::Ended(Ending::failed(code)),
    }
}

pub(super) fn absorb_accept(code: u32) -> Next {
    if code == 0 || was_there(code) { Next::Over(Ok(0), None) } else { Next::fails(code) }
}

/// The same on a handle that blocks.
pub(super) fn accept_blocking(pipe: RawFile) -> io::Result<usize> {
    // SAFETY: the operation's owner keeps the handle open; on such a handle the call has ended when it returns.
    match unsafe { connect(pipe, ptr::null_mut()) } {
        code if code == 0 || was_there(code) => Ok(0),
        code => Err(error::error(code)),
    }
}
