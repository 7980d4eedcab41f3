//! The event for Python's tasklets.

use pyo3::prelude::*;

use crate::python::class::truth;
use crate::python::time::deadline;
use crate::thread::deadlock::of_tasklets;
use crate::thread::life::runtime;

/// A flag that tasklets wait for.
#[pyclass(frozen, weakref, module = "overlapped")]
#[derive(Default)]
pub(crate) struct Event {
    pub(crate) inner: overlapped::Event,
}

#[pymethods]
impl Event {
    #[new]
    fn new() -> Event {
        Event::default()
    }

    /// Whether it is set.
    fn is_set(&self) -> bool {
        self.inner.is_set()
    }

    /// Sets it: all that wait go on.
    fn set(&self) {
        self.inner.set();
    }

    /// Takes it back.
    fn clear(&self) {
        self.inner.clear();
    }

    /// Waits until it is set, at most `timeout` seconds; returns whether it was.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let runtime = runtime(py)?;
        self.inner.wait_until(deadline(timeout)?).map_err(|_| runtime.raise(py))
    }

    /// As `wait`, for something that is more than an event: `waits_for` is what a listing of the tasklets shows, and by which
    /// a deadlock is told.
    #[pyo3(signature = (waits_for, timeout=None))]
    fn _wait_as(&self, py: Python<'_>, waits_for: &str, timeout: Option<f64>) -> PyResult<bool> {
        let (runtime, waits_for) = (runtime(py)?, of_tasklets(waits_for)?);
        self.inner.wait_until_as(deadline(timeout)?, waits_for).map_err(|_| runtime.raise(py))
    }

    fn __repr__(&self) -> String {
        format!("<Event set={}>", truth(self.inner.is_set()))
    }
}
