//! The life of a thread's tasklets: from the first call that needs them, which makes the thread's port, to the thread's end,
//! a fork, or the end of the program. How they switch is in [`worker`].

use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use overlapped::engine::{self, Cause, Scheduler, TaskletId};
use overlapped_port::sim::now;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::greenlets::Life;
use super::runtime::{self, Runtime, existing, note_end_of_program, program_ends, thread_ident};
use super::signal::{be_main_thread, is_main_thread, watch_signals};
use super::worker;
#[cfg(unix)]
use super::world;
use super::{explain, preempt, settings};
use crate::python::capi::is_finalizing;
use crate::python::error::{from_io, no_port};

/// The tasklets of this thread; the first call makes its port.
pub(crate) fn runtime(py: Python<'_>) -> PyResult<Rc<Runtime>> {
    if let Some(runtime) = existing() {
        return Ok(runtime);
    }
    make(py)
}

/// Makes the type that [`ThreadEnd`] is to Python.
pub(super) fn prepare(py: Python<'_>) {
    let _ = py.get_type::<ThreadEnd>();
}

#[cold]
#[inline(never)]
fn make(py: Python<'_>) -> PyResult<Rc<Runtime>> {
    if program_ends() {
        return Err(PyRuntimeError::new_err("overlapped: the program is ending, and nothing can wait any more"));
    }
    // Python's objects first: while they are made, the collector may run finalizers, which may wait.
    let main_thread = is_main_thread();
    let greenlets = worker::greenlets(py, main_thread)?;
    ThreadEnd::announce(py)?;
    let config = settings::config(py)?;
    if let Some(runtime) = existing() {
        return Ok(runtime);
    }
    let port = config.start().map_err(|error| no_port(py, &error))?;
    let descriptors = port.own_files();
    let scheduler = Scheduler::enter(port, worker::switcher(&greenlets)).map_err(from_io)?;
    scheduler.rename(TaskletId::ROOT, "main");
    explain::include(py, thread_ident(), scheduler.board(), &greenlets, descriptors);
    if main_thread {
        watch_signals();
    }
    let runtime = Runtime::new(scheduler, greenlets);
    runtime::install(Rc::clone(&runtime));
    Ok(runtime)
}

/// The child after a fork: the port and the other tasklets are the parent's. The one that forked goes on as this
/// thread's main tasklet, on a port that is made when it is first needed.
#[pyfunction]
pub(crate) fn after_fork_in_child() {
    be_main_thread();
    explain::after_fork();
    preempt::after_fork();
    let Some(runtime) = runtime::take_after_fork() else { return };
    // SAFETY: this is the child, and the other tasklets are forgotten below.
    unsafe { runtime.scheduler.abandon_after_fork() };
    // The other greenlets must never run here, not even to unwind: they are kept for ever.
    std::mem::forget(runtime);
}

/// The end of the program, as long as everything of Python's is there: the main thread's tasklets are ended as those of a
/// thread that ends, and get their `finally`. Threads that are tasklets are not: as the standard library's, those that are
/// no daemons have ended before, and daemons stop where they are. From here on nothing waits on the port; what is in flight
/// is left to the kernel.
///
/// Other threads have ended before, or are daemons, which never run any more.
#[pyfunction]
pub(crate) fn end_program(py: Python<'_>) {
    if let Some(runtime) = existing()
        && !program_ends()
    {
        cancel_all(py, &runtime, |life| life.ends_with_program);
    }
    note_end_of_program();
    #[cfg(unix)]
    world::stay();
    preempt::end(py);
    if let Some(runtime) = runtime::take() {
        explain::leave_out(thread_ident());
        // It may be waiting for the GIL, which nobody gets any more when the interpreter has gone.
        if let Some(watch) = runtime.scheduler.unwatch() {
            py.detach(|| watch.join()).expect("a watching thread does not panic");
        }
        runtime.scheduler.leave();
        std::mem::forget(runtime);
    }
}

/// In the thread state's dictionary: dropped when Python's thread has run to its end, while the GIL is held and before
/// whoever joins the thread goes on. After a fork, and at the end of the process, another thread may drop it.
#[pyclass(frozen, module = "overlapped._engine")]
struct ThreadEnd {
    thread: u64,
    /// It is where it belongs.
    announced: AtomicBool,
}

impl ThreadEnd {
    fn announce(py: Python<'_>) -> PyResult<()> {
        let end = Py::new(py, ThreadEnd { thread: thread_ident(), announced: AtomicBool::new(false) })?;
        // SAFETY: a borrowed reference, or null where there is no thread state, which an attached thread has.
        let state = unsafe { Bound::from_borrowed_ptr(py, ffi::PyThreadState_GetDict()) };
        let state = state.cast::<PyDict>()?;
        let key = "overlapped._engine";
        // One that is there already stays: its drop would end the tasklets that have just begun.
        if !state.contains(key)? {
            state.set_item(key, &end)?;
            end.get().announced.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Drop for ThreadEnd {
    fn drop(&mut self) {
        if self.thread != thread_ident() || !*self.announced.get_mut() {
            return;
        }
        // SAFETY: Python objects are dropped with the GIL held.
        let py = unsafe { Python::assume_attached() };
        if is_finalizing() {
            // The end of the program was not announced, and it is too late for anything.
            std::mem::forget(runtime::take());
            return;
        }
        if let Err(left) = end_here(py) {
            eprintln!("overlapped: a thread has ended, {left} of its tasklets have not: they never will");
        }
    }
}

/// Ends this thread's tasklets, and its port. The error is how many would not end: then it goes on with them.
pub(super) fn end_here(py: Python<'_>) -> Result<(), usize> {
    let Some(runtime) = existing() else { return Ok(()) };
    end_all(py, &runtime)?;
    runtime::take();
    explain::leave_out(thread_ident());
    runtime.scheduler.leave();
    Ok(())
}

/// Ends all tasklets, and then their greenlets. The error is how many tasklets would not end.
fn end_all(py: Python<'_>, runtime: &Runtime) -> Result<(), usize> {
    cancel_all(py, runtime, |_| true);
    if runtime.scheduler.alive() > 0 {
        return Err(runtime.scheduler.alive());
    }
    worker::end(py, &runtime.greenlets);
    Ok(())
}

/// How long tasklets that end are left alone, before those that have been started meanwhile are told too.
const ROUND: Duration = Duration::from_millis(100);

/// Cancels all tasklets whose life is one of `which`, as `Tasklet.cancel` does, but for the one that calls, and
/// those that they still start, and waits until they have ended or the time is up.
fn cancel_all(py: Python<'_>, runtime: &Runtime, which: impl Fn(&Life) -> bool) {
    let scheduler = &runtime.scheduler;
    let me = scheduler.current_tasklet();
    let left = || runtime.greenlets.ids(&which).into_iter().filter(|id| *id != me).collect::<Vec<_>>();
    let patience = settings::cleanup();
    let started = now();
    let outside = scheduler.mask_whole();
    let until = started.checked_add(patience).unwrap_or(started + Duration::from_secs(1 << 32));
    loop {
        let ids = left();
        if ids.is_empty() || now() >= until {
            scheduler.unmask(outside);
            return;
        }
        for id in ids {
            scheduler.interrupt(id, Cause::Cancel);
        }
        let round = until.min(now() + ROUND);
        while !left().is_empty() && now() < round {
            if engine::park(Some(round), "the tasklets to end").is_err() {
                drop(runtime.raise(py));
            }
        }
    }
}
