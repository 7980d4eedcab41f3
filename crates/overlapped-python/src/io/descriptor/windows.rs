//! Windows: a file's number is the C runtime's, which has a handle under it; a socket's is the `SOCKET` itself.
//!
//! The handle is one that blocks, as the C runtime opens it and as child processes that inherit it need it: the port's
//! threads read and write it. It keeps the file's position, for the C runtime as for the port.

use std::ffi::c_int;
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::net::UdpSocket;
use std::os::windows::io::{BorrowedHandle, FromRawHandle, FromRawSocket};

use overlapped_port::Address;
use overlapped_port::sys::{self, RawFile, RawSocket};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::super::stdlib::Socket;
use super::named;
use crate::thread::life::runtime;
use crate::thread::runtime::{program_ends, to_error};

/// No more bytes are asked for in one read, as of the standard library's (`_PY_READ_MAX`).
pub(crate) const READ_MOST: usize = i32::MAX as usize;

/// A socket's number as Python has it, -1 where it is closed.
pub(crate) type SocketNumber = i64;

/// The socket of that number.
pub(crate) fn socket(number: SocketNumber) -> RawSocket {
    number as RawSocket
}

/// The handle under a descriptor. Python's C runtime has to be asked: this module may be linked with another one.
pub(crate) fn file(py: Python<'_>, descriptor: c_int) -> PyResult<RawFile> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let get = GET.get_or_try_init(py, || py.import("msvcrt")?.getattr("get_osfhandle").map(Bound::unbind))?;
    Ok(get.bind(py).call1((descriptor,))?.extract::<isize>()? as RawFile)
}

/// Whether a read or write of the descriptor is not to wait: then it is not the port's. No mode of the descriptor says so.
pub(crate) fn never_waits(descriptor: c_int) -> bool {
    descriptor < 0 || program_ends()
}

/// Writes to a standard stream that takes so many bytes without a wait. Here they are the standard library's, which waits by
/// itself.
pub(crate) fn write_at_once(_py: Python<'_>, _descriptor: c_int, _bytes: &[u8]) -> Option<usize> {
    None
}

/// Runs `write` with what is to be written to where a write to `file` is to go to its end. The C runtime sees to that
/// itself, and opens the file as any other.
pub(crate) fn at_end<T>(file: RawFile, write: impl FnOnce(RawFile) -> T) -> T {
    // SAFETY: the handle is the caller's, and not closed here.
    let Ok(second) = sys::appending(unsafe { BorrowedHandle::borrow_raw(file) }) else {
        // A pipe, or a handle that is closed: what that is, the write tells.
        return write(file);
    };
    let written = write(sys::raw_file(&second));
    // SAFETY: the handle is the caller's, and not closed here.
    let mut file = unsafe { ManuallyDrop::new(File::from_raw_handle(file)) };
    // What has no position cannot be asked for it either.
    let _ = file.seek(SeekFrom::End(0));
    written
}

/// How much memory a receive on a stream is given that is allowed `size` bytes: all of it, for no call here takes the rest.
pub(crate) fn room(size: usize, _expected: usize) -> usize {
    size
}

/// How many bytes could be received at once: nobody can tell.
pub(crate) fn unread(_: RawSocket) -> usize {
    0
}

/// Receives what is there: nothing.
pub(crate) fn receive_what_is_there(_: RawSocket, _: &mut [MaybeUninit<u8>]) -> usize {
    0
}

/// Whether the error is that the descriptor is closed, or not open for this.
pub(crate) fn is_refused(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(sys::CLOSED) || error.kind() == std::io::ErrorKind::PermissionDenied
}

/// How many bytes a regular file has from its position to its end; `None` where that is not known.
pub(crate) fn remaining(file: RawFile) -> Option<usize> {
    // SAFETY: the handle is the caller's, and not closed here.
    let mut file = unsafe { ManuallyDrop::new(File::from_raw_handle(file)) };
    let size = file.metadata().ok()?.len();
    size.checked_sub(file.stream_position().ok()?)?.try_into().ok()
}

/// Opens a file and returns its descriptor: the opener of `overlapped.io.FileIO`. It is the standard library's `os.open`,
/// on a thread of the port's. `name` is what it opens, and the error's file name.
#[pyfunction]
#[pyo3(signature = (_path, flags, name))]
pub(crate) fn open(py: Python<'_>, _path: &[u8], flags: c_int, name: Py<PyAny>) -> PyResult<c_int> {
    if program_ends() {
        return open_now(py, name, flags);
    }
    let runtime = runtime(py)?;
    let opened = overlapped::offload_in(overlapped::Lane::Endless, move || {
        Python::attach(|py| open_now(py, name, flags).map(Opened))
    });
    match opened {
        Ok(opened) => Ok(ManuallyDrop::new(opened?).0),
        Err(error) => Err(to_error(py, &runtime, error)),
    }
}

fn open_now(py: Python<'_>, name: Py<PyAny>, flags: c_int) -> PyResult<c_int> {
    let opened = py.import("os")?.call_method1("open", (&name, flags, 0o666));
    opened.map_err(|error| named(py, error, name))?.extract()
}

/// A descriptor, closed where nobody waits for it any more.
struct Opened(c_int);

impl Drop for Opened {
    fn drop(&mut self) {
        Python::attach(|py| {
            let closed = py.import("os").and_then(|os| os.call_method1("close", (self.0,)));
            if let Err(error) = closed {
                error.write_unraisable(py, None);
            }
        });
    }
}

/// Whether a receive on it can bring an address: the system's call for that is for datagrams alone (WSARecvMsg).
pub(crate) fn receives_messages(socket: Socket) -> bool {
    const AF_INET: c_int = 2;
    const AF_INET6: c_int = 23;
    socket.is_datagram() && [AF_INET, AF_INET6].contains(&socket.family())
}

/// The address of another family than IPv4 and IPv6: Python has none on Windows.
#[expect(clippy::unnecessary_wraps, reason = "on Unix it can fail")]
pub(crate) fn local_address(_: Python<'_>, _: &Address) -> PyResult<Option<Py<PyAny>>> {
    Ok(None)
}

/// The parts of received control data, for which Python asks on Unix alone.
pub(crate) fn control_data(_: &[u8]) -> impl Iterator<Item = (c_int, c_int, &[u8])> {
    std::iter::empty()
}

/// Windows has no receive that tells the length of the whole message where the buffer is shorter.
pub(crate) const TRUE_LENGTH: c_int = 0;

/// Windows has no flag of a receive or a send that is not to wait.
pub(crate) const NOT_TO_WAIT: c_int = 0;

/// Nor a queue of errors.
pub(crate) const OF_ERRORS: c_int = 0;

/// Makes a call while the socket is in the system's non-blocking mode; `waits` says that it is not in it by itself. An
/// overlapped operation that another tasklet has in flight is not concerned.
pub(crate) fn without_waiting<T>(socket: RawSocket, waits: bool, call: impl FnOnce() -> T) -> T {
    // What is closed (and is no socket for the standard library) cannot be set; the call itself says so.
    if !waits || socket == RawSocket::MAX {
        return call();
    }
    // SAFETY: the socket is the caller's, and not closed here; a mode is all that is set, whatever its kind.
    let socket = unsafe { ManuallyDrop::new(UdpSocket::from_raw_socket(socket)) };
    let set = socket.set_nonblocking(true).is_ok();
    let result = call();
    if set {
        let _ = socket.set_nonblocking(false);
    }
    result
}
