//! Trace and profile functions are a tasklet's own, as they are a thread's: coverage, profilers and debuggers see each
//! tasklet by itself, though to Python all are one thread.
//!
//! Who parks takes its hooks out of the thread, and has them back when it goes on: between two tasklets the thread has none,
//! so that switches of programs without any look at some fields and write nothing. A tasklet begins without hooks, as a
//! thread does, and [`threading`] gives those that are threads what `threading.settrace` was told. One of
//! [`spawn`](super::tasklet::spawn_function) has nobody to do that: where who spawns it is traced, it is given the same, or else the
//! hook that its spawner has.
//!
//! `sys.monitoring`, from 3.12 on, is the interpreter's and knows no threads.
//!
//! [`threading`]: https://docs.python.org/3/library/threading.html#threading.settrace

use std::ffi::CStr;

use overlapped::engine::TaskletId;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::explain;
use super::greenlets::Greenlets;
use super::runtime::{Runtime, existing};
use crate::python::hooks::{self, Hook, Hooks};

/// What is kept of a tasklet while others run.
pub(super) struct Kept {
    hooks: Hooks,
    /// The exception that it is handling, for `sys._current_exceptions`: greenlet keeps it, and tells nobody.
    pub(super) handled: Option<Py<PyAny>>,
}

/// To be called where `me` gives the thread to another tasklet.
#[inline]
pub(super) fn leaves(py: Python<'_>, greenlets: &Greenlets, me: TaskletId) {
    let handled = greenlets.thread_hooks.handled(py);
    if handled.is_some() || greenlets.thread_hooks.are_set(py) {
        keep(greenlets, me, Kept { hooks: greenlets.thread_hooks.take(py), handled });
    }
}

#[inline(never)]
fn keep(greenlets: &Greenlets, id: TaskletId, kept: Kept) {
    let before = greenlets.kept.borrow_mut().insert(id, kept);
    drop(before);
}

/// To be called where the tasklet `me` goes on, or begins.
#[inline]
pub(super) fn arrives(py: Python<'_>, greenlets: &Greenlets, me: TaskletId) {
    if !greenlets.kept.borrow().is_empty() {
        restore(py, greenlets, me);
    }
}

#[inline(never)]
fn restore(py: Python<'_>, greenlets: &Greenlets, me: TaskletId) {
    let kept = greenlets.kept.borrow_mut().remove(&me);
    if let Some(Kept { hooks, handled }) = kept {
        drop((greenlets.thread_hooks.replace(py, hooks), handled));
    }
}

/// To be called where a tasklet has ended: its hooks have, too.
#[inline]
pub(super) fn end(py: Python<'_>, greenlets: &Greenlets) {
    if greenlets.thread_hooks.are_set(py) {
        take_off(py, greenlets);
    }
}

/// Unsets them by Python's code, for that needs a frame; which is not seen by them.
const TAKE_OFF: &CStr = c"__import__('sys').settrace(None); __import__('sys').setprofile(None)";

#[cold]
#[inline(never)]
fn take_off(py: Python<'_>, greenlets: &Greenlets) {
    let thread = greenlets.thread_hooks;
    let hooks = thread.take(py);
    drop(thread.replace(py, hooks.within()));
    if let Err(error) = py.run(TAKE_OFF, None, None) {
        error.write_unraisable(py, None);
    }
    drop(thread.take(py));
}

/// What a tasklet that is spawned here is to begin with, where this one is traced or profiled.
#[inline]
pub(super) fn for_spawned(py: Python<'_>, runtime: &Runtime) -> Option<Hooks> {
    let greenlets = &runtime.greenlets;
    if greenlets.thread_hooks.are_set(py) && hooks::has_frame(py) { inherited(py, greenlets) } else { None }
}

#[cold]
#[inline(never)]
fn inherited(py: Python<'_>, greenlets: &Greenlets) -> Option<Hooks> {
    let thread = greenlets.thread_hooks;
    // What follows is seen by none.
    let own = thread.take(py);
    let set = |set: &str, get: &str, own: &Hook, set_own: fn(Python<'_>, &Hook)| -> PyResult<()> {
        let of_threads = py.import("threading")?.call_method0(get)?;
        if !of_threads.is_none() {
            py.import("sys")?.call_method1(set, (of_threads,))?;
        } else if own.0.is_some() {
            set_own(py, own);
        }
        Ok(())
    };
    if !own.is_in_one() {
        let both = set("settrace", "gettrace", &own.trace, hooks::set_trace)
            .and_then(|()| set("setprofile", "getprofile", &own.profile, hooks::set_profile));
        if let Err(error) = both {
            error.write_unraisable(py, None);
        }
    }
    Some(thread.replace(py, own))
}

/// Notes what a new tasklet is to begin with.
pub(super) fn give(greenlets: &Greenlets, id: TaskletId, hooks: Hooks) {
    keep(greenlets, id, Kept { hooks, handled: None });
}

static SET_TRACE_OF_THREADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static SET_PROFILE_OF_THREADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Learns Python's own functions, which are there from 3.12 on, before any stands in for them.
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    let sys = py.import("sys")?;
    for (name, known) in
        [("_settraceallthreads", &SET_TRACE_OF_THREADS), ("_setprofileallthreads", &SET_PROFILE_OF_THREADS)]
    {
        if let Some(function) = sys.getattr_opt(name)? {
            let _ = known.set(py, function.unbind());
        }
    }
    Ok(())
}

/// As Python's function of this name, for tasklets too.
#[pyfunction]
#[pyo3(signature = (hook, /))]
pub(crate) fn _settraceallthreads(py: Python<'_>, hook: Bound<'_, PyAny>) -> PyResult<()> {
    set_for_all(py, "settrace", &SET_TRACE_OF_THREADS, &hook)
}

/// As Python's function of this name, for tasklets too.
#[pyfunction]
#[pyo3(signature = (hook, /))]
pub(crate) fn _setprofileallthreads(py: Python<'_>, hook: Bound<'_, PyAny>) -> PyResult<()> {
    set_for_all(py, "setprofile", &SET_PROFILE_OF_THREADS, &hook)
}

fn set_for_all(py: Python<'_>, set: &str, of_threads: &PyOnceLock<Py<PyAny>>, hook: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Some(runtime) = existing() {
        let set = py.import("sys")?.getattr(set)?;
        let thread = runtime.greenlets.thread_hooks;
        for (greenlets, id) in explain::parked(py) {
            let kept = greenlets.kept.borrow_mut().remove(&id);
            let Kept { hooks, handled } = kept.unwrap_or(Kept { hooks: Hooks::none(), handled: None });
            let own = thread.replace(py, hooks);
            let done = set.call1((hook,));
            keep(&greenlets, id, Kept { hooks: thread.replace(py, own), handled });
            done?;
        }
    }
    match of_threads.get(py) {
        Some(of_threads) => of_threads.call1(py, (hook,)).map(drop),
        None => Ok(()),
    }
}
