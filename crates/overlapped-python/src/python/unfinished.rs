//! Calls that the end of the interpreter may find under way, on a thread that is not the main one.
//!
//! Such a thread asks for the GIL when its call comes back, and gets it no more: up to version 3.13 CPython then ends the
//! thread by `pthread_exit` (Python/ceval_gil.c, `take_gil`), which unwinds its stack by force. That must not pass a frame of
//! Rust's: the process would be aborted in the middle of a good end. So the thread stays where it is, as from version 3.14 on
//! (gh-87135), until the process is gone.

use std::hint::black_box;
use std::mem::transmute;
use std::ptr;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyTuple;

type Call = unsafe extern "C-unwind" fn(*mut PyObject, *mut PyObject, *mut PyObject) -> *mut PyObject;
type DecRef = unsafe extern "C-unwind" fn(*mut PyObject);

/// The same function, of which the compiler does not know that PyO3 declares it not to unwind: it would believe that in the
/// whole program, and leave out what is to happen when it does.
fn may_unwind(function: *const ()) -> *const () {
    black_box(function)
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
    // SAFETY: the function's own type, but for the unwinding. What it is given, the caller promises.
    let result = unsafe {
        let call = transmute::<*const (), Call>(may_unwind(ffi::PyObject_Call as *const ()));
        call(function, args, keywords)
    };
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
    // SAFETY: as above; a reference of ours, given up once, while the GIL is held.
    unsafe {
        let give_up = transmute::<*const (), DecRef>(may_unwind(ffi::Py_DecRef as *const ()));
        give_up(object.into_ptr());
    }
    std::mem::forget(guard);
}
