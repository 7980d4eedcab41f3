//! What this thread's scheduler and port tell of themselves.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use super::held::{seconds_of, teller};
use super::life::runtime;
use super::runtime::existing;
use crate::python::error::from_io;

/// Every tasklet of this thread that has not ended, the main one first: a dict each with `number`, `name`, `waits_for`
/// and `since` (seconds).
#[pyfunction]
pub(crate) fn tasklets(py: Python<'_>) -> PyResult<Vec<Py<PyDict>>> {
    let listed = runtime(py)?.scheduler.tasklets();
    let describe = |status: overlapped::Status| {
        let entry = PyDict::new(py);
        entry.set_item("number", status.number)?;
        entry.set_item("name", status.name)?;
        entry.set_item("waits_for", status.waits_for)?;
        entry.set_item("since", status.since.as_secs_f64())?;
        Ok(entry.unbind())
    };
    listed.into_iter().map(describe).collect()
}

/// The name of the backend under this thread's port: `"uring"`, `"poll"`, `"iocp"`.
#[pyfunction]
pub(crate) fn backend(py: Python<'_>) -> PyResult<&'static str> {
    Ok(runtime(py)?.scheduler.report().backend)
}

/// What this thread's port is, why not a better one, what it did and what is in flight: some lines of text.
#[pyfunction]
pub(crate) fn report(py: Python<'_>) -> PyResult<String> {
    Ok(runtime(py)?.scheduler.report().to_string())
}

/// How many operations this thread's port has in flight.
#[pyfunction]
pub(crate) fn in_flight() -> usize {
    existing().map_or(0, |runtime| runtime.scheduler.in_flight())
}

/// Whether this thread has no tasklet but the one that calls.
#[pyfunction]
pub(crate) fn is_alone() -> bool {
    existing().is_none_or(|runtime| runtime.scheduler.alive() == 0)
}

/// Warns on standard error when a tasklet of this thread has held it for longer than `limit` seconds: which one, for how
/// long, and where it is. None ends that. With `tell` nothing is printed: `tell(seconds, stack)` is called on another thread,
/// and when the tasklet has let go `tell(seconds, None)`.
#[pyfunction]
#[pyo3(signature = (limit=0.1, tell=None))]
pub(crate) fn watch(py: Python<'_>, limit: Option<f64>, tell: Option<Py<PyAny>>) -> PyResult<()> {
    let runtime = runtime(py)?;
    let Some(seconds) = limit else {
        drop(runtime.scheduler.unwatch());
        return Ok(());
    };
    let limit = seconds_of("watch", seconds)?;
    match tell {
        None => runtime.scheduler.watch(limit),
        Some(tell) => runtime.scheduler.watch_with(limit, teller(tell)),
    }
    .map_err(from_io)
}
