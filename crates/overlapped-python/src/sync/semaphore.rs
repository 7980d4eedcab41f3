//! The semaphore for Python's tasklets, and how locks and queues take from one.

use std::time::Instant;

use overlapped_port::sim::now;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

use crate::python::time::deadline;
use crate::thread::deadlock::of_tasklets;
use crate::thread::life::runtime;
use crate::thread::runtime::program_ends;

/// The longest time for which Python's own locks wait, `threading.TIMEOUT_MAX`: 292 years, on Windows 49 days.
fn longest(py: Python<'_>) -> PyResult<f64> {
    static LONGEST: PyOnceLock<f64> = PyOnceLock::new();
    LONGEST.get_or_try_init(py, || py.import("_thread")?.getattr("TIMEOUT_MAX")?.extract()).copied()
}

/// Has that at hand.
pub(super) fn prepare(py: Python<'_>) -> PyResult<()> {
    longest(py).map(drop)
}

/// The deadline of `acquire(blocking, timeout)`: none, now or later.
fn acquire_deadline(py: Python<'_>, blocking: bool, timeout: Option<f64>) -> PyResult<Option<Instant>> {
    match (blocking, timeout) {
        (false, Some(timeout)) if timeout != -1.0 => {
            Err(PyValueError::new_err("can't specify a timeout for a non-blocking call"))
        }
        (false, _) => Ok(Some(now())),
        (true, None | Some(-1.0)) => Ok(None),
        (true, Some(timeout)) if timeout < 0.0 => {
            Err(PyValueError::new_err("timeout value must be a non-negative number"))
        }
        (true, Some(timeout)) if timeout > longest(py)? => Err(PyOverflowError::new_err("timeout value is too large")),
        (true, timeout) => deadline(timeout),
    }
}

pub(crate) fn acquire(
    semaphore: &overlapped::Semaphore,
    py: Python<'_>,
    blocking: bool,
    timeout: Option<f64>,
    waits_for: &'static str,
) -> PyResult<bool> {
    let deadline = acquire_deadline(py, blocking, timeout)?;
    if semaphore.try_take() {
        return Ok(true);
    }
    if !blocking && program_ends() {
        return Ok(false);
    }
    let runtime = runtime(py)?;
    if !blocking {
        // Whoever tries again and again would keep the holder from ever releasing it.
        return runtime.scheduler.give_way().map(|()| false).map_err(|_| runtime.raise(py));
    }
    semaphore.acquire_until_as(deadline, waits_for).map_err(|_| runtime.raise(py))
}

/// A counter that tasklets take from and wait for. Those that wait are served in order.
#[pyclass(frozen, weakref, module = "overlapped")]
pub(crate) struct Semaphore {
    pub(crate) inner: overlapped::Semaphore,
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (value=1))]
    fn new(value: isize) -> PyResult<Semaphore> {
        let value =
            usize::try_from(value).map_err(|_| PyValueError::new_err("semaphore initial value must be >= 0"))?;
        Ok(Semaphore { inner: overlapped::Semaphore::new(value) })
    }

    /// Takes one, waiting for it, at most `timeout` seconds; returns whether one was taken.
    #[pyo3(signature = (blocking=true, timeout=None))]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: Option<f64>) -> PyResult<bool> {
        acquire(&self.inner, py, blocking, timeout, "semaphore")
    }

    /// As `acquire`, for something that is more than a semaphore: `waits_for` is what a listing of the tasklets shows, and
    /// by which a deadlock is told.
    #[pyo3(signature = (waits_for, blocking=true, timeout=None))]
    fn _acquire_as(&self, py: Python<'_>, waits_for: &str, blocking: bool, timeout: Option<f64>) -> PyResult<bool> {
        acquire(&self.inner, py, blocking, timeout, of_tasklets(waits_for)?)
    }

    /// Gives `n` back.
    #[pyo3(signature = (n=1))]
    fn release(&self, n: usize) -> PyResult<()> {
        if n == 0 {
            return Err(PyValueError::new_err("n must be one or more"));
        }
        (0..n).for_each(|_| self.inner.release());
        Ok(())
    }

    /// How many can be taken without waiting.
    #[getter]
    fn value(&self) -> usize {
        self.inner.value()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, None)
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: Bound<'_, PyTuple>) {
        self.inner.release();
    }

    fn __repr__(&self) -> String {
        format!("<Semaphore value={}>", self.inner.value())
    }
}
