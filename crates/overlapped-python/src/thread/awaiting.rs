//! `await tasklet`, in a coroutine.
//!
//! One that is ready runs here and now, and has often ended then. What it has returned is there at once: no generator, no
//! future, no turn of the loop. Else the package's `asyncio._both` waits for its end, by a future: asyncio's are Python's.
//!
//! Rejected: to look and to run in that generator, too. Its frame and its five steps in Python were a third of what such an
//! await costs.

use overlapped::engine::Waiter;
use pyo3::exceptions::PyStopIteration;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use super::life::runtime;

/// How often in a row [`let_run`] does so before it does not.
const MOST_IN_A_ROW: u32 = 32;

/// Lets a tasklet of the queue run now, and those after it, before the calling one goes on, which is told of nothing meanwhile.
/// Does nothing where it is not in the queue; and now and then in any case, so that a loop whose coroutines always find one
/// there comes to its other work.
pub(super) fn let_run(py: Python<'_>, waiter: &Waiter) -> PyResult<()> {
    let runtime = runtime(py)?;
    let Some(id) = runtime.here(waiter).filter(|id| runtime.scheduler.is_ready(*id)) else { return Ok(()) };
    let in_a_row = runtime.let_run.get() + 1;
    if in_a_row > MOST_IN_A_ROW {
        runtime.let_run.set(0);
        return Ok(());
    }
    runtime.let_run.set(in_a_row);
    let mask = runtime.scheduler.mask_whole();
    let gone = runtime.scheduler.go_to(id, false);
    runtime.scheduler.unmask(mask);
    gone.map_err(|_| runtime.raise(py))
}

/// What is awaited where there is nothing to wait for.
#[pyclass(frozen, module = "overlapped")]
pub(super) struct Ended(pub(super) Py<PyAny>);

#[pymethods]
impl Ended {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        // An end without a word is None's.
        if self.0.is_none(py) { Ok(None) } else { Err(PyStopIteration::new_err((self.0.clone_ref(py),))) }
    }
}

/// The package's function that waits for a tasklet.
pub(super) fn await_tasklet(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static FUNCTION: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    FUNCTION.import(py, "overlapped.asyncio._both", "await_tasklet")
}
