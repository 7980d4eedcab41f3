//! Unix: `errno`; a signal ends a wait in the kernel by itself.

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::IntoRawFd;

use overlapped_port::sys;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;

/// Has `wake` called when a signal has come. A wait in the kernel ends by itself then.
pub(crate) fn on_signal(_wake: impl Fn() + Send + Sync + 'static) {}

/// A descriptor that is readable while one of these signals is pending.
pub(crate) fn signal_descriptor(signals: &[c_int]) -> io::Result<c_int> {
    sys::signal_descriptor(signals).map(IntoRawFd::into_raw_fd)
}

/// The `OSError` of an error number.
pub(crate) fn error(_: Python<'_>, number: i32) -> PyErr {
    // SAFETY: the text is a C string, which another call may change: those of Python's are made with the GIL held too.
    let text = unsafe { CStr::from_ptr(libc::strerror(number)) }.to_string_lossy().into_owned();
    PyOSError::new_err((number, text))
}

/// Ends the process with status 1, and runs nothing more.
pub(crate) fn leave_at_once() -> ! {
    // SAFETY: it takes a number and does not come back.
    unsafe { libc::_exit(1) }
}
