//! Calls that the end of the interpreter may find under way, on a thread that is not the main one.
//!
//! Such a thread asks for the GIL when its call comes back, and gets it no more: up to version 3.13 CPython then ends the
//! thread by `pthread_exit` (Python/ceval_gil.c, `take_gil`), which unwinds its stack by force. That must not pass a frame of
//! Rust's: the process would be aborted in the middle of a good end. So the thread stays where it is, as from version 3.14 on
//! (gh-87135), until the process is gone.

use std::ptr;

use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

#[cfg_attr(all(windows, not(Py_3_12)), link(name = "python311", kind = "raw-dylib"))]
#[cfg_attr(all(windows, Py_3_12, not(Py_3_13)), link(name = "python312", kind = "raw-dylib"))]
#[cfg_attr(all(windows, Py_3_13, not(Py_3_14)), link(name = "python313", kind = "raw-dylib"))]
#[cfg_attr(all(windows, Py_3_14), link(name = "python314", kind = "raw-dylib"))]
unsafe extern "C-unwind" {
    fn PyObject_Call(callable: *mut PyObject, args: *mut PyObject, kwargs: *mut PyObject) -> *mut PyObject;
    fn Py_DecRef(object: *mut PyObject);
}

/// Never goes on, where it is dropped by an unwinding stack.
struct StayHere;

impl Drop for StayHere {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// Does something with Python on a thread of ours; where the interpreter is going down, the thread stays where it is.
pub(crate) fn attach<R>(what: impl FnOnce(Python<'_>) -> R) -> R {
    Python::try_attach(what).unwrap_or_else(|| {
        loop {
            std::thread::park();
        }
    })
}

/// Calls `function(*args, **keywords)`; a new reference, or null with an error set.
///
/// # Safety
/// The GIL is held; all are live objects of these types, `keywords` may be null.
pub(crate) unsafe fn call(function: *mut PyObject, args: *mut PyObject, keywords: *mut PyObject) -> *mut PyObject {
    let guard = StayHere;
    // SAFETY: the caller's promise.
    let result = unsafe { PyObject_Call(function, args, keywords) };
    std::mem::forget(guard);
    result
}

/// Calls `function(*args)` and gives both up.
pub(crate) fn call_once(py: Python<'_>, function: Py<PyAny>, args: Py<PyTuple>) -> PyResult<Py<PyAny>> {
    // SAFETY: both are live objects, and the GIL is held.
    let result = unsafe { Bound::from_owned_ptr_or_err(py, call(function.as_ptr(), args.as_ptr(), ptr::null_mut())) }
        .map(Bound::unbind);
    give_up(py, args.into_any());
    give_up(py, function);
    result
}

/// Drops an object, whose destructors may do what they like.
pub(crate) fn give_up(_: Python<'_>, object: Py<PyAny>) {
    let guard = StayHere;
    // SAFETY: a reference of ours, given up once, while the GIL is held.
    unsafe { Py_DecRef(object.into_ptr()) };
    std::mem::forget(guard);
}
