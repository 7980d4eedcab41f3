//! Signal handlers: what they raise is the main tasklet's, wherever Python happened to call them.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use overlapped::engine::{Cause, Scheduler, TaskletId, Waiter};
use pyo3::ffi;
use pyo3::prelude::*;

use super::greenlets::Greenlets;
use super::runtime::{Runtime, existing, thread_ident};
use super::thrown::{keep_thrown, take_thrown};
use crate::python::system::on_signal;

/// The thread to which Python gives signals.
static MAIN_THREAD: AtomicU64 = AtomicU64::new(0);

/// Whether this is the thread to which Python gives signals.
pub(crate) fn is_main_thread() -> bool {
    MAIN_THREAD.load(Ordering::Relaxed) == thread_ident()
}

/// It is this one, in the child after a fork.
pub(crate) fn be_main_thread() {
    MAIN_THREAD.store(thread_ident(), Ordering::Relaxed);
}

/// Learns which thread is Python's main one; called at import.
pub(crate) fn learn_main_thread(py: Python<'_>) -> PyResult<()> {
    let ident = py.import("threading")?.call_method0("main_thread")?.getattr("ident")?;
    MAIN_THREAD.store(ident.extract()?, Ordering::Relaxed);
    Ok(())
}

/// Whether signals wake the main thread's port already.
static WATCHED: AtomicBool = AtomicBool::new(false);
/// Has signals wake the main thread's port, on which the calling tasklet waits.
pub(crate) fn watch_signals() {
    if !WATCHED.swap(true, Ordering::Relaxed) {
        let remote = Waiter::current();
        on_signal(move || {
            SIGNAL_CAME.store(true, Ordering::Release);
            remote.wake();
        });
    }
}

/// One has come since the main thread last looked.
static SIGNAL_CAME: AtomicBool = AtomicBool::new(false);

/// Whether a signal has come since this was last asked.
pub(crate) fn signal_came() -> bool {
    SIGNAL_CAME.swap(false, Ordering::Acquire)
}

/// Raises in a tasklet, nearly always the main one, what a signal handler has raised. What it waits for ends; where that
/// still brings a result, the exception comes right after it, and not with the next wait, which may be far.
pub(crate) fn throw_from_signal(greenlets: &Greenlets, scheduler: &Scheduler, id: TaskletId, exception: Py<PyAny>) {
    let number = keep_thrown(exception);
    greenlets.from_signal.set(Some((id, number)));
    scheduler.interrupt(id, Cause::Thrown(number));
}

/// Runs the handlers of signals that have come, from native code: nobody is preempted by that.
pub(crate) fn check_signals(py: Python<'_>, greenlets: &Greenlets) -> PyResult<()> {
    greenlets.asks_for_signals.set(true);
    let checked = py.check_signals();
    greenlets.asks_for_signals.set(false);
    checked
}

/// To be called between the parts of what one call does in several: runs the handlers of signals that have come, as the
/// standard library's calls do (PEP 475). Without this a signal that comes with a part's end waits for all of them. False
/// where a handler has raised: the call is to return what it has, and the exception comes right after it.
pub(crate) fn run_signal_handlers(py: Python<'_>, runtime: &Runtime) -> bool {
    let greenlets = &runtime.greenlets;
    let Err(error) = check_signals(py, greenlets) else { return true };
    let me = runtime.scheduler.current_tasklet();
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

/// A signal handler around another: Python calls handlers in whatever tasklet runs, while a program expects that they run
/// in its main thread, and that what they raise (`KeyboardInterrupt` above all) ends what that one waits for. So another
/// tasklet leaves the call to the main one, and lets it run.
#[pyclass(frozen, module = "overlapped._engine")]
pub(crate) struct MainHandler {
    /// The handler of the program's.
    #[pyo3(get)]
    handler: Py<PyAny>,
}

#[pymethods]
impl MainHandler {
    #[new]
    fn new(handler: Py<PyAny>) -> MainHandler {
        MainHandler { handler }
    }

    fn __call__(&self, py: Python<'_>, number: Py<PyAny>, frame: Py<PyAny>) -> PyResult<()> {
        let Some(runtime) = existing() else { return self.handler.call1(py, (number, frame)).map(drop) };
        let (greenlets, scheduler) = (&runtime.greenlets, &runtime.scheduler);
        // Whatever it does, it does as code of Python's.
        let in_native_code = greenlets.asks_for_signals.take();
        if scheduler.current_tasklet() == TaskletId::ROOT {
            let called = self.handler.call1(py, (&number, frame)).map(drop);
            tell_pausing(greenlets, scheduler, number.extract(py)?);
            return called;
        }
        greenlets.left_to_main.borrow_mut().push_back((self.handler.clone_ref(py), number));
        greenlets.look_for_signals.set(true);
        scheduler.wake(TaskletId::ROOT);
        if !in_native_code && !scheduler.is_between() {
            scheduler.give_way_after_hold(Duration::ZERO, |_| Ok(()));
        }
        Ok(())
    }
}

/// Runs the handlers that other tasklets have left to the main one, which is the caller. The error is what one raises; those
/// after it are left.
pub(super) fn run_handlers_left(py: Python<'_>, greenlets: &Greenlets, scheduler: &Scheduler) -> PyResult<()> {
    loop {
        let left = greenlets.left_to_main.borrow_mut().pop_front();
        let Some((handler, number)) = left else { return Ok(()) };
        // SAFETY: a borrowed reference to the frame that runs, or null where none does.
        let frame = unsafe { Bound::from_borrowed_ptr_or_opt(py, ffi::PyEval_GetFrame().cast()) };
        let called = handler.call1(py, (&number, frame));
        tell_pausing(greenlets, scheduler, number.extract(py)?);
        if let Err(error) = called {
            // Those that come after it are not forgotten.
            greenlets.look_for_signals.set(!greenlets.left_to_main.borrow().is_empty());
            return Err(error);
        }
    }
}

/// A handler has been called for this signal: whoever pauses is told.
fn tell_pausing(greenlets: &Greenlets, scheduler: &Scheduler, number: c_int) {
    for (id, came) in greenlets.pausing.borrow_mut().iter_mut() {
        *came |= 1_u64.checked_shl(number as u32).unwrap_or(0);
        scheduler.wake(*id);
    }
}
