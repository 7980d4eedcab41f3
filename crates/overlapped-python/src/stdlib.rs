//! The standard library's objects from inside: the descriptor and the time-out of a `_socket.socket`, the descriptor
//! of an `_io.FileIO`.
//!
//! The first fields of both structures have been the same in every CPython that this package is built for
//! (`Modules/socketmodule.h`, which `_ssl` uses in the same way; `Modules/_io/fileio.c`). [`check`] makes sure at import.

use std::ffi::{CStr, c_int, c_void};

use overlapped_port::sys::RawSocket;
use pyo3::exceptions::PyImportError;
use pyo3::ffi::{self, PyObject};
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

/// Whether an `_io.FileIO` writes to the end of its file, whatever its position.
///
/// # Safety
/// `object` must be an instance of `_io.FileIO`.
pub(crate) unsafe fn file_appends(object: *mut PyObject) -> bool {
    // SAFETY: the caller's promise.
    unsafe { (*object.cast::<FileObject>()).modes & 1 << 3 != 0 }
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
    for (mode, appends) in [("rb", false), ("ab", true)] {
        let file = py.import("_io")?.getattr("FileIO")?.call1((py.import("os")?.getattr("devnull")?, mode))?;
        let descriptor = file.call_method0("fileno")?.extract::<c_int>()?;
        // SAFETY: a file was just opened.
        as_said &= unsafe { file_descriptor(file.as_ptr()) == descriptor && file_appends(file.as_ptr()) == appends };
        file.call_method0("close")?;
    }
    if as_said {
        return Ok(());
    }
    let version = Python::version_str();
    Err(PyImportError::new_err(format!(
        "overlapped does not know the insides of this Python ({version}): it was built for another version"
    )))
}

/// Puts native methods on a subclass of one of the standard library's types: 10 ns a call less than any other way.
pub(crate) fn install(class: &Bound<'_, PyAny>, methods: Vec<ffi::PyMethodDef>) -> PyResult<()> {
    let py = class.py();
    for method in Vec::leak(methods) {
        // SAFETY: the definition is leaked, so it outlives the type; its name is a C string.
        let descriptor = unsafe {
            let descriptor = ffi::PyDescr_NewMethod(class.as_ptr().cast(), method);
            Bound::from_owned_ptr_or_err(py, descriptor)?
        };
        let name = descriptor.getattr("__name__")?;
        class.setattr(name.cast::<pyo3::types::PyString>()?, descriptor)?;
    }
    Ok(())
}

/// The definition of a method that takes positional arguments alone.
pub(crate) fn fast(name: &'static CStr, method: ffi::PyCFunctionFast, doc: &'static CStr) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: method },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: doc.as_ptr(),
    }
}

/// Turns a result into what such a method returns. Apart, so that waiting stacks do not hold its locals.
#[inline(never)]
pub(crate) fn give(result: PyResult<*mut PyObject>) -> *mut PyObject {
    result.unwrap_or_else(|error| {
        // SAFETY: called from Python, so the GIL is held.
        error.restore(unsafe { Python::assume_attached() });
        std::ptr::null_mut()
    })
}

/// A buffer of Python's, released when dropped. It lives on the heap or in objects that the caller holds: only its
/// description is here, and nobody but this frame looks at that.
pub(crate) struct View(ffi::Py_buffer);

impl View {
    /// # Safety
    /// `object` must be a live object; the GIL must be held here and at the drop.
    ///
    /// # Errors
    /// Returns `None` with a Python error set.
    pub(crate) unsafe fn new(object: *mut PyObject, flags: c_int) -> Option<View> {
        let mut view = ffi::Py_buffer::new();
        // SAFETY: the caller's promise.
        if unsafe { ffi::PyObject_GetBuffer(object, &raw mut view, flags) } != 0 {
            return None;
        }
        Some(View(view))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len as usize
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        if self.0.len == 0 {
            return &[];
        }
        // SAFETY: an exported, contiguous buffer stays where it is until it is released.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast(), self.len()) }
    }

    /// The memory to be filled; for views taken with `PyBUF_WRITABLE`.
    pub(crate) fn memory(&mut self) -> &mut [std::mem::MaybeUninit<u8>] {
        if self.0.len == 0 {
            return &mut [];
        }
        // SAFETY: as above, and it is writable. Python code may look at it meanwhile, as it may under any `recv_into`.
        unsafe { std::slice::from_raw_parts_mut(self.0.buf.cast(), self.len()) }
    }

    /// The same, for what wants to know that there are bytes already: buffers of Python's are never without.
    pub(crate) fn initialized(&mut self) -> &mut [u8] {
        let memory = self.memory();
        // SAFETY: whatever bytes are there are bytes.
        unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), memory.len()) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: taken in `new`, released once, with the GIL.
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) };
    }
}
