//! Windows.

use std::fs::{File, TryLockError};
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, ERROR_LOCK_VIOLATION, HANDLE};
use windows_sys::Win32::Storage::FileSystem::{
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFile,
};
use windows_sys::Win32::System::IO::{GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Threading::CreateEventW;

use super::Advice;

/// Sees to it that a part of a file has its place on the disk: a write there does not fail for want of room. What lies within
/// a file has it (but for a sparse or compressed one), so the file is made longer where it ends before (SetEndOfFile).
///
/// # Errors
/// `StorageFull`; `InvalidInput` for no bytes at all; the system's.
pub fn allocate(file: &File, offset: u64, length: u64) -> io::Result<()> {
    if length == 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let Some(end) = offset.checked_add(length).filter(|end| i64::try_from(*end).is_ok()) else {
        return Err(io::ErrorKind::FileTooLarge.into());
    };
    if file.metadata()?.len() >= end { Ok(()) } else { file.set_len(end) }
}

/// Tells the system how a part of a file is going to be used. It has no such call, and the advice is not heard.
///
/// # Errors
/// None.
pub fn advise(_file: &File, _offset: u64, _length: u64, _advice: Advice) -> io::Result<()> {
    Ok(())
}

/// Takes the lock of a whole file if nobody has it, alone or with others that share it (LockFileEx).
///
/// Not the standard library's: the end of its call would queue a packet at the port that the file is associated with, of
/// memory that is gone by then. An event with the lowest bit set queues none ("GetQueuedCompletionStatus", on `hEvent`).
///
/// # Errors
/// `TryLockError::WouldBlock` where somebody has it, be it by this handle.
pub fn try_lock(file: &File, shared: bool) -> Result<(), TryLockError> {
    // SAFETY: makes an event without a name, for one wait.
    let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
    if event.is_null() {
        return Err(TryLockError::Error(io::Error::last_os_error()));
    }
    // SAFETY: the handle is new, and this is its only owner.
    let event = unsafe { OwnedHandle::from_raw_handle(event) };
    let mut overlapped = OVERLAPPED { hEvent: (event.as_raw_handle() as usize | 1) as HANDLE, ..OVERLAPPED::default() };
    let flags = LOCKFILE_FAIL_IMMEDIATELY | if shared { 0 } else { LOCKFILE_EXCLUSIVE_LOCK };
    let handle = file.as_raw_handle();
    // SAFETY: `overlapped` lives until the call has ended, which is waited for.
    let taken = unsafe {
        LockFileEx(handle, flags, 0, u32::MAX, u32::MAX, &raw mut overlapped) != 0
            || (io::Error::last_os_error().raw_os_error() == Some(ERROR_IO_PENDING as i32)
                && GetOverlappedResult(handle, &raw const overlapped, &mut 0, 1) != 0)
    };
    if taken {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(ERROR_LOCK_VIOLATION as i32) {
        return Err(TryLockError::WouldBlock);
    }
    Err(TryLockError::Error(error))
}

/// Gives the lock of a whole file back (UnlockFile, which waits for nothing): both, where the handle has taken it alone and
/// shared.
///
/// # Errors
/// The system's, where the handle has no lock.
pub fn unlock(file: &File) -> io::Result<()> {
    // SAFETY: takes numbers.
    let unlock = || unsafe { UnlockFile(file.as_raw_handle(), 0, 0, u32::MAX, u32::MAX) != 0 };
    if !unlock() {
        return Err(io::Error::last_os_error());
    }
    // Mostly there is one; Windows and Wine have each an error of their own for that.
    unlock();
    Ok(())
}
