//! asyncio keeps the loop that runs for each thread; here it is one for each tasklet.
//!
//! A tasklet that parks while its loop runs, be it in the loop's own wait or in a call that blocks, takes the loop along:
//! meanwhile others of the thread may run loops of their own.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// `asyncio`'s functions that get and set the running loop, once a loop has run on ours.
static FUNCTIONS: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();

/// Begins to keep running loops apart, by `asyncio.events._get_running_loop` and `_set_running_loop`.
#[pyfunction]
pub(crate) fn keep_loops_apart(py: Python<'_>, get: Py<PyAny>, set: Py<PyAny>) {
    let _ = FUNCTIONS.set(py, (get, set));
}

/// Takes the running loop away from the thread.
pub(crate) fn take_loop(py: Python<'_>) -> Option<Py<PyAny>> {
    FUNCTIONS.get(py).and_then(|functions| take(py, functions))
}

#[inline(never)]
fn take(py: Python<'_>, (get, set): &(Py<PyAny>, Py<PyAny>)) -> Option<Py<PyAny>> {
    let running = get.call0(py).ok().filter(|running| !running.is_none(py))?;
    set.call1(py, (py.None(),)).ok()?;
    Some(running)
}

/// Gives it back.
#[inline(never)]
pub(crate) fn restore_loop(py: Python<'_>, running: Py<PyAny>) {
    if let Some((_, set)) = FUNCTIONS.get(py)
        && let Err(error) = set.call1(py, (running,))
    {
        error.write_unraisable(py, None);
    }
}

/// The package's function that awaits a tasklet: asyncio's futures are Python's, so the package has it.
pub(super) fn await_tasklet(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    FUNCTION.import(py, "overlapped.asyncio._both", "await_tasklet")
}
