//! Seconds of Python's as points in time.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use overlapped_port::sim::now;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The point in time `timeout` seconds from now; `None` for never.
pub(crate) fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else { return Ok(None) };
    if seconds.is_nan() {
        return Err(PyValueError::new_err("a timeout cannot be NaN"));
    }
    let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(FOREVER).min(FOREVER);
    Ok(Some(now() + duration))
}

/// Seconds since some time in the past, by the clock by which this thread's waits are kept.
#[pyfunction]
pub(crate) fn clock() -> f64 {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    now().saturating_duration_since(*BEGAN.get_or_init(Instant::now)).as_secs_f64()
}

/// Whether this thread is in a simulated world.
#[pyfunction]
pub(crate) fn is_simulated() -> bool {
    overlapped_port::sim::is_simulated()
}

/// Longer than any program runs, and still within what an `Instant` can hold.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
