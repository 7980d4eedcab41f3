//! Unix: descriptors that this process was started with. Whoever started it says their numbers, in a variable of the
//! environment most often; whether somebody here owns what is open under one of them, the caller alone can know.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd};

use socket2::{SockRef, Type};

use super::{OwnedFile, OwnedSocket, RawFile};

/// Whether a descriptor has been inherited: it is open, and without the flag that all have which the standard library or
/// this crate has opened (`FD_CLOEXEC`, fcntl(2)).
///
/// # Errors
/// `EBADF` where nothing is open under the number.
pub fn is_inherited(number: RawFile) -> io::Result<bool> {
    // SAFETY: takes no pointers, and fails where nothing is open under the number.
    match unsafe { libc::fcntl(number, libc::F_GETFD) } {
        -1 => Err(io::Error::last_os_error()),
        flags => Ok(flags & libc::FD_CLOEXEC == 0),
    }
}

/// Takes a descriptor over, and has children not inherit it.
///
/// # Safety
/// Nobody else owns it.
///
/// # Errors
/// `EBADF` where nothing is open under the number.
pub unsafe fn take(number: RawFile) -> io::Result<OwnedFile> {
    // SAFETY: takes no pointers, and fails where nothing is open under the number.
    if unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and the caller promises that this is its only owner.
    Ok(unsafe { OwnedFile::from_raw_fd(number) })
}

/// Takes a Unix stream socket over; under its number is `/dev/null` from then on, for children that get what is there (it
/// may be that of standard input) are to get no end of it. `None` where something else is open.
///
/// # Safety
/// Nobody else uses what is open under the number, now or later.
///
/// # Errors
/// `EBADF` where nothing is; what the system says.
pub unsafe fn take_stream(number: RawFile) -> io::Result<Option<OwnedSocket>> {
    // SAFETY: the number is used for the call alone, which fails where nothing is open under it.
    let socket = unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?;
    let is_unix = SockRef::from(&socket).local_addr().is_ok_and(|address| address.is_unix());
    if !is_unix || SockRef::from(&socket).r#type().ok() != Some(Type::STREAM) {
        return Ok(None);
    }
    let nothing = File::open("/dev/null")?;
    // SAFETY: takes no pointers; what it closes nobody else uses, as the caller promises.
    if unsafe { libc::dup2(nothing.as_raw_fd(), number) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(Some(socket))
}
