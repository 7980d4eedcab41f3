//! Winsock's extension functions and options, as the backend asks for them.

use std::io;
use std::ptr;

use windows_sys::Win32::Foundation::{ERROR_INVALID_HANDLE, GetHandleInformation, HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::Networking::WinSock::*;
use windows_sys::core::GUID;

/// Makes Winsock ready for this process; std does the same, at its own first socket.
pub(super) fn start() -> io::Result<()> {
    let mut data = WSADATA::default();
    // SAFETY: `data` is filled by the call. There is no WSACleanup: sockets live as long as the process.
    match unsafe { WSAStartup(0x0202, &raw mut data) } {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The calling thread's last Winsock error.
pub(super) fn last_error() -> u32 {
    // SAFETY: reads a thread-local number.
    unsafe { WSAGetLastError() as u32 }
}

/// What the last call on `socket` failed with, as every backend reports it.
pub(super) fn failure(socket: usize) -> u32 {
    let code = super::error::socket(last_error());
    match code as WSA_ERROR {
        // Winsock says that a closed socket is none; so is a file, but that is another mistake.
        WSAENOTSOCK if !is_open(socket) => ERROR_INVALID_HANDLE,
        // Wine, of a file.
        WSAEOPNOTSUPP if kind(socket) == Err(WSAENOTSOCK as u32) => WSAENOTSOCK as u32,
        _ => code,
    }
}

fn is_open(handle: usize) -> bool {
    let (handle, mut flags) = (handle as HANDLE, 0);
    // SAFETY: only asks; any number is allowed.
    handle != INVALID_HANDLE_VALUE && unsafe { GetHandleInformation(handle, &raw mut flags) } != 0
}

/// One option of the level `SOL_SOCKET`.
///
/// # Safety
/// All zeroes must be a valid `T`, and it must be what the option is made of.
unsafe fn option<T>(socket: usize, name: i32) -> Result<T, u32> {
    // SAFETY: the caller's promise.
    let mut value: T = unsafe { std::mem::zeroed() };
    let mut length = size_of::<T>() as i32;
    // SAFETY: the pointers are to locals, and the length is that of the first.
    let result = unsafe { getsockopt(socket, SOL_SOCKET, name, ptr::from_mut(&mut value).cast(), &raw mut length) };
    if result == 0 { Ok(value) } else { Err(failure(socket)) }
}

/// `SOCK_STREAM`, `SOCK_DGRAM`, …
pub(super) fn kind(socket: usize) -> Result<i32, u32> {
    // SAFETY: `SO_TYPE` is an `int`.
    unsafe { option(socket, SO_TYPE) }
}

/// Whether it was made to listen.
pub(super) fn listens(socket: usize) -> bool {
    // SAFETY: `SO_ACCEPTCONN` is a `BOOL`, four bytes.
    unsafe { option::<i32>(socket, SO_ACCEPTCONN) }.is_ok_and(|listens| listens != 0)
}

/// The family, type and protocol of a socket, and what its provider is.
pub(super) fn protocol(socket: usize) -> Result<WSAPROTOCOL_INFOW, u32> {
    // SAFETY: `SO_PROTOCOL_INFOW` is this structure of numbers.
    unsafe { option(socket, SO_PROTOCOL_INFOW) }
}

/// Whether closing the socket may wait for its last bytes.
pub(super) fn lingers(socket: usize) -> bool {
    // SAFETY: `SO_LINGER` is this pair of numbers.
    unsafe { option::<LINGER>(socket, SO_LINGER) }.is_ok_and(|linger| linger.l_onoff != 0 && linger.l_linger != 0)
}

/// Whether the socket has a peer.
pub(super) fn is_connected(socket: usize) -> bool {
    let mut peer = SOCKADDR_STORAGE::default();
    let mut length = size_of::<SOCKADDR_STORAGE>() as i32;
    // SAFETY: the pointers are to locals, and the length is that of the first.
    unsafe { getpeername(socket, ptr::from_mut(&mut peer).cast(), &raw mut length) == 0 }
}

/// Whether a stream that brings no more bytes was reset. Windows says so itself; under Wine a receive that begins after
/// the reset finds an end, for Wine has taken the socket's error out already, but WSAPoll still tells.
pub(super) fn was_reset(socket: usize) -> bool {
    let mut entry = WSAPOLLFD { fd: socket, events: POLLRDNORM, revents: 0 };
    // SAFETY: one entry, which lives through the call; it does not wait.
    unsafe { WSAPoll(&raw mut entry, 1, 0) == 1 && entry.revents & POLLERR != 0 }
}

/// Sets one of the options that give a socket the properties which AcceptEx and ConnectEx leave out (its names, its
/// options; else shutdown and getpeername fail with `WSAENOTCONN`).
pub(super) fn update_context(socket: usize, option: i32, listener: Option<usize>) -> Result<(), u32> {
    let value = listener.as_ref().map_or(ptr::null(), |listener| ptr::from_ref(listener).cast());
    let length = if listener.is_some() { size_of::<usize>() as i32 } else { 0 };
    // SAFETY: the value is null and of no length, or the handle of a socket.
    if unsafe { setsockopt(socket, SOL_SOCKET, option, value, length) } == 0 { Ok(()) } else { Err(failure(socket)) }
}

/// Gets a function that belongs to a socket's provider.
///
/// # Safety
/// `T` must be the `LPFN_…` type of `name`.
pub(super) unsafe fn extension<T>(socket: usize, name: &GUID) -> Result<T, u32> {
    let mut function = std::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: both buffers are as long as said; nothing is overlapped.
    unsafe {
        control(
            socket,
            SIO_GET_EXTENSION_FUNCTION_POINTER,
            (ptr::from_ref(name).cast(), size_of::<GUID>()),
            &mut function,
        )?;
        Ok(function.assume_init())
    }
}

/// The socket under all layers that other vendors may have put over it: the one that \Device\Afd knows.
pub(super) fn base(socket: usize) -> Result<usize, u32> {
    let mut base = std::mem::MaybeUninit::<usize>::zeroed();
    // SAFETY: the result is a handle; a number that is zero unless written.
    unsafe {
        control(socket, SIO_BASE_HANDLE, (ptr::null(), 0), &mut base)?;
        Ok(base.assume_init())
    }
}

/// # Safety
/// `T` must be what `code` answers with, `input` what it takes.
unsafe fn control<T>(
    socket: usize,
    code: u32,
    input: (*const std::ffi::c_void, usize),
    output: &mut std::mem::MaybeUninit<T>,
) -> Result<(), u32> {
    let mut bytes = 0;
    // SAFETY: the lengths are those of the buffers; the rest is the caller's promise.
    let result = unsafe {
        let output = output.as_mut_ptr().cast();
        WSAIoctl(
            socket,
            code,
            input.0,
            input.1 as u32,
            output,
            size_of::<T>() as u32,
            &raw mut bytes,
            ptr::null_mut(),
            None,
        )
    };
    if result == 0 { Ok(()) } else { Err(failure(socket)) }
}
