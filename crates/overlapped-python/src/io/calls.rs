//! What the calls on a socket have in common: which of them wait, and until when; how the port's operation is run, and how
//! the standard library's method is called.
//!
//! What cannot block (a socket in non-blocking mode, `MSG_ERRQUEUE`, `MSG_DONTWAIT` without a time-out) is left to the
//! standard library's method, which is told not to wait: with a time-out, it would do so before it looks at the flags. With
//! `MSG_DONTWAIT` and a time-out Python waits, and so does the port.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use overlapped_port::sim::now;
use overlapped_port::sys::RawSocket;
use overlapped_port::{Op, Outcome};
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use super::descriptor::{NOT_TO_WAIT, OF_ERRORS, TRUE_LENGTH, without_waiting};
use super::stdlib::Socket;
use crate::thread::runtime::{Runtime, program_ends, to_error};

/// `_socket.socket`'s own methods, for what never waits.
static BASE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// To be called before [`base`].
pub(super) fn know_the_standard_librarys(py: Python<'_>) -> PyResult<()> {
    BASE.get_or_try_init(py, || py.import("_socket")?.getattr("socket").map(Bound::unbind)).map(drop)
}

/// Calls the standard library's method of that name.
#[inline(never)]
pub(super) unsafe fn base(
    name: &str,
    slf: *mut PyObject,
    args: *const *mut PyObject,
    count: isize,
) -> PyResult<Py<PyAny>> {
    // SAFETY: called from Python, so the GIL is held; `args` has `count` live objects.
    unsafe {
        let py = Python::assume_attached();
        let method = BASE.get(py).expect("it is set before a method of ours can be called").bind(py).getattr(name)?;
        let mut all = vec![Bound::from_borrowed_ptr(py, slf)];
        all.extend((0..count).map(|at| Bound::from_borrowed_ptr(py, *args.offset(at))));
        let all = PyTuple::new(py, all)?;
        let call = || method.call1(all).map(Bound::unbind);
        if program_ends() { call() } else { try_once(Socket::new(slf), call) }
    }
}

/// When an operation of `socket` that begins now has to be over.
pub(crate) fn due(socket: Socket) -> Option<Instant> {
    let timeout = socket.timeout();
    (timeout >= 0).then(|| now() + Duration::from_nanos(timeout as u64))
}

/// Whether a call with such flags does not wait: what then is not there is an error.
#[cfg_attr(windows, expect(clippy::bad_bit_mask, reason = "Windows has no such flags"))]
pub(crate) fn never_waits(socket: Socket, flags: c_int) -> bool {
    let timeout = socket.timeout();
    timeout == 0
        || flags & OF_ERRORS != 0
        || (flags & NOT_TO_WAIT != 0 && timeout < 0)
        || socket.descriptor() == CLOSED
        || program_ends()
}

/// The flags for an operation of the port's.
pub(crate) fn waiting(flags: c_int) -> c_int {
    flags & !NOT_TO_WAIT
}

/// Whether a receive is to say how long a datagram was that it cuts.
#[cfg_attr(not(target_os = "linux"), expect(clippy::bad_bit_mask, reason = "only Linux has the flag"))]
pub(crate) fn tells_true_length(flags: c_int) -> bool {
    flags & TRUE_LENGTH != 0
}

/// The descriptor of a closed socket object: -1, also as Windows's unsigned number.
const CLOSED: RawSocket = !0;

/// Runs an operation for Python; `CANCELLED` by a close shows as the closed descriptor that it is.
pub(crate) fn operate(py: Python<'_>, runtime: &Runtime, op: Op<'_>, due: Option<Instant>) -> PyResult<Outcome> {
    runtime.operate(op, due).map_err(|error| to_error(py, runtime, error))
}

pub(crate) fn count(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Count(count) => *count,
        _ => 0,
    }
}

/// Calls something of the standard library's while `socket` passes for one in non-blocking mode.
pub(super) fn try_once<T>(socket: Socket, call: impl FnOnce() -> T) -> T {
    let timeout = socket.replace_timeout(0);
    let result = without_waiting(socket.descriptor(), timeout < 0, call);
    socket.replace_timeout(timeout);
    result
}
