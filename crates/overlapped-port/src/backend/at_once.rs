//! Reads and writes of files, pipes and terminals that answer at once, on Unix: `RWF_NOWAIT` (preadv2(2), Linux 4.14), with
//! which the kernel says `EAGAIN` where it would have to wait for a disk, a writer or room. Where a driver or the system knows
//! no such thing the answer is an error too (`EOPNOTSUPP`, `ENOSYS`), and nothing has changed.
//!
//! A short count is no promise that there is no more: it is the end of a file, or of what is in memory.

use std::io;
use std::os::fd::RawFd;

use libc::iovec;

/// The most buffers in one call (`IOV_MAX`; the same on all three systems).
pub(super) const MOST_BUFFERS: usize = 1024;

/// A read, at the file's own position where `offset` is none.
///
/// # Safety
/// The buffers in `vector` are there, and may be written to.
#[cfg(target_os = "linux")]
pub(super) unsafe fn read(file: RawFd, vector: &[iovec], offset: Option<u64>) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    transfer(vector, offset, |start, count, offset| unsafe {
        libc::preadv2(file, start, count, offset, libc::RWF_NOWAIT)
    })
}

/// A write, likewise.
///
/// # Safety
/// The buffers in `vector` are there.
#[cfg(target_os = "linux")]
pub(super) unsafe fn write(file: RawFd, vector: &[iovec], offset: Option<u64>) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    transfer(vector, offset, |start, count, offset| unsafe {
        libc::pwritev2(file, start, count, offset, libc::RWF_NOWAIT)
    })
}

/// Calls until no signal interrupts.
#[cfg(target_os = "linux")]
fn transfer(
    vector: &[iovec],
    offset: Option<u64>,
    call: impl Fn(*const iovec, libc::c_int, libc::off_t) -> libc::ssize_t,
) -> io::Result<usize> {
    // -1 stands for the file's own position here, so the largest offset must not become it.
    let offset = offset.map_or(-1, |offset| offset.min(i64::MAX as u64) as libc::off_t);
    let count = vector.len().min(MOST_BUFFERS) as libc::c_int;
    loop {
        if let Ok(count) = usize::try_from(call(vector.as_ptr(), count, offset)) {
            return Ok(count);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Other systems know no such call.
///
/// # Safety
/// None needed: it touches nothing.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn read(_: RawFd, _: &[iovec], _: Option<u64>) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}

/// Other systems know no such call.
///
/// # Safety
/// None needed: it touches nothing.
#[cfg(not(target_os = "linux"))]
pub(super) unsafe fn write(_: RawFd, _: &[iovec], _: Option<u64>) -> io::Result<usize> {
    Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP))
}
