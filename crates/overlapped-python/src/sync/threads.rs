//! What stands in for `_thread`: identifiers, threads that are tasklets, and the lock that tells of a thread's end.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use super::lock::Lock;
use crate::thread::life::runtime;
use crate::thread::runtime::ident;
use crate::thread::tasklet::in_tasklet;
use crate::thread::tasklet::{begin_as_thread, prepare_thread, start_as_thread};

/// The identifier of the tasklet that runs; the main tasklet of a thread has the thread's own. As `_thread.get_ident`.
#[pyfunction]
pub(crate) fn get_ident() -> u64 {
    ident()
}

/// Starts `function(*args, **kwargs)` in a tasklet with an empty context, as a thread has; returns its identifier.
#[pyfunction]
#[pyo3(signature = (function, args, kwargs=None))]
pub(crate) fn start_thread(
    function: Bound<'_, PyAny>,
    args: Bound<'_, PyTuple>,
    kwargs: Option<Bound<'_, PyDict>>,
) -> PyResult<u64> {
    Ok(start_as_thread(function, args, kwargs)?.as_ptr() as u64)
}

/// Starts `function(thread)` in a tasklet, as [`start_thread`] does, after `note(thread, identifier, native, lock)`: its
/// identifier, that of the system's thread, and a lock that is held until it has ended. Until then, `active[identifier]` is
/// `thread`: before it begins, and also where it never does.
///
/// All is noted before anybody else can run: the caller may be preempted whenever it comes back to Python's code.
#[pyfunction]
pub(crate) fn begin_thread(
    function: Bound<'_, PyAny>,
    thread: Bound<'_, PyAny>,
    active: Bound<'_, PyDict>,
    note: Bound<'_, PyAny>,
) -> PyResult<()> {
    let py = function.py();
    let runtime = runtime(py)?;
    let lock = Py::new(py, Lock::held())?;
    let tasklet = prepare_thread(&runtime, function, PyTuple::new(py, [&thread])?)?;
    let ident = (tasklet.as_ptr() as u64).into_pyobject(py)?.into_any();
    note.call1((&thread, &ident, runtime.native_id(py)?, &lock))?;
    active.set_item(&ident, &thread)?;
    let (of_active, of_thread, of_ident) = (active.unbind(), thread.unbind(), ident.unbind());
    tasklet.get().at_end(move |py| {
        let active = of_active.bind(py);
        // Its program may have taken it out itself, and the identifier is another's when it is free.
        if let Ok(Some(found)) = active.get_item(&of_ident)
            && found.is(&of_thread)
            && let Err(error) = active.del_item(&of_ident)
        {
            error.write_unraisable(py, None);
        }
        // Not held where somebody has released it, as everybody may.
        drop(lock.get().release());
    });
    begin_as_thread(&runtime, tasklet);
    Ok(())
}

/// Has `lock` released when the calling tasklet has ended, if it is then held; a thread's main tasklet never does.
#[pyfunction]
pub(crate) fn release_at_end(py: Python<'_>, lock: Py<Lock>) -> PyResult<()> {
    if let Some(tasklet) = in_tasklet(py)? {
        // Not held where nobody waits for it.
        tasklet.get().at_end(move |_| drop(lock.get().release()));
    }
    Ok(())
}

/// Has `function()` called when the calling tasklet has ended; never for a thread's main one. What it raises is shown.
#[pyfunction]
pub(crate) fn call_at_end(py: Python<'_>, function: Py<PyAny>) -> PyResult<()> {
    if let Some(tasklet) = in_tasklet(py)? {
        tasklet.get().at_end(move |py| {
            if let Err(error) = function.call0(py) {
                error.write_unraisable(py, Some(function.bind(py)));
            }
        });
    }
    Ok(())
}

/// The identifier of the thread on which a tasklet of this thread runs; any other identifier as it is.
#[pyfunction]
pub(crate) fn thread_of(ident: u64) -> u64 {
    crate::thread::runtime::thread_of(ident)
}
