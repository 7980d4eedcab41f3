//! Exceptions on their way to the tasklets that are to raise them; those of signal handlers among them.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::{LazyLock, Mutex, PoisonError};

use overlapped::engine::{Cause, Scheduler, TaskletId};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::runtime::{Runtime, existing};
use crate::worker::Greenlets;

/// The last number that was given, and the exceptions by their numbers.
type Thrown = (u64, HashMap<u64, Py<PyAny>>);

static THROWN: LazyLock<Mutex<Thrown>> = LazyLock::new(Mutex::default);

/// Keeps an exception until the tasklet that is to raise it does; returns its number.
pub(crate) fn keep_thrown(exception: Py<PyAny>) -> u64 {
    let mut thrown = THROWN.lock().unwrap_or_else(PoisonError::into_inner);
    thrown.0 += 1;
    let number = thrown.0;
    thrown.1.insert(number, exception);
    number
}

/// Takes a kept exception.
pub(crate) fn take_thrown(number: u64) -> Option<Py<PyAny>> {
    THROWN.lock().unwrap_or_else(PoisonError::into_inner).1.remove(&number)
}

/// Raises `error` in this thread's main tasklet, which runs at once; gives it back where that is who calls.
pub(crate) fn throw_in_main(py: Python<'_>, error: PyErr) -> PyResult<()> {
    let Some(runtime) = existing() else { return Err(error) };
    let scheduler = &runtime.scheduler;
    if scheduler.current_tasklet() == TaskletId::ROOT {
        return Err(error);
    }
    throw_from_signal(&runtime.greenlets, scheduler, TaskletId::ROOT, error.into_value(py).into_any());
    scheduler.yield_now().map_err(|_| runtime.raise(py))
}

/// Raises in a tasklet, nearly always the main one, what a signal handler has raised. What it waits for ends; where that
/// still brings a result, the exception comes right after it, and not with the next wait, which may be far.
pub(crate) fn throw_from_signal(greenlets: &Greenlets, scheduler: &Scheduler, id: TaskletId, exception: Py<PyAny>) {
    let number = keep_thrown(exception);
    greenlets.from_signal.set(Some((id, number)));
    scheduler.interrupt(id, Cause::Thrown(number));
}

/// To be called between the parts of what one call does in several: runs the handlers of signals that have come, as the
/// standard library's calls do (PEP 475). Without this a signal that comes with a part's end waits for all of them. False
/// where a handler has raised: the call is to return what it has, and the exception comes right after it.
pub(crate) fn run_signal_handlers(py: Python<'_>, runtime: &Runtime) -> bool {
    let Err(error) = py.check_signals() else { return true };
    let (greenlets, me) = (&runtime.greenlets, runtime.scheduler.current_tasklet());
    throw_from_signal(greenlets, &runtime.scheduler, me, error.into_value(py).into_any());
    raise_soon();
    false
}

/// Has Python call [`raise_from_signal`] when it goes on to execute code. Where its list of calls is full, the exception
/// comes with the next wait.
pub(crate) fn raise_soon() {
    // SAFETY: the function may be called at any time.
    unsafe { ffi::Py_AddPendingCall(Some(raise_from_signal), ptr::null_mut()) };
}

/// Python calls this when it goes on to execute code; raises what a signal handler has raised and nobody yet.
extern "C" fn raise_from_signal(_: *mut c_void) -> c_int {
    let Some(runtime) = existing() else { return 0 };
    let me = runtime.scheduler.current_tasklet();
    // Whose it is has this called again when it goes on.
    let Some((_, number)) = runtime.greenlets.from_signal.get().filter(|(id, _)| *id == me) else { return 0 };
    runtime.greenlets.from_signal.set(None);
    runtime.scheduler.withdraw(me, Cause::Thrown(number));
    let Some(exception) = take_thrown(number) else { return 0 };
    // SAFETY: Python calls this, so the GIL is held.
    let py = unsafe { Python::assume_attached() };
    PyErr::from_value(exception.into_bound(py)).restore(py);
    -1
}

/// Raises `exception` in a tasklet.
pub(crate) fn throw(scheduler: &Scheduler, id: TaskletId, exception: Py<PyAny>) {
    scheduler.interrupt(id, Cause::Thrown(keep_thrown(exception)));
}
