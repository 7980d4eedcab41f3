//! The system's names and calls that the tests need beside the standard library.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::os::windows::fs::{FileExt, OpenOptionsExt};
use std::os::windows::io::{
    AsRawHandle, AsRawSocket, FromRawHandle, FromRawSocket, IntoRawHandle, IntoRawSocket, OwnedHandle, OwnedSocket,
};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

use overlapped_port::sys::{self, RawFile, RawSocket};
use windows_sys::Wdk::Foundation::{NtQueryObject, ObjectTypeInformation};
use windows_sys::Win32::Foundation::{
    DUPLICATE_SAME_ACCESS, DuplicateHandle, ERROR_ACCESS_DENIED, ERROR_INVALID_HANDLE, ERROR_OPERATION_ABORTED,
    GENERIC_READ, GENERIC_WRITE, HANDLE, INVALID_HANDLE_VALUE, UNICODE_STRING,
};
use windows_sys::Win32::Networking::WinSock::{
    self, WSAEAFNOSUPPORT, WSAEISCONN, WSAEMSGSIZE, WSAENOTCONN, WSAENOTSOCK,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, DELETE, FILE_FLAG_DELETE_ON_CLOSE, FILE_FLAG_OVERLAPPED, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE, OPEN_EXISTING, PIPE_ACCESS_DUPLEX, PIPE_ACCESS_INBOUND, SetFileCompletionNotificationModes,
};
use windows_sys::Win32::System::IO::{CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED_ENTRY};
use windows_sys::Win32::System::Pipes::{CreateNamedPipeW, DisconnectNamedPipe, PIPE_READMODE_BYTE, PIPE_TYPE_BYTE};
use windows_sys::Win32::System::Threading::GetCurrentProcess;
use windows_sys::Win32::System::WindowsProgramming::FILE_SKIP_COMPLETION_PORT_ON_SUCCESS;

/// The error of a cancelled operation.
pub(crate) const CANCELLED: i32 = ERROR_OPERATION_ABORTED as i32;
/// No such handle.
pub(crate) const BAD_HANDLE: i32 = ERROR_INVALID_HANDLE as i32;
/// The handle is not that of a socket.
pub(crate) const NOT_A_SOCKET: i32 = WSAENOTSOCK;
/// The socket is connected already.
pub(crate) const IS_CONNECTED: i32 = WSAEISCONN;
/// A datagram is longer than the protocol can carry.
pub(crate) const MESSAGE_TOO_LONG: i32 = WSAEMSGSIZE;
/// A send on a socket that is not connected names no receiver.
pub(crate) const NO_DESTINATION: i32 = WSAENOTCONN;
/// The address is of a family that the socket does not speak.
pub(crate) const WRONG_FAMILY: i32 = WSAEAFNOSUPPORT;

/// The file was not opened for that.
pub(crate) const WRONG_WAY: i32 = ERROR_ACCESS_DENIED as i32;
/// A folder, where a file is wanted.
pub(crate) const A_FOLDER: ErrorKind = ErrorKind::PermissionDenied;
/// A file, where a folder is wanted.
pub(crate) const NOT_A_FOLDER: ErrorKind = ErrorKind::NotFound;

/// Flag of a receive: urgent data.
pub(crate) const MSG_OOB: i32 = WinSock::MSG_OOB;

/// Many operations. There is no queue that they could fill, and to Wine each is a request to its server, which searches.
pub(crate) const MANY_WAITS: usize = 3_000;

/// Whether a write on a pipe that is cancelled half-way tells how much it wrote.
pub(crate) const CANCELLED_PIPE_WRITES_TELL: bool = false;

/// What cannot pass: the module, the test, and why.
const CANNOT_SHOW: [(&str, &str, &str); 1] =
    [("sockets", "what_is_not_connected_says_so", "Wine says of a send on a stream without a peer that it was reset")];

/// Why a test cannot pass here, by its name: `conformance::sockets::iocp::…`.
pub(crate) fn cannot_show(name: &str) -> Option<&'static str> {
    let parts: Vec<&str> = name.split("::").collect();
    let listed = CANNOT_SHOW.iter().find(|(module, test, _)| parts.contains(module) && parts.last() == Some(test));
    listed.map(|(.., reason)| *reason)
}

/// Handles that no open file or socket has.
pub(crate) const NO_HANDLES: [RawSocket; 2] = [RawSocket::MAX, 0x7FFF_FFFC];

/// The file of such a number.
pub(crate) fn no_file(handle: RawSocket) -> RawFile {
    handle as usize as RawFile
}

/// A file's handle, taken for that of a socket.
pub(crate) fn no_socket(file: RawFile) -> RawSocket {
    file as usize as RawSocket
}

/// A handle that can be given up, for an operation that closes it.
pub(crate) trait GiveUp {
    type Raw;
    fn give_up(self) -> Self::Raw;
}

impl GiveUp for File {
    type Raw = RawFile;
    fn give_up(self) -> RawFile {
        self.into_raw_handle()
    }
}

impl GiveUp for TcpStream {
    type Raw = RawSocket;
    fn give_up(self) -> RawSocket {
        self.into_raw_socket()
    }
}

/// Gives up a handle, for an operation that closes it.
pub(crate) fn give_up<H: GiveUp>(handle: H) -> H::Raw {
    handle.give_up()
}

/// Once, before the first test: there is nothing to allow on Windows.
pub(crate) fn prepare() {}

/// A file that holds `content`, at its start, opened as the port opens files; it goes when it is closed.
pub(crate) fn file_with(content: &[u8]) -> File {
    let flags = FILE_FLAG_OVERLAPPED | FILE_FLAG_DELETE_ON_CLOSE;
    let share = FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE;
    let mut options = File::options();
    options.read(true).write(true).create_new(true).access_mode(GENERIC_READ | GENERIC_WRITE | DELETE);
    let path = std::env::temp_dir().join(unique("overlapped-test"));
    let file = options.share_mode(share).custom_flags(flags).open(path).expect("a file for the test");
    let mut from = 0;
    while from < content.len() {
        from += file.seek_write(&content[from..], from as u64).unwrap();
    }
    file
}

/// All that is in a file; its position stays.
pub(crate) fn content(file: &File) -> Vec<u8> {
    let mut content = vec![0; file.metadata().unwrap().len() as usize];
    let mut from = 0;
    while from < content.len() {
        from += file.seek_read(&mut content[from..], from as u64).unwrap();
    }
    content
}

/// A name that nobody else has. Process ids repeat under Wine, so chance makes it.
fn unique(prefix: &str) -> String {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    format!("{prefix}-{:016x}-{}", fastrand::u64(..), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// The handles that this process has open, each with what it is. Left out are events, of which Winsock keeps one for
/// each thread that it has made wait, and threads, which the test program starts for its next tests. Handles are small
/// multiples of four.
pub(crate) fn open_handles() -> BTreeSet<(usize, String)> {
    let handles = (4..0x2000).step_by(4).filter_map(|number| Some((number, kind_of(number)?)));
    handles.filter(|(_, kind)| kind != "Event" && kind != "Thread").collect()
}

/// The type of an open handle's object: `File`, `Thread`, …
fn kind_of(number: usize) -> Option<String> {
    let mut room = [0_u64; 64];
    let (start, length) = (room.as_mut_ptr().cast(), size_of_val(&room) as u32);
    // SAFETY: the room is as long as said, and begins with the name (`PUBLIC_OBJECT_TYPE_INFORMATION`), whose text is
    // in it too. Any number is allowed.
    unsafe {
        if NtQueryObject(number as HANDLE, ObjectTypeInformation, start, length, ptr::null_mut()) < 0 {
            return None;
        }
        let name = start.cast::<UNICODE_STRING>().read();
        let text = std::slice::from_raw_parts(name.Buffer, usize::from(name.Length) / 2);
        Some(String::from_utf16_lossy(text))
    }
}

/// A pipe on which operations can wait: its reading and its writing end.
pub(crate) fn pipe() -> Option<(OwnedHandle, OwnedHandle)> {
    Some(pipe_of(PIPE_TYPE_BYTE | PIPE_READMODE_BYTE))
}

/// The name of a pipe that nobody else has.
pub(crate) fn pipe_name() -> PathBuf {
    format!(r"\\.\pipe\{}", unique("overlapped-test")).into()
}

/// A named pipe for bytes or for messages: its reading end, which made it, and its writing end, which opened it.
pub(crate) fn pipe_of(mode: u32) -> (OwnedHandle, OwnedHandle) {
    let name = sys::system_path(&pipe_name()).unwrap();
    let (name, open) = (name.as_ptr(), PIPE_ACCESS_INBOUND | FILE_FLAG_OVERLAPPED);
    let (none, no_file) = (ptr::null(), ptr::null_mut());
    // SAFETY: the name ends with a NUL and lives through both calls; each handle is new and gets its only owner.
    unsafe {
        let reader = CreateNamedPipeW(name, open, mode, 1, 4096, 4096, 0, none);
        assert_ne!(reader, INVALID_HANDLE_VALUE, "{}", io::Error::last_os_error());
        let reader = OwnedHandle::from_raw_handle(reader);
        let writer = CreateFileW(name, GENERIC_WRITE, 0, none, OPEN_EXISTING, FILE_FLAG_OVERLAPPED, no_file);
        assert_ne!(writer, INVALID_HANDLE_VALUE, "{}", io::Error::last_os_error());
        (reader, OwnedHandle::from_raw_handle(writer))
    }
}

/// The server's end of a named pipe that can only block.
pub(crate) fn blocking_pipe(name: &Path) -> File {
    let name = sys::system_path(name).unwrap();
    let (open, mode) = (PIPE_ACCESS_DUPLEX, PIPE_TYPE_BYTE | PIPE_READMODE_BYTE);
    // SAFETY: the name ends with a NUL and lives through the call; the handle is new and gets its only owner.
    unsafe {
        let pipe = CreateNamedPipeW(name.as_ptr(), open, mode, 1, 4096, 4096, 0, ptr::null());
        assert_ne!(pipe, INVALID_HANDLE_VALUE, "{}", io::Error::last_os_error());
        File::from_raw_handle(pipe)
    }
}

/// Takes the client of a pipe's server end away.
pub(crate) fn throw_client_out(server: &File) {
    // SAFETY: takes an open handle.
    let done = unsafe { DisconnectNamedPipe(server.as_raw_handle()) };
    assert_ne!(done, 0, "{}", io::Error::last_os_error());
}

/// A completion port that is none of the crate's.
pub(crate) struct ForeignPort(OwnedHandle);

impl ForeignPort {
    pub(crate) fn new() -> ForeignPort {
        // SAFETY: makes a port; the handle is new and gets its only owner.
        unsafe {
            let port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 0);
            assert!(!port.is_null(), "{}", io::Error::last_os_error());
            ForeignPort(OwnedHandle::from_raw_handle(port))
        }
    }

    /// Associates a socket with it, for life; the crate's ports forget what its number was.
    pub(crate) fn associate_socket(&self, socket: &impl AsRawSocket, skips: bool) {
        sys::forget_socket(sys::raw_socket(socket));
        self.associate(socket_handle(socket), skips);
    }

    /// The same of a file.
    pub(crate) fn associate_file(&self, file: &impl AsRawHandle, skips: bool) {
        sys::forget_file(sys::raw_file(file));
        self.associate(file.as_raw_handle(), skips);
    }

    fn associate(&self, handle: HANDLE, skips: bool) {
        // SAFETY: takes open handles and numbers.
        unsafe {
            let associated = CreateIoCompletionPort(handle, self.0.as_raw_handle(), 7, 0);
            assert!(!associated.is_null(), "{}", io::Error::last_os_error());
        }
        if skips {
            skip_on_success(handle);
        }
    }

    /// How many packets have come to it.
    pub(crate) fn packets(&self) -> usize {
        let mut entries = [OVERLAPPED_ENTRY::default(); 8];
        let mut count = 0;
        // SAFETY: as many entries as said; it does not wait.
        let dequeued = unsafe {
            let (port, entries, room) = (self.0.as_raw_handle(), entries.as_mut_ptr(), entries.len() as u32);
            GetQueuedCompletionStatusEx(port, entries, room, &raw mut count, 0, 0)
        };
        if dequeued == 0 { 0 } else { count as usize }
    }
}

/// Asks for no packets of what succeeds at once.
pub(crate) fn skip_on_success(handle: HANDLE) {
    // SAFETY: takes an open handle and a number.
    let done = unsafe { SetFileCompletionNotificationModes(handle, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS as u8) };
    assert_ne!(done, 0, "{}", io::Error::last_os_error());
}

pub(crate) fn socket_handle(socket: &impl AsRawSocket) -> HANDLE {
    socket.as_raw_socket() as usize as HANDLE
}

/// A handle's number in child processes, which inherit it.
pub(crate) fn inheritable(handle: OwnedHandle) -> usize {
    let mut duplicate = ptr::null_mut();
    // SAFETY: duplicates an open handle within this process.
    let done = unsafe {
        let (this, handle, options) = (GetCurrentProcess(), handle.as_raw_handle(), DUPLICATE_SAME_ACCESS);
        DuplicateHandle(this, handle, this, &raw mut duplicate, 0, 1, options)
    };
    assert_ne!(done, 0, "{}", io::Error::last_os_error());
    duplicate as usize
}

/// A handle that the parent process has left to this one.
pub(crate) fn inherited(number: usize) -> OwnedHandle {
    // SAFETY: the parent has made the handle for this process, and nobody else has it.
    unsafe { OwnedHandle::from_raw_handle(number as HANDLE) }
}

/// A socket without overlapped calls.
pub(crate) fn blocking_socket() -> OwnedSocket {
    // SAFETY: makes a socket; the handle is new and gets its only owner.
    unsafe {
        let socket = WinSock::WSASocketW(i32::from(WinSock::AF_INET), WinSock::SOCK_STREAM, 0, ptr::null(), 0, 0);
        assert_ne!(socket, WinSock::INVALID_SOCKET, "{}", io::Error::last_os_error());
        OwnedSocket::from_raw_socket(socket as RawSocket)
    }
}
