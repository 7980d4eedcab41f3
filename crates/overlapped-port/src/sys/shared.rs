//! Windows: what one process shares with another that it has started: sockets, and a pipe between the two.
//!
//! WSADuplicateSocketW makes a second handle *in the other process*, and a structure that names it; WSASocketW makes a
//! socket of that there. The first process may close its own afterwards, and what closes the last handle closes the
//! socket. A structure that nobody makes a socket of leaves the handle open as long as that process lives.
//!
//! Both handles are of one object, which keeps the port that it was associated with, and the mode in which calls that
//! succeed at once queue no packet. So an operation of the other process on a socket that had one here would tell
//! *this* process's port: there, such a socket answers 87, and its calls have an event (the `iocp` backend, on
//! association). NtSetInformationFile can take the association away (`FileReplaceCompletionInformation`, since Windows
//! 8.1; "FILE_COMPLETION_INFORMATION"). That would save an event a call; but it would take it from every handle of the
//! object, those that the caller has kept among them, and Wine 8 does not know it, so that nothing here could test it.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::windows::io::{AsRawHandle, AsRawSocket, BorrowedHandle, BorrowedSocket, FromRawHandle, FromRawSocket};
use std::path::PathBuf;
use std::ptr;

use windows_sys::Win32::Foundation::{
    GENERIC_READ, GENERIC_WRITE, HANDLE_FLAG_INHERIT, INVALID_HANDLE_VALUE, SetHandleInformation,
};
use windows_sys::Win32::Networking::WinSock::*;
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_OVERLAPPED, FILE_SHARE_READ, FILE_SHARE_WRITE, FILE_TYPE_PIPE, GetFileType, OPEN_EXISTING,
    SECURITY_IDENTIFICATION, SECURITY_SQOS_PRESENT,
};
use windows_sys::Win32::System::Console::{STD_INPUT_HANDLE, SetStdHandle};
use windows_sys::Win32::System::IO::CancelIoEx;
use windows_sys::Win32::System::Pipes::PeekNamedPipe;

use super::{OwnedFile, OwnedSocket, forget_socket, make_pipe, system_path};

/// How many bytes tell another process of a socket: those of a `WSAPROTOCOL_INFOW`.
pub const TOLD: usize = size_of::<WSAPROTOCOL_INFOW>();

/// Gives a process, by its number, a handle of a socket, and returns what [`shared_socket`] wants there. The process
/// keeps the handle until it ends, if that is never called.
///
/// # Errors
/// The system's: the process has ended, or has no handle left; the socket is of a provider that cannot share it.
pub fn share_socket(socket: BorrowedSocket<'_>, process: u32) -> io::Result<[u8; TOLD]> {
    // SAFETY: the structure is of numbers alone.
    let mut info: WSAPROTOCOL_INFOW = unsafe { std::mem::zeroed() };
    // SAFETY: the socket is open, and the structure a local that the call fills.
    if unsafe { WSADuplicateSocketW(socket.as_raw_socket() as SOCKET, process, &raw mut info) } != 0 {
        // SAFETY: reads a thread-local number.
        return Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() }));
    }
    // SAFETY: the structure has no padding (it is of four-byte numbers, a GUID and 256 two-byte characters), and each
    // byte is a number.
    Ok(unsafe { std::mem::transmute::<WSAPROTOCOL_INFOW, [u8; TOLD]>(info) })
}

/// The socket that another process has shared with this one.
///
/// # Safety
/// The bytes are what [`share_socket`] has returned for this process, and this is called once with them: they name the
/// handle that is owned from then on.
///
/// # Errors
/// The system's: this process has no handle left.
pub unsafe fn shared_socket(told: &[u8; TOLD]) -> io::Result<OwnedSocket> {
    // SAFETY: every value of its bytes is one of the structure's, which may lie at any address to be read from.
    let info: WSAPROTOCOL_INFOW = unsafe { ptr::read_unaligned(told.as_ptr().cast()) };
    let (any, flags) = (FROM_PROTOCOL_INFO, WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
    // SAFETY: the structure is a local, and its contents are as the caller promises.
    let socket = unsafe { WSASocketW(any, any, any, &raw const info, 0, flags) };
    if socket == INVALID_SOCKET {
        // SAFETY: reads a thread-local number.
        return Err(io::Error::from_raw_os_error(unsafe { WSAGetLastError() }));
    }
    forget_socket(socket as super::RawSocket);
    // SAFETY: the handle is new to this process, and this is its only owner.
    Ok(unsafe { OwnedSocket::from_raw_socket(socket as super::RawSocket) })
}

/// The two ends of a pipe, both for overlapped calls, neither inherited by child processes. The system has none without
/// a name: this one's is drawn by chance, it has one end for one client, and the client is connected when this returns.
/// Who is neither this user nor an administrator cannot open it ("Named Pipe Security and Access Rights").
///
/// # Errors
/// The system's, such as `ERROR_PIPE_BUSY` where another process of this user was faster to open it.
pub fn private_pipe() -> io::Result<(OwnedFile, OwnedFile)> {
    // Each state is seeded from the system's random numbers.
    let chance = || RandomState::new().hash_one(0_u8);
    let name = PathBuf::from(format!(r"\\.\pipe\overlapped-{:016x}{:016x}", chance(), chance()));
    let ours = make_pipe(&name, true, 1)?;
    let (path, access) = (system_path(&name)?, GENERIC_READ | GENERIC_WRITE);
    let flags = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION;
    // SAFETY: the path ends with a NUL and lives through the call; without attributes the handle is not inherited.
    let theirs = unsafe { CreateFileW(path.as_ptr(), access, 0, ptr::null(), OPEN_EXISTING, flags, ptr::null_mut()) };
    if theirs == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new handle, and this is its only owner.
    Ok((ours, unsafe { OwnedFile::from_raw_handle(theirs) }))
}

/// How many bytes a pipe has to be read at once; `None` once it has ended.
pub fn readable(pipe: BorrowedHandle<'_>) -> Option<usize> {
    let mut count = 0;
    let none = ptr::null_mut();
    // SAFETY: the handle is open, and nothing but a number is asked for.
    let known = unsafe { PeekNamedPipe(pipe.as_raw_handle(), none, 0, none.cast(), &raw mut count, none.cast()) };
    (known != 0).then_some(count as usize)
}

/// Ends the calls that are in flight on a handle, whoever has made them: with [`CANCELLED`](super::CANCELLED), where
/// they have not ended otherwise.
pub fn end_calls(handle: BorrowedHandle<'_>) {
    // SAFETY: the handle is open; whose the memory of the calls is stays as it is until their packets come.
    unsafe { CancelIoEx(handle.as_raw_handle(), ptr::null()) };
}

/// Takes the pipe that is this process's standard input, which is `NUL` after that; children do not inherit the pipe.
/// `None` where it is no pipe.
///
/// # Safety
/// Nobody else uses the handle of standard input, now or later.
///
/// # Errors
/// The system's.
pub unsafe fn take_standard_input() -> io::Result<Option<OwnedFile>> {
    let number = io::stdin().as_raw_handle();
    // SAFETY: asks for a number; any handle is allowed.
    if number.is_null() || unsafe { GetFileType(number) } != FILE_TYPE_PIPE {
        return Ok(None);
    }
    let (path, share) = ([78_u16, 85, 76, 0], FILE_SHARE_READ | FILE_SHARE_WRITE);
    // SAFETY: the path, `NUL`, ends with a zero; the new handle becomes that of standard input, which nobody closes;
    // the one that it was has no other owner, as the caller promises.
    unsafe {
        let nothing = CreateFileW(path.as_ptr(), GENERIC_READ, share, ptr::null(), OPEN_EXISTING, 0, ptr::null_mut());
        if nothing == INVALID_HANDLE_VALUE
            || SetStdHandle(STD_INPUT_HANDLE, nothing) == 0
            || SetHandleInformation(number, HANDLE_FLAG_INHERIT, 0) == 0
        {
            return Err(io::Error::last_os_error());
        }
        Ok(Some(OwnedFile::from_raw_handle(number)))
    }
}
