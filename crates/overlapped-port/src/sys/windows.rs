//! Windows: sockets and files are different things, and both are handles.

use std::ffi::c_void;
use std::io;
use std::os::windows::io::{AsRawHandle, AsRawSocket, BorrowedHandle, FromRawHandle};
use std::path::{Component, Path, Prefix};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use windows_sys::Win32::Foundation::{
    DuplicateHandle, ERROR_INVALID_HANDLE, ERROR_INVALID_NAME, ERROR_OPERATION_ABORTED, ERROR_PATH_NOT_FOUND,
    GENERIC_READ, GENERIC_WRITE, HANDLE, INVALID_HANDLE_VALUE,
};
use windows_sys::Win32::Networking::WinSock;
use windows_sys::Win32::Storage::FileSystem::*;
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, PIPE_READMODE_BYTE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_UNLIMITED_INSTANCES,
};
use windows_sys::Win32::System::Threading::{
    GetCurrentProcess, INFINITE, RegisterWaitForSingleObject, ResetEvent, WT_EXECUTEINWAITTHREAD,
};

use crate::open::OpenMode;

/// A socket as the system names it: a `SOCKET`.
pub type RawSocket = std::os::windows::io::RawSocket;
/// An open file, pipe or device as the system names it: a `HANDLE`.
pub type RawFile = std::os::windows::io::RawHandle;
/// An owned socket, closed when dropped.
pub type OwnedSocket = std::os::windows::io::OwnedSocket;
/// An owned file, closed when dropped.
pub type OwnedFile = std::os::windows::io::OwnedHandle;

/// The name of a socket that somebody else owns, for operations on it.
pub fn raw_socket(socket: &impl AsRawSocket) -> RawSocket {
    socket.as_raw_socket()
}

/// What lends a socket.
pub use std::os::windows::io::AsSocket;

/// The name of a socket that is lent, for operations on it.
pub fn lent_socket(socket: &impl AsSocket) -> RawSocket {
    socket.as_socket().as_raw_socket()
}

/// Whether an [`Op::Poll`](crate::Op::Poll) to read or to write would not wait: it is ready, at an end, or has an error
/// (WSAPoll).
pub fn is_ready(socket: RawSocket, to_read: bool, to_write: bool) -> bool {
    let events = if to_read { WinSock::POLLRDNORM } else { 0 } | if to_write { WinSock::POLLWRNORM } else { 0 };
    let mut entry = WinSock::WSAPOLLFD { fd: socket as usize, events, revents: 0 };
    // SAFETY: one entry, which lives through the call; it does not wait.
    unsafe { WinSock::WSAPoll(&raw mut entry, 1, 0) > 0 }
}

/// Whether a socket takes connections (`SO_ACCEPTCONN`, getsockopt).
pub fn listens(socket: &impl AsRawSocket) -> bool {
    let (mut value, mut length) = (0_i32, size_of::<i32>() as i32);
    // SAFETY: both places live through the call, and the length is that of the first.
    let result = unsafe {
        let (socket, place) = (socket.as_raw_socket() as usize, (&raw mut value).cast());
        WinSock::getsockopt(socket, WinSock::SOL_SOCKET, WinSock::SO_ACCEPTCONN, place, &raw mut length)
    };
    result == 0 && value != 0
}

/// The name of a file that somebody else owns, for operations on it.
pub fn raw_file(file: &impl AsRawHandle) -> RawFile {
    file.as_raw_handle()
}

/// Room for a socket address of any family.
pub(crate) type AddressStorage = WinSock::SOCKADDR_STORAGE;

/// The length type of a socket address.
pub(crate) type AddressLength = i32;

/// The header that the system's message calls take (`WSAMSG`).
pub(crate) type MessageHeader = WinSock::WSAMSG;

/// The error of an operation that was cancelled.
pub const CANCELLED: i32 = ERROR_OPERATION_ABORTED as i32;

/// Flag of a receive: the datagram was longer than the buffers, its tail is lost (`MSG_TRUNC`, WSARecvMsg).
pub const MSG_TRUNC: i32 = WinSock::MSG_TRUNC as i32;
/// Flag of a receive: control data was lost for want of room (`MSG_CTRUNC`, WSARecvMsg).
pub const MSG_CTRUNC: i32 = WinSock::MSG_CTRUNC as i32;
/// Flag of a receive: look at the data and leave it there (`MSG_PEEK`, WSARecv).
pub const MSG_PEEK: i32 = WinSock::MSG_PEEK;
/// Flag of a receive: wait until the buffer is full, the peer has ended or an error came (`MSG_WAITALL`, WSARecv).
pub const MSG_WAITALL: i32 = WinSock::MSG_WAITALL;

/// A socket as a number, to compare and count operations by.
pub(crate) fn socket_key(socket: RawSocket) -> usize {
    socket as usize
}

/// A file as a number, to compare and count operations by.
pub(crate) fn file_key(file: RawFile) -> usize {
    file as usize
}

/// How often a number has come to stand for another handle, as far as the ports of this process know; two numbers may
/// share a place. A port that finds the count changed looks at the handle anew.
static MEANINGS: [AtomicU32; 1 << 16] = [const { AtomicU32::new(0) }; 1 << 16];

/// How often this number has.
pub(crate) fn meaning(key: usize) -> &'static AtomicU32 {
    // Handles are multiples of four.
    &MEANINGS[key / 4 % MEANINGS.len()]
}

/// What the ports of this process know of a number no longer holds.
pub(crate) fn forget(key: usize) {
    meaning(key).fetch_add(1, Ordering::Relaxed);
}

/// Says that a socket's number may stand for another one from now on: before it is closed without a port's knowledge, or
/// when a duplicate has come in. A port finds out by itself that a number is that of a new socket, but not that it is that
/// of a duplicate, or of one that is associated with a completion port elsewhere: it would go on to believe of it what it
/// knew of the old one, and could wait for ever.
pub fn forget_socket(socket: RawSocket) {
    forget(socket_key(socket));
}

/// The same of a file.
pub fn forget_file(file: RawFile) {
    forget(file_key(file));
}

/// Takes ownership of the socket that an accept brought.
///
/// # Safety
/// `result` is that of a finished accept, and this is its only owner.
pub(crate) unsafe fn own_socket(result: usize) -> OwnedSocket {
    use std::os::windows::io::FromRawSocket;
    // SAFETY: the caller's promise.
    unsafe { OwnedSocket::from_raw_socket(result as RawSocket) }
}

/// Takes ownership of the file that an open brought.
///
/// # Safety
/// `result` is that of a finished open, and this is its only owner.
pub(crate) unsafe fn own_file(result: usize) -> OwnedFile {
    // SAFETY: the caller's promise.
    unsafe { OwnedFile::from_raw_handle(result as RawFile) }
}

/// A path in the form in which the system takes it: UTF-16 with a NUL at its end.
pub type SystemPath = Box<[u16]>;

/// The longest path, its NUL among it, that CreateFileW takes for a directory without the prefix `\\?\` ("Maximum Path
/// Length Limitation").
const LONGEST_PLAIN_PATH: usize = 248;

/// Converts a path for [`Op::Open`](crate::Op::Open). One that is too long for the system's plain form is made absolute
/// and given the prefix `\\?\`.
///
/// # Errors
/// `InvalidInput` where the path holds a NUL.
pub fn system_path(path: &Path) -> io::Result<SystemPath> {
    use std::os::windows::ffi::OsStrExt;
    let mut wide: Vec<u16> = path.as_os_str().encode_wide().collect();
    if wide.contains(&0) {
        let message = format!("the path {} holds a NUL", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    if wide.len() + 1 >= LONGEST_PLAIN_PATH {
        let absolute = std::path::absolute(path)?;
        let rest = || absolute.as_os_str().encode_wide();
        match absolute.components().next() {
            Some(Component::Prefix(prefix)) => match prefix.kind() {
                Prefix::Disk(_) => wide = r"\\?\".encode_utf16().chain(rest()).collect(),
                Prefix::UNC(..) => wide = r"\\?\UNC".encode_utf16().chain(rest().skip(1)).collect(),
                _ => wide = rest().collect(),
            },
            _ => wide = rest().collect(),
        }
    }
    wide.push(0);
    Ok(wide.into_boxed_slice())
}

/// How to open a file: what CreateFileW takes. The port adds `FILE_FLAG_OVERLAPPED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHow {
    /// The access asked for: `GENERIC_READ`, `FILE_APPEND_DATA`, …
    pub access: u32,
    /// What others may do meanwhile: `FILE_SHARE_READ`, …
    pub share: u32,
    /// What to do where the file exists, and where not: `OPEN_EXISTING`, `CREATE_NEW`, …
    pub disposition: u32,
    /// `FILE_ATTRIBUTE_NORMAL`, `FILE_FLAG_SEQUENTIAL_SCAN`, …
    pub flags: u32,
}

impl OpenHow {
    /// What CreateFileW takes for `mode`; others may read, write, rename and delete the file meanwhile, and child
    /// processes do not inherit it.
    ///
    /// # Errors
    /// As for [`OpenMode::check`].
    pub fn new(mode: OpenMode) -> io::Result<OpenHow> {
        mode.check()?;
        let read = if mode.read { GENERIC_READ } else { 0 };
        let write = match (mode.append, mode.write) {
            // With this access alone, the system puts every write at the end.
            (true, _) => FILE_GENERIC_WRITE & !FILE_WRITE_DATA,
            (false, true) => GENERIC_WRITE,
            (false, false) => 0,
        };
        let disposition = match (mode.create, mode.truncate, mode.create_new) {
            (_, _, true) => CREATE_NEW,
            (false, false, false) => OPEN_EXISTING,
            (true, false, false) => OPEN_ALWAYS,
            (false, true, false) => TRUNCATE_EXISTING,
            (true, true, false) => CREATE_ALWAYS,
        };
        let share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
        Ok(OpenHow { access: read | write, share, disposition, flags: FILE_ATTRIBUTE_NORMAL })
    }

    /// With further attributes and flags of CreateFileW.
    pub fn with_flags(self, flags: u32) -> OpenHow {
        OpenHow { flags: self.flags | flags, ..self }
    }
}

/// How many bytes a pipe of [`new_pipe`] holds in each direction, where the system takes the hint.
const PIPE_ROOM: u32 = 64 << 10;

/// Makes the server's end of a named pipe (CreateNamedPipeW), for [`Op::AcceptPipe`](crate::Op::AcceptPipe): bytes in
/// both directions, for clients on this machine, not inherited by child processes. Further ends of the same name serve
/// further clients.
///
/// # Errors
/// `PermissionDenied` where it should be the `first` of its name and is not, or where the name is another user's;
/// `InvalidInput` where the name does not begin with `\\.\pipe\`.
pub fn new_pipe(name: &Path, first: bool) -> io::Result<OwnedFile> {
    make_pipe(name, first, PIPE_UNLIMITED_INSTANCES)
}

/// As [`new_pipe`], of a name that has so many ends at most.
pub(super) fn make_pipe(name: &Path, first: bool, most: u32) -> io::Result<OwnedFile> {
    let path = system_path(name)?;
    let open = PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED | if first { FILE_FLAG_FIRST_PIPE_INSTANCE } else { 0 };
    let mode = PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_REJECT_REMOTE_CLIENTS;
    // SAFETY: the path ends with a NUL and lives through the call; without attributes the handle is not inherited.
    let pipe = unsafe { CreateNamedPipeW(path.as_ptr(), open, mode, most, PIPE_ROOM, PIPE_ROOM, 0, ptr::null()) };
    if pipe != INVALID_HANDLE_VALUE {
        // SAFETY: a new handle, and this is its only owner.
        return Ok(unsafe { OwnedFile::from_raw_handle(pipe) });
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error().map(|code| code as u32) {
        Some(ERROR_INVALID_NAME | ERROR_PATH_NOT_FOUND) => {
            let message = format!(r"{}: the name of a pipe begins with \\.\pipe\ ({error})", name.display());
            Err(io::Error::new(io::ErrorKind::InvalidInput, message))
        }
        _ => Err(error),
    }
}

/// Keeps signals away from the calling thread: there are none on Windows.
pub fn block_signals() {}

/// The signals that a thread blocks: none on Windows.
#[derive(Clone, Copy)]
pub struct SignalMask;

impl SignalMask {
    /// Those that the calling thread blocks.
    pub fn of_this_thread() -> SignalMask {
        SignalMask
    }

    /// Has the calling thread block these instead, from now on.
    pub fn set(&self) {}
}

/// A descriptor that is readable while one of `signals` is pending.
///
/// # Errors
/// `Unsupported`: there is none on Windows.
pub fn signal_descriptor(_signals: &[i32]) -> io::Result<OwnedFile> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The error of an operation on a handle that is closed.
pub const CLOSED: i32 = ERROR_INVALID_HANDLE as i32;

/// Gives up the ownership of a socket.
pub fn into_raw_socket(socket: OwnedSocket) -> RawSocket {
    use std::os::windows::io::IntoRawSocket;
    socket.into_raw_socket()
}

/// A second handle of a file that is open for writing. What is written by it goes to the end of the file in one step,
/// whatever its position and whoever else writes ("File Access Rights Constants", `FILE_APPEND_DATA`).
///
/// # Errors
/// The system's, where the handle is none or does not allow writing.
pub fn appending(file: BorrowedHandle<'_>) -> io::Result<OwnedFile> {
    let mut second = ptr::null_mut();
    // SAFETY: `second` is filled with a new handle, and this is its only owner.
    unsafe {
        let process = GetCurrentProcess();
        let access = FILE_APPEND_DATA | SYNCHRONIZE;
        if DuplicateHandle(process, file.as_raw_handle(), process, &raw mut second, access, 0, 0) == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(OwnedFile::from_raw_handle(second))
    }
}

/// Whenever `event` is set, resets it and calls `call`, on a thread of the system's; until the process ends.
///
/// # Errors
/// The system's, where it has no thread left or `event` is none.
///
/// # Safety
/// `event` must be an event that stays open until the process ends.
pub unsafe fn on_event(event: RawFile, call: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
    struct Watch(HANDLE, Box<dyn Fn() + Send + Sync>);

    unsafe extern "system" fn set(watch: *mut c_void, _: bool) {
        // SAFETY: it was leaked for this.
        let watch = unsafe { &*watch.cast::<Watch>() };
        // SAFETY: the event stays open, as promised. It is reset on the thread that waits for it, so it is waited for
        // again only after that.
        unsafe { ResetEvent(watch.0) };
        (watch.1)();
    }

    let watch = Box::into_raw(Box::new(Watch(event, Box::new(call))));
    let mut wait = ptr::null_mut();
    // SAFETY: the function gets what was leaked for it.
    let registered = unsafe {
        RegisterWaitForSingleObject(&raw mut wait, event, Some(set), watch.cast(), INFINITE, WT_EXECUTEINWAITTHREAD)
    };
    if registered != 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// How often this process is the child of a fork(2): there is no such thing here.
pub(crate) fn forks() -> u32 {
    0
}

/// Begins to count.
pub(crate) fn count_forks() {}

/// There are no numbers to keep: a handle's says nothing.
pub(crate) fn keep_standard_numbers() -> Vec<OwnedFile> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &str) -> String {
        String::from_utf16(&system_path(Path::new(path)).unwrap()).unwrap()
    }

    #[test]
    fn long_paths_get_the_verbatim_prefix() {
        let name = "n".repeat(300);
        assert_eq!(shown(r"C:\short"), "C:\\short\0");
        assert_eq!(shown(&format!(r"C:\{name}")), format!("\\\\?\\C:\\{name}\0"));
        assert_eq!(shown(&format!(r"\\host\share\{name}")), format!("\\\\?\\UNC\\host\\share\\{name}\0"));
        assert!(shown(&name).starts_with(r"\\?\"));
        assert_eq!(system_path(Path::new("a\0b")).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
