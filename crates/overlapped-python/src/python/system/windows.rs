//! Windows: the system's own error codes; Ctrl-C is an event that Python sets.

use std::ffi::c_int;
use std::io;

use overlapped_port::sys;
use pyo3::prelude::*;

use crate::python::capi;

/// Has `wake` called when Ctrl-C was pressed: it does not end a wait in the kernel.
pub(crate) fn on_signal(wake: impl Fn() + Send + Sync + 'static) {
    // Where it cannot be had, Ctrl-C is noticed with the next completion.
    // SAFETY: Python keeps the event until the process ends.
    let _ = unsafe { sys::on_event(capi::_PyOS_SigintEvent(), wake) };
}

/// There is none: no signal is ever pending.
pub(crate) fn signal_descriptor(_signals: &[c_int]) -> io::Result<c_int> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The `OSError` of an error code, of the subclass that goes with it.
pub(crate) fn error(py: Python<'_>, number: i32) -> PyErr {
    // SAFETY: the GIL is held; the call sets an error and returns null.
    unsafe {
        let nothing = capi::PyErr_SetFromWindowsErr(number);
        debug_assert!(nothing.is_null());
    }
    PyErr::fetch(py)
}

/// Ends the process with status 1, and runs as little as can be.
pub(crate) fn leave_at_once() -> ! {
    std::process::exit(1)
}
