//! Unix.

use std::fs::{File, TryLockError};
use std::io;
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple"))]
use std::os::fd::AsRawFd;

use super::Advice;

/// Sees to it that a part of a file has its place on the disk: a write there does not fail for want of room. A file that ends
/// before it becomes longer, with zeroes. fallocate(2), posix_fallocate(2), on macOS `F_PREALLOCATE` (fcntl(2)).
///
/// # Errors
/// `StorageFull`; `InvalidInput` for no bytes at all; `Unsupported` where the file system cannot; the system's.
pub fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else {
        return Err(io::ErrorKind::FileTooLarge.into());
    };
    allocate_room(file, offset, length)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn allocate_room(file: &File, offset: i64, length: i64) -> io::Result<()> {
    loop {
        // SAFETY: takes no pointers.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, offset as _, length as _) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

#[cfg(target_os = "freebsd")]
fn allocate_room(file: &File, offset: i64, length: i64) -> io::Result<()> {
    // SAFETY: takes no pointers.
    match unsafe { libc::posix_fallocate(file.as_raw_fd(), offset, length) } {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// The room that is asked for follows what the file has already: as much as it grows by.
#[cfg(target_vendor = "apple")]
fn allocate_room(file: &File, offset: i64, length: i64) -> io::Result<()> {
    if length == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (has, wanted) = (file.metadata()?.len() as i64, offset.saturating_add(length));
    if wanted <= has {
        return Ok(());
    }
    let mut room = libc::fstore_t {
        fst_flags: libc::F_ALLOCATEALL,
        fst_posmode: libc::F_PEOFPOSMODE,
        fst_offset: 0,
        fst_length: wanted - has,
        fst_bytesalloc: 0,
    };
    // SAFETY: `room` lives through the call.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_PREALLOCATE, &raw mut room) } < 0 {
        return Err(io::Error::last_os_error());
    }
    file.set_len(wanted as u64)
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")))]
fn allocate_room(_file: &File, _offset: i64, _length: i64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Tells the system how a part of a file is going to be used, up to its end for a length of 0. Where there is no such call,
/// the advice is not heard.
///
/// # Errors
/// The system's: a pipe is given no advice.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
pub fn advise(file: &File, offset: u64, length: u64, advice: Advice) -> io::Result<()> {
    let advice = match advice {
        Advice::Normal => libc::POSIX_FADV_NORMAL,
        Advice::Sequential => libc::POSIX_FADV_SEQUENTIAL,
        Advice::Random => libc::POSIX_FADV_RANDOM,
        Advice::NoReuse => libc::POSIX_FADV_NOREUSE,
        Advice::WillNeed => libc::POSIX_FADV_WILLNEED,
        Advice::DontNeed => libc::POSIX_FADV_DONTNEED,
    };
    // What is past the last place that a file can have is not there to be advised of.
    let place = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    // SAFETY: takes no pointers.
    match unsafe { libc::posix_fadvise(file.as_raw_fd(), place(offset) as _, place(length) as _, advice) } {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// As elsewhere; here the system has no such call.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
pub fn advise(_file: &File, _offset: u64, _length: u64, _advice: Advice) -> io::Result<()> {
    Ok(())
}

/// Takes the lock of a whole file if nobody has it, alone or with others that share it (flock(2)).
///
/// # Errors
/// `TryLockError::WouldBlock` where somebody has it.
pub fn try_lock(file: &File, shared: bool) -> Result<(), TryLockError> {
    if shared { file.try_lock_shared() } else { file.try_lock() }
}

/// Gives the lock of a whole file back.
///
/// # Errors
/// The system's.
pub fn unlock(file: &File) -> io::Result<()> {
    file.unlock()
}
