//! The standard library's objects from inside: the descriptor and the time-out of a `_socket.socket`, the descriptor
//! of an `_io.FileIO`. Its buffers are in [`buffered`](super::buffered), its text files in
//! [`text`](super::text).
//!
//! The first fields of both structures have been the same in every CPython that this package is built for
//! (`Modules/socketmodule.h`, which `_ssl` uses in the same way; `Modules/_io/fileio.c`). [`check`] makes sure at import.

use std::ffi::{c_int, c_void};

use overlapped_port::sys::RawSocket;
use pyo3::exceptions::PyImportError;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;

#[repr(C)]
struct SocketObject {
    head: PyObject,
    descriptor: RawSocket,
    family: c_int,
    kind: c_int,
    protocol: c_int,
    errorhandler: *mut c_void,
    /// In nanoseconds; negative for none.
    timeout: i64,
}

#[repr(C)]
struct FileObject {
    head: PyObject,
    descriptor: c_int,
    /// One bit each, from the lowest: created, readable, writable, appending.
    modes: u32,
}

/// A `_socket.socket`, or an instance of a subclass.
#[derive(Clone, Copy)]
pub(crate) struct Socket(*mut SocketObject);

impl Socket {
    /// # Safety
    /// `object` must be an instance of `_socket.socket` that lives for as long as this is used.
    pub(crate) unsafe fn new(object: *mut PyObject) -> Socket {
        Socket(object.cast())
    }

    /// The descriptor, -1 where it is closed.
    pub(crate) fn descriptor(self) -> RawSocket {
        // SAFETY: `new`'s caller's promise; the GIL is held.
        unsafe { (*self.0).descriptor }
    }

    pub(crate) fn family(self) -> c_int {
        // SAFETY: as above.
        unsafe { (*self.0).family }
    }

    /// Whether it is a byte stream, and not a socket of messages.
    pub(crate) fn is_stream(self) -> bool {
        // SOCK_STREAM is 1 on every system.
        // SAFETY: as above.
        unsafe { (*self.0).kind == 1 }
    }

    /// Whether it is a socket of datagrams.
    #[cfg_attr(unix, expect(dead_code, reason = "there every socket receives as well with an address"))]
    pub(crate) fn is_datagram(self) -> bool {
        // So is SOCK_DGRAM 2.
        // SAFETY: as above.
        unsafe { (*self.0).kind == 2 }
    }

    /// In nanoseconds; negative for none, 0 for non-blocking.
    pub(crate) fn timeout(self) -> i64 {
        // SAFETY: as above.
        unsafe { (*self.0).timeout }
    }

    /// Changes what the object believes of its time-out, and not the descriptor's mode; returns what it was.
    pub(crate) fn replace_timeout(self, timeout: i64) -> i64 {
        // SAFETY: as above.
        unsafe { std::mem::replace(&mut (*self.0).timeout, timeout) }
    }
}

/// The descriptor of an `_io.FileIO`, -1 where it is closed.
///
/// # Safety
/// `object` must be an instance of `_io.FileIO`.
pub(crate) unsafe fn file_descriptor(object: *mut PyObject) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { (*object.cast::<FileObject>()).descriptor }
}

/// What an `_io.FileIO` was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Reads = 1 << 1,
    Writes = 1 << 2,
    /// To the end of its file, whatever its position.
    Appends = 1 << 3,
}

/// Whether an `_io.FileIO` was opened for this.
///
/// # Safety
/// `object` must be an instance of `_io.FileIO`.
pub(crate) unsafe fn is_for(object: *mut PyObject, mode: Mode) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*object.cast::<FileObject>()).modes & mode as u32 != 0 }
}

/// Looks whether the structures are what they are taken for.
pub(crate) fn check(py: Python<'_>) -> PyResult<()> {
    let socket = py.import("_socket")?.getattr("socket")?.call0()?;
    socket.call_method1("settimeout", (1.5,))?;
    // SAFETY: a socket was just made.
    let inside = unsafe { Socket::new(socket.as_ptr()) };
    let mut as_said = inside.descriptor() as i64 == socket.call_method0("fileno")?.extract::<i64>()?
        && inside.family() == socket.getattr("family")?.extract::<c_int>()?
        && inside.timeout() == 1_500_000_000;
    socket.call_method0("close")?;
    for (mode, expected) in [("rb", [true, false, false]), ("wb", [false, true, false]), ("ab", [false, true, true])] {
        let file = py.import("_io")?.getattr("FileIO")?.call1((py.import("os")?.getattr("devnull")?, mode))?;
        let descriptor = file.call_method0("fileno")?.extract::<c_int>()?;
        // SAFETY: a file was just opened.
        as_said &= unsafe {
            file_descriptor(file.as_ptr()) == descriptor
                && [Mode::Reads, Mode::Writes, Mode::Appends].map(|mode| is_for(file.as_ptr(), mode)) == expected
        };
        file.call_method0("close")?;
    }
    if as_said && super::buffered::is_as_said(py)? && super::text::is_as_said(py)? {
        return Ok(());
    }
    let version = Python::version_str();
    Err(PyImportError::new_err(format!(
        "overlapped does not know the insides of this Python ({version}): it was built for another version"
    )))
}
